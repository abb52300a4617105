// The log of a process: one JSON line each on stderr, the message in front. No line is longer than its bounds allow,
// whatever a game or a peer put into a field; a line is written before the call returns, so a crash loses none.

import { destination, pino } from 'pino'

import type { Log, LogFields } from '../run/ports.ts'
import { shorten } from '../wire/errors.ts'

export type LogLevel = 'info' | 'warn' | 'error' | 'silent'

const STDERR = 2
const MAX_FIELDS = 32
/** Holds a stack trace. */
const MAX_CHARACTERS = 2_000
/** What a line has already; a field of the same name would be a second key in the same JSON object. */
const TAKEN: ReadonlySet<string> = new Set(['level', 'time', 'message', 'pid'])

/** Lines below `level` are dropped. `fd` is where they go, standard error unless told. */
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
    info: (message, fields) => lines.info(line(message, fields)),
    warn: (message, fields) => lines.warn(line(message, fields)),
    error: (message, fields) => lines.error(line(message, fields)),
  }
}

function line(message: string, fields: LogFields | undefined): LogFields {
  const bounded: LogFields = { message: cut(message) }
  let count = 0
  for (const name in fields) {
    if (++count > MAX_FIELDS) break
    bounded[TAKEN.has(name) ? `${name}_` : cut(name)] = bound(fields[name])
  }
  return bounded
}

function bound(value: unknown): unknown {
  if (typeof value === 'string') return cut(value)
  if (typeof value === 'number' || typeof value === 'boolean' || value === null || value === undefined)
    return value
  if (value instanceof Error) return cut(value.stack ?? value.message)
  return shorten(value)
}

function cut(text: string): string {
  return text.length > MAX_CHARACTERS ? `${text.slice(0, MAX_CHARACTERS)}…` : text
}
