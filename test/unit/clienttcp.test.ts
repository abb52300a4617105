// The SDK over TCP and TLS, against a socket that welcomes everybody.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { createServer as createTlsServer, getCACertificates, setDefaultCACertificates } from 'node:tls'

import { connect } from '../../client/index.ts'
import { dialTcp } from '../../client/tcp.ts'
import { InputError } from '../../core/wire/errors.ts'
import {
  DEFAULT_FRAME_IDENTITY,
  encodeFrame,
  FrameDecoder,
  frameIdentityBytes,
} from '../../core/wire/frame.ts'
import { encodeWelcome, MESSAGE } from '../../core/wire/message.ts'
import { Room, SESSION } from './scriptedserver.ts'

const servers = new Set<Server>()
after(() => {
  for (const server of servers) server.close()
})

/** What was said on each connection, by message number, and how it ended. */
interface AcceptedClient {
  readonly socket: Socket
  readonly messageNumbers: number[]
  hasEnded: boolean
}

function acceptClient(socket: Socket, clients: AcceptedClient[]): void {
  const client: AcceptedClient = { socket, messageNumbers: [], hasEnded: false }
  clients.push(client)
  const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, 65_536, (command) => {
    client.messageNumbers.push(command)
    if (command !== MESSAGE.HELLO) return
    const token = new Uint8Array([1])
    const fields = { version: 2, resumed: clients.length > 1, session: SESSION, token }
    const welcome = encodeWelcome({ ...fields, heartbeatMs: 15_000, maxBodyBytes: 65_536 })
    socket.write(encodeFrame(frameIdentityBytes(DEFAULT_FRAME_IDENTITY), MESSAGE.WELCOME, welcome))
  })
  socket.on('data', (chunk: Buffer) => decoder.push(chunk))
  socket.on('end', () => (client.hasEnded = true))
  socket.on('error', () => {})
}

async function listen(server: Server): Promise<number> {
  servers.add(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function waitUntil(done: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + 10_000
  while (!done()) {
    assert.ok(performance.now() < deadlineMs, 'never came')
    await new Promise(setImmediate)
  }
}

test('over TCP a session opens, comes back after a break, and says goodbye before it ends', async () => {
  const guests: AcceptedClient[] = []
  const port = await listen(createServer((socket) => acceptClient(socket, guests)))
  const game = await connect(`tcp://127.0.0.1:${port}`, { dial: dialTcp })
  game.at(Room)
  await waitUntil(() => guests[0]!.messageNumbers.length === 2)
  let resumes = 0
  game.on('state', (state) => void (state === 'open' && resumes++))
  guests[0]!.socket.destroy()
  await waitUntil(() => resumes === 1)
  assert.deepEqual(guests[1]!.messageNumbers, [MESSAGE.HELLO, MESSAGE.RESUME])
  await game.close()
  await waitUntil(() => guests[1]!.hasEnded)
  assert.equal(guests[1]!.messageNumbers.at(-1), MESSAGE.CLOSE)
})

test('over TLS the server must be one that Node trusts', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'firefly-tls-'))
  const [keyFile, certFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  const make = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  execFileSync('openssl', [...make, '-keyout', keyFile, '-out', certFile, ...subject], { stdio: 'ignore' })
  const [key, cert] = [readFileSync(keyFile), readFileSync(certFile, 'utf8')]
  rmSync(folder, { recursive: true })
  const guests: AcceptedClient[] = []
  const server = createTlsServer({ key, cert }, (socket) => acceptClient(socket, guests))
  server.on('tlsClientError', () => {})
  const port = await listen(server)

  const strange = connect(`tls://localhost:${port}`, { dial: dialTcp, connectMs: 500 })
  await assert.rejects(strange, /self-signed certificate/)

  setDefaultCACertificates([...getCACertificates('default'), cert])
  for (const name of ['localhost', '127.0.0.1']) {
    const game = await connect(`tls://${name}:${port}`, { dial: dialTcp })
    await game.close()
  }
  await waitUntil(() => guests.length === 2 && guests.every(({ hasEnded: ended }) => ended))
})

test('a host that is not there is UNAVAILABLE, with the reason', async () => {
  const server = createServer()
  const port = await listen(server)
  server.close()
  const nobody = connect(`tcp://127.0.0.1:${port}`, { dial: dialTcp, connectMs: 300 })
  await assert.rejects(nobody, /no answer within 300 ms \(connect ECONNREFUSED/)
})

test('a URL without host and port is refused at once', async () => {
  for (const url of ['ws://127.0.0.1:1', 'tcp://127.0.0.1', 'tcp://:9', 'nonsense', 'tcp://127.0.0.1:1/path'])
    await assert.rejects(connect(url, { dial: dialTcp }), InputError, url)
})
