// A process's way to MySQL. What it sends arrives though it is over by then; what comes back it hears only while it
// lives. Each batch is known again when MySQL takes it, whoever has changed it on the way.

import type { Batch, Database } from '../../../core/ports/database.ts'
import type { Point, Process } from './process.ts'
import type { World } from './world.ts'

export function way(world: World, process: Process): Database {
  const { life } = process
  const { trace, database, plant } = world
  const ask = <T>(
    what: string,
    point: Point | null,
    run: () => Promise<T>,
    show: (answer: T) => string,
  ): Promise<T> => {
    if (point) world.reach(point, process)
    if (life.over) return new Promise(() => {})
    trace.add(life.name, `mysql < ${what}`)
    const answer = run().then(
      (value) => {
        if (!life.over) trace.add(life.name, `mysql > ${what}: ${show(value)}`)
        if (!life.over && point === 'apply') world.reach('answered', process)
        return value
      },
      (error: unknown) => {
        if (!life.over) trace.add(life.name, `mysql > ${what}: ${String(error)}`)
        throw error
      },
    )
    return life.hears(answer)
  }
  const inner: Database = plant?.server?.(database, world) ?? database
  return {
    takeover: (owner, storeId) =>
      ask(
        `takeover ${owner} ${storeId.slice(0, 6)}`,
        'takeover',
        () => inner.takeover(owner, storeId),
        JSON.stringify,
      ),
    lease: (owner) => ask(`lease ${owner}`, null, () => inner.lease(owner), JSON.stringify),
    apply: (batch) => {
      world.ledgerOfMysql.sent(batch, process)
      return ask(describe(batch), 'apply', () => inner.apply(batch), String)
    },
    load: (table, shardKey, after, limit) =>
      ask(
        `load ${table.name} ${shardKey}`,
        'load',
        () => inner.load(table, shardKey, after, limit),
        (rows) => `${rows.length} rows`,
      ),
    row: (table, key) => ask(`row ${table.name}`, null, () => inner.row(table, key), JSON.stringify),
    criticalState: (shard) =>
      ask(
        `remains ${shard}`,
        'load',
        () => inner.criticalState(shard),
        ({ channels, casts }) => `${channels.length} channels, ${casts.length} casts`,
      ),
    parkedTurns: (owner) =>
      ask(
        `parked ${owner}`,
        null,
        () => inner.parkedTurns(owner),
        () => '',
      ),
    nextId: (table, values) => ask(`nextId ${table.name}`, null, () => inner.nextId(table, values), String),
    close: () => Promise.resolve(),
  }
}

function describe({ owner, epoch, firstSeq: lo, lastSeq: hi, rows, channels, casts, parked }: Batch): string {
  const counts = `${rows.length} rows, ${channels.length} channels, ${casts.length} casts`
  return `apply ${owner} epoch ${epoch} ${lo}..${hi}: ${counts}${parked.length > 0 ? `, ${parked.length} PARKED` : ''}`
}
