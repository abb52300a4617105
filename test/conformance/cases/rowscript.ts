// Row scripts as the cases run them, and the compact texts that the cases compare.

import type { Remote } from '../../../client/index.ts'
import type { Host } from '../host.ts'
import { RowScript, type RowStep } from '../rowshards.ts'
import { callWithRetry, uniqueName } from './case.ts'

export interface ScriptShard {
  readonly key: string
  readonly client: Remote<(typeof RowScript)['entries']>
  /** Runs steps in one volatile turn; returns one result for each. */
  run(...steps: readonly RowStep[]): Promise<unknown[]>
}

export async function openScriptShard(host: Host, key = uniqueName()): Promise<ScriptShard> {
  const client = (await host.sdkClient()).at(RowScript, key)
  const run = async (...steps: RowStep[]): Promise<unknown[]> =>
    (await callWithRetry(host, () => client.play({ steps }))).results
  return { key, client, run }
}

/** A row of the table `spots`. */
export interface Spot {
  readonly x: number
  readonly word: string
  readonly n: number
}

export const insertSpot = (x: number, word: string, n = 0): RowStep => ['insert', 'spots', { x, word, n }]

/** Result rows of `spots` as `x word n`. */
export function spotTexts(rows: unknown): string[] {
  return (rows as Spot[]).map(({ x, word, n }) => `${x} ${word} ${n}`)
}
