// The server of the fuzz drill: the fuzzed game on the Node host. It watches its own event loop, reports its health
// periodically, and its memory on request.

import { monitorEventLoopDelay } from 'node:perf_hooks'

import { TIMES, type Limits } from '../../../core/wire/limits.ts'
import { oneDecimal } from '../../support/figure.ts'
import { orderOf, report, serve } from '../../support/serverprogram.ts'
import game from './game.ts'

export interface FuzzOrder {
  readonly dir: string
  readonly limits: Partial<Limits>
}

export interface Memory {
  readonly heapBytes: number
  readonly rssBytes: number
  readonly externalBytes: number
  readonly shards: number
  readonly connections: number
}

export interface Health {
  /** The longest delay of a sample of the loop since the last `reset`. */
  readonly stallMs: number
  /** The same, measured by perf_hooks. */
  readonly delayMs: number
  /** Processor time of the loop's own thread in such a delay: the rest was caused by the machine. */
  readonly busyMs: number
  readonly cpuSeconds: number
  readonly rssBytes: number
  readonly accepted: number
  readonly closes: Readonly<Record<string, number>>
  readonly turns: number
}

/** `settle` answers when everything that is reserved for a reconnect was released, and `reset` clears the delays. */
export type FuzzMessage =
  | ({ readonly what: 'health' } & Health)
  | { readonly what: 'stall'; readonly ms: number; readonly busyMs: number }
  | ({ readonly what: 'settle' } & Memory)
  | { readonly what: 'reset' }

const HEALTH_MS = 200
const SAMPLE_MS = 10
const STALL_MS = 50
/** Short, so that many shards are activated and evicted. */
const EVICT_MS = 400
/** Short, because no client of the drill resumes later. */
const LINGER_MS = 300
/** Few files, so that each commit contains many changes. */
const SLOTS = 4
/** Longer than the server stores anything about a closed connection. */
const SKIP_MS = 150_000
const SETTLE_MS = 90_000
/** A number of shards that has not changed for so long will not change any more. */
const UNCHANGED_MS = 3_000
const POLL_MS = 50

// While nothing runs, `settle` moves the monotonic clock past the time for which a closed connection is stored.
let clockSkewMs = 0
const realNow = performance.now.bind(performance)
Object.defineProperty(performance, 'now', { value: () => realNow() + clockSkewMs })

// Before the server starts: it reads them once.
Object.assign(TIMES, { lingerMs: LINGER_MS })

const { dir, limits } = orderOf<FuzzOrder>()
const { host, gateway } = await serve(
  { game, dir, limits, evictMs: EVICT_MS, slots: SLOTS },
  { answer: { settle, reset } },
)
const { engine } = host

const delay = monitorEventLoopDelay({ resolution: SAMPLE_MS })
delay.enable()
let lastMs = realNow()
let lastCpu = process.threadCpuUsage()
let stallMs = 0
let busyMs = 0
setInterval(sampleLoop, SAMPLE_MS)
setInterval(() => report<FuzzMessage>({ what: 'health', ...health() }), HEALTH_MS)

function sampleLoop(): void {
  const nowMs = realNow()
  const delayedMs = nowMs - lastMs - SAMPLE_MS
  lastMs = nowMs
  const used = process.threadCpuUsage(lastCpu)
  lastCpu = process.threadCpuUsage()
  if (delayedMs > stallMs) stallMs = delayedMs
  // Processor time within the sample interval is no delay.
  const usedMs = Math.min((used.user + used.system) / 1_000, delayedMs)
  if (usedMs > busyMs) busyMs = usedMs
  if (delayedMs > STALL_MS)
    report<FuzzMessage>({ what: 'stall', ms: oneDecimal(delayedMs), busyMs: oneDecimal(usedMs) })
}

function reset(): object {
  stallMs = busyMs = 0
  lastMs = realNow()
  lastCpu = process.threadCpuUsage()
  delay.reset()
  return {}
}

function health(): Health {
  const { user, system } = process.cpuUsage()
  return {
    stallMs: oneDecimal(stallMs),
    delayMs: oneDecimal(Math.max(0, delay.max / 1e6 - SAMPLE_MS)),
    busyMs: oneDecimal(busyMs),
    cpuSeconds: oneDecimal((user + system) / 1e6),
    rssBytes: process.memoryUsage.rss(),
    accepted: gateway.meter.accepted,
    closes: Object.fromEntries(gateway.meter.closes),
    turns: engine.meter.turns,
  }
}

async function settle(): Promise<Memory> {
  const endMs = realNow() + SETTLE_MS
  while (gateway.connectionCount > 0 && realNow() < endMs) await pause()
  clockSkewMs += SKIP_MS
  // Timers run in real time: the next sweeps evict the shards.
  for (let last = -1, sinceMs = realNow(); realNow() < endMs && engine.shards > 0; await pause()) {
    if (engine.shards !== last) sinceMs = realNow()
    else if (realNow() - sinceMs > UNCHANGED_MS) break
    last = engine.shards
  }
  for (let i = 0; i < 3; i++) {
    globalThis.gc!()
    await pause()
  }
  const { heapUsed, rss, external } = process.memoryUsage()
  const [shards, connections] = [engine.shards, gateway.connectionCount]
  return { heapBytes: heapUsed, rssBytes: rss, externalBytes: external, shards, connections }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, POLL_MS))
}
