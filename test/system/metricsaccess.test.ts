// Who reaches `/metrics`: a port of its own, a token. A client that does not read an HTTP response holds nothing for long.

import assert from 'node:assert/strict'
import { connect as dial, type Socket } from 'node:net'
import test from 'node:test'
import { start, type ServerOptions } from '../../edge/node/server.ts'
import hello from '../../examples/hello/server.ts'
import { runToEnd, temporaryFolder } from '../support/program.ts'
import { waitFor } from '../support/wait.ts'

const TOKEN = 'a token of the operator'

function startServer(options: Partial<ServerOptions>): ReturnType<typeof start> {
  return start({ game: hello, dir: temporaryFolder(), slots: 1, http: 0, tcp: 0, ...options })
}

async function statusOf(port: number, authorization?: string): Promise<number> {
  const headers = authorization === undefined ? {} : { authorization }
  const response = await fetch(`http://127.0.0.1:${port}/metrics`, { headers })
  assert.equal((await response.text()).includes('firefly_connections'), response.status === 200)
  return response.status
}

test('metrics on a port of their own are not on the port of the players', async (t) => {
  const server = await startServer({ metrics: { port: 0 } })
  t.after(() => server.stop())
  assert.equal(await statusOf(server.http.port), 404)
  assert.equal(await statusOf(server.metrics!.port), 200)
})

test('metrics with a token are for those who know it, on either port', async (t) => {
  for (const port of [null, 0]) {
    const server = await startServer({ metrics: { port, token: TOKEN } })
    t.after(() => server.stop())
    const metricsPort = (server.metrics ?? server.http).port
    for (const wrong of [undefined, '', TOKEN, 'Bearer', `Bearer ${TOKEN}x`, `Basic ${TOKEN}`])
      assert.equal(await statusOf(metricsPort, wrong), 401)
    assert.equal(await statusOf(metricsPort, `Bearer ${TOKEN}`), 200)
  }
})

test('a short token and a port in use are errors of one line, and the token is not in them', async (t) => {
  const server = await startServer({ metrics: { port: 0 } })
  t.after(() => server.stop())
  const args = ['serve', '--app', 'examples/hello', '--http', '0', '--tcp', '0', '--data', temporaryFolder()]
  const short = await runToEnd([...args, '--metrics-token', 'hunter2'])
  assert.deepEqual(
    [short.code, short.stderr.trim().split('\n').length, short.stderr.includes('hunter2')],
    [2, 1, false],
  )
  const used = await runToEnd([...args, '--metrics-port', String(server.metrics!.port)])
  assert.equal(used.code, 2)
  assert.match(used.stderr, new RegExp(`^firefly: port ${server.metrics!.port} .*in use.*--metrics-port`))
})

/** A client that asks for a large file again and again, and reads nothing. */
function requestAndNeverRead(port: number): Socket {
  const socket = dial({ port, host: '127.0.0.1' })
  socket.on('error', () => {})
  socket.pause()
  socket.write('GET /large HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(20))
  return socket
}

test('clients that do not read their responses are closed, and others are served meanwhile', async (t) => {
  const page = new Map([['/large', { type: 'text/plain', body: 'x'.repeat(8_000_000) }]])
  const server = await startServer({ page, times: { unreadMs: 4_000 } })
  t.after(() => server.stop())
  const before = process.memoryUsage().arrayBuffers
  const sockets = Array.from({ length: 100 }, () => requestAndNeverRead(server.http.port))
  t.after(() => sockets.forEach((socket) => socket.destroy()))
  const openSockets = async (): Promise<number> => {
    const text = await (await fetch(`http://127.0.0.1:${server.http.port}/metrics`)).text()
    return Number(/^firefly_lobby (\d+)$/m.exec(text)![1])
  }
  await waitFor(async () => (await openSockets()) >= sockets.length, 'all have asked')
  assert.equal(await statusOf(server.http.port), 200)
  const grown = process.memoryUsage().arrayBuffers - before
  assert.ok(grown < 200_000_000, `${grown} bytes for 100 clients that do not read`)
  await waitFor(async () => (await openSockets()) < 10, 'the server closes them')
})
