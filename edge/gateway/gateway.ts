// The gateway: terminates connections and routes their frames by the routing table. It is game-agnostic: bodies pass through
// undecoded. Invariant: nothing that one connection sends affects another.

import type { RoutingTable } from '../../core/game/routing.ts'
import type { Clock, Timer } from '../../core/ports/clock.ts'
import type { ShardLink } from '../../core/ports/link.ts'
import type { Log } from '../../core/ports/log.ts'
import { encodeFrame, frameIdentityBytes, type FrameIdentity } from '../../core/wire/frame.ts'
import { CLOSE_CODES } from '../../core/wire/errors.ts'
import type { CipherFactory } from '../../core/wire/cipher.ts'
import { TIMES, type Limits } from '../../core/wire/limits.ts'
import { RESUMED_ELSEWHERE, type SessionConnection } from './gatewaysession.ts'
import { Connection, type ConnectionHost } from './connection.ts'
import type { GatewayContext, GatewayTimes, Transport } from './context.ts'
import { ConnectionLimiter, type ConnectionPermit } from './connectionlimiter.ts'
import { GatewayMeter } from './meter.ts'
import { OverloadDetector } from './overload.ts'
import type { OutboundWriter } from './outboundwriter.ts'
import { ResumeReservations } from './resumereservations.ts'
import type { TokenSigner } from './token.ts'
import { UnreadBudget } from './unreadbudget.ts'
import { Slab } from './writebuffer.ts'

export interface GatewayOptions
  extends
    Pick<GatewayContext, 'routingTable' | 'link' | 'clock' | 'log' | 'limits' | 'tokenSigner'>,
    Partial<Pick<GatewayContext, 'ticketVerifier' | 'cipher' | 'slab' | 'unreadBudget'>> {
  readonly frameIdentity: FrameIdentity
  readonly times?: Partial<GatewayTimes>
  /** Shared by all gateways of a process. Default: its own. */
  readonly connectionLimiter?: ConnectionLimiter
  /**
   * A closed connection whose session can be resumed still counts for its address until its seats expire. Default true;
   * false for a gateway that serves one connection only.
   */
  readonly canReserveForResume?: boolean
}

export class Gateway implements ConnectionHost {
  readonly link: ShardLink
  readonly clock: Clock
  readonly log: Log
  readonly frameIdentityBytes: Uint8Array
  readonly limits: Limits
  readonly slab: Slab
  readonly unreadBudget: UnreadBudget
  readonly meter: Readonly<GatewayMeter> = new GatewayMeter()
  readonly tokenSigner: TokenSigner
  readonly ticketVerifier: GatewayContext['ticketVerifier']
  readonly cipher: CipherFactory | null
  readonly times: GatewayTimes
  readonly overload: OverloadDetector
  readonly connectionLimiter: ConnectionLimiter
  /** Sessions without a connection that may be resumed. */
  readonly resumeReservations: ResumeReservations
  #routingTable: RoutingTable
  #canReserveForResume: boolean
  readonly #connections = new Set<Connection>()
  /** The newest connection of each session, by 32 hex digits. */
  readonly #sessions = new Map<string, SessionConnection>()
  /** Writers whose peer reads too slowly. */
  #slowWriters: OutboundWriter[] = []
  #isPollScheduled = false
  #unflushedWriters: OutboundWriter[] = []
  #isFlushScheduled = false
  #deadlineTimer: Timer | null = null
  #onEmpty: (() => void) | null = null
  #broadcastEvent = -1
  #broadcastBody: Uint8Array | null = null
  #broadcastFrame: Uint8Array | null = null

  constructor(options: GatewayOptions) {
    this.#routingTable = options.routingTable
    this.link = options.link
    this.clock = options.clock
    this.log = options.log
    this.frameIdentityBytes = frameIdentityBytes(options.frameIdentity)
    this.limits = options.limits
    this.slab = options.slab ?? new Slab()
    this.unreadBudget = options.unreadBudget ?? new UnreadBudget(options.limits.maxTotalUnreadBytes)
    this.tokenSigner = options.tokenSigner
    this.ticketVerifier = options.ticketVerifier ?? null
    this.cipher = options.cipher ?? null
    this.times = { ...TIMES, ...options.times }
    this.overload = new OverloadDetector(options.clock, this.times)
    this.connectionLimiter = options.connectionLimiter ?? new ConnectionLimiter(options.limits)
    this.resumeReservations = new ResumeReservations(options.clock, options.limits.maxConnections)
    this.#canReserveForResume = options.canReserveForResume ?? true
  }

  get connectionCount(): number {
    return this.#connections.size
  }

  get sessionCount(): number {
    return this.#sessions.size
  }

  get routingTable(): RoutingTable {
    return this.#routingTable
  }

  /** Replaces the routing table by another version that the core published. */
  updateRoutingTable(table: RoutingTable): void {
    this.#routingTable = table
  }

  /** Takes a new socket; null = it was rejected and its transport closed. */
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
      this.log.error('a connection is rejected: its cipher could not be created', {
        error,
        remote: transport.remote,
      })
      this.meter.countClose('UNAVAILABLE')
      transport.close(CLOSE_CODES.UNAVAILABLE, 'UNAVAILABLE: the cipher could not be created')
      return null
    }
    this.#connections.add(connection)
    this.meter.count('accepted')
    if (!this.#deadlineTimer) this.#scheduleDeadlineCheck()
    return connection
  }

  removeConnection(connection: Connection, permit: ConnectionPermit, resumableId: string): void {
    if (resumableId !== '' && this.#canReserveForResume) this.resumeReservations.reserve(resumableId, permit)
    else permit.release()
    this.#connections.delete(connection)
    if (this.#connections.size === 0) this.#onEmpty?.()
  }

  hasSession(sessionHex: string): boolean {
    return this.#sessions.has(sessionHex)
  }

  registerSession(sessionHex: string, connection: SessionConnection): void {
    this.#sessions.get(sessionHex)?.closeConnection('REPLACED', RESUMED_ELSEWHERE)
    this.#sessions.set(sessionHex, connection)
  }

  unregisterSession(sessionHex: string, connection: SessionConnection): void {
    if (this.#sessions.get(sessionHex) === connection) this.#sessions.delete(sessionHex)
  }

  /** Resolves when the last connection has closed. */
  waitUntilEmpty(): Promise<void> {
    if (this.#connections.size === 0) return Promise.resolve()
    return new Promise((resolve) => (this.#onEmpty = resolve))
  }

  scheduleFlush(writer: OutboundWriter): void {
    this.#unflushedWriters.push(writer)
    if (this.#isFlushScheduled) return
    this.#isFlushScheduled = true
    this.clock.defer(() => {
      this.#isFlushScheduled = false
      const writers = this.#unflushedWriters
      this.#unflushedWriters = []
      for (const unflushed of writers) unflushed.flush()
    })
  }

  encodeBroadcast(event: number, body: Uint8Array): Uint8Array {
    if (this.#broadcastBody !== body || this.#broadcastEvent !== event) {
      this.#broadcastBody = body
      this.#broadcastEvent = event
      this.#broadcastFrame = encodeFrame(this.frameIdentityBytes, event, body)
    }
    return this.#broadcastFrame!
  }

  watchSlowWriter(writer: OutboundWriter): void {
    this.#slowWriters.push(writer)
    this.#scheduleSlowWriterPoll()
  }

  #scheduleSlowWriterPoll(): void {
    if (this.#isPollScheduled || this.#slowWriters.length === 0) return
    this.#isPollScheduled = true
    this.clock.after(SLOW_WRITER_POLL_MS, () => {
      const writers = this.#slowWriters
      // Others may be added while these are checked.
      this.#slowWriters = []
      for (const writer of writers) if (writer.checkCongestion()) this.#slowWriters.push(writer)
      this.#isPollScheduled = false
      this.#scheduleSlowWriterPoll()
    })
  }

  /** Closes every connection once its pending calls are answered; releases all reservations. */
  shutdown(): void {
    this.#deadlineTimer?.cancel()
    this.#canReserveForResume = false
    this.resumeReservations.releaseAll()
    for (const connection of this.#connections) connection.closeConnection('SHUTDOWN', 'the server shuts down')
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
