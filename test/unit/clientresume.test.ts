// Reconnecting: the session resumes by its token, or a new session replaces it.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { encodeToken, MESSAGE } from '../../core/wire/message.ts'
import { settlePromises, ScriptedServer, outcomeOf, Room } from './scriptedserver.ts'

test('resumes with the last token and sends RESUME with its channels in the same write', async () => {
  const { server, game } = await ScriptedServer.welcomed()
  const a = game.at(Room, 'a')
  game.at(Room, 'b')
  a.on('moved', () => {})
  assert.deepEqual(server.takeMessages(), [
    ['OPEN', 1, 0, 0, 'a'],
    ['OPEN', 2, 0, 0, 'b'],
  ])
  server.connection.sendOpened(1, 7).sendOpened(2, 9).sendEvent(1, 1, 10).sendEvent(1, 2, 20)

  await server.reconnect()
  assert.equal(server.connection.writes.length, 1)
  assert.deepEqual(server.takeMessages(), [
    ['HELLO', 7, 'one', ''],
    ['RESUME', [1, 7, 2, 'a'], [2, 9, 0, 'b']],
  ])
  server.connection.sendWelcome({ resumed: true, token: 'two' })
  assert.deepEqual(server.takeMessages(), [])

  // TOKEN replaces the token of WELCOME.
  server.connection
    .sendOpened(1, 7)
    .sendOpened(2, 9)
    .send(MESSAGE.TOKEN, encodeToken(new TextEncoder().encode('three')))
  await server.reconnect()
  assert.deepEqual(server.takeMessages()[0], ['HELLO', 7, 'three', ''])
})

test('presents the old token again when WELCOME was lost', async () => {
  const { server } = await ScriptedServer.welcomed()
  await server.reconnect()
  assert.deepEqual(server.takeMessages(), [['HELLO', 7, 'one', '']])
  await server.reconnect()
  assert.deepEqual(server.takeMessages(), [['HELLO', 7, 'one', '']])
})

test('after a resume calls wait for OPENED, then older calls are sent first, under their sequences', async () => {
  const { server, game } = await ScriptedServer.welcomed()
  const room = game.at(Room)
  const first = outcomeOf(room.ask({ n: 1 }))
  room.note({ n: 2 })
  server.takeMessages()
  server.connection.sendOpened(1, 7)
  await server.resume()
  const third = outcomeOf(room.ask({ n: 3 }))
  assert.deepEqual(server.takeMessages(), [
    ['HELLO', 7, 'one', ''],
    ['RESUME', [1, 7, 0, 'main']],
  ])
  server.connection.sendOpened(1, 7, { mark: 1 })
  assert.deepEqual(server.takeMessages(), [
    ['CALL', 1, 1, 1, 1, 1],
    ['CALL', 1, 1, 2, 3, 2],
    ['CALL', 1, 1, 3, 1, 3],
  ])
  server.connection.sendReply(1, 1, 100).sendReply(1, 3, 300)
  await settlePromises()
  assert.deepEqual([first.now, third.now], [{ n: 100 }, { n: 300 }])
})

test('a channel whose first OPEN was not answered is in RESUME, and its calls wait', async () => {
  const { server, game } = await ScriptedServer.welcomed()
  void outcomeOf(game.at(Room).ask({ n: 1 }))
  server.takeMessages()
  await server.reconnect()
  assert.deepEqual(server.takeMessages().at(-1), ['RESUME', [1, 0, 0, 'main']])
  server.connection.sendWelcome({ resumed: true, token: 'two' })
  assert.deepEqual(server.takeMessages(), [])
  server.connection.sendOpened(1, 7)
  assert.deepEqual(server.takeMessages(), [['CALL', 1, 1, 1, 1, 1]])
})

test('a channel created during a pause is opened after WELCOME, and its calls follow', async () => {
  const { server, game } = await ScriptedServer.welcomed()
  server.connection.disconnect()
  void outcomeOf(game.at(Room, 'new').ask({ n: 1 }))
  server.openNext()
  assert.deepEqual(server.takeMessages(), [['HELLO', 7, 'one', '']])
  server.connection.sendWelcome({ resumed: true, token: 'two' })
  assert.deepEqual(server.takeMessages(), [
    ['OPEN', 1, 0, 0, 'new'],
    ['CALL', 1, 0, 1, 1, 1],
  ])
})

test('a channel created by a state listener is opened once', async () => {
  const { server, game } = await ScriptedServer.welcomed()
  game.on('state', (state) => void (state === 'open' && game.at(Room, 'late')))
  await server.reconnect()
  server.takeMessages()
  server.connection.sendWelcome({ resumed: true, token: 'two' })
  assert.deepEqual(server.takeMessages(), [['OPEN', 1, 0, 0, 'late']])
})

test('channels that do not fit into RESUME are opened after WELCOME, and their calls wait', async () => {
  const { server, game } = await ScriptedServer.welcomed()
  const rooms = Array.from({ length: 12 }, (_, i) => game.at(Room, `${i}`.padEnd(1_000, 'x')))
  server.takeMessages()
  for (let channel = 1; channel <= 12; channel++) server.connection.sendOpened(channel, 7)
  await server.reconnect()
  void outcomeOf(rooms[11]!.ask({ n: 1 }))
  const [, resume] = server.takeMessages()
  assert.equal(resume!.length, 1 + 10)
  server.connection.sendWelcome({ resumed: true, token: 'two' })
  assert.deepEqual(
    server.takeMessages().map((message) => message.slice(0, 3)),
    [
      ['OPEN', 11, 7],
      ['OPEN', 12, 7],
    ],
  )
  server.connection.sendOpened(12, 7)
  assert.deepEqual(server.takeMessages(), [['CALL', 12, 1, 1, 1, 1]])
})

test('a shard that the game left during a pause is in RESUME and closed immediately', async () => {
  const { server, game } = await ScriptedServer.welcomed()
  const room = game.at(Room)
  server.takeMessages()
  server.connection.sendOpened(1, 7)
  server.connection.disconnect()
  room.close()
  server.openNext()
  assert.deepEqual(server.takeMessages().at(-1), ['RESUME', [1, 7, 0, 'main']])
  server.connection.sendWelcome({ resumed: true, token: 'two' })
  assert.deepEqual(server.takeMessages(), [['CLOSE', 1, 'CLOSED']])
  await server.reconnect()
  assert.deepEqual(server.takeMessages(), [['HELLO', 7, 'two', '']])
})

test('without token the next session is new: sent calls fail, unsent ones are sent from sequence 1', async () => {
  const { server, game } = await ScriptedServer.welcomed({}, { token: '' })
  const room = game.at(Room)
  let restarts = 0
  room.onRestart(() => restarts++)
  const [asked, saved, again] = [room.ask({ n: 1 }), room.save({ n: 2 }), room.again({ n: 3 })].map(outcomeOf)
  room.note({ n: 4 })
  server.takeMessages()
  server.connection.sendOpened(1, 7)
  server.connection.disconnect()
  const later = outcomeOf(room.ask({ n: 5 }))
  server.openNext()
  assert.deepEqual(server.takeMessages(), [['HELLO', 0, '', '']])
  server.connection.sendWelcome({ session: new Uint8Array(16).fill(8), token: '' })
  await settlePromises()
  assert.deepEqual(
    [asked!.now, saved!.now, again!.now, later.now],
    ['SHARD_RESTARTED', 'DEADLINE', 'pending', 'pending'],
  )
  assert.deepEqual(server.takeMessages(), [
    ['OPEN', 1, 0, 0, 'main'],
    ['CALL', 1, 0, 1, 5, 3],
    ['CALL', 1, 0, 2, 1, 5],
  ])
  assert.equal(restarts, 0)
  server.connection.sendOpened(1, 7).sendReply(1, 2, 50)
  await settlePromises()
  assert.deepEqual([restarts, later.now], [1, { n: 50 }])
})

test('when the server has lost the session, the channels of RESUME restart in the new one', async () => {
  const { server, game } = await ScriptedServer.welcomed()
  const room = game.at(Room)
  const received: number[] = []
  let restarts = 0
  room.onRestart(() => restarts++)
  room.on('moved', ({ n }) => received.push(n))
  void outcomeOf(room.ask({ n: 1 }))
  server.takeMessages()
  server.connection.sendOpened(1, 7).sendReply(1, 1, 1).sendEvent(1, 1, 10)
  server.connection.disconnect()
  void outcomeOf(room.ask({ n: 2 }))
  server.openNext()
  server.takeMessages()
  server.connection.sendWelcome({ resumed: false, session: new Uint8Array(16).fill(8), token: 'two' })
  // No second OPEN: RESUME has opened the channel.
  assert.deepEqual(server.takeMessages(), [])
  server.connection.sendOpened(1, 7, { lost: true }).sendEvent(1, 1, 20)
  assert.deepEqual(server.takeMessages(), [['CALL', 1, 1, 1, 1, 2]])
  assert.deepEqual([restarts, received], [1, [10, 20]])
  await server.reconnect()
  assert.deepEqual(server.takeMessages()[0], ['HELLO', 8, 'two', ''])
})

test('only close() of the game closes a connection permanently', async () => {
  const { server, game } = await ScriptedServer.welcomed()
  game.at(Room)
  server.takeMessages()
  server.clock.advance(37_500)
  assert.deepEqual([server.connections.length >= 1, server.connections[0]!.clientLeave], [true, false])
  server.clock.advance(5_000)
  server.connection.events.opened()
  server.connection.sendWelcome({ resumed: true, token: 'two' })
  server.connection.takeMessages()
  await game.close()
  assert.deepEqual(server.connection.takeMessages(), [['CLOSE', 1, 'CLOSED']])
  assert.equal(server.connection.clientLeave, true)
})

test('ignores messages of an abandoned connection', async () => {
  const { server, game } = await ScriptedServer.welcomed()
  const room = game.at(Room)
  const received: number[] = []
  room.on('moved', ({ n }) => received.push(n))
  server.takeMessages()
  const old = server.connection.sendOpened(1, 7)
  server.clock.advance(42_500)
  server.connection.events.opened()
  server.connection.sendWelcome({ resumed: true, token: 'two' }).sendOpened(1, 7)
  const { connection } = server
  assert.notEqual(connection, old)
  old.sendEvent(1, 1, 10).sendError(0, 0, 'REPLACED').disconnect()
  assert.deepEqual([received, game.state, connection.clientLeave], [[], 'open', null])
  connection.sendEvent(1, 1, 20)
  assert.deepEqual(received, [20])
})

test('resumes once for each HELLO of its own that may have replaced its connection', async () => {
  for (const asClose of [false, true]) {
    const { server, game } = await ScriptedServer.welcomed()
    const ended: string[] = []
    game.on('closed', ({ code }) => void ended.push(code))
    const replace = (): void => {
      if (asClose) server.connection.disconnect('REPLACED: resumed')
      else server.connection.sendError(0, 0, 'REPLACED', 'resumed')
    }
    // The HELLO of the second connection is not answered.
    await server.reconnect()
    await server.resume()
    server.takeMessages()
    replace()
    server.clock.settle()
    assert.deepEqual([game.state, ended], ['paused', []])
    server.openNext()
    assert.deepEqual(server.takeMessages(), [['HELLO', 7, 'two', '']])
    server.connection.sendWelcome({ resumed: true, token: 'three' })
    assert.equal(game.state, 'open')
    replace()
    server.clock.settle()
    assert.deepEqual([game.state, ended], ['closed', ['REPLACED']])
  }
})

test('counts a HELLO that was answered by an ERROR to retry as one that may have taken effect', async () => {
  for (const code of ['UNAVAILABLE', 'OVERLOADED', 'SHUTDOWN']) {
    const { server, game } = await ScriptedServer.welcomed()
    const refused = await server.reconnect()
    refused.sendError(0, 0, code)
    refused.disconnect(`${code}: try later`)
    server.clock.advance(10_000)
    server.connection.events.opened()
    server.connection.sendWelcome({ resumed: true, token: 'two' })
    assert.equal(game.state, 'open', code)
    server.connection.sendError(0, 0, 'REPLACED')
    assert.equal(game.state, 'paused', code)
  }
})

test('REPLACED is final when an unanswered HELLO is too old to have caused it', async () => {
  const { server, game } = await ScriptedServer.welcomed()
  await server.reconnect()
  await server.resume()
  for (let passedMs = 0; passedMs < 30_000; passedMs += 5_000) {
    server.clock.advance(5_000)
    server.connection.sendWelcome()
  }
  server.connection.sendError(0, 0, 'REPLACED')
  assert.equal(game.state, 'closed')
})

test('starts a new session with a new ticket when its own late ticket has replaced the session', async () => {
  const server = new ScriptedServer()
  let tickets = 0
  const connecting = server.connect({ ticket: () => `ticket${++tickets}` })
  await settlePromises()
  server.connection.events.opened()
  const opened = await server.reconnect()
  await settlePromises()
  opened.sendWelcome({ token: 'one' })
  const game = await connecting
  server.connection.sendError(0, 0, 'REPLACED', 'logged in elsewhere')
  assert.equal(game.state, 'paused')
  server.clock.advance(200)
  await settlePromises()
  server.connection.events.opened()
  assert.deepEqual(server.takeMessages(), [['HELLO', 0, '', 'ticket3']])
})
