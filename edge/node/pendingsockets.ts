// Sockets that are not yet connections of the gateway: in a TLS handshake, or in use by HTTP. Their number is limited in
// total and per address, and a handshake has a deadline. What the listeners reject is counted by reason. Invariant: a socket
// is released exactly once, when it closes or becomes a connection.

import type { Server, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Limits } from '../../core/wire/limits.ts'
import { ConnectionLimiter, type ConnectionPermit } from '../gateway/connectionlimiter.ts'

/** Why a listener rejected a connection or a request before the gateway. */
type RejectionReason =
  | 'accept' // the system could not accept a connection, usually because it has no free descriptors
  | 'crowd' // too many pending connections in total, or of one address
  | 'origin' // a WebSocket of a page whose origin is not in the list
  | 'request' // bytes on the HTTP port that are not a request, or a request with too many or too slow headers
  | 'tls' // not TLS, or no version and cipher in common
  | 'tls_timeout' // a TLS handshake that exceeded its deadline
  | 'upgrade' // an HTTP upgrade to another path or protocol, or one that RFC 6455 forbids
  | 'websocket' // a frame that RFC 6455 forbids, or a message above its limit

export class ListenerRejections {
  readonly counts = new Map<RejectionReason, number>()

  count(reason: RejectionReason): void {
    this.counts.set(reason, (this.counts.get(reason) ?? 0) + 1)
  }
}

/** Added to the gateway's limits, so that the gateway can answer with OVERLOADED itself. */
const GATEWAY_HEADROOM = 64

interface PendingSocket {
  readonly socket: Socket
  readonly permit: ConnectionPermit
  /** Of its TLS handshake. */
  readonly deadline: NodeJS.Timeout | null
  readonly onClose: () => void
}

export class PendingSockets {
  readonly #limiter: ConnectionLimiter
  readonly #rejections: ListenerRejections
  readonly #handshakeMs: number
  /** By peer, because a TLS socket does not expose its underlying socket. */
  readonly #sockets = new Map<string, PendingSocket>()

  constructor(limits: Limits, handshakeMs: number, rejections: ListenerRejections) {
    this.#limiter = new ConnectionLimiter({
      maxConnections: limits.maxConnections + GATEWAY_HEADROOM,
      maxPerAddress: limits.maxPerAddress + GATEWAY_HEADROOM,
      maxPerLoopback: limits.maxPerLoopback + GATEWAY_HEADROOM,
      maxUnproven: limits.maxUnproven + GATEWAY_HEADROOM,
    })
    this.#rejections = rejections
    this.#handshakeMs = handshakeMs
  }

  get socketCount(): number {
    return this.#sockets.size
  }

  /** Adds the sockets of a server of net, http, tls or https. */
  watchServer(server: Server, isTls: boolean): void {
    server.on('connection', (socket: Socket) => this.#add(socket, isTls))
    if (!isTls) return
    server.on('secureConnection', (socket: TLSSocket) => this.#onHandshakeCompleted(socket))
    server.on('tlsClientError', (error: NodeJS.ErrnoException) => {
      // Probes of load balancers only connect and reset.
      if (error.code !== 'ECONNRESET') this.#rejections.count('tls')
    })
  }

  /** The socket becomes a connection of the gateway. */
  remove(socket: Socket): void {
    const peer = peerKey(socket)
    const pending = this.#sockets.get(peer)
    if (!pending) return
    this.#sockets.delete(peer)
    if (pending.deadline) clearTimeout(pending.deadline)
    pending.socket.off('close', pending.onClose)
    pending.permit.release()
  }

  destroyAll(): void {
    for (const { socket } of this.#sockets.values()) socket.destroy()
  }

  #add(socket: Socket, isTls: boolean): void {
    const admission = this.#limiter.admit(socket.remoteAddress ?? '')
    if (admission.reason !== null) {
      this.#rejections.count('crowd')
      socket.destroy()
      return
    }
    const peer = peerKey(socket)
    const onClose = (): void => {
      if (pending.deadline) clearTimeout(pending.deadline)
      admission.release()
      // The peer may have connected again from the same port.
      if (this.#sockets.get(peer) === pending) this.#sockets.delete(peer)
    }
    const pending: PendingSocket = {
      socket,
      permit: admission,
      deadline: isTls ? this.#startHandshakeTimer(socket) : null,
      onClose,
    }
    if (!isTls) admission.markAuthenticated()
    this.#sockets.set(peer, pending)
    socket.once('close', onClose)
  }

  /** Node's own handshakeTimeout restarts with every byte. */
  #startHandshakeTimer(socket: Socket): NodeJS.Timeout {
    return setTimeout(() => {
      this.#rejections.count('tls_timeout')
      socket.destroy()
    }, this.#handshakeMs).unref()
  }

  #onHandshakeCompleted(socket: TLSSocket): void {
    const pending = this.#sockets.get(peerKey(socket))
    if (pending?.deadline) clearTimeout(pending.deadline)
    pending?.permit.markAuthenticated()
  }
}

function peerKey(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort} ${socket.localPort}`
}
