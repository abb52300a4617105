// Keys of rows: their order, their text in messages, and generated ids. Invariant: the order of keys is that of SQLite
// and of MySQL's utf8mb4_bin.

import type { ColumnDefinition, TableDefinition } from '../game/table.ts'
import { shorten } from '../wire/errors.ts'
import type { Clock } from '../ports/clock.ts'
import type { Row, RowKey } from '../ports/store.ts'

/** The values of a row's primary key. */
export function rowKeyOf(table: TableDefinition, row: Row): RowKey {
  return table.key.map(({ name }) => row[name])
}

/** Compares two keys of one table, as both databases sort them. */
export function compareKeys(a: RowKey, b: RowKey): number {
  for (let i = 0; i < a.length; i++) {
    const order = compare(a[i], b[i])
    if (order !== 0) return order
  }
  return 0
}

function compare(a: unknown, b: unknown): number {
  if (typeof a === 'string' && typeof b === 'string') return compareText(a, b)
  if (a instanceof Uint8Array && b instanceof Uint8Array) return compareBytes(a, b)
  const [x, y] = [a as number, b as number]
  return x < y ? -1 : x > y ? 1 : 0
}

/** Compares by code point, as UTF-8 bytes sort. By UTF-16 unit, characters above U+FFFF would sort before U+E000. */
function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)]
    if (x === y) continue
    return (isSurrogate(x) ? x + 0x1_0000 : x) - (isSurrogate(y) ? y + 0x1_0000 : y)
  }
  return a.length - b.length
}

function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!
  return a.length - b.length
}

/** The columns that distinguish rows of one shard: the key without the shard key, if other columns are left. */
export function keyColumns({ key, keyInShard: rest }: TableDefinition): readonly ColumnDefinition[] {
  return rest.length > 0 ? rest : key
}

/** The values of those columns, for a message. */
export function describeKey(table: TableDefinition, key: RowKey): string {
  const columns = keyColumns(table)
  const maxChars = Math.max(16, Math.floor(80 / columns.length))
  return columns.map((column) => shorten(key[table.key.indexOf(column)], maxChars)).join(', ')
}

/** Crockford's base 32, ascending, so that ids sort by time. */
const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** A ULID, 26 characters: 48 bits of time, so that new rows are neighbours in an index, then 80 random bits. */
export function newRowId(clock: Clock): string {
  let time = clock.now()
  let id = ''
  for (let i = 0; i < 10; i++) {
    id = DIGITS[time % 32]! + id
    time = Math.floor(time / 32)
  }
  const random = clock.id()
  for (let i = 0; i < 16; i++) id += DIGITS[random[i]! & 31]!
  return id
}
