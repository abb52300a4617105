// A legacy client's session: commands by number, no sequences, no keys. Each contract it speaks to is one channel, to
// the key its game has bound it to, else to the contract's default key. What it does wrong is met with silence and a
// strike.

import { EMPTY_BYTES } from '../../core/wire/bytes.ts'
import type { RoutedContract } from '../../core/game/routing.ts'
import { RETAIN, SUPERSEDED, type ChannelIn, type ChannelOut } from '../../core/ports/link.ts'
import { FIRST_RESERVED, type ErrorKind } from '../../core/wire/message.ts'
import type { CloseReason } from '../../core/wire/errors.ts'
import type { Connection } from './connection.ts'
import type { Gateway } from './gateway.ts'
import { SessionIdentity, type SessionIdentityOwner } from './identity.ts'

/** Bytes of commands that came before the answer that says whose shard they are for. */
const MAX_QUEUED_BYTES = 65_536

interface QueuedCommand {
  readonly command: number
  readonly body: Uint8Array
}

export class LegacySession implements SessionIdentityOwner {
  readonly connection: Connection
  readonly identity: SessionIdentity
  readonly #channels = new Map<string, LegacyChannel>()
  #lastChannel = 0
  #areEventsPaused = false
  /** Calls without an answer yet. */
  #pendingCalls = 0
  /** In the order they came: the first is for a shard that this session is not bound to yet. */
  #queuedCommands: QueuedCommand[] = []
  #queuedBytes = 0

  constructor(connection: Connection) {
    this.connection = connection
    this.identity = new SessionIdentity(this, connection.gateway.clock.id())
  }

  handleFrame(command: number, source: Uint8Array, start: number, end: number): void {
    if (this.#queuedCommands.length > 0) return this.#queueCommand(command, source.slice(start, end))
    const { gateway } = this.connection
    const route = gateway.routingTable.byNumber.get(command)
    if (!route || !(route.contract.public || route.contract.bound || route.contract.players)) {
      const what = command >= FIRST_RESERVED ? 'a session message before HELLO' : 'unknown command'
      return this.connection.addStrike(`${what} ${command}`)
    }
    const { contract } = route
    const { maxBytes, durable, cost } = route.command
    if (maxBytes !== 0 && end - start > maxBytes) {
      return this.connection.addStrike(`command ${command}: body ${end - start} bytes exceeds ${maxBytes}`)
    }
    if (!this.#canAccess(contract)) {
      // A client that does not wait for the answer of its login: that answer says whose shard this is for.
      if (this.#pendingCalls > 0) return this.#queueCommand(command, source.slice(start, end))
      return this.connection.addStrike(
        `command ${command}: this session may not speak to ${contract.name} yet`,
      )
    }
    if (cost > 1) this.connection.addCost(cost - 1)
    const body = this.connection.decryptBody(source.subarray(start, end))
    const channel = this.#channels.get(contract.name) ?? this.#openChannel(contract)
    channel?.sendCall(command, durable ? RETAIN : 0, body)
  }

  #canAccess({ name, bound, players, public: isPublic }: RoutedContract): boolean {
    if (bound && this.identity.boundKey(name) !== undefined) return true
    return isPublic || (players === true && this.identity.uid !== '')
  }

  #queueCommand(command: number, body: Uint8Array): void {
    this.#queuedCommands.push({ command, body })
    this.#queuedBytes += body.length
    this.connection.addPendingCalls(1)
    if (this.#queuedBytes > MAX_QUEUED_BYTES)
      this.connection.closeConnection('OVERLOADED', `${this.#queuedBytes} bytes wait for a login`)
  }

  #openChannel(contract: RoutedContract): LegacyChannel | null {
    const { gateway } = this.connection
    if (this.#channels.size >= gateway.limits.maxChannels) {
      this.connection.addStrike(`more than ${gateway.limits.maxChannels} shards`)
      return null
    }
    this.connection.addCost(OPEN_COST)
    const key = this.identity.boundKey(contract.name) ?? contract.key
    const channel = new LegacyChannel(this, ++this.#lastChannel, contract, key)
    if (this.#areEventsPaused) channel.shard.pauseEvents(true)
    this.#channels.set(contract.name, channel)
    return channel
  }

  /** The game says which key of a contract this session means from now on. */
  bindKey(contract: string, key: string): void {
    if (!this.identity.bindKey(contract, key)) return
    const channel = this.#channels.get(contract)
    if (!channel) return
    this.#channels.delete(contract)
    channel.closeWhenSettled()
  }

  /** It reads too slowly. */
  pauseEvents(isPaused: boolean): void {
    this.#areEventsPaused = isPaused
    this.identity.pauseEvents(isPaused)
    for (const { shard } of this.#channels.values()) shard.pauseEvents(isPaused)
  }

  get gateway(): Gateway {
    return this.connection.gateway
  }

  /** It has logged in. */
  onIdentityChanged(): void {
    const { uid, epoch } = this.identity
    this.connection.updateAuthentication(uid)
    if (uid !== '') for (const { shard } of this.#channels.values()) shard.identify(uid, epoch)
  }

  onLinkOpened(): void {}

  onPush(_sequence: number, event: number, body: Uint8Array): void {
    this.connection.sendLegacyEvent(event, body)
  }

  /** It has no word for what it missed. */
  onEventsMissed(): void {
    this.connection.closeConnection('SLOW_CONSUMER', 'events were lost')
  }

  closeConnection(reason: CloseReason, message: string, forget = false): void {
    this.connection.closeConnection(reason, message, forget)
  }

  /** The game does not admit this session to the shard: what was sent there is void. */
  onChannelForbidden(channel: LegacyChannel): void {
    for (const [contract, candidate] of this.#channels)
      if (candidate === channel) this.#channels.delete(contract)
    channel.cancelPending()
    this.connection.addStrike('the shard does not admit this session')
  }

  /** `count` calls were sent (negative: have ended). */
  addPendingCalls(count: number): void {
    this.#pendingCalls += count
    this.connection.addPendingCalls(count)
    if (count < 0 && this.#queuedCommands.length > 0)
      this.connection.gateway.clock.defer(() => this.#runQueuedCommands())
  }

  /** Takes up the commands that came early, as far as it goes. */
  #runQueuedCommands(): void {
    const queued = this.#queuedCommands
    this.#queuedCommands = []
    this.#queuedBytes = 0
    this.connection.runQueuedFrames(() => {
      let handled = 0
      try {
        for (const { command, body } of queued) {
          if (this.connection.isClosed) return
          // It may be the last thing that a closing connection waits for, and opens no channel after that.
          this.handleFrame(command, body, 0, body.length)
          handled++
          this.connection.addPendingCalls(-1)
        }
      } finally {
        // What came behind a fault is void.
        this.connection.addPendingCalls(handled - queued.length)
      }
    })
  }

  onConnectionClosed(): void {
    for (const channel of this.#channels.values()) channel.shard.closeChannel(true)
    this.identity.onConnectionClosed(true)
  }
}

class LegacyChannel implements ChannelOut {
  readonly #session: LegacySession
  readonly shard: ChannelIn
  #lastSent = 0
  #lastSettled = 0
  /** The session was bound to another key: answers still come, events do not. */
  #isDetached = false
  /** The call that is being timed, and since when. */
  #sampledSequence = 0
  #sampledMs = 0

  constructor(session: LegacySession, channel: number, { name: contract }: RoutedContract, key: string) {
    this.#session = session
    const shard = { contract, key }
    const { session: id, uid, epoch, connectionGeneration: generation } = session.identity
    const request = {
      shard,
      session: id,
      channel,
      legacy: true,
      activation: 0,
      membershipToken: EMPTY_BYTES,
      eventAck: 0,
      uid,
      epoch,
      generation,
    }
    this.shard = session.connection.gateway.link.open(request, this)
  }

  sendCall(command: number, flags: number, body: Uint8Array): void {
    const { gateway } = this.#session.connection
    if (gateway.meter.shouldSample()) {
      this.#sampledSequence = this.#lastSent + 1
      this.#sampledMs = gateway.clock.mono()
    }
    this.#session.addPendingCalls(1)
    this.shard.submitCall(++this.#lastSent, command, flags, this.#lastSettled, body)
  }

  /** Nothing of it will be answered. */
  cancelPending(): void {
    this.#isDetached = true
    this.#settleThrough(this.#lastSent)
  }

  /** Closed once its calls are answered. */
  closeWhenSettled(): void {
    this.#isDetached = true
    if (this.#lastSettled >= this.#lastSent) this.shard.closeChannel(true)
  }

  #settleThrough(sequence: number): void {
    if (sequence <= this.#lastSettled) return
    const { gateway } = this.#session.connection
    if (this.#sampledSequence !== 0 && sequence >= this.#sampledSequence) {
      gateway.meter.onCallLatency(gateway.clock.mono() - this.#sampledMs)
      this.#sampledSequence = 0
    }
    const settledCalls = sequence - this.#lastSettled
    this.#lastSettled = sequence
    this.#session.addPendingCalls(-settledCalls)
    if (this.#isDetached && this.#lastSettled >= this.#lastSent) this.shard.closeChannel(true)
  }

  channelOpened(_activation: number, _mark: number, lost: boolean): void {
    if (lost) this.#settleThrough(this.#lastSent)
  }

  reply(sequence: number, command: number, body: Uint8Array): void {
    const { connection } = this.#session
    connection.writer.writeFrame(command, connection.encryptBody(body))
    this.#settleThrough(sequence)
  }

  error(sequence: number, command: number, _kind: ErrorKind, code: string, message: string): void {
    this.#settleThrough(sequence)
    if (code === 'BAD_INPUT' || code === 'UNKNOWN_COMMAND')
      this.#session.connection.addStrike(`command ${command}: ${message}`)
  }

  event(_sequence: number, event: number, body: Uint8Array): void {
    if (!this.#isDetached) this.#session.connection.sendLegacyEvent(event, body)
  }

  callsApplied(mark: number): void {
    this.#settleThrough(mark)
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
    const { connection } = this.#session
    if (code === SUPERSEDED) connection.closeConnection('REPLACED', 'this player has logged in elsewhere')
    else if (code === 'FORBIDDEN') this.#session.onChannelForbidden(this)
    else connection.closeConnection('OVERLOADED', `the shard ended the channel: ${code}`)
  }
}

/** What opening a channel costs of a session's budget: it may wake a shard. */
const OPEN_COST = 20
