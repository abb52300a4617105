// The sleeps of one flusher: one at a time, each with the reason that can end it early, and longer after each failure.

import { backoffMs } from '../wire/backoff.ts'
import type { Clock, Timer } from '../ports/clock.ts'

/**
 * 'entries': waits for entries, ended by any entry. 'retry': waits after a failure, shortened by urgent entries only.
 * 'rejection': waits until a refused turn was taken back.
 */
export type SleepReason = 'entries' | 'retry' | 'rejection'

const BACKOFF = { minMs: 100, maxMs: 5_000 } as const
/** Maximum backoff while a caller waits for MySQL. */
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

  /** Resolves after `ms` (Infinity = no timer), or when it is ended early. */
  sleep(reason: SleepReason, ms: number): Promise<void> {
    if (this.#isDisabled) return Promise.resolve()
    this.#reason = reason
    return new Promise((resolve) => {
      this.#wake = resolve
      this.#setTimer(ms)
    })
  }

  /** Sleeps after a failure: 100 ms, doubled up to 5 s, with jitter, so that owners do not retry together. */
  sleepAfterFailure(isUrgent: boolean): Promise<void> {
    const ms = backoffMs(this.#failures++, BACKOFF, this.#clock.random())
    return this.sleep('retry', isUrgent ? Math.min(ms, URGENT_BACKOFF_MS) : ms)
  }

  /** Called when MySQL answered the last attempt. */
  resetFailures(): void {
    this.#failures = 0
  }

  /** Ends a sleep with this reason after `ms`. */
  wakeWithin(reason: Exclude<SleepReason, 'retry'>, ms = 0): void {
    if (this.#reason === reason) this.#shortenTo(ms)
  }

  /** Called when a caller starts to wait for MySQL. */
  expedite(): void {
    this.wakeWithin('entries')
    if (this.#reason === 'retry') this.#shortenTo(URGENT_BACKOFF_MS)
  }

  /** Ends the sleep; later sleeps end immediately. */
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
