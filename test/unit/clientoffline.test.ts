// Calls and casts without connection: dropped, queued or rejected, as the contract declares.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { command, contract, event } from '../../core/wire/contract.ts'
import { DefinitionError } from '../../core/wire/errors.ts'
import { t } from '../../core/wire/type.ts'
import { settlePromises, ScriptedServer, outcomeOf, Room } from './scriptedserver.ts'
import { assertField } from '../support/assertfield.ts'

async function connectThenDisconnect() {
  const { server, game } = await ScriptedServer.welcomed()
  const room = game.at(Room)
  server.takeMessages()
  server.connection.sendOpened(1, 7)
  server.connection.disconnect()
  return { server, room }
}

async function resume(server: ScriptedServer, mark = 0, lost = false): Promise<void> {
  server.openNext()
  server.connection.takeMessages()
  server.connection.sendWelcome({ resumed: true, token: 'two' }).sendOpened(1, 7, { mark, lost })
}

test('drops volatile casts; queues calls and durable casts and sends them in order', async () => {
  const { server, room } = await connectThenDisconnect()
  room.step({ n: 1 })
  room.queuedStep({ n: 2 })
  void outcomeOf(room.ask({ n: 3 }))
  room.note({ n: 4 })
  room.queuedStep({ n: 5 })
  await resume(server)
  assert.deepEqual(server.takeMessages(), [
    ['CALL', 1, 1, 1, 6, 2],
    ['CALL', 1, 1, 2, 1, 3],
    ['CALL', 1, 1, 3, 3, 4],
    ['CALL', 1, 1, 4, 6, 5],
  ])
  // A queued volatile cast has no answer, so it is not resent.
  await server.reconnect()
  server.connection.takeMessages()
  server.connection.sendWelcome({ resumed: true, token: 'three' }).sendOpened(1, 7, { mark: 2 })
  assert.deepEqual(server.takeMessages(), [
    ['CALL', 1, 1, 2, 1, 3],
    ['CALL', 1, 1, 3, 3, 4],
  ])
})

test('commands with offline fail, and calls with offline drop, fail immediately with UNAVAILABLE', async () => {
  const { server, room } = await connectThenDisconnect()
  assert.throws(() => room.failingStep({ n: 1 }), { name: 'CallError', code: 'UNAVAILABLE' })
  const outcomes = [room.failingAsk({ n: 2 }), room.droppedAsk({ n: 3 }), room.failingSave({ n: 4 })].map(outcomeOf)
  await settlePromises()
  assertField(outcomes, 'now', ['UNAVAILABLE', 'UNAVAILABLE', 'UNAVAILABLE'])
  await resume(server)
  assert.deepEqual(server.takeMessages(), [])
  room.failingStep({ n: 5 })
  void outcomeOf(room.failingAsk({ n: 6 }))
  assert.equal(server.takeMessages().length, 2)
})

test('the deadline of a queued call continues', async () => {
  const { server, room } = await connectThenDisconnect()
  const call = outcomeOf(room.ask({ n: 1 }))
  room.queuedStep({ n: 2 })
  // No connection opens.
  server.clock.advance(15_000)
  await settlePromises()
  assert.equal(call.now, 'DEADLINE')
  server.connection.events.opened()
  server.connection.sendWelcome({ resumed: true, token: 'two' }).sendOpened(1, 7)
  assert.deepEqual(server.takeMessages().slice(2), [])
})

test('queues at most 256 calls, then rejects with OVERLOADED', async () => {
  const { server, room } = await connectThenDisconnect()
  const outcomes = Array.from({ length: 257 }, (_, n) => outcomeOf(room.ask({ n })))
  await settlePromises()
  assert.deepEqual([outcomes[255]!.now, outcomes[256]!.now], ['pending', 'OVERLOADED'])
  assert.throws(() => room.queuedStep({ n: 1 }), { code: 'OVERLOADED' })
  room.step({ n: 1 })
  await resume(server)
  assert.equal(server.takeMessages().length, 256)
})

test('after a shard restart sends an unsent volatile call and fails a sent one', async () => {
  const { server, game } = await ScriptedServer.welcomed()
  const room = game.at(Room)
  const sent = outcomeOf(room.ask({ n: 1 }))
  server.takeMessages()
  server.connection.sendOpened(1, 7)
  server.connection.disconnect()
  const queued = outcomeOf(room.ask({ n: 2 }))
  await resume(server, 0, true)
  assert.deepEqual(server.takeMessages(), [['CALL', 1, 1, 2, 1, 2]])
  await settlePromises()
  assert.deepEqual([sent.now, queued.now], ['SHARD_RESTARTED', 'pending'])
})

test('a contract rejects an invalid offline mode', () => {
  const offline = (options: object) => () => contract('x', { a: command(1, {}, null, options) })
  assert.throws(offline({ durable: true, offline: 'drop' }), DefinitionError)
  assert.throws(offline({ offline: 'later' }), /offline is "later", not one of drop, keep, fail/)
  offline({ durable: true, offline: 'fail' })()
})

test('latest of an event must be true or the name of a comparable field', () => {
  const fields = { seat: t.u16, name: t.optional(t.string(8)), list: t.array(t.u8, 4) }
  const latest = (name: string | true) => () => contract('x', { e: event(1, fields, { latest: name }) })
  for (const good of [true, 'seat', 'name'] as const) latest(good)()
  assert.throws(latest('chair'), /x\.e: latest "chair" is no field of its data: seat, name, list/)
  assert.throws(latest('list'), /x\.e: latest "list" is of type array, which cannot be compared/)
})
