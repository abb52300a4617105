// A player's connection to the market, with either protocol: legacy frames, or the SDK. Invariant: `request` resolves with
// the answer to that request and to no other, and it always ends. Portable: the time comes only from the given clock, so the
// simulation can use it.

import { CallError, connect, Refusal, type Firefly, type Remote } from '../../../client/index.ts'
import type { ClientClock, Dial, Socket, SocketEvents } from '../../../client/socket.ts'
import { utf8Decoder, utf8Encoder } from '../../../core/wire/bytes.ts'
import { DEFAULT_FRAME_IDENTITY, encodeFrame, FrameDecoder, frameIdentityBytes } from '../../../core/wire/frame.ts'
import { decodeError, decodeReply, MESSAGE, REPLY_BYTES } from '../../../core/wire/message.ts'
import { Market, Purse } from '../../../examples/market/contract.ts'

export type Command = 'deposit' | 'transfer' | 'balance' | 'history'
export type Input = Readonly<Record<string, unknown>>

export interface MarketConnection {
  /** The maximum number of requests in progress. */
  readonly width: number
  /** Connects first when it is not connected. @throws Unanswered, Refused */
  request(command: Command, input: Input): Promise<unknown>
  /** Breaks the connection, also in the middle of a request. */
  breakConnection(): void
  /** Disconnects. The next request opens a new connection and a new session. */
  leave(): void
}

/** The request was neither acknowledged nor refused: it may have been applied or not. */
export class Unanswered extends Error {
  override readonly name = 'Unanswered'
}
/** A rule of the market refused the request; the message is the code. */
export class Refused extends Error {
  override readonly name = 'Refused'
}

/** `breakConnection` simulates a broken network; without it, `close` is used. */
export interface BreakableSocket extends Socket {
  breakConnection?(): void
}

export interface ConnectionOptions {
  readonly player: string
  readonly url: string
  readonly dial: (url: string, events: SocketEvents) => BreakableSocket
  readonly clock: ClientClock
  /** Half of the legacy logins do not wait for their answer. Default false. */
  readonly pipelinedLogins?: boolean
  /** 'order': the replies of a channel are out of order, or differ. 'hang': a call did not end. */
  readonly onViolation?: (kind: 'order' | 'hang', what: string) => void
  /** Time after its deadline at which a call counts as hanging. A simulation can use 1. */
  readonly hangMs?: number
}

/** Longer than the 5 s after which a call of class critical is answered with RETRY_LATER. */
const ANSWER_MS = 8_000
/** A failed `open` of a legacy client has no answer; its call to the purse takes 5 s at most. */
const LOGIN_MS = 7_000
const CONNECT_MS = 10_000
const DIAL_MS = 1_000
const HANG_MS = 2_000
const MAX_BODY_BYTES = 65_536
const MAX_SERVER_BODY_BYTES = 1 << 24
/** No answer on a connection that was open all the time. */
const SILENCE = 'silence'
const REFUSALS: ReadonlySet<string> = new Set([...Purse.refuses, ...Market.refuses])
const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)

export class LegacyConnection implements MarketConnection {
  readonly width = 1
  readonly #options: ConnectionOptions
  #socket: BreakableSocket | null = null
  /** The reply that the request in progress waits for. */
  #awaited: { readonly command: number; resolve(body: string): void; reject(error: Error): void } | null = null

  constructor(options: ConnectionOptions) {
    this.#options = options
  }

  async request(command: Command, input: Input): Promise<unknown> {
    const { player, clock, pipelinedLogins = false } = this.#options
    const { number } = Purse.entries[command]
    if (this.#socket) return this.#exchange([[number, input]], number, ANSWER_MS)
    this.#socket = await this.#connect()
    const login = [Market.entries.open.number, { player }] as const
    if (pipelinedLogins && clock.random() < 0.5)
      return this.#exchange([login, [number, input]], number, LOGIN_MS + ANSWER_MS)
    await this.#exchange([login], login[0], LOGIN_MS)
    return this.#exchange([[number, input]], number, ANSWER_MS)
  }

  breakConnection(): void {
    if (this.#socket?.breakConnection) this.#socket.breakConnection()
    else this.leave()
  }

  leave(): void {
    this.#socket?.close()
    this.#disconnected('the connection was closed')
  }

  #disconnected(reason: string): void {
    this.#socket = null
    this.#awaited?.reject(new Unanswered(reason))
  }

  #connect(): Promise<BreakableSocket> {
    const { url, dial, clock } = this.#options
    return new Promise((resolve, reject) => {
      const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, MAX_BODY_BYTES, (command, source, start, end) => {
        if (socket === this.#socket && this.#awaited?.command === command)
          this.#awaited.resolve(utf8Decoder.decode(source.subarray(start, end)))
      })
      const timer = clock.after(DIAL_MS, () => {
        socket.close()
        reject(new Unanswered('no connection'))
      })
      const socket = dial(url, {
        opened: () => {
          timer.cancel()
          resolve(socket)
        },
        message: (bytes) => void decoder.push(bytes),
        closed: () => {
          timer.cancel()
          reject(new Unanswered('no connection'))
          if (socket === this.#socket) this.#disconnected('the connection was closed')
        },
      })
    })
  }

  /** Without an answer in time it disconnects: a late answer must not be taken for the answer to the next request. */
  async #exchange(commands: readonly (readonly [number, object])[], awaited: number, ms: number): Promise<unknown> {
    if (!this.#socket) throw new Unanswered('the connection was closed')
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    this.#awaited = { command: awaited, resolve, reject }
    const timer = this.#options.clock.after(ms, () => {
      this.#socket?.close()
      this.#disconnected(SILENCE)
    })
    for (const [command, input] of commands)
      this.#socket.send(encodeFrame(identity, command, utf8Encoder.encode(JSON.stringify(input))))
    try {
      const answer = JSON.parse(await promise) as { error?: string }
      if (answer.error === undefined) return answer
      throw REFUSALS.has(answer.error) ? new Refused(answer.error) : new Unanswered(answer.error)
    } finally {
      timer.cancel()
      this.#awaited = null
    }
  }
}

type PurseRemote = Remote<typeof Purse.entries>

export class SdkConnection implements MarketConnection {
  readonly width = 5
  readonly #options: ConnectionOptions
  #game: Promise<Firefly> | null = null
  #purse: Promise<PurseRemote> | null = null
  #socket: BreakableSocket | null = null
  #isOpen = false
  /** How often the connection broke. */
  #breaks = 0

  constructor(options: ConnectionOptions) {
    this.#options = options
  }

  async request(command: Command, input: Input): Promise<unknown> {
    const purse = await this.#bounded(CONNECT_MS + ANSWER_MS, 'login', () => this.#login())
    const call: (input: Input) => Promise<unknown> = purse[command]
    return this.#bounded(ANSWER_MS, `${command} ${JSON.stringify(input)}`, () => call(input))
  }

  breakConnection(): void {
    if (this.#socket?.breakConnection) this.#socket.breakConnection()
    else this.#socket?.close()
  }

  leave(): void {
    void this.#game?.then(
      (game) => game.close(),
      () => {},
    )
    this.#game = null
    this.#purse = null
  }

  #login(): Promise<PurseRemote> {
    this.#game ??= this.#connect().catch((error: unknown) => {
      this.#game = null
      throw error
    })
    this.#purse ??= this.#openPurse(this.#game).catch((error: unknown) => {
      this.#purse = null
      throw error
    })
    return this.#purse
  }

  async #openPurse(connected: Promise<Firefly>): Promise<PurseRemote> {
    const game = await connected
    this.#isOpen = game.state === 'open'
    game.on('state', (state) => {
      if (this.#game !== connected) return
      this.#isOpen = state === 'open'
      if (state === 'paused') this.#breaks++
      if (state !== 'closed') return
      this.#game = null
      this.#purse = null
    })
    await game.at(Market).open({ player: this.#options.player })
    const purse = game.at(Purse, this.#options.player)
    // A new server process has no binding of this session to its purse: the player opens it again.
    purse.onClose(() => (this.#purse = null))
    return purse
  }

  async #bounded<T>(ms: number, what: string, run: () => Promise<T>): Promise<T> {
    const { clock, player, onViolation, hangMs = HANG_MS } = this.#options
    const breaks = this.#isOpen ? this.#breaks : -1
    const timer = clock.after(ms + hangMs, () =>
      onViolation?.('hang', `${player}: ${what} did not end within ${ms} ms`),
    )
    try {
      return await run()
    } catch (error) {
      if (error instanceof Refusal) throw new Refused(error.code)
      if (!(error instanceof CallError)) throw error
      if (error.code === 'CLOSED') this.#purse = null
      throw new Unanswered(error.code === 'DEADLINE' && breaks === this.#breaks ? SILENCE : error.code)
    } finally {
      timer.cancel()
    }
  }

  #connect(): Promise<Firefly> {
    const { clock, dial, url, player, onViolation } = this.#options
    const order = onViolation && new ReplyOrderCheck(player, (what) => onViolation('order', what))
    const dialAndCheck: Dial = (target, events) => {
      const decoder =
        order && new FrameDecoder(DEFAULT_FRAME_IDENTITY, MAX_SERVER_BODY_BYTES, (...frame) => order.receive(...frame))
      const socket = dial(target, {
        opened: () => events.opened(),
        message: (bytes) => {
          decoder?.push(bytes)
          events.message(bytes)
        },
        closed: (reason) => events.closed(reason),
      })
      this.#socket = socket
      return socket
    }
    return connect(url, { dial: dialAndCheck, clock, timeoutMs: ANSWER_MS, connectMs: CONNECT_MS })
  }
}

/** Checks the replies of one session: each channel's are in the order of their calls, and a repeated reply is the same. */
class ReplyOrderCheck {
  readonly #player: string
  readonly #onViolation: (what: string) => void
  /** By channel: the highest call that had a reply. */
  readonly #last = new Map<number, number>()
  /** By channel and call: the first reply; '' = it was an error. */
  readonly #answers = new Map<string, string>()

  constructor(player: string, onViolation: (what: string) => void) {
    this.#player = player
    this.#onViolation = onViolation
  }

  receive(command: number, source: Uint8Array, start: number, end: number): void {
    if (command === MESSAGE.ERROR) {
      const { channel, sequence } = decodeError(source, start, end)
      const name = `${channel}:${sequence}`
      if (!this.#answers.has(name)) this.#answers.set(name, '')
    }
    if (command !== MESSAGE.REPLY) return
    const { channel, sequence } = decodeReply(source, start, end)
    const name = `${channel}:${sequence}`
    const what = `${this.#player}: channel ${channel}, call ${sequence}`
    const body = utf8Decoder.decode(source.subarray(start + REPLY_BYTES, end))
    const first = this.#answers.get(name)
    if (first) {
      if (first !== body) this.#onViolation(`${what} has the reply ${body}, and had ${first} before`)
      return
    }
    this.#answers.set(name, body)
    if (first === '') return
    const last = this.#last.get(channel) ?? 0
    if (sequence < last) this.#onViolation(`${what} has its reply after call ${last}`)
    this.#last.set(channel, Math.max(last, sequence))
  }
}

/** Dials again every `pauseMs` until a server accepts: the SDK's own pauses grow to 5 s, and servers live shorter here. */
export function redialing(dial: Dial, clock: ClientClock, pauseMs: number): Dial {
  return (url, events) => {
    let isOpen = false
    let isClosed = false
    const begin = (): Socket =>
      dial(url, {
        message: (bytes) => events.message(bytes),
        opened: () => {
          isOpen = true
          events.opened()
        },
        closed: (reason) => {
          if (isOpen) events.closed(reason)
          else clock.after(pauseMs, () => retry(reason))
        },
      })
    const retry = (reason: string): void => {
      if (isClosed) events.closed(reason)
      else socket = begin()
    }
    let socket = begin()
    return {
      send: (bytes) => socket.send(bytes),
      close: (leave) => {
        isClosed = true
        socket.close(leave)
      },
    }
  }
}
