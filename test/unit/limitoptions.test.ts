// Limits as options: names, ranges, contradictions, and the variables of an edge Worker.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DEFAULT_LIMITS } from '../../core/wire/limits.ts'
import { limitsOf, numberOptionsOf, timesOf } from '../../edge/gateway/limitoptions.ts'

test('a value replaces its default, and the loopback address may have all connections', () => {
  assert.deepEqual(limitsOf({}), DEFAULT_LIMITS)
  const limits = limitsOf({ maxUnproven: 20_000, maxConnections: 50_000, rate: 7 })
  assert.deepEqual(limits, {
    ...DEFAULT_LIMITS,
    maxUnproven: 20_000,
    maxConnections: 50_000,
    maxPerLoopback: 50_000,
    maxCostPerSecond: 7,
  })
  assert.equal(limitsOf({ maxConnections: 9, maxPerLoopback: 3 }).maxPerLoopback, 3)
  assert.deepEqual(timesOf({ firstFrame: 500 }), { firstFrameMs: 500 })
  assert.deepEqual(timesOf({ overload: 20, retryAfter: 3_000 }), { overloadMs: 20, retryAfterMs: 3_000 })
})

test('contradictions are refused', () => {
  assert.throws(
    () => limitsOf({ maxUnreadBytes: 2_000_000 }),
    /maxUnreadBytes 2000000 is above maxOutboundBytes 1048576/,
  )
  assert.throws(() => timesOf({ stall: 40_000 }), /stall 40000 ms is above unread 30000 ms/)
})

test('variables have the names of the options, and ranges', () => {
  const env = {
    FIREFLY_MAX_UNPROVEN: '7',
    FIREFLY_FIRST_FRAME: '250',
    FIREFLY_RATE: '',
    FIREFLY_BYTE_RATE: '4096',
    SHARD: {},
  }
  assert.deepEqual(numberOptionsOf(env), { maxUnproven: 7, firstFrame: 250, byteRate: 4_096 })
  for (const value of ['0', '-1', '1e3', 'x', '1000001'])
    assert.throws(
      () => numberOptionsOf({ FIREFLY_MAX_UNPROVEN: value }),
      new RegExp(`FIREFLY_MAX_UNPROVEN "${value}" is not a whole number from 1 to 1000000`),
    )
})
