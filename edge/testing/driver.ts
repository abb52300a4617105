// Advances the clock of a test. While the test waits for something, time passes only if nothing else can happen; so a game
// that does not wait for the outside has the same times in every run.

import type { ManualClock } from '../../core/testing/memory.ts'

// The test runner may replace the global ones by fake timers.
const { setImmediate, setTimeout } = globalThis

/** Rounds in which promises are settled before time passes. */
const SETTLE_ROUNDS = 20
/** Handlers may wait for real input and output, so time passes like real time at first, then faster. */
const REAL_TIME_MS = 1_000
const FAST_STEP_MS = 20

export class TestDriver {
  readonly #clock: ManualClock
  constructor(clock: ManualClock) {
    this.#clock = clock
  }

  /** Runs everything that needs no time. */
  async settle(): Promise<void> {
    for (let i = 0; i < SETTLE_ROUNDS; i++) await this.#round()
  }

  /** Advances the time; each timer runs at its own time, and what it causes before the next. */
  async advance(ms: number): Promise<void> {
    if (!(ms >= 0 && ms < Infinity)) throw new RangeError(`advance: ${ms} ms is not a time`)
    const untilMs = this.#clock.now() + ms
    await this.settle()
    for (;;) {
      const nowMs = this.#clock.now()
      const nextMs = Math.min(this.#clock.nextDueMs ?? untilMs, untilMs)
      this.#clock.advance(Math.max(0, nextMs - nowMs))
      await this.#round()
      await this.#round()
      if (nextMs >= untilMs && (this.#clock.nextDueMs ?? Infinity) > untilMs) break
    }
    await this.settle()
  }

  /**
   * Waits until `isDone`, for at most `ms` of the game's time. Returns false when the time is over. `realTimeMs`: for this
   * time a millisecond passes per real millisecond.
   */
  async waitUntil(isDone: () => boolean, ms: number, realTimeMs: number = REAL_TIME_MS): Promise<boolean> {
    const startMs = this.#clock.now()
    for (;;) {
      for (let i = 0; i < SETTLE_ROUNDS && !isDone(); i++) await this.#round()
      if (isDone()) return true
      const passedMs = this.#clock.now() - startMs
      if (passedMs >= ms) return false
      await new Promise((resolve) => setTimeout(resolve, 1))
      if (!isDone()) await this.advance(Math.min(passedMs < realTimeMs ? 1 : FAST_STEP_MS, ms - passedMs))
    }
  }

  /** Resolves or rejects as the promise does. */
  async complete<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
    let isSettled = false
    const settle = (): void => void (isSettled = true)
    promise.then(settle, settle)
    if (!(await this.waitUntil(() => isSettled, ms))) throw new Error(`${what}: not done within ${ms} ms`)
    return promise
  }

  async #round(): Promise<void> {
    this.#clock.settle()
    await new Promise((resolve) => setImmediate(resolve))
  }
}
