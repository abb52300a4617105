// Limits how many owners of a process catch up with MySQL at the same time. After an outage all of them have a backlog,
// and their flushing takes processor time from the players. The limit is one while the backlog shrinks, and rises while
// it grows. Invariant: an owner for which a caller waits is admitted at once.

import type { Clock } from '../ports/clock.ts'

/** Interval between two measurements of the backlog. */
const MEASURE_INTERVAL_MS = 250
const MAX_CONCURRENT = 16

export class CatchUpLimiter {
  readonly #clock: Clock
  readonly #backlog: () => number
  readonly #waiting = new Map<object, () => void>()
  #active = 0
  #limit = 1
  /** The last measured backlog; Infinity = not measured since the last failure. */
  #previousBacklog = Infinity
  #measuredAtMs = 0

  /** `backlog`: number of waiting entries of all owners. */
  constructor(clock: Clock, backlog: () => number) {
    this.#clock = clock
    this.#backlog = backlog
  }

  /** Runs `task` when the limit admits `owner`. @throws what `task` throws */
  async run(owner: object, task: () => Promise<void>): Promise<void> {
    await this.#acquire(owner)
    let isSuccessful = false
    try {
      await task()
      isSuccessful = true
    } finally {
      this.#release(isSuccessful)
    }
  }

  /** Admits `owner` above the limit, because a caller waits for it. */
  admitNow(owner: object): void {
    const admit = this.#waiting.get(owner)
    if (!admit) return
    this.#waiting.delete(owner)
    this.#active++
    admit()
  }

  #acquire(owner: object): Promise<void> {
    if (this.#active >= this.#limit) return new Promise((resolve) => this.#waiting.set(owner, resolve))
    this.#active++
    return Promise.resolve()
  }

  #release(isSuccessful: boolean): void {
    this.#active--
    if (isSuccessful) this.#adjustLimit()
    if (!isSuccessful || (this.#active === 0 && this.#waiting.size === 0)) {
      this.#limit = 1
      this.#previousBacklog = Infinity
    }
    for (const owner of this.#waiting.keys()) {
      if (this.#active >= this.#limit) return
      this.admitNow(owner)
    }
  }

  #adjustLimit(): void {
    const now = this.#clock.mono()
    if (now - this.#measuredAtMs < MEASURE_INTERVAL_MS) return
    const backlog = this.#backlog()
    if (backlog > this.#previousBacklog) this.#limit = Math.min(MAX_CONCURRENT, 2 * this.#limit)
    this.#previousBacklog = backlog
    this.#measuredAtMs = now
  }
}
