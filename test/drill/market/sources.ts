// Purses and ledgers as the checker reads them: from the drill's MySQL, and from the slot files of a server that
// ended. Invariant: nothing here writes, except `migrate`, which creates the tables before the drill starts.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import type { TableDefinition } from '../../../core/game/table.ts'
import { applyMigration, parseMigrationFile } from '../../../core/migrate/migrations.ts'
import { mysqlClient } from '../../../core/node/mysqlpool.ts'
import type { SqlClient, SqlValue } from '../../../core/sql/client.ts'
import type { LedgerEntry, LedgerSource, Purse } from './checker.ts'

export const SELECT_PURSES = 'SELECT player, gold, pending, entries FROM '
export const SELECT_ENTRIES = 'SELECT n, cause, id, kind, amount, gold FROM '
const HAS_PURSES = "SELECT 1 FROM sqlite_master WHERE name = 'r_purse'"
const SLOT_FILES = /^slot-.*\.sqlite$/
const OF_PLAYER = ' WHERE player = ? ORDER BY n'
const FILES = new URL('../../../schemas/mysql/', import.meta.url)

/** Creates the tables of Firefly and of the game. */
export async function migrate(client: SqlClient, tables: readonly TableDefinition[]): Promise<void> {
  const names = readdirSync(FILES).filter((name) => name.endsWith('.sql'))
  const files = await Promise.all(
    names.sort().map((name) => parseMigrationFile(name, readFileSync(new URL(name, FILES), 'utf8'))),
  )
  await applyMigration(client, { tables, files, adopt: false }, () => {})
}

/** Creates a database with these tables on the server of `url`. Returns its URL. */
export async function createDatabase(url: string, name: string, tables: readonly TableDefinition[]): Promise<string> {
  const admin = mysqlClient({ url, poolSize: 1 })
  await admin.query({ sql: `CREATE DATABASE ${name}`, params: [] })
  await admin.close()
  const created = new URL(url)
  created.pathname = name
  const client = mysqlClient({ url: created.href, poolSize: 1 })
  await migrate(client, tables)
  await client.close()
  return created.href
}

export class MysqlSource implements LedgerSource {
  readonly name = 'MySQL'
  readonly #client: SqlClient

  constructor(client: SqlClient) {
    this.#client = client
  }

  async purses(): Promise<readonly Purse[]> {
    const rows = await this.#rows(`${SELECT_PURSES}purse`)
    return rows.map(([player, gold, pending, entries]) => ({
      player: String(player),
      gold: Number(gold),
      pending: Number(pending),
      entries: Number(entries),
    }))
  }

  async ledger(player: string): Promise<readonly LedgerEntry[]> {
    const rows = await this.#rows(`${SELECT_ENTRIES}ledger${OF_PLAYER}`, player)
    return rows.map(([n, cause, id, kind, amount, gold]) => ({
      n: Number(n),
      cause: String(cause),
      id: String(id),
      kind: String(kind),
      amount: Number(amount),
      gold: Number(gold),
    }))
  }

  /** Gold that was sent and whose arrival MySQL does not yet confirm. */
  async pending(): Promise<number> {
    const [row] = await this.#rows('SELECT SUM(pending) FROM purse')
    return Number(row?.[0] ?? 0)
  }

  /** The number of rows; `from` is a table and may continue with a condition. */
  async count(from: string): Promise<number> {
    const [row] = await this.#rows(`SELECT COUNT(*) FROM ${from}`)
    return Number(row?.[0])
  }

  async #rows(sql: string, ...params: SqlValue[]): Promise<readonly (readonly unknown[])[]> {
    return (await this.#client.query({ sql, params })).rows
  }
}

/** The SQLite files of a server that ended: slot files, or those of workerd's objects. */
export class SqliteSource implements LedgerSource, Disposable {
  readonly name: string
  readonly #files: readonly DatabaseSync[]

  /** `files`: which files of the folder to read. Those without purses, of other kinds of objects, are ignored. */
  constructor(dir: string, files: RegExp = SLOT_FILES, name = 'the slot files') {
    const names = readdirSync(dir).filter((file) => files.test(file))
    const opened = names.map((file) => new DatabaseSync(join(dir, file), { readOnly: true }))
    this.#files = opened.filter((file) => {
      const hasPurses = file.prepare(HAS_PURSES).get() !== undefined
      if (!hasPurses) file.close()
      return hasPurses
    })
    this.name = name
  }

  purses(): Promise<readonly Purse[]> {
    return Promise.resolve(this.#all<Purse>(`${SELECT_PURSES}r_purse`))
  }

  ledger(player: string): Promise<readonly LedgerEntry[]> {
    return Promise.resolve(this.#all<LedgerEntry>(`${SELECT_ENTRIES}r_ledger${OF_PLAYER}`, player))
  }

  /** Durable casts without an answer. */
  get castCount(): number {
    return this.#all('SELECT shard FROM casts').length
  }

  [Symbol.dispose](): void {
    for (const file of this.#files) file.close()
  }

  #all<Row>(sql: string, ...params: string[]): Row[] {
    return this.#files.flatMap((file) => file.prepare(sql).all(...params)) as Row[]
  }
}
