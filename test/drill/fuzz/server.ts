// The server of the fuzz drill: the fuzzed game on the Node host. It watches its own event loop, tells the drill every
// moment how it is, and what is left in its memory when it is asked. It does not outlive the drill.

import { monitorEventLoopDelay } from 'node:perf_hooks'

import { TIMES, type Limits } from '../../../core/wire/limits.ts'
import { start } from '../../../edge/node/server.ts'
import game from './game.ts'

/** How a server is started, as JSON in its only argument. */
export interface ServerOrder {
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
  /** The longest time between two looks at the loop, beyond what was asked for, since the last `reset`. */
  readonly stallMs: number
  /** The same by perf_hooks. */
  readonly delayMs: number
  /** The processor time that the loop's own thread took in such a stall: what remains is the machine's doing. */
  readonly busyMs: number
  readonly cpuSeconds: number
  readonly rssBytes: number
  readonly accepted: number
  readonly closes: Readonly<Record<string, number>>
  readonly framesIn: number
  readonly turns: number
  readonly badInputs: number
  readonly bugs: number
}

/** What a server tells the drill. */
export type Told =
  | { readonly what: 'ready'; readonly tcp: number; readonly http: number }
  | ({ readonly what: 'health' } & Health)
  | { readonly what: 'stall'; readonly ms: number; readonly busyMs: number }
  | ({ readonly what: 'memory' } & Memory)
/** 'settle' asks for the memory once everything that waits for somebody to come back has been given up. */
export type Asked = 'settle' | 'reset' | 'stop'

const HEALTH_MS = 200
const LOOK_MS = 10
const STALL_MS = 50
/** Shards leave memory soon, so that many come and go. */
const EVICT_MS = 400
/** So do the seats of session shards: nobody of the drill comes back later. */
const SEAT_MS = 300
/** Few files, so that a commit carries much. */
const SLOTS = 4
/** Beyond all that a server remembers of a connection that is gone. */
const LEAP_MS = 150_000
const SETTLE_MS = 90_000
/** Shards that have not left memory for so long will not. */
const STILL_MS = 3_000
const POLL_MS = 50

// Monotonic time leaps while nothing runs: nobody needs to wait a minute until the last channel is forgotten.
let leptMs = 0
const realNow = performance.now.bind(performance)
Object.defineProperty(performance, 'now', { value: () => realNow() + leptMs })

Object.assign(TIMES, { lingerMs: SEAT_MS })

const order = JSON.parse(process.argv[2]!) as ServerOrder
const server = await start({
  game,
  dir: order.dir,
  http: 0,
  tcp: 0,
  limits: order.limits,
  evictMs: EVICT_MS,
  slots: SLOTS,
})
const { engine } = server.host
const { meter } = server.gateway

process.on('disconnect', () => process.exit(1))
process.on('message', (asked: Asked) => {
  if (asked === 'settle') void settle()
  else if (asked === 'reset') reset()
  else void server.stop().then(() => process.exit(0))
})

const delay = monitorEventLoopDelay({ resolution: LOOK_MS })
delay.enable()
let lastMs = realNow()
let lastBusy = process.threadCpuUsage()
let stallMs = 0
let busyMs = 0
setInterval(look, LOOK_MS)
tell({ what: 'ready', tcp: server.tcp.port, http: server.http.port })
setInterval(() => tell({ what: 'health', ...health() }), HEALTH_MS)

function look(): void {
  const nowMs = realNow()
  const lateMs = nowMs - lastMs - LOOK_MS
  lastMs = nowMs
  const used = process.threadCpuUsage(lastBusy)
  lastBusy = process.threadCpuUsage()
  if (lateMs > stallMs) stallMs = lateMs
  // What was used in the time that was asked for is no stall.
  const usedMs = Math.min((used.user + used.system) / 1_000, lateMs)
  if (usedMs > busyMs) busyMs = usedMs
  if (lateMs > STALL_MS) tell({ what: 'stall', ms: round(lateMs), busyMs: round(usedMs) })
}

function reset(): void {
  stallMs = busyMs = 0
  lastMs = realNow()
  lastBusy = process.threadCpuUsage()
  delay.reset()
}

function health(): Health {
  const { user, system } = process.cpuUsage()
  return {
    stallMs: round(stallMs),
    delayMs: round(Math.max(0, delay.max / 1e6 - LOOK_MS)),
    busyMs: round(busyMs),
    cpuSeconds: round((user + system) / 1e6),
    rssBytes: process.memoryUsage.rss(),
    accepted: meter.accepted,
    closes: Object.fromEntries(meter.closes),
    framesIn: meter.framesIn,
    turns: engine.meter.turns,
    badInputs: engine.meter.badInputs,
    bugs: engine.meter.bugs,
  }
}

async function settle(): Promise<void> {
  const endMs = realNow() + SETTLE_MS
  while (server.gateway.connectionCount > 0 && realNow() < endMs) await pause()
  leptMs += LEAP_MS
  // Timers run by their own time: shards leave at the sweeps that follow.
  for (let last = -1, sinceMs = realNow(); realNow() < endMs && engine.shards > 0; await pause()) {
    if (engine.shards !== last) sinceMs = realNow()
    else if (realNow() - sinceMs > STILL_MS) break
    last = engine.shards
  }
  for (let i = 0; i < 3; i++) {
    globalThis.gc!()
    await pause()
  }
  const { heapUsed, rss, external } = process.memoryUsage()
  const [shards, connections] = [engine.shards, server.gateway.connectionCount]
  tell({ what: 'memory', heapBytes: heapUsed, rssBytes: rss, externalBytes: external, shards, connections })
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, POLL_MS))
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

function tell(told: Told): void {
  process.send!(told)
}
