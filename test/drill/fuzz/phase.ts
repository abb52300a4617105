// One server under fire: a few cases to warm it up, then its memory, the rest, and its memory again. Nothing runs while
// memory is measured, so that what is left is what was not given back.

import { mkdirSync } from 'node:fs'

import type { Limits } from '../../../core/wire/limits.ts'
import { Child } from './child.ts'
import { Crowd } from './crowd.ts'
import { LegacyPlayer, SessionPlayer, type Player } from './player.ts'
import type { Health, Memory } from './server.ts'
import type { Tally } from './tally.ts'

export interface PhaseOptions {
  readonly name: string
  readonly seed: number
  readonly from: number
  readonly to: number
  readonly dir: string
  readonly limits: Partial<Limits>
  readonly tally: Tally
  readonly progress: (line: string) => void
}

export interface PhaseFigure {
  readonly name: string
  readonly cases: number
  /** Exit codes or signals of a server that ended by itself. */
  readonly crashes: readonly string[]
  readonly playerAnswers: number
  readonly playerFaults: readonly string[]
  readonly stallMaxMs: number
  readonly busyMaxMs: number
  readonly heapGrowthBytes: number
  readonly rssGrowthBytes: number
  readonly externalGrowthBytes: number
  /** Shards and connections that did not leave memory: something of what is over still holds them. */
  readonly leftShards: number
  readonly leftConnections: number
  readonly connections: number
  readonly closes: Readonly<Record<string, number>>
  readonly turns: number
  readonly serverCpuSeconds: number
  readonly seconds: number
}

/** How the server was when the cases were over, and what it kept when all else was over too. */
interface Stood {
  readonly health: Health | null
  readonly memory: Memory
}

/** Of the cases; the rest are measured. */
const WARM = 0.05
const PROGRESS_MS = 2_000
const NOTHING: Memory = { heapBytes: 0, rssBytes: 0, externalBytes: 0, shards: 0, connections: 0 }

/** No limit of a session or an address stands in the way of a fuzzer; those of sizes and queues stay. */
export const RAISED: Partial<Limits> = { maxStrikes: 1e9, maxCostPerSecond: 1e9, maxBytesPerSecond: 1e12 }

export async function runPhase(options: PhaseOptions): Promise<PhaseFigure> {
  const { name, from, to, tally } = options
  mkdirSync(options.dir, { recursive: true })
  let crowd: Crowd | null = null
  const child = new Child(
    { dir: options.dir, limits: options.limits },
    {
      bug: (what) => tally.fault(what, crowd?.underWay ?? []),
      warning: (what) => tally.warning(what),
      stall: (ms, busyMs) => {
        const cases = (crowd?.underWay ?? []).slice(0, 12).map(({ number }) => number)
        options.progress(`${name}: stalled ${ms} ms, ${busyMs} of them busy; cases ${cases.join(' ')} …`)
      },
    },
  )
  const kill = (): void => child.kill()
  process.once('exit', kill)
  const ports = await child.ready
  const startedMs = performance.now()
  let [answers, faults] = [0, [] as string[]]
  const play = async (first: number, last: number): Promise<Stood> => {
    const players: Player[] = [
      new SessionPlayer(ports.http, `witness-${name}-${first}-${process.pid}`),
      new LegacyPlayer(ports.tcp),
    ]
    crowd = new Crowd({ seed: options.seed, from: first, to: last, ports, tally, isOver: () => child.isOver })
    await crowd.run()
    await Promise.all(players.map((player) => player.stop()))
    for (const player of players) {
      answers += player.answers
      faults = [...faults, ...player.faults]
    }
    // Before memory is measured: that takes the loop's time.
    await child.refreshed()
    const { health } = child
    return { health, memory: (await child.settle()) ?? NOTHING }
  }
  const reporting = setInterval(() => {
    const rate = Math.round((tally.ended * 1_000) / (performance.now() - startedMs))
    const rss = Math.round((child.health?.rssBytes ?? 0) / 1e6)
    options.progress(`${name}: ${tally.ended} of ${to}, ${tally.faults} findings, ${rate}/s, ${rss} MB`)
  }, PROGRESS_MS)
  const middle = from + Math.ceil((to - from) * WARM)
  const { memory: before } = await play(from, middle)
  child.reset()
  await child.refreshed()
  const { memory: after, health } = await play(middle, to)
  clearInterval(reporting)
  const seconds = (performance.now() - startedMs) / 1_000
  const crashes = child.isOver ? [String(await child.ended)] : []
  const code = await child.stop()
  if (crashes.length === 0 && code !== 0) crashes.push(`at its end ${code}`)
  process.removeListener('exit', kill)
  return {
    name,
    cases: to - from,
    crashes,
    playerAnswers: answers,
    playerFaults: faults,
    stallMaxMs: Math.max(health?.stallMs ?? 0, health?.delayMs ?? 0),
    busyMaxMs: health?.busyMs ?? 0,
    heapGrowthBytes: after.heapBytes - before.heapBytes,
    rssGrowthBytes: after.rssBytes - before.rssBytes,
    externalGrowthBytes: after.externalBytes - before.externalBytes,
    leftShards: after.shards,
    leftConnections: after.connections,
    connections: health?.accepted ?? 0,
    closes: health?.closes ?? {},
    turns: health?.turns ?? 0,
    serverCpuSeconds: health?.cpuSeconds ?? 0,
    seconds: Math.round(seconds * 10) / 10,
  }
}
