// A legacy client's line to the market on Cloudflare: its frames in binary WebSocket messages. As on every line, what
// `ask` resolves with is the answer to that request and no other.

import { dialWebSocket, type Socket } from '../../../client/socket.ts'
import {
  DEFAULT_FRAME_IDENTITY,
  encodeFrame,
  FrameDecoder,
  frameIdentityBytes,
} from '../../../core/wire/frame.ts'
import { Market, Purse } from '../../../examples/market/contract.ts'
import { Refused, Unanswered, type Line, type Request } from './line.ts'
import { within } from '../../support/wait.ts'

/** A caller of class critical hears RETRY_LATER after 5 s. */
const ANSWER_MS = 8_000
/** An `open` that fails is met with silence. It may have to wait 5 s for a purse that waits for MySQL. */
const LOGIN_MS = 6_000
const MAX_BODY_BYTES = 65_536
const RULES: ReadonlySet<string> = new Set([...Purse.refuses, ...Market.refuses])
const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)

export class LegacyWebLine implements Line {
  readonly #player: string
  readonly #url: string
  #socket: Socket | null = null
  #waiting: { command: number; resolve(body: string): void; reject(error: Error): void } | null = null

  constructor(player: string, url: string) {
    this.#player = player
    this.#url = url
  }

  async ask(request: Request, input: Readonly<Record<string, unknown>>): Promise<unknown> {
    if (!this.#socket) {
      this.#socket = await this.#dial()
      await this.#say(Market.entries.open.number, { player: this.#player }, LOGIN_MS)
    }
    return this.#say(Purse.entries[request].number, input, ANSWER_MS)
  }

  cut(): void {
    this.#socket?.close()
    this.#gone()
  }

  close(): void {
    this.cut()
  }

  #dial(): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const decoder = new FrameDecoder(
        DEFAULT_FRAME_IDENTITY,
        MAX_BODY_BYTES,
        (command, source, start, end) => {
          const waiting = this.#waiting
          if (socket !== this.#socket || waiting?.command !== command) return
          waiting.resolve(Buffer.from(source.subarray(start, end)).toString())
        },
      )
      const socket = dialWebSocket(this.#url, {
        opened: () => resolve(socket),
        message: (bytes) => void decoder.push(bytes),
        closed: () => {
          reject(new Unanswered('no connection'))
          if (socket === this.#socket) this.#gone()
        },
      })
    })
  }

  #gone(): void {
    this.#socket = null
    this.#waiting?.reject(new Unanswered('the connection was closed'))
  }

  /** Silence ends the connection: an answer that comes late must not be taken for that of the next request. */
  async #say(command: number, input: object, ms: number): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    this.#waiting = { command, resolve, reject }
    this.#socket?.send(encodeFrame(identity, command, Buffer.from(JSON.stringify(input))))
    try {
      const body = await within(promise, ms)
      if (body === null) {
        this.cut()
        throw new Unanswered('silence')
      }
      const answer = JSON.parse(body) as { error?: string }
      if (answer.error === undefined) return answer
      throw RULES.has(answer.error) ? new Refused(answer.error) : new Unanswered(answer.error)
    } finally {
      this.#waiting = null
    }
  }
}
