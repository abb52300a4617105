// The SDK's deadline for WELCOME: it closes a connection on which the server sends nothing.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { connect } from '../../client/index.ts'
import type { SocketEvents } from '../../client/socket.ts'
import { ManualClock } from '../../core/testing/memory.ts'

test('closes a connection without WELCOME after ten seconds and opens another one', async () => {
  const clock = new ManualClock()
  const connections: { events: SocketEvents; isClosed: boolean }[] = []
  const connecting = connect('ws://silent.test', {
    clock,
    connectMs: 60_000,
    dial: (_url, events) => {
      const connection = { events, isClosed: false }
      connections.push(connection)
      return { send: () => {}, close: () => (connection.isClosed = true) }
    },
  })
  connections[0]!.events.opened()
  clock.advance(9_999)
  assert.deepEqual([connections.length, connections[0]!.isClosed], [1, false])
  clock.advance(1)
  assert.ok(connections[0]!.isClosed)
  clock.advance(10_000)
  // The second connection is never established.
  assert.equal(connections.length, 2)
  clock.advance(10_000)
  assert.ok(connections[1]!.isClosed)
  // The client ignores later events of the first connection.
  connections[0]!.events.closed('late')
  clock.advance(60_000)
  await assert.rejects(connecting, /no answer within 60000 ms \(no WELCOME within 10000 ms\)/)
})
