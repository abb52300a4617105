// Fixture of the SqlDatabase tests: a MariaDB with Firefly's own tables, both clients, and owners that write batches.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test, { after } from 'node:test'

import type { TableDefinition, TableOptions } from '../../core/game/table.ts'
import type { Batch, Lease } from '../../core/ports/database.ts'
import type { Row, RowChange, RowKey } from '../../core/ports/store.ts'
import { rowKeyOf } from '../../core/rows/rowkey.ts'
import { DatabaseError, type SqlClient, type SqlResult, type SqlValue } from '../../core/sql/client.ts'
import { SqlDatabase } from '../../core/sql/database.ts'
import { createTable, splitStatements } from '../../core/sql/statements.ts'
import { planetscaleClient } from '../../core/sql/planetscale.ts'
import type { Fields } from '../../core/wire/type.ts'
import { startPlanetscale } from './planetscale/server.ts'
import { openTestDatabase, openClient, sql } from './database.ts'
import { defineTable } from './tables.ts'

export const ALL_BYTES = Uint8Array.from({ length: 256 }, (_, i) => i)
const SCHEMA = new URL('../../schemas/mysql/0001_firefly.sql', import.meta.url)

type DriverTest = (database: SqlDatabase, owner: OutboxOwner, client: SqlClient) => Promise<void>

/** Opens a database for the calling test file, and drops it after its tests. */
export async function openSqlFixture() {
  const { url, skip } = await openTestDatabase()
  const direct = openClient(url || 'mysql://nobody@localhost/nothing')
  const endpoint = skip === false ? await startPlanetscale({ mysql: url }) : null
  const planetscale = planetscaleClient({ url: endpoint?.url ?? 'http://no:body@localhost/nothing' })
  after(async () => {
    await Promise.all([direct.close(), planetscale.close()])
    await endpoint?.close()
  })
  const migrate = async (): Promise<void> => {
    for (const text of splitStatements(readFileSync(SCHEMA, 'utf8'))) await direct.query(sql(text))
  }
  if (skip === false) await migrate()
  return {
    url,
    skip,
    direct,
    planetscale,
    faults: endpoint?.faults,
    migrate,
    async queryRows(text: string, ...params: SqlValue[]): Promise<SqlResult['rows']> {
      return (await direct.query(sql(text, ...params))).rows
    },
    /** Creates a table with a unique name. */
    async create<const C extends Fields>(
      columns: C,
      options: Omit<TableOptions<C>, 'owner'>,
    ): Promise<TableDefinition> {
      const definition = defineTable(uniqueTableName(), columns, options)
      for (const statement of createTable(definition)) await direct.query(statement)
      return definition
    },
    /** Defines a test for mysqlClient and one for planetscaleClient. */
    testBothDrivers(name: string, work: DriverTest): void {
      for (const [driver, client] of Object.entries({ mysql2: direct, planetscale }))
        test(`${driver}: ${name}`, { skip }, () => {
          const database = new SqlDatabase(client, { tables: [] })
          return work(database, new OutboxOwner(database), client)
        })
    },
  }
}

let tableCount = 0
export function uniqueTableName(): string {
  return `t${++tableCount}`
}

/** One owner of rows, with its own outbox sequences. */
export class OutboxOwner {
  readonly name = `slot-${uniqueTableName()}`
  readonly database: SqlDatabase
  #lease: Lease | null = null
  #seq = 0
  constructor(database: SqlDatabase) {
    this.database = database
  }
  async createBatch(rows: readonly RowChange[], rest: Partial<Batch> = {}): Promise<Batch> {
    this.#lease ??= await this.database.takeover(this.name, 'a'.repeat(32))
    const firstSeq = this.#seq + 1
    this.#seq = firstSeq + rows.length
    const { epoch } = this.#lease
    const none = { channels: [], casts: [], parked: [] }
    return { ...none, rows, owner: this.name, epoch, firstSeq, lastSeq: this.#seq, ...rest }
  }
  async applyBatch(rows: readonly RowChange[], rest: Partial<Batch> = {}): Promise<void> {
    assert.equal(await this.database.apply(await this.createBatch(rows, rest)), 'applied')
  }
  async assertRefused(rows: readonly RowChange[], message: RegExp): Promise<DatabaseError> {
    return assertRefused(this.database.apply(await this.createBatch(rows)), message)
  }
}

export async function assertRefused(promise: Promise<unknown>, message: RegExp): Promise<DatabaseError> {
  const error: unknown = await promise.then(
    () => assert.fail('was not refused'),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof DatabaseError)
  assert.match(error.message, message)
  assert.equal(error.kind, 'refused')
  return error
}

/** Loads all rows of a shard, in pages of this size. */
export async function loadAll(
  database: SqlDatabase,
  table: TableDefinition,
  shard: string,
  pageRows: number,
): Promise<Row[]> {
  const rows: Row[] = []
  for (let after: RowKey | null = null; ; after = rowKeyOf(table, rows.at(-1)!)) {
    const page = await database.load(table, shard, after, pageRows)
    rows.push(...page)
    if (page.length < pageRows) return rows
  }
}

export function remove(table: TableDefinition, ...key: RowKey): RowChange {
  return { table, op: 'delete', key, values: {} }
}
