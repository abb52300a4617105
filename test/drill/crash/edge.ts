// Drill: objects of the Cloudflare host die and their database fails, at every point that matters, under players who
// repeat what was not answered; then it compares what was acknowledged with what is there. `npm run crash:edge`.
// Figures go to stdout, one JSON line each; exit 1 when anything is wrong.

import { parseArgs } from 'node:util'

import { MariadbMissing } from '../../support/mariadb.ts'
import { pointsOf, type EdgePoint } from './edgekills.ts'
import { runEdge } from './edgerun.ts'

const { values } = parseArgs({
  options: {
    kills: { type: 'string' },
    'min-acked': { type: 'string' },
    seed: { type: 'string', default: '1' },
    players: { type: 'string', default: '24' },
    critical: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    /** Only these, separated by commas. */
    points: { type: 'string' },
  },
})

const FULL = { kills: 40, minAcked: 3_000, few: 40, awayMs: 6_500 } as const
const QUICK = { kills: 8, minAcked: 400, few: 15, awayMs: 800 } as const
/** One of each kind, those first that go deepest. */
const QUICK_POINTS: readonly EdgePoint[] = [
  'after-commit',
  'late-commit',
  'dropped-commit',
  'unavailable',
  'garbage',
  'database-kill',
  'evict',
]
/** Every answer costs five or more requests of the database: a load that fills the machine would measure that. */
const THINK_MS = 200

const refuse = (why: string): never => {
  console.error(`crash:edge: ${why}`)
  process.exit(2)
}
const whole = (name: 'kills' | 'min-acked' | 'seed' | 'players', preset: number): number => {
  const value = Number(values[name] ?? preset)
  return Number.isSafeInteger(value) && value >= 0 ? value : refuse(`--${name} ${values[name]} is no number`)
}

try {
  for (const critical of values.quick ? [false, true] : [values.critical]) await drill(critical)
} catch (error) {
  if (!(error instanceof MariadbMissing)) throw error
  refuse(error.message)
}

async function drill(critical: boolean): Promise<void> {
  const { kills, minAcked, few, awayMs } = values.quick ? QUICK : FULL
  const last: EdgePoint = critical ? 'object-loss' : 'abort'
  const points = values.quick ? [...QUICK_POINTS, last] : pointsOf(critical)
  const figure = await runEdge({
    critical,
    kills: whole('kills', kills),
    minAcked: whole('min-acked', minAcked),
    seed: whole('seed', 1),
    players: whole('players', 24),
    points: values.points === undefined ? points : pointsNamed(values.points, critical),
    // An object without a line wakes by its alarm, 30 s after its last turn.
    patienceMs: 60_000,
    few,
    awayMs,
    thinkMs: THINK_MS,
    progress: (line) => console.error(line),
  })
  console.log(JSON.stringify(figure))
  if (figure.faults.length > 0) process.exitCode = 1
}

function pointsNamed(names: string, critical: boolean): EdgePoint[] {
  const known = pointsOf(critical)
  return names.split(',').map((name) => {
    const found = known.find((point) => point === name)
    return found ?? refuse(`no point is called ${name}; there are: ${known.join(', ')}`)
  })
}
