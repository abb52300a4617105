// The Clock port on Node: system time, timers and random values. Invariants: a timer does not keep the process alive;
// only listeners do, so a drained server exits. A timer that is late because the process was busy runs after the bytes
// that arrived meanwhile: no deadline expires over an answer that is already here.

import { randomFillSync } from 'node:crypto'

import type { Clock, Timer } from '../ports/clock.ts'

/** Maximum of setTimeout; above it Node fires immediately. A longer wait is split into several timers. */
const MAX_TIMEOUT_MS = 2_147_483_647
const RANDOM_BYTES = 6
const RANDOM_RANGE = 2 ** 48

/** Random bytes in stock: a system call for each number costs more than what uses it. */
const stock = Buffer.allocUnsafeSlow(4_096)
let stockAt = stock.length

/** A view that is valid until the next call. */
function takeRandom(size: number): Buffer {
  if (stockAt + size > stock.length) {
    randomFillSync(stock)
    stockAt = 0
  }
  stockAt += size
  return stock.subarray(stockAt - size, stockAt)
}

export const systemClock: Clock = {
  now: () => Date.now(),
  mono: () => performance.now(),
  cpu: () => {
    const { user, system } = process.threadCpuUsage()
    return (user + system) / 1_000
  },
  after: (ms, run) => (ms > MAX_TIMEOUT_MS ? setLongTimer(ms, run) : setTimer(ms, run)),
  defer: (run) => void setImmediate(run),
  // Not Math.random: a player can compute all its next values from a few earlier ones.
  random: () => takeRandom(RANDOM_BYTES).readUIntBE(0, RANDOM_BYTES) / RANDOM_RANGE,
  id: () => new Uint8Array(takeRandom(16)),
}

/** Between two comparisons of the clocks. */
const WATCH_MS = 1_000
/** A time server adjusts a clock by less in that time, unless it sets it. */
const JUMP_MS = 500

/** Calls back after each jump of the wall clock, forward (`ms` > 0) or back. */
export function watchWallClock(clock: Clock, onJump: (ms: number) => void): Timer {
  let offsetMs = clock.now() - clock.mono()
  const check = (): void => {
    const jumpMs = clock.now() - clock.mono() - offsetMs
    offsetMs += jumpMs
    timer = clock.after(WATCH_MS, check)
    if (Math.abs(jumpMs) > JUMP_MS) onJump(jumpMs)
  }
  let timer = clock.after(WATCH_MS, check)
  return { cancel: () => timer.cancel() }
}

/** A timer that is this late waits for the sockets: the event loop runs timers before it reads. */
const LATE_MS = 20
/** Late timers that wait; others follow them, so that timers run in the order of their times. */
let waitingTimers = 0

function setTimer(ms: number, run: () => void): Timer {
  const dueMs = performance.now() + ms
  let isCancelled = false
  const runLate = (): void => {
    waitingTimers--
    if (!isCancelled) run()
  }
  const timeout = setTimeout(() => {
    if (waitingTimers === 0 && performance.now() - dueMs < LATE_MS) return run()
    waitingTimers++
    setImmediate(runLate)
  }, ms).unref()
  return {
    cancel: () => {
      isCancelled = true
      clearTimeout(timeout)
    },
  }
}

function setLongTimer(ms: number, run: () => void): Timer {
  let timer: Timer
  const arm = (leftMs: number): void => {
    timer =
      leftMs > MAX_TIMEOUT_MS ? setTimer(MAX_TIMEOUT_MS, () => arm(leftMs - MAX_TIMEOUT_MS)) : setTimer(leftMs, run)
  }
  arm(ms)
  return { cancel: () => timer.cancel() }
}
