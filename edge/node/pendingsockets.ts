// Connections that the gateway does not know yet: in a TLS handshake, or speaking HTTP. They are bounded in all and by
// address, a handshake has a deadline however slowly its bytes come, and whoever leaves (for the gateway, or for good)
// leaves once.

import type { Server, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Limits } from '../../core/wire/limits.ts'
import { ConnectionLimiter, type ConnectionPermit } from '../gateway/connectionlimiter.ts'
import type { ListenerRejections } from './rejections.ts'

/** Room above the gateway's own bounds, so that it can say its OVERLOADED itself. */
const GATEWAY_HEADROOM = 64

interface PendingSocket {
  readonly socket: Socket
  readonly permit: ConnectionPermit
  /** The end of its TLS handshake. */
  readonly deadline: NodeJS.Timeout | null
  /** Hears that it is gone from here for good. */
  readonly onClose: () => void
}

export class PendingSockets {
  readonly #limiter: ConnectionLimiter
  readonly #rejections: ListenerRejections
  readonly #handshakeMs: number
  /** By peer, because a TLS socket does not tell the socket it stands on. */
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

  /** Receives the connections of a server of net, http, tls or https. */
  watchServer(server: Server, isTls: boolean): void {
    server.on('connection', (socket: Socket) => this.#add(socket, isTls))
    if (!isTls) return
    server.on('secureConnection', (socket: TLSSocket) => this.#onHandshakeCompleted(socket))
    server.on('tlsClientError', (error: NodeJS.ErrnoException) => {
      // A peer that only went away (a load balancer's probe) is no news.
      if (error.code !== 'ECONNRESET') this.#rejections.count('tls')
    })
  }

  /** The connection is the gateway's from now on. */
  remove(socket: Socket): void {
    const peer = peerKey(socket)
    const pending = this.#sockets.get(peer)
    if (!pending) return
    this.#sockets.delete(peer)
    if (pending.deadline) clearTimeout(pending.deadline)
    pending.socket.off('close', pending.onClose)
    pending.permit.release()
  }

  /** Ends all that are here. */
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
      // The peer may have come again from the same port.
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

  /** Node's own handshakeTimeout begins anew with every byte. */
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
