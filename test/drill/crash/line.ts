// A player's line to the market, whichever protocol carries it: legacy frames over TCP, or the SDK over WebSocket.
// Invariant: what `ask` resolves with is the answer to that request and no other; whoever hears nothing, or an error
// that says nothing about the request, asks again.

import { connect as dial, type Socket } from 'node:net'

import { CallError, connect, Refusal, type Firefly, type Remote } from '../../../client/index.ts'
import { dialWebSocket, type Dial, type Socket as WebLine } from '../../../client/socket.ts'
import {
  DEFAULT_FRAME_IDENTITY,
  encodeFrame,
  FrameDecoder,
  frameIdentityBytes,
} from '../../../core/wire/frame.ts'
import { Market, Purse } from '../../../examples/market/contract.ts'

export type Request = 'deposit' | 'transfer' | 'balance' | 'history'

export interface Line {
  /** @throws Unanswered, Refused */
  ask(request: Request, input: Readonly<Record<string, unknown>>): Promise<unknown>
  /** The connection breaks, whatever is on its way. */
  cut(): void
  close(): void
}

/** No acknowledgement, and no refusal either. */
export class Unanswered extends Error {
  override readonly name = 'Unanswered'
}
/** By the rules of the market. */
export class Refused extends Error {
  override readonly name = 'Refused'
}

/** A caller of class critical hears RETRY_LATER after 5 s. */
const ANSWER_MS = 8_000
/** An `open` whose call to the purse fails is met with silence, after 5 s. */
const LOGIN_MS = 6_500
const MAX_BODY_BYTES = 65_536
/** No answer on a connection that stood all the time: at 5 s there should have been one. */
const SILENCE = 'silence'
/** Between two tries to be connected. */
const DIAL_MS = 30
const RULES: ReadonlySet<string> = new Set([...Purse.refuses, ...Market.refuses])
const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)

export class LegacyLine implements Line {
  readonly #player: string
  readonly #port: number
  #socket: Socket | null = null
  #waiting: { command: number; resolve(body: Buffer): void; reject(error: Error): void } | null = null

  constructor(player: string, port: number) {
    this.#player = player
    this.#port = port
  }

  async ask(request: Request, input: Readonly<Record<string, unknown>>): Promise<unknown> {
    if (!this.#socket) {
      this.#socket = await this.#dial()
      await this.#say(Market.entries.open.number, { player: this.#player }, LOGIN_MS)
    }
    return this.#say(Purse.entries[request].number, input, ANSWER_MS)
  }

  cut(): void {
    this.#socket?.destroy()
  }

  close(): void {
    this.#socket?.destroy()
  }

  #dial(): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = dial({ host: '127.0.0.1', port: this.#port, noDelay: true })
      const decoder = new FrameDecoder(
        DEFAULT_FRAME_IDENTITY,
        MAX_BODY_BYTES,
        (command, source, start, end) => {
          const waiting = this.#waiting
          if (socket === this.#socket && waiting?.command === command)
            waiting.resolve(Buffer.from(source.subarray(start, end)))
        },
      )
      socket.on('data', (chunk: Buffer) => decoder.push(chunk))
      socket.on('error', () => {})
      socket.on('connect', () => resolve(socket))
      socket.on('close', () => {
        reject(new Unanswered('no connection'))
        if (socket !== this.#socket) return
        this.#socket = null
        this.#waiting?.reject(new Unanswered('the connection was closed'))
      })
    })
  }

  /** Silence ends the connection: an answer that comes late must not be taken for that of the next request. */
  async #say(command: number, input: object, ms: number): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
    this.#waiting = { command, resolve, reject }
    const timer = setTimeout(() => {
      this.#socket?.destroy()
      reject(new Unanswered(SILENCE))
    }, ms)
    this.#socket?.write(encodeFrame(identity, command, Buffer.from(JSON.stringify(input))))
    try {
      const answer = JSON.parse((await promise).toString()) as { error?: string }
      if (answer.error === undefined) return answer
      throw RULES.has(answer.error) ? new Refused(answer.error) : new Unanswered(answer.error)
    } finally {
      clearTimeout(timer)
      this.#waiting = null
    }
  }
}

export class SdkLine implements Line {
  readonly #player: string
  readonly #url: string
  #game: Firefly | null = null
  #purse: Remote<typeof Purse.entries> | null = null
  #socket: WebLine | null = null
  /** How often the connection broke. */
  #breaks = 0

  constructor(player: string, port: number) {
    this.#player = player
    this.#url = `ws://127.0.0.1:${port}/ws`
  }

  async ask(request: Request, input: Readonly<Record<string, unknown>>): Promise<unknown> {
    let breaks = -1
    try {
      this.#game ??= await this.#connect()
      if (this.#game.state === 'open') breaks = this.#breaks
      this.#purse ??= await this.#login(this.#game)
      return await this.#purse[request](input)
    } catch (error) {
      if (error instanceof Refusal) throw new Refused(error.code)
      if (!(error instanceof CallError)) throw error
      // A new process does not know whose purse this session may open: the player says it again.
      if (error.code === 'CLOSED') this.#purse = null
      if (this.#game?.state === 'closed') this.#game = null
      throw new Unanswered(error.code === 'DEADLINE' && breaks === this.#breaks ? SILENCE : error.code)
    }
  }

  cut(): void {
    this.#socket?.close()
  }

  close(): void {
    void this.#game?.close()
  }

  async #connect(): Promise<Firefly> {
    const game = await connect(this.#url, {
      timeoutMs: ANSWER_MS,
      dial: (url, events) => (this.#socket = dialPatiently(url, events)),
    })
    game.on('state', (state) => {
      if (state === 'paused') this.#breaks++
    })
    return game
  }

  async #login(game: Firefly): Promise<Remote<typeof Purse.entries>> {
    await game.at(Market).open({ player: this.#player })
    return game.at(Purse, this.#player)
  }
}

/** Dials until somebody listens: the SDK's own pauses grow to 5 s, and servers live shorter here. */
const dialPatiently: Dial = (url, events) => {
  let isOpen = false
  let isClosed = false
  const begin = (): WebLine =>
    dialWebSocket(url, {
      message: (bytes) => events.message(bytes),
      opened: () => {
        isOpen = true
        events.opened()
      },
      closed: (reason) => {
        if (isOpen) events.closed(reason)
        else setTimeout(again, DIAL_MS, reason)
      },
    })
  const again = (reason: string): void => {
    if (isClosed) events.closed(reason)
    else line = begin()
  }
  let line = begin()
  return {
    send: (bytes) => line.send(bytes),
    close: (leave) => {
      isClosed = true
      line.close(leave)
    },
  }
}
