// Shared by the tests of stored rows: a contract and a table, write sets, and SQLite in memory.

import { DatabaseSync } from 'node:sqlite'

import type { TableDefinition } from '../../core/game/table.ts'
import { PreparedStatements } from '../../core/node/statements.ts'
import type { Row, RowChange, StoredCast, WriteSet } from '../../core/ports/store.ts'
import type { ShardId } from '../../core/wire/shardid.ts'
import { TableSet } from '../../core/sql/layout.ts'
import { StoreTables } from '../../core/outbox/storetables.ts'
import type { SqliteValue, SqliteHandle, SqliteRow } from '../../core/sql/sqlite.ts'
import { t } from '../../core/wire/type.ts'
import { ROW_TABLES } from '../../schemas/rows.ts'
import { defineTable, insert } from '../support/tables.ts'
import { ada, writeSet } from './slotfixture.ts'

export const items = defineTable(
  'items',
  { owner: t.id, id: t.id, kind: t.string(32), count: t.u32, charm: t.nullable(t.string(32)) },
  { key: 'id', shardKey: 'owner', by: ['kind'] },
)

export function item(id: string, values: Row = {}, owner = ada.key): Row {
  return { owner, id, kind: 'sword', count: 1, charm: null, ...values }
}

export function fill(table: TableDefinition, row: Row): RowChange {
  return { ...insert(table, row), op: 'store-put' }
}
export function remove(
  table: TableDefinition,
  key: readonly unknown[],
  op: 'delete' | 'store-delete' = 'delete',
): RowChange {
  return { table, op, key, values: {} }
}
export function storedCast(sequence: number, answer: string): StoredCast {
  const target = { contract: 'guild', key: 'knights' }
  return { sequence, target, command: 7, body: new Uint8Array([sequence]), answer, data: new Uint8Array(0) }
}
export function rowWriteSet(rows: RowChange[] | null, part: Partial<WriteSet> = {}, shard: ShardId = ada): WriteSet {
  return writeSet(shard, 1, { rows, ...part })
}

/** A SQLite handle that counts changed rows. */
class CountingSql implements SqliteHandle {
  readonly #statements: PreparedStatements
  readonly #db: DatabaseSync
  constructor(db: DatabaseSync) {
    this.#db = db
    this.#statements = new PreparedStatements(db)
  }
  get changes(): number {
    return Number(this.#db.prepare('SELECT total_changes() AS n').get()!['n'])
  }
  run(sql: string, ...cells: SqliteValue[]): void {
    this.#statements.run(sql, ...cells)
  }
  all(sql: string, ...cells: SqliteValue[]): SqliteRow[] {
    return this.#statements.all(sql, ...cells)
  }
}

export interface InMemoryTables {
  readonly db: DatabaseSync
  readonly sql: CountingSql
  /** Opens the same database as another start of a game with these tables. */
  open(tables: readonly TableDefinition[], outbox?: boolean): StoreTables
}

export function openInMemoryTables(): InMemoryTables {
  const db = new DatabaseSync(':memory:')
  for (const statement of ROW_TABLES) db.exec(statement)
  const sql = new CountingSql(db)
  return {
    db,
    sql,
    open: (tables, outbox = false) => {
      const rows = new StoreTables(sql, new TableSet(tables), outbox)
      db.exec('BEGIN')
      try {
        rows.prepare(() => new Uint8Array(16).fill(0xa5))
        db.exec('COMMIT')
      } catch (error) {
        db.exec('ROLLBACK')
        throw error
      }
      return rows
    },
  }
}
