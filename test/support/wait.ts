// Waiting with a deadline, in real time.

import { setTimeout as sleep } from 'node:timers/promises'

const POLL_MS = 10
/**
 * How long a test waits for what must happen. Long, because the machine may have other work: a test that passes never waits
 * until then.
 */
export const DEADLINE_MS = 60_000
/** What other work on the machine may add to a time that a test measures. */
export const TOLERANCE_MS = 5_000

/** Returns false when the condition is still false after `ms`. */
export async function until(condition: () => boolean | Promise<boolean>, ms: number): Promise<boolean> {
  for (const endMs = performance.now() + ms; !(await condition()); await sleep(POLL_MS))
    if (performance.now() > endMs) return false
  return true
}

/** Returns false when the count stayed below `target` and did not rise for `stallMs`. */
export async function untilCount(read: () => number, target: number, stallMs: number): Promise<boolean> {
  while (read() < target) {
    const before = read()
    if (!(await until(() => read() > before, stallMs))) return false
  }
  return true
}

/** Returns null when the promise has not settled after `ms`. */
export async function withDeadline<T>(promise: Promise<T>, ms: number): Promise<T | null> {
  const timer = new AbortController()
  try {
    return await Promise.race([promise, sleep(ms, null, { signal: timer.signal })])
  } finally {
    timer.abort()
  }
}

/** @throws Error when the condition is still false after `ms`; `what` is the expectation */
export async function waitFor(
  condition: () => boolean | Promise<boolean>,
  what: string,
  ms = DEADLINE_MS,
): Promise<void> {
  if (!(await until(condition, ms))) throw new Error(`not within ${ms} ms: ${what}`)
}
