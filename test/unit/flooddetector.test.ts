// How fast a peer may send, and when it is a flood.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { FLOOD_DETECTED, FloodDetector } from '../../edge/gateway/flooddetector.ts'

const FLOOD_MS = 1_000
/** A bucket of 2,000. */
const RATE = 1_000

test('within its budget it is read at once, above it after the debt', () => {
  const pace = new FloodDetector(RATE, Infinity)
  assert.equal(pace.consume(2_000, 0, 0, FLOOD_MS), 0)
  assert.equal(pace.consume(300, 0, 0, FLOOD_MS), 300)
})

test('whoever is above its budget for long is a flood', () => {
  const pace = new FloodDetector(RATE, Infinity)
  let now = 0
  assert.equal(pace.consume(2_400, 0, now, FLOOD_MS), 400)
  assert.equal(pace.consume(400, 0, (now += 400), FLOOD_MS), 400)
  assert.equal(pace.consume(400, 0, (now += 400), FLOOD_MS), 400)
  assert.equal(pace.consume(400, 0, (now += 400), FLOOD_MS), FLOOD_DETECTED)
})

test('a pause of more than a second begins anew', () => {
  const pace = new FloodDetector(RATE, Infinity)
  let now = 0
  assert.equal(pace.consume(2_900, 0, now, FLOOD_MS), 900)
  assert.equal(pace.consume(1_950, 0, (now += 2_000), FLOOD_MS), 850)
  assert.equal(pace.consume(900, 0, (now += 850), FLOOD_MS), 900)
})

test('one chunk that costs more than a flooder is waited for is a flood at once', () => {
  for (const [cost, bytes, answer] of [
    [3_000, 0, 1_000],
    [3_001, 0, FLOOD_DETECTED],
    [0, 30_000, 1_000],
    [0, 30_010, FLOOD_DETECTED],
    [1_000_000, 0, FLOOD_DETECTED],
  ] as const)
    assert.equal(new FloodDetector(RATE, 10 * RATE).consume(cost, bytes, 0, FLOOD_MS), answer)
})
