// Events of a channel and of the session: each is delivered once, acknowledged in time, and a loss is reported.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { InputError, type Firefly, type Remote } from '../../client/index.ts'
import { msgpack } from '../../core/wire/codec.ts'
import { encodeEvent, MESSAGE } from '../../core/wire/message.ts'
import { ScriptedServer, outcomeOf, Room } from './scriptedserver.ts'

async function connectListening(): Promise<{
  server: ScriptedServer
  game: Firefly
  room: Remote<(typeof Room)['entries']>
  received: unknown[]
}> {
  const { server, game } = await ScriptedServer.welcomed()
  const room = game.at(Room)
  const received: unknown[] = []
  room.on('moved', ({ n }) => received.push(n))
  room.onResync(() => received.push('resync'))
  room.onRestart(() => received.push('restart'))
  server.takeMessages()
  server.connection.sendOpened(1, 7)
  return { server, game, room, received }
}

test('delivers an event once: ignores sequences up to the last one and accepts gaps', async () => {
  const { server, received } = await connectListening()
  server.connection.sendEvent(1, 1, 10).sendEvent(1, 2, 20).sendEvent(1, 2, 20).sendEvent(1, 1, 10).sendEvent(1, 5, 50)
  assert.deepEqual(received, [10, 20, 50])
  await server.reconnect()
  assert.deepEqual(server.takeMessages().at(-1), ['RESUME', [1, 7, 5, 'main']])
  server.connection
    .sendWelcome({ resumed: true, token: 'two' })
    .sendOpened(1, 7)
    .sendEvent(1, 5, 50)
    .sendEvent(1, 6, 60)
  assert.deepEqual(received, [10, 20, 50, 60])
})

test('sequences restart with a new activation', async () => {
  const { server, received } = await connectListening()
  server.connection
    .sendEvent(1, 1, 10)
    .sendEvent(1, 2, 20)
    .sendOpened(1, 8, { lost: true, opening: 2 })
    .sendEvent(1, 1, 30)
  assert.deepEqual(received, [10, 20, 'restart', 30])
  await server.reconnect()
  assert.deepEqual(server.takeMessages().at(-1), ['RESUME', [1, 8, 1, 'main']])
})

test('acknowledges 32 events immediately, fewer with the next heartbeat, none twice', async () => {
  const { server } = await connectListening()
  for (let i = 1; i <= 31; i++) server.connection.sendEvent(1, i, i)
  assert.deepEqual(server.takeMessages(), [])
  server.connection.sendEvent(1, 32, 32)
  assert.deepEqual(server.takeMessages(), [['ACK', 1, 0, 32]])
  server.connection.sendEvent(1, 33, 33)
  assert.deepEqual(server.takeMessages(), [])
  server.clock.advance(500)
  assert.deepEqual(server.takeMessages(), [['ACK', 1, 0, 33]])
  server.clock.advance(2_000)
  assert.deepEqual(server.takeMessages(), [])
})

test('acknowledges 32 KiB of events immediately, regardless of their number', async () => {
  const { server } = await connectListening()
  const body = msgpack.encode({ text: 'x'.repeat(16_384) })
  const sendBlob = (sequence: number): void =>
    void server.connection.send(MESSAGE.EVENT, encodeEvent({ channel: 1, sequence, event: 51 }, body))
  sendBlob(1)
  assert.deepEqual(server.takeMessages(), [])
  sendBlob(2)
  assert.deepEqual(server.takeMessages(), [['ACK', 1, 0, 2]])
})

test('an acknowledgement of answers also acknowledges the events', async () => {
  const { server, room } = await connectListening()
  for (let n = 1; n <= 16; n++) void outcomeOf(room.ask({ n }))
  server.takeMessages()
  server.connection.sendEvent(1, 1, 10)
  for (let n = 1; n <= 16; n++) server.connection.sendReply(1, n, n)
  assert.deepEqual(server.takeMessages(), [['ACK', 1, 16, 1]])
  server.clock.advance(500)
  assert.deepEqual(server.takeMessages(), [])
})

test('reports RESYNC before the fresh state that follows it, and ignores the events that it skips', async () => {
  const { server, game, received } = await connectListening()
  const stale: unknown[] = []
  game.on('resynced', (shards) => stale.push(...shards))
  server.connection.sendEvent(1, 1, 10).sendResync(1, 600).sendEvent(1, 600, 0).sendEvent(1, 601, 61)
  assert.deepEqual(received, [10, 'resync', 61])
  server.clock.settle()
  assert.deepEqual(stale, [{ contract: 'room', key: 'main' }])
  await server.reconnect()
  assert.deepEqual(server.takeMessages().at(-1), ['RESUME', [1, 7, 601, 'main']])
})

test('delivers events pushed to the session by contract and event, once, and acknowledges them', async () => {
  const { server, game } = await connectListening()
  const received: unknown[] = []
  const stop = game.on(Room, 'moved', ({ n }) => received.push(n))
  server.connection.sendOpened(0, 3).sendEvent(0, 1, 10).sendEvent(0, 1, 10).sendEvent(0, 2, 20)
  server.connection.send(MESSAGE.EVENT, encodeEvent({ channel: 0, sequence: 3, event: 999 }, new Uint8Array(0)))
  assert.deepEqual(received, [10, 20])
  server.clock.advance(500)
  assert.deepEqual(server.takeMessages(), [['ACK', 0, 0, 3]])
  await server.reconnect()
  server.connection
    .sendWelcome({ resumed: true, token: 'two' })
    .sendOpened(0, 3)
    .sendEvent(0, 3, 30)
    .sendEvent(0, 4, 40)
  assert.deepEqual(received, [10, 20, 40])
  stop()
  server.connection.sendEvent(0, 5, 50)
  assert.deepEqual(received, [10, 20, 40])
})

test('reports a loss of pushed events as a resync of the session', async () => {
  const { server, game } = await connectListening()
  const stale: unknown[] = []
  const received: unknown[] = []
  game.on('resynced', (shards) => stale.push(shards))
  game.on(Room, 'moved', ({ n }) => received.push(n))
  server.connection.sendOpened(0, 3).sendResync(0, 40).sendEvent(0, 40, 1).sendEvent(0, 41, 2)
  server.clock.settle()
  assert.deepEqual(stale, [[{ contract: '@session', key: '' }]])
  assert.deepEqual(received, [2])
  server.connection.sendOpened(0, 4).sendEvent(0, 1, 3)
  server.clock.settle()
  assert.deepEqual([stale.length, received], [2, [2, 3]])
})

test('rejects a listener for an event that is not in the contract', async () => {
  const { game } = await connectListening()
  const on = game.on as (contract: typeof Room, name: string, listener: () => void) => void
  for (const name of ['ask', 'nothing']) assert.throws(() => on.call(game, Room, name, () => {}), InputError)
})
