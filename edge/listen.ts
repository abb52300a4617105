// Sockets of the Node host as the gateway's transports: TCP with keep-alive and no Nagle delay, WebSocket without
// compression. One read event is one `receive`; one flush is one write.

import type { IncomingMessage } from 'node:http'
import { createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocketServer, type WebSocket } from 'ws'
import type { Connection } from './connection.ts'
import type { Gateway, Transport } from './gateway.ts'

const KEEP_ALIVE_MS = 30_000
/** A peer that does not finish its side of a close is cut. */
const CLOSE_GRACE_MS = 2_000

class TcpTransport implements Transport {
  readonly kind = 'tcp'
  readonly remote: string
  readonly #socket: Socket
  constructor(socket: Socket) {
    this.#socket = socket
    this.remote = `${socket.remoteAddress}:${socket.remotePort}`
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

/** A TCP listener that feeds the gateway. */
export function tcpServer(gateway: Gateway): Server {
  return createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS }, (socket) => {
    const connection = gateway.accept(new TcpTransport(socket))
    if (!connection) return
    socket.on('data', (chunk: Buffer) => connection.receive(chunk))
    socket.on('error', () => connection.ended())
    socket.on('close', () => connection.ended())
  })
}

class WebSocketTransport implements Transport {
  readonly kind = 'ws'
  readonly remote: string
  readonly #socket: WebSocket
  constructor(socket: WebSocket, remote: string) {
    this.#socket = socket
    this.remote = remote
  }
  get bufferedBytes(): number {
    return this.#socket.bufferedAmount
  }
  write(bytes: Uint8Array): void {
    this.#socket.send(bytes, ignore)
  }
  close(code: number, reason: string): void {
    this.#socket.close(code, reason)
    setTimeout(() => this.#socket.terminate(), CLOSE_GRACE_MS).unref()
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
): (request: IncomingMessage, socket: Duplex, head: Buffer) => void {
  const sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    // A message may hold several frames; each frame's own limit is checked by the decoder.
    maxPayload: gateway.limits.maxBodyBytes + 65_536,
  })
  return (request, socket, head) => {
    sockets.handleUpgrade(request, socket, head, (ws) => {
      const { remoteAddress, remotePort } = request.socket
      const connection = gateway.accept(new WebSocketTransport(ws, `${remoteAddress}:${remotePort}`))
      if (connection) attach(ws, connection)
    })
  }
}

function attach(ws: WebSocket, connection: Connection): void {
  ws.on('message', (data: Buffer, isBinary: boolean) => {
    if (isBinary) connection.receive(data)
    else connection.close('TEXT_MESSAGE', 'frames travel in binary messages')
  })
  ws.on('error', () => connection.ended())
  ws.on('close', () => connection.ended())
}

function ignore(): void {}
