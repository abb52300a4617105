// Migrates the game's tables of a store to the game's declaration. A store records the layout that it created, so a
// start with the same game reads one row. Invariant: tables and columns are only added; a layout that cannot be read as
// declared is rejected before anything is changed.

import type { TableDefinition } from '../game/table.ts'
import * as rows from '../../schemas/rows.ts'
import {
  encodingOf,
  indexedColumns,
  quotedIndexName,
  primaryKey,
  quoteSqliteIdentifier,
  SQLITE_TYPES,
  SqliteTable,
  quotedTableName,
  type ColumnEncoding,
  type SqliteHandle,
  type SqliteColumn,
} from './sqlite.ts'

/** A table of the store has a layout that the game cannot read. */
export class TableError extends Error {
  override readonly name = 'TableError'
  readonly table: string
  /** null = the whole table. */
  readonly column: string | null
  readonly actual: string
  readonly expected: string
  constructor(table: string, column: string | null, actual: string, expected: string) {
    const name = column === null ? `table ${table}` : `column ${table}.${column}`
    super(
      `${name} is ${actual} in the store, the game expects ${expected}: give it a new name, or start the earlier version`,
    )
    this.table = table
    this.column = column
    this.actual = actual
    this.expected = expected
  }
}

/** The tables of a game, shared by all stores of a process. */
export class TableSet {
  readonly tables: ReadonlyMap<string, SqliteTable>
  readonly definitions: ReadonlyMap<string, TableDefinition>
  /** Identifies the declared layout; a store records the fingerprint for which it was migrated. */
  readonly fingerprint: string

  constructor(definitions: readonly TableDefinition[]) {
    this.definitions = new Map(definitions.map((table) => [table.name, table]))
    this.tables = new Map(definitions.map((table) => [table.name, new SqliteTable(table)]))
    this.fingerprint = encodeLayout(new Map(definitions.map((table) => [table.name, layoutOf(table)])))
  }
}

interface TableLayout {
  /** Name of the contract. */
  readonly owner: string
  readonly key: readonly string[]
  readonly columns: Map<string, ColumnEncoding>
  /** Indexed columns; true = NULL means null, false = NULL would mean that the row is older than the column. */
  readonly indexes: Map<string, boolean>
}
type StoreLayout = Map<string, TableLayout>

/** Migrates the tables, in a transaction of the caller. @throws TableError */
export function ensureTables(sql: SqliteHandle, meta: ReadonlyMap<string, string>, tableSet: TableSet): void {
  if (meta.get('layout') === tableSet.fingerprint) return
  const layout = decodeLayout(meta.get('tables'))
  for (const { definition } of tableSet.tables.values()) checkLayout(layout.get(definition.name), definition)
  for (const table of tableSet.tables.values()) {
    const { name } = table.definition
    layout.set(name, ensureTable(sql, layout.get(name), table))
  }
  sql.run(rows.SET_META, 'tables', encodeLayout(layout))
  sql.run(rows.SET_META, 'layout', tableSet.fingerprint)
}

/** Every table that this store ever created, including those that the game no longer declares. */
export function createdTables(meta: ReadonlyMap<string, string>): string[] {
  return [...decodeLayout(meta.get('tables')).keys()]
}

function checkLayout(stored: TableLayout | undefined, table: TableDefinition): void {
  if (!stored) return
  const { name } = table
  const expected = layoutOf(table)
  if (stored.owner !== expected.owner)
    throw new TableError(name, null, `owned by ${stored.owner}`, `owner ${expected.owner}`)
  const [storedKey, expectedKey] = [stored.key.join(', '), expected.key.join(', ')]
  if (storedKey !== expectedKey) throw new TableError(name, null, `keyed by (${storedKey})`, `(${expectedKey})`)
  for (const [column, encoding] of expected.columns) {
    const storedEncoding = stored.columns.get(column)
    if (storedEncoding === encoding) continue
    if (storedEncoding !== undefined) throw new TableError(name, column, `of kind ${storedEncoding}`, encoding)
    const sameName = [...stored.columns.keys()].find((other) => other.toLowerCase() === column.toLowerCase())
    if (sameName !== undefined) throw new TableError(name, column, `called ${sameName}`, column)
  }
}

function ensureTable(sql: SqliteHandle, stored: TableLayout | undefined, table: SqliteTable): TableLayout {
  const { definition, columns } = table
  const { name } = definition
  const expected = layoutOf(definition)
  if (!stored) {
    sql.run(createSqliteTable(definition))
    for (const column of expected.indexes.keys()) sql.run(createSqliteIndex(definition, column))
    return expected
  }
  for (const column of columns) {
    if (stored.columns.has(column.name)) continue
    sql.run(
      `ALTER TABLE ${quotedTableName(name)} ADD COLUMN ${quoteSqliteIdentifier(column.name)} ${SQLITE_TYPES[column.encoding]}`,
    )
  }
  for (const column of columns) {
    const nullable = expected.indexes.get(column.name)
    if (nullable === undefined) continue
    const before = stored.indexes.get(column.name)
    // An index finds only stored values, so NULL must be replaced by the default.
    if (!nullable && before !== false) fillDefault(sql, definition, column)
    if (before === undefined) sql.run(createSqliteIndex(definition, column.name))
  }
  for (const column of stored.indexes.keys())
    if (!expected.indexes.has(column)) sql.run(`DROP INDEX ${quotedIndexName(name, column)}`)
  return { ...expected, columns: new Map([...stored.columns, ...expected.columns]) }
}

function fillDefault(sql: SqliteHandle, { name }: TableDefinition, column: SqliteColumn): void {
  const target = quoteSqliteIdentifier(column.name)
  sql.run(`UPDATE ${quotedTableName(name)} SET ${target} = ? WHERE ${target} IS NULL`, column.defaultCell)
}

/** WITHOUT ROWID, so that a row is not written a second time for the index of its key. */
function createSqliteTable(table: TableDefinition): string {
  const key = primaryKey(table)
  const columns = table.columns.map((column) => {
    const type = SQLITE_TYPES[encodingOf(column)]
    return `${quoteSqliteIdentifier(column.name)} ${type}${key.includes(column) ? ' NOT NULL' : ''}`
  })
  const names = key.map(({ name }) => quoteSqliteIdentifier(name)).join(', ')
  return `CREATE TABLE ${quotedTableName(table.name)} (${columns.join(', ')}, PRIMARY KEY (${names})) WITHOUT ROWID`
}

function createSqliteIndex({ name, shardKey }: TableDefinition, column: string): string {
  return `CREATE INDEX ${quotedIndexName(name, column)} ON ${quotedTableName(name)} (${quoteSqliteIdentifier(shardKey.name)}, ${quoteSqliteIdentifier(column)})`
}

function layoutOf(table: TableDefinition): TableLayout {
  return {
    owner: table.owner,
    key: primaryKey(table).map(({ name }) => name),
    columns: new Map(table.columns.map((column) => [column.name, encodingOf(column)])),
    indexes: new Map(indexedColumns(table).map(({ name, nullable }) => [name, nullable])),
  }
}

type EncodedTable = [
  name: string,
  owner: string,
  key: readonly string[],
  columns: [string, ColumnEncoding][],
  indexes: [string, boolean][],
]

/** Encodes lists instead of objects, because a table or column may be called `constructor`. */
function encodeLayout(layout: StoreLayout): string {
  const encodeTable = ([name, { owner, key, columns, indexes }]: readonly [string, TableLayout]): EncodedTable => [
    name,
    owner,
    key,
    [...columns],
    [...indexes],
  ]
  return JSON.stringify([...layout].map(encodeTable))
}

function decodeLayout(text = '[]'): StoreLayout {
  const layout: StoreLayout = new Map()
  for (const [name, owner, key, columns, indexes] of JSON.parse(text) as EncodedTable[])
    layout.set(name, { owner, key, columns: new Map(columns), indexes: new Map(indexes) })
  return layout
}
