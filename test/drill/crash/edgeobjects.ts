// The objects of the players as a source for the audit: what stands in the SQLite of each.

import type { SqlClient } from '../../../core/sql/client.ts'
import type { Workers } from '../../support/workers.ts'
import { ENTRIES, PURSES, type LedgerEntry, type Purse, type Source } from './database.ts'

export interface Stored {
  readonly purses: readonly Purse[]
  readonly ledger: readonly LedgerEntry[]
  /** Durable casts without an answer. */
  readonly casts: number
}

const NO_TABLE = /no such table/

export class ObjectSource implements Source {
  readonly name: string = 'the objects'
  readonly stored: ReadonlyMap<string, Stored>

  private constructor(stored: ReadonlyMap<string, Stored>) {
    this.stored = stored
  }

  static async read(workers: Workers, players: readonly string[]): Promise<ObjectSource> {
    const stored = new Map<string, Stored>()
    for (const player of players) stored.set(player, await read(workers, player))
    return new ObjectSource(stored)
  }

  purses(): Promise<readonly Purse[]> {
    return Promise.resolve([...this.stored.values()].flatMap(({ purses }) => purses))
  }

  ledger(player: string): Promise<readonly LedgerEntry[]> {
    return Promise.resolve(this.stored.get(player)?.ledger ?? [])
  }

  casts(): number {
    return [...this.stored.values()].reduce((sum, { casts }) => sum + casts, 0)
  }
}

async function read(workers: Workers, player: string): Promise<Stored> {
  const purses = await rows<Purse>(workers, player, `${PURSES}r_purse`)
  const ledger = await rows<LedgerEntry>(workers, player, `${ENTRIES}r_ledger ORDER BY n`)
  const casts = await rows(workers, player, 'SELECT sequence FROM casts')
  return { purses, ledger, casts: casts.length }
}

/** MySQL has every turn of this player that its object has. */
export async function isFlushed(workers: Workers, client: SqlClient, player: string): Promise<boolean> {
  const [last] = await rows<{ seq: number | null }>(workers, player, LAST_SEQ)
  const params = [ownerOf(player)]
  const { rows: found } = await client.query({ sql: APPLIED, params })
  return (last?.seq ?? 0) <= Number(found[0]?.[0] ?? 0)
}

/** Of its object: it grows with every awakening. */
export async function activationOf(workers: Workers, player: string): Promise<number> {
  const [found] = await rows<{ value: number }>(workers, player, ACTIVATION)
  return found?.value ?? 0
}

export function ownerOf(player: string): string {
  return `object/purse/${player}`
}

const APPLIED = 'SELECT applied_seq FROM firefly_owner WHERE owner = ?'
const ACTIVATION = "SELECT value FROM meta WHERE name = 'activation'"
const LAST_SEQ = 'SELECT max(seq) AS seq FROM outbox WHERE length(data) > 0'

/** None where the object never was. */
async function rows<Row>(workers: Workers, player: string, statement: string): Promise<readonly Row[]> {
  try {
    return (await workers.queryShard('purse', player, statement)) as Row[]
  } catch (error) {
    if (NO_TABLE.test(String(error))) return []
    throw error
  }
}
