// The game of the workerd crash drill: the market, and a counter whose turns change exactly one row. Imported by the
// drill and by its Worker.

import { command, contract, firefly, shard, t, table, type Game } from '../../../core/game/index.ts'
import market from '../../../examples/market/server.ts'

/** Where an object is killed, in the n-th commit from now; 'mid-commit' is of use in class critical only. */
export const COMMIT_POINTS = ['before-commit', 'torn-commit', 'mid-commit', 'after-commit'] as const
export type CommitPoint = (typeof COMMIT_POINTS)[number]

/** The methods of the Worker's object class for the drill. A call fails when its object is killed. */
export interface KillableObject {
  /** Never returns. */
  killInCommit(point: CommitPoint, nth: number): Promise<never>
  /** Deletes everything the object stored, and kills it. */
  lose(): Promise<void>
  /** Since the object is in memory. */
  rowsWritten(): Promise<number>
}

export const Tally = contract('tally', { add: command(411, {}, { n: t.u32 }, { durable: true }) }, { codec: 'json' })

const tallies = table('tally', { name: t.string(64), n: t.u32 }, { key: 'name', owner: Tally, defaults: { n: 0 } })

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
