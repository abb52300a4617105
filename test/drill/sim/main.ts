// Drill: whole clusters of the market in one process and in virtual time, each from a seed, with everything that may go
// wrong; each seed twice, with one trace. `npm run sim -- --seeds 1000`. One JSON line goes to stdout; exit 1 when an
// invariant is broken, with what it takes to see it again.

import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'

import { PLANTS, type PlantName } from './plants.ts'
import { Pool } from './pool.ts'
import { Sum } from './sum.ts'
import { isWrong, judge, type Order, type Verdict } from './verdict.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    trace: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    workers: { type: 'string' },
    plant: { type: 'string' },
    without: { type: 'string', default: '' },
  },
})

const QUICK_SEEDS = 30
const PROGRESS_MS = 5_000
/** Broken seeds that are shown with the end of their trace. */
const SHOWN = 5

const refuse = (why: string): never => {
  console.error(`sim: ${why}`)
  process.exit(2)
}
const whole = (name: 'seeds' | 'from' | 'seed' | 'workers', preset: number): number => {
  const value = Number(values[name] ?? preset)
  return Number.isSafeInteger(value) && value > 0 ? value : refuse(`--${name} ${values[name]} is no number`)
}
const order: Order = {
  plant: values.plant === undefined ? null : plantNamed(values.plant),
  without: values.without.split(',').filter((one) => one !== ''),
}

if (values.seed === undefined) await many()
else await one(whole('seed', 1))

async function many(): Promise<void> {
  const count = whole('seeds', values.quick ? QUICK_SEEDS : 1_000)
  const from = whole('from', 1)
  const seeds = Array.from(
    { length: values.quick ? Math.min(count, QUICK_SEEDS) : count },
    (_, i) => from + i,
  )
  const pool = new Pool(Math.min(whole('workers', availableParallelism()), seeds.length))
  const sum = new Sum()
  const reporting = setInterval(() => console.error(sum.progress(seeds.length)), PROGRESS_MS)
  await pool.run(seeds, order, (verdict) => {
    sum.add(verdict)
    if (isWrong(verdict)) show(sum.wrong <= SHOWN ? verdict : { ...verdict, last: [] })
    return order.plant === null || !isWrong(verdict)
  })
  clearInterval(reporting)
  console.log(JSON.stringify(sum.figure()))
  if (sum.wrong > 0) process.exitCode = 1
}

/** One seed in this process; `--trace` prints all that happens. */
async function one(seed: number): Promise<void> {
  const sum = new Sum()
  const verdict = await judge(seed, order, values.trace ? (line) => console.error(line) : null)
  sum.add(verdict)
  if (isWrong(verdict)) show(verdict)
  console.log(JSON.stringify(sum.figure()))
  if (sum.wrong > 0) process.exitCode = 1
}

function show({ seed, broken, last, isEqual }: Verdict): void {
  for (const line of last) console.error(line)
  if (!isEqual) console.error(`seed ${seed}: two runs left two traces`)
  if (broken)
    console.error(
      `seed ${seed}, ${(broken.atMs / 1_000).toFixed(3)} s, broken: ${broken.invariant}: ${broken.what}`,
    )
  const { plant, without } = order
  const more = [plant && ` --plant ${plant}`, without.length > 0 && ` --without ${without.join()}`]
  console.error(`reproduce: npm run sim -- --seed ${seed} --trace${more.filter(Boolean).join('')}`)
}

function plantNamed(name: string): PlantName {
  const names = Object.keys(PLANTS) as PlantName[]
  return names.find((one) => one === name) ?? refuse(`no plant is called ${name}: ${names.join(', ')}`)
}
