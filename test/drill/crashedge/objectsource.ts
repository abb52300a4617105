// The SQLite of the players' objects, as a source for the checker, and as the drill queries it during the run.

import type { SqlClient } from '../../../core/sql/client.ts'
import type { Workers } from '../../support/workers.ts'
import type { LedgerEntry, LedgerSource, Purse } from '../market/checker.ts'
import { SELECT_ENTRIES, SELECT_PURSES } from '../market/sources.ts'

interface StoredObject {
  readonly purses: readonly Purse[]
  readonly ledger: readonly LedgerEntry[]
  /** Durable casts without an answer. */
  readonly casts: number
}

const NO_TABLE = /no such table/
const APPLIED = 'SELECT applied_seq FROM firefly_owner WHERE owner = ?'
const ACTIVATION = "SELECT value FROM meta WHERE name = 'activation'"
const LAST_SEQ = 'SELECT max(seq) AS seq FROM outbox WHERE length(data) > 0'

export class ObjectSource implements LedgerSource {
  readonly name = 'the objects'
  readonly objects: ReadonlyMap<string, StoredObject>

  private constructor(objects: ReadonlyMap<string, StoredObject>) {
    this.objects = objects
  }

  static async read(workers: Workers, players: Iterable<string>): Promise<ObjectSource> {
    const objects = new Map<string, StoredObject>()
    for (const player of players) {
      const purses = await rows<Purse>(workers, player, `${SELECT_PURSES}r_purse`)
      const ledger = await rows<LedgerEntry>(workers, player, `${SELECT_ENTRIES}r_ledger ORDER BY n`)
      const casts = await rows(workers, player, 'SELECT sequence FROM casts')
      objects.set(player, { purses, ledger, casts: casts.length })
    }
    return new ObjectSource(objects)
  }

  purses(): Promise<readonly Purse[]> {
    return Promise.resolve([...this.objects.values()].flatMap(({ purses }) => purses))
  }

  ledger(player: string): Promise<readonly LedgerEntry[]> {
    return Promise.resolve(this.objects.get(player)?.ledger ?? [])
  }

  get castCount(): number {
    return [...this.objects.values()].reduce((sum, { casts }) => sum + casts, 0)
  }
}

/** MySQL has every turn of this player that its object has. */
export async function isFlushed(workers: Workers, client: SqlClient, player: string): Promise<boolean> {
  const [last] = await rows<{ seq: number | null }>(workers, player, LAST_SEQ)
  const { rows: applied } = await client.query({ sql: APPLIED, params: [ownerOf(player)] })
  return (last?.seq ?? 0) <= Number(applied[0]?.[0] ?? 0)
}

/** The number of the object's last activation; 0 = the object never existed. */
export async function activationOf(workers: Workers, player: string): Promise<number> {
  const [row] = await rows<{ value: number }>(workers, player, ACTIVATION)
  return row?.value ?? 0
}

/** The owner in `firefly_owner`. */
export function ownerOf(player: string): string {
  return `object/purse/${player}`
}

/** No rows for an object that never existed. */
async function rows<Row>(workers: Workers, player: string, statement: string): Promise<readonly Row[]> {
  try {
    return (await workers.queryShard('purse', player, statement)) as Row[]
  } catch (error) {
    if (NO_TABLE.test(String(error))) return []
    throw error
  }
}
