// Heartbeats, and what the SDK measures.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Metric } from '../../client/index.ts'
import { DEFAULT_FRAME_IDENTITY, FrameDecoder } from '../../core/wire/frame.ts'
import { MESSAGE } from '../../core/wire/message.ts'
import { settlePromises, ScriptedServer, outcomeOf, Room, type ScriptedConnection } from './scriptedserver.ts'

/** The bodies of the PINGs that a client has sent. */
function takePingBodies(line: ScriptedConnection): Uint8Array[] {
  const bodies: Uint8Array[] = []
  const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, 1 << 24, (command, source, start, end) => {
    if (command === MESSAGE.PING) bodies.push(source.slice(start, end))
  })
  for (const write of line.writes) decoder.push(write)
  line.writes = []
  return bodies
}

test('the first PINGs come soon, later ones at the interval of WELCOME', async () => {
  const door = new ScriptedServer()
  await door.connectWelcomed({}, { heartbeatMs: 10_000 })
  const times: number[] = []
  for (let ms = 500; ms <= 40_000; ms += 500) {
    door.clock.advance(500)
    for (const body of takePingBodies(door.connection)) {
      times.push(ms)
      door.connection.send(MESSAGE.PONG, body)
    }
  }
  assert.deepEqual(times, [500, 2_500, 10_500, 20_500, 30_500])
})

test('a connection on which nothing is heard for 2.5 intervals is given up, not earlier', async () => {
  const door = new ScriptedServer()
  const game = await door.connectWelcomed({}, { heartbeatMs: 10_000, token: 'one' })
  door.clock.advance(24_999)
  assert.equal(game.state, 'open')
  door.clock.advance(1)
  assert.deepEqual([game.state, door.connections[0]!.clientLeave], ['paused', false])
})

test('whatever arrives is a sign of life, whether or not PINGs are answered', async () => {
  const door = new ScriptedServer()
  const game = await door.connectWelcomed({}, { heartbeatMs: 10_000, token: 'one' })
  for (let i = 0; i < 5; i++) {
    door.clock.advance(20_000)
    door.connection.send(MESSAGE.PING, new Uint8Array([i]))
    assert.deepEqual(door.takeMessages(), [['PONG', [i]]])
  }
  door.clock.advance(24_999)
  assert.equal(game.state, 'open')
  door.clock.advance(1)
  assert.equal(game.state, 'paused')
})

test('the round trip is that of the PING which the PONG belongs to', async () => {
  const door = new ScriptedServer()
  const metrics: Metric[] = []
  const game = await door.connectWelcomed({ metrics: (metric) => metrics.push(metric) })
  door.clock.advance(500)
  const [first] = takePingBodies(door.connection)
  door.clock.advance(30)
  door.connection.send(MESSAGE.PONG, new Uint8Array(8)).send(MESSAGE.PONG, first!).send(MESSAGE.PONG, first!)
  assert.equal(game.rttMs, 30)
  door.clock.advance(2_000)
  const [second] = takePingBodies(door.connection)
  door.connection.send(MESSAGE.PONG, first!)
  assert.equal(game.rttMs, 30)
  door.clock.advance(10)
  door.connection.send(MESSAGE.PONG, second!)
  assert.deepEqual(
    metrics.filter(({ name }) => name === 'rtt'),
    [
      { name: 'rtt', ms: 30 },
      { name: 'rtt', ms: 40 },
    ],
  )
})

test('calls are measured by their outcome, bytes at each heartbeat, pauses at their end', async () => {
  const door = new ScriptedServer()
  const metrics: Metric[] = []
  const game = await door.connectWelcomed({ metrics: (metric) => metrics.push(metric) })
  const room = game.at(Room)
  for (let n = 1; n <= 3; n++) void outcomeOf(room.ask({ n }))
  door.takeMessages()
  door.clock.advance(20)
  door.connection.sendOpened(1, 7).sendReply(1, 1, 1).sendError(1, 2, 'OVERLOADED')
  const call = { name: 'call', contract: 'room', command: 'ask' }
  assert.deepEqual(metrics, [
    { ...call, ms: 20, outcome: 'ok' },
    { ...call, ms: 20, outcome: 'OVERLOADED' },
  ])
  metrics.length = 0
  door.clock.advance(480)
  const [bytes] = metrics
  assert.ok(bytes?.name === 'bytes' && bytes.in > 100 && bytes.out > 100, JSON.stringify(bytes))

  metrics.length = 0
  door.connection.disconnect()
  door.clock.advance(100)
  door.connection.disconnect()
  door.clock.advance(200)
  door.connection.events.opened()
  door.connection.sendWelcome({ resumed: true, token: 'two' })
  door.clock.advance(50)
  door.connection.sendOpened(1, 7, { mark: 3 }).sendResync(1, 9)
  door.clock.settle()
  assert.deepEqual(metrics, [
    { name: 'resync', contract: 'room', key: 'main' },
    { name: 'reconnect', ms: 350, tries: 2 },
  ])
  metrics.length = 0
  door.clock.advance(14_630)
  await settlePromises()
  const late = metrics.find(({ name }) => name === 'call')
  assert.deepEqual(late, { ...call, ms: 15_000, outcome: 'DEADLINE' })
})

test('a hook that throws breaks nothing', async () => {
  const door = new ScriptedServer()
  const game = await door.connectWelcomed({
    metrics: () => {
      throw new Error('no room for figures')
    },
  })
  const answer = outcomeOf(game.at(Room).ask({ n: 1 }))
  door.takeMessages()
  door.connection.sendOpened(1, 7).sendReply(1, 1, 1)
  assert.throws(() => door.clock.settle(), /no room for figures/)
  await settlePromises()
  assert.deepEqual(answer.now, { n: 1 })
})
