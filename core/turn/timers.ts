// The named timers of one activation. Durable ones are rows: their turn deletes the row in its own commit, so it
// takes effect exactly once; volatile ones end with the activation.

import { CODECS } from '../wire/codec.ts'
import { InputError, shorten } from '../wire/errors.ts'
import type { Activation } from '../engine/activation.ts'
import type { StoredTimer } from '../ports/store.ts'
import type { Timer } from '../ports/clock.ts'

const codec = CODECS.get('msgpack')!
/** setTimeout's range; a longer wait is cut into pieces. */
const LONGEST_MS = 2_147_483_647
const RETRY_MS = 1_000
const MAX_TRIES = 5

interface DurableTimer {
  readonly dueMs: number
  readonly data: unknown
  readonly tries: number
  timer: Timer | null
}

export class Timers {
  readonly #activation: Activation
  readonly #durable = new Map<string, DurableTimer>()
  readonly #volatile = new Map<string, Timer>()

  constructor(activation: Activation) {
    this.#activation = activation
  }

  /** Whether the shard must stay in memory for a volatile timer. */
  get hasVolatile(): boolean {
    return this.#volatile.size > 0
  }

  /** When the next durable timer is due; null = there is none. */
  get wakeMs(): number | null {
    let next: number | null = null
    for (const { dueMs } of this.#durable.values()) if (next === null || dueMs < next) next = dueMs
    return next
  }

  isDurable(name: string): boolean {
    return this.#durable.has(name)
  }

  /** The data as its timer declares it. */
  checkTimer(name: string, ms: number, data: unknown): unknown {
    const { definition } = this.#activation.plan
    const timer = definition.timers.get(name)
    if (!timer) throw new InputError(`no timer ${shorten(name)}; declare it with .timer(name, fields, run)`)
    if (!(ms >= 0)) throw new InputError(`timer ${name}: ${ms} ms is not a delay`)
    if (this.#durable.size + this.#volatile.size >= this.#activation.limits.maxTimers) {
      throw new InputError(
        `timer ${name}: this shard has ${this.#activation.limits.maxTimers} timers already`,
      )
    }
    return timer.parse(data)
  }

  restore(stored: readonly StoredTimer[]): void {
    for (const { name, dueMs, data } of stored) this.setDurable(name, { dueMs, data: codec.decode(data) })
  }

  /** Starts, moves or (null) stops a durable timer in memory; its row is the commit's business. */
  setDurable(name: string, change: { dueMs: number; data: unknown } | null, tries = 0): void {
    this.#durable.get(name)?.timer?.cancel()
    if (!change) {
      this.#durable.delete(name)
      return
    }
    const pending: DurableTimer = { ...change, tries, timer: null }
    this.#durable.set(name, pending)
    this.#arm(name, pending, change.dueMs - this.#activation.clock.now())
  }

  setVolatile(name: string, ms: number, data: unknown): void {
    this.cancelVolatile(name)
    const timer = this.#activation.clock.after(Math.min(ms, LONGEST_MS), () => {
      this.#volatile.delete(name)
      this.#activation.shard.enqueueWork((activation) => activation.fireTimer(name, data, false))
    })
    this.#volatile.set(name, timer)
  }

  cancelVolatile(name: string): void {
    this.#volatile.get(name)?.cancel()
    this.#volatile.delete(name)
  }

  /** A durable timer's turn threw: again later, a bounded number of times. */
  retryDurable(name: string): boolean {
    const pending = this.#durable.get(name)
    if (!pending || pending.tries >= MAX_TRIES) return false
    const tries = pending.tries + 1
    this.setDurable(
      name,
      { dueMs: this.#activation.clock.now() + RETRY_MS * 2 ** tries, data: pending.data },
      tries,
    )
    return true
  }

  /** Whether the timer is still the one that became due: not moved or stopped meanwhile. */
  isDue(name: string, now: number): boolean {
    const pending = this.#durable.get(name)
    return pending !== undefined && pending.dueMs <= now
  }

  stopAll(): void {
    for (const { timer } of this.#durable.values()) timer?.cancel()
    for (const timer of this.#volatile.values()) timer.cancel()
    this.#durable.clear()
    this.#volatile.clear()
  }

  /** Timers as they are now, for taking a turn back; null = there is none. */
  timersForUndo(names: Iterable<string>): Map<string, { dueMs: number; data: unknown } | null> {
    return new Map([...names].map((name) => [name, this.#durable.get(name) ?? null]))
  }

  /** Rows for a commit. */
  encode(writes: Map<string, { dueMs: number; data: unknown } | null>): Map<string, StoredTimer | null> {
    const rows = new Map<string, StoredTimer | null>()
    for (const [name, write] of writes) {
      rows.set(name, write && { name, dueMs: write.dueMs, data: codec.encode(write.data) })
    }
    return rows
  }

  #arm(name: string, pending: DurableTimer, ms: number): void {
    pending.timer = this.#activation.clock.after(Math.max(0, Math.min(ms, LONGEST_MS)), () => {
      const remainingMs = pending.dueMs - this.#activation.clock.now()
      if (remainingMs > 0) this.#arm(name, pending, remainingMs)
      else this.#activation.shard.enqueueWork((activation) => activation.fireTimer(name, pending.data, true))
    })
  }
}
