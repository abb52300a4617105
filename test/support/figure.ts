// Figures of benches and drills. Invariant: stdout carries figures only, one JSON line each; progress goes to stderr.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { TestContext } from 'node:test'

export type Figures = Readonly<Record<string, unknown>>

export function printFigure(figure: object): void {
  console.log(JSON.stringify(figure))
}

export function progress(line: string): void {
  console.error(line)
}

/** Runs `run` every `ms` until it is disposed. */
export function every(ms: number, run: () => void): Disposable {
  const timer = setInterval(run, ms)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

/** Seconds since `startMs` of performance.now(), one decimal. */
export function secondsSince(startMs: number): number {
  return oneDecimal((performance.now() - startMs) / 1_000)
}

export function oneDecimal(value: number): number {
  return Math.round(value * 10) / 10
}

/** One decimal; `part` of the values are smaller. 0 for no values. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return oneDecimal(sorted[Math.floor(sorted.length * part)] ?? 0)
}

/** @throws Error for no values: a median of nothing is a benchmark that measured nothing */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const low = sorted[(sorted.length - 1) >> 1]
  const high = sorted[sorted.length >> 1]
  if (low === undefined || high === undefined) throw new Error('median of no values')
  return (low + high) / 2
}

/** Three significant digits below 100, whole numbers above: more digits would claim a precision that is not there. */
export function roundFigure(value: number): number {
  return Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3))
}

export function sortedByName(counts: ReadonlyMap<string, number>): Readonly<Record<string, number>> {
  return Object.fromEntries([...counts].toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

/**
 * Runs a program as an operator runs it and returns its figures; null = MariaDB is not installed. A program that exits
 * with 1 has printed in its figures why; then its stderr is printed too.
 */
export async function figuresOf(...args: readonly string[]): Promise<readonly Figures[] | null> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
  const [code] = (await once(child, 'close')) as [number | null]
  if (/mariadbd is not installed/.test(errors)) return null
  const lines = out.split('\n').filter((line) => line.startsWith('{'))
  assert.ok(lines.length > 0, errors)
  if (code !== 0) console.error(errors)
  return lines.map((line) => JSON.parse(line) as Figures)
}

/** Runs a drill in its quick profile, with its figures as diagnostics; null = the test is skipped, MariaDB is not installed. */
export async function quickDrill(t: TestContext, ...args: readonly string[]): Promise<readonly Figures[] | null> {
  const figures = await figuresOf('test/drill/main.ts', ...args, '--quick')
  if (figures === null) t.skip('MariaDB is not installed')
  for (const figure of figures ?? []) t.diagnostic(JSON.stringify(figure))
  return figures
}
