// A Store that fails for a while: tries become rare, and whoever is attached goes on when it is over, by itself.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { command, contract, firefly, shard, t } from '../../core/game/index.ts'
import { Engine } from '../../core/engine/engine.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/testing/memory.ts'
import { NEW_CHANNEL_DEFAULTS, RETAIN, type ChannelIn } from '../../core/ports/link.ts'
import type { ShardId } from '../../core/wire/shardid.ts'
import type { StoredShard } from '../../core/ports/store.ts'
import { msgpack } from '../../core/wire/codec.ts'

const Till = contract('till', {
  take: command(1, { n: t.u32 }, { sum: t.u32 }, { durable: true }),
  relay: command(2, {}, { sum: t.u32 }),
})
const till = shard(Till)
  .kv({ sum: t.u32 })
  .on('take', (c, { n }) => {
    const sum = (c.kv.get('sum') ?? 0) + n
    c.kv.set('sum', sum)
    return { sum }
  })
  .on('relay', (c) => c.at(Till, 'broken').call.take({ n: 1 }))
const id = { contract: 'till', key: 'a' }

class FailingOpenStore extends MemoryStore {
  openCount = 0
  /** Shards that cannot be opened. */
  readonly failingShards = new Set<string>()
  override open(shard: ShardId): StoredShard {
    this.openCount++
    if (this.failingShards.has(shard.key)) throw new Error('the disk of the test is broken')
    return super.open(shard)
  }
}

function createFixture() {
  const [clock, store, log] = [new ManualClock(), new FailingOpenStore(), new MemoryLog()]
  const engine = new Engine(firefly({ till }), { clock, store, log })
  /** Lets time pass, and with it all that waits for it. */
  const advance = async (ms: number): Promise<void> => {
    for (let left = ms; left >= 0; left -= 10) {
      clock.advance(Math.min(10, left))
      await Promise.resolve()
    }
  }
  return { store, engine, pass: advance }
}

/** A client of version 2: it sends what was not answered again to each activation. */
function openClient(engine: Engine, legacy = false) {
  const received: string[] = []
  const waiting = new Map<number, { command: number; body: Uint8Array }>()
  let channel: ChannelIn | null = null
  const send = (sequence: number): void => {
    const call = waiting.get(sequence)
    if (call) channel?.submitCall(sequence, call.command, RETAIN, 0, call.body)
  }
  channel = engine.open(
    {
      ...NEW_CHANNEL_DEFAULTS,
      shard: id,
      session: new Uint8Array(16),
      channel: 1,
      legacy,
    },
    {
      channelOpened: (_activation, _mark, lost) => {
        received.push('opened')
        if (lost) for (const sequence of [...waiting.keys()]) send(sequence)
      },
      reply: (sequence, _command, body) => {
        waiting.delete(sequence)
        received.push(JSON.stringify(msgpack.decode(body)))
      },
      error: (sequence, _command, _kind, code) => {
        waiting.delete(sequence)
        received.push(code)
      },
      event() {},
      callsApplied() {},
      membershipToken() {},
      keyBound() {},
      loggedIn() {},
      resyncRequired() {},
      channelClosed: (code) => received.push(`closed ${code}`),
    },
  )
  const call = (sequence: number, number: number, input: object): void => {
    waiting.set(sequence, { command: number, body: msgpack.encode(input) })
    send(sequence)
  }
  return { said: received, call }
}

test('commits that go on failing are tried ever more rarely, and the call that waits is done once when they succeed', async () => {
  const { store, engine, pass } = createFixture()
  const { said, call } = openClient(engine)
  store.faults.push(...Array.from({ length: 10_000 }, () => 'failed' as const))
  call(1, Till.entries.take.number, { n: 5 })
  await pass(60_000)
  assert.ok(store.openCount > 10 && store.openCount < 60, `${store.openCount} activations in a minute`)
  assert.deepEqual(
    said.filter((one) => one !== 'opened'),
    [],
  )
  store.faults.length = 0
  await pass(5_000)
  assert.equal(said.at(-1), '{"sum":5}')
  const { openCount: opens } = store
  call(2, Till.entries.take.number, { n: 5 })
  assert.equal(said.at(-1), '{"sum":10}')
  // The trouble is over: the next activation after a failure comes at once again.
  store.faults.push('failed')
  call(3, Till.entries.take.number, { n: 5 })
  await pass(0)
  assert.equal(store.openCount, opens + 1)
  assert.equal(said.at(-1), '{"sum":15}')
})

test('a shard that cannot be activated again comes back by itself for those who are attached', async () => {
  const { store, engine, pass } = createFixture()
  const { said, call } = openClient(engine)
  call(1, Till.entries.take.number, { n: 5 })
  assert.deepEqual(said, ['opened', '{"sum":5}'])
  store.failingShards.add('a')
  store.faults.push('failed')
  call(2, Till.entries.take.number, { n: 5 })
  const { openCount: opens } = store
  await pass(60_000)
  assert.ok(
    store.openCount - opens > 5 && store.openCount - opens < 60,
    `${store.openCount - opens} tries in a minute`,
  )
  assert.equal(said.length, 2)
  store.failingShards.clear()
  await pass(5_000)
  assert.deepEqual(said.slice(2), ['opened', '{"sum":10}'])
})

test('nobody tries for a shard to which nobody is attached', async () => {
  const { store, engine, pass } = createFixture()
  store.failingShards.add('a')
  const body = msgpack.encode({ n: 1 })
  const answer = await engine.receiveCall(id, { command: 1, body, chain: [], deadlineMs: 0 })
  assert.equal(answer.kind === 'system' && answer.code, 'UNAVAILABLE')
  await pass(60_000)
  assert.equal(store.openCount, 1)
})

for (const [what, legacy, told] of [
  ['a client', false, 'UNAVAILABLE'],
  ['a legacy client, in its contract’s form', true, '{"error":"UNAVAILABLE"}'],
] as const)
  test(`that another shard is not there now is told to ${what}`, async () => {
    const { store, engine, pass } = createFixture()
    store.failingShards.add('broken')
    const { said, call } = openClient(engine, legacy)
    call(1, Till.entries.relay.number, {})
    await pass(10)
    assert.equal(said.at(-1), told)
  })
