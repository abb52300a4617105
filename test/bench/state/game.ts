// The game of `bench state`: one contract with one table of five columns. Its handlers do as little as possible, so
// that the figures measure the engine.

import { command, contract, firefly, shard, t, table } from '../../../core/game/index.ts'

export const Hero = contract('hero', {
  /** Inserts row `n`, or updates one column of it. */
  put: command(901, { n: t.u32, count: t.u32 }, { count: t.u32 }, { durable: true }),
  /** Makes `times` reads of the rows 0..rows-1, in a cycle. */
  read: command(902, { rows: t.u32, times: t.u32 }, { sum: t.f64 }),
})

export const items = table(
  'item',
  { owner: t.string(32), n: t.u32, name: t.string(32), count: t.u32, madeAt: t.date },
  { key: ['owner', 'n'], owner: Hero },
)

const hero = shard(Hero)
  .public()
  .tables({ items })
  .on('put', (c, { n, count }) => {
    const item = c.rows.items.get(n)
    if (item) item.update({ count })
    else c.rows.items.insert({ n, name: `item ${n} of ${c.key}`, count, madeAt: new Date(c.now) })
    return { count }
  })
  .on('read', (c, { rows, times }) => {
    let sum = 0
    for (let i = 0; i < times; i++) sum += c.rows.items.get(i % rows)!.count
    return { sum }
  })

export const game = firefly({ hero })
