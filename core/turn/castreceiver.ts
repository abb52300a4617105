// Durable casts, the receiver's end: the last cast of each sender and its answer, committed with what the turn did.
// Invariant: a cast takes effect once, however often it is delivered, and is answered the same each time.

import { ByteReader, ByteWriter, EMPTY_BYTES, utf8Encoder, utf8Decoder } from '../wire/bytes.ts'
import type { Activation } from '../engine/activation.ts'
import type { PeerAnswer } from '../ports/directory.ts'
import type { StoredCast, StoredChannel } from '../ports/store.ts'
import { NO_CALLER } from './turn.ts'

/** The answer to a cast older than the last: it was never delivered, and needs a number above `message`. */
export const STALE = 'STALE'

/** What is remembered of one sender. */
export interface CastReceipt {
  /** As a channel of the Store: `@contract/key`. */
  readonly id: string
  /** The last cast that was begun. */
  sequence: number
  /** Its answer, once its commit is known. */
  answer: PeerAnswer | null
  /** How the Store has it. */
  storedState: StoredChannel
  /** Deliveries of that cast that wait for its commit. */
  readonly waitingReplies: ((answer: PeerAnswer) => void)[]
}

/** Senders remembered in memory; the Store has them all. */
const MAX_RECEIPTS = 1_024

export class CastReceiver {
  readonly #activation: Activation
  readonly #bySender = new Map<string, CastReceipt>()

  constructor(activation: Activation) {
    this.#activation = activation
  }

  hasSender(sender: string): boolean {
    return this.#bySender.has(sender)
  }

  /** What the Store has of a sender, null = nothing. */
  loadSender(sender: string, stored: StoredChannel | null): void {
    for (const [name, receipt] of this.#bySender) {
      if (this.#bySender.size < MAX_RECEIPTS) break
      if (receipt.answer !== null) this.#bySender.delete(name)
    }
    this.#bySender.set(sender, {
      id: `@${sender}`,
      sequence: stored?.mark ?? 0,
      answer: stored && stored.replies.length > 0 ? decodeCastAnswer(stored.replies) : null,
      storedState: stored ?? { mark: 0, replies: EMPTY_BYTES },
      waitingReplies: [],
    })
  }

  /** A delivery from a sender that was loaded. */
  applyCast(sender: string, cast: StoredCast, reply: (answerAll: PeerAnswer) => void): void {
    const receipt = this.#bySender.get(sender)!
    if (cast.sequence < receipt.sequence)
      return reply({ kind: 'system', code: STALE, message: String(receipt.sequence) })
    if (cast.sequence === receipt.sequence && receipt.answer) return reply(receipt.answer)
    receipt.waitingReplies.push(reply)
    if (cast.sequence === receipt.sequence) return
    receipt.sequence = cast.sequence
    receipt.answer = null
    const answerAll = (given: PeerAnswer): void => {
      receipt.answer = given
      for (const replyTo of receipt.waitingReplies.splice(0)) replyTo(given)
    }
    this.#activation.runCommand({ ...NO_CALLER, onAnswer: answerAll, receipt }, cast.command, cast.body)
  }

  /** The activation is over: who waits for an answer has to ask the next. */
  failWaiting(): void {
    for (const { waitingReplies: waiting } of this.#bySender.values())
      for (const reply of waiting.splice(0)) reply({ kind: 'system', code: 'SHARD_RESTARTED', message: '' })
  }
}

const KINDS = ['reply', 'refusal', 'system', 'silence'] as const

/** An answer as a Store keeps it. */
export function encodeCastAnswer(answer: PeerAnswer): Uint8Array {
  if (answer.kind === 'reply') {
    const kind = KINDS.indexOf(answer.body ? 'reply' : 'silence')
    const body = answer.body ?? EMPTY_BYTES
    return new ByteWriter(1 + body.length).u8(kind).raw(body).bytes
  }
  const code = utf8Encoder.encode(answer.code)
  const message = utf8Encoder.encode(answer.message.slice(0, 500))
  const writer = new ByteWriter(2 + code.length + message.length)
  return writer.u8(KINDS.indexOf(answer.kind)).u8(code.length).raw(code).raw(message).bytes
}

export function decodeCastAnswer(bytes: Uint8Array): PeerAnswer {
  const reader = new ByteReader('a stored answer', bytes, 0, bytes.length)
  const kind = KINDS[reader.u8()] ?? 'system'
  if (kind === 'silence') return { kind: 'reply', body: null }
  if (kind === 'reply') return { kind, body: bytes.slice(1) }
  const size = reader.u8()
  const code = utf8Decoder.decode(reader.raw(size))
  return { kind, code, message: utf8Decoder.decode(bytes.subarray(2 + size)) }
}
