// How one flusher waits: one wait at a time, each for something that can cut it short, and longer after each failure.

import { backoffMs } from '../wire/backoff.ts'
import type { Clock, Timer } from '../ports/clock.ts'

/** 'work' is cut short by any entry, 'database' by urgent ones only, 'reject' when a refused turn was taken back. */
export type SleepReason = 'work' | 'database' | 'reject'

const BACKOFF = { minMs: 100, maxMs: 5_000 } as const
/** Somebody waits for MySQL. */
const URGENT_BACKOFF_MS = 250

export class RetryBackoff {
  readonly #clock: Clock
  #reason: SleepReason | null = null
  #timer: Timer | null = null
  #dueMs = 0
  #wake: (() => void) | null = null
  #failures = 0
  #isDisabled = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Resolves after `ms` (Infinity: never by itself), or when it is cut. */
  sleep(reason: SleepReason, ms: number): Promise<void> {
    if (this.#isDisabled) return Promise.resolve()
    this.#reason = reason
    return new Promise((resolve) => {
      this.#wake = resolve
      this.#setTimer(ms)
    })
  }

  /** After a failure: 100 ms, doubling up to 5 s, with jitter, so that owners do not come back all at once. */
  sleepAfterFailure(isUrgent: boolean): Promise<void> {
    const ms = backoffMs(this.#failures++, BACKOFF, this.#clock.random())
    return this.sleep('database', isUrgent ? Math.min(ms, URGENT_BACKOFF_MS) : ms)
  }

  /** The last try was answered. */
  resetFailures(): void {
    this.#failures = 0
  }

  /** What this waits for is there in `ms`. */
  wakeWithin(reason: Exclude<SleepReason, 'database'>, ms = 0): void {
    if (this.#reason === reason) this.#shortenTo(ms)
  }

  /** Somebody waits from now on. */
  expedite(): void {
    this.wakeWithin('work')
    if (this.#reason === 'database') this.#shortenTo(URGENT_BACKOFF_MS)
  }

  /** No wait from now on. */
  disable(): void {
    this.#isDisabled = true
    this.#endSleep()
  }

  #shortenTo(ms: number): void {
    if (this.#clock.mono() + ms >= this.#dueMs) return
    this.#timer?.cancel()
    if (ms === 0) this.#endSleep()
    else this.#setTimer(ms)
  }

  #setTimer(ms: number): void {
    this.#dueMs = this.#clock.mono() + ms
    this.#timer = ms === Infinity ? null : this.#clock.after(ms, () => this.#endSleep())
  }

  #endSleep(): void {
    this.#timer?.cancel()
    this.#reason = this.#timer = null
    const wake = this.#wake
    this.#wake = null
    wake?.()
  }
}
