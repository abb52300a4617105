// Does every value of a column have a place in one that Firefly did not make? Invariant: null is said only where a
// value that is written comes back equal and where keys that differ for us differ for MySQL; in doubt it does not fit.

import type { ColumnDefinition, TableDefinition } from '../game/table.ts'
import type { FoundColumn } from './catalog.ts'

/** Why some value would be refused, changed or taken for another; null when each fits. */
export function misfit(table: TableDefinition, column: ColumnDefinition, found: FoundColumn): string | null {
  const isMade = table.ids === 'auto' && column === table.rest[0]
  if (found.isGenerated) return 'MySQL computes it'
  if (found.isTouched) return 'MySQL changes it at every update of the row'
  if (found.isAuto && !isMade)
    return table.key.includes(column) ? "AUTO_INCREMENT needs ids: 'auto'" : 'AUTO_INCREMENT replaces a 0'
  if (isMade && !found.isAuto) return "ids: 'auto' need AUTO_INCREMENT"
  if (column.nullable && !found.nullable) return 'it takes no NULL'
  const type = partsOf(found.type)
  switch (column.kind) {
    case 'int':
    case 'big':
      return wholeMisfit(boundsOf(column), type)
    case 'real':
      return realMisfit(column, type)
    case 'bool':
      return type.base === 'bit' && type.args === '1' ? null : wholeMisfit([0n, 1n], type)
    case 'decimal':
      return decimalMisfit(column, type)
    case 'text':
      return textMisfit(table, column, found, type)
    case 'bytes':
      return bytesMisfit(table, column, type)
    case 'json':
      return jsonMisfit(found, type)
    default:
      return dateMisfit(type)
  }
}

interface Parts {
  /** `decimal` of `decimal(10,2) unsigned` */
  readonly base: string
  /** `10,2` */
  readonly args: string | undefined
  readonly isUnsigned: boolean
}

function partsOf(type: string): Parts {
  const [, base = '', args, flags = ''] = /^(\w+)(?:\((.*)\))?(.*)$/s.exec(type) ?? []
  return { base: base.toLowerCase(), args, isUnsigned: /\b(unsigned|zerofill)\b/i.test(flags) }
}

const BITS: Readonly<Record<string, bigint>> = {
  tinyint: 8n,
  smallint: 16n,
  mediumint: 24n,
  int: 32n,
  bigint: 64n,
}

function wholeMisfit(
  [min, max]: readonly [bigint, bigint],
  { base, args, isUnsigned }: Parts,
): string | null {
  let [low, high] = [0n, -1n]
  const bits = BITS[base]
  if (bits !== undefined) {
    high = 2n ** (isUnsigned ? bits : bits - 1n) - 1n
    low = isUnsigned ? 0n : -high - 1n
  } else if (base === 'decimal') {
    const [precision, scale] = digitsOf(args)
    // What comes back would not look whole.
    if (scale > 0) return 'it is no whole number'
    high = 10n ** BigInt(precision) - 1n
    low = isUnsigned ? 0n : -high
  } else return 'it is no whole number'
  if (min < low) return `it begins at ${low}, the game's column at ${min}`
  return max > high ? `it ends at ${high}, the game's column at ${max}` : null
}

function boundsOf({ spec }: ColumnDefinition): readonly [bigint, bigint] {
  if ('min' in spec) return [BigInt(spec.min), BigInt(spec.max)]
  return spec.kind === 'u64' ? [0n, 2n ** 64n - 1n] : [-(2n ** 63n), 2n ** 63n - 1n]
}

function realMisfit({ spec }: ColumnDefinition, { base, args, isUnsigned }: Parts): string | null {
  // FLOAT is printed with six digits.
  if (base !== 'double' || args !== undefined) return 'only DOUBLE gives back what was put in'
  return isUnsigned && 'min' in spec && spec.min < 0 ? 'it begins at 0' : null
}

function decimalMisfit({ spec }: ColumnDefinition, { base, args, isUnsigned }: Parts): string | null {
  if (base !== 'decimal' || spec.kind !== 'decimal') return 'only DECIMAL gives back what was put in'
  if (isUnsigned) return 'it begins at 0'
  const [precision, scale] = digitsOf(args)
  if (scale < spec.scale) return `it has ${scale} digits behind the point, the game's column ${spec.scale}`
  const whole = precision - scale
  const wanted = spec.precision - spec.scale
  return whole < wanted ? `it has ${whole} digits before the point, the game's column ${wanted}` : null
}

function digitsOf(args = '10,0'): readonly [precision: number, scale: number] {
  const [precision, scale] = args.split(',').map(Number)
  return [precision!, scale ?? 0]
}

/** In bytes. */
const CAPACITY: Readonly<Record<string, number>> = {
  tiny: 255,
  '': 65_535,
  medium: 16_777_215,
  long: 4_294_967_295,
}
/** One UTF-16 unit takes at most so many of utf8mb4; a pair of them takes 4. */
const UTF8_BYTES = 3

function textMisfit(
  table: TableDefinition,
  column: ColumnDefinition,
  found: FoundColumn,
  { base, args }: Parts,
): string | null {
  const { spec } = column
  const values = spec.kind === 'oneOf' ? spec.values : null
  if (base === 'enum') return enumMisfit(values, args, isIndexed(table, column))
  const max = values ? Math.max(...values.map(({ length }) => length)) : 'max' in spec ? spec.max : 0
  if (base === 'varchar' || base === 'char') {
    if (Number(args ?? 1) < max) return `it ends at ${args ?? 1} characters, the game's column at ${max}`
    const mayEndInSpace = values ? values.some((value) => value.endsWith(' ')) : spec.kind !== 'id'
    if (base === 'char' && mayEndInSpace) return 'CHAR drops spaces at the end'
  } else {
    const [, size] = /^(tiny|medium|long|)text$/.exec(base) ?? []
    const room = size === undefined ? undefined : CAPACITY[size]
    if (room === undefined) return 'text needs VARCHAR or TEXT'
    if (isIndexed(table, column)) return 'MySQL cannot index a whole TEXT'
    if (room < max * UTF8_BYTES)
      return `it ends at ${room} bytes, the game's column at ${max * UTF8_BYTES} of them`
  }
  const isAscii = spec.kind === 'id' || values?.every((value) => !/[^ -~]/.test(value))
  if (found.charset !== 'utf8mb4' && !isAscii) return lossy(found)
  // Others take `bob` for `Bob`, or an `é` for another spelling of it.
  const mustTell = table.key.includes(column) || table.unique.includes(column)
  if (mustTell && !found.collation?.endsWith('_bin'))
    return `by ${found.collation} different texts are equal, so that keys would collide; it must end in _bin`
  return null
}

function enumMisfit(values: readonly string[] | null, args = '', isKey: boolean): string | null {
  // Sorted by place, compared as text: pages of rows would have gaps.
  if (!values || isKey) return 'text needs VARCHAR or TEXT'
  const known = new Set(
    [...args.matchAll(/'((?:[^']|'')*)'/g)].map(([, value]) => value!.replaceAll("''", "'")),
  )
  const missing = values.find((value) => !known.has(value))
  return missing === undefined ? null : `it has no ${JSON.stringify(missing)}`
}

function bytesMisfit(table: TableDefinition, column: ColumnDefinition, { base, args }: Parts): string | null {
  const max = column.spec.kind === 'bytes' ? column.spec.max : 0
  const [, size] = /^(tiny|medium|long|)blob$/.exec(base) ?? []
  const room = size === undefined ? (base === 'varbinary' ? Number(args) : undefined) : CAPACITY[size]
  if (room === undefined) return base === 'binary' ? 'BINARY adds zeros' : 'bytes need VARBINARY or BLOB'
  if (size !== undefined && isIndexed(table, column)) return 'MySQL cannot index a whole BLOB'
  return room < max ? `it ends at ${room} bytes, the game's column at ${max}` : null
}

function jsonMisfit(found: FoundColumn, { base }: Parts): string | null {
  if (base === 'json') return null
  if (base !== 'longtext') return 'JSON of any length needs LONGTEXT or JSON'
  return found.charset === 'utf8mb4' ? null : lossy(found)
}

function dateMisfit({ base, args }: Parts): string | null {
  if (base !== 'datetime') return 'the years 1000 to 9999 with milliseconds need DATETIME(3)'
  return Number(args ?? 0) >= 3 ? null : 'it loses the milliseconds'
}

function isIndexed({ key, shardKey, by, unique }: TableDefinition, column: ColumnDefinition): boolean {
  return [...key, shardKey, ...by, ...unique].includes(column)
}

function lossy({ charset }: FoundColumn): string {
  return charset === null
    ? 'it has no character set'
    : `CHARACTER SET ${charset} does not hold every character; utf8mb4 does`
}
