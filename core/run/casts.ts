// Durable casts, the sender's end. Each is a row until its answer has been acted on, and one at a time is on its way to
// each target: the receiver remembers the last one only. Invariant: its sender acts once on one answer.

import { CODECS } from '../wire/codec.ts'
import { InputError, shorten, TRANSIENT } from '../wire/errors.ts'
import type { Activation } from './activation.ts'
import { shardName, type PeerAnswer, type StoredCast, type Timer } from './ports.ts'
import { STALE } from './receipts.ts'

/**
 * Sequences of one millisecond, of which each activation uses one: so two of them never give the same number to two
 * casts, even within one moment. They grow by the clock, so that they go on growing where the Store was lost.
 */
const PER_MS = 1_024
/** A delivery that was not answered is made again: its answer may be lost, and a receiver does it once anyway. */
const DELIVERY_MS = 10_000
const FIRST_RETRY_MS = 100
const LAST_RETRY_MS = 10_000
/** A host wakes the sender after this, in case it was put out of memory meanwhile. */
const WAKE_MS = 30_000
const MAX_FAILURES = 5

interface Lane {
  readonly waiting: StoredCast[]
  /** The head of `waiting` is on its way, or its answer is being acted on. */
  busy: boolean
  /** Deliveries of the head that came to nothing. */
  tries: number
  /** Turns of its answer that threw. */
  failures: number
  /** Of the delivery, or until the next. */
  timer: Timer | null
}

export class Casts {
  readonly #life: Activation
  readonly #pending = new Map<number, StoredCast>()
  readonly #lanes = new Map<string, Lane>()
  #last = 0

  constructor(life: Activation) {
    this.#life = life
  }

  get size(): number {
    return this.#pending.size
  }

  /** When the shard must be awake for them; null = none waits. */
  get wakeMs(): number | null {
    return this.#pending.size === 0 ? null : this.#life.clock.now() + WAKE_MS
  }

  /** What an earlier activation left. They leave at once. */
  load(stored: readonly StoredCast[]): void {
    for (const cast of stored) {
      this.#pending.set(cast.sequence, cast)
      this.#last = Math.max(this.#last, cast.sequence)
    }
  }

  start(): void {
    for (const cast of this.#pending.values()) this.send(cast)
  }

  /** A cast of a turn that has made `others` before. @throws InputError when too many wait, or no such answer is declared */
  make(cast: Omit<StoredCast, 'sequence' | 'data'>, data: unknown, others: number): StoredCast {
    const { plan, limits } = this.#life
    if (this.#pending.size + others >= limits.maxCasts)
      throw new InputError(`${limits.maxCasts} durable casts of this shard wait for their answers already`)
    const answer = plan.definition.answers.get(cast.answer)
    if (cast.answer !== '' && !answer)
      throw new InputError(`no answer ${shorten(cast.answer)}; declare it with .answer(name, fields, run)`)
    const encoded = answer ? codec.encode(answer.parse(data)) : NO_BYTES
    return { ...cast, sequence: this.#next(), data: encoded }
  }

  /** A number above all before it, and none of another activation. */
  #next(): number {
    const { clock, number } = this.#life
    const least = Math.max(this.#last + 1, clock.now() * PER_MS)
    const short = (number - least) % PER_MS
    this.#last = least + (short < 0 ? short + PER_MS : short)
    return this.#last
  }

  /** A turn is about to commit these. */
  wrote(casts: ReadonlyMap<number, StoredCast | null>): void {
    for (const [sequence, cast] of casts) {
      if (cast) this.#pending.set(sequence, cast)
      else this.#pending.delete(sequence)
    }
  }

  /** Those that wait now, for taking a turn back. */
  before(sequences: Iterable<number>): Map<number, StoredCast | null> {
    return new Map([...sequences].map((sequence) => [sequence, this.#pending.get(sequence) ?? null]))
  }

  /** It is committed: it leaves behind those before it. */
  send(cast: StoredCast): void {
    const name = shardName(cast.target)
    let lane = this.#lanes.get(name)
    if (!lane)
      this.#lanes.set(name, (lane = { waiting: [], busy: false, tries: 0, failures: 0, timer: null }))
    lane.waiting.push(cast)
    if (!lane.busy) this.#deliver(name, lane)
  }

  stop(): void {
    for (const { timer } of this.#lanes.values()) timer?.cancel()
  }

  #deliver(name: string, lane: Lane): void {
    const [cast] = lane.waiting
    if (!cast) {
      this.#lanes.delete(name)
      return
    }
    lane.busy = true
    const life = this.#life
    let isHeard = false
    const heard = (answer: PeerAnswer): void => {
      if (life.over || isHeard) return
      isHeard = true
      lane.timer?.cancel()
      if (answer.kind === 'system' && answer.code === STALE)
        return this.#renumber(name, lane, Number(answer.message))
      // It was not done, as far as is known: it is delivered again.
      if (answer.kind === 'system' && TRANSIENT.has(answer.code)) return this.#again(name, lane)
      life.shard.soon(() => this.#act(name, lane, cast, answer))
    }
    const late = (): void => heard({ kind: 'system', code: 'DEADLINE', message: '' })
    lane.timer = life.clock.after(DELIVERY_MS, late)
    life
      .peer(cast.target)
      .deliver(life.name, cast)
      .then(heard, () => heard({ kind: 'system', code: 'UNAVAILABLE', message: '' }))
  }

  #again(name: string, lane: Lane): void {
    const { clock, meter } = this.#life
    meter.castRetries++
    const ms = Math.min(FIRST_RETRY_MS * 2 ** lane.tries++, LAST_RETRY_MS) * (0.5 + clock.random() / 2)
    lane.timer = clock.after(ms, () => this.#deliver(name, lane))
  }

  /** The turn of an answer: what it writes is committed together with the end of the cast. */
  #act(name: string, lane: Lane, cast: StoredCast, answer: PeerAnswer): void {
    this.#life.answered(cast, answer, (done) => {
      if (done) return this.#shift(name, lane)
      if (lane.failures++ < MAX_FAILURES) return this.#again(name, lane)
      this.#giveUp(name, lane, cast)
    })
  }

  #giveUp(name: string, lane: Lane, cast: StoredCast): void {
    this.#life.drop(cast, () => this.#shift(name, lane))
  }

  #shift(name: string, lane: Lane): void {
    lane.waiting.shift()
    lane.tries = lane.failures = 0
    lane.busy = false
    this.#deliver(name, lane)
  }

  /** Its number, and those of all behind it, are raised above what the receiver has seen. */
  #renumber(name: string, lane: Lane, mark: number): void {
    const writes = new Map<number, StoredCast | null>()
    this.#last = Math.max(this.#last, mark)
    for (const [i, cast] of lane.waiting.entries()) {
      const renumbered = { ...cast, sequence: this.#next() }
      writes.set(cast.sequence, null)
      writes.set(renumbered.sequence, renumbered)
      lane.waiting[i] = renumbered
    }
    this.wrote(writes)
    this.#life.settlement.commit({ casts: writes, critical: this.#life.plan.critical }, () =>
      this.#deliver(name, lane),
    )
  }
}

const codec = CODECS.get('msgpack')!
const NO_BYTES = new Uint8Array(0)
