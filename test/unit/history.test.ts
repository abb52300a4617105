// Events that are retained until the client acknowledges them: replay, bounds, and replacement by `latest`.

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

test('replays unacknowledged events in order, with their numbers', () => {
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

test('drops the oldest events beyond the bounds, and cannot replay from before them', () => {
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

test('a waiting event replaces an older one with its key, and a sent event replaces nothing', () => {
  const history = new EventHistory()
  for (let n = 0; n < 3; n++) history.add(sent(n, 1, 'ship'), false, bounds)
  for (let n = 3; n < 40; n++) history.add(sent(n, 1, n % 2 === 0 ? 'ship' : 'rock'), true, bounds)
  assert.deepEqual(replayAfter(history, 3), [
    [39, 38],
    [40, 39],
  ])
  assert.equal(history.canReplayFrom(0), true)
})

test('numbers continue above the number of a resync', () => {
  const history = new EventHistory()
  history.add(sent(1), false, bounds)
  history.discardUpTo(9)
  assert.equal(history.add(sent(2), false, bounds), 10)
  // The RESYNC may be lost: a client with a lower number receives it again.
  assert.equal(history.canReplayFrom(8), false)
  assert.equal(history.canReplayFrom(9), true)
  assert.deepEqual(replayAfter(history, 9), [[10, 2]])
  history.reset()
  assert.equal(history.add(sent(3), false, bounds), 1)
})

test('a client receives every number, or the history reports that it cannot replay', () => {
  const stepArbitrary = fc.oneof(
    fc.record({ action: fc.constant('add' as const), bytes: fc.integer({ min: 0, max: 300 }) }),
    fc.record({ action: fc.constant('ack' as const), lag: fc.integer({ min: 0, max: 3 }) }),
    fc.record({ action: fc.constant('detach' as const) }),
    fc.record({ action: fc.constant('resume' as const) }),
  )
  fc.assert(
    fc.property(fc.array(stepArbitrary, { maxLength: 60 }), (steps) => {
      const history = new EventHistory()
      let isSending = true
      let received = 0
      for (const step of steps) {
        if (step.action === 'add') {
          const sequence = history.add(sent(1, step.bytes), !isSending, bounds)
          if (isSending) assert.equal(sequence, ++received)
        } else if (step.action === 'ack') history.ack(Math.max(0, received - step.lag))
        else if (step.action === 'detach') isSending = false
        else if (!isSending) {
          isSending = true
          if (history.canReplayFrom(received))
            for (const [sequence] of replayAfter(history, received)) assert.equal(sequence, ++received)
          else {
            history.discardUpTo(0)
            received = history.last
          }
          assert.equal(received, history.last)
        }
      }
    }),
  )
})
