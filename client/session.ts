// One session with a server, across connections. Invariant: only the last token of the server resumes the session; without a
// token the next connection starts a new session and reopens every channel. States: 'connecting' (no connection) -> 'starting'
// or 'resuming' (HELLO sent) -> 'open' (WELCOME received) -> 'connecting' after a failure; 'ended' from any state, permanently.

import { EMPTY_BYTES } from '../core/wire/bytes.ts'
import { requireKey, type Contract, type Entries } from '../core/wire/contract.ts'
import { InputError, type ProtocolError } from '../core/wire/errors.ts'
import { DEFAULT_FRAME_IDENTITY } from '../core/wire/frame.ts'
import { DEFAULT_LIMITS } from '../core/wire/limits.ts'
import * as wire from '../core/wire/message.ts'
import { Connector } from './connector.ts'
import { ClientChannel, type ChannelTransport, type Remote } from './channel.ts'
import type { ConnectOptions, Firefly, State } from './api.ts'
import { Heartbeat } from './heartbeat.ts'
import type { ClientConnection } from './connection.ts'
import { Listeners, rethrow, type Measure } from './listeners.ts'
import { ReconnectTracker, type ShardName } from './reconnect.ts'
import { SessionEvents } from './sessionevents.ts'
import { finalErrorReason, finalCloseReason, SessionError, type Closed } from './closereason.ts'
import { dialWebSocket, platformClock } from './socket.ts'

/** Far above the limit of any server. */
const MAX_KEY_CHARS = 1_024
/** Maximum size of RESUME, far below that of a frame's body; the remaining channels are opened one by one. */
const RESUME_BYTES = 32_768
const OPEN_BYTES = 64
/** How long a HELLO can still reach the server after its connection was given up: the server drops slower connections. */
const LATE_HELLO_MS = 30_000
/** Each of them allows to answer one REPLACED, so two devices do not replace each other for ever. */
const MAX_LATE_HELLOS = 4
const NO_SESSION = new Uint8Array(wire.SESSION_BYTES)
/** Name of channel 0 in metrics and 'resynced'. */
const SESSION_SHARD: ShardName = { contract: '@session', key: '' }

export interface ConnectCallbacks {
  /** An attempt failed before the first WELCOME. */
  onFailed(reason: string): void
  onWelcome(): void
  onEnded(error: SessionError): void
}

export class ClientSession implements Firefly {
  readonly #callbacks: ConnectCallbacks
  readonly #connector: Connector
  readonly #heartbeat: Heartbeat
  readonly #listeners: Listeners
  readonly #measure: Measure
  readonly #reconnect: ReconnectTracker
  readonly #sessionEvents: SessionEvents
  readonly #transport: ChannelTransport
  readonly #canRenewTicket: boolean
  readonly #channels = new Map<number, ClientChannel>()
  readonly #byShard = new Map<string, ClientChannel>()
  /** Channels that the game left without connection: the next RESUME reopens them and CLOSE follows. */
  #pendingCloses: wire.Open[] = []
  #state: 'connecting' | 'starting' | 'resuming' | 'open' | 'ended' = 'connecting'
  /** null before the first WELCOME. */
  #session: Uint8Array | null = null
  #token: Uint8Array = EMPTY_BYTES
  /** HELLO messages without WELCOME, oldest first, with the time until which they may arrive at the server. */
  #lateHellos: { readonly isResume: boolean; readonly untilMs: number }[] = []
  #maxBodyBytes = DEFAULT_LIMITS.maxBodyBytes
  #nextChannel = 1
  #rttMs = 0
  #lastError = 'no connection yet'

  constructor(url: string, options: ConnectOptions, callbacks: ConnectCallbacks) {
    const { clock = platformClock, dial = dialWebSocket, identity = DEFAULT_FRAME_IDENTITY, metrics } = options
    const traffic = { in: 0, out: 0 }
    const send = (command: number, body: Uint8Array): void => this.#connector.send(command, body)
    const measure: Measure = (metric) => {
      try {
        metrics?.(metric)
      } catch (error) {
        rethrow(clock, error)
      }
    }
    this.#callbacks = callbacks
    this.#canRenewTicket = typeof options.ticket === 'function'
    this.#measure = measure
    this.#listeners = new Listeners(clock)
    this.#reconnect = new ReconnectTracker(clock, this.#listeners, measure)
    this.#sessionEvents = new SessionEvents(clock, send, measure)
    this.#heartbeat = new Heartbeat(clock, {
      sendPing: (body) => {
        this.#sessionEvents.flushAck()
        for (const channel of this.#channels.values()) channel.flushAck()
        send(wire.MESSAGE.PING, body)
        measure({ name: 'bytes', ...traffic })
      },
      onRoundTrip: (ms) => {
        this.#rttMs = ms
        measure({ name: 'rtt', ms })
      },
      onTimeout: (ms) => this.#connector.failAttempt(`nothing received for ${Math.round(ms)} ms`),
    })
    this.#connector = new Connector({ url, dial, clock, identity, traffic }, options.ticket, {
      needsTicket: () => this.#token.length === 0,
      onConnected: (connection, ticket) => this.#sendHello(connection, ticket),
      onReceived: () => this.#heartbeat.received(),
      onFrame: (command, source, start, end) => this.#frameReceived(command, source, start, end),
      onFailed: (reason, error) => this.#connectionFailed(reason, error),
    })
    this.#transport = {
      clock,
      timeoutMs: options.timeoutMs ?? 15_000,
      measure,
      maxBodyBytes: () => this.#maxBodyBytes,
      send,
      onOpenAnswered: (channel) => this.#reconnect.channelAnswered(channel.number),
      onStale: (channel) => this.#reconnect.markStale({ contract: channel.contract.name, key: channel.key }),
      isOpen: () => this.#state === 'open',
      onRefused: (channel) => {
        this.#channels.delete(channel.number)
        this.#reconnect.channelAnswered(channel.number)
        const next = this.#nextChannel++
        this.#channels.set(next, channel)
        return next
      },
      onClosed: (channel, pendingClose) => this.#removeChannel(channel, pendingClose),
    }
  }

  start(): void {
    this.#connector.startAttempt()
  }

  get state(): State {
    if (this.#state === 'ended') return 'closed'
    return this.#state === 'open' ? 'open' : 'paused'
  }

  get rttMs(): number {
    return this.#rttMs
  }

  /** WELCOME was received. */
  get hasSession(): boolean {
    return this.#session !== null
  }

  get lastError(): string {
    return this.#lastError
  }

  at<E extends Entries, Code extends string>(contract: Contract<E, Code>, named?: string): Remote<E> {
    const key = requireKey(contract, named)
    if (key.length > MAX_KEY_CHARS) throw new InputError(`key of ${key.length} characters exceeds ${MAX_KEY_CHARS}`)
    const existing = this.#byShard.get(`${contract.name}/${key}`)
    if (existing) return existing.remote as Remote<E>
    const channel = new ClientChannel(this.#transport, this.#nextChannel++, contract, key)
    this.#channels.set(channel.number, channel)
    this.#byShard.set(`${contract.name}/${key}`, channel)
    if (this.#state === 'ended') channel.finishChannel('CLOSED')
    else if (this.#state === 'open') channel.openChannel()
    return channel.remote as Remote<E>
  }

  on(what: string | Contract, second: unknown, third?: unknown): () => void {
    if (typeof what === 'string') return this.#listeners.add(what, second as (data: never) => void)
    return this.#sessionEvents.addListener(what, second as string, third as (data: never) => void)
  }

  close(): Promise<void> {
    this.#endSession({ code: 'CLOSED', message: 'closed by the game' })
    return Promise.resolve()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Sends HELLO and, in the same write, RESUME with the channels that were opened in this session. */
  #sendHello(connection: ClientConnection, ticket: Uint8Array): void {
    const resumed = this.#token.length > 0 ? this.#session : null
    this.#state = resumed ? 'resuming' : 'starting'
    const versions = { minVersion: wire.PROTOCOL_VERSION, maxVersion: wire.PROTOCOL_VERSION }
    const hello = { ...versions, session: resumed ?? NO_SESSION, ticket, token: this.#token }
    connection.send(wire.MESSAGE.HELLO, wire.encodeHello(hello))
    const opens = resumed ? this.#openMessages() : []
    if (opens.length > 0) connection.send(wire.MESSAGE.RESUME, wire.encodeResume(opens))
    connection.flush()
  }

  #openMessages(): wire.Open[] {
    const opens = [...this.#pendingCloses]
    let bytesLeft = RESUME_BYTES
    for (const channel of this.#channels.values()) {
      if (channel.isNew) continue
      bytesLeft -= OPEN_BYTES + 3 * channel.key.length // UTF-8 takes 3 bytes at most for a UTF-16 unit
      if (bytesLeft < 0) break
      opens.push(channel.openMessage())
    }
    return opens
  }

  #frameReceived(command: number, source: Uint8Array, start: number, end: number): void {
    if (this.#state !== 'open' && command !== wire.MESSAGE.WELCOME && command !== wire.MESSAGE.ERROR) return
    const channel = (number: number): ClientChannel | undefined => this.#channels.get(number)
    switch (command) {
      case wire.MESSAGE.WELCOME:
        return this.#welcomeReceived(wire.decodeWelcome(source, start, end))
      case wire.MESSAGE.TOKEN:
        this.#token = wire.decodeToken(source, start, end).token
        return
      case wire.MESSAGE.OPENED: {
        const opened = wire.decodeOpened(source, start, end)
        if (opened.channel !== 0) return channel(opened.channel)?.openedReceived(opened)
        if (this.#sessionEvents.openedReceived(opened.activation)) this.#reconnect.markStale(SESSION_SHARD)
        return
      }
      case wire.MESSAGE.REPLY: {
        const reply = wire.decodeReply(source, start, end)
        return channel(reply.channel)?.calls.replyReceived(
          reply.sequence,
          source.subarray(start + wire.REPLY_BYTES, end),
        )
      }
      case wire.MESSAGE.EVENT: {
        const { channel: number, sequence, event } = wire.decodeEvent(source, start, end)
        const receiver = number === 0 ? this.#sessionEvents : channel(number)
        return receiver?.eventReceived(sequence, event, source.subarray(start + wire.EVENT_BYTES, end))
      }
      case wire.MESSAGE.RESYNC: {
        const resync = wire.decodeResync(source, start, end)
        if (resync.channel !== 0) return channel(resync.channel)?.resyncReceived(resync.events)
        this.#sessionEvents.resyncReceived(resync.events)
        this.#measure({ name: 'resync', ...SESSION_SHARD })
        return this.#reconnect.markStale(SESSION_SHARD)
      }
      case wire.MESSAGE.ERROR: {
        const error = wire.decodeError(source, start, end)
        if (error.channel !== 0) return channel(error.channel)?.errorReceived(error)
        this.#lastError = `${error.code}: ${error.message}`
        if (error.retryAfterMs !== undefined) this.#connector.delayNextAttempt(error.retryAfterMs)
        if (error.code === 'REPLACED') return this.#connector.failAttempt(this.#lastError)
        const final = finalErrorReason(error.code, error.message)
        return final ? this.#endSession(final) : undefined
      }
      case wire.MESSAGE.ACK: {
        const ack = wire.decodeAck(source, start, end)
        return channel(ack.channel)?.calls.markReceived(ack.calls)
      }
      case wire.MESSAGE.CLOSE: {
        const close = wire.decodeClose(source, start, end)
        return channel(close.channel)?.finishChannel(close.code)
      }
      case wire.MESSAGE.PING:
        return this.#transport.send(wire.MESSAGE.PONG, new Uint8Array(source.subarray(start, end)))
      case wire.MESSAGE.PONG:
        return this.#heartbeat.pongReceived(source, start, end)
    }
  }

  #welcomeReceived(welcome: wire.Welcome): void {
    const state = this.#state
    if (state !== 'starting' && state !== 'resuming') return
    const { version, session, token, heartbeatMs } = welcome
    if (version !== wire.PROTOCOL_VERSION) {
      const message = `the server chose version ${version}, this client supports ${wire.PROTOCOL_VERSION}`
      return this.#endSession({ code: 'BAD_MESSAGE', message })
    }
    const opened = [...this.#channels.values()].filter((channel) => !channel.isNew)
    if (this.#session !== null && !(state === 'resuming' && welcome.resumed)) {
      for (const channel of this.#channels.values()) channel.sessionReplaced()
      this.#sessionEvents.sessionReplaced()
      if (this.state === 'closed') return
    }
    this.#session = session
    this.#token = token
    this.#maxBodyBytes = welcome.maxBodyBytes
    this.#reconnect.connectionOpened(
      opened.map(({ number }) => number),
      this.#connector.welcomeReceived(),
    )
    this.#heartbeat.start(heartbeatMs)
    this.#changeState('open')
    const pendingCloses = state === 'resuming' ? this.#pendingCloses : []
    this.#pendingCloses = []
    for (const { channel } of pendingCloses)
      this.#transport.send(wire.MESSAGE.CLOSE, wire.encodeClose({ channel, code: 'CLOSED' }))
    for (const channel of [...this.#channels.values()]) channel.openChannel()
    this.#callbacks.onWelcome()
  }

  #connectionFailed(reason: string, error: ProtocolError | null): void {
    this.#lastError = reason
    const final = finalCloseReason(reason)
    if (final && !(final.code === 'REPLACED' && this.#isReplacedByLateHello())) return this.#endSession(final)
    // A ticket given as a string is accepted once, whichever HELLO brings it.
    if (!final && (this.#state === 'resuming' || (this.#state === 'starting' && this.#canRenewTicket))) {
      const untilMs = this.#transport.clock.mono() + LATE_HELLO_MS
      this.#lateHellos.push({ isResume: this.#state === 'resuming', untilMs })
      if (this.#lateHellos.length > MAX_LATE_HELLOS) this.#lateHellos.shift()
    }
    // Before the first WELCOME this is the wrong server, after it a damaged stream.
    if (error?.reason === 'BAD_IDENTITY' && this.#session === null)
      return this.#endSession({ code: 'BAD_IDENTITY', message: error.message })
    if (this.#session === null) this.#callbacks.onFailed(reason)
    this.#heartbeat.stop()
    for (const channel of this.#channels.values()) channel.connectionLost()
    this.#changeState('connecting')
    if (this.#session !== null && this.state !== 'closed') this.#reconnect.connectionLost()
  }

  /**
   * REPLACED may be the effect of this client's own HELLO on a connection that it has given up. Then the last token still
   * resumes the session; a late HELLO with a ticket has started another session, which only a new ticket replaces.
   */
  #isReplacedByLateHello(): boolean {
    const nowMs = this.#transport.clock.mono()
    this.#lateHellos = this.#lateHellos.filter(({ untilMs }) => untilMs > nowMs)
    const late = this.#lateHellos.shift()
    if (late && !late.isResume) this.#token = EMPTY_BYTES
    return late !== undefined
  }

  #removeChannel(channel: ClientChannel, pendingClose: wire.Open | null): void {
    this.#channels.delete(channel.number)
    this.#byShard.delete(`${channel.contract.name}/${channel.key}`)
    if (pendingClose && this.state === 'paused') this.#pendingCloses.push(pendingClose)
    this.#reconnect.channelAnswered(channel.number)
  }

  #endSession(reason: Closed): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    const isOwnClose = reason.code === 'CLOSED'
    for (const channel of [...this.#channels.values()]) {
      if (isOwnClose) channel.leaveChannel()
      else channel.finishChannel(reason.code)
    }
    this.#heartbeat.stop()
    this.#reconnect.sessionEnded()
    this.#connector.stop(isOwnClose)
    this.#listeners.notify('state', 'closed')
    this.#listeners.notify('closed', reason)
    this.#callbacks.onEnded(new SessionError(reason))
  }

  #changeState(next: 'connecting' | 'open'): void {
    const before = this.state
    this.#state = next
    if (this.state !== before) this.#listeners.notify('state', this.state)
  }
}
