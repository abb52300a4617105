// What the game is told of its session: a pause, its end, what is out of date, and why all is over.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { SessionError, type Firefly } from '../../client/index.ts'
import { encodeClose, MESSAGE } from '../../core/wire/message.ts'
import { breathe, Door, fate, Room } from './clientdoor.ts'

function listen(game: Firefly): unknown[] {
  const told: unknown[] = []
  game.on('state', (state) => told.push(state))
  game.on('paused', () => told.push('PAUSED'))
  game.on('resumed', () => told.push('RESUMED'))
  game.on('resynced', (shards) => told.push(shards.map(({ contract, key }) => `${contract}/${key}`)))
  game.on('closed', (reason) => told.push(reason))
  return told
}

test('resumed is told when every open channel is answered, by OPENED, ERROR or CLOSE; the first connection is no pause', async () => {
  const door = new Door()
  const game = await door.enter()
  const told = listen(game)
  for (const key of ['a', 'b', 'c', 'd']) game.at(Room, key)
  door.heard()
  for (const channel of [1, 2, 3, 4]) door.line.opened(channel, 7)
  door.clock.settle()
  assert.deepEqual(told, [])
  await door.redial()
  door.line.welcome({ resumed: true, token: 'two' }).opened(1, 7)
  door.clock.settle()
  door.line.error(2, 0, 'FORBIDDEN').say(MESSAGE.CLOSE, encodeClose({ channel: 3, code: 'UNAVAILABLE' }))
  door.clock.settle()
  assert.deepEqual(told, ['paused', 'PAUSED', 'open'])
  game.at(Room, 'd').close()
  door.clock.settle()
  assert.deepEqual(told, ['paused', 'PAUSED', 'open', 'RESUMED'])
})

test('a pause that takes several connections is one', async () => {
  const door = new Door()
  const game = await door.enter()
  game.at(Room)
  door.heard()
  door.line.opened(1, 7)
  const told = listen(game)
  await door.redial()
  door.line.welcome({ resumed: true, token: 'two' })
  door.clock.settle()
  await door.redial()
  door.line.welcome({ resumed: true, token: 'three' }).opened(1, 7)
  door.clock.settle()
  assert.deepEqual(told, ['paused', 'PAUSED', 'open', 'paused', 'open', 'RESUMED'])
})

test('what was lost is told at once, behind resumed: events of one shard, the life of another', async () => {
  const door = new Door()
  const game = await door.enter()
  for (const key of ['a', 'b', 'c']) game.at(Room, key)
  door.heard()
  for (const channel of [1, 2, 3]) door.line.opened(channel, 7)
  const told = listen(game)
  await door.redial()
  told.length = 0
  door.line.welcome({ resumed: true, token: 'two' })
  door.line.opened(1, 7).resync(1, 40).opened(2, 8, { lost: true }).opened(3, 7)
  door.clock.settle()
  assert.deepEqual(told, ['open', 'RESUMED', ['room/a', 'room/b']])
  door.line.opened(3, 8, { opening: 2 })
  door.clock.settle()
  assert.deepEqual(told.at(-1), ['room/c'])
})

test('the game closes: closed is told once, and for good', async () => {
  const door = new Door()
  const game = await door.enter()
  const room = game.at(Room)
  const waits = fate(room.ask({ n: 1 }))
  const told = listen(game)
  room.onClose(() => void game.close())
  await game.close()
  await game.close()
  await breathe()
  assert.deepEqual(told, ['closed', { code: 'CLOSED', message: 'closed by the game' }])
  assert.deepEqual([waits.now, fate(game.at(Room).ask({ n: 1 })).now], ['CLOSED', 'waits'])
  door.clock.advance(60_000)
  assert.equal(door.lines.length, 1)
})

const FINAL = [
  'ALREADY_ONLINE',
  'BAD_MESSAGE',
  'BAD_TICKET',
  'BAD_TOKEN',
  'FLOOD',
  'FRAME_TOO_LARGE',
  'KICKED',
  'LOGIN_TIMEOUT',
  'PARTIAL_FRAME',
  'REPLACED',
  'STRIKES',
  'TEXT_MESSAGE',
  'WINDOW',
]
for (const code of FINAL) {
  test(`${code} ends the session, and a first connection at once`, async () => {
    const door = new Door()
    const game = await door.enter()
    const told = listen(game)
    const waits = fate(game.at(Room).ask({ n: 1 }))
    door.line.error(0, 0, code, 'why').cut()
    await breathe()
    assert.deepEqual(told, ['closed', { code, message: 'why' }])
    assert.equal(waits.now, 'CLOSED')
    door.clock.advance(60_000)
    assert.equal(door.lines.length, 1)

    const refused = new Door()
    const begun = fate(refused.begin())
    refused.line.events.opened()
    // Before HELLO is taken there is no ERROR: the reason stands in the WebSocket's close.
    refused.line.cut(`${code}: why`)
    await breathe()
    assert.equal(begun.now, code)
  })
}

for (const code of ['BAD_IDENTITY', 'BAD_LENGTH']) {
  test(`${code} ends the session where a WebSocket's close says it; after an ERROR alone the stream was broken`, async () => {
    const door = new Door()
    const game = await door.enter()
    const told = listen(game)
    door.line.error(0, 0, code, 'why').cut(`${code}: why`)
    assert.deepEqual(told, ['closed', { code, message: 'why' }])
    door.clock.advance(60_000)
    assert.equal(door.lines.length, 1)

    const refused = new Door()
    const begun = fate(refused.begin())
    refused.line.events.opened()
    refused.line.cut(`${code}: why`)
    await breathe()
    assert.equal(begun.now, code)

    const stream = new Door()
    const back = await stream.enter()
    stream.line.error(0, 0, code)
    await stream.redial('closed by the server')
    stream.line.welcome({ resumed: true, token: 'two' })
    assert.equal(back.state, 'open')
  })
}

test('connect fails with a SessionError that says the reason', async () => {
  const door = new Door()
  const begun = door.begin()
  door.line.events.opened()
  door.line.error(0, 0, 'KICKED', 'maintenance until 9')
  await assert.rejects(begun, (error) => {
    assert.ok(error instanceof SessionError)
    assert.deepEqual([error.code, error.message], ['KICKED', 'KICKED: maintenance until 9'])
    return true
  })
})

for (const code of ['IDLE', 'SHUTDOWN', 'SLOW_CONSUMER', 'OVERLOADED', 'UNAVAILABLE', 'TOO_SLOW']) {
  test(`after ${code} the SDK comes again`, async () => {
    const door = new Door()
    const game = await door.enter()
    door.line.error(0, 0, code)
    await door.redial(`${code}: why`)
    door.line.welcome({ resumed: true, token: 'two' })
    assert.equal(game.state, 'open')
  })
}

test('a server of another version or identity is no server of ours', async () => {
  const door = new Door()
  const begun = fate(door.begin())
  door.line.events.opened()
  door.line.welcome({ version: 3 })
  await breathe()
  assert.equal(begun.now, 'BAD_MESSAGE')

  const other = new Door()
  const stranger = fate(other.begin())
  other.line.events.opened()
  other.line.events.message(new TextEncoder().encode('HTTP/1.1 400 Bad Request'))
  await breathe()
  assert.equal(stranger.now, 'BAD_IDENTITY')
})

test('a stream that breaks in a session that stood is a break like any other', async () => {
  const door = new Door()
  const game = await door.enter()
  door.line.events.message(new TextEncoder().encode('HTTP/1.1 502 Bad Gateway'))
  assert.deepEqual([game.state, door.line.left], ['paused', false])
  door.clock.advance(200)
  assert.equal(door.lines.length, 2)
})

test('a listener that throws breaks nothing, and is heard of', async () => {
  const door = new Door()
  const game = await door.enter()
  const told: number[] = []
  const room = game.at(Room)
  room.on('moved', () => {
    throw new Error('the game slips')
  })
  room.on('moved', ({ n }) => told.push(n))
  const answer = fate(room.ask({ n: 1 }))
  door.heard()
  door.line.opened(1, 7).event(1, 1, 10)
  assert.throws(() => door.clock.settle(), /the game slips/)
  door.line.event(1, 2, 20).reply(1, 1, 5)
  assert.throws(() => door.clock.settle(), /the game slips/)
  await breathe()
  assert.deepEqual([told, answer.now, game.state], [[10, 20], { n: 5 }, 'open'])
})

test('connect that the platform refuses fails with its reason and leaves nothing behind', async () => {
  const door = new Door()
  const dial = (): never => {
    throw new SyntaxError('no such URL')
  }
  await assert.rejects(door.begin({ dial }), /no such URL/)
  door.clock.advance(60_000)
  assert.equal(door.lines.length, 0)
})
