// The rate limit of a connection: bursts, debts, clocks that stop or step back, and flood detection.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { FLOOD_DETECTED, TokenBucket } from '../../edge/gateway/tokenbucket.ts'

test('accepts a burst of two seconds of the rate without a wait, and no more', () => {
  const bucket = new TokenBucket(100, Infinity)
  for (let i = 0; i < 200; i++) {
    assert.equal(bucket.waitMs(5_000), 0)
    bucket.consume(1, 0, 5_000)
  }
  assert.equal(bucket.waitMs(5_000), 0)
  bucket.consume(1, 0, 5_000)
  assert.equal(bucket.waitMs(5_000), 10)
})

test('accepts the frame that overdraws, then waits until its debt is paid', () => {
  const bucket = new TokenBucket(Infinity, 1_000)
  bucket.consume(1, 65_000, 0)
  assert.equal(bucket.waitMs(0), 63_000)
  assert.equal(bucket.waitMs(62_999), 1)
  assert.equal(bucket.waitMs(63_000), 0)
  bucket.consume(1, 10, 63_000)
  assert.equal(bucket.waitMs(63_000), 10)
})

test('waits for the emptier of the two buckets', () => {
  const bucket = new TokenBucket(10, 1_000)
  bucket.consume(30, 0, 0)
  assert.equal(bucket.waitMs(0), 1_000)
  bucket.consume(0, 5_000, 0)
  assert.equal(bucket.waitMs(0), 3_000)
  assert.equal(bucket.waitMs(2_999), 1)
})

test('never delays a sender at the rate, and slows one at twice the rate to it', () => {
  const steady = new TokenBucket(50, Infinity)
  for (let now = 0; now < 60_000; now += 20) {
    steady.consume(1, 0, now)
    assert.equal(steady.waitMs(now), 0)
  }
  const fast = new TokenBucket(50, Infinity)
  let served = 0
  for (let now = 0; now < 60_000; now += 10) {
    if (fast.waitMs(now) > 0) continue
    fast.consume(1, 0, now)
    served++
  }
  assert.ok(served >= 3_000 && served <= 3_000 + 101, `${served} served in 60 s at 50 a second`)
})

test('refills nothing while the clock does not advance', () => {
  const bucket = new TokenBucket(100, 100)
  for (let i = 0; i < 1_000; i++) bucket.consume(1, 1, 1_700_000_000_000)
  assert.equal(bucket.waitMs(1_700_000_000_000), 8_000)
  assert.equal(bucket.waitMs(1_700_000_000_000), 8_000)
  assert.equal(bucket.waitMs(1_700_000_001_000), 7_000)
})

test('refills nothing when the clock steps back, and refills from there on', () => {
  const bucket = new TokenBucket(100, Infinity)
  bucket.consume(300, 0, 1_000_000)
  assert.equal(bucket.waitMs(1_000_000), 1_000)
  assert.equal(bucket.waitMs(400_000), 1_000)
  assert.equal(bucket.waitMs(401_000), 0)
})

test('fills but does not overfill a bucket after a gap of years', () => {
  const bucket = new TokenBucket(100, 100)
  bucket.consume(100_000, 100_000, 0)
  const later = 10 * 365 * 86_400_000
  assert.equal(bucket.waitMs(later), 0)
  bucket.consume(200, 200, later)
  assert.equal(bucket.waitMs(later), 0)
  bucket.consume(1, 0, later)
  assert.equal(bucket.waitMs(later), 10)
})

test('disables a bucket with the rate Infinity', () => {
  const bucket = new TokenBucket(Infinity, Infinity)
  for (let i = 0; i < 100; i++) bucket.consume(1e9, 1e12, 0)
  assert.equal(bucket.waitMs(0), 0)
})

test('rejects a rate that is not above 0', () => {
  for (const rate of [0, -1, NaN]) {
    assert.throws(() => new TokenBucket(rate, 1), { name: 'RangeError', message: new RegExp(`${rate} cost`) })
    assert.throws(() => new TokenBucket(1, rate), { name: 'RangeError', message: new RegExp(`${rate} bytes`) })
  }
})

test('limits a sender that waits to the rate plus one bucket, for any frames', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5_000 }),
      fc.array(fc.record({ cost: fc.integer({ min: 1, max: 100 }), gap: fc.integer({ min: 0, max: 50 }) }), {
        minLength: 1,
        maxLength: 300,
      }),
      (rate, frames) => {
        const bucket = new TokenBucket(rate, Infinity)
        let now = 0
        let sent = 0
        let lastCost = 0
        for (const { cost, gap } of frames) {
          now += gap + bucket.waitMs(now + gap)
          assert.ok(bucket.waitMs(now) <= 1)
          bucket.consume(cost, 0, now)
          sent += cost
          lastCost = cost
        }
        assert.ok(sent - lastCost <= (rate * (now + 2_000)) / 1_000 + rate / 1_000 + 1e-6)
      },
    ),
  )
})

const FLOOD_MS = 1_000
/** A bucket of 2,000. */
const RATE = 1_000

test('requires no pause within the rate, and a pause until the debt is paid above it', () => {
  const bucket = new TokenBucket(RATE, Infinity)
  assert.equal(bucket.throttle(2_000, 0, 0, FLOOD_MS), 0)
  assert.equal(bucket.throttle(300, 0, 0, FLOOD_MS), 300)
})

test('detects a flood when the rate is exceeded for too long', () => {
  const bucket = new TokenBucket(RATE, Infinity)
  let now = 0
  assert.equal(bucket.throttle(2_400, 0, now, FLOOD_MS), 400)
  assert.equal(bucket.throttle(400, 0, (now += 400), FLOOD_MS), 400)
  assert.equal(bucket.throttle(400, 0, (now += 400), FLOOD_MS), 400)
  assert.equal(bucket.throttle(400, 0, (now += 400), FLOOD_MS), FLOOD_DETECTED)
})

test('starts a new series of debts after a pause of more than a second', () => {
  const bucket = new TokenBucket(RATE, Infinity)
  let now = 0
  assert.equal(bucket.throttle(2_900, 0, now, FLOOD_MS), 900)
  assert.equal(bucket.throttle(1_950, 0, (now += 2_000), FLOOD_MS), 850)
  assert.equal(bucket.throttle(900, 0, (now += 850), FLOOD_MS), 900)
})

test('detects a flood at once when the debt of one chunk is too long', () => {
  for (const [cost, bytes, expected] of [
    [3_000, 0, 1_000],
    [3_001, 0, FLOOD_DETECTED],
    [0, 30_000, 1_000],
    [0, 30_010, FLOOD_DETECTED],
    [1_000_000, 0, FLOOD_DETECTED],
  ] as const)
    assert.equal(new TokenBucket(RATE, 10 * RATE).throttle(cost, bytes, 0, FLOOD_MS), expected)
})
