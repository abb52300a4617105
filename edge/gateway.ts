// The door: ends connections, cuts frames, routes by the door table. It knows no game: bodies pass through it
// unread. Nothing that one connection sends may affect another.

import type { Door } from '../core/run/door.ts'
import type { Clock, Link, Log, Timer } from '../core/run/ports.ts'
import { encodeFrame, identityBytes, type Identity } from '../core/wire/frame.ts'
import { TIMES, type Limits } from '../core/wire/limits.ts'
import { Bindings } from './bindings.ts'
import { Connection } from './connection.ts'
import { GatewayMeter } from './meter.ts'
import { Slab } from './outbox.ts'

/** One socket, whatever its kind. */
export interface Transport {
  readonly kind: 'tcp' | 'ws'
  /** Where it comes from, for logs. */
  readonly remote: string
  /** Bytes that were written and not yet taken by the peer's side. */
  readonly bufferedBytes: number
  /** Takes the bytes over; never throws. */
  write(bytes: Uint8Array): void
  /** Sends what was written, then closes. `reason` is at most 120 ASCII characters. */
  close(code: number, reason: string): void
  /** Closes at once: the peer does not read what was written. */
  abort(code: number, reason: string): void
  /** Stops and starts reading, where the platform can. */
  pause?(): void
  resume?(): void
}

export interface GatewayOptions {
  readonly door: Door
  readonly link: Link
  readonly clock: Clock
  readonly log: Log
  readonly identity: Identity
  readonly limits: Limits
  /** A connection that sends nothing for so long is closed. Default TIMES.idleMs. */
  readonly idleMs?: number
  /** Which session means which key; shared by all gateways of a process. Default: its own. */
  readonly bindings?: Bindings
  /** Where outgoing bytes are put; shared by all gateways of a process. Default: one of its own. */
  readonly slab?: Slab
}

export class Gateway {
  /** Replaced when the core publishes a newer table. */
  door: Door
  readonly link: Link
  readonly clock: Clock
  readonly log: Log
  readonly identity: Identity
  readonly identityBytes: Uint8Array
  readonly limits: Limits
  readonly slab: Slab
  readonly meter = new GatewayMeter()
  /** Live connections by session, 32 hex digits: the newest connection of a session wins. */
  readonly sessions = new Map<string, Connection>()
  readonly bindings: Bindings
  readonly #connections = new Set<Connection>()
  readonly #idleMs: number
  #dirty: Connection[] = []
  #flushing = false
  #sweeper: Timer | null = null
  #whenEmpty: (() => void) | null = null
  #lastEvent = -1
  #lastBody: Uint8Array | null = null
  #lastFrame: Uint8Array | null = null

  constructor(options: GatewayOptions) {
    this.door = options.door
    this.link = options.link
    this.clock = options.clock
    this.log = options.log
    this.identity = options.identity
    this.identityBytes = identityBytes(options.identity)
    this.limits = options.limits
    this.slab = options.slab ?? new Slab()
    this.bindings = options.bindings ?? new Bindings(options.clock, options.limits.maxConnections)
    this.#idleMs = options.idleMs ?? TIMES.idleMs
  }

  get size(): number {
    return this.#connections.size
  }

  /** Takes a new socket; null when the gateway is full, and the transport was closed with OVERLOADED. */
  accept(transport: Transport): Connection | null {
    if (this.#connections.size >= this.limits.maxConnections) {
      this.meter.closed('OVERLOADED')
      transport.close(1013, `OVERLOADED: ${this.#connections.size} connections`)
      return null
    }
    const connection = new Connection(this, transport)
    this.#connections.add(connection)
    this.meter.accepted++
    if (!this.#sweeper) this.#arm()
    return connection
  }

  /** @internal The connection is over. */
  drop(connection: Connection): void {
    this.#connections.delete(connection)
    if (this.#connections.size === 0) this.#whenEmpty?.()
  }

  /** Resolves when the last connection is gone. */
  emptied(): Promise<void> {
    if (this.#connections.size === 0) return Promise.resolve()
    return new Promise((resolve) => (this.#whenEmpty = resolve))
  }

  /** @internal Writes the connection's bytes when the event in hand is done. */
  flushSoon(connection: Connection): void {
    this.#dirty.push(connection)
    if (this.#flushing) return
    this.#flushing = true
    this.clock.defer(() => {
      this.#flushing = false
      const dirty = this.#dirty
      this.#dirty = []
      for (const one of dirty) one.flush()
    })
  }

  /** @internal The frame of a broadcast, encoded once for all legacy connections. */
  sharedFrame(event: number, body: Uint8Array): Uint8Array {
    if (this.#lastBody !== body || this.#lastEvent !== event) {
      this.#lastBody = body
      this.#lastEvent = event
      this.#lastFrame = encodeFrame(this.identityBytes, event, body)
    }
    return this.#lastFrame!
  }

  /** Closes every connection after its last answer. */
  shutdown(): void {
    this.#sweeper?.cancel()
    for (const connection of this.#connections) connection.close('SHUTDOWN', 'the server drains')
  }

  #arm(): void {
    this.#sweeper = this.clock.after(this.#idleMs / 2, () => {
      this.#sweeper = null
      for (const connection of this.#connections) connection.sweep()
      this.bindings.sweep()
      if (this.#connections.size > 0) this.#arm()
    })
  }
}
