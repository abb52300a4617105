// A connection of the fuzzer: cases are sent in one write, each followed by a barrier, a question whose answer shows
// that the connection has survived the case. Invariant: every case ends, by that answer or with its connection.

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
import { join } from './arbitraries/byteedits.ts'
import { BLOCK, channelOf, identity, type Case } from './arbitraries/cases.ts'
import { helloOf, NO_SESSION, type EncodedMessage, type ResumeState } from './arbitraries/messages.ts'
import { EVENTS, Opaque } from './contract.ts'
import type { Findings } from './findings.ts'
import { RawSocket } from './socket.ts'
import { WEB_CLOSE, webFrame } from './webframes.ts'

/** The protocol of its first frame. It decides the form of the barrier. */
export type Protocol = 'session' | 'legacy'

const BARRIER = Opaque.entries.barrier.number
const BARRIER_BYTES = 12
/** Distinguishes a barrier from everything that a mutated PING may contain. */
const MAGIC = 0xf1ef1e5a
const BODY_CODES = new Set(['BAD_INPUT', 'UNKNOWN_COMMAND', 'INTERNAL', 'RETRY_LATER', 'DEADLINE'])
/** Longer than all deadlines of the server, after which it sends CLOSED or OVERLOADED. */
const STUCK_MS = 20_000

export class FuzzConnection {
  readonly protocol: Protocol
  readonly via: 'tcp' | 'ws'
  /** As the server sent it. */
  resumeState: ResumeState = NO_SESSION
  /** Blocks that were sent on it. */
  blocks = 0
  /** Mutated cases have left too many channels open. */
  isFull = false
  readonly #socket: RawSocket
  readonly #findings: Findings
  #cases: readonly Case[] = []
  #answered = 0
  #finish: ((ended: number) => void) | null = null
  /** Counts the calls of `send`: the answer to an older barrier ends no case. */
  #round = 0
  #sentMs = 0
  /** Channels of the last two rounds. They are closed when late answers have arrived. */
  #channels: number[] = []
  #olderChannels: number[] = []

  constructor(protocol: Protocol, via: 'tcp' | 'ws', port: number, findings: Findings, onClosed: () => void) {
    this.protocol = protocol
    this.via = via
    this.#findings = findings
    this.#socket = new RawSocket(via, port, {
      frame: (command, source, start, end) => {
        if (protocol === 'legacy') this.#receiveLegacy(command, source, start, end)
        else this.#receiveMessage(command, source, start, end)
      },
      fault: (what) => findings.add(what, this.#cases),
      slowClose: () => findings.answer('slow close'),
      closed: () => {
        onClosed()
        // The case after the last answered one has ended the connection.
        this.#end(Math.min(this.#answered + 1, this.#cases.length))
      },
    })
  }

  get isOver(): boolean {
    return this.#socket.isOver
  }

  /** Opens a session; must be the first thing sent. */
  sendHello(): void {
    this.#write(helloOf(NO_SESSION))
  }

  /**
   * Sends the cases; only the last may be incomplete. Resolves with how many have ended: fewer than all when the
   * connection was closed. Without any case it resolves at the first answer of the server.
   */
  send(cases: readonly Case[]): Promise<number> {
    if (this.isOver) return Promise.resolve(0)
    this.#cases = cases
    this.#answered = 0
    this.#round++
    this.#sentMs = performance.now()
    const parts = this.protocol === 'session' ? this.#closeOldChannels() : []
    for (const [i, { bytes, isComplete }] of cases.entries()) {
      parts.push(bytes)
      if (isComplete) parts.push(this.#barrier(i + 1))
    }
    if (cases.length === 0) parts.push(this.#barrier(0))
    this.#socket.write(join(parts))
    if (cases.at(-1)?.isComplete === false) this.#socket.end()
    return new Promise((resolve) => (this.#finish = resolve))
  }

  /** `isAbrupt`: without closing the session. */
  close(isAbrupt: boolean): void {
    if (isAbrupt) return this.#socket.destroy()
    if (this.via === 'ws') this.#socket.write(WEB_CLOSE)
    this.#socket.end()
  }

  /** Call it periodically: a case that is neither answered nor ends its connection is a finding. */
  checkStuck(): void {
    if (this.#finish === null || performance.now() - this.#sentMs < STUCK_MS) return
    this.#findings.add(`no answer and no close within ${STUCK_MS} ms`, this.#cases.slice(this.#answered))
    this.#socket.destroy()
  }

  #closeOldChannels(): Uint8Array[] {
    const closes = this.#olderChannels.map((channel) =>
      this.#encoded({ command: MESSAGE.CLOSE, body: encodeClose({ channel, code: 'CLOSED' }) }),
    )
    this.#olderChannels = this.#channels
    this.#channels = this.#cases.map(({ number }) => channelOf(number))
    return closes
  }

  #write(message: EncodedMessage): void {
    this.#socket.write(this.#encoded(message))
  }

  #encoded({ command, body }: EncodedMessage): Uint8Array {
    const frame = encodeFrame(identity, command, body)
    return this.via === 'ws' ? webFrame(frame) : frame
  }

  /** Its answer shows that `count` cases have ended. */
  #barrier(count: number): Uint8Array {
    const body = new Uint8Array(BARRIER_BYTES)
    writeU32(body, 0, MAGIC)
    writeU32(body, 4, this.#round)
    writeU32(body, 8, count)
    return this.#encoded({ command: this.protocol === 'session' ? MESSAGE.PING : BARRIER, body })
  }

  #isBarrier(source: Uint8Array, start: number, end: number): boolean {
    if (end - start !== BARRIER_BYTES || readU32(source, start) !== MAGIC) return false
    if (readU32(source, start + 4) !== this.#round) return true
    this.#answered = Math.max(this.#answered, readU32(source, start + 8))
    if (this.#answered === this.#cases.length) this.#end(this.#answered)
    return true
  }

  #receiveLegacy(command: number, source: Uint8Array, start: number, end: number): void {
    if (command === BARRIER && this.#isBarrier(source, start, end)) return
    const isEvent = EVENTS.has(command)
    this.#findings.answer(isEvent ? 'legacy event' : 'legacy reply')
    const current = this.#cases[this.#answered]
    if (current && !isEvent) this.#findings.shardReached(current.number)
  }

  #receiveMessage(command: number, source: Uint8Array, start: number, end: number): void {
    switch (command) {
      case MESSAGE.PONG:
        if (!this.#isBarrier(source, start, end)) this.#findings.answer('PONG')
        return
      case MESSAGE.REPLY:
        this.#findings.answer('REPLY')
        return this.#shardReached(decodeReply(source, start, end).channel)
      case MESSAGE.ERROR: {
        const { channel, kind, code, sequence } = decodeError(source, start, end)
        this.#findings.answer(code)
        if (code === 'INTERNAL') this.#findings.add('an answer INTERNAL', this.#cases)
        if (code === 'TOO_MANY_CHANNELS') this.isFull = true
        if (sequence !== 0 && (kind === 'refusal' || BODY_CODES.has(code))) this.#shardReached(channel)
        return
      }
      case MESSAGE.WELCOME: {
        const welcome = decodeWelcome(source, start, end)
        this.#findings.answer(welcome.resumed ? 'WELCOME again' : 'WELCOME')
        this.resumeState = welcome
        return
      }
      case MESSAGE.TOKEN:
        this.#findings.answer('TOKEN')
        this.resumeState = { session: this.resumeState.session, ...decodeToken(source, start, end) }
        return
      case MESSAGE.OPENED:
        decodeOpened(source, start, end)
        return this.#findings.answer('OPENED')
      case MESSAGE.EVENT:
        decodeEvent(source, start, end)
        return this.#findings.answer('EVENT')
      case MESSAGE.ACK:
        this.#shardReached(decodeAck(source, start, end).channel)
        return this.#findings.answer('ACK')
      case MESSAGE.CLOSE:
        return this.#findings.answer(`CLOSE ${decodeClose(source, start, end).code}`)
      case MESSAGE.RESYNC:
        decodeResync(source, start, end)
        return this.#findings.answer('RESYNC')
      case MESSAGE.PING:
        return this.#write({ command: MESSAGE.PONG, body: source.slice(start, end) })
      default:
        this.#findings.add(`a message ${command} that no server sends`, this.#cases)
    }
  }

  /** A shard has answered a call on this channel. */
  #shardReached(channel: number): void {
    const [first] = this.#cases
    // A case that resumes also uses the channels after its own.
    if (first && channel >= channelOf(first.number) && channel < channelOf(first.number) + BLOCK + 8)
      this.#findings.shardReached(Math.min(channel - 1, this.#cases.at(-1)!.number))
  }

  #end(ended: number): void {
    const finish = this.#finish
    this.#finish = null
    finish?.(ended)
  }
}
