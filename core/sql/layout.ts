// The authors' tables as a store holds them, brought to what the game declares. A store remembers what it made, so
// that a start with the same game asks for one row. Invariant: columns and tables are only ever added; what cannot be
// read as the game declares it is refused before anything is changed.

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

/** A store holds a table in a form that the game cannot read. */
export class TableError extends Error {
  override readonly name = 'TableError'
  readonly table: string
  /** null = the table as a whole. */
  readonly column: string | null
  readonly actual: string
  readonly expected: string
  constructor(table: string, column: string | null, is: string, wanted: string) {
    const what = column === null ? `table ${table}` : `column ${table}.${column}`
    super(
      `${what} is ${is} in the store, the game wants ${wanted}: give it a new name, or start the old game`,
    )
    this.table = table
    this.column = column
    this.actual = is
    this.expected = wanted
  }
}

/** The tables of a game, for all stores of a process. */
export class TableSet {
  readonly tables: ReadonlyMap<string, SqliteTable>
  readonly definitions: ReadonlyMap<string, TableDefinition>
  /** What a store remembers to have made ready. */
  readonly fingerprint: string

  constructor(definitions: readonly TableDefinition[]) {
    this.definitions = new Map(definitions.map((table) => [table.name, table]))
    this.tables = new Map(definitions.map((table) => [table.name, new SqliteTable(table)]))
    this.fingerprint = encodeLayout(new Map(definitions.map((table) => [table.name, layoutOf(table)])))
  }
}

interface TableLayout {
  /** Contract name. */
  readonly owner: string
  readonly key: readonly string[]
  readonly columns: Map<string, ColumnEncoding>
  /** Indexed columns; true = NULL in them means null, and not that the row is older than the column. */
  readonly indexes: Map<string, boolean>
}
type StoreLayout = Map<string, TableLayout>

/** Runs in a transaction of the caller. @throws TableError */
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

/** Every table that this store ever made, also those of which the game knows no more. */
export function createdTables(meta: ReadonlyMap<string, string>): string[] {
  return [...decodeLayout(meta.get('tables')).keys()]
}

function checkLayout(stored: TableLayout | undefined, table: TableDefinition): void {
  if (!stored) return
  const { name } = table
  const expected = layoutOf(table)
  if (stored.owner !== expected.owner)
    throw new TableError(name, null, `${stored.owner}'s`, `${expected.owner}'s`)
  const [key, wantedKey] = [stored.key.join(', '), expected.key.join(', ')]
  if (key !== wantedKey) throw new TableError(name, null, `keyed by (${key})`, `(${wantedKey})`)
  for (const [column, form] of expected.columns) {
    const old = stored.columns.get(column)
    if (old === form) continue
    if (old !== undefined) throw new TableError(name, column, `of kind ${old}`, form)
    const folded = [...stored.columns.keys()].find((one) => one.toLowerCase() === column.toLowerCase())
    if (folded !== undefined) throw new TableError(name, column, `called ${folded}`, column)
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
    // What is looked for by its value must stand there: NULL is found by null alone.
    if (!nullable && before !== false) fillDefault(sql, definition, column)
    if (before === undefined) sql.run(createSqliteIndex(definition, column.name))
  }
  for (const column of stored.indexes.keys())
    if (!expected.indexes.has(column)) sql.run(`DROP INDEX ${quotedIndexName(name, column)}`)
  return { ...expected, columns: new Map([...stored.columns, ...expected.columns]) }
}

function fillDefault(sql: SqliteHandle, { name }: TableDefinition, column: SqliteColumn): void {
  const target = quoteSqliteIdentifier(column.name)
  sql.run(`UPDATE ${quotedTableName(name)} SET ${target} = ? WHERE ${target} IS NULL`, column.fallback)
}

/** Without rowid: a row is written once, and not once more for the index of its key. */
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

type EncodedLayout = [
  name: string,
  owner: string,
  key: string[],
  columns: [string, ColumnEncoding][],
  indexes: [string, boolean][],
][]

/** Lists, because a table or column may be called `constructor`. */
function encodeLayout(layout: StoreLayout): string {
  const written: EncodedLayout = [...layout].map(([name, { owner, key, columns, indexes }]) => [
    name,
    owner,
    [...key],
    [...columns],
    [...indexes],
  ])
  return JSON.stringify(written)
}

function decodeLayout(text = '[]'): StoreLayout {
  const written = JSON.parse(text) as EncodedLayout
  return new Map(
    written.map(([name, owner, key, columns, indexes]) => [
      name,
      { owner, key, columns: new Map(columns), indexes: new Map(indexes) },
    ]),
  )
}
