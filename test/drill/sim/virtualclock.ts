// Virtual time. Invariant: it advances only after every due timer has run and every promise that can settle has settled, so
// the seed alone decides the order of all events. (ManualClock runs all due timers first and promises afterwards: two timers
// of one moment would never see each other's answers.)

import type { Clock, Timer } from '../../../core/ports/clock.ts'
import type { Random } from '../../support/random.ts'
import { macrotask } from './realtimeguard.ts'

interface Scheduled {
  readonly dueMs: number
  readonly order: number
  /** null = cancelled. */
  run: (() => void) | null
}

/** Wall clock at the start. */
const WALL_MS = 1_700_000_000_000
const MIN_DELAY_MS = 0.001
/** Events of one moment; with more of them time would stand still. */
const MAX_EVENTS = 10_000

export class VirtualClock implements Clock {
  readonly #random: Random
  readonly #heap: Scheduled[] = []
  #deferred: (() => void)[] = []
  #nowMs = 0
  #order = 0
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
    const scheduled: Scheduled = {
      dueMs: this.#nowMs + (ms > 0 ? Math.max(MIN_DELAY_MS, ms) : 0),
      order: this.#order++,
      run,
    }
    this.#push(scheduled)
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
      const [next] = this.#heap
      if (!next || next.dueMs > untilMs) {
        this.#nowMs = untilMs
        return
      }
      this.#pop()
      if (next.run === null) continue
      this.#events = next.dueMs === this.#nowMs ? this.#events + 1 : 0
      if (this.#events > MAX_EVENTS)
        this.onThrow(new Error(`more than ${MAX_EVENTS} events at ${this.#nowMs} ms`))
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

  #push(scheduled: Scheduled): void {
    const heap = this.#heap
    let at = heap.length
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (isBefore(heap[parent]!, scheduled)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = scheduled
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()!
    if (heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (isBefore(last, heap[child]!)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
  }
}

function isBefore(a: Scheduled, b: Scheduled): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order)
}
