// Durable casts, the receiver's end: the last cast of each sender and its answer, committed with what the turn did.
// Invariant: a cast takes effect once, however often it is delivered, and is answered the same each time.

import { Reader, Writer } from '../wire/bytes.ts'
import type { Activation } from './activation.ts'
import type { PeerAnswer, StoredCast, StoredChannel } from './ports.ts'
import { NOBODY } from './turn.ts'

/** The answer to a cast older than the last: it was never delivered, and needs a number above `message`. */
export const STALE = 'STALE'

/** What is remembered of one sender. */
export interface Receipt {
  /** As a channel of the Store: `@contract/key`. */
  readonly id: string
  /** The last cast that was begun. */
  sequence: number
  /** Its answer, once its commit is known. */
  answer: PeerAnswer | null
  /** How the Store has it. */
  before: StoredChannel
  /** Deliveries of that cast that wait for its commit. */
  readonly waiting: ((answer: PeerAnswer) => void)[]
}

/** Senders remembered in memory; the Store has them all. */
const MAX_RECEIPTS = 1_024

export class Receipts {
  readonly #life: Activation
  readonly #bySender = new Map<string, Receipt>()

  constructor(life: Activation) {
    this.#life = life
  }

  has(sender: string): boolean {
    return this.#bySender.has(sender)
  }

  /** What the Store has of a sender, null = nothing. */
  load(sender: string, stored: StoredChannel | null): void {
    for (const [name, receipt] of this.#bySender) {
      if (this.#bySender.size < MAX_RECEIPTS) break
      if (receipt.answer !== null) this.#bySender.delete(name)
    }
    this.#bySender.set(sender, {
      id: `@${sender}`,
      sequence: stored?.mark ?? 0,
      answer: stored && stored.replies.length > 0 ? decodeAnswer(stored.replies) : null,
      before: stored ?? { mark: 0, replies: new Uint8Array(0) },
      waiting: [],
    })
  }

  /** A delivery from a sender that was loaded. */
  receive(sender: string, cast: StoredCast, tell: (answer: PeerAnswer) => void): void {
    const receipt = this.#bySender.get(sender)!
    if (cast.sequence < receipt.sequence)
      return tell({ kind: 'system', code: STALE, message: String(receipt.sequence) })
    if (cast.sequence === receipt.sequence && receipt.answer) return tell(receipt.answer)
    receipt.waiting.push(tell)
    if (cast.sequence === receipt.sequence) return
    receipt.sequence = cast.sequence
    receipt.answer = null
    const answer = (given: PeerAnswer): void => {
      receipt.answer = given
      for (const one of receipt.waiting.splice(0)) one(given)
    }
    this.#life.perform({ ...NOBODY, answer, receipt }, cast.command, cast.body)
  }

  /** The activation is over: who waits for an answer has to ask the next. */
  end(): void {
    for (const { waiting } of this.#bySender.values())
      for (const tell of waiting.splice(0)) tell({ kind: 'system', code: 'SHARD_RESTARTED', message: '' })
  }
}

const KINDS = ['reply', 'refusal', 'system', 'silence'] as const

/** An answer as a Store keeps it. */
export function encodeAnswer(answer: PeerAnswer): Uint8Array {
  if (answer.kind === 'reply') {
    const kind = KINDS.indexOf(answer.body ? 'reply' : 'silence')
    const body = answer.body ?? new Uint8Array(0)
    return new Writer(1 + body.length).u8(kind).raw(body).bytes
  }
  const code = utf8.encode(answer.code)
  const message = utf8.encode(answer.message.slice(0, 500))
  const writer = new Writer(2 + code.length + message.length)
  return writer.u8(KINDS.indexOf(answer.kind)).u8(code.length).raw(code).raw(message).bytes
}

export function decodeAnswer(bytes: Uint8Array): PeerAnswer {
  const reader = new Reader('a stored answer', bytes, 0, bytes.length)
  const kind = KINDS[reader.u8()] ?? 'system'
  if (kind === 'silence') return { kind: 'reply', body: null }
  if (kind === 'reply') return { kind, body: bytes.slice(1) }
  const size = reader.u8()
  const code = text.decode(reader.raw(size))
  return { kind, code, message: text.decode(bytes.subarray(2 + size)) }
}

const utf8 = new TextEncoder()
const text = new TextDecoder()
