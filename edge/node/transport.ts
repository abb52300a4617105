// Sockets of the Node host as the gateway's transports: TCP with keep-alive and no Nagle delay, WebSocket without
// compression; either over TLS. One read event is one `receive`; one flush is one write.

import type { IncomingMessage } from 'node:http'
import { createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createServer as createTlsServer } from 'node:tls'
import { WebSocketServer, type WebSocket } from 'ws'
import { TokenBucket } from '../gateway/tokenbucket.ts'
import type { Connection } from '../gateway/connection.ts'
import type { Gateway, Transport } from '../gateway/gateway.ts'
import type { PendingSockets } from './pendingsockets.ts'
import type { ListenerRejections } from './rejections.ts'
import type { Certificate } from './tls.ts'

/** Before the system asks whether a silent peer is still there. */
export const KEEP_ALIVE_MS = 30_000
/** A peer that does not finish its side of a close is cut. */
const CLOSE_GRACE_MS = 2_000
/** Pieces of one message: more than any library makes, and empty ones cost no bytes. */
const MAX_FRAGMENTS = 1_024
/** Reads of one message: each keeps some 200 bytes of memory, however little it brought. */
const MAX_CHUNKS = 16_384
/** WebSocket's own pings and pongs, and empty messages: no frame is in them that the gateway could count. */
const MAX_CONTROL_FRAMES_PER_SECOND = 20

class TcpTransport implements Transport {
  readonly kind = 'tcp'
  readonly remote: string
  readonly address: string
  readonly #socket: Socket
  constructor(socket: Socket) {
    this.#socket = socket
    this.address = socket.remoteAddress ?? ''
    this.remote = `${this.address}:${socket.remotePort}`
  }
  get bufferedBytes(): number {
    return this.#socket.writableLength
  }
  write(bytes: Uint8Array): void {
    this.#socket.write(bytes)
  }
  close(): void {
    this.#socket.end()
    setTimeout(() => this.#socket.destroy(), CLOSE_GRACE_MS).unref()
  }
  abort(): void {
    this.#socket.destroy()
  }
  pause(): void {
    this.#socket.pause()
  }
  resume(): void {
    this.#socket.resume()
  }
}

/** A TCP listener that feeds the gateway; with a certificate it speaks TLS. */
export function tcpServer(
  gateway: Gateway,
  pendingSockets: PendingSockets,
  certificate: Certificate | null,
): Server {
  const options = { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS }
  if (!certificate) return createServer(options, (socket) => acceptTcp(gateway, socket))
  const server = createTlsServer({ ...options, ...certificate.credentials }, (socket) => {
    pendingSockets.remove(socket)
    acceptTcp(gateway, socket)
  })
  certificate.addServer(server)
  pendingSockets.watchServer(server, true)
  return server
}

function acceptTcp(gateway: Gateway, socket: Socket): void {
  // Before the gateway may refuse it: an error that nobody hears ends the process. 'close' follows it always.
  socket.on('error', ignore)
  const connection = gateway.accept(new TcpTransport(socket))
  if (!connection) return
  socket.on('data', (chunk: Buffer) => connection.receive(chunk))
  socket.on('close', () => connection.onTransportClosed(false))
}

class WebSocketTransport implements Transport {
  readonly kind = 'ws'
  readonly remote: string
  readonly address: string
  readonly #socket: WebSocket
  constructor(socket: WebSocket, { remoteAddress, remotePort }: Socket) {
    this.#socket = socket
    this.address = remoteAddress ?? ''
    this.remote = `${this.address}:${remotePort}`
  }
  get bufferedBytes(): number {
    return this.#socket.bufferedAmount
  }
  write(bytes: Uint8Array): void {
    this.#socket.send(bytes, ignore)
  }
  close(code: number, reason: string): void {
    this.#socket.close(code, reason)
    terminateAfterGrace(this.#socket)
  }
  abort(): void {
    this.#socket.terminate()
  }
  pause(): void {
    this.#socket.pause()
  }
  resume(): void {
    this.#socket.resume()
  }
}

/** Answers WebSocket upgrades: to be called with what an HTTP server's 'upgrade' event brings. */
export function webSocketUpgrade(
  gateway: Gateway,
  pendingSockets: PendingSockets,
  rejections: ListenerRejections,
): (request: IncomingMessage, socket: Duplex, head: Buffer) => void {
  const sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    skipUTF8Validation: false,
    // A message may hold several frames; each frame's own limit is checked by the decoder.
    maxPayload: gateway.limits.maxBodyBytes + 65_536,
    maxFragments: MAX_FRAGMENTS,
    maxBufferedChunks: MAX_CHUNKS,
  })
  // Its listener takes the place of ws's own answer, which is the same, but is not counted.
  sockets.on('wsClientError', (error, socket, request) => {
    rejections.count('upgrade')
    rejectUpgrade(socket, request.method === 'GET' ? 400 : 405, error.message)
  })
  return (request, socket, head) => {
    sockets.handleUpgrade(request, socket, head, (ws) => {
      pendingSockets.remove(request.socket)
      acceptWebSocket(ws, request.socket, gateway, rejections)
    })
  }
}

/** Apart from the upgrade, so that none of its listeners holds the request for as long as the socket lives. */
function acceptWebSocket(
  ws: WebSocket,
  socket: Socket,
  gateway: Gateway,
  rejections: ListenerRejections,
): void {
  // As above: also where the gateway refuses it.
  ws.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code?.startsWith('WS_ERR_')) rejections.count('websocket')
    terminateAfterGrace(ws)
  })
  const connection = gateway.accept(new WebSocketTransport(ws, socket))
  if (connection) attachWebSocket(ws, connection)
}

function attachWebSocket(ws: WebSocket, connection: Connection): void {
  let controlBucket: TokenBucket | null = null
  const countControlFrame = (): void => {
    const now = performance.now()
    controlBucket ??= new TokenBucket(MAX_CONTROL_FRAMES_PER_SECOND, Infinity)
    controlBucket.consume(1, 0, now)
    if (controlBucket.waitMs(now) > 0) {
      connection.closeConnection(
        'FLOOD',
        `more than ${MAX_CONTROL_FRAMES_PER_SECOND} WebSocket pings or empty messages a second`,
      )
    }
  }
  ws.on('message', (data: Buffer, isBinary: boolean) => {
    if (!isBinary) connection.closeConnection('TEXT_MESSAGE', 'frames travel in binary messages')
    else if (data.length === 0) countControlFrame()
    else connection.receive(data)
  })
  ws.on('ping', countControlFrame)
  ws.on('pong', countControlFrame)
  ws.on('error', () => connection.onTransportClosed(false))
  ws.on('close', (code) => connection.onTransportClosed(code === 1_000 || code === 1_001))
}

const STATUS_TEXT: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
}

/** Answers an upgrade that is not to be. The peer's side is not waited for: HTTP sockets may stay half open for ever. */
export function rejectUpgrade(socket: Duplex, status: number, message: string): void {
  const head = [
    `HTTP/1.1 ${status} ${STATUS_TEXT[status]}`,
    'Connection: close',
    'Content-Type: text/plain; charset=utf-8',
    ...(status === 400 ? ['Sec-WebSocket-Version: 13'] : []),
    ...(status === 405 ? ['Allow: GET'] : []),
    `Content-Length: ${Buffer.byteLength(message)}`,
  ]
  socket.once('finish', () => socket.destroy())
  socket.end(`${head.join('\r\n')}\r\n\r\n${message}`)
}

function terminateAfterGrace(socket: WebSocket): void {
  setTimeout(() => socket.terminate(), CLOSE_GRACE_MS).unref()
}

function ignore(): void {}
