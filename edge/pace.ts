// How fast a peer sends: within its budget it is read at once, above it later, and above it for long, or by what takes
// that long, it is a flood.

import { Budget } from './budget.ts'

/** What `charge` says of a flood. */
export const FLOOD = -1
/** Pauses below this do not end a flood. */
const GAP_MS = 1_000

export class Pace {
  readonly #budget: Budget
  /** Since when it is above its budget, almost without a pause; and when the last debt ends. */
  #sinceMs = 0
  #thawMs = 0

  constructor(costPerSecond: number, bytesPerSecond: number) {
    this.#budget = new Budget(costPerSecond, bytesPerSecond)
  }

  /** Takes what was read; returns for how long nothing more may be, 0 = read on, FLOOD = above it for `floodMs`. */
  charge(cost: number, bytes: number, nowMs: number, floodMs: number): number {
    this.#budget.spend(cost, bytes, nowMs)
    const waitMs = this.#budget.waitMs(nowMs)
    if (waitMs === 0) return 0
    if (nowMs - this.#thawMs > GAP_MS) this.#sinceMs = nowMs
    // One chunk may cost minutes: who sent it is not to be waited for.
    if (nowMs - this.#sinceMs >= floodMs || waitMs > floodMs) return FLOOD
    this.#thawMs = nowMs + waitMs
    return waitMs
  }
}
