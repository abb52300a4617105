// A durable timer that is due later than a host holds timers in memory.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import { command, contract, firefly, shard, t } from '../../core/game/index.ts'
import { openHost } from '../../core/node/host.ts'
import { NEW_CHANNEL_DEFAULTS, type ChannelOut } from '../../core/ports/link.ts'
import { msgpack } from '../../core/wire/codec.ts'
import { TIMES } from '../../core/wire/limits.ts'

const AHEAD_MS = 100
const Bell = contract('bell', { wind: command(1, { ms: t.u32 }) })

test('fires a durable timer that is due after the look-ahead of the host', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'firefly-timers-'))
  const { wakeAheadMs } = TIMES
  Object.assign(TIMES, { wakeAheadMs: AHEAD_MS })
  const fired = Promise.withResolvers<number>()
  const bell = shard(Bell)
    .timer('ring', {}, () => fired.resolve(Date.now()))
    .on('wind', (c, { ms }) => c.after(ms, 'ring'))
  const host = await openHost({ game: firefly({ bell }), dir, slots: 1, evictMs: 20 })
  try {
    const ignore = (): void => {}
    const out = new Proxy({}, { get: () => ignore }) as ChannelOut
    const bells = { shard: { contract: 'bell', key: 'a' }, session: new Uint8Array(16), channel: 1 }
    const channel = host.engine.open({ ...NEW_CHANNEL_DEFAULTS, ...bells }, out)
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
