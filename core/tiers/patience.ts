// How one flusher waits: one wait at a time, each for something that can cut it short, and longer after each failure.

import type { Clock, Timer } from '../run/ports.ts'

/** 'work' is cut short by any entry, 'database' by urgent ones only, 'reject' when a refused turn was taken back. */
export type Awaited = 'work' | 'database' | 'reject'

const BACKOFF_MS = 100
const MAX_BACKOFF_MS = 5_000
/** Somebody waits for MySQL. */
const URGENT_BACKOFF_MS = 250

export class Patience {
  readonly #clock: Clock
  #what: Awaited | null = null
  #timer: Timer | null = null
  #dueMs = 0
  #wake: (() => void) | null = null
  #failures = 0
  #stopped = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Resolves after `ms` (Infinity: never by itself), or when it is cut. */
  rest(what: Awaited, ms: number): Promise<void> {
    if (this.#stopped) return Promise.resolve()
    this.#what = what
    return new Promise((resolve) => {
      this.#wake = resolve
      this.#arm(ms)
    })
  }

  /** After a failure: 100 ms, doubling up to 5 s, with jitter, so that owners do not come back all at once. */
  backOff(isUrgent: boolean): Promise<void> {
    const longest = Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** Math.min(this.#failures++, 10))
    const ms = longest * (0.5 + this.#clock.random() / 2)
    return this.rest('database', isUrgent ? Math.min(ms, URGENT_BACKOFF_MS) : ms)
  }

  /** The last try was answered. */
  succeeded(): void {
    this.#failures = 0
  }

  /** What this waits for is there in `ms`. */
  cut(what: Exclude<Awaited, 'database'>, ms = 0): void {
    if (this.#what === what) this.#within(ms)
  }

  /** Somebody waits from now on. */
  hurry(): void {
    this.cut('work')
    if (this.#what === 'database') this.#within(URGENT_BACKOFF_MS)
  }

  /** No wait from now on. */
  stop(): void {
    this.#stopped = true
    this.#end()
  }

  #within(ms: number): void {
    if (this.#clock.mono() + ms >= this.#dueMs) return
    this.#timer?.cancel()
    if (ms === 0) this.#end()
    else this.#arm(ms)
  }

  #arm(ms: number): void {
    this.#dueMs = this.#clock.mono() + ms
    this.#timer = ms === Infinity ? null : this.#clock.after(ms, () => this.#end())
  }

  #end(): void {
    this.#timer?.cancel()
    this.#what = this.#timer = null
    const wake = this.#wake
    this.#wake = null
    wake?.()
  }
}
