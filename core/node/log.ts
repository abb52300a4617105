// The Log port on Node: one JSON line per message. Invariants: the length of a line is bounded, whatever a game or a
// peer puts into a field; a line is written before the call returns, so a crash loses none.

import { destination, pino } from 'pino'

import type { Log, LogFields } from '../ports/log.ts'
import { shorten } from '../wire/errors.ts'

export type LogLevel = 'info' | 'warn' | 'error' | 'silent'

const STDERR = 2
const MAX_FIELDS = 32
/** Enough for a stack trace. */
const MAX_CHARACTERS = 2_000
/** Keys of every line; a field of the same name would be a duplicate key in the JSON object. */
const RESERVED_FIELDS: ReadonlySet<string> = new Set(['level', 'time', 'message', 'pid'])

/** Lines below `level` are dropped. @param fd receives the lines; standard error by default */
export function jsonLog(level: LogLevel = 'info', fd: number = STDERR): Log {
  const lines = pino(
    {
      level,
      base: { pid: process.pid },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination({ fd, sync: true }),
  )
  return {
    info: (message, fields) => lines.info(boundedLine(message, fields)),
    warn: (message, fields) => lines.warn(boundedLine(message, fields)),
    error: (message, fields) => lines.error(boundedLine(message, fields)),
  }
}

function boundedLine(message: string, fields: LogFields | undefined): LogFields {
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
  if (value instanceof Error) return truncate(value.stack ?? value.message)
  return shorten(value)
}

function truncate(text: string): string {
  return text.length > MAX_CHARACTERS ? `${text.slice(0, MAX_CHARACTERS)}…` : text
}
