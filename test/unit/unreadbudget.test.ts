// The bound of the bytes that all connections together have unread.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { UnreadBudget, type UnreadShare } from '../../edge/gateway/unreadbudget.ts'

const MAX_BYTES = 1_000_000

function open(budget: UnreadBudget, sizes: readonly number[]): UnreadShare[] {
  return sizes.map((bytes) => {
    const share = budget.newShare()
    budget.report(share, bytes, 0)
    return share
  })
}

/** Judges all by what they have unread, and closes those that must be closed. */
function poll(budget: UnreadBudget, shares: readonly UnreadShare[], nowMs = 0): string[] {
  return shares.map((share) => {
    const verdict = budget.judge(share, share.bytes, nowMs)
    if (verdict === 'close') budget.report(share, 0, nowMs)
    return verdict
  })
}

test('up to half of the bound nothing is paused, above it whoever has more than an equal share', () => {
  const budget = new UnreadBudget(MAX_BYTES)
  const shares = open(budget, [300_000, 150_000, 50_000])
  assert.deepEqual(poll(budget, shares), ['ok', 'ok', 'ok'])
  shares.push(...open(budget, [250_000]))
  assert.deepEqual(poll(budget, shares), ['pause', 'pause', 'ok', 'pause'])
  budget.report(shares[0]!, 0, 0)
  assert.deepEqual(poll(budget, shares.slice(1)), ['ok', 'ok', 'ok'])
})

test('nobody is paused for a few bytes, however many connections there are', () => {
  const budget = new UnreadBudget(MAX_BYTES)
  const shares = open(budget, Array<number>(300).fill(3_000))
  assert.deepEqual(new Set(poll(budget, shares)), new Set(['ok']))
})

test('above the bound the largest are closed, no more than an eighth needs', () => {
  const budget = new UnreadBudget(MAX_BYTES)
  const shares = open(budget, [10_000, 400_000, 100_000, 300_000, 20_000, 190_000])
  assert.deepEqual(poll(budget, shares), ['ok', 'close', 'ok', 'pause', 'ok', 'pause'])
  assert.equal(budget.bytes, 620_000)
})

test('who was selected stays when others have read in the meantime', () => {
  const budget = new UnreadBudget(MAX_BYTES)
  const [first, second] = open(budget, [600_000, 500_000])
  assert.equal(budget.judge(second!, 500_000, 0), 'pause')
  budget.report(second!, 100_000, 0)
  assert.equal(budget.judge(first!, 600_000, 0), 'pause')
  budget.report(first!, 0, 0)
  budget.report(second!, 0, 0)
  assert.equal(budget.bytes, 0)
})

test('the sum stays exact while connections come, read and are closed', () => {
  const budget = new UnreadBudget(MAX_BYTES)
  const shares = open(
    budget,
    Array.from({ length: 200 }, (_, i) => 1_000 * (i + 1)),
  )
  for (let round = 0; round < 5; round++) {
    poll(budget, shares)
    assert.equal(
      budget.bytes,
      shares.reduce((sum, { bytes }) => sum + bytes, 0),
    )
    assert.ok(budget.bytes <= MAX_BYTES, `${budget.bytes} bytes`)
    for (const share of shares.slice(0, 50)) budget.report(share, 30_000 + round, 0)
  }
})

test('a connection that no longer reports is not counted, until it reports again', () => {
  const budget = new UnreadBudget(MAX_BYTES)
  const [gone] = open(budget, [900_000])
  const [present] = open(budget, [200_000])
  assert.equal(budget.judge(present!, 200_000, 100_000), 'ok')
  assert.equal(budget.bytes, 200_000)
  budget.report(gone!, 150_000, 100_000)
  assert.equal(budget.bytes, 350_000)
})
