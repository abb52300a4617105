// A legacy client's session: commands by number, without sequence numbers or keys. It has one channel per contract, to the
// key that its game bound, else to the contract's default key. A message that breaks a rule gets no reply but a strike.

import type { RoutedContract } from '../../core/game/routing.ts'
import { NEW_CHANNEL_DEFAULTS, REFUSE, RETAIN, SUPERSEDED, type ChannelOut } from '../../core/ports/link.ts'
import type { CloseReason } from '../../core/wire/errors.ts'
import { FIRST_RESERVED, type ErrorKind } from '../../core/wire/message.ts'
import { GatewayChannel } from './channel.ts'
import type { GatewayContext } from './context.ts'
import { LOGGED_IN_ELSEWHERE, OPEN_COST, type GatewaySession, type SessionConnection } from './gatewaysession.ts'
import { SessionIdentity, type SessionIdentityOwner } from './identity.ts'

/** Bytes of queued commands: they arrived before the reply to a login, which decides their shard. */
const MAX_QUEUED_BYTES = 65_536

type LegacyContext = Pick<
  GatewayContext,
  'clock' | 'limits' | 'link' | 'meter' | 'overload' | 'routingTable' | 'tokenSigner'
>

export class LegacySession implements GatewaySession, SessionIdentityOwner {
  readonly kind = 'legacy'
  readonly resumableId = ''
  readonly remote: string
  readonly tokenGeneration = 0
  readonly #connection: SessionConnection
  readonly #context: LegacyContext
  readonly identity: SessionIdentity
  readonly #channels = new Map<string, LegacyChannel>()
  #lastChannel = 0
  #areEventsPaused = false
  #pendingCalls = 0
  /** In order of arrival; the first is for a shard that this session may not access yet. */
  #queuedCommands: { readonly command: number; readonly body: Uint8Array }[] = []
  #queuedBytes = 0

  constructor(connection: SessionConnection, context: LegacyContext) {
    this.#connection = connection
    this.#context = context
    this.remote = connection.remote
    this.identity = new SessionIdentity(this, context, context.clock.id())
  }

  handleFrame(command: number, source: Uint8Array, start: number, end: number): void {
    if (this.#queuedCommands.length > 0) return this.#queueCommand(command, source.slice(start, end))
    const connection = this.#connection
    const route = this.#context.routingTable.byNumber.get(command)
    if (!route || !(route.contract.public || route.contract.bound || route.contract.players)) {
      const what = command >= FIRST_RESERVED ? 'a session message before HELLO' : 'unknown command'
      return connection.addStrike(`${what} ${command}`)
    }
    const { contract } = route
    const { maxBytes, durable, cost } = route.command
    if (maxBytes !== 0 && end - start > maxBytes)
      return connection.addStrike(`command ${command}: body ${end - start} bytes exceeds ${maxBytes}`)
    if (!this.#canAccess(contract)) {
      // A client may send commands before the reply to its login.
      if (this.#pendingCalls > 0) return this.#queueCommand(command, source.slice(start, end))
      return connection.addStrike(`command ${command}: this session may not access ${contract.name} yet`)
    }
    if (cost > 1) connection.reader.addCost(cost - 1)
    const body = connection.decryptBody(source.subarray(start, end))
    const channel = this.#channels.get(contract.name) ?? this.#openChannel(contract)
    const { overload, meter } = this.#context
    if (overload.isOverloaded) meter.count('refusedCalls')
    channel?.sendCall(command, (durable ? RETAIN : 0) | (overload.isOverloaded ? REFUSE : 0), body)
  }

  #canAccess({ name, bound, players, public: isPublic }: RoutedContract): boolean {
    if (bound && this.identity.boundKey(name) !== undefined) return true
    return isPublic || (players === true && this.identity.uid !== '')
  }

  #queueCommand(command: number, body: Uint8Array): void {
    this.#queuedCommands.push({ command, body })
    this.#queuedBytes += body.length
    this.#connection.addPendingCalls(1)
    if (this.#queuedBytes > MAX_QUEUED_BYTES) {
      const message = `${this.#queuedBytes} bytes queued before the login exceed ${MAX_QUEUED_BYTES}`
      this.#connection.closeConnection('OVERLOADED', message)
    }
  }

  #openChannel(contract: RoutedContract): LegacyChannel | null {
    const { maxChannels } = this.#context.limits
    if (this.#channels.size >= maxChannels) {
      this.#connection.addStrike(`more than ${maxChannels} shards`)
      return null
    }
    this.#connection.reader.addCost(OPEN_COST)
    const key = this.identity.boundKey(contract.name) ?? contract.key
    const request = {
      ...NEW_CHANNEL_DEFAULTS,
      ...this.identity.opener,
      shard: { contract: contract.name, key },
      channel: ++this.#lastChannel,
      legacy: true,
    }
    const channel = new LegacyChannel(this, this.#connection, this.#context)
    channel.openShard(this.#context.link, request)
    if (this.#areEventsPaused) channel.shard.pauseEvents(true)
    this.#channels.set(contract.name, channel)
    return channel
  }

  /** Binds a contract to another key; calls to the earlier key are still answered. */
  bindKey(contract: string, key: string): void {
    if (!this.identity.bindKey(contract, key)) return
    const channel = this.#channels.get(contract)
    this.#channels.delete(contract)
    channel?.closeWhenSettled()
  }

  pauseEvents(isPaused: boolean): void {
    this.#areEventsPaused = isPaused
    this.identity.pauseEvents(isPaused)
    for (const { shard } of this.#channels.values()) shard.pauseEvents(isPaused)
  }

  onIdentityChanged(): void {
    const { uid, epoch } = this.identity
    this.#connection.updateAuthentication(uid)
    if (uid !== '') for (const { shard } of this.#channels.values()) shard.identify(uid, epoch)
  }

  onLinkOpened(): void {}

  onPush(_sequence: number, event: number, body: Uint8Array): void {
    this.#connection.sendLegacyEvent(event, body)
  }

  /** The legacy protocol has no message for lost events. */
  onEventsMissed(): void {
    this.#connection.closeConnection('SLOW_CONSUMER', 'events were lost')
  }

  closeConnection(reason: CloseReason, message: string, isFinal?: boolean): void {
    this.#connection.closeConnection(reason, message, isFinal)
  }

  /** The game does not admit this session to the shard: its pending calls are dropped. */
  onChannelForbidden(channel: LegacyChannel): void {
    for (const [contract, candidate] of this.#channels) if (candidate === channel) this.#channels.delete(contract)
    channel.cancelPending()
    this.#connection.addStrike('the shard does not admit this session')
  }

  /** Records that `count` calls were sent (negative: are settled). */
  addPendingCalls(count: number): void {
    this.#pendingCalls += count
    this.#connection.addPendingCalls(count)
    if (count < 0 && this.#queuedCommands.length > 0) this.#context.clock.defer(() => this.#runQueuedCommands())
  }

  /** Handles the queued commands; those whose shard is still undecided are queued again. */
  #runQueuedCommands(): void {
    const connection = this.#connection
    if (connection.isClosed) return
    const queued = this.#queuedCommands
    this.#queuedCommands = []
    this.#queuedBytes = 0
    connection.reader.runQueuedFrames(() => {
      let handled = 0
      try {
        for (const { command, body } of queued) {
          if (connection.isClosed) return
          // Pending until it is handled: a closing connection closes when nothing is pending.
          this.handleFrame(command, body, 0, body.length)
          handled++
          connection.addPendingCalls(-1)
        }
      } finally {
        // Commands after an error are dropped.
        connection.addPendingCalls(handled - queued.length)
      }
    })
  }

  onConnectionClosed(): void {
    for (const { shard } of this.#channels.values()) shard.closeChannel(true)
    this.identity.onConnectionClosed(true)
  }
}

class LegacyChannel extends GatewayChannel implements ChannelOut {
  readonly #session: LegacySession
  readonly #connection: SessionConnection
  /** The session is bound to another key: replies are still sent, events are not. */
  #isDetached = false

  constructor(session: LegacySession, connection: SessionConnection, context: LegacyContext) {
    super(context, session)
    this.#session = session
    this.#connection = connection
  }

  sendCall(command: number, flags: number, body: Uint8Array): void {
    this.recordCall(this.lastSent + 1)
    this.shard.submitCall(this.lastSent, command, flags, this.lastSettled, body)
  }

  /** Drops all pending calls. */
  cancelPending(): void {
    this.#isDetached = true
    this.settleAll()
  }

  /** Closes the channel once its calls are answered. */
  closeWhenSettled(): void {
    this.#isDetached = true
    if (this.isSettled) this.shard.closeChannel(true)
  }

  override settle(sequence: number): void {
    if (sequence <= this.lastSettled) return
    super.settle(sequence)
    if (this.#isDetached && this.isSettled) this.shard.closeChannel(true)
  }

  channelOpened(_activation: number, _mark: number, lost: boolean): void {
    if (lost) this.settleAll()
  }

  reply(sequence: number, command: number, body: Uint8Array): void {
    this.#connection.writer.writeFrame(command, this.#connection.encryptBody(body))
    this.settle(sequence)
  }

  error(sequence: number, command: number, _kind: ErrorKind, code: string, message: string): void {
    this.settle(sequence)
    if (code === 'BAD_INPUT' || code === 'UNKNOWN_COMMAND') this.#connection.addStrike(`command ${command}: ${message}`)
  }

  event(_sequence: number, event: number, body: Uint8Array): void {
    if (!this.#isDetached) this.#connection.sendLegacyEvent(event, body)
  }

  callsApplied(mark: number): void {
    this.settle(mark)
  }

  membershipToken(): void {}

  keyBound(contract: string, key: string): void {
    this.#session.bindKey(contract, key)
  }

  loggedIn(uid: string, epoch: number): void {
    this.#session.identity.applyLogin(uid, epoch)
  }

  resyncRequired(): void {
    if (!this.#isDetached) this.#session.onEventsMissed()
  }

  channelClosed(code: string): void {
    if (this.#isDetached) return
    if (code === SUPERSEDED) this.#connection.closeConnection('REPLACED', LOGGED_IN_ELSEWHERE)
    else if (code === 'FORBIDDEN') this.#session.onChannelForbidden(this)
    else this.#connection.closeConnection('OVERLOADED', `the shard closed the channel: ${code}`)
  }
}
