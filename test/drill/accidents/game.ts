// The game of the accidents: the market, whose players are the steady load, and a shard that does what an accident needs.

import { command, contract, event, firefly, shard, t, table, type Game } from '../../../core/game/index.ts'
import market from '../../../examples/market/server.ts'

const MAX_LOGS = 10_000

/** Each of its commands causes one kind of accident. */
export const Trouble = contract('trouble', {
  /** A handler that throws so often: each writes an error with its stack to the log. */
  fail: command(780, {}, {}),
  joins: command(781, {}, {}),
  /** Sends so many events of so many characters to every member. */
  burst: command(782, { events: t.int(0, MAX_LOGS), chars: t.int(0, 60_000) }, { sent: t.u32 }),
  /** An answer of so many characters. */
  large: command(783, { chars: t.int(0, 4_000_000) }, { text: t.string(4_000_000) }),
  /** Stores a row that MySQL may refuse. */
  store: command(786, { n: t.u32 }, {}),
  text: event(790, { text: t.string(60_000) }),
})

/** Many rows in one shard. */
export const Hoard = contract('hoard', {
  /** Writes the rows from `from` on, with so many characters each. */
  put: command(784, { from: t.u32, count: t.int(1, 1_000), chars: t.int(1, 100_000) }, {}),
  /** The characters of a row, 0 = no such row. */
  read: command(785, { id: t.u32 }, { chars: t.u32 }),
})
const hoarded = table(
  'hoarded',
  { hoard: t.string(64), id: t.u32, text: t.string(100_000) },
  { key: ['hoard', 'id'], shardKey: 'hoard', owner: Hoard },
)
const troubles = table('trouble', { key: t.string(36), n: t.u32 }, { key: 'key', owner: Trouble })

const trouble = shard(Trouble)
  .public()
  .tables({ troubles })
  .on('fail', () => {
    throw new Error('an accident of the drill')
  })
  .on('joins', (c) => {
    c.join()
    return {}
  })
  .on('large', (_, { chars }) => ({ text: 'x'.repeat(chars) }))
  .on('store', (c, { n }) => {
    const row = c.rows.troubles.get()
    if (row) row.update({ n })
    else c.rows.troubles.insert({ n })
    return {}
  })
  .on('burst', (c, { events, chars }) => {
    for (let i = 0; i < events; i++) c.broadcast.text({ text: 'x'.repeat(chars) })
    return { sent: events }
  })

const hoard = shard(Hoard)
  .public()
  .tables({ hoarded })
  .on('put', (c, { from, count, chars }) => {
    for (let id = from; id < from + count; id++) c.rows.hoarded.insert({ id, text: 'x'.repeat(chars) })
    return {}
  })
  .on('read', (c, { id }) => ({ chars: c.rows.hoarded.get(id)?.text.length ?? 0 }))

const own = firefly({ trouble, hoard })

export const game: Game = {
  ...market,
  shards: new Map([...market.shards, ...own.shards]),
  tables: new Map([...market.tables, ...own.tables]),
}
