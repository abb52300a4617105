// Owners with a backlog flush one at a time, and more of them concurrently only while the backlog grows.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { ManualClock } from '../../core/testing/memory.ts'
import { CatchUpLimiter } from '../../core/outbox/catchup.ts'

/** Owners that send batch after batch; in `advanceRounds` each running batch ends after 100 ms. */
function createFixture() {
  const clock = new ManualClock()
  const state = { backlog: 100_000, change: -1_000, maxConcurrent: 0, fails: false }
  const limiter = new CatchUpLimiter(clock, () => state.backlog)
  const sending = new Map<object, { resolve: () => void; reject: (error: Error) => void }>()
  const sent = new Map<object, number>()
  const startOwner = (): object => {
    const owner = {}
    sent.set(owner, 0)
    void (async () => {
      for (;;) {
        try {
          await limiter.run(owner, () => new Promise((resolve, reject) => sending.set(owner, { resolve, reject })))
          sent.set(owner, sent.get(owner)! + 1)
        } catch {}
      }
    })()
    return owner
  }
  const settle = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))
  const advanceRounds = async (rounds: number): Promise<void> => {
    for (let i = 0; i < rounds; i++) {
      await settle()
      state.maxConcurrent = Math.max(state.maxConcurrent, sending.size)
      clock.advance(100)
      state.backlog += state.change
      const ending = [...sending.values()]
      sending.clear()
      for (const { resolve, reject } of ending) {
        if (state.fails) reject(new Error('unavailable'))
        else resolve()
      }
    }
    await settle()
  }
  return { state, limiter, sending, sent, startOwner, advanceRounds, settle }
}

test('admits one owner at a time, in turn, while the backlog shrinks', async () => {
  const { state, sent, startOwner, advanceRounds } = createFixture()
  const owners = Array.from({ length: 5 }, startOwner)
  await advanceRounds(50)
  assert.equal(state.maxConcurrent, 1)
  const counts = owners.map((owner) => sent.get(owner))
  assert.deepEqual(counts, [10, 10, 10, 10, 10])
})

test('raises the limit up to a bound while the backlog grows, and resets it after a failure', async () => {
  const { state, sending, startOwner, advanceRounds } = createFixture()
  state.change = 1_000
  for (let i = 0; i < 40; i++) startOwner()
  await advanceRounds(60)
  assert.equal(state.maxConcurrent, 16)
  state.fails = true
  state.change = -1_000
  await advanceRounds(1)
  state.fails = false
  await advanceRounds(1)
  assert.equal(sending.size, 1)
})

test('admits an owner at once when a caller waits for it', async () => {
  const { limiter, sending, startOwner, advanceRounds, settle } = createFixture()
  const [first, , third] = Array.from({ length: 3 }, startOwner)
  await settle()
  assert.deepEqual([...sending.keys()], [first])
  limiter.admitNow(third!)
  limiter.admitNow({})
  await settle()
  assert.deepEqual([...sending.keys()], [first, third])
  await advanceRounds(2)
  assert.equal(sending.size, 1)
})
