// A channel that the Store cannot read: it is unknown which calls have run, so none runs.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { command, contract, firefly, shard, t } from '../../core/game/index.ts'
import { Engine } from '../../core/engine/engine.ts'
import { NEW_CHANNEL_DEFAULTS, RETAIN } from '../../core/ports/link.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/testing/memory.ts'
import { msgpack } from '../../core/wire/codec.ts'
import { IGNORING_CHANNEL_OUT } from '../support/channelout.ts'

const Counter = contract('counter', { add: command(1, { n: t.u32 }, { sum: t.u32 }, { durable: true }) })

class UnreadableStore extends MemoryStore {
  override channel(): never {
    throw new Error('the disk is broken')
  }
}

test('closes the channel and runs none of its calls', async () => {
  let sum = 0
  const counter = shard(Counter)
    .public()
    .on('add', (_c, { n }) => ({ sum: (sum += n) }))
  const clock = new ManualClock(1)
  const engine = new Engine(firefly({ counter }), { clock, log: new MemoryLog(), store: new UnreadableStore() })
  const received: string[] = []
  const channel = engine.open(
    { ...NEW_CHANNEL_DEFAULTS, shard: { contract: 'counter', key: 'k' }, session: new Uint8Array(16), channel: 1 },
    {
      ...IGNORING_CHANNEL_OUT,
      channelOpened: () => received.push('opened'),
      reply: (sequence) => received.push(`reply ${sequence}`),
      channelClosed: (code) => received.push(`closed ${code}`),
    },
  )
  for (const sequence of [1, 2]) channel.submitCall(sequence, 1, RETAIN, 0, msgpack.encode({ n: 1 }))
  for (let step = 0; step < 5; step++) {
    clock.settle()
    await new Promise(setImmediate)
  }
  assert.deepEqual([received, sum], [['closed UNAVAILABLE'], 0])
})
