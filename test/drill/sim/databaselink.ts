// The path from one process to MySQL. Invariant: a request that was sent arrives even if the process has ended meanwhile; an
// answer reaches only a living process.

import type { Database } from '../../../core/ports/database.ts'
import { shorten } from '../../../core/wire/errors.ts'
import type { CrashPoint, SimEnvironment } from './environment.ts'
import type { ProcessLifetime } from './lifetime.ts'

export function databaseLink(
  environment: Pick<SimEnvironment, 'trace' | 'mysqlCheck' | 'reachPoint'>,
  lifetime: ProcessLifetime,
  database: Database,
): Database {
  const { trace, mysqlCheck } = environment
  const request = <T>(what: string, point: CrashPoint | null, run: () => Promise<T>): Promise<T> => {
    if (point) environment.reachPoint(point, lifetime)
    if (lifetime.isOver) return new Promise(() => {})
    trace.add(lifetime.name, `mysql < ${what}`)
    const answer = run().then(
      (value) => {
        if (!lifetime.isOver) trace.add(lifetime.name, `mysql > ${what}: ${summaryOf(value)}`)
        if (!lifetime.isOver && point === 'apply') environment.reachPoint('answered', lifetime)
        return value
      },
      (error: unknown) => {
        if (!lifetime.isOver) trace.add(lifetime.name, `mysql > ${what}: ${String(error)}`)
        throw error
      },
    )
    return lifetime.whileAlive(answer)
  }
  return {
    takeover: (owner, storeId) => request(`takeover ${owner}`, 'takeover', () => database.takeover(owner, storeId)),
    lease: (owner) => request(`lease ${owner}`, null, () => database.lease(owner)),
    apply: (batch) => {
      mysqlCheck.batchSent(batch, lifetime)
      return request(`apply ${summaryOf(batch)}`, 'apply', () => database.apply(batch))
    },
    load: (table, shardKey, after, limit) =>
      request(`load ${table.name} ${shardKey}`, 'load', () => database.load(table, shardKey, after, limit)),
    row: (table, key) => request(`row ${table.name}`, null, () => database.row(table, key)),
    criticalState: (shard) => request(`critical state ${shard}`, 'load', () => database.criticalState(shard)),
    parkedTurns: (owner) => request(`parked turns ${owner}`, null, () => database.parkedTurns(owner)),
    nextId: (table, values) => request(`next id ${table.name}`, null, () => database.nextId(table, values)),
    probe: (owner) => request(`probe ${owner}`, null, () => database.probe(owner)),
    close: () => Promise.resolve(),
  }
}

/** JSON with lists by their lengths. */
function summaryOf(value: unknown): string {
  if (Array.isArray(value)) return `${value.length} rows`
  if (typeof value !== 'object' || value === null) return shorten(value)
  return JSON.stringify(value, (_, field: unknown) => (Array.isArray(field) ? field.length : field))
}
