// The rate limit of one connection: two token buckets, cost and bytes, that each hold two seconds of their rate, and
// flood detection. Invariant: debt is allowed. The frame that overdraws a bucket is served, then the caller stops reading
// for `waitMs`; so no frame is lost and the rate holds beyond a burst. Time comes from the caller.

/** A bucket holds this many milliseconds of its rate: a burst of that length passes without a pause. */
const BURST_MS = 2_000
/** A pause above the limit that is shorter than this does not end a flood. */
const FLOOD_RESET_MS = 1_000

/** Result of `throttle`: the sender exceeds its rate for too long. */
export const FLOOD_DETECTED = -1

export class TokenBucket {
  readonly #costPerSecond: number
  readonly #bytesPerSecond: number
  // Tokens spent and not yet refilled, in milliseconds of the rate: 0 = a full bucket, above BURST_MS = debt.
  #costUsedMs = 0
  #bytesUsedMs = 0
  #refilledMs = 0
  /** Start of the current series of debts, and end of the last debt. */
  #overLimitSinceMs = 0
  #debtPaidMs = 0

  /** Starts full. `Infinity` disables a bucket. @throws RangeError for a rate that is not above 0 */
  constructor(costPerSecond: number, bytesPerSecond: number) {
    this.#costPerSecond = requirePositiveRate(costPerSecond, 'cost')
    this.#bytesPerSecond = requirePositiveRate(bytesPerSecond, 'bytes')
  }

  /** Takes the tokens of a frame, also when there are too few. Any clock will do, but always the same one. */
  consume(cost: number, bytes: number, nowMs: number): void {
    this.#refill(nowMs)
    this.#costUsedMs += (cost / this.#costPerSecond) * 1_000
    this.#bytesUsedMs += (bytes / this.#bytesPerSecond) * 1_000
  }

  /** Whole milliseconds until neither bucket is in debt; 0 = none is. */
  waitMs(nowMs: number): number {
    this.#refill(nowMs)
    const debtMs = Math.max(this.#costUsedMs, this.#bytesUsedMs) - BURST_MS
    return debtMs > 0 ? Math.ceil(debtMs) : 0
  }

  /**
   * Takes tokens and returns for how many milliseconds the sender must not be read; 0 = read on, FLOOD_DETECTED = it
   * has exceeded the rate for `floodMs`, or its debt alone takes longer to pay.
   */
  throttle(cost: number, bytes: number, nowMs: number, floodMs: number): number {
    this.consume(cost, bytes, nowMs)
    const waitMs = this.waitMs(nowMs)
    if (waitMs === 0) return 0
    if (nowMs - this.#debtPaidMs > FLOOD_RESET_MS) this.#overLimitSinceMs = nowMs
    // One chunk may cost minutes.
    if (nowMs - this.#overLimitSinceMs >= floodMs || waitMs > floodMs) return FLOOD_DETECTED
    this.#debtPaidMs = nowMs + waitMs
    return waitMs
  }

  /** A clock that does not advance (a Worker's during execution) or steps back refills nothing. */
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
  throw new RangeError(`rate of ${perSecond} ${what} per second must be above 0 (Infinity disables the limit)`)
}
