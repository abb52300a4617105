// How many owners of a process catch up with MySQL at a time: after an outage all of them have much to send, and what
// that takes of the processor is taken from the players. One is enough as long as the backlog shrinks; else there are
// more. Invariant: somebody who is waited for never waits here.

import type { Clock } from '../ports/clock.ts'

/** Over which the backlog is watched. */
const MEASURE_INTERVAL_MS = 250
const MAX_CONCURRENT = 16

export class CatchUpLimiter {
  readonly #clock: Clock
  readonly #backlog: () => number
  readonly #waiting = new Map<object, () => void>()
  #active = 0
  #limit = 1
  /** What the backlog was, and when; Infinity = it was not looked at since the last failure. */
  #previousBacklog = Infinity
  #measuredAtMs = 0

  /** `backlog`: entries that wait, of all owners together. */
  constructor(clock: Clock, backlog: () => number) {
    this.#clock = clock
    this.#backlog = backlog
  }

  /** Lets `owner` send its next batch when it is its turn. @throws what `send` throws */
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

  /** Somebody waits for `owner` from now on. */
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
    else [this.#limit, this.#previousBacklog] = [1, Infinity]
    for (const owner of this.#waiting.keys()) {
      if (this.#active >= this.#limit) return
      this.admitNow(owner)
    }
    if (this.#active === 0) [this.#limit, this.#previousBacklog] = [1, Infinity]
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
