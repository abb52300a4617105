// Sockets that are not yet connections of the gateway: they wait for a PROXY header, are in a TLS handshake, or are in use
// by HTTP. Their number is limited in total and per address, and each wait has a deadline. What the listeners reject is
// counted by reason. Invariant: a socket is released exactly once, when it closes or becomes a connection.

import type { Server, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Log } from '../../core/ports/log.ts'
import type { Limits } from '../../core/wire/limits.ts'
import type { NetworkFilter } from '../gateway/address.ts'
import { ConnectionLimiter, type ConnectionPermit } from '../gateway/connectionlimiter.ts'
import { peerOfSocket, takeProxyHeader, type SocketPeer } from './peer.ts'

/** Why a listener rejected a connection or a request before the gateway. */
type RejectionReason =
  | 'accept' // the system could not accept a connection, usually because it has no free descriptors
  | 'crowd' // too many pending connections in total, or of one address
  | 'forwarded' // X-Forwarded-For and Forwarded of a trusted proxy that contradict each other or are malformed
  | 'origin' // a WebSocket of a page whose origin is not in the list
  | 'proxy' // a PROXY header of an address that is not trusted
  | 'proxy_header' // a malformed PROXY header of a trusted address
  | 'proxy_timeout' // a trusted address that sent neither a complete PROXY header nor anything else in time
  | 'request' // bytes on the HTTP port that are not a request, or a request with too many or too slow headers
  | 'tls' // not TLS, or no version and cipher in common
  | 'tls_timeout' // a TLS handshake that exceeded its deadline
  | 'upgrade' // an HTTP upgrade to another path or protocol, or one that RFC 6455 forbids
  | 'websocket' // a frame that RFC 6455 forbids, or a message above its limit

export class ListenerRejections {
  readonly counts = new Map<RejectionReason, number>()
  readonly #log: Pick<Log, 'warn'>
  readonly #logged = new Set<string>()

  constructor(log: Pick<Log, 'warn'>) {
    this.#log = log
  }

  count(reason: RejectionReason): void {
    this.counts.set(reason, (this.counts.get(reason) ?? 0) + 1)
  }

  /** For what an operator must correct: the first of each reason is logged, and of each `kind` within it up to a bound. */
  countAndLog(reason: RejectionReason, message: string, remote: string, kind = ''): void {
    this.count(reason)
    const key = `${reason} ${kind}`
    if (this.#logged.has(key) || this.#logged.size >= MAX_LOGGED_KINDS) return
    this.#logged.add(key)
    this.#log.warn(`${message}; later ones are only counted`, { remote, metric: `firefly_refused_total ${reason}` })
  }
}

/** A peer chooses how a TLS handshake fails; OpenSSL has some hundred codes. */
const MAX_LOGGED_KINDS = 32

export const UNTRUSTED_PROXY = 'a PROXY header is refused: --trust-proxy does not contain the address of its sender'

/** Added to the gateway's limits, so that the gateway can answer with OVERLOADED itself. */
const GATEWAY_HEADROOM = 64

interface PendingSocket {
  readonly socket: Socket
  readonly peer: SocketPeer
  readonly permit: ConnectionPermit
  readonly deadline: NodeJS.Timeout | null
  readonly onClose: () => void
}

export interface PendingSocketsOptions {
  readonly limits: Limits
  /** Deadline of a TLS handshake, and of a PROXY header. */
  readonly handshakeMs: number
  readonly rejections: ListenerRejections
  /** Addresses of proxies, which may send PROXY headers; null = there are none. */
  readonly isTrusted: NetworkFilter | null
}

export class PendingSockets {
  readonly #limiter: ConnectionLimiter
  readonly #rejections: ListenerRejections
  readonly #handshakeMs: number
  readonly #isTrusted: NetworkFilter | null
  /** By peer, because a TLS socket does not expose its underlying socket. */
  readonly #sockets = new Map<string, PendingSocket>()
  /** Named by a PROXY header. */
  readonly #proxied = new WeakMap<Socket, SocketPeer>()

  constructor({ limits, handshakeMs, rejections, isTrusted }: PendingSocketsOptions) {
    this.#limiter = new ConnectionLimiter({
      maxConnections: limits.maxConnections + GATEWAY_HEADROOM,
      maxPerAddress: limits.maxPerAddress + GATEWAY_HEADROOM,
      maxPerLoopback: limits.maxPerLoopback + GATEWAY_HEADROOM,
      maxUnproven: limits.maxUnproven + GATEWAY_HEADROOM,
    })
    this.#rejections = rejections
    this.#handshakeMs = handshakeMs
    this.#isTrusted = isTrusted
  }

  get socketCount(): number {
    return this.#sockets.size
  }

  /** Adds the sockets of a server of net, http, tls or https. */
  watchServer(server: Server, isTls: boolean): void {
    server.on('connection', (socket: Socket) => {
      const permit = this.#add(socket, this.peerOf(socket), isTls ? 'tls_timeout' : null)
      if (!isTls) permit?.markAuthenticated()
    })
    if (!isTls) return
    server.on('secureConnection', (socket: TLSSocket) => this.#onHandshakeCompleted(socket))
    server.on('tlsClientError', (error: NodeJS.ErrnoException, { remoteAddress = '' }: TLSSocket) => {
      const { code = '', message } = error
      // Probes of load balancers only connect and reset.
      if (code !== 'ECONNRESET')
        this.#rejections.countAndLog('tls', `a TLS handshake failed: ${code || message}`, remoteAddress, code)
    })
  }

  /**
   * Takes the PROXY headers of trusted peers before the server receives their sockets. Called when the server has all
   * its listeners. A trusted peer may also send none: it is a client itself.
   */
  takeProxyHeaders(server: Server, isTls: boolean): void {
    const isTrusted = this.#isTrusted
    if (!isTrusted) return
    const listeners = server.listeners('connection')
    server.removeAllListeners('connection')
    server.on('connection', (socket: Socket) => {
      const passOn = (): void => {
        for (const listener of listeners) listener.call(server, socket)
      }
      const peer = peerOfSocket(socket, isTrusted)
      // Reset before it was accepted, as health checks do: the system no longer knows its address.
      if (peer.address === '') socket.destroy()
      // Without TLS the reader of the bytes detects the header of an untrusted peer.
      else if (peer.isTrusted || isTls) this.#waitForHeader(socket, peer, passOn)
      else passOn()
    })
  }

  #waitForHeader(socket: Socket, peer: SocketPeer, passOn: () => void): void {
    socket.on('error', ignore)
    const isTrusted = this.#isTrusted!
    if (!this.#add(socket, peer, peer.isTrusted ? 'proxy_timeout' : 'tls_timeout')) return
    takeProxyHeader(socket, (result) => {
      const refuse = (reason: RejectionReason, message: string): void => {
        this.#rejections.countAndLog(reason, message, peer.address)
        socket.destroy()
      }
      if (result !== 'none' && !peer.isTrusted) return refuse('proxy', UNTRUSTED_PROXY)
      if (result instanceof Error) return refuse('proxy_header', `a PROXY header is malformed: ${result.message}`)
      if (result !== 'none' && result.client !== null)
        this.#proxied.set(socket, { ...result.client, isTrusted: isTrusted(result.client.address) })
      this.remove(socket)
      passOn()
    })
  }

  /** The peer of a socket of net or http; `remove` returns that of a TLS socket. */
  peerOf(socket: Socket): SocketPeer {
    return this.#proxied.get(socket) ?? peerOfSocket(socket, this.#isTrusted ?? NOBODY)
  }

  /** The peer of a pending socket, which may be a TLS socket. */
  pendingPeerOf(socket: Socket): SocketPeer {
    return this.#sockets.get(socketKey(socket))?.peer ?? this.peerOf(socket)
  }

  /** The socket becomes a connection of the gateway. Returns its peer. */
  remove(socket: Socket): SocketPeer {
    const key = socketKey(socket)
    const pending = this.#sockets.get(key)
    if (!pending) return this.peerOf(socket)
    this.#sockets.delete(key)
    if (pending.deadline) clearTimeout(pending.deadline)
    pending.socket.off('close', pending.onClose)
    pending.permit.release()
    return pending.peer
  }

  destroyAll(): void {
    for (const { socket } of this.#sockets.values()) socket.destroy()
  }

  /** `expired`: what is counted when the socket is still pending after the deadline; null = it has none. */
  #add(socket: Socket, peer: SocketPeer, expired: 'proxy_timeout' | 'tls_timeout' | null): ConnectionPermit | null {
    // A proxy stands for many clients: only the total is limited, until the gateway learns the client's address.
    const admission = this.#limiter.admit(peer.isTrusted ? '' : peer.address)
    if (admission.reason !== null) {
      this.#rejections.count('crowd')
      socket.destroy()
      return null
    }
    const key = socketKey(socket)
    const onClose = (): void => {
      if (pending.deadline) clearTimeout(pending.deadline)
      admission.release()
      // The peer may have connected again from the same port.
      if (this.#sockets.get(key) === pending) this.#sockets.delete(key)
    }
    const deadline = expired && this.#startTimer(socket, expired)
    const pending: PendingSocket = { socket, peer, permit: admission, deadline, onClose }
    this.#sockets.set(key, pending)
    socket.once('close', onClose)
    return admission
  }

  /** Node's own handshakeTimeout restarts with every byte. */
  #startTimer(socket: Socket, expired: 'proxy_timeout' | 'tls_timeout'): NodeJS.Timeout {
    return setTimeout(() => {
      this.#rejections.count(expired)
      socket.destroy()
    }, this.#handshakeMs).unref()
  }

  #onHandshakeCompleted(socket: TLSSocket): void {
    const pending = this.#sockets.get(socketKey(socket))
    if (pending?.deadline) clearTimeout(pending.deadline)
    pending?.permit.markAuthenticated()
  }
}

function socketKey({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`
}

const NOBODY: NetworkFilter = () => false

function ignore(): void {}
