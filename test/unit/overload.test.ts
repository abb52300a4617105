// Above capacity a call is refused at once, and calls that were accepted before are still answered.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { command, contract, firefly, shard, t } from '../../core/game/index.ts'
import { Engine } from '../../core/engine/engine.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/testing/memory.ts'
import { NEW_CHANNEL_DEFAULTS, type ChannelIn, type ChannelOut } from '../../core/ports/link.ts'
import { msgpack } from '../../core/wire/codec.ts'
import type { Limits } from '../../core/wire/limits.ts'
import { IGNORING_CHANNEL_OUT } from '../support/channelout.ts'

const Slow = contract('slow', {
  work: command(1, {}, {}),
  join: command(2, {}, {}),
  count: command(3, {}, { n: t.u32 }),
})
const body = msgpack.encode({})

/** An engine whose `work` calls run until `open` is called, and the messages of its channels. */
function createFixture(limits: Partial<Limits>, admitted: Promise<boolean> | true = true) {
  let open: () => void = () => {}
  const gate = new Promise<void>((resolve) => (open = resolve))
  const slow = shard(Slow)
    .public()
    .admit(() => admitted)
    .on('work', async () => {
      await gate
      return {}
    })
    .on('join', (c) => {
      c.join()
      return {}
    })
    .on('count', (c) => ({ n: c.size }))
  const clock = new ManualClock(1)
  const engine = new Engine(firefly({ slow }), { clock, log: new MemoryLog(), store: new MemoryStore() }, { limits })
  const received: string[] = []
  const channelOf = (key: string, session = 0): ChannelIn => {
    const out: ChannelOut = {
      ...IGNORING_CHANNEL_OUT,
      reply: (sequence, command, answer) =>
        received.push(
          command === 3 ? `${key} has ${(msgpack.decode(answer) as { n: number }).n}` : `${key} ${sequence}`,
        ),
      error: (sequence, _command, _kind, code) => received.push(`${key} ${sequence} ${code}`),
      channelClosed: (code) => received.push(`${key} closed ${code}`),
    }
    const name = new Uint8Array(16).fill(session)
    const channel = engine.open(
      { ...NEW_CHANNEL_DEFAULTS, shard: { contract: 'slow', key }, session: name, channel: 1 },
      out,
    )
    clock.settle()
    return channel
  }
  return { engine, clock, received, channelOf, open }
}

async function settlePromises(): Promise<void> {
  for (let i = 0; i < 100; i++) await new Promise(setImmediate)
}

test('refuses calls to all shards with OVERLOADED when their mailboxes are full together', async () => {
  const { engine, received, channelOf, open } = createFixture({ maxBacklog: 6 })
  const [one, two] = [channelOf('one'), channelOf('two')]
  // The first call runs, six wait, the others are refused.
  for (let sequence = 1; sequence <= 9; sequence++) one.submitCall(sequence, 1, 1, 0, body)
  assert.deepEqual(received, ['one 8 OVERLOADED', 'one 9 OVERLOADED'])
  assert.equal(engine.backlog, 6)
  // An idle shard runs its first call without the mailbox; the next call is refused.
  two.submitCall(1, 1, 1, 0, body)
  two.submitCall(2, 1, 1, 0, body)
  assert.equal(received.at(-1), 'two 2 OVERLOADED')
  assert.equal(engine.meter.overloads, 3)
  open()
  await settlePromises()
  assert.deepEqual(received.filter((line) => !line.includes('OVERLOADED')).sort(), [
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
  two.submitCall(3, 1, 1, 0, body)
  await settlePromises()
  assert.equal(received.at(-1), 'two 3')
})

test('bounds the bytes of waiting bodies, and frees them when the calls have run', async () => {
  const { engine, received, channelOf, open } = createFixture({ maxBacklogBytes: 1_000 })
  const one = channelOf('one')
  const large = msgpack.encode({ pad: 'x'.repeat(600) })
  for (let sequence = 1; sequence <= 5; sequence++) one.submitCall(sequence, 1, 1, 0, large)
  assert.deepEqual(received, ['one 4 OVERLOADED', 'one 5 OVERLOADED'])
  open()
  await settlePromises()
  assert.equal(engine.mailboxQuota.bytes, 0)
  one.submitCall(6, 1, 1, 0, large)
  await settlePromises()
  assert.equal(received.at(-1), 'one 6')
})

test('opens no shard above the limit, and the open shards continue', () => {
  const { engine, received, channelOf } = createFixture({ maxShards: 2 })
  const [one] = [channelOf('one'), channelOf('two')]
  channelOf('three').submitCall(1, 2, 1, 0, body)
  assert.deepEqual(received, ['three closed OVERLOADED'])
  assert.equal(engine.shards, 2)
  one.submitCall(1, 2, 1, 0, body)
  channelOf('two', 1).submitCall(1, 2, 1, 0, body)
  assert.deepEqual(received.slice(1), ['one 1', 'two 1'])
})

test('removes the longest detached member above the limit', () => {
  const { engine, received, channelOf } = createFixture({ maxAbsent: 3 })
  const members = Array.from({ length: 6 }, (_, i) => channelOf('one', i + 1))
  for (const member of members) member.submitCall(1, 2, 1, 0, body)
  for (const member of members.slice(0, 5)) member.closeChannel(false)
  assert.equal(engine.detachedChannels.size, 3)
  members[5]!.submitCall(2, 3, 1, 0, body)
  assert.equal(received.at(-1), 'one has 4')
  // A member that attaches again is not counted as detached.
  channelOf('one', 5)
  assert.equal(engine.detachedChannels.size, 2)
})

test('bounds the calls that wait for admission, and drops them when it is refused', async () => {
  let decide: (isAdmitted: boolean) => void = () => {}
  const { received, channelOf } = createFixture({ maxWaiting: 3 }, new Promise((resolve) => (decide = resolve)))
  const one = channelOf('one')
  for (let sequence = 1; sequence <= 5; sequence++) one.submitCall(sequence, 2, 1, 0, body)
  assert.deepEqual(received, ['one 4 OVERLOADED', 'one 5 OVERLOADED'])
  const two = channelOf('two')
  two.submitCall(1, 2, 1, 0, new Uint8Array(300_000))
  assert.equal(received.at(-1), 'two 1 OVERLOADED')
  decide(false)
  await settlePromises()
  assert.deepEqual(received.slice(3).sort(), ['one closed FORBIDDEN', 'two closed FORBIDDEN'])
})
