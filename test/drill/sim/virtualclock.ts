// Virtual time. Invariant: it advances only after every due timer has run and every promise that can settle has settled, so
// the seed alone decides the order of all events. (ManualClock runs all due timers first and promises afterwards: two timers
// of one moment would never see each other's answers.)

import type { Clock, Timer } from '../../../core/ports/clock.ts'
import type { Random } from '../../support/random.ts'
import { macrotask } from './realtimeguard.ts'

interface Scheduled {
  readonly dueMs: number
  /** null = cancelled. */
  run: (() => void) | null
}

/** Wall clock at the start. */
const WALL_MS = 1_700_000_000_000
const MIN_DELAY_MS = 0.001
/** Maximum events of one moment: with more of them, time does not advance. */
const MAX_EVENTS = 10_000

export class VirtualClock implements Clock {
  readonly #random: Random
  /** The next one last. */
  readonly #queue: Scheduled[] = []
  #deferred: (() => void)[] = []
  #nowMs = 0
  /** Events of this moment. */
  #events = 0
  /** Receives what an event threw: on a real host the process would end. */
  onThrow: (error: unknown) => void = (error) => {
    throw error
  }

  constructor(random: Random) {
    this.#random = random
  }

  now(): number {
    return WALL_MS + Math.floor(this.#nowMs)
  }
  mono(): number {
    return this.#nowMs
  }
  after(ms: number, run: () => void): Timer {
    // A positive delay advances time, however small: a rounding error of a subtraction must not stop the clock.
    const scheduled: Scheduled = { dueMs: this.#nowMs + (ms > 0 ? Math.max(MIN_DELAY_MS, ms) : 0), run }
    this.#insert(scheduled)
    return { cancel: () => void (scheduled.run = null) }
  }
  defer(run: () => void): void {
    this.#deferred.push(run)
  }
  random(): number {
    return this.#random.next()
  }
  id(): Uint8Array {
    return Uint8Array.from({ length: 16 }, () => this.#random.below(256))
  }

  /** Advances to `untilMs`, or until `isOver` returns true between two events. */
  async run(untilMs: number, isOver: () => boolean = () => false): Promise<void> {
    await this.#settle()
    while (!isOver()) {
      const next = this.#queue.at(-1)
      if (!next || next.dueMs > untilMs) {
        this.#nowMs = untilMs
        return
      }
      this.#queue.pop()
      if (next.run === null) continue
      this.#events = next.dueMs === this.#nowMs ? this.#events + 1 : 0
      if (this.#events > MAX_EVENTS) this.onThrow(new Error(`more than ${MAX_EVENTS} events at ${this.#nowMs} ms`))
      this.#nowMs = next.dueMs
      this.#guard(next.run)
      await this.#settle()
    }
  }

  /** Runs everything that is deferred and settles every promise that can settle. */
  async #settle(): Promise<void> {
    do {
      const deferred = this.#deferred
      this.#deferred = []
      for (const run of deferred) this.#guard(run)
      await macrotask()
    } while (this.#deferred.length > 0)
  }

  #guard(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.onThrow(error)
    }
  }

  /** Inserts before all that are due earlier, or at the same time and were scheduled earlier. */
  #insert(scheduled: Scheduled): void {
    let [low, high] = [0, this.#queue.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#queue[middle]!.dueMs > scheduled.dueMs) low = middle + 1
      else high = middle
    }
    this.#queue.splice(low, 0, scheduled)
  }
}
