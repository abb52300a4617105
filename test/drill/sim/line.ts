// A player's line to the market: legacy frames, or the SDK, over a cable that breaks. Invariant: what `ask` resolves with
// is the answer to that request and no other, and it always ends.

import { CallError, connect, Refusal, type Firefly, type Remote } from '../../../client/index.ts'
import type { Dial } from '../../../client/socket.ts'
import {
  DEFAULT_FRAME_IDENTITY,
  encodeFrame,
  FrameDecoder,
  frameIdentityBytes,
} from '../../../core/wire/frame.ts'
import { decodeError, decodeReply, MESSAGE, REPLY_BYTES } from '../../../core/wire/message.ts'
import { Market, Purse } from '../../../examples/market/contract.ts'
import type { Books } from './books.ts'
import type { VirtualClock } from './clock.ts'
import { Cable, type CableEvents } from './wire.ts'

export type Request = 'deposit' | 'transfer' | 'balance' | 'history'
export type Input = Readonly<Record<string, unknown>>

export interface Line {
  /** How many requests may be under way at once. */
  readonly width: number
  /** @throws Unanswered, Refused */
  ask(request: Request, input: Input): Promise<unknown>
  /** The connection breaks, whatever is on its way. */
  cut(): void
  /** Goes; the next request comes as from somebody new. */
  leave(): void
}

/** No acknowledgement, and no refusal either. */
export class Unanswered extends Error {
  override readonly name = 'Unanswered'
}
/** By the rules of the market. */
export class Refused extends Error {
  override readonly name = 'Refused'
}

export interface LineOptions {
  readonly player: string
  readonly clock: VirtualClock
  readonly books: Books
  readonly dial: (kind: 'tcp' | 'ws', events: CableEvents) => Cable
}

/** Above the 5 s after which a caller of class critical hears RETRY_LATER. */
const ANSWER_MS = 8_000
const LOGIN_MS = 7_000
const CONNECT_MS = 10_000
const DIAL_MS = 1_000
const MAX_BODY_BYTES = 65_536
const RULES: ReadonlySet<string> = new Set([...Purse.refuses, ...Market.refuses])
const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)
const utf8 = new TextEncoder()
const text = new TextDecoder()

interface Waiting {
  readonly command: number
  readonly resolve: (body: string) => void
  readonly reject: (error: Error) => void
}

export class LegacyLine implements Line {
  readonly width = 1
  readonly #options: LineOptions
  #cable: Cable | null = null
  #waiting: Waiting | null = null

  constructor(options: LineOptions) {
    this.#options = options
  }

  async ask(request: Request, input: Input): Promise<unknown> {
    const { number } = Purse.entries[request]
    if (this.#cable) return this.#say([[number, input]], number, ANSWER_MS)
    this.#cable = await this.#dial()
    const login = [Market.entries.open.number, { player: this.#options.player }] as const
    // A client that does not wait for the answer of its login.
    if (this.#options.clock.random() < 0.5)
      return this.#say([login, [number, input]], number, LOGIN_MS + ANSWER_MS)
    await this.#say([login], login[0], LOGIN_MS)
    return this.#say([[number, input]], number, ANSWER_MS)
  }

  cut(): void {
    this.#cable?.cut()
  }

  leave(): void {
    this.#cable?.close()
    this.#cable = null
  }

  #dial(): Promise<Cable> {
    const { dial, clock } = this.#options
    return new Promise((resolve, reject) => {
      const decoder = new FrameDecoder(
        DEFAULT_FRAME_IDENTITY,
        MAX_BODY_BYTES,
        (command, source, start, end) => {
          const waiting = this.#waiting
          if (cable === this.#cable && waiting?.command === command)
            waiting.resolve(text.decode(source.subarray(start, end)))
        },
      )
      const timer = clock.after(DIAL_MS, () => cable.close())
      const cable = dial('tcp', {
        opened: () => {
          timer.cancel()
          resolve(cable)
        },
        message: (bytes) => void decoder.push(bytes),
        closed: () => {
          timer.cancel()
          reject(new Unanswered('no connection'))
          if (cable !== this.#cable) return
          this.#cable = null
          this.#waiting?.reject(new Unanswered('the connection was closed'))
        },
      })
      clock.after(DIAL_MS, () => reject(new Unanswered('nobody answers')))
    })
  }

  /** Silence ends the connection: an answer that comes late must not be taken for that of the next request. */
  async #say(
    commands: readonly (readonly [number, object])[],
    awaited: number,
    ms: number,
  ): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    if (!this.#cable) throw new Unanswered('the connection was closed')
    this.#waiting = { command: awaited, resolve, reject }
    const timer = this.#options.clock.after(ms, () => {
      this.#cable?.close()
      this.#cable = null
      reject(new Unanswered('silence'))
    })
    for (const [command, input] of commands)
      this.#cable.send(encodeFrame(identity, command, utf8.encode(JSON.stringify(input))))
    try {
      const answer = JSON.parse(await promise) as { error?: string }
      if (answer.error === undefined) return answer
      throw RULES.has(answer.error) ? new Refused(answer.error) : new Unanswered(answer.error)
    } finally {
      timer.cancel()
      this.#waiting = null
    }
  }
}

export class SdkLine implements Line {
  readonly width = 5
  readonly #options: LineOptions
  #game: Promise<Firefly> | null = null
  #purse: Promise<Remote<typeof Purse.entries>> | null = null
  #cable: Cable | null = null

  constructor(options: LineOptions) {
    this.#options = options
  }

  async ask(request: Request, input: Input): Promise<unknown> {
    const purse = await this.#bounded(CONNECT_MS + ANSWER_MS, 'login', () => this.#opened())
    const call: (input: Input) => Promise<unknown> = purse[request]
    return this.#bounded(ANSWER_MS, `${request} ${JSON.stringify(input)}`, () => call(input))
  }

  cut(): void {
    this.#cable?.cut()
  }

  leave(): void {
    void this.#game?.then(
      (game) => game.close(),
      () => {},
    )
    this.#game = null
    this.#purse = null
  }

  #opened(): Promise<Remote<typeof Purse.entries>> {
    this.#game ??= this.#connect().catch((error: unknown) => {
      this.#game = null
      throw error
    })
    this.#purse ??= this.#login(this.#game).catch((error: unknown) => {
      this.#purse = null
      throw error
    })
    return this.#purse
  }

  async #login(connected: Promise<Firefly>): Promise<Remote<typeof Purse.entries>> {
    const game = await connected
    game.on('state', (state) => {
      if (state !== 'closed' || this.#game !== connected) return
      this.#game = null
      this.#purse = null
    })
    await game.at(Market).open({ player: this.#options.player })
    const purse = game.at(Purse, this.#options.player)
    // A new process does not know whose purse this session may open: the player says it again.
    purse.onClose(() => (this.#purse = null))
    return purse
  }

  /** No call of the SDK outlasts its own deadline. */
  async #bounded<T>(ms: number, what: string, run: () => Promise<T>): Promise<T> {
    const { clock, books, player } = this.#options
    const late = clock.after(ms + 1, () =>
      books.break('hang', `${player}: ${what} has not ended in ${ms} ms`),
    )
    try {
      return await run()
    } catch (error) {
      if (error instanceof Refusal) throw new Refused(error.code)
      if (!(error instanceof CallError)) throw error
      if (error.code === 'CLOSED') this.#purse = null
      throw new Unanswered(error.code)
    } finally {
      late.cancel()
    }
  }

  #connect(): Promise<Firefly> {
    const { clock, dial: plug, books, player } = this.#options
    const order = new Order(books, player)
    const dial: Dial = (_url, events) => {
      const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, 1 << 24, (command, source, start, end) =>
        order.frame(command, source, start, end),
      )
      const cable = plug('ws', {
        opened: () => events.opened(),
        message: (bytes) => {
          decoder.push(bytes)
          events.message(bytes)
        },
        closed: (reason) => events.closed(reason),
      })
      this.#cable = cable
      return { send: (bytes) => cable.send(bytes), close: (leave) => cable.close(leave) }
    }
    return connect('sim://', { dial, clock, timeoutMs: ANSWER_MS, connectMs: CONNECT_MS })
  }
}

/** Answers of one session's channels: in the order of their calls, and however often it comes the same. */
class Order {
  readonly #books: Books
  readonly #player: string
  /** By channel: the highest call that had a reply. */
  readonly #last = new Map<number, number>()
  /** By channel and call: the first reply, '' = it was an error. */
  readonly #answers = new Map<string, string>()

  constructor(books: Books, player: string) {
    this.#books = books
    this.#player = player
  }

  frame(command: number, source: Uint8Array, start: number, end: number): void {
    if (command === MESSAGE.ERROR) {
      const { channel, sequence } = decodeError(source, start, end)
      const name = `${channel}:${sequence}`
      if (!this.#answers.has(name)) this.#answers.set(name, '')
    }
    if (command !== MESSAGE.REPLY) return
    const { channel, sequence } = decodeReply(source, start, end)
    const name = `${channel}:${sequence}`
    const what = `${this.#player}: channel ${channel}, call ${sequence}`
    const body = text.decode(source.subarray(start + REPLY_BYTES, end))
    const known = this.#answers.get(name)
    if (known) {
      if (known !== body) this.#books.break('order', `${what} is answered ${body}, and was answered ${known}`)
      return
    }
    this.#answers.set(name, body)
    if (known === '') return
    const last = this.#last.get(channel) ?? 0
    if (sequence < last) this.#books.break('order', `${what} is answered after call ${last}`)
    this.#last.set(channel, Math.max(last, sequence))
  }
}
