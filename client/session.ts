// One session with a server: connections come and go, session, channels and what is durable stay until the end.
// Invariant: a session is resumed by the last token the server gave and by nothing else; without one the next
// connection begins a new session, and every channel anew.

import type { Contract, Entries } from '../core/wire/contract.ts'
import { InputError, type ProtocolError } from '../core/wire/errors.ts'
import { DEFAULT_IDENTITY } from '../core/wire/frame.ts'
import { DEFAULT_LIMITS } from '../core/wire/limits.ts'
import {
  decodeAck,
  decodeClose,
  decodeError,
  decodeEvent,
  decodeOpened,
  decodeReply,
  decodeResync,
  decodeToken,
  decodeWelcome,
  encodeClose,
  encodeHello,
  encodeResume,
  EVENT_BYTES,
  MESSAGE,
  PROTOCOL_VERSION,
  REPLY_BYTES,
  SESSION_BYTES,
  type Open,
  type Welcome,
} from '../core/wire/message.ts'
import { Attempts } from './attempts.ts'
import { ClientChannel, type Carrier, type Remote } from './channel.ts'
import type { ConnectOptions, Firefly, State } from './face.ts'
import { Heartbeat } from './heartbeat.ts'
import type { Line } from './line.ts'
import { Listeners, rethrow } from './listeners.ts'
import type { Measure } from './metric.ts'
import { Pause, type ShardName } from './pause.ts'
import { Push } from './push.ts'
import { finalReason, finalText, SessionError, type Closed } from './reason.ts'
import { dialWebSocket, platformClock } from './socket.ts'

/** Who waits for the first WELCOME. */
interface Waiter {
  welcomed(): void
  ended(error: SessionError): void
}

/** A key that no server takes anyway. */
const MAX_KEY = 1_024
/** What RESUME may hold, far below a frame's body; channels beyond it are opened one by one. */
const RESUME_BYTES = 32_768
const OPEN_BYTES = 64
const NO_BYTES = new Uint8Array(0)
const NO_SESSION = new Uint8Array(SESSION_BYTES)
/** Whose events channel 0 carries. */
const OWN: ShardName = { contract: '@session', key: '' }

export class ClientSession implements Firefly {
  readonly #waiter: Waiter
  readonly #attempts: Attempts
  readonly #heartbeat: Heartbeat
  readonly #listeners: Listeners
  readonly #measure: Measure
  readonly #pause: Pause
  readonly #push: Push
  readonly #carrier: Carrier
  readonly #channels = new Map<number, ClientChannel>()
  readonly #byShard = new Map<string, ClientChannel>()
  /** Channels the game has left while there was no connection to say so. */
  #leaving: Open[] = []
  #state: State = 'paused'
  #ended = false
  /** null before the first WELCOME. */
  #session: Uint8Array | null = null
  #token: Uint8Array = NO_BYTES
  /** The HELLO of the connection in hand resumes. */
  #resuming = false
  #maxBodyBytes = DEFAULT_LIMITS.maxBodyBytes
  #nextChannel = 1
  rttMs = 0
  lastProblem = 'no connection yet'

  constructor(url: string, options: ConnectOptions, waiter: Waiter) {
    const { clock = platformClock, dial = dialWebSocket, identity = DEFAULT_IDENTITY, metrics } = options
    const traffic = { in: 0, out: 0 }
    const send = (command: number, body: Uint8Array): void => {
      if (this.#state === 'open') this.#attempts.send(command, body)
    }
    const measure: Measure = (metric) => {
      try {
        metrics?.(metric)
      } catch (error) {
        rethrow(clock, error)
      }
    }
    this.#waiter = waiter
    this.#measure = measure
    this.#listeners = new Listeners(clock)
    this.#pause = new Pause(clock, this.#listeners, measure)
    this.#push = new Push(clock, send)
    this.#heartbeat = new Heartbeat(clock, {
      ping: (body) => {
        this.#push.acknowledge()
        for (const channel of this.#channels.values()) channel.acknowledge()
        send(MESSAGE.PING, body)
        measure({ name: 'bytes', ...traffic })
      },
      rtt: (ms) => {
        this.rttMs = ms
        measure({ name: 'rtt', ms })
      },
      silent: (ms) => this.#attempts.fail(`nothing heard for ${Math.round(ms)} ms`),
    })
    this.#attempts = new Attempts({ url, dial, clock, identity, traffic }, options.ticket, {
      isNew: () => this.#token.length === 0,
      greet: (line, ticket) => this.#greet(line, ticket),
      heard: () => this.#heartbeat.heard(),
      frame: (command, source, start, end) => this.#frame(command, source, start, end),
      failed: (reason, error) => this.#failed(reason, error),
    })
    this.#carrier = {
      clock,
      timeoutMs: options.timeoutMs ?? 15_000,
      measure,
      maxBodyBytes: () => this.#maxBodyBytes,
      send,
      answered: (channel) => this.#pause.answered(channel.number),
      stale: (channel) => this.#pause.stale({ contract: channel.contract.name, key: channel.key }),
      forget: (channel, open) => this.#forget(channel, open),
    }
  }

  start(): void {
    this.#attempts.start()
  }

  get state(): State {
    return this.#state
  }

  at<E extends Entries, Code extends string>(
    contract: Contract<E, Code>,
    key: string = contract.key,
  ): Remote<E> {
    if (key.length > MAX_KEY) throw new InputError(`key of ${key.length} characters exceeds ${MAX_KEY}`)
    const known = this.#byShard.get(`${contract.name}/${key}`)
    if (known) return known.remote as Remote<E>
    const channel = new ClientChannel(this.#carrier, this.#nextChannel++, contract, key)
    this.#channels.set(channel.number, channel)
    this.#byShard.set(`${contract.name}/${key}`, channel)
    if (this.#ended) channel.end('CLOSED')
    else if (this.#state === 'open') channel.open()
    return channel.remote as Remote<E>
  }

  on(what: string | Contract, second: unknown, third?: unknown): () => void {
    if (typeof what === 'string') return this.#listeners.add(what, second as (data: never) => void)
    return this.#push.on(what, second as string, third as (data: never) => void)
  }

  close(): Promise<void> {
    this.#end({ code: 'CLOSED', message: 'closed by the game' })
    return Promise.resolve()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** HELLO, and with it in one write all channels that the server knows. */
  #greet(line: Line, ticket: Uint8Array): void {
    this.#resuming = this.#session !== null && this.#token.length > 0
    const hello = {
      minVersion: PROTOCOL_VERSION,
      maxVersion: PROTOCOL_VERSION,
      session: (this.#resuming ? this.#session : null) ?? NO_SESSION,
      ticket,
      token: this.#token,
    }
    line.send(MESSAGE.HELLO, encodeHello(hello))
    const opens = this.#resuming ? this.#opens() : []
    if (opens.length > 0) line.send(MESSAGE.RESUME, encodeResume(opens))
    line.flush()
  }

  #opens(): Open[] {
    const opens = [...this.#leaving]
    let left = RESUME_BYTES
    for (const channel of this.#channels.values()) {
      if (!channel.known) continue
      left -= OPEN_BYTES + 3 * channel.key.length // UTF-8 takes 3 bytes at most for a UTF-16 unit
      if (left < 0) break
      opens.push(channel.ask())
    }
    return opens
  }

  #frame(command: number, source: Uint8Array, start: number, end: number): void {
    if (this.#state !== 'open' && command !== MESSAGE.WELCOME && command !== MESSAGE.ERROR) return
    const channel = (number: number): ClientChannel | undefined => this.#channels.get(number)
    switch (command) {
      case MESSAGE.WELCOME:
        return this.#welcome(decodeWelcome(source, start, end))
      case MESSAGE.TOKEN:
        this.#token = decodeToken(source, start, end).token
        return
      case MESSAGE.OPENED: {
        const opened = decodeOpened(source, start, end)
        if (opened.channel !== 0) return channel(opened.channel)?.opened(opened)
        if (this.#push.opened(opened.activation)) this.#pause.stale(OWN)
        return
      }
      case MESSAGE.REPLY: {
        const reply = decodeReply(source, start, end)
        return channel(reply.channel)?.reply(reply.sequence, source.subarray(start + REPLY_BYTES, end))
      }
      case MESSAGE.EVENT: {
        const { channel: number, sequence, event } = decodeEvent(source, start, end)
        const hearer = number === 0 ? this.#push : channel(number)
        return hearer?.event(sequence, event, source.subarray(start + EVENT_BYTES, end))
      }
      case MESSAGE.RESYNC: {
        const resync = decodeResync(source, start, end)
        if (resync.channel !== 0) return channel(resync.channel)?.resync(resync.events)
        this.#push.resync(resync.events)
        this.#measure({ name: 'resync', ...OWN })
        return this.#pause.stale(OWN)
      }
      case MESSAGE.ERROR: {
        const error = decodeError(source, start, end)
        if (error.channel !== 0) return channel(error.channel)?.error(error)
        this.lastProblem = `${error.code}: ${error.message}`
        const final = finalReason(error.code, error.message)
        return final ? this.#end(final) : undefined
      }
      case MESSAGE.ACK: {
        const ack = decodeAck(source, start, end)
        return channel(ack.channel)?.applied(ack.calls)
      }
      case MESSAGE.CLOSE: {
        const close = decodeClose(source, start, end)
        return channel(close.channel)?.end(close.code)
      }
      case MESSAGE.PING:
        return this.#carrier.send(MESSAGE.PONG, new Uint8Array(source.subarray(start, end)))
      case MESSAGE.PONG:
        return this.#heartbeat.pong(source, start, end)
    }
  }

  #welcome(welcome: Welcome): void {
    if (this.#state !== 'paused') return
    const { version, session, token, heartbeatMs } = welcome
    if (version !== PROTOCOL_VERSION) {
      const message = `the server chose version ${version}, this client speaks ${PROTOCOL_VERSION}`
      return this.#end({ code: 'BAD_MESSAGE', message })
    }
    const known = [...this.#channels.values()].filter((channel) => channel.known)
    this.#pause.connected(
      known.map(({ number }) => number),
      this.#attempts.welcomed(),
    )
    if (this.#session !== null && !(this.#resuming && welcome.resumed)) {
      for (const channel of this.#channels.values()) channel.renew()
      this.#push.renew()
      if (this.#ended) return
    }
    this.#session = session
    this.#token = token
    this.#maxBodyBytes = welcome.maxBodyBytes
    this.#heartbeat.start(heartbeatMs)
    this.#setState('open')
    const left = this.#resuming ? this.#leaving : []
    this.#leaving = []
    for (const { channel } of left)
      this.#carrier.send(MESSAGE.CLOSE, encodeClose({ channel, code: 'CLOSED' }))
    for (const channel of [...this.#channels.values()]) channel.open()
    this.#waiter.welcomed()
  }

  #failed(reason: string, error: ProtocolError | null): void {
    this.lastProblem = reason
    const final = finalText(reason)
    if (final) return this.#end(final)
    // Who never was welcomed here is at the wrong door; else it is a broken stream.
    if (error?.reason === 'BAD_IDENTITY' && this.#session === null)
      return this.#end({ code: 'BAD_IDENTITY', message: error.message })
    this.#heartbeat.stop()
    for (const channel of this.#channels.values()) channel.disconnected()
    this.#setState('paused')
    if (this.#session !== null && !this.#ended) this.#pause.lost()
  }

  #forget(channel: ClientChannel, open: Open | null): void {
    this.#channels.delete(channel.number)
    this.#byShard.delete(`${channel.contract.name}/${channel.key}`)
    if (open && this.#state === 'paused') this.#leaving.push(open)
    this.#pause.answered(channel.number)
  }

  #end(reason: Closed): void {
    if (this.#ended) return
    this.#ended = true
    const leave = reason.code === 'CLOSED'
    for (const channel of [...this.#channels.values()]) {
      if (leave) channel.close()
      else channel.end(reason.code)
    }
    this.#heartbeat.stop()
    this.#pause.over()
    this.#attempts.end(leave)
    this.#setState('closed')
    this.#listeners.tell('closed', reason)
    this.#waiter.ended(new SessionError(reason))
  }

  #setState(state: State): void {
    if (state === this.#state || this.#state === 'closed') return
    this.#state = state
    this.#listeners.tell('state', state)
  }
}
