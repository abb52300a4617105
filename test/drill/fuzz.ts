// Drill: mutated frames, bodies and conversations against a live server, reproducible by seed and number.
// `npm run fuzz -- --cases 1000000`; `--quick` for 20,000; `--only N` sends one case again and tells what came back.
// One JSON line goes to stdout; exit 1 when the server crashed, logged a bug, stalled, kept memory, or failed a player.

import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import { replay } from './fuzz/replay.ts'
import { RAISED, runPhase, type PhaseFigure } from './fuzz/phase.ts'
import { Tally } from './fuzz/tally.ts'

const { values } = parseArgs({
  options: {
    cases: { type: 'string' },
    from: { type: 'string', default: '0' },
    seed: { type: 'string', default: '1' },
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
  },
})

const CASES = 1_000_000
const QUICK_CASES = 20_000
/** Of the cases: with every limit as it is by default. */
const DEFAULT_SHARE = 0.1
const MAX_STALL_MS = 50
const MAX_GROWTH_BYTES = 5_000_000
/** What others may take of all processors before a stall is theirs. */
const QUIET_SHARE = 0.1

const refuse = (why: string): never => {
  console.error(`fuzz: ${why}`)
  process.exit(2)
}
const whole = (name: 'cases' | 'from' | 'seed' | 'only', preset: number): number => {
  const value = Number(values[name] ?? preset)
  return Number.isSafeInteger(value) && value >= 0 ? value : refuse(`--${name} ${values[name]} is no number`)
}
const seed = whole('seed', 1)
const from = whole('from', 0)
const cases = whole('cases', values.quick ? QUICK_CASES : CASES)
const isLong = cases >= CASES

const folder = mkdtempSync(join(tmpdir(), 'firefly-fuzz-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))

if (values.only !== undefined) process.exit((await replay(seed, whole('only', 0), folder)) ? 0 : 1)

const startedMs = performance.now()
const busyBefore = machineSeconds()
const tally = new Tally(from + cases + 16)
const progress = (line: string): void => console.error(line)
const split = from + Math.round(cases * (1 - DEFAULT_SHARE))
const common = { seed, tally, progress }
const raised = await runPhase({
  ...common,
  name: 'raised limits',
  from,
  to: split,
  dir: join(folder, 'raised'),
  limits: RAISED,
})
const preset = await runPhase({
  ...common,
  name: 'default limits',
  from: split,
  to: from + cases,
  dir: join(folder, 'preset'),
  limits: {},
})
const seconds = (performance.now() - startedMs) / 1_000
const phases = [raised, preset]

const own = process.cpuUsage()
const ownSeconds = (own.user + own.system) / 1e6 + sum(phases, (phase) => phase.serverCpuSeconds)
const othersShare = Math.max(0, machineSeconds() - busyBefore - ownSeconds) / (seconds * cpus().length)
const crashes = phases.flatMap((phase) => phase.crashes)
const playerFaults = phases.flatMap((phase) => phase.playerFaults)
const stallMaxMs = most((phase) => phase.stallMaxMs)
const busyMaxMs = most((phase) => phase.busyMaxMs)
const heapGrowthBytes = most((phase) => phase.heapGrowthBytes)
const isQuiet = othersShare < QUIET_SHARE
const share = (count: number): number => Math.round((1_000 * count) / tally.ended) / 1_000

const left = sum(phases, ({ leftShards, leftConnections }) => leftShards + leftConnections)
const broken = [
  ...crashes.map((how) => `the server ended: ${how}`),
  ...(tally.faults > 0 ? [`${tally.faults} findings`] : []),
  ...playerFaults.slice(0, 5),
  ...(left > 0 ? [`${left} shards or connections stay in memory though nobody is there`] : []),
  ...(heapGrowthBytes > MAX_GROWTH_BYTES
    ? [`the heap grew by ${heapGrowthBytes} bytes, above ${MAX_GROWTH_BYTES}`]
    : []),
  ...(isLong && isQuiet && stallMaxMs > MAX_STALL_MS
    ? [`the loop stood still for ${stallMaxMs} ms, above ${MAX_STALL_MS}`]
    : []),
  ...(isLong && busyMaxMs > MAX_STALL_MS ? [`the loop was busy for ${busyMaxMs} ms`] : []),
]
console.log(
  JSON.stringify({
    drill: 'fuzz',
    cases: tally.ended,
    seed,
    crashes: crashes.length,
    bugs: tally.faults,
    stallMaxMs,
    busyMaxMs,
    othersShare: Math.round(100 * othersShare) / 100,
    heapGrowthBytes,
    rssGrowthBytes: most((phase) => phase.rssGrowthBytes),
    playerAnswers: sum(phases, (phase) => phase.playerAnswers),
    playerFaults: playerFaults.length,
    framedShare: share(tally.framed),
    reachedShardShare: share(tally.reachedShard),
    perSecond: Math.round(tally.ended / seconds),
    seconds: Math.round(seconds * 10) / 10,
    kinds: sorted(tally.kinds),
    answers: sorted(tally.answers),
    warnings: sorted(tally.warnings),
    phases,
    findings: [...tally.findings.values()],
    broken,
  }),
)
process.exit(broken.length > 0 ? 1 : 0)

function most(read: (phase: PhaseFigure) => number): number {
  return Math.max(...phases.map(read))
}

function sum(all: readonly PhaseFigure[], read: (phase: PhaseFigure) => number): number {
  return all.reduce((total, phase) => total + read(phase), 0)
}

function sorted(map: ReadonlyMap<string, number>): Readonly<Record<string, number>> {
  return Object.fromEntries([...map].toSorted(([, a], [, b]) => b - a))
}

/** Processor time that was not idle, of the whole machine. */
function machineSeconds(): number {
  return cpus().reduce(
    (total, { times }) => total + (times.user + times.nice + times.sys + times.irq) / 1_000,
    0,
  )
}
