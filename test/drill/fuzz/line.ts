// A connection of the fuzzer: cases go out in one write, a question of the drill's own behind each. Its answer says
// that the connection outlived the case. Invariant: every case ends, by its answer or with its connection.

import { readU32, writeU32 } from '../../../core/wire/bytes.ts'
import { encodeFrame } from '../../../core/wire/frame.ts'
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
  MESSAGE,
} from '../../../core/wire/message.ts'
import { join } from './bytes.ts'
import { BLOCK, channelOf, identity, type Case } from './cases.ts'
import { EVENTS, Opaque } from './contract.ts'
import { Socket } from './socket.ts'
import { hello, NOBODY, type Live, type Said } from './talk.ts'
import type { Tally } from './tally.ts'
import { WEB_CLOSE, webFrame } from './web.ts'

/** Which first frame it says: that decides how the drill's question must look. */
export type Tongue = 'session' | 'legacy'

const BARRIER = Opaque.entries.barrier.number
const BARRIER_BYTES = 12
/** Known again among all that a mutated PING may hold. */
const MAGIC = 0xf1ef1e5a
const BODY_CODES = new Set(['BAD_INPUT', 'UNKNOWN_COMMAND', 'INTERNAL', 'RETRY_LATER', 'DEADLINE'])
/** A server says CLOSED or OVERLOADED at the latest after its own deadlines, all of which are shorter. */
const STUCK_MS = 20_000

export class Line {
  readonly tongue: Tongue
  readonly via: 'tcp' | 'ws'
  /** As the server gave them. */
  live: Live = NOBODY
  /** Blocks that were played on it. */
  blocks = 0
  /** Its channels are full of what mutated cases left open. */
  isFull = false
  readonly #socket: Socket
  readonly #tally: Tally
  #cases: readonly Case[] = []
  #answered = 0
  #play: ((ended: number) => void) | null = null
  /** Counts the plays: a question is answered once. */
  #number = 0
  #sinceMs = 0
  /** Channels of the last two blocks; they are closed when what is late has come. */
  #channels: number[] = []
  #older: number[] = []

  constructor(tongue: Tongue, via: 'tcp' | 'ws', port: number, tally: Tally, onClosed: () => void) {
    this.tongue = tongue
    this.via = via
    this.#tally = tally
    this.#socket = new Socket(via, port, {
      frame: (command, source, start, end) => {
        if (tongue === 'legacy') this.#legacy(command, source, start, end)
        else this.#message(command, source, start, end)
      },
      fault: (what) => tally.fault(what, this.#cases),
      lingered: () => tally.answer('slow close'),
      closed: () => {
        onClosed()
        // The case behind the last answered one has ended the connection.
        this.#end(Math.min(this.#answered + 1, this.#cases.length))
      },
    })
  }

  get isOver(): boolean {
    return this.#socket.isOver
  }

  /** Opens a session, as the first thing. */
  greet(): void {
    this.say([hello()])
  }

  say(said: readonly Said[]): void {
    this.#socket.write(
      this.#wrapped(join(said.map(({ command, body }) => encodeFrame(identity, command, body)))),
    )
  }

  /**
   * Sends the cases; only the last may end in the middle of a frame. Resolves with how many have ended: fewer than all
   * when the connection ended before. Without any it resolves when the server answers.
   */
  play(cases: readonly Case[]): Promise<number> {
    if (this.isOver) return Promise.resolve(0)
    this.#cases = cases
    this.#answered = 0
    this.#number++
    this.#sinceMs = performance.now()
    const parts: Uint8Array[] = []
    if (this.tongue === 'session') this.#tidy(parts)
    for (const [index, one] of cases.entries()) {
      parts.push(one.bytes)
      if (one.isWhole) parts.push(this.#wrapped(this.#barrier(index + 1)))
    }
    if (cases.length === 0) parts.push(this.#wrapped(this.#barrier(0)))
    this.#socket.write(join(parts))
    if (cases.at(-1)?.isWhole === false) this.#socket.end()
    return new Promise((resolve) => (this.#play = resolve))
  }

  /** Ends the connection, with or without a word. */
  leave(abruptly: boolean): void {
    if (abruptly) return this.#socket.destroy()
    if (this.via === 'ws') this.#socket.write(WEB_CLOSE)
    this.#socket.end()
  }

  /** Called now and then: a case that neither is answered nor ends its connection is a fault. */
  watch(): void {
    if (this.#play === null || performance.now() - this.#sinceMs < STUCK_MS) return
    this.#tally.fault(`no answer and no close within ${STUCK_MS} ms`, this.#cases.slice(this.#answered))
    this.#socket.destroy()
  }

  #tidy(parts: Uint8Array[]): void {
    for (const channel of this.#older) {
      const body = encodeClose({ channel, code: 'CLOSED' })
      parts.push(this.#wrapped(encodeFrame(identity, MESSAGE.CLOSE, body)))
    }
    this.#older = this.#channels
    this.#channels = this.#cases.map(({ number }) => channelOf(number))
  }

  #wrapped(frames: Uint8Array): Uint8Array {
    return this.via === 'ws' ? webFrame(frames) : frames
  }

  /** Its answer says that so many cases have ended. */
  #barrier(upTo: number): Uint8Array {
    const body = new Uint8Array(BARRIER_BYTES)
    writeU32(body, 0, MAGIC)
    writeU32(body, 4, this.#number)
    writeU32(body, 8, upTo)
    return encodeFrame(identity, this.tongue === 'session' ? MESSAGE.PING : BARRIER, body)
  }

  #isBarrier(source: Uint8Array, start: number, end: number): boolean {
    if (end - start !== BARRIER_BYTES || readU32(source, start) !== MAGIC) return false
    if (readU32(source, start + 4) !== this.#number) return true
    this.#answered = Math.max(this.#answered, readU32(source, start + 8))
    if (this.#answered === this.#cases.length) this.#end(this.#answered)
    return true
  }

  #legacy(command: number, source: Uint8Array, start: number, end: number): void {
    if (command === BARRIER && this.#isBarrier(source, start, end)) return
    const isEvent = EVENTS.has(command)
    this.#tally.answer(isEvent ? 'legacy event' : 'legacy reply')
    const one = this.#cases[this.#answered]
    if (one && !isEvent) this.#tally.reached(one.number)
  }

  #message(command: number, source: Uint8Array, start: number, end: number): void {
    switch (command) {
      case MESSAGE.PONG:
        if (!this.#isBarrier(source, start, end)) this.#tally.answer('PONG')
        return
      case MESSAGE.REPLY:
        this.#tally.answer('REPLY')
        return this.#reached(decodeReply(source, start, end).channel)
      case MESSAGE.ERROR: {
        const { channel, kind, code, sequence } = decodeError(source, start, end)
        this.#tally.answer(code)
        if (code === 'INTERNAL') this.#tally.fault('an answer INTERNAL', this.#cases)
        if (code === 'TOO_MANY_CHANNELS') this.isFull = true
        if (sequence !== 0 && (kind === 'refusal' || BODY_CODES.has(code))) this.#reached(channel)
        return
      }
      case MESSAGE.WELCOME: {
        const welcome = decodeWelcome(source, start, end)
        this.#tally.answer(welcome.resumed ? 'WELCOME again' : 'WELCOME')
        this.live = welcome
        return
      }
      case MESSAGE.TOKEN:
        this.#tally.answer('TOKEN')
        this.live = { session: this.live.session, ...decodeToken(source, start, end) }
        return
      case MESSAGE.OPENED:
        decodeOpened(source, start, end)
        return this.#tally.answer('OPENED')
      case MESSAGE.EVENT:
        decodeEvent(source, start, end)
        return this.#tally.answer('EVENT')
      case MESSAGE.ACK:
        this.#reached(decodeAck(source, start, end).channel)
        return this.#tally.answer('ACK')
      case MESSAGE.CLOSE:
        return this.#tally.answer(`CLOSE ${decodeClose(source, start, end).code}`)
      case MESSAGE.RESYNC:
        decodeResync(source, start, end)
        return this.#tally.answer('RESYNC')
      case MESSAGE.PING:
        return this.say([{ command: MESSAGE.PONG, body: new Uint8Array(source.subarray(start, end)) }])
      default:
        this.#tally.fault(`a message ${command} that no server sends`, this.#cases)
    }
  }

  /** A shard has answered a call on this channel. */
  #reached(channel: number): void {
    const [first] = this.#cases
    // Channels of a case that resumes are a few beside its own.
    if (first && channel >= channelOf(first.number) && channel < channelOf(first.number) + BLOCK + 8)
      this.#tally.reached(Math.min(channel - 1, this.#cases.at(-1)!.number))
  }

  #end(ended: number): void {
    const play = this.#play
    this.#play = null
    play?.(ended)
  }
}
