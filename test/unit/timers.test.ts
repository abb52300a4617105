// Durable timers: one that is due later than a host holds timers in memory, and one whose handler fails.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import { CallError, command, contract, firefly, shard, t } from '../../core/game/index.ts'
import { Engine } from '../../core/engine/engine.ts'
import { watchWallClock } from '../../core/node/clock.ts'
import { openHost } from '../../core/node/host.ts'
import { NEW_CHANNEL_DEFAULTS } from '../../core/ports/link.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/testing/memory.ts'
import { msgpack } from '../../core/wire/codec.ts'
import { TIMES } from '../../core/wire/limits.ts'
import { IGNORING_CHANNEL_OUT } from '../support/channelout.ts'

const AHEAD_MS = 100
const Bell = contract('bell', { wind: command(1, { ms: t.u32 }) })

test('fires a durable timer that is due after the look-ahead of the host', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'firefly-timers-'))
  const { wakeAheadMs } = TIMES
  Object.assign(TIMES, { wakeAheadMs: AHEAD_MS })
  const fired = Promise.withResolvers<number>()
  const bell = shard(Bell)
    .timer('ring', {}, () => fired.resolve(Date.now()))
    .on('wind', (c, { ms }) => c.schedule(ms, 'ring'))
  const host = await openHost({ game: firefly({ bell }), dir, slots: 1, evictMs: 20 })
  try {
    const bells = { shard: { contract: 'bell', key: 'a' }, session: new Uint8Array(16), channel: 1 }
    const channel = host.engine.open({ ...NEW_CHANNEL_DEFAULTS, ...bells }, IGNORING_CHANNEL_OUT)
    const dueMs = Date.now() + 5 * AHEAD_MS
    channel.submitCall(1, 1, 0, 0, msgpack.encode({ ms: 5 * AHEAD_MS }))
    // Without a channel only the host can activate the shard.
    setTimeout(() => channel.closeChannel(true), AHEAD_MS / 2)
    assert.ok((await fired.promise) >= dueMs - 1)
  } finally {
    Object.assign(TIMES, { wakeAheadMs })
    await host.close()
    rmSync(dir, { recursive: true, force: true })
  }
})

test('runs a durable timer again when its handler fails with a propagated error', async () => {
  let runs = 0
  const bell = shard(Bell)
    .timer('ring', {}, async () => {
      if (++runs <= 2) throw new CallError('UNAVAILABLE')
    })
    .on('wind', (c, { ms }) => c.schedule(ms, 'ring'))
  const [clock, store] = [new ManualClock(), new MemoryStore()]
  const engine = new Engine(firefly({ bell }), { clock, store, log: new MemoryLog() })
  const id = { contract: 'bell', key: 'a' }
  engine.peer(id).cast({ command: 1, body: msgpack.encode({ ms: 10 }), chain: [], timeoutMs: 0 })
  for (let step = 0; step < 20; step++) {
    clock.advance(1_000)
    await new Promise(setImmediate)
  }
  assert.equal(runs, 3)
  assert.deepEqual(store.open(id).timers, [])
})

/** A shard with a durable timer of one minute. */
function minuteTimer(): {
  clock: ManualClock
  ring: () => number
  wake: (dueMs: number) => void
  stop: () => Promise<void>
} {
  let runs = 0
  const bell = shard(Bell)
    .timer('ring', {}, () => void runs++)
    .on('wind', (c, { ms }) => c.schedule(ms, 'ring'))
  const [clock, store] = [new ManualClock(), new MemoryStore()]
  const engine = new Engine(firefly({ bell }), { clock, store, log: new MemoryLog() })
  const id = { contract: 'bell', key: 'a' }
  engine.peer(id).cast({ command: 1, body: msgpack.encode({ ms: 60_000 }), chain: [], timeoutMs: 0 })
  clock.settle()
  return { clock, ring: () => runs, wake: (dueMs) => engine.wake(id, dueMs), stop: () => engine.evict(id) }
}
const HOUR_MS = 3_600_000

test('a wall clock that is set back an hour delays no durable timer in memory', () => {
  const { clock, ring } = minuteTimer()
  clock.advance(30_000)
  clock.jumpWallClock(-HOUR_MS)
  clock.advance(29_999)
  assert.equal(ring(), 0)
  clock.advance(1)
  assert.equal(ring(), 1)
  clock.advance(HOUR_MS)
  assert.equal(ring(), 1)
})

test('a wall clock that is set forward makes a durable timer due at the next wake', () => {
  const { clock, ring, wake } = minuteTimer()
  clock.jumpWallClock(HOUR_MS)
  wake(clock.now())
  clock.advance(0)
  assert.equal(ring(), 1)
  clock.advance(HOUR_MS)
  assert.equal(ring(), 1)
})

test('a shard that was woken for a timer runs it, though the wall clock was set back', async () => {
  const { clock, ring, wake, stop } = minuteTimer()
  const dueMs = clock.now() + 60_000
  await stop()
  clock.jumpWallClock(-HOUR_MS)
  wake(dueMs)
  clock.advance(0)
  assert.equal(ring(), 1)
})

test('a host reports each jump of the wall clock once, and no adjustment', () => {
  const clock = new ManualClock()
  const jumps: number[] = []
  const watch = watchWallClock(clock, (ms) => jumps.push(ms))
  for (const ms of [0, 5, HOUR_MS, 0, -2 * HOUR_MS, -5]) {
    clock.jumpWallClock(ms)
    clock.advance(2_000)
  }
  watch.cancel()
  clock.jumpWallClock(HOUR_MS)
  clock.advance(2_000)
  assert.deepEqual(jumps, [HOUR_MS, -2 * HOUR_MS])
})

test('calls between shards have their deadline by the monotonic clock', async () => {
  const Relay = contract('relay', { ask: command(1, {}, { n: t.u32 }) })
  const Slow = contract('slow', { get: command(2, {}, { n: t.u32 }) }, { key: 'main' })
  let release: () => void = () => {}
  const slow = shard(Slow).on('get', async () => {
    await new Promise<void>((resolve) => (release = resolve))
    return { n: 1 }
  })
  const relay = shard(Relay).on('ask', (c) => c.at(Slow).call.get())
  const clock = new ManualClock()
  const engine = new Engine(firefly({ relay, slow }), { clock, store: new MemoryStore(), log: new MemoryLog() })
  const ask = { command: 1, body: msgpack.encode({}), chain: [], timeoutMs: 5_000 }
  // The second call waits in the mailbox while the wall clock jumps.
  const answers = [1, 2].map(() => engine.receiveCall({ contract: 'relay', key: 'a' }, ask))
  for (const jumpMs of [HOUR_MS, -2 * HOUR_MS]) {
    await new Promise(setImmediate)
    clock.jumpWallClock(jumpMs)
    clock.advance(10)
    release()
  }
  await new Promise(setImmediate)
  release()
  assert.deepEqual(
    (await Promise.all(answers)).map(({ kind }) => kind),
    ['reply', 'reply'],
  )
})
