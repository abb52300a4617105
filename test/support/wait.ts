// Waiting with a deadline.

import { setTimeout as sleep } from 'node:timers/promises'

const POLL_MS = 10

/** False when the condition did not come true in time. */
export async function until(condition: () => boolean | Promise<boolean>, ms: number): Promise<boolean> {
  for (const endMs = performance.now() + ms; !(await condition()); await sleep(POLL_MS))
    if (performance.now() > endMs) return false
  return true
}

/** False when the number stood still for so long before it was there. */
export async function grows(number: () => number, upTo: number, ms: number): Promise<boolean> {
  while (number() < upTo) {
    const before = number()
    if (!(await until(() => number() > before, ms))) return false
  }
  return true
}

/** null when it did not come in time. */
export async function within<T>(promise: Promise<T>, ms: number): Promise<T | null> {
  const timer = new AbortController()
  try {
    return await Promise.race([promise, sleep(ms, null, { signal: timer.signal })])
  } finally {
    timer.abort()
  }
}
