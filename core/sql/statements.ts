// DDL and writes of the game's tables, for MySQL 8, Vitess and MariaDB. Invariant: identifiers come from table
// definitions and are quoted, values are parameters, and a statement with parameters contains no literal.

import { indexesOf, type TableIndex } from '../game/storage.ts'
import type { ColumnDefinition, TableDefinition } from '../game/table.ts'
import type { Row, RowChange } from '../ports/store.ts'
import type { SqlStatement, SqlValue } from './client.ts'
import { columnClause, encodeColumn } from './columns.ts'
import { anyKeyEqual, encodeKey, encodeKeyColumns, columnList, allColumnsEqual, quoteIdentifier } from './select.ts'

/** A statement that changes rows of one table. */
export interface WriteStatement {
  readonly statement: SqlStatement
  readonly table: string
  readonly verb: 'insert' | 'update' | 'delete'
  /** Number of rows that it writes. */
  readonly rows: number
  /** The batch fails unless the statement matches every row. */
  readonly mustFindAll: boolean
}

/** Inserts of 500 rows are as fast as of 200, deletes by OR of 500 rows are slower (MariaDB 10.11). */
const MAX_STATEMENT_ROWS = 200
/**
 * Rows x columns of an UPDATE. Each CASE searches its keys from the first one, so its cost is quadratic in the rows.
 * 40 columns, MariaDB 10.11: 3,300 rows/s with 200 rows per statement, 7,100 with 25.
 */
const MAX_UPDATE_CELLS = 1_000
/** Approximate bytes of the parameters of one statement; 1/16 of the smallest usual max_allowed_packet. */
const MAX_STATEMENT_BYTES = 1_048_576

export function createTable(table: TableDefinition): SqlStatement[] {
  const lines = [
    ...table.columns.map((column) => `${quoteIdentifier(column.name)} ${columnClause(table, column)}`),
    `PRIMARY KEY (${columnList(table.key)})`,
    ...indexesOf(table).map(indexClause),
  ]
  const sql = `CREATE TABLE ${quoteIdentifier(table.name)} (\n  ${lines.join(',\n  ')}\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin`
  return [{ sql, params: [] }]
}

/** Adds a column with its indexes. Existing rows get its default. */
export function addColumn(table: TableDefinition, column: ColumnDefinition): SqlStatement[] {
  const clauses = [
    `ADD COLUMN ${quoteIdentifier(column.name)} ${columnClause(table, column)}`,
    ...indexesOf(table)
      .filter(({ columns }) => columns.includes(column))
      .map((index) => `ADD ${indexClause(index)}`),
  ]
  return [{ sql: `ALTER TABLE ${quoteIdentifier(table.name)} ${clauses.join(', ')}`, params: [] }]
}

/** The index as CREATE TABLE and ALTER TABLE … ADD contain it. */
export function indexClause({ name, isUnique, columns }: TableIndex<ColumnDefinition>): string {
  return `${isUnique ? 'UNIQUE KEY' : 'KEY'} ${quoteIdentifier(name)} (${columnList(columns)})`
}

/** Splits a file into statements, each ending with `;` at a line end. Lines that begin with `--` are comments. */
export function splitStatements(file: string): string[] {
  const statements = file.replace(/^[ \t]*--.*$/gm, '').split(/;[ \t]*(?:\r?\n|$)/)
  return statements.map((statement) => statement.trim()).filter((statement) => statement !== '')
}

/**
 * The row writes of a batch: deletes, then inserts, then updates. Parents (the tables that come first in `order`) are
 * inserted before their children and deleted after them.
 */
export function rowWrites(changes: readonly RowChange[], order: (table: TableDefinition) => number): WriteStatement[] {
  const byTable = [...Map.groupBy(changes, ({ table }) => table)].sort(([a], [b]) => order(a) - order(b))
  const withOp = (op: RowChange['op'], list: readonly RowChange[]): RowChange[] =>
    list.filter((change) => change.op === op)
  return [
    ...byTable.toReversed().flatMap(([table, list]) => deleteRows(table, withOp('delete', list))),
    ...byTable.flatMap(([table, list]) => insertRows(table, withOp('insert', list))),
    ...byTable.flatMap(([table, list]) => updateRows(table, withOp('update', list))),
  ]
}

/**
 * Sets unique values to NULL in the rows whose unique values change, because MySQL checks for duplicates after each row
 * and not after the statement: without it, two rows could not exchange their values. Runs before inserts and updates.
 */
export function clearUniqueValues(changes: readonly RowChange[]): WriteStatement[] {
  const cleared = changes.flatMap(({ table, op, key, values }) => {
    const unique = table.unique.filter(({ name }) => name in values)
    if (op !== 'update' || unique.length === 0) return []
    return [{ table, op, key, values: Object.fromEntries(unique.map(({ name }) => [name, null])) }]
  })
  // Not encodeColumn: the column's type may forbid NULL, while its declaration in the table always allows it.
  return [...Map.groupBy(cleared, ({ table }) => table)].flatMap(([table, list]) => updateRows(table, list, () => null))
}

/** Inserts rows into the named table; `onDuplicate`: columns to replace in a row that exists. */
export function insertInto(
  table: string,
  columns: readonly string[],
  rows: readonly (readonly SqlValue[])[],
  onDuplicate: readonly string[] = [],
): WriteStatement[] {
  const replaced = onDuplicate.map((name) => `${quoteIdentifier(name)} = VALUES(${quoteIdentifier(name)})`).join(', ')
  const tail = replaced === '' ? '' : ` ON DUPLICATE KEY UPDATE ${replaced}`
  const tuple = `(${columns.map(() => '?').join(', ')})`
  return splitIntoChunks(rows, paramBytes).map((chunk) => {
    const tuples = chunk.map(() => tuple).join(', ')
    const sql = `INSERT INTO ${quoteIdentifier(table)} (${columns.map(quoteIdentifier).join(', ')}) VALUES ${tuples}${tail}`
    return writeStatement(table, 'insert', { sql, params: chunk.flat() }, chunk.length)
  })
}

/** Deletes rows, which need not exist. `where` returns the condition for `count` keys. */
export function deleteFrom(
  table: string,
  keys: readonly (readonly SqlValue[])[],
  where: (count: number) => string,
): WriteStatement[] {
  return splitIntoChunks(keys, paramBytes).map((chunk) => {
    const sql = `DELETE FROM ${quoteIdentifier(table)} WHERE ${where(chunk.length)}`
    return writeStatement(table, 'delete', { sql, params: chunk.flat() }, chunk.length)
  })
}

/** Inserts one row, whose AUTO_INCREMENT value MySQL assigns. */
export function insertAutoIncrement(table: TableDefinition, values: Row): WriteStatement {
  const columns = table.columns.filter((column) => table.ids !== 'auto' || column !== table.keyInShard[0])
  const [write] = insertInto(table.name, columns.map(nameOf), [encodeRow(columns, values)])
  return write!
}

function deleteRows(table: TableDefinition, changes: readonly RowChange[]): WriteStatement[] {
  const guardedChanges = changes.filter(({ values }) => table.shardKey.name in values)
  const keys = changes.filter((change) => !guardedChanges.includes(change)).map(({ key }) => encodeKey(table, key))
  // Not if the row with this key belongs to another shard by now.
  const guardedKeys = guardedChanges.map(({ key, values }) => [
    ...encodeKey(table, key),
    ...encodeKeyColumns(table, [table.shardKey], [values[table.shardKey.name]]),
  ])
  return [
    ...deleteFrom(table.name, keys, (count) => anyKeyEqual(table.key, count)),
    ...deleteFrom(table.name, guardedKeys, (count) => anyKeyEqual([...table.key, table.shardKey], count)),
  ]
}

/** A plain INSERT: MySQL refuses a duplicate. */
function insertRows(table: TableDefinition, changes: readonly RowChange[]): WriteStatement[] {
  const rows = changes.map(({ key, values }) => {
    // Throws for a trailing space.
    encodeKey(table, key)
    encodeKeyColumns(table, [table.shardKey], [values[table.shardKey.name]])
    return encodeRow(table.columns, values)
  })
  return insertInto(table.name, table.columns.map(nameOf), rows)
}

interface RowUpdate {
  readonly key: readonly SqlValue[]
  readonly values: readonly SqlValue[]
}

/** Writes only the changed columns, because another program may have written the others. */
function updateRows(table: TableDefinition, changes: readonly RowChange[], valueOf = encodeColumn): WriteStatement[] {
  const columnsOf = ({ values }: RowChange): ColumnDefinition[] => table.columns.filter(({ name }) => name in values)
  const groups = Map.groupBy(changes, (change) => columnsOf(change).map(nameOf).join())
  return [...groups.values()].flatMap((group) => {
    const columns = columnsOf(group[0]!)
    if (columns.length === 0) return []
    const rows = group.map(({ key, values }) => ({
      key: encodeKey(table, key),
      values: columns.map((column) => valueOf(column, values[column.name])),
    }))
    const updateBytes = ({ key, values }: RowUpdate): number =>
      paramBytes(values) + (columns.length + 1) * paramBytes(key)
    const maxRows = Math.min(MAX_STATEMENT_ROWS, Math.ceil(MAX_UPDATE_CELLS / columns.length))
    return splitIntoChunks(rows, updateBytes, maxRows).map((chunk) =>
      writeStatement(table.name, 'update', updateStatement(table, columns, chunk), chunk.length),
    )
  })
}

function updateStatement(
  table: TableDefinition,
  columns: readonly ColumnDefinition[],
  rows: readonly RowUpdate[],
): SqlStatement {
  const [singleRow] = rows
  const head = `UPDATE ${quoteIdentifier(table.name)} SET`
  if (rows.length === 1) {
    const sql = `${head} ${columns.map((column) => `${quoteIdentifier(column.name)} = ?`).join(', ')} WHERE ${allColumnsEqual(table.key)}`
    return { sql, params: [...singleRow!.values, ...singleRow!.key] }
  }
  const whens = ` WHEN ${allColumnsEqual(table.key)} THEN ?`.repeat(rows.length)
  const cases = columns.map(({ name }) => `${quoteIdentifier(name)} = CASE${whens} ELSE ${quoteIdentifier(name)} END`)
  const params = columns.flatMap((_, i) => rows.flatMap(({ key, values }) => [...key, values[i]!]))
  const sql = `${head} ${cases.join(', ')} WHERE ${anyKeyEqual(table.key, rows.length)}`
  return { sql, params: [...params, ...rows.flatMap(({ key }) => key)] }
}

function writeStatement(
  table: string,
  verb: WriteStatement['verb'],
  statement: SqlStatement,
  rows: number,
): WriteStatement {
  return { statement, table, verb, rows, mustFindAll: verb === 'update' }
}

/** Values in the order of the columns; a column that an older program did not know gets its default. */
function encodeRow(columns: readonly ColumnDefinition[], values: Row): SqlValue[] {
  return columns.map((column) => {
    const value = values[column.name]
    return encodeColumn(column, value === undefined ? column.defaultValue : value)
  })
}

function nameOf({ name }: ColumnDefinition): string {
  return name
}

/** Splits rows into chunks bounded in rows and bytes; a larger row gets a chunk of its own. */
function splitIntoChunks<T>(rows: readonly T[], bytesOf: (row: T) => number, maxRows = MAX_STATEMENT_ROWS): T[][] {
  const chunks: T[][] = []
  let chunk: T[] = []
  let bytes = 0
  for (const row of rows) {
    const size = bytesOf(row)
    if (chunk.length > 0 && (chunk.length === maxRows || bytes + size > MAX_STATEMENT_BYTES)) {
      chunks.push(chunk)
      chunk = []
      bytes = 0
    }
    chunk.push(row)
    bytes += size
  }
  if (chunk.length > 0) chunks.push(chunk)
  return chunks
}

/** Size as text, where bytes are hexadecimal. */
function paramBytes(values: readonly SqlValue[]): number {
  let bytes = 0
  for (const value of values) {
    bytes += 8
    if (typeof value === 'string') bytes += value.length
    else if (value instanceof Uint8Array) bytes += 2 * value.length
  }
  return bytes
}
