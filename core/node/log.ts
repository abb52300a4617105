// The Log port on Node: one JSON line per message, on standard error. Invariants: the length of a line is bounded,
// whatever a game or a peer puts into a field; a call never blocks (stdio.ts).

import { pino } from 'pino'

import { boundedLine, type Log } from '../ports/log.ts'
import { placeOf, type Sources } from './sources.ts'
import type { BufferedOutput } from './output.ts'
import { standardError } from './stdio.ts'

export type LogLevel = 'info' | 'warn' | 'error' | 'silent'

/** Lines below `level` are dropped. A line with an error also contains its place in `sources`, and the code there. */
export function jsonLog(
  level: LogLevel = 'info',
  output: BufferedOutput = standardError(),
  sources: Sources = new Map(),
): Log {
  const lines = pino(
    {
      level,
      base: { pid: process.pid },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    output,
  )
  return {
    info: (message, fields) => lines.info(boundedLine(message, fields)),
    warn: (message, fields) => lines.warn(boundedLine(message, fields)),
    error: (message, fields) =>
      lines.error({ ...boundedLine(message, fields), ...placeOf(fields?.['error'], sources) }),
  }
}
