// A column's value in MySQL: the type it is declared with, the parameter it becomes, and the way back. Invariant: what
// is written reads back equal, and what another program has put there is checked against the column before it counts.

import { utf8Encoder } from '../wire/bytes.ts'
import { storageOf } from '../game/storage.ts'
import type { ColumnDefinition, TableDefinition } from '../game/table.ts'
import type { Row } from '../ports/store.ts'
import { shorten } from '../wire/errors.ts'
import { INVALID, findKind } from '../wire/schema.ts'
import { DatabaseError, type SqlResult, type SqlValue } from './client.ts'

/** Keys of a record may be as long as they like. */
const MAX_PATH_LENGTH = 100

/** The MySQL type without NULL and DEFAULT, such as `SMALLINT UNSIGNED`. */
export function columnType({ spec }: ColumnDefinition): string {
  return storageOf(spec).type
}

/** As CREATE TABLE and ALTER TABLE have it, behind the column's name. */
export function columnClause(table: TableDefinition, column: ColumnDefinition): string {
  const type = columnType(column)
  if (isKeyColumn(table, column)) {
    const autoIncrement = table.ids === 'auto' && column === table.keyInShard[0]
    return `${type} NOT NULL${autoIncrement ? ' AUTO_INCREMENT' : ''}`
  }
  // A unique column with a default could stand in one row only, and two rows could not exchange their values.
  if (table.unique.includes(column) || /TEXT|BLOB/.test(type)) return `${type} NULL`
  const defaultLiteral = sqlLiteral(encodeColumn(column, column.defaultValue))
  return `${type} ${column.nullable ? 'NULL' : 'NOT NULL'} DEFAULT ${defaultLiteral}`
}

/** The value as a parameter; it is the caller's that it is one of the column's. */
export function encodeColumn(column: ColumnDefinition, value: unknown): SqlValue {
  if (value === null && (column.nullable || column.kind !== 'json')) return null
  switch (column.kind) {
    case 'bool':
      return value === true ? 1 : 0
    case 'date':
      return (value as Date).toISOString().replace('T', ' ').slice(0, 23)
    case 'json':
      return JSON.stringify(value) ?? null
    default:
      return value as SqlValue
  }
}

/** Frozen rows with every column of the table, in its order. @throws DatabaseError 'refused' for a foreign value */
export function decodeRows(table: TableDefinition, { columns, rows }: SqlResult): Row[] {
  const positions = table.columns.map(({ name }) => columns.indexOf(name))
  return rows.map((values) => {
    const row: Record<string, unknown> = {}
    for (const [i, column] of table.columns.entries()) {
      const value = values[positions[i]!]
      row[column.name] =
        value === undefined ? deepFreeze(column.defaultValue) : decodeColumn(table, column, value)
    }
    return Object.freeze(row)
  })
}

/** @throws DatabaseError 'refused' that names table, column, value and bound */
export function decodeColumn(
  table: TableDefinition,
  column: ColumnDefinition,
  raw: string | Uint8Array | null,
): unknown {
  if (raw === null && !column.nullable && !isKeyColumn(table, column)) return deepFreeze(column.defaultValue)
  const value = raw === null ? null : parseColumn(column, raw)
  const out = value === undefined ? INVALID : hasForeignSchema(column) ? value : column.schema.read(value)
  if (out !== INVALID) return deepFreeze(out)
  // What a program that does not know the column leaves in it: `''` for a t.id, which no t.id may be.
  if (value === column.defaultValue) return value
  const { message, path } =
    value === undefined ? { message: 'not JSON', path: [] } : column.schema.diagnose(value)
  const where = [column.name, ...path.map(String)].join('.').slice(0, MAX_PATH_LENGTH)
  throw new DatabaseError('refused', `table ${table.name}: column ${where} holds ${shorten(raw)}: ${message}`)
}

/** Literals stand in DDL only, which takes no parameters. What no reader could take for anything else stands plainly. */
export function sqlLiteral(value: SqlValue): string {
  if (value === null) return 'NULL'
  if (typeof value === 'string') {
    if (/^[\w .,:+-]*$/.test(value)) return `'${value}'`
    return `_utf8mb4 x'${hex(utf8Encoder.encode(value))}'`
  }
  if (value instanceof Uint8Array) return value.length === 0 ? "''" : `x'${hex(value)}'`
  return String(typeof value === 'boolean' ? Number(value) : value)
}

/** Another library's schema may have made the value of something else, which it would want back. */
function hasForeignSchema({ kind, spec }: ColumnDefinition): boolean {
  return kind === 'json' && findKind(spec, ['foreign']) !== null
}

function isKeyColumn(table: TableDefinition, column: ColumnDefinition): boolean {
  return table.key.includes(column) || column === table.shardKey
}

const INTEGER_TEXT = /^-?\d+$/
const REAL_TEXT = /^-?\d+(\.\d+)?(e[+-]?\d+)?$/i
/** A DATE, DATETIME or TIMESTAMP of an adopted table may have less, or microseconds. */
const DATE_TEXT = /^(\d{4}-\d\d-\d\d)(?: (\d\d:\d\d:\d\d)(\.\d{1,6})?)?$/

/** What cannot be parsed is given back as it is, for the column's type to refuse; undefined = text that is not JSON. */
function parseColumn({ kind }: ColumnDefinition, raw: string | Uint8Array): unknown {
  if (raw instanceof Uint8Array) {
    if (kind === 'json') return undefined
    // An adopted BIT(1).
    return kind === 'bool' && raw.length === 1 && raw[0]! < 2 ? raw[0] === 1 : raw
  }
  switch (kind) {
    case 'int':
      return INTEGER_TEXT.test(raw) ? Number(raw) : raw
    case 'real':
      return REAL_TEXT.test(raw) ? Number(raw) : raw
    case 'big':
      return INTEGER_TEXT.test(raw) ? BigInt(raw) : raw
    case 'bool':
      return raw === '1' ? true : raw === '0' ? false : raw
    case 'date': {
      const [, day, time = '00:00:00', fraction = ''] = DATE_TEXT.exec(raw) ?? []
      const ms = Date.parse(`${day}T${time}${fraction.slice(0, 4)}Z`)
      return Number.isNaN(ms) ? raw : new Date(ms)
    }
    case 'json':
      try {
        return JSON.parse(raw)
      } catch {
        return undefined
      }
    default:
      return raw
  }
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** As the rows of the engine are: JSON is frozen, bytes and dates cannot be. */
function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || value instanceof Date)
    return value
  for (const inner of Object.values(value)) deepFreeze(inner)
  return Object.freeze(value)
}
