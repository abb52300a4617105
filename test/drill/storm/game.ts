// The game of the storm: each player has a shard of its own, whose turns cost about as much as those of a real game, and
// a durable count of deposits. Portable.

import { command, contract, firefly, shard, t } from '../../../core/game/index.ts'

export const Hall = contract('hall', {
  enter: command(800, {}, {}, { resend: true }),
  work: command(801, { n: t.u32 }, { n: t.u32 }),
  deposit: command(802, { n: t.u32 }, { total: t.u32 }, { durable: true }),
  totals: command(803, {}, { total: t.u32, count: t.u32 }),
})

/** Steps of one turn: about 0.2 ms on a core of 2020. */
const STEPS = 100_000

const hall = shard(Hall)
  .public()
  .kv({ total: t.u32, count: t.u32 })
  .on('enter', (c) => {
    c.join()
    return {}
  })
  .on('work', (_, { n }) => ({ n: hashOf(n) }))
  .on('deposit', (c, { n }) => {
    hashOf(n)
    const total = (c.kv.get('total') ?? 0) + n
    c.kv.set('total', total)
    c.kv.set('count', (c.kv.get('count') ?? 0) + 1)
    return { total }
  })
  .on('totals', (c) => ({ total: c.kv.get('total') ?? 0, count: c.kv.get('count') ?? 0 }))

export const game = firefly({ hall })

function hashOf(n: number): number {
  let hash = n | 1
  for (let i = 0; i < STEPS; i++) {
    hash ^= hash << 13
    hash ^= hash >>> 17
    hash ^= hash << 5
  }
  return hash >>> 0
}
