// How fast a peer sends: within its budget it is read at once, above it later, and above it for long, or by what takes
// that long, it is a flood.

import { TokenBucket } from './tokenbucket.ts'

/** What `charge` says of a flood. */
export const FLOOD_DETECTED = -1
/** Pauses below this do not end a flood. */
const FLOOD_RESET_MS = 1_000

export class FloodDetector {
  readonly #bucket: TokenBucket
  /** Since when it is above its budget, almost without a pause; and when the last debt ends. */
  #overLimitSinceMs = 0
  #debtPaidMs = 0

  constructor(costPerSecond: number, bytesPerSecond: number) {
    this.#bucket = new TokenBucket(costPerSecond, bytesPerSecond)
  }

  /** Takes what was read; returns for how long nothing more may be, 0 = read on, FLOOD = above it for `floodMs`. */
  consume(cost: number, bytes: number, nowMs: number, floodMs: number): number {
    this.#bucket.consume(cost, bytes, nowMs)
    const waitMs = this.#bucket.waitMs(nowMs)
    if (waitMs === 0) return 0
    if (nowMs - this.#debtPaidMs > FLOOD_RESET_MS) this.#overLimitSinceMs = nowMs
    // One chunk may cost minutes: who sent it is not to be waited for.
    if (nowMs - this.#overLimitSinceMs >= floodMs || waitMs > floodMs) return FLOOD_DETECTED
    this.#debtPaidMs = nowMs + waitMs
    return waitMs
  }
}
