// A connection is lost and made again: the session goes on by its token, or a new one takes its place.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { encodeToken, MESSAGE } from '../../core/wire/message.ts'
import { breathe, Door, fate, Room } from './clientdoor.ts'

test('a session resumes by its last token, and names its channels in the same write', async () => {
  const door = new Door()
  const game = await door.enter()
  const a = game.at(Room, 'a')
  game.at(Room, 'b')
  a.on('moved', () => {})
  assert.deepEqual(door.heard(), [
    ['OPEN', 1, 0, 0, 'a'],
    ['OPEN', 2, 0, 0, 'b'],
  ])
  door.line.opened(1, 7).opened(2, 9).event(1, 1, 10).event(1, 2, 20)

  await door.redial()
  assert.equal(door.line.writes.length, 1)
  assert.deepEqual(door.heard(), [
    ['HELLO', 7, 'one', ''],
    ['RESUME', [1, 7, 2, 'a'], [2, 9, 0, 'b']],
  ])
  door.line.welcome({ resumed: true, token: 'two' })
  assert.deepEqual(door.heard(), [])

  // A TOKEN takes the place of the one in WELCOME.
  door.line
    .opened(1, 7)
    .opened(2, 9)
    .say(MESSAGE.TOKEN, encodeToken(new TextEncoder().encode('three')))
  await door.redial()
  assert.deepEqual(door.heard()[0], ['HELLO', 7, 'three', ''])
})

test('when a WELCOME is lost the old token is shown once more', async () => {
  const door = new Door()
  await door.enter()
  await door.redial()
  assert.deepEqual(door.heard(), [['HELLO', 7, 'one', '']])
  await door.redial()
  assert.deepEqual(door.heard(), [['HELLO', 7, 'one', '']])
})

test('after a resume calls wait for OPENED, then the old ones go first, under their sequences', async () => {
  const door = new Door()
  const game = await door.enter()
  const room = game.at(Room)
  const first = fate(room.ask({ n: 1 }))
  room.note({ n: 2 })
  door.heard()
  door.line.opened(1, 7)
  await door.redial()
  door.line.welcome({ resumed: true, token: 'two' })
  const third = fate(room.ask({ n: 3 }))
  assert.deepEqual(door.heard(), [
    ['HELLO', 7, 'one', ''],
    ['RESUME', [1, 7, 0, 'main']],
  ])
  door.line.opened(1, 7, { mark: 1 })
  assert.deepEqual(door.heard(), [
    ['CALL', 1, 1, 1, 1, 1],
    ['CALL', 1, 1, 2, 3, 2],
    ['CALL', 1, 1, 3, 1, 3],
  ])
  door.line.reply(1, 1, 100).reply(1, 3, 300)
  await breathe()
  assert.deepEqual([first.now, third.now], [{ n: 100 }, { n: 300 }])
})

test('a channel whose first OPEN was never answered is named in RESUME, and its calls wait', async () => {
  const door = new Door()
  const game = await door.enter()
  void fate(game.at(Room).ask({ n: 1 }))
  door.heard()
  await door.redial()
  assert.deepEqual(door.heard().at(-1), ['RESUME', [1, 0, 0, 'main']])
  door.line.welcome({ resumed: true, token: 'two' })
  assert.deepEqual(door.heard(), [])
  door.line.opened(1, 7)
  assert.deepEqual(door.heard(), [['CALL', 1, 1, 1, 1, 1]])
})

test('a channel that is asked for during a pause is opened behind WELCOME, with its calls', async () => {
  const door = new Door()
  const game = await door.enter()
  door.line.cut()
  void fate(game.at(Room, 'new').ask({ n: 1 }))
  door.clock.advance(200)
  door.line.events.opened()
  assert.deepEqual(door.heard(), [['HELLO', 7, 'one', '']])
  door.line.welcome({ resumed: true, token: 'two' })
  assert.deepEqual(door.heard(), [
    ['OPEN', 1, 0, 0, 'new'],
    ['CALL', 1, 0, 1, 1, 1],
  ])
})

test('a channel that is opened by a listener of the state is opened once', async () => {
  const door = new Door()
  const game = await door.enter()
  game.on('state', (state) => void (state === 'open' && game.at(Room, 'late')))
  await door.redial()
  door.heard()
  door.line.welcome({ resumed: true, token: 'two' })
  assert.deepEqual(door.heard(), [['OPEN', 1, 0, 0, 'late']])
})

test('channels that RESUME has no room for are opened behind WELCOME, and their calls wait', async () => {
  const door = new Door()
  const game = await door.enter()
  const rooms = Array.from({ length: 12 }, (_, i) => game.at(Room, `${i}`.padEnd(1_000, 'x')))
  door.heard()
  for (let channel = 1; channel <= 12; channel++) door.line.opened(channel, 7)
  await door.redial()
  void fate(rooms[11]!.ask({ n: 1 }))
  const [, resume] = door.heard()
  assert.equal(resume!.length, 1 + 10)
  door.line.welcome({ resumed: true, token: 'two' })
  assert.deepEqual(
    door.heard().map((heard) => heard.slice(0, 3)),
    [
      ['OPEN', 11, 7],
      ['OPEN', 12, 7],
    ],
  )
  door.line.opened(12, 7)
  assert.deepEqual(door.heard(), [['CALL', 12, 1, 1, 1, 1]])
})

test('a shard that is left during a pause is named in RESUME and closed at once', async () => {
  const door = new Door()
  const game = await door.enter()
  const room = game.at(Room)
  door.heard()
  door.line.opened(1, 7)
  door.line.cut()
  room.close()
  door.clock.advance(200)
  door.line.events.opened()
  assert.deepEqual(door.heard().at(-1), ['RESUME', [1, 7, 0, 'main']])
  door.line.welcome({ resumed: true, token: 'two' })
  assert.deepEqual(door.heard(), [['CLOSE', 1, 'CLOSED']])
  await door.redial()
  assert.deepEqual(door.heard(), [['HELLO', 7, 'two', '']])
})

test('without a token the next session is new: what was sent fails, what was not is sent from sequence 1', async () => {
  const door = new Door()
  const game = await door.enter({}, { token: '' })
  const room = game.at(Room)
  let restarts = 0
  room.onRestart(() => restarts++)
  const [asked, saved, again] = [room.ask({ n: 1 }), room.save({ n: 2 }), room.again({ n: 3 })].map(fate)
  room.note({ n: 4 })
  door.heard()
  door.line.opened(1, 7)
  door.line.cut()
  const later = fate(room.ask({ n: 5 }))
  door.clock.advance(200)
  door.line.events.opened()
  assert.deepEqual(door.heard(), [['HELLO', 0, '', '']])
  door.line.welcome({ session: new Uint8Array(16).fill(8), token: '' })
  await breathe()
  assert.deepEqual(
    [asked!.now, saved!.now, again!.now, later.now],
    ['SHARD_RESTARTED', 'DEADLINE', 'waits', 'waits'],
  )
  assert.deepEqual(door.heard(), [
    ['OPEN', 1, 0, 0, 'main'],
    ['CALL', 1, 0, 1, 5, 3],
    ['CALL', 1, 0, 2, 1, 5],
  ])
  assert.equal(restarts, 0)
  door.line.opened(1, 7).reply(1, 2, 50)
  await breathe()
  assert.deepEqual([restarts, later.now], [1, { n: 50 }])
})

test('a server that forgot the session opens what RESUME named, and the SDK begins there anew', async () => {
  const door = new Door()
  const game = await door.enter()
  const room = game.at(Room)
  const heard: number[] = []
  let restarts = 0
  room.onRestart(() => restarts++)
  room.on('moved', ({ n }) => heard.push(n))
  void fate(room.ask({ n: 1 }))
  door.heard()
  door.line.opened(1, 7).reply(1, 1, 1).event(1, 1, 10)
  door.line.cut()
  void fate(room.ask({ n: 2 }))
  door.clock.advance(200)
  door.line.events.opened()
  door.heard()
  door.line.welcome({ resumed: false, session: new Uint8Array(16).fill(8), token: 'two' })
  // Not OPEN once more: the channel is open.
  assert.deepEqual(door.heard(), [])
  door.line.opened(1, 7, { lost: true }).event(1, 1, 20)
  assert.deepEqual(door.heard(), [['CALL', 1, 1, 1, 1, 2]])
  assert.deepEqual([restarts, heard], [1, [10, 20]])
  await door.redial()
  assert.deepEqual(door.heard()[0], ['HELLO', 8, 'two', ''])
})

test('a connection is hung up for good by the game only', async () => {
  const door = new Door()
  const game = await door.enter()
  game.at(Room)
  door.heard()
  door.clock.advance(37_500)
  assert.deepEqual([door.lines.length >= 1, door.lines[0]!.left], [true, false])
  door.clock.advance(5_000)
  door.line.events.opened()
  door.line.welcome({ resumed: true, token: 'two' })
  door.line.heard()
  await game.close()
  assert.deepEqual(door.line.heard(), [['CLOSE', 1, 'CLOSED']])
  assert.equal(door.line.left, true)
})

test('what an abandoned connection still says comes too late', async () => {
  const door = new Door()
  const game = await door.enter()
  const room = game.at(Room)
  const told: number[] = []
  room.on('moved', ({ n }) => told.push(n))
  door.heard()
  const old = door.line.opened(1, 7)
  door.clock.advance(42_500)
  door.line.events.opened()
  door.line.welcome({ resumed: true, token: 'two' }).opened(1, 7)
  const { line } = door
  assert.notEqual(line, old)
  old.event(1, 1, 10).error(0, 0, 'REPLACED').cut()
  assert.deepEqual([told, game.state, line.left], [[], 'open', null])
  line.event(1, 1, 20)
  assert.deepEqual(told, [20])
})
