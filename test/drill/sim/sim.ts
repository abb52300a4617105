// Drill: whole clusters of the market in one process and in virtual time, each from a seed, with all kinds of faults.
// Invariant: each seed runs twice and leaves the same trace. `npm run sim -- --seeds 1000` prints one JSON line; it exits with
// 1 when an invariant is broken, and prints the command that reproduces it.

import { availableParallelism } from 'node:os'

import { every, printFigure, progress, secondsSince, sortedByName } from '../../support/figure.ts'
import { choice, flag, list, parseDrill, whole } from '../options.ts'
import { SIM_MUTANTS, type SimMutantName } from './mutants.ts'
import { OPTIONAL } from './profile.ts'
import { runSeeds } from './seedpool.ts'
import { isFailed, runTwice, type SeedOptions, type SeedResult } from './seedrun.ts'

const SEEDS = 1_000
const QUICK_SEEDS = 30
const PROGRESS_MS = 5_000
/** Failed seeds whose last trace lines are printed. */
const MAX_SHOWN = 5

export async function run(args: readonly string[]): Promise<void> {
  const values = parseDrill(
    'sim',
    {
      seeds: whole(undefined, { min: 1 }),
      from: whole(1, { min: 1 }),
      seed: whole(undefined, { min: 1 }),
      trace: flag,
      quick: flag,
      workers: whole(availableParallelism(), { min: 1 }),
      plant: choice(Object.keys(SIM_MUTANTS) as SimMutantName[]),
      without: list(OPTIONAL),
    },
    args,
  )
  const { seed, from, quick, trace, workers } = values
  const options: SeedOptions = { mutant: values.plant ?? null, without: values.without ?? [] }
  const startMs = performance.now()
  const results: SeedResult[] = []
  let failed = 0
  const add = (result: SeedResult): boolean => {
    results.push({ ...result, last: [] })
    if (!isFailed(result)) return true
    showFailure(++failed <= MAX_SHOWN ? result : { ...result, last: [] }, options)
    return options.mutant === null
  }
  if (seed !== undefined) add(await runTwice(seed, options, trace ? progress : null))
  else {
    const max = quick ? QUICK_SEEDS : SEEDS
    const count = quick ? Math.min(values.seeds ?? max, max) : (values.seeds ?? max)
    const seeds = Array.from({ length: count }, (_, i) => from + i)
    using _ = every(PROGRESS_MS, () => progress(statusOf(results, count)))
    await runSeeds(seeds, Math.min(workers, count), options, add)
  }
  printFigure(figureOf(results, startMs))
  if (failed > 0) process.exitCode = 1
}

function showFailure({ seed, broken, last, isEqual }: SeedResult, { mutant, without }: SeedOptions): void {
  for (const line of last) progress(line)
  if (!isEqual) progress(`seed ${seed}: two runs left two traces`)
  if (broken)
    progress(`seed ${seed}, ${(broken.atMs / 1_000).toFixed(3)} s, broken: ${broken.invariant}: ${broken.what}`)
  const plant = mutant ? ` --plant ${mutant}` : ''
  const left = without.length > 0 ? ` --without ${without.join()}` : ''
  progress(`reproduce: npm run sim -- --seed ${seed} --trace${plant}${left}`)
}

function statusOf(results: readonly SeedResult[], total: number): string {
  const sum = sumOver(results)
  const broken = [...invariantsOf(results)].map(([name, count]) => `${name} ${count}`).join(', ')
  const counts = `${results.length} of ${total} seeds, ${sum('acked')} acknowledged, ${sum('crashes')} crashes`
  return broken ? `${counts}, BROKEN: ${broken}` : counts
}

function figureOf(results: readonly SeedResult[], startMs: number): object {
  const sum = sumOver(results)
  const invariants = invariantsOf(results)
  const faults = new Map<string, number>()
  for (const [name, count] of results.flatMap((result) => result.faults))
    faults.set(name, (faults.get(name) ?? 0) + count)
  return {
    drill: 'sim',
    seeds: results.length,
    virtualSeconds: Math.round(sum('virtualMs') / 1_000),
    operations: sum('operations'),
    acked: sum('acked'),
    crashes: sum('crashes'),
    faults: sortedByName(faults),
    broken: results.filter(({ broken }) => broken).length,
    ...(invariants.size > 0 ? { invariants: Object.fromEntries(invariants) } : {}),
    unequalHashes: results.filter(({ isEqual }) => !isEqual).length,
    seconds: secondsSince(startMs),
  }
}

function sumOver(results: readonly SeedResult[]): (name: 'virtualMs' | 'operations' | 'acked' | 'crashes') => number {
  return (name) => results.reduce((total, result) => total + result[name], 0)
}

/** Broken seeds by invariant. */
function invariantsOf(results: readonly SeedResult[]): Map<string, number> {
  const broken = results.flatMap((result) => result.broken ?? [])
  const groups = Map.groupBy(broken, ({ invariant }) => invariant)
  return new Map([...groups].map(([invariant, { length }]) => [invariant, length]))
}
