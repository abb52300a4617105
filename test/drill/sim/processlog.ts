// The log of a process in the trace. Invariant: a line that no correct run writes is a violation.

import type { Log, LogFields } from '../../../core/ports/log.ts'
import type { SimEnvironment } from './environment.ts'
import type { ProcessLifetime } from './lifetime.ts'
import type { Profile } from './profile.ts'

/** Messages that mean a bug, and when they do not. Each matches a message of the product (test/system/sim.test.ts). */
export const LOG_ALARMS: readonly (readonly [
  message: RegExp,
  isExpected: (fields: LogFields, profile: Profile) => boolean,
])[] = [
  // A login waits for another shard, which can be unavailable.
  [/a handler threw/, ({ shard }) => !String(shard).startsWith('purse/')],
  [/the answer of a cast failed too often/, () => false],
  [/an internal error closes a connection/, () => false],
  [/an acknowledged turn is lost/, (_, { faults }) => faults.has('loss')],
  [/MySQL refused a/, (_, { poison }) => poison],
  [/could not be taken back/, (_, { faults }) => faults.has('disk')],
  [/could not be dropped/, () => false],
  [
    /MySQL takes nothing|the flush to MySQL failed/,
    ({ error }) => /^DatabaseError: |the disk failed$/.test(String(error)),
  ],
  [/the activation ends/, ({ cause }) => !/which (is there|is not there|exists|does not exist)/.test(String(cause))],
]

export function logOf(
  { trace, log, profile }: Pick<SimEnvironment, 'trace' | 'log' | 'profile'>,
  lifetime: ProcessLifetime,
): Log {
  const write =
    (level: string) =>
    (message: string, fields: LogFields = {}): void => {
      if (lifetime.isOver) return
      const { shard, owner, cause, error, seq, code } = fields
      const values = [shard, owner, seq, cause, error, code].filter((value) => value !== undefined)
      const what = values.map((value) => String(value as string | number | Error).split('\n')[0]).join(', ')
      trace.add(lifetime.name, `${level}: ${message} (${what})`)
      for (const [pattern, isExpected] of LOG_ALARMS)
        if (pattern.test(message) && !isExpected(fields, profile)) log.violations.add('bug', `${message}: ${what}`)
    }
  return { info: write('info'), warn: write('warn'), error: write('error') }
}
