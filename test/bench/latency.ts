// Latencies of a benchmark: percentiles, and the lag of the event loop.

import { monitorEventLoopDelay } from 'node:perf_hooks'

import { roundFigure } from '../support/figure.ts'

/** 0 for no values. */
export function percentile(values: readonly number[], fraction: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))] ?? 0
}

export interface EventLoopLag {
  readonly loopLagP50Ms: number
  readonly loopLagP99Ms: number
  readonly loopLagMaxMs: number
}

/** Measures the delay of timers while `work` runs. 1 ms, the resolution, means no lag. */
export async function measureLag<T>(work: () => Promise<T>): Promise<readonly [T, EventLoopLag]> {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  try {
    const result = await work()
    const ms = (ns: number): number => roundFigure(ns / 1e6)
    const [p50, p99] = [delay.percentile(50), delay.percentile(99)]
    return [result, { loopLagP50Ms: ms(p50), loopLagP99Ms: ms(p99), loopLagMaxMs: ms(delay.max) }]
  } finally {
    delay.disable()
  }
}
