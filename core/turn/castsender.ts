// Durable casts, the sender's end. Each is a row until its answer has been acted on, and one at a time is on its way to
// each target: the receiver remembers the last one only. Invariant: its sender acts once on one answer.

import { EMPTY_BYTES } from '../wire/bytes.ts'
import { backoffMs } from '../wire/backoff.ts'
import { CODECS } from '../wire/codec.ts'
import { InputError, shorten, TRANSIENT_CODES } from '../wire/errors.ts'
import type { Activation } from '../engine/activation.ts'
import { shardName } from '../wire/shardid.ts'
import type { PeerAnswer } from '../ports/directory.ts'
import type { StoredCast } from '../ports/store.ts'
import type { Timer } from '../ports/clock.ts'
import { STALE } from './castreceiver.ts'

/**
 * Sequences of one millisecond, of which each activation uses one: so two of them never give the same number to two
 * casts, even within one moment. They grow by the clock, so that they go on growing where the Store was lost.
 */
const SEQUENCES_PER_MS = 1_024
/** A delivery that was not answered is made again: its answer may be lost, and a receiver does it once anyway. */
const DELIVERY_TIMEOUT_MS = 10_000
const RETRY = { minMs: 100, maxMs: 10_000 } as const
/** A host wakes the sender after this, in case it was put out of memory meanwhile. */
const WAKE_MS = 30_000
const MAX_FAILURES = 5

interface CastQueue {
  readonly waiting: StoredCast[]
  /** The head of `waiting` is on its way, or its answer is being acted on. */
  isBusy: boolean
  /** Deliveries of the head that came to nothing. */
  tries: number
  /** Turns of its answer that threw. */
  failures: number
  /** Of the delivery, or until the next. */
  timer: Timer | null
}

export class CastSender {
  readonly #activation: Activation
  readonly #pending = new Map<number, StoredCast>()
  readonly #queues = new Map<string, CastQueue>()
  #lastSequence = 0

  constructor(activation: Activation) {
    this.#activation = activation
  }

  get size(): number {
    return this.#pending.size
  }

  /** When the shard must be awake for them; null = none waits. */
  get wakeMs(): number | null {
    return this.#pending.size === 0 ? null : this.#activation.clock.now() + WAKE_MS
  }

  /** What an earlier activation left. They leave at once. */
  restore(stored: readonly StoredCast[]): void {
    for (const cast of stored) {
      this.#pending.set(cast.sequence, cast)
      this.#lastSequence = Math.max(this.#lastSequence, cast.sequence)
    }
  }

  start(): void {
    for (const cast of this.#pending.values()) this.enqueueCast(cast)
  }

  /** A cast of a turn that has made `others` before. @throws InputError when too many wait, or no such answer is declared */
  createCast(cast: Omit<StoredCast, 'sequence' | 'data'>, data: unknown, others: number): StoredCast {
    const { plan, limits } = this.#activation
    if (this.#pending.size + others >= limits.maxCasts)
      throw new InputError(`${limits.maxCasts} durable casts of this shard wait for their answers already`)
    const answer = plan.definition.answers.get(cast.answer)
    if (cast.answer !== '' && !answer)
      throw new InputError(`no answer ${shorten(cast.answer)}; declare it with .answer(name, fields, run)`)
    const encoded = answer ? codec.encode(answer.parse(data)) : EMPTY_BYTES
    return { ...cast, sequence: this.#nextSequence(), data: encoded }
  }

  /** A number above all before it, and none of another activation. */
  #nextSequence(): number {
    const { clock, number } = this.#activation
    const least = Math.max(this.#lastSequence + 1, clock.now() * SEQUENCES_PER_MS)
    const short = (number - least) % SEQUENCES_PER_MS
    this.#lastSequence = least + (short < 0 ? short + SEQUENCES_PER_MS : short)
    return this.#lastSequence
  }

  /** A turn is about to commit these. */
  applyWrites(casts: ReadonlyMap<number, StoredCast | null>): void {
    for (const [sequence, cast] of casts) {
      if (cast) this.#pending.set(sequence, cast)
      else this.#pending.delete(sequence)
    }
  }

  /** Those that wait now, for taking a turn back. */
  castsForUndo(sequences: Iterable<number>): Map<number, StoredCast | null> {
    return new Map([...sequences].map((sequence) => [sequence, this.#pending.get(sequence) ?? null]))
  }

  /** It is committed: it leaves behind those before it. */
  enqueueCast(cast: StoredCast): void {
    const name = shardName(cast.target)
    let queue = this.#queues.get(name)
    if (!queue)
      this.#queues.set(name, (queue = { waiting: [], isBusy: false, tries: 0, failures: 0, timer: null }))
    queue.waiting.push(cast)
    if (!queue.isBusy) this.#deliverHead(name, queue)
  }

  stop(): void {
    for (const { timer } of this.#queues.values()) timer?.cancel()
  }

  #deliverHead(name: string, queue: CastQueue): void {
    const [cast] = queue.waiting
    if (!cast) {
      this.#queues.delete(name)
      return
    }
    queue.isBusy = true
    const activation = this.#activation
    let isAnswered = false
    const onAnswer = (answer: PeerAnswer): void => {
      if (activation.isEnded || isAnswered) return
      isAnswered = true
      queue.timer?.cancel()
      if (answer.kind === 'system' && answer.code === STALE)
        return this.#renumber(name, queue, Number(answer.message))
      // It was not done, as far as is known: it is delivered again.
      if (answer.kind === 'system' && TRANSIENT_CODES.has(answer.code)) return this.#retryLater(name, queue)
      activation.shard.enqueueWork(() => this.#handleAnswer(name, queue, cast, answer))
    }
    const onTimeout = (): void => onAnswer({ kind: 'system', code: 'DEADLINE', message: '' })
    queue.timer = activation.clock.after(DELIVERY_TIMEOUT_MS, onTimeout)
    activation
      .peer(cast.target)
      .deliver(activation.name, cast)
      .then(onAnswer, () => onAnswer({ kind: 'system', code: 'UNAVAILABLE', message: '' }))
  }

  #retryLater(name: string, queue: CastQueue): void {
    const { clock, meter } = this.#activation
    meter.castRetries++
    const ms = backoffMs(queue.tries++, RETRY, clock.random())
    queue.timer = clock.after(ms, () => this.#deliverHead(name, queue))
  }

  /** The turn of an answer: what it writes is committed together with the end of the cast. */
  #handleAnswer(name: string, queue: CastQueue, cast: StoredCast, answer: PeerAnswer): void {
    this.#activation.castAnswered(cast, answer, (done) => {
      if (done) return this.#removeHead(name, queue)
      if (queue.failures++ < MAX_FAILURES) return this.#retryLater(name, queue)
      this.#dropHead(name, queue, cast)
    })
  }

  #dropHead(name: string, queue: CastQueue, cast: StoredCast): void {
    this.#activation.dropCast(cast, () => this.#removeHead(name, queue))
  }

  #removeHead(name: string, queue: CastQueue): void {
    queue.waiting.shift()
    queue.tries = queue.failures = 0
    queue.isBusy = false
    this.#deliverHead(name, queue)
  }

  /** Its number, and those of all behind it, are raised above what the receiver has seen. */
  #renumber(name: string, queue: CastQueue, mark: number): void {
    const writes = new Map<number, StoredCast | null>()
    this.#lastSequence = Math.max(this.#lastSequence, mark)
    for (const [i, cast] of queue.waiting.entries()) {
      const renumbered = { ...cast, sequence: this.#nextSequence() }
      writes.set(cast.sequence, null)
      writes.set(renumbered.sequence, renumbered)
      queue.waiting[i] = renumbered
    }
    this.applyWrites(writes)
    this.#activation.turnCommit.commitParts(
      { casts: writes, critical: this.#activation.plan.hasCriticalTable },
      () => this.#deliverHead(name, queue),
    )
  }
}

const codec = CODECS.get('msgpack')!
