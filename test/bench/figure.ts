// The profile of a benchmark run, its parts and its ratios. Invariant: a ratio is compared with its aim before it is
// rounded.

import { parseArgs } from 'node:util'

import { printFigure } from '../support/figure.ts'

export interface Profile {
  /** Few short rounds: they show that the benchmark works. Do not quote their numbers. */
  readonly quick: boolean
  /** A missed aim makes the exit code 1. */
  readonly strict: boolean
  /** Aims missed so far; {@link printRatio} counts them. */
  missedAims: number
}

/** The command line is wrong: exit code 2. */
export class UsageError extends Error {}

/** @throws UsageError for an option that does not exist */
export function parseProfile(args: readonly string[]): Profile {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { quick: { type: 'boolean', default: false }, strict: { type: 'boolean', default: false } },
    })
    return { ...values, missedAims: 0 }
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

/** The parts that BENCH_PARTS names, separated by commas; by default all. @throws UsageError for an unknown name */
export function selectParts<Part>(parts: Readonly<Record<string, Part>>): Part[] {
  const names = process.env['BENCH_PARTS']?.split(',') ?? Object.keys(parts)
  return names.map((name) => {
    const part = Object.hasOwn(parts, name) ? parts[name] : undefined
    if (!part) throw new UsageError(`BENCH_PARTS: ${name} is none of ${Object.keys(parts).join(', ')}`)
    return part
  })
}

/** The bound of a ratio: at least `value` (`min`) or at most `value` (`max`). */
export interface Aim {
  readonly kind: 'min' | 'max'
  readonly value: number
}

/** Prints a ratio and its aim, and counts a missed aim. */
export function printRatio(
  profile: Profile,
  labels: Readonly<Record<string, string | number | boolean>>,
  ratio: number,
  aim: Aim,
): void {
  const ok = aim.kind === 'min' ? ratio >= aim.value : ratio <= aim.value
  if (!ok) profile.missedAims++
  printFigure({ ...labels, ratio: Number(ratio.toFixed(3)), aim: aim.value, ok })
}
