// Calls and casts of a moment without connection: dropped, kept or refused, as their author has said.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { command, contract, event } from '../../core/wire/contract.ts'
import { DefinitionError } from '../../core/wire/errors.ts'
import { t } from '../../core/wire/type.ts'
import { settlePromises, ScriptedServer, outcomeOf, Room } from './scriptedserver.ts'

async function connectThenDisconnect() {
  const server = new ScriptedServer()
  const room = (await server.connectWelcomed()).at(Room)
  server.takeMessages()
  server.connection.sendOpened(1, 7)
  server.connection.disconnect()
  return { door: server, room }
}

async function resume(server: ScriptedServer, mark = 0, lost = false): Promise<void> {
  server.clock.advance(200)
  server.connection.events.opened()
  server.connection.takeMessages()
  server.connection.sendWelcome({ resumed: true, token: 'two' }).sendOpened(1, 7, { mark, lost })
}

test('casts are dropped, calls and what is durable is kept and sent in order', async () => {
  const { door, room } = await connectThenDisconnect()
  room.step({ n: 1 })
  room.keptStep({ n: 2 })
  void outcomeOf(room.ask({ n: 3 }))
  room.note({ n: 4 })
  room.keptStep({ n: 5 })
  await resume(door)
  assert.deepEqual(door.takeMessages(), [
    ['CALL', 1, 1, 1, 6, 2],
    ['CALL', 1, 1, 2, 1, 3],
    ['CALL', 1, 1, 3, 3, 4],
    ['CALL', 1, 1, 4, 6, 5],
  ])
  // Nothing waits for a cast that is not durable: it is not sent again.
  await door.reconnect()
  door.connection.takeMessages()
  door.connection.sendWelcome({ resumed: true, token: 'three' }).sendOpened(1, 7, { mark: 2 })
  assert.deepEqual(door.takeMessages(), [
    ['CALL', 1, 1, 2, 1, 3],
    ['CALL', 1, 1, 3, 3, 4],
  ])
})

test('what wants to fail, or to be dropped, fails at once with UNAVAILABLE', async () => {
  const { door, room } = await connectThenDisconnect()
  assert.throws(() => room.sternStep({ n: 1 }), { name: 'CallError', code: 'UNAVAILABLE' })
  const fates = [room.sternAsk({ n: 2 }), room.looseAsk({ n: 3 }), room.sternSave({ n: 4 })].map(outcomeOf)
  await settlePromises()
  assert.deepEqual(
    fates.map(({ now }) => now),
    ['UNAVAILABLE', 'UNAVAILABLE', 'UNAVAILABLE'],
  )
  await resume(door)
  assert.deepEqual(door.takeMessages(), [])
  room.sternStep({ n: 5 })
  void outcomeOf(room.sternAsk({ n: 6 }))
  assert.equal(door.takeMessages().length, 2)
})

test('the deadline of what is kept goes on', async () => {
  const { door, room } = await connectThenDisconnect()
  const asked = outcomeOf(room.ask({ n: 1 }))
  room.keptStep({ n: 2 })
  // Nobody takes up.
  door.clock.advance(15_000)
  await settlePromises()
  assert.equal(asked.now, 'DEADLINE')
  door.connection.events.opened()
  door.connection.sendWelcome({ resumed: true, token: 'two' }).sendOpened(1, 7)
  assert.deepEqual(door.takeMessages().slice(2), [])
})

test('only so many are kept', async () => {
  const { door, room } = await connectThenDisconnect()
  const fates = Array.from({ length: 257 }, (_, n) => outcomeOf(room.ask({ n })))
  await settlePromises()
  assert.deepEqual([fates[255]!.now, fates[256]!.now], ['waits', 'OVERLOADED'])
  assert.throws(() => room.keptStep({ n: 1 }), { code: 'OVERLOADED' })
  room.step({ n: 1 })
  await resume(door)
  assert.equal(door.takeMessages().length, 256)
})

test('a volatile call that was never sent survives the loss of its shard, one that was sent does not', async () => {
  const door = new ScriptedServer()
  const room = (await door.connectWelcomed()).at(Room)
  const sent = outcomeOf(room.ask({ n: 1 }))
  door.takeMessages()
  door.connection.sendOpened(1, 7)
  door.connection.disconnect()
  const kept = outcomeOf(room.ask({ n: 2 }))
  await resume(door, 0, true)
  assert.deepEqual(door.takeMessages(), [['CALL', 1, 1, 2, 1, 2]])
  await settlePromises()
  assert.deepEqual([sent.now, kept.now], ['SHARD_RESTARTED', 'waits'])
})

test('a contract refuses what makes no sense while there is no connection', () => {
  const offline = (options: object) => () => contract('x', { a: command(1, {}, null, options) })
  assert.throws(offline({ durable: true, offline: 'drop' }), DefinitionError)
  assert.throws(offline({ offline: 'later' }), /offline "later" is not one of drop, keep, fail/)
  offline({ durable: true, offline: 'fail' })()
})

test('what an event replaces is named by a plain field of its data', () => {
  const fields = { seat: t.u16, name: t.optional(t.string(8)), list: t.array(t.u8, 4) }
  const latest = (name: string | true) => () => contract('x', { e: event(1, fields, { latest: name }) })
  for (const good of [true, 'seat', 'name'] as const) latest(good)()
  assert.throws(latest('chair'), /x\.e: latest "chair" is not one of seat, name, list/)
  assert.throws(latest('list'), /x\.e: latest "list" is of type array, which names nothing/)
})
