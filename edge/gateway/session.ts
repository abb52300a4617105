// A version 2 session: the handshake, then channels to shards by contract and key. It checks which shards the session may
// open and how many replies may be unacknowledged; sequence numbers, marks, replies and events are made by the shards.

import { NEW_CHANNEL_DEFAULTS, REFUSE, RETAIN } from '../../core/ports/link.ts'
import { isKey } from '../../core/wire/shardid.ts'
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
import { SessionChannel, type ChannelOwner } from './channel.ts'
import { OPEN_COST, type GatewaySession, type SessionConnection } from './gatewaysession.ts'
import type { GatewayContext } from './context.ts'
import { isNewSession, startHandshake, type HandshakeContext } from './handshake.ts'
import type { SessionIdentity, SessionIdentityOwner } from './identity.ts'
import { PAUSE_REASON } from './reader.ts'

export interface SessionHost extends HandshakeContext, Pick<GatewayContext, 'limits' | 'meter' | 'overload' | 'times'> {
  /** Makes this the connection of a session; an earlier one is closed with REPLACED. */
  registerSession(sessionHex: string, connection: SessionConnection): void
  /** Has no effect when a newer connection is registered. */
  unregisterSession(sessionHex: string, connection: SessionConnection): void
}

/** What a client may send before it has received the WELCOME of a session that it resumes. */
const EARLY_MESSAGES: ReadonlySet<number> = new Set([MESSAGE.HELLO, MESSAGE.OPEN, MESSAGE.RESUME])

export class Session implements GatewaySession, SessionIdentityOwner, ChannelOwner {
  readonly kind = 'session'
  readonly #connection: SessionConnection
  readonly #host: SessionHost
  readonly remote: string
  readonly #channels = new Map<number, SessionChannel>()
  /** `accepted`: HELLO was accepted, but its WELCOME waits for the token. */
  #state: 'awaitingHello' | 'handshake' | 'accepted' | 'welcomed' = 'awaitingHello'
  #identity: SessionIdentity | null = null
  /** OPENED messages of channel 0. */
  #openedCount = 0
  /** Of the last token that was written: signing may be asynchronous. */
  #writtenTokenGeneration = 0
  /** The first REPLY that left after that token, or in one message with it. */
  #replyAfterToken: { readonly channel: number; readonly sequence: number } | null = null
  /** Messages of the session shard that must follow WELCOME. */
  #untilWelcome: (() => void)[] = []
  #areEventsPaused = false

  constructor(connection: SessionConnection, host: SessionHost) {
    this.#connection = connection
    this.#host = host
    this.remote = connection.remote
  }

  /** null until HELLO is accepted. */
  get identity(): SessionIdentity | null {
    return this.#identity
  }

  get resumableId(): string {
    return this.#identity?.sessionHex ?? ''
  }

  get tokenGeneration(): number {
    return this.#writtenTokenGeneration
  }

  handleFrame(command: number, source: Uint8Array, start: number, end: number): void {
    // The first condition is false for all but the first frames: this is the hot path.
    if (
      this.#identity?.isWelcomeUnconfirmed &&
      !EARLY_MESSAGES.has(command) &&
      !this.#connection.reader.isBufferedFrame
    )
      this.#confirmWelcome()
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
        if (ack.channel === 0) return this.#identity?.ackEvents(ack.events)
        this.#confirmReply(ack.channel, ack.calls)
        return this.#channels.get(ack.channel)?.shard.ack(ack.calls, ack.events)
      }
      case MESSAGE.PING:
        if (this.#identity?.isTokenStale) this.onIdentityChanged()
        return this.#connection.writer.writeFrame(MESSAGE.PONG, source.subarray(start, end))
      case MESSAGE.PONG:
        return this.#identity?.confirmToken(this.#connection.handlePong(source, start, end))
      case MESSAGE.CLOSE:
        return this.#closeChannel(decodeClose(source, start, end).channel)
      default:
        throw new ProtocolError('BAD_MESSAGE', `message ${command} is not one that a client sends`)
    }
  }

  /** The client sent a frame after it had received WELCOME. What arrived together with HELLO does not show that. */
  #confirmWelcome(): void {
    const identity = this.#identity
    if (identity?.isWelcomeUnconfirmed) identity.confirmToken(identity.connectionGeneration)
  }

  replySent(channel: number, sequence: number): void {
    this.#replyAfterToken ??= { channel, sequence }
  }

  /** The client has received the replies of a channel up to `calls`. */
  #confirmReply(channel: number, calls: number): void {
    const reply = this.#replyAfterToken
    if (reply?.channel === channel && calls >= reply.sequence)
      this.#identity?.confirmToken(this.#writtenTokenGeneration)
  }

  #handleHello(source: Uint8Array, start: number, end: number): void {
    if (this.#state !== 'awaitingHello') throw new ProtocolError('BAD_MESSAGE', 'HELLO was sent twice')
    this.#state = 'handshake'
    const hello = decodeHello(source, start, end)
    if (hello.minVersion > PROTOCOL_VERSION || hello.maxVersion < PROTOCOL_VERSION) {
      const range = `${hello.minVersion}..${hello.maxVersion}`
      throw new ProtocolError('BAD_MESSAGE', `the client supports versions ${range}, this server ${PROTOCOL_VERSION}`)
    }
    const connection = this.#connection
    if (isNewSession(hello) && this.#host.overload.refusesSessions)
      return connection.closeConnection('OVERLOADED', 'the server is overloaded')
    connection.reader.pause(PAUSE_REASON.handshake)
    startHandshake(hello, {
      owner: this,
      context: this.#host,
      connection,
      onAccepted: (identity, isResumed) => this.#startSession(identity, isResumed),
      onRejected: (reason, message) => {
        connection.reader.resume(PAUSE_REASON.handshake)
        connection.closeConnection(reason, message)
      },
      onInternalError: (error) => {
        connection.reader.resume(PAUSE_REASON.handshake)
        connection.onInternalError(error)
      },
    })
  }

  #startSession(identity: SessionIdentity, isResumed: boolean): void {
    const connection = this.#connection
    if (connection.isClosed) return identity.onConnectionClosed(false)
    this.#identity = identity
    this.#state = 'accepted'
    this.#host.registerSession(identity.sessionHex, connection)
    if (isResumed) this.#host.meter.count('resumes')
    connection.updateAuthentication(identity.uid)
    if (isResumed || identity.uid !== '') identity.openSessionLink()
    const token = identity.createToken()
    if (!(token instanceof Promise)) return this.#sendWelcome(identity, isResumed, token)
    token.then(
      (bytes) => this.#sendWelcome(identity, isResumed, bytes),
      (error: unknown) => connection.onInternalError(error),
    )
  }

  #sendWelcome(identity: SessionIdentity, resumed: boolean, token: Uint8Array): void {
    const { session } = identity
    const { heartbeatMs } = this.#host.times
    const { maxBodyBytes } = this.#host.limits
    const welcome = { version: PROTOCOL_VERSION, resumed, session, heartbeatMs, maxBodyBytes, token }
    this.#connection.writer.writeFrame(MESSAGE.WELCOME, encodeWelcome(welcome))
    this.#writtenTokenGeneration = identity.tokenGeneration
    this.#state = 'welcomed'
    const deferred = this.#untilWelcome
    this.#untilWelcome = []
    for (const run of deferred) run()
    this.#connection.reader.resume(PAUSE_REASON.handshake)
  }

  #openChannel(open: Open): void {
    const identity = this.#identity
    if (!identity) throw new ProtocolError('BAD_MESSAGE', 'OPEN before WELCOME')
    const { routingTable, limits, link } = this.#host
    const { channel: number, activation, eventAck } = open
    if (this.#channels.has(number)) throw new ProtocolError('BAD_MESSAGE', `channel ${number} is already open`)
    this.#connection.reader.addCost(OPEN_COST)
    const contract = routingTable.byName.get(open.contract)
    const reject = (code: SystemCode, message: string): void => this.sendError(number, 0, 'system', code, message)
    if (!contract) return reject('UNKNOWN_CONTRACT', 'this game has no such contract')
    const boundKey = contract.bound ? identity.boundKey(contract.name) : undefined
    if (contract.bound && boundKey === undefined)
      return reject('FORBIDDEN', `${contract.name}: this session is not bound to a key of it yet`)
    const isAllowed = boundKey !== undefined || (contract.players === true && identity.uid !== '')
    if (!contract.public && !isAllowed)
      return reject('FORBIDDEN', `${contract.name} is not public${contract.players ? ': log in first' : ''}`)
    const key = boundKey ?? (contract.stateless ? contract.key : open.key)
    if (!contract.stateless && !isKey(key, limits.maxKeyBytes))
      return reject('BAD_KEY', `a key must be 1..${limits.maxKeyBytes} bytes of text`)
    if (this.#channels.size >= limits.maxChannels)
      return reject('TOO_MANY_CHANNELS', `at most ${limits.maxChannels} channels`)
    const { opener } = identity
    const shard = { contract: contract.name, key }
    const request = { ...NEW_CHANNEL_DEFAULTS, ...opener, shard, channel: number, activation, eventAck }
    const channel = new SessionChannel(this, this.#connection, this.#host, request)
    this.#channels.set(number, channel)
    channel.openShard(link, request)
    // The shard may log the session in while the channel opens.
    if (identity.uid !== opener.uid) channel.shard.identify(identity.uid, identity.epoch)
    if (this.#areEventsPaused) channel.pauseEvents(true)
  }

  #handleCall(source: Uint8Array, start: number, end: number): void {
    const call = decodeCall(source, start, end)
    const connection = this.#connection
    // Only an OPENED of this connection contains one.
    if (call.opening !== 0) this.#confirmWelcome()
    this.#confirmReply(call.channel, call.replyAck)
    const channel = this.#channels.get(call.channel)
    if (!channel) return this.sendError(call.channel, call.sequence, 'system', 'CLOSED', 'the channel is not open')
    const { routingTable, limits } = this.#host
    const unackedReplies = call.sequence - call.replyAck
    if (unackedReplies > limits.maxUnackedReplies)
      throw new ProtocolError(
        'WINDOW',
        `${unackedReplies} calls without acknowledged reply exceed ${limits.maxUnackedReplies}`,
      )
    const command = routingTable.byNumber.get(call.command)?.command
    if (command !== undefined && command.cost > 1) connection.reader.addCost(command.cost - 1)
    const maxBytes = command?.maxBytes ?? 0
    const size = end - start - CALL_BYTES
    if (maxBytes !== 0 && size > maxBytes) {
      const message = `body ${size} bytes exceeds ${maxBytes}`
      return this.sendError(call.channel, call.sequence, 'system', 'BAD_INPUT', message)
    }
    if (channel.isStale(call.opening)) return
    const body = connection.decryptBody(source.subarray(start + CALL_BYTES, end))
    const isRefused = this.#host.overload.isOverloaded
    if (isRefused) this.#host.meter.count('refusedCalls')
    const flags = isRefused ? RETAIN | REFUSE : RETAIN
    channel.sendCall(call.sequence, call.command, flags, command?.durable === true, call.replyAck, body)
  }

  sendError(channel: number, sequence: number, kind: ErrorKind, code: string, message: string): void {
    const { meter, overload, times } = this.#host
    if (kind === 'system') meter.countError(code)
    // Not while only one shard is busy: then the others can be called.
    const isServerOverloaded = kind === 'system' && code === 'OVERLOADED' && overload.isOverloaded
    const retry = isServerOverloaded && { retryAfterMs: times.retryAfterMs }
    this.#connection.writer.writeFrame(MESSAGE.ERROR, encodeError({ channel, sequence, kind, code, message, ...retry }))
  }

  #closeChannel(number: number): void {
    const channel = this.removeChannel(number)
    channel?.settleAll()
    channel?.shard.closeChannel(true)
  }

  removeChannel(number: number): SessionChannel | undefined {
    const channel = this.#channels.get(number)
    this.#channels.delete(number)
    return channel
  }

  pauseEvents(isPaused: boolean): void {
    this.#areEventsPaused = isPaused
    this.#identity?.pauseEvents(isPaused)
    for (const channel of this.#channels.values()) {
      // The events of the channels before this one may have filled the buffer again.
      if (!isPaused && this.#connection.writer.isOverUnreadLimit) return void (this.#areEventsPaused = true)
      channel.pauseEvents(isPaused)
    }
  }

  onIdentityChanged(): void {
    const identity = this.#identity
    if (!identity) return
    const { writer } = this.#connection
    this.#connection.updateAuthentication(identity.uid)
    for (const { shard } of this.#channels.values()) shard.identify(identity.uid, identity.epoch)
    const token = identity.renewToken()
    const { tokenGeneration } = identity
    this.#replyAfterToken = null
    const sendToken = (bytes: Uint8Array): void => {
      writer.writeFrame(MESSAGE.TOKEN, encodeToken(bytes))
      this.#writtenTokenGeneration = Math.max(this.#writtenTokenGeneration, tokenGeneration)
    }
    // On Workers signing is asynchronous; later frames leave in one message after the token.
    if (token instanceof Promise) writer.corkUntil(token.then(sendToken))
    else sendToken(token)
  }

  onLinkOpened(activation: number): void {
    this.#afterWelcome(() => {
      const opened = { channel: 0, activation, mark: 0, lost: false, opening: ++this.#openedCount }
      if (this.#identity?.uid !== '') this.#connection.writer.writeFrame(MESSAGE.OPENED, encodeOpened(opened))
    })
  }

  onPush(sequence: number, event: number, body: Uint8Array): void {
    const { writer } = this.#connection
    this.#afterWelcome(() => writer.writeMessage(MESSAGE.EVENT, 0, sequence, event, this.#connection.encryptBody(body)))
  }

  onEventsMissed(events: number): void {
    const { writer } = this.#connection
    this.#afterWelcome(() => writer.writeFrame(MESSAGE.RESYNC, encodeResync({ channel: 0, events })))
  }

  #afterWelcome(run: () => void): void {
    if (this.#state === 'welcomed') run()
    else this.#untilWelcome.push(run)
  }

  closeConnection(reason: CloseReason, message: string, isFinal?: boolean): void {
    this.#connection.closeConnection(reason, message, isFinal)
  }

  onConnectionClosed(isFinal: boolean): void {
    this.#host.unregisterSession(this.resumableId, this.#connection)
    for (const { shard } of this.#channels.values()) shard.closeChannel(isFinal)
    this.#channels.clear()
    this.#identity?.onConnectionClosed(isFinal)
  }
}
