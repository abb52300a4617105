// `onDeactivate` in a drain: it runs on the real Node host, may call other shards, and is bounded by its deadline.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import { command, contract, firefly, shard, t } from '../../core/game/index.ts'
import { Engine } from '../../core/engine/engine.ts'
import { openHost } from '../../core/node/host.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/testing/memory.ts'
import { msgpack } from '../../core/wire/codec.ts'
import { TIMES } from '../../core/wire/limits.ts'

const Counter = contract('counter', {
  read: command(1, {}, { n: t.u32, saved: t.u32 }),
  add: command(2, {}, { n: t.u32 }, { internal: true }),
})

/** Each shard but `sum` adds to `sum` when it is deactivated. `ran` counts the hooks. */
function createGame(onEnd: () => Promise<unknown> | undefined = () => undefined) {
  const ran: string[] = []
  const counter = shard(Counter)
    .public()
    .state(() => ({ saved: 0 }), {
      snapshot: { everyMs: 3_600_000, save: ({ saved }) => saved, load: (saved: number) => ({ saved }) },
    })
    .kv({ n: t.u32 })
    .tick(60, () => assert.fail('no member has joined'))
    .onDeactivate(async (c) => {
      ran.push(c.key)
      c.state.saved++
      if (c.key !== 'sum') await c.at(Counter, 'sum').call.add()
      await onEnd()
    })
    .on('read', (c) => ({ n: c.kv.get('n') ?? 0, saved: c.state.saved }))
    .on('add', (c) => {
      const n = (c.kv.get('n') ?? 0) + 1
      c.kv.set('n', n)
      return { n }
    })
  return { game: firefly({ counter }), ran }
}

const read = async (engine: Engine, key: string): Promise<unknown> => {
  const call = { command: 1, body: msgpack.encode({}), chain: [], timeoutMs: 0 }
  const answer = await engine.receiveCall({ contract: 'counter', key }, call)
  return answer.kind === 'reply' && answer.body ? msgpack.decode(answer.body) : answer
}

test('a drain of the Node host runs onDeactivate of every active shard, which may call another, and saves its state', async (context) => {
  const dir = mkdtempSync(join(tmpdir(), 'firefly-hooks-'))
  context.after(() => rmSync(dir, { recursive: true }))
  const { game, ran } = createGame()
  const first = await openHost({ game, dir, slots: 1 })
  for (const key of ['a', 'b', 'sum']) assert.deepEqual(await read(first.engine, key), { n: 0, saved: 0 })
  await first.close()
  assert.deepEqual(ran.toSorted(), ['a', 'b', 'sum'])
  const second = await openHost({ game: createGame().game, dir, slots: 1 })
  assert.deepEqual(await read(second.engine, 'sum'), { n: 2, saved: 1 })
  assert.deepEqual(await read(second.engine, 'a'), { n: 0, saved: 1 })
  await second.close()
})

test('a drain and an eviction wait for onDeactivate no longer than its deadline', async () => {
  for (const end of ['drain', 'evict'] as const) {
    const [clock, store, log] = [new ManualClock(), new MemoryStore(), new MemoryLog()]
    const { game, ran } = createGame(() => new Promise(() => {}))
    const engine = new Engine(game, { clock, store, log })
    await read(engine, 'sum')
    let isOver = false
    const ended = end === 'drain' ? engine.drain() : engine.evict({ contract: 'counter', key: 'sum' })
    void ended.then(() => (isOver = true))
    await new Promise(setImmediate)
    clock.advance(TIMES.deactivateMs - 1)
    await new Promise(setImmediate)
    assert.deepEqual([isOver, ran], [false, ['sum']])
    clock.advance(1)
    await ended
    const errors = log.lines.filter(({ level }) => level === 'error').map(({ message }) => message)
    assert.deepEqual(errors, [`onDeactivate did not end within ${TIMES.deactivateMs} ms`])
    // The snapshot is saved all the same, and an evicted shard is activated again by the next call.
    if (end === 'evict') assert.deepEqual(await read(engine, 'sum'), { n: 0, saved: 1 })
  }
})
