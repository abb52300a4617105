// One session with a server. The connection comes and goes; session, channels and what is durable stay until
// `close`. Reconnects wait longer each time, with jitter, so that a thousand clients do not return at once.

import type { Contract, Entries } from '../core/wire/contract.ts'
import { CallError, InputError, ProtocolError } from '../core/wire/errors.ts'
import {
  DEFAULT_IDENTITY,
  encodeFrame,
  FrameDecoder,
  identityBytes,
  type Identity,
} from '../core/wire/frame.ts'
import { DEFAULT_LIMITS } from '../core/wire/limits.ts'
import {
  decodeAck,
  decodeClose,
  decodeError,
  decodeEvent,
  decodeOpened,
  decodeReply,
  decodeWelcome,
  encodeHello,
  EVENT_BYTES,
  MESSAGE,
  PROTOCOL_VERSION,
  REPLY_BYTES,
  SESSION_BYTES,
} from '../core/wire/message.ts'
import { ClientChannel, type Remote } from './channel.ts'
import { dialWebSocket, platformClock, type ClientClock, type Dial, type Socket } from './socket.ts'

export interface ConnectOptions {
  /** The server's frame identity; default all zeros. */
  readonly identity?: Identity
  /** A call without answer for so long fails with DEADLINE. Default 15,000. */
  readonly timeoutMs?: number
  /** How long the first connection may take. Default 10,000. */
  readonly connectMs?: number
  readonly dial?: Dial
  readonly clock?: ClientClock
}
/** 'paused': no connection at the moment, it is being made again. */
export type State = 'open' | 'paused' | 'closed'

export interface Firefly extends AsyncDisposable {
  readonly state: State
  /** Last heartbeat's round trip; 0 before the first. */
  readonly rttMs: number
  /** The shard of this contract and key (default: the contract's own); the same object for the same shard. */
  at<E extends Entries, Code extends string>(contract: Contract<E, Code>, key?: string): Remote<E>
  on(what: 'state', listener: (state: State) => void): () => void
  /** Ends the session; calls that wait fail with CLOSED. */
  close(): Promise<void>
}

/** A key that no server takes anyway. */
const MAX_KEY = 1_024
const BACKOFF_MS = 100
const MAX_BACKOFF_MS = 5_000
/** The first heartbeats come soon, for the round-trip time, and further apart up to what the server asks. */
/** From the first step of a connection to its WELCOME. */
const HANDSHAKE_MS = 10_000
const FIRST_PING_MS = 500
const MAX_FRAME_BYTES = 16 * 1_048_576
/** Frames of one moment share a message up to here; servers bound a message (ours at 128 KiB). */
const MESSAGE_BYTES = 65_536
/** After these the server does not want this session back. */
const FINAL = new Set(['REPLACED', 'STRIKES', 'WINDOW', 'BAD_IDENTITY', 'BAD_MESSAGE', 'FRAME_TOO_LARGE'])

/**
 * Opens a session; resolves when the server has welcomed it.
 * @throws CallError UNAVAILABLE when no server answers within `connectMs`
 */
export function connect(url: string, options: ConnectOptions = {}): Promise<Firefly> {
  return new Promise((resolve, reject) => {
    const session = new ClientSession(url, options, () => {
      timer.cancel()
      resolve(session)
    })
    const { connectMs = 10_000, clock = platformClock } = options
    const timer = clock.after(connectMs, () => {
      reject(
        new CallError('UNAVAILABLE', `${url}: no answer within ${connectMs} ms (${session.lastProblem})`),
      )
      void session.close()
    })
    session.dial()
  })
}

class ClientSession implements Firefly {
  readonly #url: string
  readonly #identity: Identity
  readonly #identityBytes: Uint8Array
  readonly #timeoutMs: number
  readonly #dialer: Dial
  readonly #clock: ClientClock
  readonly #welcomed: () => void
  readonly #channels = new Map<number, ClientChannel>()
  readonly #byShard = new Map<string, ClientChannel>()
  readonly #listeners = new Set<(state: State) => void>()
  #state: State = 'paused'
  #session = new Uint8Array(SESSION_BYTES)
  #socket: Socket | null = null
  #nextChannel = 1
  #tries = 0
  #retry: { cancel(): void } | null = null
  #heartbeat: { cancel(): void } | null = null
  #heartbeatMs = 15_000
  #maxBodyBytes = DEFAULT_LIMITS.maxBodyBytes
  /** Monotonic time of a PING without PONG; null = none. */
  #pingMs: number | null = null
  rttMs = 0
  lastProblem = 'no connection yet'
  #out: Uint8Array[] = []

  constructor(url: string, options: ConnectOptions, welcomed: () => void) {
    this.#url = url
    this.#identity = options.identity ?? DEFAULT_IDENTITY
    this.#identityBytes = identityBytes(this.#identity)
    this.#timeoutMs = options.timeoutMs ?? 15_000
    this.#dialer = options.dial ?? dialWebSocket
    this.#clock = options.clock ?? platformClock
    this.#welcomed = welcomed
  }

  get state(): State {
    return this.#state
  }

  at<E extends Entries, Code extends string>(
    contract: Contract<E, Code>,
    key: string = contract.key,
  ): Remote<E> {
    if (key.length > MAX_KEY) throw new InputError(`key of ${key.length} characters exceeds ${MAX_KEY}`)
    const name = `${contract.name}/${key}`
    const known = this.#byShard.get(name)
    if (known) return known.remote as Remote<E>
    const number = this.#nextChannel++
    const carrier = {
      clock: this.#clock,
      timeoutMs: this.#timeoutMs,
      maxBodyBytes: () => this.#maxBodyBytes,
      send: (command: number, body: Uint8Array) => this.#send(command, body),
      forget: () => {
        this.#channels.delete(number)
        this.#byShard.delete(name)
      },
    }
    const channel = new ClientChannel(carrier, number, contract, key)
    this.#channels.set(number, channel)
    this.#byShard.set(name, channel)
    if (this.#state === 'open') channel.open()
    else if (this.#state === 'closed') channel.end('CLOSED')
    return channel.remote as Remote<E>
  }

  on(_what: 'state', listener: (state: State) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  close(): Promise<void> {
    this.#end('CLOSED')
    return Promise.resolve()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** One connection attempt. */
  dial(): void {
    const decoder = new FrameDecoder(this.#identity, MAX_FRAME_BYTES, (command, source, start, end) => {
      if (socket === this.#socket) this.#message(command, source, start, end)
    })
    const socket: Socket = this.#dialer(this.#url, {
      opened: () => {
        const none = new Uint8Array(0)
        const hello = {
          minVersion: PROTOCOL_VERSION,
          maxVersion: PROTOCOL_VERSION,
          session: this.#session,
          ticket: none,
          token: none,
        }
        socket.send(encodeFrame(this.#identityBytes, MESSAGE.HELLO, encodeHello(hello)))
      },
      message: (bytes) => {
        try {
          decoder.push(bytes)
        } catch (error) {
          if (!(error instanceof ProtocolError)) throw error
          this.#lost(socket, error.message)
          socket.close()
        }
      },
      closed: (reason) => this.#lost(socket, reason),
    })
    this.#socket = socket
    // A server that accepts and says nothing, or a host that is gone: as good as no server.
    this.#heartbeat?.cancel()
    this.#heartbeat = this.#clock.after(HANDSHAKE_MS, () => {
      this.#lost(socket, `no WELCOME within ${HANDSHAKE_MS} ms`)
      socket.close()
    })
  }

  #message(command: number, source: Uint8Array, start: number, end: number): void {
    const channel = (number: number): ClientChannel | undefined => this.#channels.get(number)
    switch (command) {
      case MESSAGE.WELCOME: {
        const welcome = decodeWelcome(source, start, end)
        this.#session.set(welcome.session)
        this.#heartbeatMs = welcome.heartbeatMs
        this.#maxBodyBytes = welcome.maxBodyBytes
        return this.#open()
      }
      case MESSAGE.OPENED: {
        const opened = decodeOpened(source, start, end)
        return channel(opened.channel)?.opened(opened)
      }
      case MESSAGE.REPLY: {
        const reply = decodeReply(source, start, end)
        return channel(reply.channel)?.reply(reply.sequence, source.subarray(start + REPLY_BYTES, end))
      }
      case MESSAGE.EVENT: {
        const event = decodeEvent(source, start, end)
        return channel(event.channel)?.event(
          event.sequence,
          event.event,
          source.subarray(start + EVENT_BYTES, end),
        )
      }
      case MESSAGE.ERROR: {
        const error = decodeError(source, start, end)
        if (error.channel !== 0) return channel(error.channel)?.error(error)
        this.lastProblem = `${error.code}: ${error.message}`
        if (FINAL.has(error.code)) this.#end(error.code)
        return
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
        return this.#send(MESSAGE.PONG, source.slice(start, end))
      case MESSAGE.PONG:
        if (this.#pingMs !== null && end - start >= 4) this.rttMs = this.#clock.mono() - this.#pingMs
        this.#pingMs = null
    }
  }

  #open(): void {
    this.#tries = 0
    this.#setState('open')
    this.#beat(FIRST_PING_MS)
    for (const channel of this.#channels.values()) channel.open()
    this.#welcomed()
  }

  /** Sends a PING now and then; one without answer until the next is a dead connection. */
  #beat(ms: number): void {
    this.#heartbeat?.cancel()
    this.#heartbeat = this.#clock.after(ms, () => {
      const socket = this.#socket
      if (!socket || this.#state !== 'open') return
      if (this.#pingMs !== null) {
        this.#lost(socket, 'no answer to a heartbeat')
        return socket.close()
      }
      this.#pingMs = this.#clock.mono()
      this.#send(MESSAGE.PING, PING_BODY)
      this.#beat(Math.min(ms * 4, this.#heartbeatMs))
    })
  }

  /** Frames of one moment travel in one message. */
  #send(command: number, body: Uint8Array): void {
    if (this.#state !== 'open') return
    this.#out.push(encodeFrame(this.#identityBytes, command, body))
    if (this.#out.length > 1) return
    this.#clock.defer(() => this.#flush())
  }

  #flush(): void {
    const frames = this.#out
    this.#out = []
    for (let first = 0; first < frames.length;) {
      let size = frames[first]!.length
      let next = first + 1
      while (next < frames.length && size + frames[next]!.length <= MESSAGE_BYTES)
        size += frames[next++]!.length
      this.#socket?.send(next === first + 1 ? frames[first]! : join(frames.slice(first, next), size))
      first = next
    }
  }

  #lost(socket: Socket, reason: string): void {
    if (socket !== this.#socket || this.#state === 'closed') return
    this.lastProblem = reason
    this.#socket = null
    this.#out = []
    this.#pingMs = null
    this.#heartbeat?.cancel()
    for (const channel of this.#channels.values()) channel.disconnected()
    this.#setState('paused')
    const most = Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** this.#tries++)
    this.#retry = this.#clock.after(most * (0.5 + this.#clock.random() / 2), () => this.dial())
  }

  #end(code: string): void {
    if (this.#state === 'closed') return
    for (const channel of [...this.#channels.values()]) {
      if (code === 'CLOSED') channel.close()
      else channel.end(code)
    }
    this.#flush()
    this.#retry?.cancel()
    this.#heartbeat?.cancel()
    this.#setState('closed')
    this.#socket?.close()
    this.#socket = null
  }

  #setState(state: State): void {
    if (state === this.#state) return
    this.#state = state
    for (const listener of this.#listeners) listener(state)
  }
}

function join(frames: readonly Uint8Array[], size: number): Uint8Array {
  const whole = new Uint8Array(size)
  let at = 0
  for (const frame of frames) {
    whole.set(frame, at)
    at += frame.length
  }
  return whole
}

const PING_BODY = new Uint8Array(8)
