// One server under test: a few cases to warm it up, then its memory, the other cases, and its memory again. Invariant:
// nothing runs while memory is measured, so growth is what was not released.

import { mkdirSync } from 'node:fs'

import type { Limits } from '../../../core/wire/limits.ts'
import { every, progress, secondsSince } from '../../support/figure.ts'
import { makeCase } from './arbitraries/cases.ts'
import { CaseRunner } from './caserunner.ts'
import { legacyPlayer, sessionPlayer, type ControlPlayer } from './controlplayer.ts'
import type { Findings } from './findings.ts'
import { FuzzServer } from './fuzzserver.ts'
import type { Health, Memory } from './server.ts'

export interface PhaseOptions {
  readonly name: string
  readonly seed: number
  readonly from: number
  readonly to: number
  readonly dir: string
  readonly limits: Partial<Limits>
  readonly findings: Findings
}

/** The server when the cases have ended, and its memory when everything else has ended too. */
interface PhaseEnd {
  readonly health: Health | null
  readonly memory: Memory
}

/** Share of the cases that are not measured. */
const WARMUP_SHARE = 0.05
const PROGRESS_MS = 2_000
const MAX_CASES_SHOWN = 12
const NO_MEMORY: Memory = { heapBytes: 0, rssBytes: 0, externalBytes: 0, shards: 0, connections: 0 }

/** Limits per session and per address would stop a fuzzer; limits of sizes and queues stay. */
export const RAISED: Partial<Limits> = { maxStrikes: 1e9, maxCostPerSecond: 1e9, maxBytesPerSecond: 1e12 }

/** Runs the cases on a server of its own and returns the figure. */
export async function runPhase({ name, seed, from, to, dir, limits, findings }: PhaseOptions) {
  mkdirSync(dir, { recursive: true })
  let runner: CaseRunner | null = null
  const server = new FuzzServer(
    { dir, limits },
    {
      error: (what) => findings.add(what, runner?.suspects ?? []),
      warning: (what) => findings.warning(what),
      stall: (ms, busyMs) => {
        const cases = (runner?.suspects ?? []).slice(0, MAX_CASES_SHOWN).map(({ number }) => number)
        progress(`${name}: stalled ${ms} ms, ${busyMs} of them busy; cases ${cases.join(' ')} …`)
      },
    },
  )
  const ports = await server.ready
  const startMs = performance.now()
  const players: ControlPlayer[] = []
  const runCases = async (first: number, last: number): Promise<PhaseEnd> => {
    const key = `control-${name}-${first}-${process.pid}`
    const pair = [sessionPlayer(ports.http, key), legacyPlayer(ports.tcp)]
    players.push(...pair)
    runner = new CaseRunner({
      seed,
      from: first,
      to: last,
      makeCase: (number, state) => makeCase(seed, number, state),
      ports,
      findings,
      isOver: () => !server.isRunning,
    })
    await runner.run()
    await Promise.all(pair.map((player) => player.stop()))
    // Before memory is measured, because that blocks the loop.
    await server.refreshed()
    const { health } = server
    return { health, memory: (await server.request('settle')) ?? NO_MEMORY }
  }
  const status = (): string => {
    const rate = Math.round((findings.ended * 1_000) / (performance.now() - startMs))
    const megabytes = Math.round((server.health?.rssBytes ?? 0) / 1e6)
    return `${name}: ${findings.ended} of ${to}, ${findings.total} findings, ${rate}/s, ${megabytes} MB`
  }
  using _ = every(PROGRESS_MS, () => progress(status()))
  const middle = from + Math.ceil((to - from) * WARMUP_SHARE)
  const { memory: before } = await runCases(from, middle)
  await server.request('reset')
  await server.refreshed()
  const { memory: after, health } = await runCases(middle, to)
  const seconds = secondsSince(startMs)
  const crashes = server.isRunning ? [] : [String(await server.exitStatus())]
  const { code, signal } = await server.stop()
  if (crashes.length === 0 && code !== 0) crashes.push(`at its end ${code ?? signal}`)
  return {
    name,
    cases: to - from,
    // Exit codes or signals of a server that ended by itself.
    crashes,
    playerAnswers: players.reduce((sum, { answers }) => sum + answers, 0),
    playerFaults: players.flatMap(({ faults }) => faults),
    stallMaxMs: Math.max(health?.stallMs ?? 0, health?.delayMs ?? 0),
    busyMaxMs: health?.busyMs ?? 0,
    heapGrowthBytes: after.heapBytes - before.heapBytes,
    rssGrowthBytes: after.rssBytes - before.rssBytes,
    externalGrowthBytes: after.externalBytes - before.externalBytes,
    // Shards and connections that are still in memory although every client has left.
    leftShards: after.shards,
    leftConnections: after.connections,
    connections: health?.accepted ?? 0,
    closes: health?.closes ?? {},
    turns: health?.turns ?? 0,
    serverCpuSeconds: health?.cpuSeconds ?? 0,
    seconds,
  }
}
