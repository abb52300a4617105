// The verdict on one seed: it is run twice, and what is broken is run once more for the end of its trace.

import type { PlantName } from './plants.ts'
import { run, type Result } from './run.ts'

export interface Order {
  readonly plant: PlantName | null
  /** Perils that are left out. */
  readonly without: readonly string[]
}

export interface Verdict extends Omit<Result, 'hash'> {
  /** Both runs left the same trace. */
  readonly isEqual: boolean
}

const LAST = 40

/** `print` is told every line of the first run. */
export async function judge(
  seed: number,
  order: Order,
  print: ((line: string) => void) | null,
): Promise<Verdict> {
  const first = await run(seed, { ...order, keep: print ? LAST : 0, print })
  const second = await run(seed, { ...order, keep: 0, print: null })
  const isEqual = first.hash === second.hash
  const { hash: _, ...result } = first
  if ((isEqual && !first.broken) || print) return { ...result, isEqual }
  const { last } = await run(seed, { ...order, keep: LAST, print: null })
  return { ...result, last, isEqual }
}

export function isWrong({ broken, isEqual }: Verdict): boolean {
  return broken !== null || !isEqual
}
