// Clients that ask the conformance game for their own address. The game is in the test's own process, or behind a proxy.

import assert from 'node:assert/strict'
import { connect as dial, type Socket } from 'node:net'
import { after } from 'node:test'
import * as tls from 'node:tls'
import { DEFAULT_FRAME_IDENTITY, encodeFrame, FrameDecoder, frameIdentityBytes } from '../../core/wire/frame.ts'
import { start, type RunningServer, type ServerOptions } from '../../edge/node/server.ts'
import { game } from '../conformance/game.ts'
import { Visits } from '../conformance/sessionshards.ts'
import { temporaryFolder } from './program.ts'
import { webSocketClient } from './sockets.ts'

const running = new Set<RunningServer>()
after(() => Promise.all([...running].map((server) => server.stop())))

/** Starts a server of the conformance game on free ports, with a new data folder. */
export async function startVisits(options: Partial<ServerOptions> = {}): Promise<RunningServer> {
  const server = await start({ game, dir: temporaryFolder(), http: 0, tcp: 0, logLevel: 'silent', ...options })
  running.add(server)
  return server
}

const LOCAL = '127.0.0.1'
const readCommand = Visits.entries.read.number
export const VISIT_FRAME = encodeFrame(frameIdentityBytes(DEFAULT_FRAME_IDENTITY), readCommand, Buffer.from('{}'))

/** Connects and sends bytes before anything else, as a proxy does; then TLS if `secure`. */
export async function dialWith(port: number, first: Uint8Array, secure = false): Promise<Socket> {
  const socket = dial({ port, host: LOCAL, noDelay: true })
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('connect', resolve))
  if (first.length > 0) socket.write(first)
  return secure ? tls.connect({ socket, servername: 'localhost', rejectUnauthorized: false }) : socket
}

/** Returns the address that the game sees; rejects when the connection is closed before. */
export function visit(socket: Socket, first: Uint8Array = VISIT_FRAME): Promise<string> {
  return new Promise((resolve, reject) => {
    const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, 1 << 20, (_command, source, start, end) => {
      resolve(addressOf(source.subarray(start, end)))
      socket.destroy()
    })
    socket.on('data', (chunk: Buffer) => decoder.push(chunk))
    socket.on('error', () => {})
    socket.on('close', () => reject(new Error('closed')))
    socket.write(first)
  })
}

function addressOf(body: Uint8Array): string {
  const { remote, admitted } = JSON.parse(Buffer.from(body).toString()) as { remote: string; admitted: string }
  assert.notEqual(admitted, '', 'admit has an address')
  return remote
}

/** Returns the address that the game sees of a WebSocket with these headers. */
export async function visitWebSocket(
  url: string,
  headers: Record<string, string> = {},
  socket?: Socket,
): Promise<string> {
  const through = socket && { createConnection: () => socket }
  const client = await webSocketClient(url, { headers, rejectUnauthorized: false, ...through })
  const { remote } = (await client.call(readCommand, {})) as { remote: string }
  client.close()
  return remote
}
