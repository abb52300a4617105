// A session's budget: what bursts through, what it waits for, and what clocks may do meanwhile.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { TokenBucket } from '../../edge/gateway/tokenbucket.ts'

test('a full bucket lets two seconds of the rate pass at once, and no more', () => {
  const budget = new TokenBucket(100, Infinity)
  for (let i = 0; i < 200; i++) {
    assert.equal(budget.waitMs(5_000), 0)
    budget.consume(1, 0, 5_000)
  }
  assert.equal(budget.waitMs(5_000), 0)
  budget.consume(1, 0, 5_000)
  assert.equal(budget.waitMs(5_000), 10)
})

test('the frame that overdraws is served, and its debt is waited for', () => {
  const budget = new TokenBucket(Infinity, 1_000)
  budget.consume(1, 65_000, 0)
  assert.equal(budget.waitMs(0), 63_000)
  assert.equal(budget.waitMs(62_999), 1)
  assert.equal(budget.waitMs(63_000), 0)
  budget.consume(1, 10, 63_000)
  assert.equal(budget.waitMs(63_000), 10)
})

test('the emptier of the two buckets decides', () => {
  const budget = new TokenBucket(10, 1_000)
  budget.consume(30, 0, 0)
  assert.equal(budget.waitMs(0), 1_000)
  budget.consume(0, 5_000, 0)
  assert.equal(budget.waitMs(0), 3_000)
  assert.equal(budget.waitMs(2_999), 1)
})

test('a steady sender at the rate never waits, one at twice the rate is slowed to it', () => {
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

test('while the clock stands still nothing is refilled', () => {
  const budget = new TokenBucket(100, 100)
  for (let i = 0; i < 1_000; i++) budget.consume(1, 1, 1_700_000_000_000)
  assert.equal(budget.waitMs(1_700_000_000_000), 8_000)
  assert.equal(budget.waitMs(1_700_000_000_000), 8_000)
  assert.equal(budget.waitMs(1_700_000_001_000), 7_000)
})

test('a clock that steps back refills nothing and does not stop the refill either', () => {
  const budget = new TokenBucket(100, Infinity)
  budget.consume(300, 0, 1_000_000)
  assert.equal(budget.waitMs(1_000_000), 1_000)
  assert.equal(budget.waitMs(400_000), 1_000)
  assert.equal(budget.waitMs(401_000), 0)
})

test('a gap of years fills the bucket and does not overfill it', () => {
  const budget = new TokenBucket(100, 100)
  budget.consume(100_000, 100_000, 0)
  const later = 10 * 365 * 86_400_000
  assert.equal(budget.waitMs(later), 0)
  budget.consume(200, 200, later)
  assert.equal(budget.waitMs(later), 0)
  budget.consume(1, 0, later)
  assert.equal(budget.waitMs(later), 10)
})

test('Infinity is off', () => {
  const budget = new TokenBucket(Infinity, Infinity)
  for (let i = 0; i < 100; i++) budget.consume(1e9, 1e12, 0)
  assert.equal(budget.waitMs(0), 0)
})

test('a rate that is no rate is refused', () => {
  for (const rate of [0, -1, NaN]) {
    assert.throws(() => new TokenBucket(rate, 1), { name: 'RangeError', message: new RegExp(`${rate} cost`) })
    assert.throws(() => new TokenBucket(1, rate), {
      name: 'RangeError',
      message: new RegExp(`${rate} bytes`),
    })
  }
})

test('who waits as told sends no more than the rate and the bucket, whatever the frames', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5_000 }),
      fc.array(fc.record({ cost: fc.integer({ min: 1, max: 100 }), gap: fc.integer({ min: 0, max: 50 }) }), {
        minLength: 1,
        maxLength: 300,
      }),
      (rate, frames) => {
        const budget = new TokenBucket(rate, Infinity)
        let now = 0
        let sent = 0
        let last = 0
        for (const { cost, gap } of frames) {
          now += gap + budget.waitMs(now + gap)
          assert.ok(budget.waitMs(now) <= 1)
          budget.consume(cost, 0, now)
          sent += cost
          last = cost
        }
        assert.ok(sent - last <= (rate * (now + 2_000)) / 1_000 + rate / 1_000 + 1e-6)
      },
    ),
  )
})
