// Events of a channel, and of the session itself: each is told once, acknowledged in time, and a loss is told.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { InputError, type Firefly, type Remote } from '../../client/index.ts'
import { msgpack } from '../../core/wire/codec.ts'
import { encodeEvent, MESSAGE } from '../../core/wire/message.ts'
import { ScriptedServer, outcomeOf, Room } from './scriptedserver.ts'

async function connectListening(): Promise<{
  door: ScriptedServer
  game: Firefly
  room: Remote<(typeof Room)['entries']>
  told: unknown[]
}> {
  const server = new ScriptedServer()
  const game = await server.connectWelcomed()
  const room = game.at(Room)
  const received: unknown[] = []
  room.on('moved', ({ n }) => received.push(n))
  room.onResync(() => received.push('resync'))
  room.onRestart(() => received.push('restart'))
  server.takeMessages()
  server.connection.sendOpened(1, 7)
  return { door: server, game, room, told: received }
}

test('an event is told once: a number that is not above the last is ignored, a gap is none of our business', async () => {
  const { door, told } = await connectListening()
  door.connection
    .sendEvent(1, 1, 10)
    .sendEvent(1, 2, 20)
    .sendEvent(1, 2, 20)
    .sendEvent(1, 1, 10)
    .sendEvent(1, 5, 50)
  assert.deepEqual(told, [10, 20, 50])
  await door.reconnect()
  assert.deepEqual(door.takeMessages().at(-1), ['RESUME', [1, 7, 5, 'main']])
  door.connection
    .sendWelcome({ resumed: true, token: 'two' })
    .sendOpened(1, 7)
    .sendEvent(1, 5, 50)
    .sendEvent(1, 6, 60)
  assert.deepEqual(told, [10, 20, 50, 60])
})

test('the numbers of a new activation begin again', async () => {
  const { door, told } = await connectListening()
  door.connection
    .sendEvent(1, 1, 10)
    .sendEvent(1, 2, 20)
    .sendOpened(1, 8, { lost: true, opening: 2 })
    .sendEvent(1, 1, 30)
  assert.deepEqual(told, [10, 20, 'restart', 30])
  await door.reconnect()
  assert.deepEqual(door.takeMessages().at(-1), ['RESUME', [1, 8, 1, 'main']])
})

test('32 events are acknowledged at once, fewer with the next heartbeat, none twice', async () => {
  const { door } = await connectListening()
  for (let i = 1; i <= 31; i++) door.connection.sendEvent(1, i, i)
  assert.deepEqual(door.takeMessages(), [])
  door.connection.sendEvent(1, 32, 32)
  assert.deepEqual(door.takeMessages(), [['ACK', 1, 0, 32]])
  door.connection.sendEvent(1, 33, 33)
  assert.deepEqual(door.takeMessages(), [])
  door.clock.advance(500)
  assert.deepEqual(door.takeMessages(), [['ACK', 1, 0, 33]])
  door.clock.advance(2_000)
  assert.deepEqual(door.takeMessages(), [])
})

test('32 KiB of events are acknowledged, however few they are', async () => {
  const { door } = await connectListening()
  const body = msgpack.encode({ text: 'x'.repeat(16_384) })
  const say = (sequence: number): void =>
    void door.connection.send(MESSAGE.EVENT, encodeEvent({ channel: 1, sequence, event: 51 }, body))
  say(1)
  assert.deepEqual(door.takeMessages(), [])
  say(2)
  assert.deepEqual(door.takeMessages(), [['ACK', 1, 0, 2]])
})

test('an acknowledgement of answers carries the events, which need none of their own then', async () => {
  const { door, room } = await connectListening()
  for (let n = 1; n <= 16; n++) void outcomeOf(room.ask({ n }))
  door.takeMessages()
  door.connection.sendEvent(1, 1, 10)
  for (let n = 1; n <= 16; n++) door.connection.sendReply(1, n, n)
  assert.deepEqual(door.takeMessages(), [['ACK', 1, 16, 1]])
  door.clock.advance(500)
  assert.deepEqual(door.takeMessages(), [])
})

test('RESYNC is told before the fresh state behind it, and what it has passed by is not told any more', async () => {
  const { door, game, told } = await connectListening()
  const stale: unknown[] = []
  game.on('resynced', (shards) => stale.push(...shards))
  door.connection.sendEvent(1, 1, 10).sendResync(1, 600).sendEvent(1, 600, 0).sendEvent(1, 601, 61)
  assert.deepEqual(told, [10, 'resync', 61])
  door.clock.settle()
  assert.deepEqual(stale, [{ contract: 'room', key: 'main' }])
  await door.reconnect()
  assert.deepEqual(door.takeMessages().at(-1), ['RESUME', [1, 7, 601, 'main']])
})

test('events pushed to the session are told by contract and event, once, and acknowledged', async () => {
  const { door, game } = await connectListening()
  const told: unknown[] = []
  const stop = game.on(Room, 'moved', ({ n }) => told.push(n))
  door.connection.sendOpened(0, 3).sendEvent(0, 1, 10).sendEvent(0, 1, 10).sendEvent(0, 2, 20)
  door.connection.send(MESSAGE.EVENT, encodeEvent({ channel: 0, sequence: 3, event: 999 }, new Uint8Array(0)))
  assert.deepEqual(told, [10, 20])
  door.clock.advance(500)
  assert.deepEqual(door.takeMessages(), [['ACK', 0, 0, 3]])
  await door.reconnect()
  door.connection
    .sendWelcome({ resumed: true, token: 'two' })
    .sendOpened(0, 3)
    .sendEvent(0, 3, 30)
    .sendEvent(0, 4, 40)
  assert.deepEqual(told, [10, 20, 40])
  stop()
  door.connection.sendEvent(0, 5, 50)
  assert.deepEqual(told, [10, 20, 40])
})

test('a loss of pushed events is told as a resync of the session', async () => {
  const { door, game } = await connectListening()
  const stale: unknown[] = []
  const told: unknown[] = []
  game.on('resynced', (shards) => stale.push(shards))
  game.on(Room, 'moved', ({ n }) => told.push(n))
  door.connection.sendOpened(0, 3).sendResync(0, 40).sendEvent(0, 40, 1).sendEvent(0, 41, 2)
  door.clock.settle()
  assert.deepEqual(stale, [[{ contract: '@session', key: '' }]])
  assert.deepEqual(told, [2])
  door.connection.sendOpened(0, 4).sendEvent(0, 1, 3)
  door.clock.settle()
  assert.deepEqual([stale.length, told], [2, [2, 3]])
})

test('an event that the contract does not have cannot be listened to', async () => {
  const { game } = await connectListening()
  const on = game.on as (contract: typeof Room, name: string, listener: () => void) => void
  for (const name of ['ask', 'nothing']) assert.throws(() => on.call(game, Room, name, () => {}), InputError)
})
