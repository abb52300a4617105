// The Node listeners against peers that break the rules of HTTP or WebSocket: each one is answered or closed, none of them
// ends the process, and other players are still answered.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { connect as dial, type Socket } from 'node:net'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { connect } from '../../client/index.ts'
import type { RunningServer } from '../../edge/node/server.ts'
import { Echo } from '../../examples/echo/contract.ts'
import { startEcho } from '../support/echoserver.ts'
import { temporaryFolder } from '../support/program.ts'
import { requestRaw, statusCode, upgradeLines } from '../support/rawhttp.ts'
import { DEADLINE_MS, waitFor } from '../support/wait.ts'

const refusalCount = (server: RunningServer, reason: 'upgrade' | 'websocket'): number =>
  server.refusals.counts.get(reason) ?? 0

test('rejects a short secret at the start without printing it', async () => {
  for (const secret of ['', 'hunter2'])
    await assert.rejects(startEcho({ secret }), ({ name, message }: Error) => {
      assert.equal(name, 'DefinitionError')
      assert.match(message, /^secret has \d characters, at least 32 are needed/)
      assert.doesNotMatch(message, /hunter2/)
      return true
    })
})

async function assertPlayerAnswered(port: number): Promise<void> {
  const game = await connect(`ws://127.0.0.1:${port}/ws`)
  assert.deepEqual(await game.at(Echo).json({ text: 'player' }), { text: 'player' })
  await game.close()
}

/** Opens a WebSocket without a library; `frames` gets the bytes after the server's 101. */
async function openRawWebSocket(port: number): Promise<{ socket: Socket; frames: Buffer[] }> {
  const socket = dial(port, '127.0.0.1')
  socket.on('error', () => {})
  const frames: Buffer[] = []
  socket.write(`${upgradeLines('/ws').join('\r\n')}\r\n\r\n`)
  let response = ''
  await new Promise<void>((resolve) => {
    socket.on('data', (chunk) => {
      if (response.includes('\r\n\r\n')) {
        frames.push(chunk)
        return
      }
      response += chunk.toString('latin1')
      const end = response.indexOf('\r\n\r\n')
      if (end < 0) return
      frames.push(Buffer.from(response.slice(end + 4), 'latin1'))
      resolve()
    })
  })
  return { socket, frames }
}
/** Code of the close frame, which is the last frame of a server; 0 = none. */
const closeCode = (frames: readonly Buffer[]): number => {
  const bytes = Buffer.concat(frames)
  const at = bytes.lastIndexOf(0x88)
  return at < 0 ? 0 : bytes.readUInt16BE(at + 2)
}

test('answers, closes and counts an invalid upgrade, and keeps serving', async () => {
  const server = await startEcho()
  const { port } = server.http
  const rows: [string[], number][] = [
    [upgradeLines('/'), 404],
    [upgradeLines('//'), 404],
    [upgradeLines('/ws/'), 404],
    [upgradeLines('http://['), 404],
    [['POST /ws HTTP/1.1', ...upgradeLines('/ws').slice(1)], 405],
    [upgradeLines('/ws').filter((line) => !line.startsWith('Sec-WebSocket-Key')), 400],
    [upgradeLines('/ws').map((line) => line.replace('Version: 13', 'Version: 12')), 400],
    [upgradeLines('/ws', 'Sec-WebSocket-Protocol: a,,b'), 400],
    [upgradeLines('/ws', `Cookie: ${'x'.repeat(17_000)}`), 431],
    [['GET /healthz HTTP/1.1', 'Host: x', 'Connection: Upgrade, close', 'Upgrade: h2c'], 200],
    [['GET // HTTP/1.1', 'Host: x', 'Connection: close'], 404],
    [['nonsense'], 400],
  ]
  for (const [lines, expected] of rows) assert.equal(statusCode(await requestRaw(port, lines)), expected, lines[0])
  assert.equal(refusalCount(server, 'upgrade'), 8)
  await assertPlayerAnswered(port)
  // The peers' sides of the connections are still open; the server's are not.
  const metrics = async (): Promise<string> => (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  await waitFor(async () => /^firefly_lobby 1$/m.test(await metrics()), 'only the connection of this request is left')
})

test('answers what is not a request with the cause as text, also after an answered request', async () => {
  const { port } = (await startEcho({ times: { firstFrameMs: 300 } })).http
  const health = ['GET /healthz HTTP/1.1', 'Host: x']
  const rows: [string[], RegExp][] = [
    [['nonsense'], /^HTTP\/1\.1 400 .*\r\n\r\nnot a valid HTTP request: Parse Error: /s],
    [[...health, `Cookie: ${'x'.repeat(17_000)}`], /^HTTP\/1\.1 431 .*headers exceed 16384 bytes$/s],
    [[`GET /${'x'.repeat(17_000)} HTTP/1.1`], /^HTTP\/1\.1 431 .*request line and headers exceed 16384 bytes$/s],
  ]
  for (const [lines, expected] of rows) {
    const response = await requestRaw(port, lines)
    assert.match(response, expected)
    assert.match(response, /\r\nConnection: close\r\n/)
  }
  const socket = dial(port, '127.0.0.1')
  let received = ''
  socket.on('data', (bytes) => (received += String(bytes)))
  socket.write(`${health.join('\r\n')}\r\n\r\n`)
  await waitFor(() => received.endsWith('}'), 'the request is answered')
  socket.write('nonsense\r\n\r\n')
  await waitFor(() => / 400 Bad Request\r\n.*not a valid HTTP request/s.test(received), 'the cause arrives')
  received = ''
  const slow = dial(port, '127.0.0.1', () => slow.write('GET / HTTP/1.1\r\nHo'))
  slow.on('data', (bytes) => (received += String(bytes)))
  await waitFor(() => / 408 .*not complete in time$/s.test(received), 'the deadline is answered')
})

test('closes a connection whose request does not begin or does not end', { timeout: DEADLINE_MS }, async () => {
  const server = await startEcho()
  const startedMs = performance.now()
  await Promise.all(
    ['', 'GET / HTTP/1.1\r\nHo', 'POST /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab'].map((bytes) => {
      const silent = dial(server.http.port, '127.0.0.1', () => silent.write(bytes))
      return new Promise((resolve) => silent.resume().on('close', resolve))
    }),
  )
  // Node itself would wait for 60 s or more.
  assert.ok(performance.now() - startedMs < 50_000)
})

test('closes a connection that floods pings, empty messages or empty fragments', async () => {
  const server = await startEcho()
  const floods: [what: string, hex: string, count: number, code: number][] = [
    ['ping', '898000000000', 200, 1008],
    ['pong', '8a8000000000', 200, 1008],
    ['empty message', '828000000000', 200, 1008],
    ['empty fragment', '008000000000', 2_000, 1008],
  ]
  for (const [what, hex, count, code] of floods) {
    const { socket, frames } = await openRawWebSocket(server.http.port)
    const closed = new Promise((resolve) => socket.once('close', resolve))
    if (what === 'empty fragment') socket.write(Buffer.from('028000000000', 'hex'))
    socket.write(Buffer.from(hex.repeat(count), 'hex'))
    await closed
    assert.equal(closeCode(frames), code, what)
  }
  assert.equal(server.gateway.meter.closes.get('FLOOD'), floods.length)
  assert.equal(refusalCount(server, 'websocket'), 1)
  const { socket, frames } = await openRawWebSocket(server.http.port)
  socket.write(Buffer.from('898000000000', 'hex'))
  await waitFor(() => Buffer.concat(frames).equals(Buffer.from('8a00', 'hex')), 'the pong')
  socket.destroy()
})

test('keeps serving when a rejected connection breaks rules and resets', async () => {
  const server = await startEcho({ limits: { maxConnections: 1 } })
  const first = dial(server.tcp.port, '127.0.0.1')
  await waitFor(() => server.gateway.connectionCount === 1, 'the first connection is accepted')
  for (let i = 0; i < 20; i++) {
    const rejected = dial(server.tcp.port, '127.0.0.1')
    await new Promise((resolve) => rejected.once('connect', resolve))
    rejected.on('error', () => {})
    rejected.write('x')
    rejected.resetAndDestroy()
    const { socket } = await openRawWebSocket(server.http.port)
    socket.write(Buffer.from('ffffffffffff', 'hex'))
    await new Promise((resolve) => socket.once('close', resolve))
  }
  first.destroy()
  await waitFor(() => server.gateway.connectionCount === 0, 'the first connection is closed')
  await assertPlayerAnswered(server.http.port)
})

test(
  'closes new connections and keeps serving when no descriptors are left',
  { skip: process.platform !== 'linux' },
  async () => {
    const script = join(import.meta.dirname, '../../cli/firefly.ts')
    const args = ['serve', '--app', 'examples/echo', '--http', '0', '--tcp', '0', '--slots', '4']
    const words = [process.execPath, script, ...args, '--data', temporaryFolder()]
    const child = spawn('sh', ['-c', 'ulimit -n 80; exec "$@"', 'sh', ...words])
    after(() => child.kill('SIGKILL'))
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    await waitFor(() => output.includes(' pid='), 'the ready line')
    const [, http, tcp] = /http=http:\S+:(\d+) tcp=\S+:(\d+)/.exec(output)!
    let closed = 0
    const sockets = Array.from({ length: 200 }, (_, i) => dial(Number(i % 2 ? http : tcp), '127.0.0.1'))
    for (const socket of sockets) socket.on('error', () => {}).on('close', () => closed++)
    await waitFor(() => closed > 100, 'the connections beyond the descriptors are closed')
    assert.equal(child.exitCode, null)
    for (const socket of sockets) socket.destroy()
    await waitFor(async () => {
      const health = await fetch(`http://127.0.0.1:${http}/healthz`).catch(() => null)
      return ((await health?.json()) as { connections: number } | undefined)?.connections === 0
    }, 'all connections are closed')
    await assertPlayerAnswered(Number(http))
    child.kill('SIGTERM')
    assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 0)
  },
)
