// The limits of the Node gateway, through real sockets: connections that are idle, do not read, send text or exceed the
// number of connections are closed, and other players are still answered.

import assert from 'node:assert/strict'
import { connect as dial, type Socket } from 'node:net'
import test from 'node:test'
import { connect } from '../../client/index.ts'
import { DEFAULT_FRAME_IDENTITY, encodeFrame, FrameDecoder, frameIdentityBytes } from '../../core/wire/frame.ts'
import { DEFAULT_LIMITS } from '../../core/wire/limits.ts'
import type { RunningServer } from '../../edge/node/server.ts'
import { Echo } from '../../examples/echo/contract.ts'
import { startEcho } from '../support/echoserver.ts'
import { waitFor } from '../support/wait.ts'

const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)
const webSocketUrl = (server: RunningServer): string => `ws://127.0.0.1:${server.http.port}/ws`
const closeCount = (server: RunningServer, reason: 'IDLE' | 'SLOW_CONSUMER' | 'OVERLOADED' | 'TEXT_MESSAGE'): number =>
  server.gateway.meter.closes.get(reason) ?? 0

async function tcp(server: RunningServer): Promise<Socket> {
  const socket = dial(server.tcp.port, '127.0.0.1')
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('connect', resolve))
  return socket
}
const waitForClose = (socket: Socket): Promise<void> => new Promise((resolve) => socket.once('close', () => resolve()))

test('closes an idle connection, and not one that sends', async () => {
  const server = await startEcho({ times: { idleMs: 400 } })
  const active = await tcp(server)
  const idle = await tcp(server)
  idle.resume()
  active.resume()
  const beat = setInterval(() => active.write(encodeFrame(identity, 4, new Uint8Array(0))), 50)
  await waitForClose(idle)
  clearInterval(beat)
  assert.equal(closeCount(server, 'IDLE'), 1)
  assert.equal(active.destroyed, false)
  active.destroy()
})

test('closes a client that does not read at its limit while another client is answered', async () => {
  const server = await startEcho({
    limits: { maxOutboundBytes: 262_144, maxBytesPerSecond: 1 << 30 },
    times: { stallMs: 300 },
  })
  const slow = await tcp(server)
  slow.pause()
  const body = new Uint8Array(60_000)
  const ended = waitForClose(slow)
  const other = await connect(webSocketUrl(server))
  let sent = 0
  while (closeCount(server, 'SLOW_CONSUMER') === 0 && sent < 1_000) {
    slow.write(encodeFrame(identity, 1, body))
    sent++
    const answer = await other.at(Echo).raw(Uint8Array.of(sent & 255))
    assert.equal(answer[0], sent & 255)
  }
  await waitFor(() => closeCount(server, 'SLOW_CONSUMER') === 1, 'the server closes the connection')
  slow.resume()
  await ended
  await other.close()
})

test('rejects a connection above the limit with OVERLOADED until another one closes', async () => {
  const server = await startEcho({ limits: { maxConnections: 2 } })
  const [first, second] = [await tcp(server), await tcp(server)]
  const rejected = new WebSocket(webSocketUrl(server))
  const { code, reason } = await new Promise<CloseEvent>((resolve) => (rejected.onclose = resolve))
  assert.equal(code, 1013)
  assert.match(reason, /^OVERLOADED/)
  first.destroy()
  await waitFor(() => server.gateway.connectionCount < 2, 'the server closes the connection')
  const game = await connect(webSocketUrl(server))
  assert.deepEqual(await game.at(Echo).json({ text: 'in' }), { text: 'in' })
  await game.close()
  second.destroy()
})

test('closes a WebSocket with 1003 after a text message', async () => {
  const server = await startEcho()
  const socket = new WebSocket(webSocketUrl(server))
  await new Promise((resolve) => (socket.onopen = resolve))
  const end = new Promise<CloseEvent>((resolve) => (socket.onclose = resolve))
  socket.send('hello')
  assert.equal((await end).code, 1003)
  assert.equal(closeCount(server, 'TEXT_MESSAGE'), 1)
})

test('pauses a connection above the limit of pending calls without losing any', async () => {
  const server = await startEcho()
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

test('answers accepted calls when it stops, then closes and accepts no connection', async () => {
  const server = await startEcho()
  const socket = await tcp(server)
  const frames: number[] = []
  const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, 1 << 20, (command) => frames.push(command))
  socket.on('data', (chunk) => void decoder.push(chunk))
  const end = waitForClose(socket)
  socket.write(encodeFrame(identity, 1, Uint8Array.of(1)))
  await waitFor(() => server.gateway.meter.framesIn === 1, 'the frame is received')
  await server.stop()
  await end
  assert.deepEqual(frames, [1])
  const later = dial(server.tcp.port, '127.0.0.1')
  await assert.rejects(
    new Promise((resolve, reject) => {
      later.once('connect', resolve)
      later.once('error', reject)
    }),
    /ECONNREFUSED/,
  )
})
