// Virtual time. It moves on only when everything that was due has run and every promise has gone as far as it can, so
// that the order of all events comes from the seed alone. (A ManualClock runs all that is due in one go, and promises
// afterwards: two timers of one moment would never see each other's answers.)

import type { Clock, Timer } from '../../../core/ports/clock.ts'
import type { Random } from '../../support/random.ts'
import { drained } from './frozen.ts'

interface Waiting {
  readonly dueMs: number
  readonly order: number
  /** null = cancelled. */
  run: (() => void) | null
}

/** Wall clock at the beginning. */
const WALL_MS = 1_700_000_000_000
const LEAST_MS = 0.001
/** Of one moment: beyond it nothing will ever happen but these. */
const MAX_EVENTS = 10_000

export class VirtualClock implements Clock {
  readonly #random: Random
  readonly #heap: Waiting[] = []
  #soon: (() => void)[] = []
  #nowMs = 0
  #order = 0
  /** In this moment. */
  #events = 0
  /** Told what an event threw: on a real host the process would be over. */
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
    // What is to come later comes later, however little: a rest of a subtraction must not make time stand still.
    const waiting: Waiting = {
      dueMs: this.#nowMs + (ms > 0 ? Math.max(LEAST_MS, ms) : 0),
      order: this.#order++,
      run,
    }
    this.#push(waiting)
    return { cancel: () => void (waiting.run = null) }
  }
  defer(run: () => void): void {
    this.#soon.push(run)
  }
  random(): number {
    return this.#random.next()
  }
  id(): Uint8Array {
    return Uint8Array.from({ length: 16 }, () => this.#random.below(256))
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve))
  }

  /** Lets time go by up to this moment, or until `isOver` says so between two events. */
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
      if (this.#events > MAX_EVENTS) this.onThrow(new Error(`${MAX_EVENTS} events, and time stands still`))
      this.#nowMs = next.dueMs
      this.#guard(next.run)
      await this.#settle()
    }
  }

  /** Everything that was deferred, and every promise that waits for nothing but its turn. */
  async #settle(): Promise<void> {
    do {
      const soon = this.#soon
      this.#soon = []
      for (const run of soon) this.#guard(run)
      await drained()
    } while (this.#soon.length > 0)
  }

  #guard(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.onThrow(error)
    }
  }

  #push(waiting: Waiting): void {
    const heap = this.#heap
    let at = heap.length
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (isBefore(heap[parent]!, waiting)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = waiting
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

function isBefore(a: Waiting, b: Waiting): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order)
}
