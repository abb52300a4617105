// A server that accepts a connection and says nothing is left for the next try.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { connect } from '../../client/index.ts'
import type { SocketEvents } from '../../client/socket.ts'
import { ManualClock } from '../../core/testing/memory.ts'

test('a connection without WELCOME is given up after ten seconds, and another is made', async () => {
  const clock = new ManualClock()
  const dials: { events: SocketEvents; closed: boolean }[] = []
  const failed = connect('ws://nobody.test', {
    clock,
    connectMs: 60_000,
    dial: (_url, events) => {
      const one = { events, closed: false }
      dials.push(one)
      return { send: () => {}, close: () => (one.closed = true) }
    },
  })
  dials[0]!.events.opened()
  clock.advance(9_999)
  assert.deepEqual([dials.length, dials[0]!.closed], [1, false])
  clock.advance(1)
  assert.ok(dials[0]!.closed)
  clock.advance(10_000)
  // Also one that never even opens.
  assert.equal(dials.length, 2)
  clock.advance(10_000)
  assert.ok(dials[1]!.closed)
  // What the first says now is too late.
  dials[0]!.events.closed('late')
  clock.advance(60_000)
  await assert.rejects(failed, /no answer within 60000 ms \(no WELCOME within 10000 ms\)/)
})
