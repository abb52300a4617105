// The door: ends connections, cuts frames, routes by the door table. It knows no game: bodies pass through it
// unread. Nothing that one connection sends may affect another.

import type { Door } from '../core/run/door.ts'
import type { Clock, Link, Log, Timer } from '../core/run/ports.ts'
import { encodeFrame, identityBytes, type Identity } from '../core/wire/frame.ts'
import { CLOSE_CODES } from '../core/wire/errors.ts'
import { TIMES, type Limits } from '../core/wire/limits.ts'
import { Census, type Entry } from './census.ts'
import type { CipherFactory } from './cipher.ts'
import { Connection } from './connection.ts'
import { Lingering } from './lingering.ts'
import { GatewayMeter } from './meter.ts'
import { Slab } from './outbox.ts'
import type { Outflow } from './outflow.ts'
import type { Tickets } from './ticket.ts'
import type { Seal } from './token.ts'

/** One socket, whatever its kind. */
export interface Transport {
  readonly kind: 'tcp' | 'ws'
  /** Where it comes from, for logs. */
  readonly remote: string
  /** The IP alone, '' = unknown. */
  readonly address: string
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

/** Deadlines, milliseconds; the defaults are those of TIMES. */
export type GatewayTimes = Record<
  'idleMs' | 'heartbeatMs' | 'firstFrameMs' | 'frameMs' | 'unreadMs' | 'loginMs' | 'floodMs',
  number
>

export interface GatewayOptions {
  readonly door: Door
  readonly link: Link
  readonly clock: Clock
  readonly log: Log
  readonly identity: Identity
  readonly limits: Limits
  /** Signs resume tokens; the same for all gateways that players may meet. */
  readonly seal: Seal
  /** Checks login tickets; without it only a game's `auth` does. */
  readonly tickets?: Tickets | null
  /** For games whose clients encrypt bodies themselves. */
  readonly cipher?: CipherFactory | null
  readonly times?: Partial<GatewayTimes>
  /** Counts connections; shared by all gateways of a process. Default: its own. */
  readonly census?: Census
  /**
   * Lost connections with a session count for their address until their seats are free. Default true; false where a
   * gateway does not outlive its connection.
   */
  readonly lingers?: boolean
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
  readonly seal: Seal
  readonly tickets: Tickets | null
  readonly cipher: CipherFactory | null
  readonly times: GatewayTimes
  readonly census: Census
  /** Sessions that were here and may come back. */
  readonly lingering: Lingering
  #lingers: boolean
  readonly #connections = new Set<Connection>()
  /** Of connections that read too slowly. */
  #slow: Outflow[] = []
  #dirty: Outflow[] = []
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
    this.seal = options.seal
    this.tickets = options.tickets ?? null
    this.cipher = options.cipher ?? null
    this.times = { ...TIMES, ...options.times }
    this.census = options.census ?? new Census(options.limits)
    this.lingering = new Lingering(options.clock, options.limits.maxConnections)
    this.#lingers = options.lingers ?? true
  }

  get size(): number {
    return this.#connections.size
  }

  /** Takes a new socket; null when there is no room for it, and the transport was closed with OVERLOADED. */
  accept(transport: Transport): Connection | null {
    const entry = this.census.enter(transport.address)
    if (entry.reason !== null) {
      this.meter.closed('OVERLOADED')
      transport.close(CLOSE_CODES.OVERLOADED, `OVERLOADED: ${entry.message}`)
      return null
    }
    let connection: Connection
    try {
      connection = new Connection(this, transport, entry)
    } catch (error) {
      entry.leave()
      this.log.error('a connection is refused: its cipher could not be made', { error: String(error) })
      this.meter.closed('UNAVAILABLE')
      transport.close(CLOSE_CODES.UNAVAILABLE, 'UNAVAILABLE: the cipher could not be made')
      return null
    }
    this.#connections.add(connection)
    this.meter.accepted++
    if (!this.#sweeper) this.#arm()
    return connection
  }

  /** @internal The connection is over; `kept`: its session, whose seats are kept, '' = none. */
  drop(connection: Connection, entry: Entry, kept: string): void {
    if (kept !== '' && this.#lingers) this.lingering.keep(kept, entry)
    else entry.leave()
    this.#connections.delete(connection)
    if (this.#connections.size === 0) this.#whenEmpty?.()
  }

  /** Resolves when the last connection is gone. */
  emptied(): Promise<void> {
    if (this.#connections.size === 0) return Promise.resolve()
    return new Promise((resolve) => (this.#whenEmpty = resolve))
  }

  /** @internal Writes a connection's bytes when the event in hand is done. */
  flushSoon(outflow: Outflow): void {
    this.#dirty.push(outflow)
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
    // Nobody comes back to this gateway.
    this.#lingers = false
    this.lingering.clear()
    for (const connection of this.#connections) connection.close('SHUTDOWN', 'the server drains')
  }

  /** @internal Asks now and then whether the peer of a connection has read. */
  watch(outflow: Outflow): void {
    this.#slow.push(outflow)
    if (this.#slow.length > 1) return
    const look = (): void => {
      this.#slow = this.#slow.filter((slow) => slow.stillHeld())
      if (this.#slow.length > 0) this.clock.after(LOOK_MS, look)
    }
    this.clock.after(LOOK_MS, look)
  }

  #arm(): void {
    const { heartbeatMs, idleMs, firstFrameMs, frameMs, loginMs } = this.times
    const everyMs = Math.min(heartbeatMs, idleMs, firstFrameMs, frameMs, loginMs) / 2
    this.#sweeper = this.clock.after(everyMs, () => {
      this.#sweeper = null
      const now = Math.trunc(this.clock.mono())
      for (const connection of this.#connections) connection.sweep(now)
      if (this.#connections.size > 0) this.#arm()
    })
  }
}

const LOOK_MS = 50
