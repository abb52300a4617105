// The SDK over TCP and TLS, against a server that accepts every session.

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
import { DEFAULT_FRAME_IDENTITY, encodeFrame, FrameDecoder, frameIdentityBytes } from '../../core/wire/frame.ts'
import { encodeWelcome, MESSAGE } from '../../core/wire/message.ts'
import { Room, SESSION } from './scriptedserver.ts'
import { waitFor } from '../support/wait.ts'

const servers = new Set<Server>()
after(() => {
  for (const server of servers) server.close()
})

/** The received messages of one connection, by message number, and whether it ended by FIN. */
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

test('over TCP a session opens, resumes after a disconnect, and sends CLOSE before it ends', async () => {
  const clients: AcceptedClient[] = []
  const port = await listen(createServer((socket) => acceptClient(socket, clients)))
  const game = await connect(`tcp://127.0.0.1:${port}`, { dial: dialTcp })
  game.at(Room)
  await waitFor(() => clients[0]!.messageNumbers.length === 2, 'two messages')
  let resumes = 0
  game.on('state', (state) => void (state === 'open' && resumes++))
  clients[0]!.socket.destroy()
  await waitFor(() => resumes === 1, 'the session resumes')
  assert.deepEqual(clients[1]!.messageNumbers, [MESSAGE.HELLO, MESSAGE.RESUME])
  await game.close()
  await waitFor(() => clients[1]!.hasEnded, 'the second connection ends')
  assert.equal(clients[1]!.messageNumbers.at(-1), MESSAGE.CLOSE)
})

test('over TLS the server needs a certificate that Node trusts', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'firefly-tls-'))
  const [keyFile, certFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  const make = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  execFileSync('openssl', [...make, '-keyout', keyFile, '-out', certFile, ...subject], { stdio: 'ignore' })
  const [key, cert] = [readFileSync(keyFile), readFileSync(certFile, 'utf8')]
  rmSync(folder, { recursive: true })
  const clients: AcceptedClient[] = []
  const server = createTlsServer({ key, cert }, (socket) => acceptClient(socket, clients))
  server.on('tlsClientError', () => {})
  const port = await listen(server)

  const untrusted = connect(`tls://localhost:${port}`, { dial: dialTcp, connectMs: 2_000 })
  await assert.rejects(untrusted, /self-signed certificate/)

  setDefaultCACertificates([...getCACertificates('default'), cert])
  for (const name of ['localhost', '127.0.0.1']) {
    const game = await connect(`tls://${name}:${port}`, { dial: dialTcp })
    await game.close()
  }
  await waitFor(() => clients.length === 2 && clients.every(({ hasEnded: ended }) => ended), 'both connections end')
})

test('an unreachable host is UNAVAILABLE, with the reason', async () => {
  const server = createServer()
  const port = await listen(server)
  server.close()
  const unreachable = connect(`tcp://127.0.0.1:${port}`, { dial: dialTcp, connectMs: 1_000 })
  await assert.rejects(unreachable, /no answer within 1000 ms \(connect ECONNREFUSED/)
})

test('rejects a URL without host and port', async () => {
  for (const url of ['ws://127.0.0.1:1', 'tcp://127.0.0.1', 'tcp://:9', 'nonsense', 'tcp://127.0.0.1:1/path'])
    await assert.rejects(connect(url, { dial: dialTcp }), InputError, url)
})
