// Notifications of the session: pauses, stale shards, and the reason of its end.

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

/** The first connect fails with the code. Before HELLO is accepted there is no ERROR: the WebSocket's close reason has it. */
async function assertConnectFails(code: string): Promise<void> {
  const server = new ScriptedServer()
  const connecting = outcomeOf(server.connect())
  server.connection.events.opened()
  server.connection.disconnect(`${code}: why`)
  await settlePromises()
  assert.equal(connecting.now, code)
}

test('notifies resumed after every open channel was answered by OPENED, ERROR or CLOSE, but not on the first connection', async () => {
  const { server, game } = await ScriptedServer.welcomed()
  const received = recordEvents(game)
  for (const key of ['a', 'b', 'c', 'd']) game.at(Room, key)
  server.takeMessages()
  for (const channel of [1, 2, 3, 4]) server.connection.sendOpened(channel, 7)
  server.clock.settle()
  assert.deepEqual(received, [])
  ;(await server.resume()).sendOpened(1, 7)
  server.clock.settle()
  server.connection.sendError(2, 0, 'FORBIDDEN').send(MESSAGE.CLOSE, encodeClose({ channel: 3, code: 'UNAVAILABLE' }))
  server.clock.settle()
  assert.deepEqual(received, ['paused', 'PAUSED', 'open'])
  game.at(Room, 'd').close()
  server.clock.settle()
  assert.deepEqual(received, ['paused', 'PAUSED', 'open', 'RESUMED'])
})

test('notifies one pause even if it takes several connections', async () => {
  const { server, game } = await ScriptedServer.welcomed()
  game.at(Room)
  server.takeMessages()
  server.connection.sendOpened(1, 7)
  const received = recordEvents(game)
  await server.resume()
  server.clock.settle()
  await server.reconnect()
  server.connection.sendWelcome({ resumed: true, token: 'three' }).sendOpened(1, 7)
  server.clock.settle()
  assert.deepEqual(received, ['paused', 'PAUSED', 'open', 'paused', 'open', 'RESUMED'])
})

test('notifies all stale shards together, after resumed: one lost events, another restarted', async () => {
  const { server, game } = await ScriptedServer.welcomed()
  for (const key of ['a', 'b', 'c']) game.at(Room, key)
  server.takeMessages()
  for (const channel of [1, 2, 3]) server.connection.sendOpened(channel, 7)
  const received = recordEvents(game)
  await server.reconnect()
  received.length = 0
  server.connection.sendWelcome({ resumed: true, token: 'two' })
  server.connection.sendOpened(1, 7).sendResync(1, 40).sendOpened(2, 8, { lost: true }).sendOpened(3, 7)
  server.clock.settle()
  assert.deepEqual(received, ['open', 'RESUMED', ['room/a', 'room/b']])
  server.connection.sendOpened(3, 8, { opening: 2 })
  server.clock.settle()
  assert.deepEqual(received.at(-1), ['room/c'])
})

test('close of the game notifies closed once and stops reconnecting', async () => {
  const { server, game } = await ScriptedServer.welcomed()
  const room = game.at(Room)
  const pending = outcomeOf(room.ask({ n: 1 }))
  const received = recordEvents(game)
  room.onClose(() => void game.close())
  await game.close()
  await game.close()
  await settlePromises()
  assert.deepEqual(received, ['closed', { code: 'CLOSED', message: 'closed by the game' }])
  assert.deepEqual([pending.now, outcomeOf(game.at(Room).ask({ n: 1 })).now], ['CLOSED', 'pending'])
  server.clock.advance(60_000)
  assert.equal(server.connections.length, 1)
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
  test(`${code} ends the session, and makes the first connect fail immediately`, async () => {
    const { server, game } = await ScriptedServer.welcomed()
    const received = recordEvents(game)
    const pending = outcomeOf(game.at(Room).ask({ n: 1 }))
    server.connection.sendError(0, 0, code, 'why').disconnect()
    await settlePromises()
    assert.deepEqual(received, ['closed', { code, message: 'why' }])
    assert.equal(pending.now, 'CLOSED')
    server.clock.advance(60_000)
    assert.equal(server.connections.length, 1)

    await assertConnectFails(code)
  })
}

for (const code of ['BAD_IDENTITY', 'BAD_LENGTH']) {
  test(`${code} ends the session as a WebSocket's close reason, but not as an ERROR alone`, async () => {
    const { server, game } = await ScriptedServer.welcomed()
    const received = recordEvents(game)
    server.connection.sendError(0, 0, code, 'why').disconnect(`${code}: why`)
    assert.deepEqual(received, ['closed', { code, message: 'why' }])
    server.clock.advance(60_000)
    assert.equal(server.connections.length, 1)

    await assertConnectFails(code)

    const stream = new ScriptedServer()
    const resumed = await stream.connectWelcomed()
    stream.connection.sendError(0, 0, code)
    await stream.reconnect('closed by the server')
    stream.connection.sendWelcome({ resumed: true, token: 'two' })
    assert.equal(resumed.state, 'open')
  })
}

test('connect fails with a SessionError that contains the reason', async () => {
  const server = new ScriptedServer()
  const connecting = server.connect()
  server.connection.events.opened()
  server.connection.sendError(0, 0, 'KICKED', 'maintenance until 9')
  await assert.rejects(connecting, (error) => {
    assert.ok(error instanceof SessionError)
    assert.deepEqual([error.code, error.message], ['KICKED', 'KICKED: maintenance until 9'])
    return true
  })
})

for (const code of ['IDLE', 'SHUTDOWN', 'SLOW_CONSUMER', 'OVERLOADED', 'UNAVAILABLE', 'TOO_SLOW']) {
  test(`reconnects after ${code}`, async () => {
    const { server, game } = await ScriptedServer.welcomed()
    server.connection.sendError(0, 0, code)
    await server.reconnect(`${code}: why`)
    server.connection.sendWelcome({ resumed: true, token: 'two' })
    assert.equal(game.state, 'open')
  })
}

test('connect fails for a server of another version or identity', async () => {
  const server = new ScriptedServer()
  const connecting = outcomeOf(server.connect())
  server.connection.events.opened()
  server.connection.sendWelcome({ version: 3 })
  await settlePromises()
  assert.equal(connecting.now, 'BAD_MESSAGE')

  const other = new ScriptedServer()
  const rejected = outcomeOf(other.connect())
  other.connection.events.opened()
  other.connection.events.message(new TextEncoder().encode('HTTP/1.1 400 Bad Request'))
  await settlePromises()
  assert.equal(rejected.now, 'BAD_IDENTITY')
})

test('reconnects after a damaged stream of an established session', async () => {
  const { server, game } = await ScriptedServer.welcomed()
  server.connection.events.message(new TextEncoder().encode('HTTP/1.1 502 Bad Gateway'))
  assert.deepEqual([game.state, server.connection.clientLeave], ['paused', false])
  server.clock.advance(200)
  assert.equal(server.connections.length, 2)
})

test('continues after a listener throws, and rethrows its error', async () => {
  const { server, game } = await ScriptedServer.welcomed()
  const received: number[] = []
  const room = game.at(Room)
  room.on('moved', () => {
    throw new Error('bug in the game')
  })
  room.on('moved', ({ n }) => received.push(n))
  const answer = outcomeOf(room.ask({ n: 1 }))
  server.takeMessages()
  server.connection.sendOpened(1, 7).sendEvent(1, 1, 10)
  assert.throws(() => server.clock.settle(), /bug in the game/)
  server.connection.sendEvent(1, 2, 20).sendReply(1, 1, 5)
  assert.throws(() => server.clock.settle(), /bug in the game/)
  await settlePromises()
  assert.deepEqual([received, answer.now, game.state], [[10, 20], { n: 5 }, 'open'])
})

test('connect fails with the error of the platform and does not retry', async () => {
  const server = new ScriptedServer()
  const dial = (): never => {
    throw new SyntaxError('no such URL')
  }
  await assert.rejects(server.connect({ dial }), /no such URL/)
  server.clock.advance(60_000)
  assert.equal(server.connections.length, 0)
})
