// What the game is told of its session: a pause, its end, what is out of date, and why all is over.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { SessionError, type Firefly } from '../../client/index.ts'
import { encodeClose, MESSAGE } from '../../core/wire/message.ts'
import { settlePromises, ScriptedServer, outcomeOf, Room } from './scriptedserver.ts'

function recordEvents(game: Firefly): unknown[] {
  const recorded: unknown[] = []
  game.on('state', (state) => recorded.push(state))
  game.on('paused', () => recorded.push('PAUSED'))
  game.on('resumed', () => recorded.push('RESUMED'))
  game.on('resynced', (shards) => recorded.push(shards.map(({ contract, key }) => `${contract}/${key}`)))
  game.on('closed', (reason) => recorded.push(reason))
  return recorded
}

test('resumed is told when every open channel is answered, by OPENED, ERROR or CLOSE; the first connection is no pause', async () => {
  const door = new ScriptedServer()
  const game = await door.connectWelcomed()
  const told = recordEvents(game)
  for (const key of ['a', 'b', 'c', 'd']) game.at(Room, key)
  door.takeMessages()
  for (const channel of [1, 2, 3, 4]) door.connection.sendOpened(channel, 7)
  door.clock.settle()
  assert.deepEqual(told, [])
  await door.reconnect()
  door.connection.sendWelcome({ resumed: true, token: 'two' }).sendOpened(1, 7)
  door.clock.settle()
  door.connection
    .sendError(2, 0, 'FORBIDDEN')
    .send(MESSAGE.CLOSE, encodeClose({ channel: 3, code: 'UNAVAILABLE' }))
  door.clock.settle()
  assert.deepEqual(told, ['paused', 'PAUSED', 'open'])
  game.at(Room, 'd').close()
  door.clock.settle()
  assert.deepEqual(told, ['paused', 'PAUSED', 'open', 'RESUMED'])
})

test('a pause that takes several connections is one', async () => {
  const door = new ScriptedServer()
  const game = await door.connectWelcomed()
  game.at(Room)
  door.takeMessages()
  door.connection.sendOpened(1, 7)
  const told = recordEvents(game)
  await door.reconnect()
  door.connection.sendWelcome({ resumed: true, token: 'two' })
  door.clock.settle()
  await door.reconnect()
  door.connection.sendWelcome({ resumed: true, token: 'three' }).sendOpened(1, 7)
  door.clock.settle()
  assert.deepEqual(told, ['paused', 'PAUSED', 'open', 'paused', 'open', 'RESUMED'])
})

test('what was lost is told at once, behind resumed: events of one shard, the life of another', async () => {
  const door = new ScriptedServer()
  const game = await door.connectWelcomed()
  for (const key of ['a', 'b', 'c']) game.at(Room, key)
  door.takeMessages()
  for (const channel of [1, 2, 3]) door.connection.sendOpened(channel, 7)
  const told = recordEvents(game)
  await door.reconnect()
  told.length = 0
  door.connection.sendWelcome({ resumed: true, token: 'two' })
  door.connection.sendOpened(1, 7).sendResync(1, 40).sendOpened(2, 8, { lost: true }).sendOpened(3, 7)
  door.clock.settle()
  assert.deepEqual(told, ['open', 'RESUMED', ['room/a', 'room/b']])
  door.connection.sendOpened(3, 8, { opening: 2 })
  door.clock.settle()
  assert.deepEqual(told.at(-1), ['room/c'])
})

test('the game closes: closed is told once, and for good', async () => {
  const door = new ScriptedServer()
  const game = await door.connectWelcomed()
  const room = game.at(Room)
  const waits = outcomeOf(room.ask({ n: 1 }))
  const told = recordEvents(game)
  room.onClose(() => void game.close())
  await game.close()
  await game.close()
  await settlePromises()
  assert.deepEqual(told, ['closed', { code: 'CLOSED', message: 'closed by the game' }])
  assert.deepEqual([waits.now, outcomeOf(game.at(Room).ask({ n: 1 })).now], ['CLOSED', 'waits'])
  door.clock.advance(60_000)
  assert.equal(door.connections.length, 1)
})

const FINAL_CODES = [
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
for (const code of FINAL_CODES) {
  test(`${code} ends the session, and a first connection at once`, async () => {
    const door = new ScriptedServer()
    const game = await door.connectWelcomed()
    const told = recordEvents(game)
    const waits = outcomeOf(game.at(Room).ask({ n: 1 }))
    door.connection.sendError(0, 0, code, 'why').disconnect()
    await settlePromises()
    assert.deepEqual(told, ['closed', { code, message: 'why' }])
    assert.equal(waits.now, 'CLOSED')
    door.clock.advance(60_000)
    assert.equal(door.connections.length, 1)

    const refused = new ScriptedServer()
    const begun = outcomeOf(refused.connect())
    refused.connection.events.opened()
    // Before HELLO is taken there is no ERROR: the reason stands in the WebSocket's close.
    refused.connection.disconnect(`${code}: why`)
    await settlePromises()
    assert.equal(begun.now, code)
  })
}

for (const code of ['BAD_IDENTITY', 'BAD_LENGTH']) {
  test(`${code} ends the session where a WebSocket's close says it; after an ERROR alone the stream was broken`, async () => {
    const door = new ScriptedServer()
    const game = await door.connectWelcomed()
    const told = recordEvents(game)
    door.connection.sendError(0, 0, code, 'why').disconnect(`${code}: why`)
    assert.deepEqual(told, ['closed', { code, message: 'why' }])
    door.clock.advance(60_000)
    assert.equal(door.connections.length, 1)

    const refused = new ScriptedServer()
    const begun = outcomeOf(refused.connect())
    refused.connection.events.opened()
    refused.connection.disconnect(`${code}: why`)
    await settlePromises()
    assert.equal(begun.now, code)

    const stream = new ScriptedServer()
    const back = await stream.connectWelcomed()
    stream.connection.sendError(0, 0, code)
    await stream.reconnect('closed by the server')
    stream.connection.sendWelcome({ resumed: true, token: 'two' })
    assert.equal(back.state, 'open')
  })
}

test('connect fails with a SessionError that says the reason', async () => {
  const door = new ScriptedServer()
  const begun = door.connect()
  door.connection.events.opened()
  door.connection.sendError(0, 0, 'KICKED', 'maintenance until 9')
  await assert.rejects(begun, (error) => {
    assert.ok(error instanceof SessionError)
    assert.deepEqual([error.code, error.message], ['KICKED', 'KICKED: maintenance until 9'])
    return true
  })
})

for (const code of ['IDLE', 'SHUTDOWN', 'SLOW_CONSUMER', 'OVERLOADED', 'UNAVAILABLE', 'TOO_SLOW']) {
  test(`after ${code} the SDK comes again`, async () => {
    const door = new ScriptedServer()
    const game = await door.connectWelcomed()
    door.connection.sendError(0, 0, code)
    await door.reconnect(`${code}: why`)
    door.connection.sendWelcome({ resumed: true, token: 'two' })
    assert.equal(game.state, 'open')
  })
}

test('a server of another version or identity is no server of ours', async () => {
  const door = new ScriptedServer()
  const begun = outcomeOf(door.connect())
  door.connection.events.opened()
  door.connection.sendWelcome({ version: 3 })
  await settlePromises()
  assert.equal(begun.now, 'BAD_MESSAGE')

  const other = new ScriptedServer()
  const stranger = outcomeOf(other.connect())
  other.connection.events.opened()
  other.connection.events.message(new TextEncoder().encode('HTTP/1.1 400 Bad Request'))
  await settlePromises()
  assert.equal(stranger.now, 'BAD_IDENTITY')
})

test('a stream that breaks in a session that stood is a break like any other', async () => {
  const door = new ScriptedServer()
  const game = await door.connectWelcomed()
  door.connection.events.message(new TextEncoder().encode('HTTP/1.1 502 Bad Gateway'))
  assert.deepEqual([game.state, door.connection.clientLeave], ['paused', false])
  door.clock.advance(200)
  assert.equal(door.connections.length, 2)
})

test('a listener that throws breaks nothing, and is heard of', async () => {
  const door = new ScriptedServer()
  const game = await door.connectWelcomed()
  const told: number[] = []
  const room = game.at(Room)
  room.on('moved', () => {
    throw new Error('the game slips')
  })
  room.on('moved', ({ n }) => told.push(n))
  const answer = outcomeOf(room.ask({ n: 1 }))
  door.takeMessages()
  door.connection.sendOpened(1, 7).sendEvent(1, 1, 10)
  assert.throws(() => door.clock.settle(), /the game slips/)
  door.connection.sendEvent(1, 2, 20).sendReply(1, 1, 5)
  assert.throws(() => door.clock.settle(), /the game slips/)
  await settlePromises()
  assert.deepEqual([told, answer.now, game.state], [[10, 20], { n: 5 }, 'open'])
})

test('connect that the platform refuses fails with its reason and leaves nothing behind', async () => {
  const door = new ScriptedServer()
  const dial = (): never => {
    throw new SyntaxError('no such URL')
  }
  await assert.rejects(door.connect({ dial }), /no such URL/)
  door.clock.advance(60_000)
  assert.equal(door.connections.length, 0)
})
