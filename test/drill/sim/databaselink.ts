// The path from one process to MySQL. Invariant: a request that was sent arrives even if the process has ended meanwhile; an
// answer reaches only a living process.

import type { Batch, Database } from '../../../core/ports/database.ts'
import type { CrashPoint, SimEnvironment } from './environment.ts'
import type { ProcessLifetime } from './lifetime.ts'

export function databaseLink(
  environment: Pick<SimEnvironment, 'trace' | 'mysqlCheck' | 'reachPoint'>,
  lifetime: ProcessLifetime,
  database: Database,
): Database {
  const { trace, mysqlCheck } = environment
  const request = <T>(
    what: string,
    point: CrashPoint | null,
    run: () => Promise<T>,
    show: (answer: T) => string = JSON.stringify,
  ): Promise<T> => {
    if (point) environment.reachPoint(point, lifetime)
    if (lifetime.isOver) return new Promise(() => {})
    trace.add(lifetime.name, `mysql < ${what}`)
    const answer = run().then(
      (value) => {
        if (!lifetime.isOver) trace.add(lifetime.name, `mysql > ${what}: ${show(value)}`)
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
    takeover: (owner, storeId) =>
      request(`takeover ${owner} ${storeId.slice(0, 6)}`, 'takeover', () =>
        database.takeover(owner, storeId),
      ),
    lease: (owner) => request(`lease ${owner}`, null, () => database.lease(owner)),
    apply: (batch) => {
      mysqlCheck.batchSent(batch, lifetime)
      return request(describe(batch), 'apply', () => database.apply(batch))
    },
    load: (table, shardKey, after, limit) =>
      request(
        `load ${table.name} ${shardKey}`,
        'load',
        () => database.load(table, shardKey, after, limit),
        (rows) => `${rows.length} rows`,
      ),
    row: (table, key) => request(`row ${table.name}`, null, () => database.row(table, key)),
    criticalState: (shard) =>
      request(
        `critical state ${shard}`,
        'load',
        () => database.criticalState(shard),
        ({ channels, casts }) => `${channels.length} channels, ${casts.length} casts`,
      ),
    parkedTurns: (owner) =>
      request(
        `parked turns ${owner}`,
        null,
        () => database.parkedTurns(owner),
        (turns) => `${turns.length} turns`,
      ),
    nextId: (table, values) =>
      request(`nextId ${table.name}`, null, () => database.nextId(table, values), String),
    close: () => Promise.resolve(),
  }
}

function describe({ owner, epoch, firstSeq, lastSeq, rows, channels, casts, parked }: Batch): string {
  const counts = `${rows.length} rows, ${channels.length} channels, ${casts.length} casts`
  const parkedText = parked.length > 0 ? `, ${parked.length} PARKED` : ''
  return `apply ${owner} epoch ${epoch} ${firstSeq}..${lastSeq}: ${counts}${parkedText}`
}
