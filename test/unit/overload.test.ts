// Beyond capacity a call is refused at once, and what was accepted before is answered all the same.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { command, contract, firefly, shard } from '../../core/game/index.ts'
import { Engine } from '../../core/run/engine.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/run/memory.ts'
import type { ChannelOut } from '../../core/run/ports.ts'
import { msgpack } from '../../core/wire/codec.ts'

const Slow = contract('slow', { work: command(1, {}, {}) })
const body = msgpack.encode({})

test('when all mailboxes together are full, each further call hears OVERLOADED at once, whatever its shard', async () => {
  let open: () => void = () => {}
  const gate = new Promise<void>((resolve) => (open = resolve))
  const slow = shard(Slow)
    .public()
    .on('work', async () => {
      await gate
      return {}
    })
  const engine = new Engine(
    firefly({ slow }),
    { clock: new ManualClock(1), log: new MemoryLog(), store: new MemoryStore() },
    { limits: { maxBacklog: 6 } },
  )
  const said: string[] = []
  const channelOf = (key: string) => {
    const out: ChannelOut = {
      opened: () => {},
      reply: (sequence) => said.push(`${key} ${sequence}`),
      error: (sequence, _command, _kind, code) => said.push(`${key} ${sequence} ${code}`),
      event: () => {},
      applied: () => {},
      memo: () => {},
      bind: () => {},
      login: () => {},
      resync: () => {},
      closed: () => {},
    }
    const known = { legacy: false, activation: 0, memo: new Uint8Array(0), eventAck: 0, uid: '', epoch: 0 }
    return engine.open(
      { shard: { contract: 'slow', key }, session: new Uint8Array(16), channel: 1, generation: 1, ...known },
      out,
    )
  }
  const [one, two] = [channelOf('one'), channelOf('two')]
  // The first runs, six wait, the others are too many.
  for (let sequence = 1; sequence <= 9; sequence++) one.call(sequence, 1, 1, 0, body)
  assert.deepEqual(said, ['one 8 OVERLOADED', 'one 9 OVERLOADED'])
  assert.equal(engine.backlog, 6)
  // Another shard is idle: it runs its first call without a mailbox, and has no room for the next.
  two.call(1, 1, 1, 0, body)
  two.call(2, 1, 1, 0, body)
  assert.equal(said.at(-1), 'two 2 OVERLOADED')
  assert.equal(engine.meter.overloads, 3)
  open()
  for (let i = 0; i < 100; i++) await new Promise(setImmediate)
  assert.deepEqual(said.filter((line) => !line.includes('OVERLOADED')).sort(), [
    'one 1',
    'one 2',
    'one 3',
    'one 4',
    'one 5',
    'one 6',
    'one 7',
    'two 1',
  ])
  assert.equal(engine.backlog, 0)
  two.call(3, 1, 1, 0, body)
  for (let i = 0; i < 10; i++) await new Promise(setImmediate)
  assert.equal(said.at(-1), 'two 3')
})
