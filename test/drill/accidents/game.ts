// The game of the accidents: the market, whose players are the steady load, and a shard that does what an accident needs.

import { command, contract, event, firefly, shard, t, type Game } from '../../../core/game/index.ts'
import market from '../../../examples/market/server.ts'

const MAX_LOGS = 10_000

/** Each of its commands causes one kind of accident. */
export const Trouble = contract('trouble', {
  /** A handler that throws so often: each writes an error with its stack to the log. */
  fail: command(780, {}, {}),
  joins: command(781, {}, {}),
  /** Sends so many events of so many characters to every member. */
  burst: command(782, { events: t.int(0, MAX_LOGS), chars: t.int(0, 60_000) }, { sent: t.u32 }),
  text: event(790, { text: t.string(60_000) }),
})

const trouble = shard(Trouble)
  .public()
  .on('fail', () => {
    throw new Error('an accident of the drill')
  })
  .on('joins', (c) => {
    c.join()
    return {}
  })
  .on('burst', (c, { events, chars }) => {
    for (let i = 0; i < events; i++) c.broadcast.text({ text: 'x'.repeat(chars) })
    return { sent: events }
  })

const own = firefly({ trouble })

export const game: Game = {
  ...market,
  shards: new Map([...market.shards, ...own.shards]),
  tables: new Map([...market.tables, ...own.tables]),
}
