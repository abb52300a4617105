// The drill's own MySQL: the tables of Firefly and of the market, and the questions that a drill has.

import { readdirSync, readFileSync } from 'node:fs'

import type { TableDefinition } from '../../../core/game/table.ts'
import type { SqlClient } from '../../../core/sql/client.ts'
import { applyMigration, parseMigrationFile } from '../../../core/migrate/migrations.ts'

export interface Purse {
  readonly player: string
  readonly gold: number
  readonly pending: number
  readonly entries: number
}
export interface LedgerEntry {
  readonly n: number
  readonly cause: string
  readonly id: string
  readonly kind: string
  readonly amount: number
  readonly gold: number
}

/** Where purses and ledgers are read from. */
export interface Source {
  readonly name: string
  purses(): Promise<readonly Purse[]>
  /** By n. */
  ledger(player: string): Promise<readonly LedgerEntry[]>
}

export const PURSES = 'SELECT player, gold, pending, entries FROM '
export const ENTRIES = 'SELECT n, cause, id, kind, amount, gold FROM '
export const OF_PLAYER = ' WHERE player = ? ORDER BY n'
const FILES = new URL('../../../schemas/mysql/', import.meta.url)

export async function migrate(client: SqlClient, tables: readonly TableDefinition[]): Promise<void> {
  const names = readdirSync(FILES).filter((name) => name.endsWith('.sql'))
  const files = await Promise.all(
    names.sort().map((name) => parseMigrationFile(name, readFileSync(new URL(name, FILES), 'utf8'))),
  )
  await applyMigration(client, { tables, files, adopt: false }, () => {})
}

export class MysqlSource implements Source {
  readonly name = 'MySQL'
  readonly #client: SqlClient

  constructor(client: SqlClient) {
    this.#client = client
  }

  async purses(): Promise<readonly Purse[]> {
    const { rows } = await this.#client.query({ sql: `${PURSES}purse`, params: [] })
    return rows.map(([player, gold, pending, entries]) => ({
      player: String(player),
      gold: Number(gold),
      pending: Number(pending),
      entries: Number(entries),
    }))
  }

  async ledger(player: string): Promise<readonly LedgerEntry[]> {
    const { rows } = await this.#client.query({ sql: `${ENTRIES}ledger${OF_PLAYER}`, params: [player] })
    return rows.map(([n, cause, id, kind, amount, gold]) => ({
      n: Number(n),
      cause: String(cause),
      id: String(id),
      kind: String(kind),
      amount: Number(amount),
      gold: Number(gold),
    }))
  }

  /** Transfers that are here, and gold of which it is not known here whether it arrived. */
  async sent(): Promise<{ readonly transfers: number; readonly pending: number }> {
    const transfers = await this.count(`ledger WHERE kind = 'sent'`)
    const { rows } = await this.#client.query({ sql: 'SELECT SUM(pending) FROM purse', params: [] })
    return { transfers, pending: Number(rows[0]?.[0] ?? 0) }
  }

  /** Rows of a table, and a condition after it. */
  async count(from: string): Promise<number> {
    const { rows } = await this.#client.query({ sql: `SELECT COUNT(*) FROM ${from}`, params: [] })
    return Number(rows[0]?.[0])
  }
}
