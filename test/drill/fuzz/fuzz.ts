// Drill `fuzz`: mutated frames, bodies and conversations against a running server; seed and number repeat a case.
// `--only N` runs one case alone and prints everything that is answered. The server must not crash, log a bug, stall
// or grow, and must not fail its well-behaved players.

import { cpus } from 'node:os'
import { join } from 'node:path'

import { printFigure, secondsSince } from '../../support/figure.ts'
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
  const findings = new Findings(from + cases + 16)
  const split = from + Math.round(cases * (1 - DEFAULT_LIMITS_SHARE))
  const common = { seed, findings }
  const phases = [
    await runPhase({
      ...common,
      name: 'raised limits',
      from,
      to: split,
      dir: join(folder, 'raised'),
      limits: RAISED,
    }),
    await runPhase({
      ...common,
      name: 'default limits',
      from: split,
      to: from + cases,
      dir: join(folder, 'preset'),
      limits: {},
    }),
  ]
  const seconds = secondsSince(startMs)
  const own = process.cpuUsage()
  const ownSeconds = (own.user + own.system) / 1e6 + sum(phases.map((phase) => phase.serverCpuSeconds))
  const othersShare = Math.max(0, machineSeconds() - cpuBefore - ownSeconds) / (seconds * cpus().length)
  const shrunk = await shrinkFindings(seed, findings.list, folder)
  const share = (count: number): number => Math.round((1_000 * count) / findings.ended) / 1_000
  const figure = {
    drill: 'fuzz',
    cases: findings.ended,
    seed,
    crashes: sum(phases.map((phase) => phase.crashes.length)),
    bugs: findings.total,
    stallMaxMs: Math.max(...phases.map((phase) => phase.stallMaxMs)),
    busyMaxMs: Math.max(...phases.map((phase) => phase.busyMaxMs)),
    othersShare: Math.round(100 * othersShare) / 100,
    heapGrowthBytes: Math.max(...phases.map((phase) => phase.heapGrowthBytes)),
    rssGrowthBytes: Math.max(...phases.map((phase) => phase.rssGrowthBytes)),
    playerAnswers: sum(phases.map((phase) => phase.playerAnswers)),
    playerFaults: sum(phases.map((phase) => phase.playerFaults.length)),
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
  const broken = violationsOf(figure, phases, cases >= CASES)
  printFigure({ ...figure, broken })
  if (broken.length > 0) process.exitCode = 1
}

type PhaseFigure = Awaited<ReturnType<typeof runPhase>>
interface Measured {
  readonly bugs: number
  readonly heapGrowthBytes: number
  readonly stallMaxMs: number
  readonly busyMaxMs: number
  readonly othersShare: number
}

/** What must not be, one line each. */
function violationsOf(figure: Measured, phases: readonly PhaseFigure[], isLong: boolean): string[] {
  const { bugs, heapGrowthBytes, stallMaxMs, busyMaxMs, othersShare } = figure
  const left = sum(phases.map(({ leftShards, leftConnections }) => leftShards + leftConnections))
  const checks: readonly (readonly [boolean, string])[] = [
    [bugs > 0, `${bugs} findings`],
    [left > 0, `${left} shards or connections remain in memory without a client`],
    [heapGrowthBytes > MAX_GROWTH_BYTES, `heap growth ${heapGrowthBytes} bytes exceeds ${MAX_GROWTH_BYTES}`],
    [
      isLong && othersShare < QUIET_SHARE && stallMaxMs > MAX_STALL_MS,
      `stall of the loop ${stallMaxMs} ms exceeds ${MAX_STALL_MS}`,
    ],
    [isLong && busyMaxMs > MAX_STALL_MS, `busy time of the loop ${busyMaxMs} ms exceeds ${MAX_STALL_MS}`],
  ]
  return [
    ...phases.flatMap(({ crashes }) => crashes).map((end) => `the server ended: ${end}`),
    ...phases.flatMap(({ playerFaults }) => playerFaults).slice(0, 5),
    ...checks.filter(([isBroken]) => isBroken).map(([, what]) => what),
  ]
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
