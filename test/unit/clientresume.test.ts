// A connection is lost and made again: the session goes on by its token, or a new one takes its place.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { encodeToken, MESSAGE } from '../../core/wire/message.ts'
import { settlePromises, ScriptedServer, outcomeOf, Room } from './scriptedserver.ts'

test('a session resumes by its last token, and names its channels in the same write', async () => {
  const door = new ScriptedServer()
  const game = await door.connectWelcomed()
  const a = game.at(Room, 'a')
  game.at(Room, 'b')
  a.on('moved', () => {})
  assert.deepEqual(door.takeMessages(), [
    ['OPEN', 1, 0, 0, 'a'],
    ['OPEN', 2, 0, 0, 'b'],
  ])
  door.connection.sendOpened(1, 7).sendOpened(2, 9).sendEvent(1, 1, 10).sendEvent(1, 2, 20)

  await door.reconnect()
  assert.equal(door.connection.writes.length, 1)
  assert.deepEqual(door.takeMessages(), [
    ['HELLO', 7, 'one', ''],
    ['RESUME', [1, 7, 2, 'a'], [2, 9, 0, 'b']],
  ])
  door.connection.sendWelcome({ resumed: true, token: 'two' })
  assert.deepEqual(door.takeMessages(), [])

  // A TOKEN takes the place of the one in WELCOME.
  door.connection
    .sendOpened(1, 7)
    .sendOpened(2, 9)
    .send(MESSAGE.TOKEN, encodeToken(new TextEncoder().encode('three')))
  await door.reconnect()
  assert.deepEqual(door.takeMessages()[0], ['HELLO', 7, 'three', ''])
})

test('when a WELCOME is lost the old token is shown once more', async () => {
  const door = new ScriptedServer()
  await door.connectWelcomed()
  await door.reconnect()
  assert.deepEqual(door.takeMessages(), [['HELLO', 7, 'one', '']])
  await door.reconnect()
  assert.deepEqual(door.takeMessages(), [['HELLO', 7, 'one', '']])
})

test('after a resume calls wait for OPENED, then the old ones go first, under their sequences', async () => {
  const door = new ScriptedServer()
  const game = await door.connectWelcomed()
  const room = game.at(Room)
  const first = outcomeOf(room.ask({ n: 1 }))
  room.note({ n: 2 })
  door.takeMessages()
  door.connection.sendOpened(1, 7)
  await door.reconnect()
  door.connection.sendWelcome({ resumed: true, token: 'two' })
  const third = outcomeOf(room.ask({ n: 3 }))
  assert.deepEqual(door.takeMessages(), [
    ['HELLO', 7, 'one', ''],
    ['RESUME', [1, 7, 0, 'main']],
  ])
  door.connection.sendOpened(1, 7, { mark: 1 })
  assert.deepEqual(door.takeMessages(), [
    ['CALL', 1, 1, 1, 1, 1],
    ['CALL', 1, 1, 2, 3, 2],
    ['CALL', 1, 1, 3, 1, 3],
  ])
  door.connection.sendReply(1, 1, 100).sendReply(1, 3, 300)
  await settlePromises()
  assert.deepEqual([first.now, third.now], [{ n: 100 }, { n: 300 }])
})

test('a channel whose first OPEN was never answered is named in RESUME, and its calls wait', async () => {
  const door = new ScriptedServer()
  const game = await door.connectWelcomed()
  void outcomeOf(game.at(Room).ask({ n: 1 }))
  door.takeMessages()
  await door.reconnect()
  assert.deepEqual(door.takeMessages().at(-1), ['RESUME', [1, 0, 0, 'main']])
  door.connection.sendWelcome({ resumed: true, token: 'two' })
  assert.deepEqual(door.takeMessages(), [])
  door.connection.sendOpened(1, 7)
  assert.deepEqual(door.takeMessages(), [['CALL', 1, 1, 1, 1, 1]])
})

test('a channel that is asked for during a pause is opened behind WELCOME, with its calls', async () => {
  const door = new ScriptedServer()
  const game = await door.connectWelcomed()
  door.connection.disconnect()
  void outcomeOf(game.at(Room, 'new').ask({ n: 1 }))
  door.clock.advance(200)
  door.connection.events.opened()
  assert.deepEqual(door.takeMessages(), [['HELLO', 7, 'one', '']])
  door.connection.sendWelcome({ resumed: true, token: 'two' })
  assert.deepEqual(door.takeMessages(), [
    ['OPEN', 1, 0, 0, 'new'],
    ['CALL', 1, 0, 1, 1, 1],
  ])
})

test('a channel that is opened by a listener of the state is opened once', async () => {
  const door = new ScriptedServer()
  const game = await door.connectWelcomed()
  game.on('state', (state) => void (state === 'open' && game.at(Room, 'late')))
  await door.reconnect()
  door.takeMessages()
  door.connection.sendWelcome({ resumed: true, token: 'two' })
  assert.deepEqual(door.takeMessages(), [['OPEN', 1, 0, 0, 'late']])
})

test('channels that RESUME has no room for are opened behind WELCOME, and their calls wait', async () => {
  const door = new ScriptedServer()
  const game = await door.connectWelcomed()
  const rooms = Array.from({ length: 12 }, (_, i) => game.at(Room, `${i}`.padEnd(1_000, 'x')))
  door.takeMessages()
  for (let channel = 1; channel <= 12; channel++) door.connection.sendOpened(channel, 7)
  await door.reconnect()
  void outcomeOf(rooms[11]!.ask({ n: 1 }))
  const [, resume] = door.takeMessages()
  assert.equal(resume!.length, 1 + 10)
  door.connection.sendWelcome({ resumed: true, token: 'two' })
  assert.deepEqual(
    door.takeMessages().map((heard) => heard.slice(0, 3)),
    [
      ['OPEN', 11, 7],
      ['OPEN', 12, 7],
    ],
  )
  door.connection.sendOpened(12, 7)
  assert.deepEqual(door.takeMessages(), [['CALL', 12, 1, 1, 1, 1]])
})

test('a shard that is left during a pause is named in RESUME and closed at once', async () => {
  const door = new ScriptedServer()
  const game = await door.connectWelcomed()
  const room = game.at(Room)
  door.takeMessages()
  door.connection.sendOpened(1, 7)
  door.connection.disconnect()
  room.close()
  door.clock.advance(200)
  door.connection.events.opened()
  assert.deepEqual(door.takeMessages().at(-1), ['RESUME', [1, 7, 0, 'main']])
  door.connection.sendWelcome({ resumed: true, token: 'two' })
  assert.deepEqual(door.takeMessages(), [['CLOSE', 1, 'CLOSED']])
  await door.reconnect()
  assert.deepEqual(door.takeMessages(), [['HELLO', 7, 'two', '']])
})

test('without a token the next session is new: what was sent fails, what was not is sent from sequence 1', async () => {
  const door = new ScriptedServer()
  const game = await door.connectWelcomed({}, { token: '' })
  const room = game.at(Room)
  let restarts = 0
  room.onRestart(() => restarts++)
  const [asked, saved, again] = [room.ask({ n: 1 }), room.save({ n: 2 }), room.again({ n: 3 })].map(outcomeOf)
  room.note({ n: 4 })
  door.takeMessages()
  door.connection.sendOpened(1, 7)
  door.connection.disconnect()
  const later = outcomeOf(room.ask({ n: 5 }))
  door.clock.advance(200)
  door.connection.events.opened()
  assert.deepEqual(door.takeMessages(), [['HELLO', 0, '', '']])
  door.connection.sendWelcome({ session: new Uint8Array(16).fill(8), token: '' })
  await settlePromises()
  assert.deepEqual(
    [asked!.now, saved!.now, again!.now, later.now],
    ['SHARD_RESTARTED', 'DEADLINE', 'waits', 'waits'],
  )
  assert.deepEqual(door.takeMessages(), [
    ['OPEN', 1, 0, 0, 'main'],
    ['CALL', 1, 0, 1, 5, 3],
    ['CALL', 1, 0, 2, 1, 5],
  ])
  assert.equal(restarts, 0)
  door.connection.sendOpened(1, 7).sendReply(1, 2, 50)
  await settlePromises()
  assert.deepEqual([restarts, later.now], [1, { n: 50 }])
})

test('a server that forgot the session opens what RESUME named, and the SDK begins there anew', async () => {
  const door = new ScriptedServer()
  const game = await door.connectWelcomed()
  const room = game.at(Room)
  const heard: number[] = []
  let restarts = 0
  room.onRestart(() => restarts++)
  room.on('moved', ({ n }) => heard.push(n))
  void outcomeOf(room.ask({ n: 1 }))
  door.takeMessages()
  door.connection.sendOpened(1, 7).sendReply(1, 1, 1).sendEvent(1, 1, 10)
  door.connection.disconnect()
  void outcomeOf(room.ask({ n: 2 }))
  door.clock.advance(200)
  door.connection.events.opened()
  door.takeMessages()
  door.connection.sendWelcome({ resumed: false, session: new Uint8Array(16).fill(8), token: 'two' })
  // Not OPEN once more: the channel is open.
  assert.deepEqual(door.takeMessages(), [])
  door.connection.sendOpened(1, 7, { lost: true }).sendEvent(1, 1, 20)
  assert.deepEqual(door.takeMessages(), [['CALL', 1, 1, 1, 1, 2]])
  assert.deepEqual([restarts, heard], [1, [10, 20]])
  await door.reconnect()
  assert.deepEqual(door.takeMessages()[0], ['HELLO', 8, 'two', ''])
})

test('a connection is hung up for good by the game only', async () => {
  const door = new ScriptedServer()
  const game = await door.connectWelcomed()
  game.at(Room)
  door.takeMessages()
  door.clock.advance(37_500)
  assert.deepEqual([door.connections.length >= 1, door.connections[0]!.clientLeave], [true, false])
  door.clock.advance(5_000)
  door.connection.events.opened()
  door.connection.sendWelcome({ resumed: true, token: 'two' })
  door.connection.takeMessages()
  await game.close()
  assert.deepEqual(door.connection.takeMessages(), [['CLOSE', 1, 'CLOSED']])
  assert.equal(door.connection.clientLeave, true)
})

test('what an abandoned connection still says comes too late', async () => {
  const door = new ScriptedServer()
  const game = await door.connectWelcomed()
  const room = game.at(Room)
  const told: number[] = []
  room.on('moved', ({ n }) => told.push(n))
  door.takeMessages()
  const old = door.connection.sendOpened(1, 7)
  door.clock.advance(42_500)
  door.connection.events.opened()
  door.connection.sendWelcome({ resumed: true, token: 'two' }).sendOpened(1, 7)
  const { connection: line } = door
  assert.notEqual(line, old)
  old.sendEvent(1, 1, 10).sendError(0, 0, 'REPLACED').disconnect()
  assert.deepEqual([told, game.state, line.clientLeave], [[], 'open', null])
  line.sendEvent(1, 1, 20)
  assert.deepEqual(told, [20])
})
