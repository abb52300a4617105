// A database URL whose server is not MySQL: the error describes the server, and Firefly does not start. A URL without a
// reachable server may be an outage, and Firefly starts.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer as createWeb, type RequestListener } from 'node:http'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import test from 'node:test'

import { openTestDatabase, assertDatabaseError, openClient, sql } from '../support/database.ts'
import { runToEnd, serve } from '../support/program.ts'

const { url: mysql, skip } = await openTestDatabase()
const HELLO = 'examples/hello'

interface OtherServer extends AsyncDisposable {
  readonly address: string
}

async function startTcpServer(greet: (socket: Socket) => void): Promise<OtherServer> {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => {}).resume()
    greet(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, [Symbol.asyncDispose]: close }
}

async function startWebServer(listener: RequestListener): Promise<OtherServer> {
  const server = createWeb(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = async (): Promise<void> => {
    server.close()
    server.closeAllConnections()
  }
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, [Symbol.asyncDispose]: close }
}

const sendByteByByte = (socket: Socket): void => {
  for (const [at, byte] of 'SSH-2.0-x\r\n'.split('').entries()) setTimeout(() => socket.write(byte), 10 * at)
}
const OTHER_SERVERS: readonly (readonly [string, () => Promise<OtherServer>, RegExp])[] = [
  ['a web server', () => startWebServer((_, answer) => answer.end('hello')), /, it sent "HTTP\/1\.1 200 OK": /],
  [
    'a server that closes the connection',
    () => startTcpServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')),
    /400 Bad/,
  ],
  [
    'an SSH server',
    () => startTcpServer((socket) => socket.write('SSH-2.0-OpenSSH_9.2\r\n')),
    /"SSH-2\.0-OpenSSH_9\.2"/,
  ],
  ['a server that sends byte by byte', () => startTcpServer(sendByteByByte), /, it sent "SSH[^"]*": /],
  [
    'a server that sends random bytes',
    () => startTcpServer((socket) => socket.write(Uint8Array.of(9, 8, 7, 6, 5, 4))),
    /the bytes 090807060504: /,
  ],
  [
    'a server that sends only zeros',
    () => startTcpServer((socket) => socket.write(new Uint8Array(99))),
    /the bytes 0000000000000000: /,
  ],
]
for (const [name, start, says] of OTHER_SERVERS)
  test(`reports ${name} as not MySQL`, async () => {
    await using listener = await start()
    const url = `mysql://someone:s3cret@${listener.address}/db`
    await using client = openClient(url, { connectTimeoutMs: 300 })
    const { message } = await assertDatabaseError(client.query(sql('SELECT 1')), 'unavailable', url)
    const head = `mysql ${listener.address}/db: the server does not use the MySQL protocol`
    assert.ok(message.startsWith(head), message)
    assert.match(message, says)
    assert.match(message, /: check host and port of the URL$/)
  })

test('reports a missing greeting, a closed connection, and an incomplete greeting', async () => {
  const cases: readonly (readonly [(socket: Socket) => void, RegExp])[] = [
    [
      () => {},
      /: not connected within 200 ms: the server sent no MySQL greeting; if it is not MySQL, check host and port/,
    ],
    [(socket) => socket.end(), /: the server closed the connection without a MySQL greeting; .*check host and port/],
    [(socket) => socket.write(Uint8Array.of(74, 0, 0, 0, 10, 53)), /: not connected within 200 ms$/],
    [
      (socket) => socket.write(Uint8Array.of(23, 0, 0, 0, 255, 16, 4, ...Buffer.from('Too many connections'))),
      /Too many/,
    ],
  ]
  for (const [greet, expected] of cases) {
    await using listener = await startTcpServer(greet)
    const url = `mysql://someone:s3cret@${listener.address}/db`
    await using client = openClient(url, { connectTimeoutMs: 200 })
    const { message } = await assertDatabaseError(client.query(sql('SELECT 1')), 'unavailable', url)
    assert.ok(message.startsWith(`mysql ${listener.address}/db: `), message)
    assert.match(message, expected)
  }
})

test('reports user, host and database for a wrong user, password or database', { skip }, async () => {
  const variants: readonly (readonly [(url: URL) => void, RegExp])[] = [
    [(url) => (url.password = 'not-the-password'), /Access denied for user 'root'/],
    [(url) => (url.username = 'nobody'), /Access denied for user 'nobody'/],
    [(url) => (url.pathname = 'nothing_here'), /Unknown database 'nothing_here' .*, as user 'root'$/],
  ]
  for (const [change, expected] of variants) {
    const url = new URL(mysql)
    change(url)
    await using client = openClient(url.href)
    const { message } = await assertDatabaseError(client.query(sql('SELECT 1')), 'access', url.href)
    assert.ok(message.startsWith(`mysql ${url.host}${url.pathname}: `), message)
    assert.match(message, expected)
    const { code, stderr } = await runToEnd(['serve', '--app', HELLO, '--http', '0', '--tcp', '0', '--mysql', url.href])
    assert.equal(code, 2)
    assert.equal(stderr, `firefly: ${message}\n`)
  }
})

test('does not start with the URL of a server that is not MySQL', async () => {
  const served: RequestListener = (_, answer) => answer.writeHead(404).end('<html>not here</html>')
  const page: RequestListener = (_, answer) => answer.end('<html>welcome</html>')
  const api: RequestListener = (_, answer) => answer.writeHead(404).end('{"error":{"message":"no such thing"}}')
  const http = /: the server is not PlanetScale's HTTP API; check the URL\n$/
  const cases: readonly (readonly [string, () => Promise<OtherServer>, RegExp])[] = [
    ['mysql', () => startWebServer(page), /: the server does not use the MySQL protocol, .*URL\n$/],
    ['mysql', () => startTcpServer((socket) => socket.write('SSH-2.0-x\r\n')), /does not use the MySQL protocol/],
    ['http', () => startWebServer(served), http],
    ['http', () => startWebServer(page), http],
    ['http', () => startWebServer(api), http],
  ]
  for (const [scheme, start, expected] of cases) {
    await using listener = await start()
    const url = `${scheme}://someone:s3cret@${listener.address}/db`
    const { code, stderr } = await runToEnd(['serve', '--app', HELLO, '--http', '0', '--tcp', '0', '--mysql', url])
    assert.equal(code, 2, stderr)
    assert.match(stderr, expected)
    assert.equal(stderr.trim().split('\n').length, 1)
    assert.ok(stderr.startsWith('firefly: ') && stderr.includes(listener.address) && !stderr.includes('s3cret'), stderr)
  }
})

test('starts with the URL of a server that does not answer now', async () => {
  const busy: RequestListener = (_, answer) => answer.writeHead(503).end('<html>later</html>')
  const many: RequestListener = (_, answer) => answer.writeHead(429).end('<html>slower</html>')
  const cases: readonly (readonly [string, () => Promise<OtherServer>])[] = [
    ['mysql', async () => ({ address: '127.0.0.1:1', [Symbol.asyncDispose]: async () => {} })],
    ['mysql', () => startTcpServer(() => {})],
    ['mysql', () => startTcpServer((socket) => socket.end())],
    ['http', async () => ({ address: '127.0.0.1:1', [Symbol.asyncDispose]: async () => {} })],
    ['http', () => startWebServer(busy)],
    ['http', () => startWebServer(many)],
  ]
  const start = async ([scheme, listen]: (typeof cases)[number]): Promise<void> => {
    await using listener = await listen()
    const program = await serve(HELLO, ['--mysql', `${scheme}://someone:s3cret@${listener.address}/db`])
    assert.equal((await fetch(`${program.http}/healthz`)).status, 200)
    assert.equal(await program.stop(), 0)
  }
  await Promise.all(cases.map(start))
})
