// The SELECTs of rows, and the WHERE conditions of all statements. Invariant: as in statements.ts, identifiers are
// quoted and values are parameters.

import type { ColumnDefinition, TableDefinition } from '../game/table.ts'
import type { RowKey } from '../ports/store.ts'
import { shorten } from '../wire/errors.ts'
import { DatabaseError, type SqlStatement, type SqlValue } from './client.ts'
import { encodeColumn } from './columns.ts'

export function selectRow(table: TableDefinition, key: RowKey): SqlStatement {
  const sql = `SELECT ${columnList(table.columns)} FROM ${quoteIdentifier(table.name)} WHERE ${allColumnsEqual(table.key)}`
  return { sql, params: encodeKey(table, key) }
}

/** Selects the first `limit` rows of a shard after the key `after`, ordered by key. */
export function selectPage(
  table: TableDefinition,
  shardKey: string,
  after: RowKey | null,
  limit: number,
): SqlStatement {
  const { keyInShard: rest } = table
  const params: SqlValue[] = encodeKeyColumns(table, [table.shardKey], [shardKey])
  let sql = `SELECT ${columnList(table.columns)} FROM ${quoteIdentifier(table.name)} WHERE ${allColumnsEqual([table.shardKey])}`
  if (after !== null && rest.length > 0) {
    // Not (a, b) > (?, ?), for which MySQL uses no index.
    const lastKey = rest.map((column) => after[table.key.indexOf(column)])
    const lastValues = encodeKeyColumns(table, rest, lastKey)
    const conditions = rest.map((column, i) => {
      params.push(...lastValues.slice(0, i + 1))
      const isAfter = `${quoteIdentifier(column.name)} > ${comparisonPlaceholder(column)}`
      return `(${[...rest.slice(0, i).map(columnEquals), isAfter].join(' AND ')})`
    })
    sql += ` AND (${conditions.join(' OR ')})`
  }
  if (rest.length > 0) sql += ` ORDER BY ${columnList(rest)}`
  return { sql: `${sql} LIMIT ?`, params: [...params, limit] }
}

/** Selects the first `limit` rows of many shards together, ordered by shard and then as in `selectPage`. */
export function selectShards(table: TableDefinition, shardKeys: readonly string[], limit: number): SqlStatement {
  const columns = shardKeys.map(() => table.shardKey)
  // Not by `keyInShard` alone: MySQL would scan the primary key, with the rows of all other shards.
  const order = columnList([table.shardKey, ...table.keyInShard])
  const sql =
    `SELECT ${columnList(table.columns)} FROM ${quoteIdentifier(table.name)} ` +
    `WHERE ${anyKeyEqual([table.shardKey], shardKeys.length)} ORDER BY ${order} LIMIT ?`
  return { sql, params: [...encodeKeyColumns(table, columns, shardKeys), limit] }
}

export function encodeKey(table: TableDefinition, key: RowKey): SqlValue[] {
  return encodeKeyColumns(table, table.key, key)
}

export function encodeKeyColumns(
  table: TableDefinition,
  columns: readonly ColumnDefinition[],
  values: readonly unknown[],
): SqlValue[] {
  return columns.map((column, i) => {
    const value = values[i]
    if (typeof value === 'string' && value.endsWith(' '))
      throw trailingSpaceError(`table ${table.name}: ${column.name}`, value)
    return encodeColumn(column, value)
  })
}

/**
 * utf8mb4_bin ignores trailing spaces, and MySQL and MariaDB share no collation that compares them: with the key `bob `
 * one shard would write the rows of another.
 */
export function trailingSpaceError(what: string, value: string): DatabaseError {
  return new DatabaseError('refused', `${what}: the key ${shorten(value)} ends in a space, which MySQL ignores`)
}

/** The condition that all columns equal their parameters. */
export function allColumnsEqual(columns: readonly ColumnDefinition[]): string {
  return columns.map(columnEquals).join(' AND ')
}

/** The condition that the key equals one of `count` keys. */
export function anyKeyEqual(key: readonly ColumnDefinition[], count: number): string {
  const [column] = key
  if (key.length > 1) return new Array(count).fill(`(${allColumnsEqual(key)})`).join(' OR ')
  if (count === 1) return allColumnsEqual(key)
  return `${quoteIdentifier(column!.name)} IN (${new Array(count).fill(comparisonPlaceholder(column!)).join(', ')})`
}

function columnEquals(column: ColumnDefinition): string {
  return `${quoteIdentifier(column.name)} = ${comparisonPlaceholder(column)}`
}

/** The right side of a comparison. MySQL compares a DECIMAL with text as DOUBLEs, which loses digits of long values. */
function comparisonPlaceholder({ spec }: ColumnDefinition): string {
  return spec.kind === 'decimal' ? `CAST(? AS DECIMAL(${spec.precision}, ${spec.scale}))` : '?'
}

export function quoteIdentifier(name: string): string {
  if (!/^\w{1,64}$/.test(name)) throw new RangeError(`${shorten(name)} is not an identifier`)
  return `\`${name}\``
}

export function columnList(columns: readonly ColumnDefinition[]): string {
  return columns.map(({ name }) => quoteIdentifier(name)).join(', ')
}
