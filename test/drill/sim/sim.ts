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
  const figure = new SimFigure()
  const add = (result: SeedResult): boolean => {
    figure.add(result)
    if (isFailed(result)) showFailure(figure.failed <= MAX_SHOWN ? result : { ...result, last: [] }, options)
    return options.mutant === null || !isFailed(result)
  }
  if (seed !== undefined) add(await runTwice(seed, options, trace ? progress : null))
  else {
    const max = quick ? QUICK_SEEDS : SEEDS
    const count = quick ? Math.min(values.seeds ?? max, max) : (values.seeds ?? max)
    const seeds = Array.from({ length: count }, (_, i) => from + i)
    using _ = every(PROGRESS_MS, () => progress(figure.progress(count)))
    await runSeeds(seeds, Math.min(workers, count), options, add)
  }
  printFigure(figure.result())
  if (figure.failed > 0) process.exitCode = 1
}

function showFailure({ seed, broken, last, isEqual }: SeedResult, { mutant, without }: SeedOptions): void {
  for (const line of last) progress(line)
  if (!isEqual) progress(`seed ${seed}: two runs left two traces`)
  if (broken)
    progress(
      `seed ${seed}, ${(broken.atMs / 1_000).toFixed(3)} s, broken: ${broken.invariant}: ${broken.what}`,
    )
  const plant = mutant ? ` --plant ${mutant}` : ''
  const left = without.length > 0 ? ` --without ${without.join()}` : ''
  progress(`reproduce: npm run sim -- --seed ${seed} --trace${plant}${left}`)
}

/** The sums over all seeds. */
class SimFigure {
  readonly #startMs = performance.now()
  readonly #faults = new Map<string, number>()
  readonly #invariants = new Map<string, number>()
  #seeds = 0
  #virtualMs = 0
  #operations = 0
  #acked = 0
  #crashes = 0
  #broken = 0
  #unequal = 0
  failed = 0

  add(result: SeedResult): void {
    const { virtualMs, operations, acked, crashes, faults, broken, isEqual } = result
    this.#seeds++
    this.#virtualMs += virtualMs
    this.#operations += operations
    this.#acked += acked
    this.#crashes += crashes
    for (const [name, count] of faults) this.#faults.set(name, (this.#faults.get(name) ?? 0) + count)
    if (broken) {
      this.#broken++
      this.#invariants.set(broken.invariant, (this.#invariants.get(broken.invariant) ?? 0) + 1)
    }
    if (!isEqual) this.#unequal++
    if (isFailed(result)) this.failed++
  }

  progress(total: number): string {
    const broken = [...this.#invariants].map(([name, count]) => `${name} ${count}`).join(', ')
    const counts = `${this.#seeds} of ${total} seeds, ${this.#acked} acknowledged, ${this.#crashes} crashes`
    return broken ? `${counts}, BROKEN: ${broken}` : counts
  }

  result(): object {
    return {
      drill: 'sim',
      seeds: this.#seeds,
      virtualSeconds: Math.round(this.#virtualMs / 1_000),
      operations: this.#operations,
      acked: this.#acked,
      crashes: this.#crashes,
      faults: sortedByName(this.#faults),
      broken: this.#broken,
      ...(this.#broken > 0 ? { invariants: Object.fromEntries(this.#invariants) } : {}),
      unequalHashes: this.#unequal,
      seconds: secondsSince(this.#startMs),
    }
  }
}
