// Heartbeats and metrics of the SDK.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Metric } from '../../client/index.ts'
import { DEFAULT_FRAME_IDENTITY, FrameDecoder } from '../../core/wire/frame.ts'
import { MESSAGE } from '../../core/wire/message.ts'
import { settlePromises, ScriptedServer, outcomeOf, Room, type ScriptedConnection } from './scriptedserver.ts'

/** The bodies of the PINGs that a client has sent. */
function takePingBodies(connection: ScriptedConnection): Uint8Array[] {
  const bodies: Uint8Array[] = []
  const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, 1 << 24, (command, source, start, end) => {
    if (command === MESSAGE.PING) bodies.push(source.slice(start, end))
  })
  for (const write of connection.writes) decoder.push(write)
  connection.writes = []
  return bodies
}

test('sends the first PINGs early and later ones at the interval of WELCOME', async () => {
  const { server } = await ScriptedServer.welcomed({}, { heartbeatMs: 10_000 })
  const times: number[] = []
  for (let ms = 500; ms <= 40_000; ms += 500) {
    server.clock.advance(500)
    for (const body of takePingBodies(server.connection)) {
      times.push(ms)
      server.connection.send(MESSAGE.PONG, body)
    }
  }
  assert.deepEqual(times, [500, 2_500, 10_500, 20_500, 30_500])
})

test('closes a connection after 2.5 intervals without data, not earlier', async () => {
  const { server, game } = await ScriptedServer.welcomed({}, { heartbeatMs: 10_000, token: 'one' })
  server.clock.advance(24_999)
  assert.equal(game.state, 'open')
  server.clock.advance(1)
  assert.deepEqual([game.state, server.connections[0]!.clientLeave], ['paused', false])
})

test('any received data resets the idle timeout, even if PINGs are not answered', async () => {
  const { server, game } = await ScriptedServer.welcomed({}, { heartbeatMs: 10_000, token: 'one' })
  for (let i = 0; i < 5; i++) {
    server.clock.advance(20_000)
    server.connection.send(MESSAGE.PING, new Uint8Array([i]))
    assert.deepEqual(server.takeMessages(), [['PONG', [i]]])
  }
  server.clock.advance(24_999)
  assert.equal(game.state, 'open')
  server.clock.advance(1)
  assert.equal(game.state, 'paused')
})

test('measures the round trip between a PING and its own PONG', async () => {
  const server = new ScriptedServer()
  const metrics: Metric[] = []
  const game = await server.connectWelcomed({ metrics: (metric) => metrics.push(metric) })
  server.clock.advance(500)
  const [first] = takePingBodies(server.connection)
  server.clock.advance(30)
  server.connection.send(MESSAGE.PONG, new Uint8Array(8)).send(MESSAGE.PONG, first!).send(MESSAGE.PONG, first!)
  assert.equal(game.rttMs, 30)
  server.clock.advance(2_000)
  const [second] = takePingBodies(server.connection)
  server.connection.send(MESSAGE.PONG, first!)
  assert.equal(game.rttMs, 30)
  server.clock.advance(10)
  server.connection.send(MESSAGE.PONG, second!)
  assert.deepEqual(
    metrics.filter(({ name }) => name === 'rtt'),
    [
      { name: 'rtt', ms: 30 },
      { name: 'rtt', ms: 40 },
    ],
  )
})

test('measures calls with their outcome, bytes at each heartbeat, pauses at their end', async () => {
  const server = new ScriptedServer()
  const metrics: Metric[] = []
  const game = await server.connectWelcomed({ metrics: (metric) => metrics.push(metric) })
  const room = game.at(Room)
  for (let n = 1; n <= 3; n++) void outcomeOf(room.ask({ n }))
  server.takeMessages()
  server.clock.advance(20)
  server.connection.sendOpened(1, 7).sendReply(1, 1, 1).sendError(1, 2, 'OVERLOADED')
  const call = { name: 'call', contract: 'room', command: 'ask' }
  assert.deepEqual(metrics, [
    { ...call, ms: 20, outcome: 'ok' },
    { ...call, ms: 20, outcome: 'OVERLOADED' },
  ])
  metrics.length = 0
  server.clock.advance(480)
  const [bytes] = metrics
  assert.ok(bytes?.name === 'bytes' && bytes.in > 100 && bytes.out > 100, JSON.stringify(bytes))

  metrics.length = 0
  server.connection.disconnect()
  server.clock.advance(100)
  server.connection.disconnect()
  server.openNext()
  server.connection.sendWelcome({ resumed: true, token: 'two' })
  server.clock.advance(50)
  server.connection.sendOpened(1, 7, { mark: 3 }).sendResync(1, 9)
  server.clock.settle()
  assert.deepEqual(metrics, [
    { name: 'resync', contract: 'room', key: 'main' },
    { name: 'reconnect', ms: 350, tries: 2 },
  ])
  metrics.length = 0
  server.clock.advance(14_630)
  await settlePromises()
  const late = metrics.find(({ name }) => name === 'call')
  assert.deepEqual(late, { ...call, ms: 15_000, outcome: 'DEADLINE' })
})

test('continues after the metrics hook throws, and rethrows its error', async () => {
  const server = new ScriptedServer()
  const game = await server.connectWelcomed({
    metrics: () => {
      throw new Error('no room for figures')
    },
  })
  const answer = outcomeOf(game.at(Room).ask({ n: 1 }))
  server.takeMessages()
  server.connection.sendOpened(1, 7).sendReply(1, 1, 1)
  assert.throws(() => server.clock.settle(), /no room for figures/)
  await settlePromises()
  assert.deepEqual(answer.now, { n: 1 })
})
