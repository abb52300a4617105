// The bounds of the Node door, through real sockets: who is silent, does not read, speaks text or comes too late is
// let go, and a player beside him still gets his answers.

import assert from 'node:assert/strict'
import { connect as dial, type Socket } from 'node:net'
import test, { after } from 'node:test'
import { connect } from '../../client/index.ts'
import { loadApp } from '../../core/node/app.ts'
import {
  DEFAULT_FRAME_IDENTITY,
  encodeFrame,
  FrameDecoder,
  frameIdentityBytes,
} from '../../core/wire/frame.ts'
import { DEFAULT_LIMITS, type Limits } from '../../core/wire/limits.ts'
import { start, type RunningServer } from '../../edge/node/server.ts'
import { Echo } from '../../examples/echo/contract.ts'
import { temporaryFolder } from '../support/program.ts'
import { waitFor } from '../support/wait.ts'

const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)
const running = new Set<RunningServer>()
after(() => Promise.all([...running].map((server) => server.stop())))

async function serve(limits: Partial<Limits> = {}, idleMs = 60_000): Promise<RunningServer> {
  const { game } = await loadApp('examples/echo')
  const server = await start({
    game,
    dir: temporaryFolder(),
    http: 0,
    tcp: 0,
    logLevel: 'silent',
    limits,
    times: { idleMs },
  })
  running.add(server)
  return server
}

const webSocketUrl = (server: RunningServer): string => `ws://127.0.0.1:${server.http.port}/ws`
const closeCount = (
  server: RunningServer,
  reason: 'IDLE' | 'SLOW_CONSUMER' | 'OVERLOADED' | 'TEXT_MESSAGE',
): number => server.gateway.meter.closes.get(reason) ?? 0

async function tcp(server: RunningServer): Promise<Socket> {
  const socket = dial(server.tcp.port, '127.0.0.1')
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('connect', resolve))
  return socket
}
const waitForClose = (socket: Socket): Promise<void> =>
  new Promise((resolve) => socket.once('close', () => resolve()))

test('a connection that sends nothing is closed, one that pings is not', async () => {
  const server = await serve({}, 400)
  const talker = await tcp(server)
  const silent = await tcp(server)
  silent.resume()
  talker.resume()
  const beat = setInterval(() => talker.write(encodeFrame(identity, 4, new Uint8Array(0))), 50)
  await waitForClose(silent)
  clearInterval(beat)
  assert.equal(closeCount(server, 'IDLE'), 1)
  assert.equal(talker.destroyed, false)
  talker.destroy()
})

test('a client that does not read is closed at its bound, and its neighbour is answered meanwhile', async () => {
  const server = await serve({ maxOutboundBytes: 262_144, maxBytesPerSecond: 1 << 30 })
  const slow = await tcp(server)
  slow.pause()
  const body = new Uint8Array(60_000)
  const ended = waitForClose(slow)
  const neighbour = await connect(webSocketUrl(server))
  let sent = 0
  while (closeCount(server, 'SLOW_CONSUMER') === 0 && sent < 1_000) {
    slow.write(encodeFrame(identity, 1, body))
    sent++
    const answer = await neighbour.at(Echo).raw(Uint8Array.of(sent & 255))
    assert.equal(answer[0], sent & 255)
  }
  assert.equal(closeCount(server, 'SLOW_CONSUMER'), 1)
  slow.resume()
  await ended
  await neighbour.close()
})

test('beyond the bound of connections a newcomer is told so, and room is made again', async () => {
  const server = await serve({ maxConnections: 2 })
  const [one, two] = [await tcp(server), await tcp(server)]
  const late = new WebSocket(webSocketUrl(server))
  const { code, reason } = await new Promise<CloseEvent>((resolve) => (late.onclose = resolve))
  assert.equal(code, 1013)
  assert.match(reason, /^OVERLOADED/)
  one.destroy()
  await waitFor(() => server.gateway.connectionCount < 2, 'the server has seen the end')
  const game = await connect(webSocketUrl(server))
  assert.deepEqual(await game.at(Echo).json({ text: 'in' }), { text: 'in' })
  await game.close()
  two.destroy()
})

test('a WebSocket text message closes with 1003', async () => {
  const server = await serve()
  const socket = new WebSocket(webSocketUrl(server))
  await new Promise((resolve) => (socket.onopen = resolve))
  const end = new Promise<CloseEvent>((resolve) => (socket.onclose = resolve))
  socket.send('hello')
  assert.equal((await end).code, 1003)
  assert.equal(closeCount(server, 'TEXT_MESSAGE'), 1)
})

test('calls beyond the waiting bound pause their connection; none is lost', async () => {
  const server = await serve()
  const socket = await tcp(server)
  const count = 20 * DEFAULT_LIMITS.maxWaiting
  const answers: number[] = []
  const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, 1 << 20, (_command, source, start) => {
    answers.push((source[start]! << 8) | source[start + 1]!)
  })
  socket.on('data', (chunk) => void decoder.push(chunk))
  for (let i = 0; i < count; i++) socket.write(encodeFrame(identity, 1, Uint8Array.of(i >> 8, i & 255)))
  await waitFor(() => answers.length === count, 'all answers')
  assert.deepEqual(
    answers,
    Array.from({ length: count }, (_, i) => i),
  )
  socket.destroy()
})

test('a drain answers what was accepted, then closes and lets no one in', async () => {
  const server = await serve()
  const socket = await tcp(server)
  const frames: number[] = []
  const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, 1 << 20, (command) => frames.push(command))
  socket.on('data', (chunk) => void decoder.push(chunk))
  const end = waitForClose(socket)
  socket.write(encodeFrame(identity, 1, Uint8Array.of(1)))
  await waitFor(() => server.gateway.meter.framesIn === 1, 'the frame is in')
  await server.stop()
  await end
  assert.deepEqual(frames, [1])
  const late = dial(server.tcp.port, '127.0.0.1')
  await assert.rejects(
    new Promise((resolve, reject) => {
      late.once('connect', resolve)
      late.once('error', reject)
    }),
    /ECONNREFUSED/,
  )
})
