// Owners that have much to send take turns, more of them at a time only when that is not enough.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { ManualClock } from '../../core/testing/memory.ts'
import { CatchUpLimiter } from '../../core/outbox/catchup.ts'

/** Owners that send batch after batch; `pass` lets each batch that is on its way end after 100 ms. */
function createFixture() {
  const clock = new ManualClock()
  const state = { backlog: 100_000, change: -1_000, most: 0, fails: false }
  const lanes = new CatchUpLimiter(clock, () => state.backlog)
  const sending = new Map<object, { resolve: () => void; reject: (error: Error) => void }>()
  const sent = new Map<object, number>()
  const owner = (): object => {
    const me = {}
    sent.set(me, 0)
    void (async () => {
      for (;;) {
        try {
          await lanes.run(me, () => new Promise((resolve, reject) => sending.set(me, { resolve, reject })))
          sent.set(me, sent.get(me)! + 1)
        } catch {}
      }
    })()
    return me
  }
  const settle = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))
  const advanceRounds = async (rounds: number): Promise<void> => {
    for (let i = 0; i < rounds; i++) {
      await settle()
      state.most = Math.max(state.most, sending.size)
      clock.advance(100)
      state.backlog += state.change
      const ending = [...sending.values()]
      sending.clear()
      for (const { resolve, reject } of ending) {
        if (state.fails) reject(new Error('away'))
        else resolve()
      }
    }
    await settle()
  }
  return { state, lanes, sending, sent, owner, pass: advanceRounds, settle }
}

test('while the backlog shrinks one owner sends at a time, each in its turn', async () => {
  const { state, sent, owner, pass } = createFixture()
  const owners = Array.from({ length: 5 }, owner)
  await pass(50)
  assert.equal(state.most, 1)
  assert.deepEqual(
    owners.map((one) => sent.get(one)),
    [10, 10, 10, 10, 10],
  )
})

test('when it grows more send at a time, up to a bound, and after a failure one again', async () => {
  const { state, sending, owner, pass } = createFixture()
  state.change = 1_000
  for (let i = 0; i < 40; i++) owner()
  await pass(60)
  assert.equal(state.most, 16)
  state.fails = true
  state.change = -1_000
  await pass(1)
  state.fails = false
  await pass(1)
  assert.equal(sending.size, 1)
})

test('an owner that is waited for sends at once', async () => {
  const { lanes, sending, owner, pass, settle } = createFixture()
  const [first, , third] = Array.from({ length: 3 }, owner)
  await settle()
  assert.deepEqual([...sending.keys()], [first])
  lanes.admitNow(third!)
  lanes.admitNow({})
  await settle()
  assert.deepEqual([...sending.keys()], [first, third])
  await pass(2)
  assert.equal(sending.size, 1)
})
