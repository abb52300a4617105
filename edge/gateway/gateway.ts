// The door: ends connections, cuts frames, routes by the door table. It knows no game: bodies pass through it
// unread. Nothing that one connection sends may affect another.

import type { RoutingTable } from '../../core/game/routing.ts'
import type { Clock, Timer } from '../../core/ports/clock.ts'
import type { ShardLink } from '../../core/ports/link.ts'
import type { Log } from '../../core/ports/log.ts'
import { encodeFrame, frameIdentityBytes, type FrameIdentity } from '../../core/wire/frame.ts'
import { CLOSE_CODES } from '../../core/wire/errors.ts'
import { TIMES, type Limits } from '../../core/wire/limits.ts'
import { ConnectionLimiter, type ConnectionPermit } from './connectionlimiter.ts'
import type { CipherFactory } from '../../core/wire/cipher.ts'
import { Connection } from './connection.ts'
import { ResumeReservations } from './resumereservations.ts'
import { GatewayMeter } from './meter.ts'
import { Slab } from './writebuffer.ts'
import type { OutboundWriter } from './outboundwriter.ts'
import type { TicketVerifier } from './ticket.ts'
import type { TokenSigner } from './token.ts'

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
  readonly routingTable: RoutingTable
  readonly link: ShardLink
  readonly clock: Clock
  readonly log: Log
  readonly frameIdentity: FrameIdentity
  readonly limits: Limits
  /** Signs resume tokens; the same for all gateways that players may meet. */
  readonly tokenSigner: TokenSigner
  /** Checks login tickets; without it only a game's `auth` does. */
  readonly ticketVerifier?: TicketVerifier | null
  /** For games whose clients encrypt bodies themselves. */
  readonly cipher?: CipherFactory | null
  readonly times?: Partial<GatewayTimes>
  /** Counts connections; shared by all gateways of a process. Default: its own. */
  readonly connectionLimiter?: ConnectionLimiter
  /**
   * Lost connections with a session count for their address until their seats are free. Default true; false where a
   * gateway does not outlive its connection.
   */
  readonly canReserveForResume?: boolean
  /** Where outgoing bytes are put; shared by all gateways of a process. Default: one of its own. */
  readonly slab?: Slab
}

export class Gateway {
  /** Replaced when the core publishes a newer table. */
  routingTable: RoutingTable
  readonly link: ShardLink
  readonly clock: Clock
  readonly log: Log
  readonly frameIdentity: FrameIdentity
  readonly frameIdentityBytes: Uint8Array
  readonly limits: Limits
  readonly slab: Slab
  readonly meter = new GatewayMeter()
  /** Live connections by session, 32 hex digits: the newest connection of a session wins. */
  readonly sessions = new Map<string, Connection>()
  readonly tokenSigner: TokenSigner
  readonly ticketVerifier: TicketVerifier | null
  readonly cipher: CipherFactory | null
  readonly times: GatewayTimes
  readonly connectionLimiter: ConnectionLimiter
  /** Sessions that were here and may come back. */
  readonly resumeReservations: ResumeReservations
  #canReserveForResume: boolean
  readonly #connections = new Set<Connection>()
  /** Of connections that read too slowly. */
  #slowWriters: OutboundWriter[] = []
  #unflushedWriters: OutboundWriter[] = []
  #isFlushScheduled = false
  #deadlineTimer: Timer | null = null
  #onEmpty: (() => void) | null = null
  #broadcastEvent = -1
  #broadcastBody: Uint8Array | null = null
  #broadcastFrame: Uint8Array | null = null

  constructor(options: GatewayOptions) {
    this.routingTable = options.routingTable
    this.link = options.link
    this.clock = options.clock
    this.log = options.log
    this.frameIdentity = options.frameIdentity
    this.frameIdentityBytes = frameIdentityBytes(options.frameIdentity)
    this.limits = options.limits
    this.slab = options.slab ?? new Slab()
    this.tokenSigner = options.tokenSigner
    this.ticketVerifier = options.ticketVerifier ?? null
    this.cipher = options.cipher ?? null
    this.times = { ...TIMES, ...options.times }
    this.connectionLimiter = options.connectionLimiter ?? new ConnectionLimiter(options.limits)
    this.resumeReservations = new ResumeReservations(options.clock, options.limits.maxConnections)
    this.#canReserveForResume = options.canReserveForResume ?? true
  }

  get connectionCount(): number {
    return this.#connections.size
  }

  /** Takes a new socket; null when there is no room for it, and the transport was closed with OVERLOADED. */
  accept(transport: Transport): Connection | null {
    const admission = this.connectionLimiter.admit(transport.address)
    if (admission.reason !== null) {
      this.meter.countClose('OVERLOADED')
      transport.close(CLOSE_CODES.OVERLOADED, `OVERLOADED: ${admission.message}`)
      return null
    }
    let connection: Connection
    try {
      connection = new Connection(this, transport, admission)
    } catch (error) {
      admission.release()
      this.log.error('a connection is refused: its cipher could not be made', { error: String(error) })
      this.meter.countClose('UNAVAILABLE')
      transport.close(CLOSE_CODES.UNAVAILABLE, 'UNAVAILABLE: the cipher could not be made')
      return null
    }
    this.#connections.add(connection)
    this.meter.accepted++
    if (!this.#deadlineTimer) this.#scheduleDeadlineCheck()
    return connection
  }

  /** @internal The connection is over; `kept`: its session, whose seats are kept, '' = none. */
  removeConnection(connection: Connection, permit: ConnectionPermit, resumableSession: string): void {
    if (resumableSession !== '' && this.#canReserveForResume)
      this.resumeReservations.reserve(resumableSession, permit)
    else permit.release()
    this.#connections.delete(connection)
    if (this.#connections.size === 0) this.#onEmpty?.()
  }

  /** Resolves when the last connection is gone. */
  waitUntilEmpty(): Promise<void> {
    if (this.#connections.size === 0) return Promise.resolve()
    return new Promise((resolve) => (this.#onEmpty = resolve))
  }

  /** @internal Writes a connection's bytes when the event in hand is done. */
  scheduleFlush(writer: OutboundWriter): void {
    this.#unflushedWriters.push(writer)
    if (this.#isFlushScheduled) return
    this.#isFlushScheduled = true
    this.clock.defer(() => {
      this.#isFlushScheduled = false
      const writers = this.#unflushedWriters
      this.#unflushedWriters = []
      for (const writer of writers) writer.flush()
    })
  }

  /** @internal The frame of a broadcast, encoded once for all legacy connections. */
  encodeBroadcast(event: number, body: Uint8Array): Uint8Array {
    if (this.#broadcastBody !== body || this.#broadcastEvent !== event) {
      this.#broadcastBody = body
      this.#broadcastEvent = event
      this.#broadcastFrame = encodeFrame(this.frameIdentityBytes, event, body)
    }
    return this.#broadcastFrame!
  }

  /** Closes every connection after its last answer. */
  shutdown(): void {
    this.#deadlineTimer?.cancel()
    // Nobody comes back to this gateway.
    this.#canReserveForResume = false
    this.resumeReservations.releaseAll()
    for (const connection of this.#connections) connection.closeConnection('SHUTDOWN', 'the server drains')
  }

  /** @internal Asks now and then whether the peer of a connection has read. */
  watchSlowWriter(writer: OutboundWriter): void {
    this.#slowWriters.push(writer)
    if (this.#slowWriters.length > 1) return
    const poll = (): void => {
      this.#slowWriters = this.#slowWriters.filter((slowWriter) => slowWriter.checkCongestion())
      if (this.#slowWriters.length > 0) this.clock.after(SLOW_WRITER_POLL_MS, poll)
    }
    this.clock.after(SLOW_WRITER_POLL_MS, poll)
  }

  #scheduleDeadlineCheck(): void {
    const { heartbeatMs, idleMs, firstFrameMs, frameMs, loginMs } = this.times
    const everyMs = Math.min(heartbeatMs, idleMs, firstFrameMs, frameMs, loginMs) / 2
    this.#deadlineTimer = this.clock.after(everyMs, () => {
      this.#deadlineTimer = null
      const now = Math.trunc(this.clock.mono())
      for (const connection of this.#connections) connection.checkDeadlines(now)
      if (this.#connections.size > 0) this.#scheduleDeadlineCheck()
    })
  }
}

const SLOW_WRITER_POLL_MS = 50
