// The authors' tables as a store holds them, brought to what the game declares. A store remembers what it made, so
// that a start with the same game asks for one row. Invariant: columns and tables are only ever added; what cannot be
// read as the game declares it is refused before anything is changed.

import type { TableDefinition } from '../game/table.ts'
import * as rows from '../../schemas/rows.ts'
import {
  formOf,
  indexedColumns,
  indexName,
  primaryKey,
  quote,
  SQL_TYPES,
  SqlTable,
  tableName,
  type Form,
  type Sql,
  type SqlColumn,
} from './sqlite.ts'

/** A store holds a table in a form that the game cannot read. */
export class TableError extends Error {
  override readonly name = 'TableError'
  readonly table: string
  /** null = the table as a whole. */
  readonly column: string | null
  readonly is: string
  readonly wanted: string
  constructor(table: string, column: string | null, is: string, wanted: string) {
    const what = column === null ? `table ${table}` : `column ${table}.${column}`
    super(
      `${what} is ${is} in the store, the game wants ${wanted}: give it a new name, or start the old game`,
    )
    this.table = table
    this.column = column
    this.is = is
    this.wanted = wanted
  }
}

/** The tables of a game, for all stores of a process. */
export class TableSet {
  readonly tables: ReadonlyMap<string, SqlTable>
  readonly definitions: ReadonlyMap<string, TableDefinition>
  /** What a store remembers to have made ready. */
  readonly fingerprint: string

  constructor(definitions: readonly TableDefinition[]) {
    this.definitions = new Map(definitions.map((table) => [table.name, table]))
    this.tables = new Map(definitions.map((table) => [table.name, new SqlTable(table)]))
    this.fingerprint = write(new Map(definitions.map((table) => [table.name, shapeOf(table)])))
  }
}

interface Shape {
  /** Contract name. */
  readonly owner: string
  readonly key: readonly string[]
  readonly columns: Map<string, Form>
  /** Indexed columns; true = NULL in them means null, and not that the row is older than the column. */
  readonly indexes: Map<string, boolean>
}
type Layout = Map<string, Shape>

/** Runs in a transaction of the caller. @throws TableError */
export function makeTables(sql: Sql, meta: ReadonlyMap<string, string>, set: TableSet): void {
  if (meta.get('layout') === set.fingerprint) return
  const layout = read(meta.get('tables'))
  for (const { definition } of set.tables.values()) check(layout.get(definition.name), definition)
  for (const table of set.tables.values()) {
    const { name } = table.definition
    layout.set(name, make(sql, layout.get(name), table))
  }
  sql.run(rows.SET_META, 'tables', write(layout))
  sql.run(rows.SET_META, 'layout', set.fingerprint)
}

/** Every table that this store ever made, also those of which the game knows no more. */
export function tablesMade(meta: ReadonlyMap<string, string>): string[] {
  return [...read(meta.get('tables')).keys()]
}

function check(is: Shape | undefined, table: TableDefinition): void {
  if (!is) return
  const { name } = table
  const wanted = shapeOf(table)
  if (is.owner !== wanted.owner) throw new TableError(name, null, `${is.owner}'s`, `${wanted.owner}'s`)
  const [key, wantedKey] = [is.key.join(', '), wanted.key.join(', ')]
  if (key !== wantedKey) throw new TableError(name, null, `keyed by (${key})`, `(${wantedKey})`)
  for (const [column, form] of wanted.columns) {
    const old = is.columns.get(column)
    if (old === form) continue
    if (old !== undefined) throw new TableError(name, column, `of kind ${old}`, form)
    const folded = [...is.columns.keys()].find((one) => one.toLowerCase() === column.toLowerCase())
    if (folded !== undefined) throw new TableError(name, column, `called ${folded}`, column)
  }
}

function make(sql: Sql, is: Shape | undefined, table: SqlTable): Shape {
  const { definition, columns } = table
  const { name } = definition
  const shape = shapeOf(definition)
  if (!is) {
    sql.run(createTable(definition))
    for (const column of shape.indexes.keys()) sql.run(createIndex(definition, column))
    return shape
  }
  for (const column of columns) {
    if (is.columns.has(column.name)) continue
    sql.run(`ALTER TABLE ${tableName(name)} ADD COLUMN ${quote(column.name)} ${SQL_TYPES[column.form]}`)
  }
  for (const column of columns) {
    const nullable = shape.indexes.get(column.name)
    if (nullable === undefined) continue
    const before = is.indexes.get(column.name)
    // What is looked for by its value must stand there: NULL is found by null alone.
    if (!nullable && before !== false) fillIn(sql, definition, column)
    if (before === undefined) sql.run(createIndex(definition, column.name))
  }
  for (const column of is.indexes.keys())
    if (!shape.indexes.has(column)) sql.run(`DROP INDEX ${indexName(name, column)}`)
  return { ...shape, columns: new Map([...is.columns, ...shape.columns]) }
}

function fillIn(sql: Sql, { name }: TableDefinition, column: SqlColumn): void {
  const target = quote(column.name)
  sql.run(`UPDATE ${tableName(name)} SET ${target} = ? WHERE ${target} IS NULL`, column.fallback)
}

/** Without rowid: a row is written once, and not once more for the index of its key. */
function createTable(table: TableDefinition): string {
  const key = primaryKey(table)
  const columns = table.columns.map((column) => {
    const type = SQL_TYPES[formOf(column)]
    return `${quote(column.name)} ${type}${key.includes(column) ? ' NOT NULL' : ''}`
  })
  const names = key.map(({ name }) => quote(name)).join(', ')
  return `CREATE TABLE ${tableName(table.name)} (${columns.join(', ')}, PRIMARY KEY (${names})) WITHOUT ROWID`
}

function createIndex({ name, shardKey }: TableDefinition, column: string): string {
  return `CREATE INDEX ${indexName(name, column)} ON ${tableName(name)} (${quote(shardKey.name)}, ${quote(column)})`
}

function shapeOf(table: TableDefinition): Shape {
  return {
    owner: table.owner,
    key: primaryKey(table).map(({ name }) => name),
    columns: new Map(table.columns.map((column) => [column.name, formOf(column)])),
    indexes: new Map(indexedColumns(table).map(({ name, nullable }) => [name, nullable])),
  }
}

type Written = [
  name: string,
  owner: string,
  key: string[],
  columns: [string, Form][],
  indexes: [string, boolean][],
][]

/** Lists, because a table or column may be called `constructor`. */
function write(layout: Layout): string {
  const written: Written = [...layout].map(([name, { owner, key, columns, indexes }]) => [
    name,
    owner,
    [...key],
    [...columns],
    [...indexes],
  ])
  return JSON.stringify(written)
}

function read(text = '[]'): Layout {
  const written = JSON.parse(text) as Written
  return new Map(
    written.map(([name, owner, key, columns, indexes]) => [
      name,
      { owner, key, columns: new Map(columns), indexes: new Map(indexes) },
    ]),
  )
}
