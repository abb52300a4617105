// Drill: kills servers and their MySQL, two hundred times and at every point that matters, under players who repeat
// what was not answered; then it compares what was acknowledged with what is there. `npm run crash -- --kills 200`.
// Figures go to stdout, one JSON line each; exit 1 when anything is wrong.

import { parseArgs } from 'node:util'

import { MariadbMissing } from '../../support/mariadb.ts'
import type { Fault } from './books.ts'
import { Ports } from './child.ts'
import { CRITICAL_POINTS, MUTANTS, OUTER_POINTS, OWN_POINTS, type Mutant, type Point } from './points.ts'
import { Random } from '../../support/random.ts'
import { run, type Figure, type RunOptions } from './run.ts'

const { values } = parseArgs({
  options: {
    kills: { type: 'string' },
    'min-acked': { type: 'string' },
    seed: { type: 'string', default: '1' },
    players: { type: 'string' },
    critical: { type: 'boolean', default: false },
    /** Only these, separated by commas. */
    points: { type: 'string' },
    quick: { type: 'boolean', default: false },
    mutant: { type: 'string' },
    mutants: { type: 'boolean', default: false },
  },
})

/** A mutant that chance spares is given another. */
const ROUNDS = 3
const THINK_MS = 5
const QUICK = { kills: 16, minAcked: 2_000, players: 24, few: 20, settleMs: 15_000 } as const
const FULL = { kills: 200, minAcked: 100_000, players: 48, few: 100, settleMs: 30_000 } as const

type Plan = Pick<RunOptions, 'critical' | 'kills' | 'minAcked' | 'points'> & Partial<Pick<RunOptions, 'few'>>
/** The shortest drill that finds each mutant out, and the fault that it finds. */
const PLANS: Readonly<Record<Mutant, Plan & { readonly fault: Fault }>> = {
  fence: { critical: false, kills: 2, minAcked: 500, points: ['zombie'], fault: 'zombie' },
  mark: { critical: false, kills: 2, minAcked: 200, points: ['before-mark'], fault: 'doubled' },
  order: { critical: false, kills: 2, minAcked: 200, points: ['before-local-commit'], fault: 'lost' },
  // Enough before the loss that a fresh store stays below what MySQL has applied.
  takeover: { critical: true, kills: 1, minAcked: 0, points: ['disk-loss'], few: 1_000, fault: 'lost' },
  unknown: { critical: false, kills: 0, minAcked: 1_000, points: [], fault: 'mysql' },
}

const refuse = (why: string): never => {
  console.error(`crash: ${why}`)
  process.exit(2)
}
const whole = (name: 'kills' | 'min-acked' | 'seed' | 'players', preset: number): number => {
  const value = Number(values[name] ?? preset)
  return Number.isSafeInteger(value) && value >= 0 ? value : refuse(`--${name} ${values[name]} is no number`)
}
const seed = whole('seed', 1)
// What the system has taken is no matter of the seed.
const ports = new Ports(new Random(process.pid))
const progress = (line: string): void => console.error(line)

try {
  if (values.mutants) await findOut(MUTANTS)
  else if (values.mutant !== undefined) await findOut([mutantNamed(values.mutant)])
  else {
    // Side by side: each waits most of its time.
    const figures = await Promise.all((values.quick ? [false, true] : [values.critical]).map(drill))
    for (const figure of figures) console.log(JSON.stringify(figure))
    if (figures.some(({ faults }) => faults.length > 0)) process.exitCode = 1
  }
} catch (error) {
  if (!(error instanceof MariadbMissing)) throw error
  refuse(error.message)
}

function drill(critical: boolean): Promise<Figure> {
  const { kills, minAcked, players, few, settleMs } = values.quick ? QUICK : FULL
  return run({
    critical,
    kills: whole('kills', kills),
    minAcked: whole('min-acked', minAcked),
    seed,
    players: whole('players', players),
    points: pointsOf(critical),
    few,
    mutant: null,
    patienceMs: 30_000,
    settleMs,
    thinkMs: THINK_MS,
    ports,
    progress: (line) => progress(`${critical ? 'critical' : 'local'}: ${line}`),
  })
}

async function findOut(mutants: readonly Mutant[]): Promise<void> {
  const caught: Mutant[] = []
  const missed: Mutant[] = []
  const faults: Partial<Record<Mutant, readonly Fault[]>> = {}
  for (const mutant of mutants) {
    faults[mutant] = await faultsOf(mutant)
    const list = faults[mutant].includes(PLANS[mutant].fault) ? caught : missed
    list.push(mutant)
  }
  console.log(JSON.stringify({ drill: 'crash-mutants', caught, missed, faults }))
  if (missed.length > 0) process.exitCode = 1
}

/** What was found in the first round that found the right thing, else in the last. */
async function faultsOf(mutant: Mutant): Promise<readonly Fault[]> {
  const { fault, ...plan } = PLANS[mutant]
  for (let round = 1; ; round++) {
    const { faults } = await run({
      few: 20,
      ...plan,
      seed: seed + round - 1,
      players: whole('players', QUICK.players),
      mutant,
      patienceMs: 8_000,
      settleMs: 1_500,
      thinkMs: THINK_MS,
      ports,
      progress: (line) => progress(`${mutant}: ${line}`),
    })
    if (faults.includes(fault) || round === ROUNDS) return faults
  }
}

function pointsOf(critical: boolean): readonly Point[] {
  const points = [...OWN_POINTS, ...OUTER_POINTS, ...(critical ? CRITICAL_POINTS : [])]
  if (values.points === undefined) return points
  return values.points.split(',').map((name) => {
    const point = points.find((one) => one === name)
    return point ?? refuse(`no point is called ${name}; there are: ${points.join(', ')}`)
  })
}

function mutantNamed(name: string): Mutant {
  const known = MUTANTS.find((one) => one === name)
  return known ?? refuse(`no mutant is called ${name}; there are: ${MUTANTS.join(', ')}`)
}
