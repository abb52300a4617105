// What every benchmark shares: its profile, its medians and its JSON lines.
// Only figures are written to stdout, one line each, so that another program can read them as they come.

import { parseArgs } from 'node:util'

export interface Profile {
  /** Few short rounds: shows that the benchmark works, its numbers are not to be quoted. */
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

/** @throws Error for no values: a median of nothing is a benchmark that measured nothing */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const low = sorted[(sorted.length - 1) >> 1]
  const high = sorted[sorted.length >> 1]
  if (low === undefined || high === undefined) throw new Error('median of no values')
  return (low + high) / 2
}

/** Three significant digits below 100, whole numbers above: more would feign a precision. */
export function roundFigure(value: number): number {
  return Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3))
}

export function printFigure(figure: Readonly<Record<string, string | number | boolean>>): void {
  console.log(JSON.stringify(figure))
}

/** What an aim asks of a ratio: at least so much (`min`) or at most so much (`max`). */
export interface Aim {
  readonly kind: 'min' | 'max'
  readonly value: number
}

/** Prints a ratio beside its aim; the comparison uses the unrounded ratio. */
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

export function printProgress(text: string): void {
  console.error(text)
}
