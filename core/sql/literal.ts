// Statements as text, with their parameters as literals. Invariant: whatever a parameter contains, it stays one literal.
// Backslashes are escaped, so the session's sql_mode must not contain NO_BACKSLASH_ESCAPES.

import { hexOf } from '../wire/bytes.ts'
import type { SqlStatement, SqlValue } from './client.ts'

const MAX_SQL_LENGTH = 200
const ESCAPES: Readonly<Record<string, string>> = { "'": "''", '\\': '\\\\', '\0': '\\0' }

/** @throws TypeError, RangeError on a bug */
export function renderStatement({ sql, params }: SqlStatement, toHex: (bytes: Uint8Array) => string = hexOf): string {
  const parts = sql.split('?')
  const excerpt = sql.slice(0, MAX_SQL_LENGTH)
  if (parts.length !== params.length + 1)
    throw new RangeError(`${params.length} parameters for ${parts.length - 1} placeholders: ${excerpt}`)
  let text = parts[0]!
  for (const [index, value] of params.entries()) {
    const literal = literalOf(value, toHex)
    if (literal === null) {
      const actual = typeof value === 'number' ? String(value) : typeof value
      throw new TypeError(`parameter ${index} is not a SQL value: ${actual}: ${excerpt}`)
    }
    text += literal + parts[index + 1]!
  }
  return text
}

/** Replaces a lone surrogate by U+FFFD, because the server's JSON parser would reject the request. */
function literalOf(value: SqlValue, toHex: (bytes: Uint8Array) => string): string | null {
  if (value === null) return 'NULL'
  if (typeof value === 'string') return `'${value.toWellFormed().replace(/['\\\0]/g, (char) => ESCAPES[char]!)}'`
  if (typeof value === 'number') return Number.isFinite(value) ? String(value) : null
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'boolean') return value ? '1' : '0'
  return value instanceof Uint8Array ? `X'${toHex(value)}'` : null
}
