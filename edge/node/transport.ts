// The transports of the Node host: TCP with keep-alive and no Nagle delay, WebSocket without compression; either over TLS.
// One read event is one `receive`; one flush is one write.

import { STATUS_CODES, type IncomingMessage } from 'node:http'
import { createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createServer as createTlsServer } from 'node:tls'
import { WebSocket, WebSocketServer } from 'ws'
import { hostAndPort } from '../gateway/address.ts'
import { selectSubprotocol } from '../gateway/webpaths.ts'
import { hasProxySignature } from '../gateway/proxyheader.ts'
import { TokenBucket } from '../gateway/tokenbucket.ts'
import type { CloseReason } from '../../core/wire/errors.ts'
import type { Connection } from '../gateway/connection.ts'
import type { Gateway } from '../gateway/gateway.ts'
import { maxReceivedBytes, type Transport } from '../gateway/context.ts'
import { UNTRUSTED_PROXY, type ListenerRejections, type PendingSockets } from './pendingsockets.ts'
import type { SocketPeer } from './peer.ts'
import type { Certificate } from './tls.ts'

/** Idle time before the system probes a peer. */
export const KEEP_ALIVE_MS = 30_000
/** Deadline of the peer's side of a close. */
const CLOSE_GRACE_MS = 2_000
/** Fragments of one message: more than any library sends; empty ones would cost no bytes. */
const MAX_FRAGMENTS = 1_024
/** Reads of one message: each takes some 200 bytes of memory, however short it is. */
const MAX_CHUNKS = 16_384
/** WebSocket pings and pongs, and empty messages: they contain no frame that the gateway could charge. */
const MAX_CONTROL_FRAMES_PER_SECOND = 20

/** A socket that was reset before it was accepted has no address. */
function remoteText(address: string, port: number): string {
  return address === '' ? 'unknown' : hostAndPort(address, port)
}

class TcpTransport implements Transport {
  readonly kind = 'tcp'
  readonly remote: string
  readonly address: string
  readonly #socket: Socket
  constructor(socket: Socket, { address, port }: SocketPeer) {
    this.#socket = socket
    this.address = address
    this.remote = remoteText(address, port)
  }
  get bufferedBytes(): number {
    return this.#socket.writableLength
  }
  get sendProgress(): number {
    return systemQueueBytes(this.#socket)
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

/** Returns the TCP server of the gateway, over TLS when there is a certificate. */
export function tcpServer(
  gateway: Gateway,
  pendingSockets: PendingSockets,
  rejections: ListenerRejections,
  certificate: Certificate | null,
): Server {
  const options = { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS }
  const accept = (socket: Socket): void => acceptTcp(gateway, rejections, socket, pendingSockets.remove(socket))
  if (!certificate) return createServer(options, accept)
  const server = createTlsServer({ ...options, ...certificate.credentials }, accept)
  certificate.addServer(server)
  pendingSockets.watchServer(server, true)
  return server
}

function acceptTcp(gateway: Gateway, rejections: ListenerRejections, socket: Socket, peer: SocketPeer): void {
  // Added before `accept`: an error event without a listener ends the process. 'close' always follows it.
  socket.on('error', ignore)
  const connection = gateway.accept(new TcpTransport(socket, peer))
  if (!connection) return
  socket.once('data', (first: Buffer) => {
    if (hasProxySignature(first) && !hasProxySignature(gateway.frameIdentityBytes)) {
      rejections.countAndLog('proxy', UNTRUSTED_PROXY, peer.address)
      return connection.closeConnection('BAD_IDENTITY', UNTRUSTED_PROXY)
    }
    socket.on('data', (chunk: Buffer) => connection.receive(chunk))
    connection.receive(first)
  })
  socket.on('close', () => connection.onTransportClosed(false))
}

class WebSocketTransport implements Transport {
  readonly kind = 'ws'
  readonly remote: string
  readonly address: string
  readonly #socket: WebSocket
  readonly #tcpSocket: Socket
  constructor(socket: WebSocket, tcpSocket: Socket, peer: SocketPeer, client: string) {
    this.#socket = socket
    this.#tcpSocket = tcpSocket
    this.address = client
    this.remote = client === peer.address ? remoteText(client, peer.port) : client
  }
  get bufferedBytes(): number {
    return this.#socket.bufferedAmount
  }
  get sendProgress(): number {
    return systemQueueBytes(this.#tcpSocket)
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

/** Violations of RFC 6455, by the code of the error of ws; any other one that starts with WS_ERR_ is a BAD_MESSAGE. */
const VIOLATIONS: Readonly<Record<string, CloseReason>> = {
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: 'FRAME_TOO_LARGE',
  WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH: 'FRAME_TOO_LARGE',
  WS_ERR_TOO_MANY_BUFFERED_PARTS: 'FLOOD',
  WS_ERR_INVALID_UTF8: 'TEXT_MESSAGE',
}

/** Closes with a reason where ws would close without one. */
class GatewayWebSocket extends WebSocket {
  /** Of the peer's violation, as RFC 6455 defines it; 0 = none. */
  #violationCode = 0

  /** ws reports a violation by a close without a reason, then by an error; the listener of that error closes. */
  override close(code?: number, data?: string | Buffer): void {
    if (code !== undefined && data === undefined) this.#violationCode = code
    else super.close(this.#violationCode || code, data)
  }
}

/** Returns the function that upgrades a request; `client`: its IP address. */
export function webSocketUpgrade(
  gateway: Gateway,
  pendingSockets: PendingSockets,
  rejections: ListenerRejections,
): (request: IncomingMessage, socket: Duplex, head: Buffer, client: string) => void {
  const sockets = new WebSocketServer({
    WebSocket: GatewayWebSocket,
    noServer: true,
    perMessageDeflate: false,
    handleProtocols: (offered) => selectSubprotocol(offered) ?? false,
    skipUTF8Validation: false,
    maxPayload: maxReceivedBytes(gateway.limits),
    maxFragments: MAX_FRAGMENTS,
    maxBufferedChunks: MAX_CHUNKS,
  })
  // The same response as the one of ws, but counted.
  sockets.on('wsClientError', (error, socket, request) => {
    rejections.count('upgrade')
    rejectUpgrade(socket, request.method === 'GET' ? 400 : 405, error.message)
  })
  return (request, socket, head, client) => {
    sockets.handleUpgrade(request, socket, head, (ws) => {
      const transport = new WebSocketTransport(ws, request.socket, pendingSockets.remove(request.socket), client)
      acceptWebSocket(ws, transport, gateway, rejections)
    })
  }
}

/** A function of its own, so that its listeners do not keep the request in memory while the socket is open. */
function acceptWebSocket(
  ws: WebSocket,
  transport: WebSocketTransport,
  gateway: Gateway,
  rejections: ListenerRejections,
): void {
  let connection: Connection | null = null
  // Added before `accept`, as for TCP.
  ws.on('error', (error: NodeJS.ErrnoException) => {
    const isViolation = error.code?.startsWith('WS_ERR_') ?? false
    if (isViolation) rejections.count('websocket')
    if (!isViolation || !connection?.isOpen) return terminateAfterGrace(ws)
    connection.closeConnection(VIOLATIONS[error.code!] ?? 'BAD_MESSAGE', `RFC 6455: ${error.message}`)
  })
  connection = gateway.accept(transport)
  if (connection) attachWebSocket(ws, connection)
}

function attachWebSocket(ws: WebSocket, connection: Connection): void {
  let controlBucket: TokenBucket | null = null
  const countControlFrame = (): void => {
    const now = performance.now()
    controlBucket ??= new TokenBucket(MAX_CONTROL_FRAMES_PER_SECOND, Infinity)
    controlBucket.consume(1, 0, now)
    if (controlBucket.waitMs(now) > 0)
      connection.closeConnection(
        'FLOOD',
        `more than ${MAX_CONTROL_FRAMES_PER_SECOND} WebSocket pings or empty messages per second`,
      )
  }
  ws.on('message', (data: Buffer, isBinary: boolean) => {
    if (!isBinary) connection.closeConnection('TEXT_MESSAGE', 'frames must be binary messages')
    else if (data.length === 0) countControlFrame()
    else connection.receive(data)
  })
  ws.on('ping', countControlFrame)
  ws.on('pong', countControlFrame)
  ws.on('close', (code) => connection.onTransportClosed(code === 1_000 || code === 1_001))
}

/** Answers a rejected upgrade. */
export function rejectUpgrade(socket: Duplex, status: number, message: string): void {
  const headers = status === 400 ? ['Sec-WebSocket-Version: 13'] : status === 405 ? ['Allow: GET'] : []
  answerAndClose(socket, status, message, headers)
}

/** Answers on a raw socket and closes it without waiting for the peer, which might never close its side. */
export function answerAndClose(socket: Duplex, status: number, message: string, headers: readonly string[] = []): void {
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Connection: close',
    'Content-Type: text/plain; charset=utf-8',
    ...headers,
    `Content-Length: ${Buffer.byteLength(message)}`,
  ]
  socket.once('finish', () => socket.destroy())
  socket.end(`${head.join('\r\n')}\r\n\r\n${message}`)
}

function terminateAfterGrace(socket: WebSocket): void {
  setTimeout(() => socket.terminate(), CLOSE_GRACE_MS).unref()
}

/** Bytes of the current write that the system has not taken: `writableLength` counts a write until its end. */
function systemQueueBytes(socket: Socket): number {
  // Not public, but what Node's own `socket.setTimeout` uses for the same purpose.
  const { _handle } = socket as Socket & { readonly _handle?: { readonly writeQueueSize?: number } | null }
  return _handle?.writeQueueSize ?? 0
}

function ignore(): void {}
