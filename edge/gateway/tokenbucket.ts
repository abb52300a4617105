// What a session may send: two token buckets (cost and bytes) that each hold two seconds of their rate and refill by
// the clock that the caller brings. Debt is allowed: the frame that overdraws is served, then the reader pauses for
// `waitMs`, so that nothing is lost and nobody sends faster than the rate for longer than the bucket lasts.

/** A bucket holds this many milliseconds of its rate: a burst that long passes without a pause. */
const BURST_MS = 2_000

export class TokenBucket {
  readonly #costPerSecond: number
  readonly #bytesPerSecond: number
  // What is spent and not yet refilled, in milliseconds of the rate: 0 = a full bucket, above BURST_MS = debt.
  #costUsedMs = 0
  #bytesUsedMs = 0
  #refilledMs = 0

  /** Starts full. `Infinity` turns a bucket off. @throws RangeError of a rate that is not above 0 */
  constructor(costPerSecond: number, bytesPerSecond: number) {
    this.#costPerSecond = requirePositiveRate(costPerSecond, 'cost')
    this.#bytesPerSecond = requirePositiveRate(bytesPerSecond, 'bytes')
  }

  /** Takes what a frame costs, also when that is more than there is. Time is any clock's, but always the same one. */
  consume(cost: number, bytes: number, nowMs: number): void {
    this.#refill(nowMs)
    this.#costUsedMs += (cost / this.#costPerSecond) * 1_000
    this.#bytesUsedMs += (bytes / this.#bytesPerSecond) * 1_000
  }

  /** Whole milliseconds until neither bucket is in debt; 0 = read on. */
  waitMs(nowMs: number): number {
    this.#refill(nowMs)
    const debtMs = Math.max(this.#costUsedMs, this.#bytesUsedMs) - BURST_MS
    return debtMs > 0 ? Math.ceil(debtMs) : 0
  }

  /** A clock that stands still (a Worker's, while it runs) or steps back refills nothing, and counts on from where it is. */
  #refill(nowMs: number): void {
    const elapsedMs = nowMs - this.#refilledMs
    this.#refilledMs = nowMs
    if (elapsedMs <= 0) return
    this.#costUsedMs = Math.max(0, this.#costUsedMs - elapsedMs)
    this.#bytesUsedMs = Math.max(0, this.#bytesUsedMs - elapsedMs)
  }
}

function requirePositiveRate(perSecond: number, what: string): number {
  if (perSecond > 0) return perSecond
  throw new RangeError(`budget of ${perSecond} ${what} a second must be above 0 (Infinity = off)`)
}
