// A version 2 session: HELLO, then channels to shards by contract and key. It checks who may open what and keeps
// the windows; sequences, marks, answers and events are the shard's business.

import { EMPTY_BYTES } from '../../core/wire/bytes.ts'
import { isKey, shardName } from '../../core/wire/shardid.ts'
import { ProtocolError, type CloseReason, type SystemCode } from '../../core/wire/errors.ts'
import {
  CALL_BYTES,
  decodeAck,
  decodeCall,
  decodeClose,
  decodeHello,
  decodeOpen,
  decodeResume,
  encodeError,
  encodeOpened,
  encodeResync,
  encodeToken,
  encodeWelcome,
  MESSAGE,
  PROTOCOL_VERSION,
  type ErrorKind,
  type Open,
} from '../../core/wire/message.ts'
import { SessionChannel } from './channel.ts'
import { PAUSE_REASON, type Connection } from './connection.ts'
import type { Gateway } from './gateway.ts'
import { startHandshake } from './handshake.ts'
import type { SessionIdentity, SessionIdentityOwner } from './identity.ts'

/** What opening a channel costs of a session's budget: it may wake a shard. */
const OPEN_COST = 20

export class Session implements SessionIdentityOwner {
  readonly connection: Connection
  readonly #channels = new Map<number, SessionChannel>()
  #hasHello = false
  identity: SessionIdentity | null = null
  /** OPENED of channel 0. */
  #openedCount = 0
  /** What the session's own shard said before WELCOME; null = WELCOME has been said. */
  #untilWelcome: (() => void)[] | null = []
  #areEventsPaused = false

  constructor(connection: Connection) {
    this.connection = connection
  }

  get gateway(): Gateway {
    return this.connection.gateway
  }

  /** @throws ProtocolError */
  handleFrame(command: number, source: Uint8Array, start: number, end: number): void {
    if (command === MESSAGE.CALL) return this.#handleCall(source, start, end)
    switch (command) {
      case MESSAGE.HELLO:
        return this.#handleHello(source, start, end)
      case MESSAGE.OPEN:
        return this.#openChannel(decodeOpen(source, start, end))
      case MESSAGE.RESUME:
        for (const open of decodeResume(source, start, end).opens) this.#openChannel(open)
        return
      case MESSAGE.ACK: {
        const ack = decodeAck(source, start, end)
        if (ack.channel === 0) return this.identity?.ackEvents(ack.events)
        return this.#channels.get(ack.channel)?.shard.ack(ack.calls, ack.events)
      }
      case MESSAGE.PING:
        if (this.identity?.isTokenStale) this.onIdentityChanged()
        return this.connection.writer.writeFrame(MESSAGE.PONG, source.subarray(start, end))
      case MESSAGE.PONG:
        return this.connection.handlePong(source, start, end)
      case MESSAGE.CLOSE:
        return this.closeChannel(decodeClose(source, start, end).channel)
      default:
        throw new ProtocolError('BAD_MESSAGE', `message ${command} is not one a client sends`)
    }
  }

  #handleHello(source: Uint8Array, start: number, end: number): void {
    if (this.#hasHello) throw new ProtocolError('BAD_MESSAGE', 'HELLO was said before')
    this.#hasHello = true
    const hello = decodeHello(source, start, end)
    if (hello.minVersion > PROTOCOL_VERSION || hello.maxVersion < PROTOCOL_VERSION) {
      const range = `${hello.minVersion}..${hello.maxVersion}`
      throw new ProtocolError(
        'BAD_MESSAGE',
        `client speaks versions ${range}, this server ${PROTOCOL_VERSION}`,
      )
    }
    const { connection } = this
    connection.pauseReading(PAUSE_REASON.greeting)
    startHandshake(hello, this, connection.transport.remote, {
      onAccepted: (identity, isResumed) => this.#startSession(identity, isResumed),
      onRejected: (reason, message) => {
        connection.resumeReading(PAUSE_REASON.greeting)
        connection.closeConnection(reason, message)
      },
      onInternalError: (error) => {
        connection.resumeReading(PAUSE_REASON.greeting)
        connection.onInternalError(error)
      },
    })
  }

  #startSession(identity: SessionIdentity, isResumed: boolean): void {
    const { connection, gateway } = this
    if (connection.isClosed) return identity.onConnectionClosed(false)
    this.identity = identity
    const { sessions, limits, times } = gateway
    sessions
      .get(identity.sessionHex)
      ?.closeConnection('REPLACED', 'the session arrived on a newer connection')
    sessions.set(identity.sessionHex, connection)
    if (isResumed) gateway.meter.resumes++
    connection.updateAuthentication(identity.uid)
    if (isResumed || identity.uid !== '') identity.openSessionLink()
    const token = identity.createToken()
    const sendWelcome = (bytes: Uint8Array): void => {
      const welcome = {
        version: PROTOCOL_VERSION,
        resumed: isResumed,
        session: identity.session,
        heartbeatMs: times.heartbeatMs,
        maxBodyBytes: limits.maxBodyBytes,
        token: bytes,
      }
      connection.writer.writeFrame(MESSAGE.WELCOME, encodeWelcome(welcome))
      const deferred = this.#untilWelcome ?? []
      this.#untilWelcome = null
      for (const run of deferred) run()
      connection.resumeReading(PAUSE_REASON.greeting)
    }
    if (token instanceof Promise)
      token.then(sendWelcome, (error: unknown) => connection.onInternalError(error))
    else sendWelcome(token)
  }

  #openChannel(open: Open): void {
    const { identity, connection } = this
    if (!identity) throw new ProtocolError('BAD_MESSAGE', 'OPEN before WELCOME')
    const { routingTable: door, limits, link } = this.gateway
    if (this.#channels.has(open.channel))
      throw new ProtocolError('BAD_MESSAGE', `channel ${open.channel} is open`)
    connection.addCost(OPEN_COST)
    const contract = door.byName.get(open.contract)
    const reject = (code: SystemCode, message: string): void =>
      this.sendError(open.channel, 0, 'system', code, message)
    if (!contract) return reject('UNKNOWN_CONTRACT', 'this game has no such contract')
    const boundKey = contract.bound ? identity.boundKey(contract.name) : undefined
    if (contract.bound && boundKey === undefined)
      return reject('FORBIDDEN', `${contract.name}: this session is not bound to a key of it yet`)
    const isAllowed = boundKey !== undefined || (contract.players === true && identity.uid !== '')
    if (!contract.public && !isAllowed)
      return reject('FORBIDDEN', `${contract.name} is not public${contract.players ? ': log in first' : ''}`)
    const key = boundKey ?? (contract.stateless ? contract.key : open.key)
    if (!contract.stateless && !isKey(key, limits.maxKeyBytes))
      return reject('BAD_KEY', `a key is 1..${limits.maxKeyBytes} bytes of text`)
    if (this.#channels.size >= limits.maxChannels)
      return reject('TOO_MANY_CHANNELS', `at most ${limits.maxChannels}`)
    const shard = { contract: contract.name, key }
    const channel = new SessionChannel(this, open.channel, shardName(shard))
    this.#channels.set(open.channel, channel)
    const { session, uid, epoch, connectionGeneration: generation } = identity
    const { activation, eventAck } = open
    channel.shard = link.open(
      {
        shard,
        session,
        channel: open.channel,
        legacy: false,
        activation,
        membershipToken: EMPTY_BYTES,
        eventAck,
        uid,
        epoch,
        generation,
      },
      channel,
    )
    // What the shard had granted before, and says again while it opens.
    if (identity.uid !== uid) channel.shard.identify(identity.uid, identity.epoch)
    if (this.#areEventsPaused) channel.pauseEvents(true)
  }

  #handleCall(source: Uint8Array, start: number, end: number): void {
    const call = decodeCall(source, start, end)
    const { connection } = this
    const channel = this.#channels.get(call.channel)
    if (!channel)
      return this.sendError(call.channel, call.sequence, 'system', 'CLOSED', 'the channel is not open')
    const { routingTable: door, limits } = this.gateway
    if (call.sequence - call.replyAck > limits.maxUnackedReplies) {
      throw new ProtocolError('WINDOW', `${call.sequence - call.replyAck} calls without acknowledged reply`)
    }
    const command = door.byNumber.get(call.command)?.command
    if (command !== undefined && command.cost > 1) connection.addCost(command.cost - 1)
    const maxBytes = command?.maxBytes ?? 0
    const size = end - start - CALL_BYTES
    if (maxBytes !== 0 && size > maxBytes) {
      const message = `body ${size} bytes exceeds ${maxBytes}`
      return this.sendError(call.channel, call.sequence, 'system', 'BAD_INPUT', message)
    }
    // Sent before the client heard that its shard was lost; it comes again, behind what is older.
    if (call.opening < channel.minOpening) return
    const body = connection.decryptBody(source.subarray(start + CALL_BYTES, end))
    if (command?.durable) channel.unackedDurableCall = call.sequence
    channel.sendCall(call.sequence, call.command, call.replyAck, body)
  }

  sendError(channel: number, sequence: number, kind: ErrorKind, code: string, message: string): void {
    if (kind === 'system') this.gateway.meter.countError(code)
    this.connection.writer.writeFrame(MESSAGE.ERROR, encodeError({ channel, sequence, kind, code, message }))
  }

  /** The client leaves a channel for good. */
  closeChannel(number: number): void {
    const channel = this.removeChannel(number)
    channel?.settleAll()
    channel?.shard.closeChannel(true)
  }

  /** The channel is no longer ours. */
  removeChannel(number: number): SessionChannel | undefined {
    const channel = this.#channels.get(number)
    this.#channels.delete(number)
    return channel
  }

  /** The client reads too slowly: events wait beside their shards, until (false) it has caught up. */
  pauseEvents(isPaused: boolean): void {
    this.#areEventsPaused = isPaused
    this.identity?.pauseEvents(isPaused)
    for (const channel of this.#channels.values()) {
      // What has waited may fill it again.
      if (!isPaused && this.connection.writer.isOverUnreadLimit) return void (this.#areEventsPaused = true)
      channel.pauseEvents(isPaused)
    }
  }

  onIdentityChanged(): void {
    const { identity, connection } = this
    if (!identity) return
    connection.updateAuthentication(identity.uid)
    for (const { shard } of this.#channels.values()) shard.identify(identity.uid, identity.epoch)
    const token = identity.renewToken()
    const sendToken = (bytes: Uint8Array): void =>
      connection.writer.writeFrame(MESSAGE.TOKEN, encodeToken(bytes))
    // On Workers it is made in its own time; all that is said meanwhile leaves in one message with it.
    if (token instanceof Promise) connection.writer.corkUntil(token.then(sendToken))
    else sendToken(token)
  }

  onLinkOpened(activation: number): void {
    this.#afterWelcome(() => {
      const opened = { channel: 0, activation, mark: 0, lost: false, opening: ++this.#openedCount }
      if (this.identity?.uid !== '') this.connection.writer.writeFrame(MESSAGE.OPENED, encodeOpened(opened))
    })
  }

  onPush(sequence: number, event: number, body: Uint8Array): void {
    this.#afterWelcome(() =>
      this.connection.writer.writeMessage(
        MESSAGE.EVENT,
        0,
        sequence,
        event,
        this.connection.encryptBody(body),
      ),
    )
  }

  onEventsMissed(events: number): void {
    this.#afterWelcome(() =>
      this.connection.writer.writeFrame(MESSAGE.RESYNC, encodeResync({ channel: 0, events })),
    )
  }

  #afterWelcome(run: () => void): void {
    if (this.#untilWelcome) this.#untilWelcome.push(run)
    else run()
  }

  closeConnection(reason: CloseReason, message: string, forget = false): void {
    this.connection.closeConnection(reason, message, forget)
  }

  /** `forget`: the client does not come back. */
  onConnectionClosed(isFinal: boolean): void {
    const { sessions } = this.gateway
    const name = this.identity?.sessionHex ?? ''
    if (sessions.get(name) === this.connection) sessions.delete(name)
    for (const channel of this.#channels.values()) channel.shard.closeChannel(isFinal)
    this.#channels.clear()
    this.identity?.onConnectionClosed(isFinal)
  }
}
