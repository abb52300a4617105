// What the crash drill plays on Cloudflare: the market, and a tally whose turns change one row and nothing else. Shared
// by the drill and its Worker (test/conformance/fixtures/market-worker.ts).

import { command, contract, firefly, shard, t, table, type Game } from '../../../core/game/index.ts'
import market from '../../../examples/market/server.ts'

/** Where an object ends itself in the n-th commit from now; 'mid-commit' is another moment in class critical only. */
export const COMMIT_POINTS = ['before-commit', 'torn-commit', 'mid-commit', 'after-commit'] as const
export type CommitPoint = (typeof COMMIT_POINTS)[number]

/** What the Worker's object class offers to the drill; calls die with the object. */
export interface Victim {
  /** Never answers. */
  dieAt(point: CommitPoint, nth: number): Promise<never>
  /** Loses everything it stored, and dies. */
  lose(): Promise<void>
  /** Of this life in memory. */
  rowsWritten(): Promise<number>
}

export const Tally = contract(
  'tally',
  { add: command(411, {}, { n: t.u32 }, { durable: true }) },
  { codec: 'json' },
)

const tallies = table(
  'tally',
  { name: t.string(64), n: t.u32 },
  { key: 'name', owner: Tally, defaults: { n: 0 } },
)

const tally = shard(Tally)
  .public()
  .tables({ tallies })
  .on('add', (c) => {
    const own = c.rows.tallies.get() ?? c.rows.tallies.insert({})
    own.increment('n', 1)
    return { n: own.n }
  })

const extra = firefly({ tally })

export const game: Game = {
  ...market,
  shards: new Map([...market.shards, ...extra.shards]),
  tables: new Map([...market.tables, ...extra.tables]),
}
