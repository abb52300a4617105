// MySQL's type for each column, and the bytes it takes in a row and in an index. Invariant: CREATE TABLE and the size checks
// use the same values, so MySQL accepts every table that `table` accepts.

import type { TypeSpec } from '../wire/schema.ts'

export interface ColumnStorage {
  /** Without NULL and DEFAULT, such as `SMALLINT UNSIGNED`. */
  readonly type: string
  /** Counted in MySQL's limit of 65,535 for a row, with the bytes of its length. */
  readonly bytes: number
  /** Counted in InnoDB's limit of half a page: bytes that cannot be moved to an overflow page. */
  readonly inlineBytes: number
  /** Counted in the limit of 3,072 for an index. */
  readonly keyBytes: number
}

interface StorageColumn {
  readonly name: string
  readonly spec: TypeSpec
}
/** The part of a table that determines its indexes. */
interface TableKeys<C extends StorageColumn> {
  readonly key: readonly C[]
  readonly keyInShard: readonly C[]
  readonly by: readonly C[]
  readonly unique: readonly C[]
  readonly shardKey: C
  readonly ids: 'given' | 'generated' | 'auto'
}

export interface TableIndex<C extends StorageColumn> {
  readonly name: string
  readonly isUnique: boolean
  readonly columns: readonly C[]
}

/** Longer columns become MEDIUMTEXT and MEDIUMBLOB: the row contains only a pointer. */
const MAX_VARCHAR = 1_000
const MAX_VARBINARY = 4_000
/** MySQL's MEDIUMTEXT and MEDIUMBLOB, in bytes. */
const MAX_MEDIUM = 0xff_ffff
/** Maximum per UTF-16 unit: a surrogate pair takes 4 bytes. */
const UTF8_BYTES = 3
/** MySQL reserves this for a character of utf8mb4. */
const CHAR_BYTES = 4
/** The default collation of MariaDB ignores case, that of MySQL 8 ignores accents too. */
const TEXT = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin'
/** InnoDB never moves a column of at most 255 bytes; of a movable one up to 40 bytes can remain in the row (DYNAMIC). */
const MAX_INLINE_COLUMN_BYTES = 255
const OVERFLOW_PREFIX_BYTES = 40

/** MySQL's 65,535 minus the NULL bits of 90 columns. Counts only the pointers of BLOB and TEXT columns. */
const MAX_ROW_BYTES = 65_500
/** InnoDB's 8,126 minus the row's header, hidden columns, NULL bits and the metadata of instant ADD COLUMNs. */
const MAX_INLINE_BYTES = 8_080
const MAX_KEY_BYTES = 3_072
/**
 * InnoDB writes an undo record before it changes a row, in one page of 16,384 (error 1713). The rest is for page headers
 * and the references of columns outside of the row; MySQL 9.7 takes 16,176 bytes with 11 columns, MariaDB more.
 */
const MAX_UNDO_BYTES = 16_000
/** Number and length of a column, in both parts of an undo record. */
const UNDO_COLUMN_BYTES = 8
/** MySQL's limit; MariaDB allows 32. */
const MAX_KEY_COLUMNS = 16
/** MariaDB counts the primary key as one of its 64. */
const MAX_INDEXES = 63
/** A message names this many columns, the largest first. */
const MAX_NAMED = 4

export function storageOf(spec: TypeSpec): ColumnStorage {
  switch (spec.kind) {
    case 'id':
      return varying('VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin', 64)
    case 'string':
      return textOf(spec.max)
    case 'oneOf':
      return textOf(longest(spec.values))
    case 'bytes':
      if (spec.max <= MAX_VARBINARY) return varying(`VARBINARY(${Math.max(1, spec.max)})`, Math.max(1, spec.max))
      return large('BLOB', spec.max)
    case 'decimal':
      return fixed(
        `DECIMAL(${spec.precision}, ${spec.scale})`,
        digitBytes(spec.precision - spec.scale) + digitBytes(spec.scale),
      )
    case 'i64':
      return fixed('BIGINT', 8)
    case 'u64':
      return fixed('BIGINT UNSIGNED', 8)
    case 'bool':
      return fixed('TINYINT(1)', 1)
    case 'date':
      return fixed('DATETIME(3)', 7)
    case 'f32':
    case 'f64':
      return fixed('DOUBLE', 8)
    default:
      // Not the JSON type: it sorts keys, drops duplicates, and the driver determines the form of the result.
      return 'min' in spec ? intOf(spec.min, spec.max) : large('TEXT', Infinity)
  }
}

/** The indexes besides the primary key. A prefix of the primary key needs no index of its own. */
export function indexesOf<C extends StorageColumn>(table: TableKeys<C>): TableIndex<C>[] {
  const { key, keyInShard, by, unique, shardKey } = table
  const indexes: TableIndex<C>[] = []
  const add = (prefix: string, columns: readonly C[]): void => {
    // MySQL allows 64 characters for a name; the column's name has up to 63.
    const name = `${prefix}_${columns.at(-1)!.name}`.slice(0, 64)
    indexes.push({ name, isUnique: prefix === 'unique', columns })
  }
  if (key[0] !== shardKey) add('shard', [shardKey])
  // InnoDB finds the next AUTO_INCREMENT value at the end of an index.
  if (table.ids === 'auto' && key[0] !== keyInShard[0]) add('auto', [keyInShard[0]!])
  for (const column of by) if (key[0] !== shardKey || key[1] !== column) add('by', [shardKey, column])
  for (const column of unique) if (key.length > 1 || key[0] !== column) add('unique', [column])
  return indexes
}

/** @param fail is called with the reason why MySQL would reject the table or a full row of it */
export function checkStorage<C extends StorageColumn>(
  columns: readonly C[],
  table: TableKeys<C>,
  fail: (why: string) => never,
): void {
  const { key } = table
  const row = measure(columns, ({ spec }) => storageOf(spec).bytes)
  if (row.sum > MAX_ROW_BYTES)
    fail(
      `its columns take ${row.sum} bytes of a row (${row.largest}), which exceeds ${MAX_ROW_BYTES}; ` +
        `a t.string above ${MAX_VARCHAR}, t.bytes above ${MAX_VARBINARY} or an object is stored outside the row`,
    )
  const page = measure(columns, (column) => {
    const { bytes, inlineBytes } = storageOf(column.spec)
    return key.includes(column) ? bytes : inlineBytes
  })
  if (page.sum > MAX_INLINE_BYTES)
    fail(
      `its columns take ${page.sum} bytes of a page (${page.largest}), which exceeds ${MAX_INLINE_BYTES}; ` +
        `outside the key an object or a t.string of 64 or more takes ${OVERFLOW_PREFIX_BYTES + 1} bytes of it`,
    )
  const indexes = indexesOf(table)
  if (indexes.length > MAX_INDEXES)
    fail(`${indexes.length} indexes exceed ${MAX_INDEXES}: by and unique list too many columns`)
  const names = new Set<string>()
  for (const { name } of indexes) {
    if (names.has(name.toLowerCase())) fail(`by or unique needs the index ${name} twice`)
    names.add(name.toLowerCase())
  }
  if (key.length > MAX_KEY_COLUMNS) fail(`${key.length} key columns exceed ${MAX_KEY_COLUMNS}`)
  checkKey('the key', key, fail)
  for (const index of indexes) checkKey(`the index ${index.name}`, index.columns, fail)
  checkUndo(columns, key, indexes, fail)
}

/**
 * The undo record of a changed row: its key, the changed columns, and then key and indexed columns once more. An indexed
 * column counts completely, because MySQL also writes the part that is stored outside of the row; of the others only
 * what fits into the page.
 */
function checkUndo<C extends StorageColumn>(
  columns: readonly C[],
  key: readonly C[],
  indexes: readonly TableIndex<C>[],
  fail: (why: string) => never,
): void {
  const keyBytes = (column: C): number => storageOf(column.spec).keyBytes
  const indexed = [...new Set([...key, ...indexes.flatMap((index) => index.columns)])]
  const { sum, largest } = measure(indexed, keyBytes)
  const others = columns.filter((column) => !indexed.includes(column))
  const otherBytes = measure(others, ({ spec }) => {
    const storage = storageOf(spec)
    return storage.keyBytes === Infinity ? MAX_INLINE_BYTES : storage.bytes
  }).sum
  const undoBytes = 2 * sum + Math.min(otherBytes, MAX_INLINE_BYTES) + UNDO_COLUMN_BYTES * columns.length
  if (undoBytes > MAX_UNDO_BYTES)
    fail(
      `a changed row's undo record takes ${undoBytes} bytes (key and indexes: ${largest}), which exceeds ${MAX_UNDO_BYTES}; ` +
        'by and unique list too many or too long columns',
    )
}

/** The longest of the values, in UTF-16 units. */
export function longest(values: readonly string[]): number {
  return Math.max(...values.map((value) => value.length))
}

function checkKey(what: string, columns: readonly StorageColumn[], fail: (why: string) => never): void {
  const { sum, largest } = measure(columns, ({ spec }) => storageOf(spec).keyBytes)
  if (sum > MAX_KEY_BYTES) fail(`${what} takes ${sum} bytes (${largest}), which exceeds ${MAX_KEY_BYTES}`)
}

function measure<C extends StorageColumn>(
  columns: readonly C[],
  bytesOf: (column: C) => number,
): { readonly sum: number; readonly largest: string } {
  const sizes = columns.map((column) => ({ name: column.name, bytes: bytesOf(column) }))
  const named = sizes.toSorted((a, b) => b.bytes - a.bytes).slice(0, MAX_NAMED)
  const more = sizes.length > MAX_NAMED ? [`${sizes.length - MAX_NAMED} more`] : []
  return {
    sum: sizes.reduce((sum, { bytes }) => sum + bytes, 0),
    largest: [...named.map(({ name, bytes }) => `${name} ${bytes}`), ...more].join(', '),
  }
}

function fixed(type: string, bytes: number): ColumnStorage {
  return { type, bytes, inlineBytes: bytes, keyBytes: bytes }
}

function varying(type: string, keyBytes: number): ColumnStorage {
  const bytes = keyBytes + (keyBytes > MAX_INLINE_COLUMN_BYTES ? 2 : 1)
  return { type, bytes, inlineBytes: keyBytes > MAX_INLINE_COLUMN_BYTES ? OVERFLOW_PREFIX_BYTES + 1 : bytes, keyBytes }
}

/** MySQL counts code points, of which a text has at most as many as UTF-16 units. */
function textOf(maxUnits: number): ColumnStorage {
  const chars = Math.max(1, maxUnits)
  if (maxUnits <= MAX_VARCHAR) return varying(`VARCHAR(${chars}) ${TEXT}`, CHAR_BYTES * chars)
  return large('TEXT', maxUnits * UTF8_BYTES)
}

/** The row contains a length of 3 or 4 bytes and a pointer of 8. */
function large(type: 'TEXT' | 'BLOB', maxBytes: number): ColumnStorage {
  const [size, bytes] = maxBytes <= MAX_MEDIUM ? (['MEDIUM', 11] as const) : (['LONG', 12] as const)
  const charset = type === 'TEXT' ? ` ${TEXT}` : ''
  return { type: `${size}${type}${charset}`, bytes, inlineBytes: OVERFLOW_PREFIX_BYTES + 1, keyBytes: Infinity }
}

/** Nine digits take four bytes; the remaining digits take two per byte, rounded up. */
function digitBytes(digits: number): number {
  return Math.floor(digits / 9) * 4 + Math.ceil((digits % 9) / 2)
}

function intOf(min: number, max: number): ColumnStorage {
  for (const [name, bits] of Object.entries({ TINYINT: 8, SMALLINT: 16, INT: 32 })) {
    if (min >= 0 && max < 2 ** bits) return fixed(`${name} UNSIGNED`, bits / 8)
    if (min >= -(2 ** (bits - 1)) && max < 2 ** (bits - 1)) return fixed(name, bits / 8)
  }
  return fixed(min >= 0 ? 'BIGINT UNSIGNED' : 'BIGINT', 8)
}
