// A Store that fails for a while: attempts back off, and attached channels continue without a new call when it recovers.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { command, contract, firefly, shard, t } from '../../core/game/index.ts'
import { Engine } from '../../core/engine/engine.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/testing/memory.ts'
import { NEW_CHANNEL_DEFAULTS, RETAIN, type ChannelIn } from '../../core/ports/link.ts'
import type { ShardId } from '../../core/wire/shardid.ts'
import type { StoredShard } from '../../core/ports/store.ts'
import { msgpack } from '../../core/wire/codec.ts'
import { IGNORING_CHANNEL_OUT } from '../support/channelout.ts'

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
  /** Keys of shards whose `open` throws. */
  readonly failingShards = new Set<string>()
  override open(shard: ShardId): StoredShard {
    this.openCount++
    if (this.failingShards.has(shard.key)) throw new Error('the disk of the test failed')
    return super.open(shard)
  }
}

function createFixture() {
  const [clock, store, log] = [new ManualClock(), new FailingOpenStore(), new MemoryLog()]
  const engine = new Engine(firefly({ till }), { clock, store, log })
  /** Advances the clock in steps, and settles promises between them. */
  const advance = async (ms: number): Promise<void> => {
    for (let left = ms; left >= 0; left -= 10) {
      clock.advance(Math.min(10, left))
      await Promise.resolve()
    }
  }
  return { store, engine, advance }
}

/** A client of version 2: it sends unanswered calls again to each activation. */
function openClient(engine: Engine, legacy = false) {
  const received: string[] = []
  const waiting = new Map<number, { command: number; body: Uint8Array }>()
  let channel: ChannelIn | null = null
  const send = (sequence: number): void => {
    const call = waiting.get(sequence)
    if (call) channel?.submitCall(sequence, call.command, RETAIN, 0, call.body)
  }
  channel = engine.open(
    { ...NEW_CHANNEL_DEFAULTS, shard: id, session: new Uint8Array(16), channel: 1, legacy },
    {
      ...IGNORING_CHANNEL_OUT,
      channelOpened: (_activation, _mark, callsLost) => {
        received.push('opened')
        if (callsLost) for (const sequence of [...waiting.keys()]) send(sequence)
      },
      reply: (sequence, _command, body) => {
        waiting.delete(sequence)
        received.push(JSON.stringify(msgpack.decode(body)))
      },
      error: (sequence, _command, _kind, code) => {
        waiting.delete(sequence)
        received.push(code)
      },
      channelClosed: (code) => received.push(`closed ${code}`),
    },
  )
  const call = (sequence: number, number: number, input: object): void => {
    waiting.set(sequence, { command: number, body: msgpack.encode(input) })
    send(sequence)
  }
  return { received, call }
}

test('backs off while commits fail, and runs the waiting call once when they succeed', async () => {
  const { store, engine, advance } = createFixture()
  const { received, call } = openClient(engine)
  store.faults.push(...Array.from({ length: 10_000 }, () => 'failed' as const))
  call(1, Till.entries.take.number, { n: 5 })
  await advance(60_000)
  assert.ok(store.openCount > 10 && store.openCount < 60, `${store.openCount} activations in a minute`)
  const answers = received.filter((line) => line !== 'opened')
  assert.deepEqual(answers, [])
  store.faults.length = 0
  await advance(5_000)
  assert.equal(received.at(-1), '{"sum":5}')
  const { openCount } = store
  call(2, Till.entries.take.number, { n: 5 })
  assert.equal(received.at(-1), '{"sum":10}')
  // After a successful commit the backoff restarts: the next failure is retried at once.
  store.faults.push('failed')
  call(3, Till.entries.take.number, { n: 5 })
  await advance(0)
  assert.equal(store.openCount, openCount + 1)
  assert.equal(received.at(-1), '{"sum":15}')
})

test('retries a failed activation while a channel is attached', async () => {
  const { store, engine, advance } = createFixture()
  const { received, call } = openClient(engine)
  call(1, Till.entries.take.number, { n: 5 })
  assert.deepEqual(received, ['opened', '{"sum":5}'])
  store.failingShards.add('a')
  store.faults.push('failed')
  call(2, Till.entries.take.number, { n: 5 })
  const { openCount } = store
  await advance(60_000)
  assert.ok(
    store.openCount - openCount > 5 && store.openCount - openCount < 60,
    `${store.openCount - openCount} attempts in a minute`,
  )
  assert.equal(received.length, 2)
  store.failingShards.clear()
  await advance(5_000)
  assert.deepEqual(received.slice(2), ['opened', '{"sum":10}'])
})

test('does not retry a failed activation without an attached channel', async () => {
  const { store, engine, advance } = createFixture()
  store.failingShards.add('a')
  const body = msgpack.encode({ n: 1 })
  const answer = await engine.receiveCall(id, { command: 1, body, chain: [], timeoutMs: 0 })
  assert.equal(answer.kind === 'system' && answer.code, 'UNAVAILABLE')
  await advance(60_000)
  assert.equal(store.openCount, 1)
})

for (const [what, legacy, expected] of [
  ['a client', false, 'UNAVAILABLE'],
  ['a legacy client in the form of its contract', true, '{"error":"UNAVAILABLE"}'],
] as const)
  test(`reports the UNAVAILABLE of another shard to ${what}`, async () => {
    const { store, engine, advance } = createFixture()
    store.failingShards.add('broken')
    const { received, call } = openClient(engine, legacy)
    call(1, Till.entries.relay.number, {})
    await advance(10)
    assert.equal(received.at(-1), expected)
  })
