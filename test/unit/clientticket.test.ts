// The login ticket: shown when a session begins, and only then.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { settlePromises, ScriptedServer, outcomeOf, type ReceivedMessage } from './scriptedserver.ts'

test('a ticket is shown in the HELLO of a new session, not in that of a resume', async () => {
  const door = new ScriptedServer()
  void door.connect({ ticket: 'jwt' })
  door.connection.events.opened()
  assert.deepEqual(door.takeMessages(), [['HELLO', 0, '', 'jwt']])
  door.connection.sendWelcome({ token: 'one' })
  await door.reconnect()
  assert.deepEqual(door.takeMessages(), [['HELLO', 7, 'one', '']])
})

test('a function is asked once for each new session', async () => {
  const door = new ScriptedServer()
  let asked = 0
  void door.connect({ ticket: () => Promise.resolve(`jwt ${++asked}`) })
  await settlePromises()
  const hello = (): ReceivedMessage[] => {
    door.connection.events.opened()
    return door.takeMessages()
  }
  assert.deepEqual(hello(), [['HELLO', 0, '', 'jwt 1']])
  door.connection.sendWelcome({ token: '' })
  door.connection.disconnect()
  door.clock.advance(200)
  await settlePromises()
  assert.deepEqual(hello(), [['HELLO', 0, '', 'jwt 2']])
  door.connection.sendWelcome({ token: 'one' })
  door.connection.disconnect()
  door.clock.advance(200)
  assert.deepEqual([hello(), asked], [[['HELLO', 7, 'one', '']], 2])
})

test('a function that fails is a failed attempt: it is asked again, later and later', async () => {
  const door = new ScriptedServer()
  const askedMs: number[] = []
  const begun = door.connect({
    connectMs: 3_000,
    ticket: () => {
      askedMs.push(door.clock.mono())
      if (askedMs.length % 2 === 0) throw new Error('no token service')
      return Promise.reject(new Error('no token service'))
    },
  })
  for (let i = 0; i < 300; i++) {
    await settlePromises()
    door.clock.advance(10)
  }
  await assert.rejects(begun, /no answer within 3000 ms \(no ticket: no token service\)/)
  const pauses = askedMs.slice(1).map((ms, i) => ms - askedMs[i]!)
  assert.ok(pauses.length >= 3, String(pauses))
  pauses.forEach((ms, i) => assert.ok(ms >= 50 * 2 ** i && ms <= 110 * 2 ** i, `${i}: ${ms} ms`))
  assert.equal(door.connections.length, 0)
})

test('a function that never answers is given up with its attempt, and comes too late then', async () => {
  const door = new ScriptedServer()
  const answers: ((ticket: string) => void)[] = []
  const begun = outcomeOf(
    door.connect({ connectMs: 60_000, ticket: () => new Promise((resolve) => answers.push(resolve)) }),
  )
  door.clock.advance(10_200)
  assert.equal(answers.length, 2)
  answers[0]!('late')
  await settlePromises()
  assert.equal(door.connections.length, 0)
  answers[1]!('jwt')
  await settlePromises()
  door.connection.events.opened()
  assert.deepEqual(door.takeMessages(), [['HELLO', 0, '', 'jwt']])
  door.connection.sendWelcome()
  await settlePromises()
  assert.notEqual(begun.now, 'waits')
})

test('a ticket that no HELLO holds is refused at once', async () => {
  const door = new ScriptedServer()
  await assert.rejects(door.connect({ ticket: 'x'.repeat(4_097) }), /ticket of 4097 bytes exceeds 4096/)
})
