// This machine's clock and its randomness. A timer never keeps the process alive: listeners do, so that a drained
// server exits by itself.

import { randomBytes } from 'node:crypto'

import type { Clock, Timer } from '../ports/clock.ts'

/** setTimeout's range; beyond it Node would fire at once. A longer wait is cut into pieces. */
const MAX_TIMEOUT_MS = 2_147_483_647
const RANDOM_BYTES = 6
const RANDOM_RANGE = 2 ** 48

export const systemClock: Clock = {
  now: () => Date.now(),
  mono: () => performance.now(),
  after: (ms, run) => (ms > MAX_TIMEOUT_MS ? setLongTimer(ms, run) : setTimer(ms, run)),
  defer: (run) => void setImmediate(run),
  // Not Math.random: from a few of its values a player computes all the next ones.
  random: () => randomBytes(RANDOM_BYTES).readUIntBE(0, RANDOM_BYTES) / RANDOM_RANGE,
  id: () => new Uint8Array(randomBytes(16)),
}

function setTimer(ms: number, run: () => void): Timer {
  const timeout = setTimeout(run, ms).unref()
  return { cancel: () => clearTimeout(timeout) }
}

function setLongTimer(ms: number, run: () => void): Timer {
  let timer: Timer
  const arm = (leftMs: number): void => {
    timer =
      leftMs > MAX_TIMEOUT_MS
        ? setTimer(MAX_TIMEOUT_MS, () => arm(leftMs - MAX_TIMEOUT_MS))
        : setTimer(leftMs, run)
  }
  arm(ms)
  return { cancel: () => timer.cancel() }
}
