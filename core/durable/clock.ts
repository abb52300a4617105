// The Clock and the Log of a Worker isolate. Time stands still while JavaScript runs there, so nothing may measure
// a turn with it. Invariant: no timer longer than `pinMs` is held by the platform's setTimeout, because a pending
// one keeps a Durable Object awake (and billed); such a timer is parked and asked about at each event.

import type { Clock, Timer } from '../ports/clock.ts'
import type { Log, LogFields } from '../ports/log.ts'

/** The longest timer for which an object stays awake; a quiet one may be evicted after one or two minutes anyway. */
export const OBJECT_MAX_PINNED_MS = 60_000
/** Random words are drawn by the batch: one call a word costs more than the word. */
const POOL_WORDS = 64

interface DeferredTimer {
  readonly dueMs: number
  readonly run: () => void
}

export class WorkerClock implements Clock {
  readonly #maxPinnedMs: number
  readonly #deferred = new Set<DeferredTimer>()
  readonly #pool = new Uint32Array(POOL_WORDS)
  #poolUsed = POOL_WORDS

  /** Without `pinMs` every timer is the platform's, as an edge wants it: nothing there hibernates. */
  constructor(maxPinnedMs: number = Number.POSITIVE_INFINITY) {
    this.#maxPinnedMs = maxPinnedMs
  }

  now(): number {
    return Date.now()
  }

  mono(): number {
    return performance.now()
  }

  after(ms: number, run: () => void): Timer {
    if (ms > this.#maxPinnedMs) {
      const timer = { dueMs: Date.now() + ms, run }
      this.#deferred.add(timer)
      return { cancel: () => this.#deferred.delete(timer) }
    }
    const id = setTimeout(run, ms)
    return { cancel: () => clearTimeout(id) }
  }

  /** A microtask: everything that one event causes leaves as one message at its end. */
  defer(run: () => void): void {
    queueMicrotask(run)
  }

  /** Runs the parked timers that are due; a Durable Object calls it at every event and alarm. */
  runDueTimers(): void {
    if (this.#deferred.size === 0) return
    const now = Date.now()
    for (const timer of this.#deferred) {
      if (timer.dueMs > now) continue
      this.#deferred.delete(timer)
      timer.run()
    }
  }

  random(): number {
    if (this.#poolUsed === POOL_WORDS) {
      crypto.getRandomValues(this.#pool)
      this.#poolUsed = 0
    }
    return this.#pool[this.#poolUsed++]! / 4_294_967_296
  }

  id(): Uint8Array {
    return crypto.getRandomValues(new Uint8Array(16))
  }
}

/** One JSON line a message, as Workers Logs index it. */
export class WorkerLog implements Log {
  info(message: string, fields?: LogFields): void {
    console.log(JSON.stringify({ level: 'info', message, ...fields }))
  }
  warn(message: string, fields?: LogFields): void {
    console.warn(JSON.stringify({ level: 'warn', message, ...fields }))
  }
  error(message: string, fields?: LogFields): void {
    console.error(JSON.stringify({ level: 'error', message, ...fields }))
  }
}
