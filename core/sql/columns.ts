// Columns in MySQL: their declaration, and the encoding of their values. Invariant: a value reads back equal to what
// was written, and a value that another program wrote is checked against the column's type.

import { hexOf, utf8Encoder } from '../wire/bytes.ts'
import { storageOf } from '../game/storage.ts'
import type { ColumnDefinition, TableDefinition } from '../game/table.ts'
import type { Row } from '../ports/store.ts'
import { deepFreeze } from '../rows/freeze.ts'
import { shorten } from '../wire/errors.ts'
import { INVALID, findKind } from '../wire/schema.ts'
import { DatabaseError, type SqlResult, type SqlValue } from './client.ts'

/** Bound of a path in a message, because the keys of a record have no bound. */
const MAX_PATH_LENGTH = 100

/** How CREATE TABLE declares a column. */
export interface ColumnDeclaration {
  /** Without NULL and DEFAULT, such as `SMALLINT UNSIGNED`. */
  readonly type: string
  readonly nullable: boolean
  readonly isAutoIncrement: boolean
  /** The DEFAULT; undefined = none. */
  readonly defaultValue: SqlValue | undefined
}

/** The MySQL type without NULL and DEFAULT, such as `SMALLINT UNSIGNED`. */
export function columnType({ spec }: ColumnDefinition): string {
  return storageOf(spec).type
}

export function columnDeclaration(table: TableDefinition, column: ColumnDefinition): ColumnDeclaration {
  const type = columnType(column)
  if (isKeyColumn(table, column)) {
    const isAutoIncrement = table.ids === 'auto' && column === table.keyInShard[0]
    return { type, nullable: false, isAutoIncrement, defaultValue: undefined }
  }
  // A default in a unique column would fit one row only; NULL lets two rows exchange their values.
  if (table.unique.includes(column) || /TEXT|BLOB/.test(type))
    return { type, nullable: true, isAutoIncrement: false, defaultValue: undefined }
  const defaultValue = encodeColumn(column, column.defaultValue)
  return { type, nullable: column.nullable, isAutoIncrement: false, defaultValue }
}

/** The declaration as CREATE TABLE and ALTER TABLE contain it after the column's name. */
export function columnClause(table: TableDefinition, column: ColumnDefinition): string {
  const { type, nullable, isAutoIncrement, defaultValue } = columnDeclaration(table, column)
  const defaultClause = defaultValue === undefined ? '' : ` DEFAULT ${sqlLiteral(defaultValue)}`
  return `${type} ${nullable ? 'NULL' : 'NOT NULL'}${isAutoIncrement ? ' AUTO_INCREMENT' : ''}${defaultClause}`
}

/** Encodes a value as a parameter. The caller ensures that it is a value of the column's type. */
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

/** Frozen rows with every column, in declared order. @throws DatabaseError 'refused' for a value outside of the type */
export function decodeRows(table: TableDefinition, { columns, rows }: SqlResult): Row[] {
  const positions = table.columns.map(({ name }) => columns.indexOf(name))
  return rows.map((values) => {
    const row: Record<string, unknown> = {}
    for (const [i, column] of table.columns.entries()) {
      const value = values[positions[i]!]
      row[column.name] = value === undefined ? deepFreeze(column.defaultValue) : decodeColumn(table, column, value)
    }
    return Object.freeze(row)
  })
}

/** @throws DatabaseError 'refused' with table, column, value and bound */
export function decodeColumn(
  table: TableDefinition,
  column: ColumnDefinition,
  raw: string | Uint8Array | null,
): unknown {
  if (raw === null && !column.nullable && !isKeyColumn(table, column)) return deepFreeze(column.defaultValue)
  const value = raw === null ? null : parseColumn(column, raw)
  // A schema of another library may transform its input, so it cannot parse the stored value once more.
  const isForeign = column.kind === 'json' && findKind(column.spec, ['foreign']) !== null
  const decoded = value === undefined ? INVALID : isForeign ? value : column.schema.read(value)
  if (decoded !== INVALID) return deepFreeze(decoded)
  // A program that does not know the column writes its default, which may be invalid: `''` for a t.id.
  if (value === column.defaultValue) return value
  const { message, path } = value === undefined ? { message: 'not JSON', path: [] } : column.schema.diagnose(value)
  const where = [column.name, ...path.map(String)].join('.').slice(0, MAX_PATH_LENGTH)
  throw new DatabaseError('refused', `table ${table.name}: column ${where} holds ${shorten(raw)}: ${message}`)
}

/** Literals occur in DDL only, which takes no parameters. Text that needs no escaping stays readable. */
export function sqlLiteral(value: SqlValue): string {
  if (value === null) return 'NULL'
  if (typeof value === 'string') {
    if (/^[\w .,:+-]*$/.test(value)) return `'${value}'`
    return `_utf8mb4 x'${hexOf(utf8Encoder.encode(value))}'`
  }
  if (value instanceof Uint8Array) return value.length === 0 ? "''" : `x'${hexOf(value)}'`
  return String(typeof value === 'boolean' ? Number(value) : value)
}

/** True = a column without which a row cannot exist. */
export function isKeyColumn(table: TableDefinition, column: ColumnDefinition): boolean {
  return table.key.includes(column) || column === table.shardKey
}

const INTEGER_TEXT = /^-?\d+$/
const REAL_TEXT = /^-?\d+(\.\d+)?(e[+-]?\d+)?$/i
/** A DATE, DATETIME or TIMESTAMP of an adopted table may lack the time, or have microseconds. */
const DATE_TEXT = /^(\d{4}-\d\d-\d\d)(?: (\d\d:\d\d:\d\d)(\.\d{1,6})?)?$/

/** Returns text that it cannot parse unchanged, which the column's type then rejects; undefined = not JSON. */
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
