// Values that a JavaScript number would round, and dates: 64-bit integers as bigint, decimals as text. Invariant: values are
// exact; a number is accepted as a 64-bit integer only if it is a safe integer.

import { DefinitionError, shorten } from './errors.ts'
import { INVALID, Descriptor, mismatch, type Type } from './schema.ts'

/** Range of MySQL's DATETIME, in which all drivers print the same text: the years 1000 to 9999. */
const FIRST_MS = Date.UTC(1000, 0, 1)
const LAST_MS = Date.UTC(9999, 11, 31, 23, 59, 59, 999)
/** Bounds of MySQL's DECIMAL. */
const MAX_PRECISION = 65
const MAX_SCALE = 30

export const i64 = bigintType('i64', -(2n ** 63n), 2n ** 63n - 1n)
export const u64 = bigintType('u64', 0n, 2n ** 64n - 1n)

/** Exact: text such as "-12.50" with at most `precision` digits, `scale` of them after the point. */
export function decimal(precision: number, scale: number): Type<string> {
  const fits =
    Number.isInteger(precision) && Number.isInteger(scale) && precision >= 1 && scale >= 0 && scale <= precision
  if (!fits || precision > MAX_PRECISION || scale > MAX_SCALE)
    throw new DefinitionError(
      `t.decimal(${precision}, ${scale}): 1..${MAX_PRECISION} digits, 0..${MAX_SCALE} of them after the point`,
    )
  const read = (value: unknown): string | typeof INVALID => {
    if (typeof value !== 'string' || value.length > MAX_PRECISION + 3) return INVALID
    const [, sign, whole, part = ''] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(value) ?? []
    if (whole === undefined) return INVALID
    const digits = whole.replace(/^0+(?=\d)/, '')
    const tail = part.replace(/0+$/, '')
    if (tail.length > scale || (digits === '0' ? 0 : digits.length) > precision - scale) return INVALID
    const number = scale === 0 ? digits : `${digits}.${tail.padEnd(scale, '0')}`
    return sign === '-' && /[1-9]/.test(number) ? `-${number}` : number
  }
  return new Descriptor<string>({ kind: 'decimal', precision, scale }, read, (value) =>
    typeof value === 'string'
      ? {
          message: `${shorten(value)} is not a decimal of ${precision} digits, ${scale} after the point`,
          path: [],
        }
      : mismatch('decimal', value),
  )
}

/** A date in whole milliseconds, in the years 1000 to 9999. */
export const date: Type<Date> = new Descriptor<Date>(
  { kind: 'date' },
  (value) => {
    if (!(value instanceof Date)) return INVALID
    const ms = value.getTime()
    return ms >= FIRST_MS && ms <= LAST_MS ? value : INVALID
  },
  (value) => {
    if (!(value instanceof Date)) return mismatch('date', value)
    const ms = value.getTime()
    const what = Number.isNaN(ms) ? 'an invalid date' : value.toISOString()
    return { message: `${what} is outside the years 1000..9999`, path: [] }
  },
)

function bigintType(kind: 'i64' | 'u64', min: bigint, max: bigint): Type<bigint> {
  return new Descriptor<bigint>(
    { kind },
    (value) => {
      if (typeof value === 'number') return Number.isSafeInteger(value) && value >= min ? BigInt(value) : INVALID
      return typeof value === 'bigint' && value >= min && value <= max ? value : INVALID
    },
    (value) => {
      if (typeof value === 'bigint') return { message: `${shorten(String(value))} is outside ${min}..${max}`, path: [] }
      if (typeof value !== 'number') return mismatch(kind, value)
      const why = Number.isSafeInteger(value) ? `is outside ${min}..${max}` : 'is not a safe integer: use a bigint'
      return { message: `${value} ${why}`, path: [] }
    },
  )
}
