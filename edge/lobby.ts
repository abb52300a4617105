// Connections that the gateway does not know yet: in a TLS handshake, or speaking HTTP. They are bounded in all and by
// address, a handshake has a deadline however slowly its bytes come, and whoever leaves (for the gateway, or for good)
// leaves once.

import type { Server, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Limits } from '../core/wire/limits.ts'
import { Census, type Entry } from './census.ts'
import type { Refusals } from './refusals.ts'

/** Room above the gateway's own bounds, so that it can say its OVERLOADED itself. */
const SPARE = 64

interface Guest {
  readonly socket: Socket
  readonly entry: Entry
  /** The end of its TLS handshake. */
  readonly deadline: NodeJS.Timeout | null
  /** Hears that it is gone from here for good. */
  readonly gone: () => void
}

export class Lobby {
  readonly #census: Census
  readonly #refusals: Refusals
  readonly #handshakeMs: number
  /** By peer, because a TLS socket does not tell the socket it stands on. */
  readonly #guests = new Map<string, Guest>()

  constructor(limits: Limits, handshakeMs: number, refusals: Refusals) {
    this.#census = new Census({
      maxConnections: limits.maxConnections + SPARE,
      maxPerAddress: limits.maxPerAddress + SPARE,
      maxPerLoopback: limits.maxPerLoopback + SPARE,
      maxUnproven: limits.maxUnproven + SPARE,
    })
    this.#refusals = refusals
    this.#handshakeMs = handshakeMs
  }

  get size(): number {
    return this.#guests.size
  }

  /** Receives the connections of a server of net, http, tls or https. */
  watch(server: Server, isTls: boolean): void {
    server.on('connection', (socket: Socket) => this.#enter(socket, isTls))
    if (!isTls) return
    server.on('secureConnection', (socket: TLSSocket) => this.#proven(socket))
    server.on('tlsClientError', (error: NodeJS.ErrnoException) => {
      // A peer that only went away (a load balancer's probe) is no news.
      if (error.code !== 'ECONNRESET') this.#refusals.count('tls')
    })
  }

  /** The connection is the gateway's from now on. */
  leave(socket: Socket): void {
    const peer = peerOf(socket)
    const guest = this.#guests.get(peer)
    if (!guest) return
    this.#guests.delete(peer)
    if (guest.deadline) clearTimeout(guest.deadline)
    guest.socket.off('close', guest.gone)
    guest.entry.leave()
  }

  /** Ends all that are here. */
  clear(): void {
    for (const { socket } of this.#guests.values()) socket.destroy()
  }

  #enter(socket: Socket, isTls: boolean): void {
    const entry = this.#census.enter(socket.remoteAddress ?? '')
    if (entry.reason !== null) {
      this.#refusals.count('crowd')
      socket.destroy()
      return
    }
    const peer = peerOf(socket)
    const gone = (): void => {
      if (guest.deadline) clearTimeout(guest.deadline)
      entry.leave()
      // The peer may have come again from the same port.
      if (this.#guests.get(peer) === guest) this.#guests.delete(peer)
    }
    const guest: Guest = { socket, entry, deadline: isTls ? this.#deadline(socket) : null, gone }
    if (!isTls) entry.proven()
    this.#guests.set(peer, guest)
    socket.once('close', gone)
  }

  /** Node's own handshakeTimeout begins anew with every byte. */
  #deadline(socket: Socket): NodeJS.Timeout {
    return setTimeout(() => {
      this.#refusals.count('tls_timeout')
      socket.destroy()
    }, this.#handshakeMs).unref()
  }

  #proven(socket: TLSSocket): void {
    const guest = this.#guests.get(peerOf(socket))
    if (guest?.deadline) clearTimeout(guest.deadline)
    guest?.entry.proven()
  }
}

function peerOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort} ${socket.localPort}`
}
