// Drill `fuzz`: mutated frames, bodies and conversations against a running server; seed and number repeat a case.
// `--only N` runs one case alone and prints everything that is answered. The server must not crash, log a bug, stall
// or grow, and must not fail its well-behaved players.

import { cpus } from 'node:os'
import { join } from 'node:path'

import { printFigure, progress, secondsSince } from '../../support/figure.ts'
import { flag, parseDrill, temporaryFolder, whole } from '../options.ts'
import { Findings } from './findings.ts'
import { RAISED, runPhase } from './phase.ts'
import { runOnly, shrinkFindings } from './reproduce.ts'

const CASES = 1_000_000
const QUICK_CASES = 20_000
/** Share of the cases that run with the default limits. */
const DEFAULT_LIMITS_SHARE = 0.1
const MAX_STALL_MS = 50
const MAX_GROWTH_BYTES = 5_000_000
/** When other processes take more of the machine, a stall may be theirs. */
const QUIET_SHARE = 0.1

type PhaseFigure = Awaited<ReturnType<typeof runPhase>>

export async function run(args: readonly string[]): Promise<void> {
  const options = { cases: whole(), from: whole(0), seed: whole(1), quick: flag, only: whole() }
  const { quick, from, seed, only, ...given } = parseDrill('fuzz', options, args)
  const cases = given.cases ?? (quick ? QUICK_CASES : CASES)
  const folder = temporaryFolder('fuzz').path
  if (only === undefined) await runAll(seed, from, cases, folder)
  else if (!(await runOnly(seed, only, folder))) process.exitCode = 1
}

async function runAll(seed: number, from: number, cases: number, folder: string): Promise<void> {
  const startMs = performance.now()
  const cpuBefore = machineSeconds()
  const findings = new Findings(from + cases + 16, progress)
  const split = from + Math.round(cases * (1 - DEFAULT_LIMITS_SHARE))
  const phase = (name: string, first: number, last: number, limits: typeof RAISED): Promise<PhaseFigure> =>
    runPhase({ name, seed, from: first, to: last, dir: join(folder, name), limits, findings })
  const phases = [
    await phase('raised limits', from, split, RAISED),
    await phase('default limits', split, from + cases, {}),
  ]
  const seconds = secondsSince(startMs)
  const own = process.cpuUsage()
  const ownSeconds = (own.user + own.system) / 1e6 + sum(phases.map((phase) => phase.serverCpuSeconds))
  const othersShare = Math.max(0, machineSeconds() - cpuBefore - ownSeconds) / (seconds * cpus().length)
  const shrunk = await shrinkFindings(seed, findings, folder)
  const share = (count: number): number => Math.round((1_000 * count) / findings.ended) / 1_000
  const total = (of: (phase: PhaseFigure) => number): number => sum(phases.map(of))
  const max = (of: (phase: PhaseFigure) => number): number => Math.max(...phases.map(of))
  const figure = {
    drill: 'fuzz',
    cases: findings.ended,
    seed,
    crashes: total(({ crashes }) => crashes.length),
    bugs: findings.total,
    stallMaxMs: max(({ stallMaxMs }) => stallMaxMs),
    busyMaxMs: max(({ busyMaxMs }) => busyMaxMs),
    othersShare: Math.round(100 * othersShare) / 100,
    heapGrowthBytes: max(({ heapGrowthBytes }) => heapGrowthBytes),
    rssGrowthBytes: max(({ rssGrowthBytes }) => rssGrowthBytes),
    playerAnswers: total(({ playerAnswers }) => playerAnswers),
    playerFaults: total(({ playerFaults }) => playerFaults.length),
    framedShare: share(findings.framed),
    reachedShardShare: share(findings.reachedShard),
    perSecond: Math.round(findings.ended / seconds),
    seconds,
    kinds: sortedByCount(findings.kinds),
    answers: sortedByCount(findings.answers),
    warnings: sortedByCount(findings.warnings),
    phases,
    findings: findings.list,
    shrunk,
  }
  const { stallMaxMs, busyMaxMs, heapGrowthBytes } = figure
  const left = total(({ leftShards, leftConnections }) => leftShards + leftConnections)
  const isLong = cases >= CASES
  const isQuiet = othersShare < QUIET_SHARE
  const broken = [
    ...phases.flatMap(({ crashes }) => crashes).map((end) => `the server ended: ${end}`),
    ...(findings.total > 0 ? [`${findings.total} findings`] : []),
    ...phases.flatMap(({ playerFaults }) => playerFaults).slice(0, 5),
    ...(left > 0 ? [`${left} shards or connections remain in memory without a client`] : []),
    ...exceeds(heapGrowthBytes, MAX_GROWTH_BYTES, 'bytes of heap growth'),
    ...(isLong && isQuiet ? exceeds(stallMaxMs, MAX_STALL_MS, 'ms of stall') : []),
    ...(isLong ? exceeds(busyMaxMs, MAX_STALL_MS, 'ms of busy loop') : []),
  ]
  printFigure({ ...figure, broken })
  if (broken.length > 0) process.exitCode = 1
}

function exceeds(value: number, bound: number, what: string): readonly string[] {
  return value > bound ? [`${value} ${what} exceed ${bound}`] : []
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

function sortedByCount(counts: ReadonlyMap<string, number>): Readonly<Record<string, number>> {
  return Object.fromEntries([...counts].toSorted(([, a], [, b]) => b - a))
}

/** Processor time of the whole machine that was not idle. */
function machineSeconds(): number {
  return sum(cpus().map(({ times }) => (times.user + times.nice + times.sys + times.irq) / 1_000))
}
