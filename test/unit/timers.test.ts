// Durable timers: one that is due later than a host holds timers in memory, and one whose handler fails.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import { CallError, command, contract, firefly, shard, t } from '../../core/game/index.ts'
import { Engine } from '../../core/engine/engine.ts'
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
  engine.peer(id).cast({ command: 1, body: msgpack.encode({ ms: 10 }), chain: [], deadlineMs: 0 })
  for (let step = 0; step < 20; step++) {
    clock.advance(1_000)
    await new Promise(setImmediate)
  }
  assert.equal(runs, 3)
  assert.deepEqual(store.open(id).timers, [])
})
