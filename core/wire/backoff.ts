// Exponential backoff with jitter, for every retry of the framework. Invariant: the delay of an attempt lies in the upper
// half of its limit, so clients that failed together do not retry together.

export interface BackoffLimits {
  readonly minMs: number
  readonly maxMs: number
}

/** The delay before a retry: `minMs` doubled per earlier failure, at most `maxMs`. `random`: 0 <= x < 1. */
export function backoffMs(failures: number, { minMs, maxMs }: BackoffLimits, random: number): number {
  return Math.min(maxMs, minMs * 2 ** failures) * (0.5 + random / 2)
}
