// The login ticket: presented when a session starts, and only then.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { settlePromises, ScriptedServer, outcomeOf, type ReceivedMessage } from './scriptedserver.ts'

test('presents the ticket in the HELLO of a new session, not in that of a resume', async () => {
  const server = new ScriptedServer()
  void server.connect({ ticket: 'jwt' })
  server.connection.events.opened()
  assert.deepEqual(server.takeMessages(), [['HELLO', 0, '', 'jwt']])
  server.connection.sendWelcome({ token: 'one' })
  await server.reconnect()
  assert.deepEqual(server.takeMessages(), [['HELLO', 7, 'one', '']])
})

test('calls a ticket function once per new session', async () => {
  const server = new ScriptedServer()
  let calls = 0
  void server.connect({ ticket: () => Promise.resolve(`jwt ${++calls}`) })
  await settlePromises()
  const hello = (): ReceivedMessage[] => {
    server.connection.events.opened()
    return server.takeMessages()
  }
  assert.deepEqual(hello(), [['HELLO', 0, '', 'jwt 1']])
  server.connection.sendWelcome({ token: '' })
  server.connection.disconnect()
  server.clock.advance(200)
  await settlePromises()
  assert.deepEqual(hello(), [['HELLO', 0, '', 'jwt 2']])
  server.connection.sendWelcome({ token: 'one' })
  server.connection.disconnect()
  server.clock.advance(200)
  assert.deepEqual([hello(), calls], [[['HELLO', 7, 'one', '']], 2])
})

test('retries a failing ticket function with growing delays', async () => {
  const server = new ScriptedServer()
  const calledMs: number[] = []
  const connecting = server.connect({
    connectMs: 3_000,
    ticket: () => {
      calledMs.push(server.clock.mono())
      if (calledMs.length % 2 === 0) throw new Error('no token service')
      return Promise.reject(new Error('no token service'))
    },
  })
  for (let i = 0; i < 300; i++) {
    await settlePromises()
    server.clock.advance(10)
  }
  await assert.rejects(connecting, /no answer within 3000 ms \(no ticket: no token service\)/)
  const delays = calledMs.slice(1).map((ms, i) => ms - calledMs[i]!)
  assert.ok(delays.length >= 3, String(delays))
  delays.forEach((ms, i) => assert.ok(ms >= 50 * 2 ** i && ms <= 110 * 2 ** i, `${i}: ${ms} ms`))
  assert.equal(server.connections.length, 0)
})

test('a ticket function without answer times out with its attempt, and its late answer is ignored', async () => {
  const server = new ScriptedServer()
  const answers: ((ticket: string) => void)[] = []
  const connecting = outcomeOf(
    server.connect({ connectMs: 60_000, ticket: () => new Promise((resolve) => answers.push(resolve)) }),
  )
  server.clock.advance(10_200)
  assert.equal(answers.length, 2)
  answers[0]!('late')
  await settlePromises()
  assert.equal(server.connections.length, 0)
  answers[1]!('jwt')
  await settlePromises()
  server.connection.events.opened()
  assert.deepEqual(server.takeMessages(), [['HELLO', 0, '', 'jwt']])
  server.connection.sendWelcome()
  await settlePromises()
  assert.notEqual(connecting.now, 'pending')
})

test('rejects a ticket above the limit of HELLO', async () => {
  const server = new ScriptedServer()
  await assert.rejects(server.connect({ ticket: 'x'.repeat(4_097) }), /ticket of 4097 bytes exceeds 4096/)
})
