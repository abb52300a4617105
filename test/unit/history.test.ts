// Events kept for a client that has not acknowledged them: what comes back, what gives way, and what replaces what.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { EventHistory, type OutgoingEvent } from '../../core/channel/eventhistory.ts'

const bounds = { maxUnackedEvents: 5, maxUnackedEventBytes: 1_000 }

function sent(event: number, bytes = 1, latest = ''): OutgoingEvent {
  return { event, body: new Uint8Array(bytes), latest }
}

function replayAfter(history: EventHistory, events: number): [number, number][] {
  const all: [number, number][] = []
  history.replay(events, (sequence, { event }) => all.push([sequence, event]))
  return all
}

test('what is not acknowledged comes back in order, with the numbers it had', () => {
  const history = new EventHistory()
  for (let event = 10; event < 14; event++) history.add(sent(event), false, bounds)
  history.ack(2)
  assert.equal(history.canReplayFrom(1), false)
  assert.deepEqual(replayAfter(history, 2), [
    [3, 12],
    [4, 13],
  ])
  assert.deepEqual(replayAfter(history, 3), [[4, 13]])
  assert.deepEqual(replayAfter(history, 4), [])
  history.ack(99)
  assert.equal(history.canReplayFrom(2), true)
})

test('the oldest give way to too many or too large ones, and then nothing before them is reached', () => {
  const many = new EventHistory()
  for (let event = 0; event < 7; event++) many.add(sent(event), false, bounds)
  assert.equal(many.canReplayFrom(1), false)
  assert.equal(many.canReplayFrom(2), true)
  assert.equal(replayAfter(many, 2).length, 5)
  const large = new EventHistory()
  large.add(sent(1, 600), false, bounds)
  large.add(sent(2, 600), false, bounds)
  assert.equal(large.canReplayFrom(0), false)
  assert.deepEqual(replayAfter(large, 1), [[2, 2]])
  large.add(sent(3, 2_000), false, bounds)
  assert.equal(large.canReplayFrom(2), false)
  assert.equal(large.canReplayFrom(3), true)
})

test('an event that is waited with replaces an older one that says the same, and flowing ones replace nothing', () => {
  const history = new EventHistory()
  for (let n = 0; n < 3; n++) history.add(sent(n, 1, 'ship'), false, bounds)
  for (let n = 3; n < 40; n++) history.add(sent(n, 1, n % 2 === 0 ? 'ship' : 'rock'), true, bounds)
  assert.deepEqual(replayAfter(history, 3), [
    [39, 38],
    [40, 39],
  ])
  assert.equal(history.canReplayFrom(0), true)
})

test('after a resync numbers go on above what the client knows', () => {
  const history = new EventHistory()
  history.add(sent(1), false, bounds)
  history.discardUpTo(9)
  assert.equal(history.add(sent(2), false, bounds), 10)
  // The word of it may be lost: whoever has less is told again.
  assert.equal(history.canReplayFrom(8), false)
  assert.equal(history.canReplayFrom(9), true)
  assert.deepEqual(replayAfter(history, 9), [[10, 2]])
  history.reset()
  assert.equal(history.add(sent(3), false, bounds), 1)
})

test('a client that keeps what it gets has every number, or is told that it cannot', () => {
  const step = fc.oneof(
    fc.record({ what: fc.constant('add' as const), bytes: fc.integer({ min: 0, max: 300 }) }),
    fc.record({ what: fc.constant('ack' as const), back: fc.integer({ min: 0, max: 3 }) }),
    fc.record({ what: fc.constant('away' as const) }),
    fc.record({ what: fc.constant('back' as const) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const history = new EventHistory()
      let flows = true
      let arrived = 0
      for (const one of steps) {
        if (one.what === 'add') {
          const sequence = history.add(sent(1, one.bytes), !flows, bounds)
          if (flows) assert.equal(sequence, ++arrived)
        } else if (one.what === 'ack') history.ack(Math.max(0, arrived - one.back))
        else if (one.what === 'away') flows = false
        else if (!flows) {
          flows = true
          if (history.canReplayFrom(arrived))
            for (const [sequence] of replayAfter(history, arrived)) assert.equal(sequence, ++arrived)
          else {
            history.discardUpTo(0)
            arrived = history.last
          }
          assert.equal(arrived, history.last)
        }
      }
    }),
  )
})
