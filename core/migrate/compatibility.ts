// Checks whether a column that Firefly did not create holds every value of the game's column. Invariant: a column is
// compatible only if written values read back equal, and keys that differ in the game differ in MySQL.

import type { ColumnDefinition, TableDefinition } from '../game/table.ts'
import type { FoundColumn } from '../sql/catalog.ts'

/** Why MySQL would refuse or change some value, or treat two values as equal; null = compatible. */
export function typeMismatch(table: TableDefinition, column: ColumnDefinition, found: FoundColumn): string | null {
  const isAutoIncrement = table.ids === 'auto' && column === table.keyInShard[0]
  if (found.isGenerated) return 'MySQL computes it'
  if (found.hasOnUpdate) return 'MySQL changes it at every update of the row'
  if (found.isAutoIncrement && !isAutoIncrement)
    return table.key.includes(column) ? "AUTO_INCREMENT needs ids: 'auto'" : 'AUTO_INCREMENT replaces a 0'
  if (isAutoIncrement && !found.isAutoIncrement) return "ids: 'auto' needs AUTO_INCREMENT"
  if (column.nullable && !found.nullable) return 'it does not allow NULL'
  const type = parseType(found.type)
  switch (column.kind) {
    case 'int':
    case 'big':
      return integerMismatch(boundsOf(column), type)
    case 'real':
      return realMismatch(column, type)
    case 'bool':
      return type.base === 'bit' && type.args === '1' ? null : integerMismatch([0n, 1n], type)
    case 'decimal':
      return decimalMismatch(column, type)
    case 'text':
      return textMismatch(table, column, found, type)
    case 'bytes':
      return bytesMismatch(table, column, type)
    case 'json':
      return jsonMismatch(found, type)
    default:
      return dateMismatch(type)
  }
}

interface TypeParts {
  /** `decimal` of `decimal(10,2) unsigned` */
  readonly base: string
  /** `10,2` */
  readonly args: string | undefined
  readonly isUnsigned: boolean
}

function parseType(type: string): TypeParts {
  const [, base = '', args, flags = ''] = /^(\w+)(?:\((.*)\))?(.*)$/s.exec(type) ?? []
  return { base: base.toLowerCase(), args, isUnsigned: /\b(unsigned|zerofill)\b/i.test(flags) }
}

const INTEGER_BITS: Readonly<Record<string, bigint>> = {
  tinyint: 8n,
  smallint: 16n,
  mediumint: 24n,
  int: 32n,
  bigint: 64n,
}

function integerMismatch([min, max]: readonly [bigint, bigint], { base, args, isUnsigned }: TypeParts): string | null {
  let [foundMin, foundMax] = [0n, -1n]
  const bits = INTEGER_BITS[base]
  if (bits !== undefined) {
    foundMax = 2n ** (isUnsigned ? bits : bits - 1n) - 1n
    foundMin = isUnsigned ? 0n : -foundMax - 1n
  } else if (base === 'decimal') {
    const [precision, scale] = digitsOf(args)
    // MySQL would return digits after the point.
    if (scale > 0) return NOT_INTEGER
    foundMax = 10n ** BigInt(precision) - 1n
    foundMin = isUnsigned ? 0n : -foundMax
  } else return NOT_INTEGER
  if (min < foundMin) return `its minimum is ${foundMin}, that of the game's column ${min}`
  return max > foundMax ? `its maximum is ${foundMax}, that of the game's column ${max}` : null
}

const NOT_INTEGER = 'it is not an integer type'
const MINIMUM_ZERO = 'its minimum is 0'

function boundsOf({ spec }: ColumnDefinition): readonly [bigint, bigint] {
  if ('min' in spec) return [BigInt(spec.min), BigInt(spec.max)]
  return spec.kind === 'u64' ? [0n, 2n ** 64n - 1n] : [-(2n ** 63n), 2n ** 63n - 1n]
}

function realMismatch({ spec }: ColumnDefinition, { base, args, isUnsigned }: TypeParts): string | null {
  // MySQL prints a FLOAT with six digits.
  if (base !== 'double' || args !== undefined) return 'only DOUBLE returns every value unchanged'
  return isUnsigned && 'min' in spec && spec.min < 0 ? MINIMUM_ZERO : null
}

function decimalMismatch({ spec }: ColumnDefinition, { base, args, isUnsigned }: TypeParts): string | null {
  if (base !== 'decimal' || spec.kind !== 'decimal') return 'only DECIMAL returns every value unchanged'
  if (isUnsigned) return MINIMUM_ZERO
  const [precision, scale] = digitsOf(args)
  if (scale < spec.scale) return `it has ${scale} digits after the point, the game's column ${spec.scale}`
  const integerDigits = precision - scale
  const neededDigits = spec.precision - spec.scale
  return integerDigits < neededDigits
    ? `it has ${integerDigits} digits before the point, the game's column ${neededDigits}`
    : null
}

function digitsOf(args = '10,0'): readonly [precision: number, scale: number] {
  const [precision, scale] = args.split(',').map(Number)
  return [precision!, scale ?? 0]
}

/** By the prefix of the type. */
const CAPACITY_BYTES: Readonly<Record<string, number>> = {
  tiny: 255,
  '': 65_535,
  medium: 16_777_215,
  long: 4_294_967_295,
}
/** Maximum bytes of one UTF-16 unit in utf8mb4; a surrogate pair takes 4. */
const MAX_UTF8_BYTES_PER_UNIT = 3

function textMismatch(
  table: TableDefinition,
  column: ColumnDefinition,
  found: FoundColumn,
  { base, args }: TypeParts,
): string | null {
  const { spec } = column
  const values = spec.kind === 'oneOf' ? spec.values : null
  if (base === 'enum') return enumMismatch(values, args, isIndexed(table, column))
  const max = values ? Math.max(...values.map(({ length }) => length)) : 'max' in spec ? spec.max : 0
  if (base === 'varchar' || base === 'char') {
    if (Number(args ?? 1) < max) return `its maximum is ${args ?? 1} characters, that of the game's column ${max}`
    const mayEndInSpace = values ? values.some((value) => value.endsWith(' ')) : spec.kind !== 'id'
    if (base === 'char' && mayEndInSpace) return 'CHAR removes trailing spaces'
  } else {
    const [, size] = /^(tiny|medium|long|)text$/.exec(base) ?? []
    const capacity = size === undefined ? undefined : CAPACITY_BYTES[size]
    if (capacity === undefined) return 'text needs VARCHAR or TEXT'
    if (isIndexed(table, column)) return 'MySQL cannot index a whole TEXT'
    if (capacity < max * MAX_UTF8_BYTES_PER_UNIT) return bytesExceeded(capacity, max * MAX_UTF8_BYTES_PER_UNIT)
  }
  const isAscii = spec.kind === 'id' || values?.every((value) => !/[^ -~]/.test(value))
  if (found.charset !== 'utf8mb4' && !isAscii) return charsetMismatch(found)
  // Other collations treat `bob` and `Bob`, or two spellings of `é`, as equal.
  const mustDistinguish = table.key.includes(column) || table.unique.includes(column)
  if (mustDistinguish && !found.collation?.endsWith('_bin'))
    return `${found.collation} treats different keys as equal; a collation with _bin is needed`
  return null
}

function bytesExceeded(capacity: number, max: number): string {
  return `its maximum is ${capacity} bytes, that of the game's column ${max}`
}

function enumMismatch(values: readonly string[] | null, args = '', isIndexed: boolean): string | null {
  // MySQL sorts an ENUM by position and compares it as text, so pages of rows would have gaps.
  if (!values || isIndexed) return 'text needs VARCHAR or TEXT'
  const enumValues = new Set([...args.matchAll(/'((?:[^']|'')*)'/g)].map(([, value]) => value!.replaceAll("''", "'")))
  const missing = values.find((value) => !enumValues.has(value))
  return missing === undefined ? null : `it lacks ${JSON.stringify(missing)}`
}

function bytesMismatch(table: TableDefinition, column: ColumnDefinition, { base, args }: TypeParts): string | null {
  const max = column.spec.kind === 'bytes' ? column.spec.max : 0
  const [, size] = /^(tiny|medium|long|)blob$/.exec(base) ?? []
  const capacity = size === undefined ? (base === 'varbinary' ? Number(args) : undefined) : CAPACITY_BYTES[size]
  if (capacity === undefined) return base === 'binary' ? 'BINARY adds zeros' : 'bytes need VARBINARY or BLOB'
  if (size !== undefined && isIndexed(table, column)) return 'MySQL cannot index a whole BLOB'
  return capacity < max ? bytesExceeded(capacity, max) : null
}

function jsonMismatch(found: FoundColumn, { base }: TypeParts): string | null {
  if (base === 'json') return null
  if (base !== 'longtext') return 'JSON of any length needs LONGTEXT or JSON'
  return found.charset === 'utf8mb4' ? null : charsetMismatch(found)
}

function dateMismatch({ base, args }: TypeParts): string | null {
  if (base !== 'datetime') return 'the years 1000 to 9999 with milliseconds need DATETIME(3)'
  return Number(args ?? 0) >= 3 ? null : 'it drops the milliseconds'
}

function isIndexed({ key, shardKey, by, unique }: TableDefinition, column: ColumnDefinition): boolean {
  return [...key, shardKey, ...by, ...unique].includes(column)
}

function charsetMismatch({ charset }: FoundColumn): string {
  return charset === null
    ? 'it has no character set'
    : `CHARACTER SET ${charset} lacks some characters; utf8mb4 has them all`
}
