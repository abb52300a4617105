// The rate at which outboxes reach MySQL: rows are queued while flushes are blocked; then the time is measured until
// all outboxes are empty and MySQL has every row.

import { openHost } from '../../../core/node/host.ts'
import { mysqlClient } from '../../../core/node/mysqlpool.ts'
import type { Database } from '../../../core/ports/database.ts'
import type { ShardId } from '../../../core/wire/shardid.ts'
import type { TieredStore } from '../../../core/outbox/tieredstore.ts'
import { override } from '../../support/override.ts'
import { printRatio } from '../figure.ts'
import { measureLag } from '../latency.ts'
import { progress, roundFigure } from '../../support/figure.ts'
import { LoadGenerator } from './loadgenerator.ts'
import { game, Hero } from './game.ts'
import { outboxDepth, waitUntilFlushed, type BenchEnvironment } from './environment.ts'
import { putCall } from './turns.ts'

const SHARDS = 1_000
const IN_FLIGHT = 16
const TARGET_PER_SECOND = 20_000

export async function measureFlush(environment: BenchEnvironment): Promise<void> {
  const rows = environment.profile.quick ? 20_000 : 200_000
  const mysql = await environment.createDatabase('flush', game)
  const gate = Promise.withResolvers<void>()
  const wrapDatabase = (database: Database): Database =>
    override<Database>(database, { apply: (batch) => gate.promise.then(() => database.apply(batch)) })
  const host = await openHost({ game, dir: environment.folderOf('flush'), mysql, wrapDatabase })
  const tiers = host.tiers!
  const client = mysqlClient({ url: mysql, poolSize: 1 })
  try {
    const shards = Array.from({ length: SHARDS }, (_, i): ShardId => ({ contract: Hero.name, key: `h${i}` }))
    const rowCounts = shards.map(() => 0)
    const generator = new LoadGenerator({
      engine: host.engine,
      shards,
      inFlight: IN_FLIGHT,
      call: (player) => putCall(rowCounts[player]!++),
    })
    // One call each first: shards that are already active would delay the loading of the others.
    await generator.runCalls(1)
    await generator.runCalls(rows / SHARDS - 1)
    const queued = outboxDepth(tiers)
    if (queued < rows) throw new Error(`flush: ${queued} of ${rows} turns are queued`)
    progress(`flush: ${rows} rows are queued`)
    const before = transactionsOf(tiers)
    const cpu = process.cpuUsage()
    gate.resolve()
    const [seconds, lag] = await measureLag(() => waitUntilFlushed(tiers))
    const { user, system } = process.cpuUsage(cpu)
    const { rows: result } = await client.query({ sql: 'SELECT COUNT(*) FROM item', params: [] })
    const stored = Number(result[0]?.[0])
    if (stored !== rows) throw new Error(`flush: MySQL has ${stored} of ${rows} rows`)
    const perSecond = rows / seconds
    const labels = {
      bench: 'state',
      figure: 'flush',
      rows,
      seconds: roundFigure(seconds),
      perSecond: roundFigure(perSecond),
      transactions: transactionsOf(tiers) - before,
      cpuUsPerRow: roundFigure((user + system) / rows),
      ...lag,
      wanted: TARGET_PER_SECOND,
    }
    printRatio(environment.profile, labels, perSecond / TARGET_PER_SECOND, { kind: 'min', value: 1 })
    generator.closeChannels()
  } finally {
    gate.resolve()
    await client.close()
    await host.close()
  }
}

function transactionsOf(tiers: TieredStore): number {
  let sum = 0
  for (const owner of tiers.metrics.owners.values()) sum += owner.transactions
  return sum
}
