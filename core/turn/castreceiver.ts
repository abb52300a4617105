// Durable casts at the receiver: the last cast of each sender and its answer. Invariant: a cast runs once and each
// delivery of it gets the same answer, because sequence and answer are stored in the commit of the cast's turn.

import { ByteReader, ByteWriter, EMPTY_BYTES, utf8Encoder, utf8Decoder } from '../wire/bytes.ts'
import { systemError, type PeerAnswer } from '../ports/directory.ts'
import { channelWrite, type ChannelWrite, type StoredCast, type StoredChannel } from '../ports/store.ts'
import { NO_CALLER, type CastReceipt, type TurnCause } from './turnhost.ts'

/** Senders in memory; the Store has them all. */
const MAX_SENDERS = 1_024

export interface CommandRunner {
  runCommand(cause: TurnCause, number: number, body: Uint8Array): void
}

export class CastReceiver {
  readonly #runner: CommandRunner
  readonly #bySender = new Map<string, SenderReceipt>()

  constructor(runner: CommandRunner) {
    this.#runner = runner
  }

  hasSender(sender: string): boolean {
    return this.#bySender.has(sender)
  }

  /** `stored`: what the Store has of the sender; null = nothing. */
  loadSender(sender: string, stored: StoredChannel | null): void {
    for (const [name, receipt] of this.#bySender) {
      if (this.#bySender.size < MAX_SENDERS) break
      if (receipt.hasAnswer) this.#bySender.delete(name)
    }
    this.#bySender.set(sender, new SenderReceipt(sender, stored))
  }

  /** Handles a delivery from a sender that was loaded. */
  applyCast(sender: string, cast: StoredCast, reply: (answer: PeerAnswer) => void): void {
    const receipt = this.#bySender.get(sender)!
    if (!receipt.receive(cast.sequence, reply)) return
    const onAnswer = (answer: PeerAnswer): void => receipt.answer(answer)
    this.#runner.runCommand({ ...NO_CALLER, onAnswer, receipt }, cast.command, cast.body)
  }

  /** The activation ended: senders must deliver to the next one. */
  failWaiting(): void {
    for (const receipt of this.#bySender.values()) receipt.failWaiting()
  }
}

/** The last cast of one sender, and its answer. */
class SenderReceipt implements CastReceipt {
  /** As a channel of the Store: `@contract/key`. */
  readonly #id: string
  /** Sequence of the last cast that was started. */
  #sequence: number
  /** Its answer, once its turn is committed. */
  #answer: PeerAnswer | null
  /** What the Store has, or will have after the commits in progress. */
  #stored: StoredChannel
  /** Deliveries of that cast that wait for its commit. */
  #waiting: ((answer: PeerAnswer) => void)[] = []

  constructor(sender: string, stored: StoredChannel | null) {
    this.#id = `@${sender}`
    this.#stored = stored ?? { mark: 0, replies: EMPTY_BYTES }
    this.#sequence = this.#stored.mark
    this.#answer = this.#stored.replies.length > 0 ? decodeCastAnswer(this.#stored.replies) : null
  }

  get hasAnswer(): boolean {
    return this.#answer !== null
  }

  /** Answers a delivery now or with the cast's commit. Returns true when the cast is new and must be run. */
  receive(sequence: number, reply: (answer: PeerAnswer) => void): boolean {
    const isNew = sequence > this.#sequence
    if (isNew) [this.#sequence, this.#answer] = [sequence, null]
    if (sequence < this.#sequence) reply(staleAnswer(this.#sequence))
    else if (this.#answer) reply(this.#answer)
    else this.#waiting.push(reply)
    return isNew
  }

  /** The cast is committed: sends its answer to all deliveries. */
  answer(answer: PeerAnswer): void {
    this.#answer = answer
    for (const reply of this.#waiting.splice(0)) reply(answer)
  }

  failWaiting(): void {
    for (const reply of this.#waiting.splice(0)) reply(systemError('SHARD_RESTARTED'))
  }

  createWrite(nowMs: number, answer: PeerAnswer): ChannelWrite {
    this.#stored = { mark: this.#sequence, replies: encodeCastAnswer(answer) }
    return channelWrite(this.#id, nowMs, this.#stored)
  }

  createUndoWrite(nowMs: number): ChannelWrite {
    return channelWrite(this.#id, nowMs, this.#stored)
  }
}

const STALE = 'STALE'

/**
 * The answer to a cast whose sequence is below the last one: it was not run, and needs a sequence above `mark`. Sender and
 * receiver may run different versions, and the version before `mark` reads the number from `message`. So both carry it
 * for one version.
 */
function staleAnswer(mark: number): PeerAnswer {
  return { kind: 'system', code: STALE, message: String(mark), mark }
}

/** The mark of a stale answer; null = another answer. Reads `message` of a receiver of the version before `mark`. */
export function staleMarkOf(answer: PeerAnswer): number | null {
  if (answer.kind !== 'system' || answer.code !== STALE) return null
  return answer.mark ?? Number(answer.message)
}

/** The index is stored: append only. */
const KINDS = ['reply', 'refusal', 'system', 'no-reply'] as const

/** An answer as a Store holds it. */
export function encodeCastAnswer(answer: PeerAnswer): Uint8Array {
  if (answer.kind === 'reply') {
    const kind = KINDS.indexOf(answer.body ? 'reply' : 'no-reply')
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
  if (kind === 'no-reply') return { kind: 'reply', body: null }
  if (kind === 'reply') return { kind, body: bytes.slice(1) }
  const size = reader.u8()
  const code = utf8Decoder.decode(reader.raw(size))
  return { kind, code, message: utf8Decoder.decode(bytes.subarray(2 + size)) }
}
