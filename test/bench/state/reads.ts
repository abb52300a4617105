// Reads of one row from the three tiers: from memory by a turn, from the Store, and from MariaDB over one connection.

import { openHost } from '../../../core/node/host.ts'
import { mysqlClient } from '../../../core/node/mysqlpool.ts'
import type { ShardId } from '../../../core/wire/shardid.ts'
import { selectRow } from '../../../core/sql/select.ts'
import { msgpack } from '../../../core/wire/codec.ts'
import { printRatio } from '../figure.ts'
import { median, roundFigure } from '../../support/figure.ts'
import { LoadGenerator } from './loadgenerator.ts'
import { game, Hero, items } from './game.ts'
import { waitUntilFlushed, type BenchEnvironment } from './environment.ts'
import { putCall } from './turns.ts'

const ROWS = 1_000
const IN_FLIGHT = 16
const AIM = { kind: 'min', value: 100 } as const
const table = items.definition

export async function measureReads(environment: BenchEnvironment): Promise<void> {
  const { quick } = environment.profile
  const [rounds, cached, direct] = quick ? [3, 20_000, 500] : [11, 200_000, 2_000]
  const mysql = await environment.createDatabase('reads', game)
  const host = await openHost({ game, dir: environment.folderOf('reads'), mysql })
  const client = mysqlClient({ url: mysql, poolSize: 1 })
  try {
    const shard: ShardId = { contract: Hero.name, key: 'reader' }
    const { engine } = host
    let rowCount = 0
    const writer = new LoadGenerator({
      engine,
      shards: [shard],
      inFlight: IN_FLIGHT,
      call: () => putCall(rowCount++),
    })
    await writer.runCalls(ROWS)
    writer.closeChannels()
    await waitUntilFlushed(host.tiers!)
    const { number } = Hero.entries.read
    const body = msgpack.encode({ rows: ROWS, times: cached })
    const reader = new LoadGenerator({
      engine,
      shards: [shard],
      inFlight: 1,
      call: () => ({ command: number, body }),
    })
    const us: Record<'cached' | 'store' | 'mariadb', number[]> = { cached: [], store: [], mariadb: [] }
    // Round 0 warms up.
    for (let n = 0; n <= rounds; n++) {
      const [ms] = await reader.runCalls(1)
      us.cached[n] = (ms! / cached) * 1_000
      us.store[n] = await measureRead(direct, (i) => host.engine.store.row(shard, table, [shard.key, i]))
      us.mariadb[n] = await measureRead(direct, async (i) => {
        const { rows } = await client.query(selectRow(table, [shard.key, i]))
        return rows[0] ?? null
      })
    }
    reader.closeChannels()
    const of = (name: keyof typeof us): number => median(us[name].slice(1))
    const labels = {
      bench: 'state',
      figure: 'reads',
      cachedUs: roundFigure(of('cached')),
      storeUs: roundFigure(of('store')),
      mariadbUs: roundFigure(of('mariadb')),
      mariadbOverStore: roundFigure(of('mariadb') / of('store')),
      rounds,
    }
    printRatio(environment.profile, labels, of('mariadb') / of('cached'), AIM)
  } finally {
    await client.close()
    await host.close()
  }
}

/** Microseconds per read, one read after the other. */
async function measureRead(times: number, read: (i: number) => unknown): Promise<number> {
  const startMs = performance.now()
  for (let i = 0; i < times; i++) {
    let row = read(i % ROWS)
    if (row instanceof Promise) row = await row
    if (row === null) throw new Error(`reads: row ${i % ROWS} is missing`)
  }
  return ((performance.now() - startMs) / times) * 1_000
}
