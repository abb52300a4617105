// The SDK's deadline for WELCOME: a server that accepts a connection and sends nothing is given up.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { connect } from '../../client/index.ts'
import type { SocketEvents } from '../../client/socket.ts'
import { ManualClock } from '../../core/testing/memory.ts'

test('closes a connection without WELCOME after ten seconds and opens another one', async () => {
  const clock = new ManualClock()
  const dials: { events: SocketEvents; closed: boolean }[] = []
  const failed = connect('ws://nobody.test', {
    clock,
    connectMs: 60_000,
    dial: (_url, events) => {
      const dialed = { events, closed: false }
      dials.push(dialed)
      return { send: () => {}, close: () => (dialed.closed = true) }
    },
  })
  dials[0]!.events.opened()
  clock.advance(9_999)
  assert.deepEqual([dials.length, dials[0]!.closed], [1, false])
  clock.advance(1)
  assert.ok(dials[0]!.closed)
  clock.advance(10_000)
  // The second connection never opens.
  assert.equal(dials.length, 2)
  clock.advance(10_000)
  assert.ok(dials[1]!.closed)
  // Events of the first connection are ignored now.
  dials[0]!.events.closed('late')
  clock.advance(60_000)
  await assert.rejects(failed, /no answer within 60000 ms \(no WELCOME within 10000 ms\)/)
})
