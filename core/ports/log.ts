// Log lines with structured fields. Invariant: a line is bounded and can be written as JSON, whatever a game or a peer puts
// into a field.

import { shorten } from '../wire/errors.ts'

export interface Log {
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}
export type LogFields = Record<string, unknown>

const MAX_FIELDS = 32
const MAX_CAUSES = 3
/** Enough for a stack trace. */
const MAX_CHARACTERS = 2_000
/** Keys of every line; a field of the same name would be a duplicate key in the JSON object. */
const RESERVED_FIELDS: ReadonlySet<string> = new Set(['level', 'time', 'message', 'pid'])

/** Message and fields of one line, for JSON.stringify. */
export function boundedLine(message: string, fields: LogFields | undefined): LogFields {
  const bounded: LogFields = { message: truncate(message) }
  let count = 0
  for (const name in fields) {
    if (++count > MAX_FIELDS) break
    bounded[RESERVED_FIELDS.has(name) ? `${name}_` : truncate(name)] = boundedValue(fields[name])
  }
  return bounded
}

function boundedValue(value: unknown): unknown {
  if (typeof value === 'string') return truncate(value)
  if (typeof value === 'number' || typeof value === 'boolean' || value === null || value === undefined) return value
  if (value instanceof Error) return truncate(errorText(value))
  return shorten(value)
}

/** The stacks of an error and of what caused it. */
export function errorText(error: Error): string {
  let text = error.stack ?? `${error.name}: ${error.message}`
  let { cause } = error
  for (let depth = 0; cause !== undefined && depth < MAX_CAUSES; depth++) {
    text += `\n[cause] ${cause instanceof Error ? (cause.stack ?? cause.message) : shorten(cause)}`
    cause = cause instanceof Error ? cause.cause : undefined
  }
  return text
}

function truncate(text: string): string {
  return text.length > MAX_CHARACTERS ? `${text.slice(0, MAX_CHARACTERS)}…` : text
}
