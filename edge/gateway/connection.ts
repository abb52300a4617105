// One connection: its reader, its session and its writer, and the order in which it closes. The first frame decides the
// session: HELLO begins a version 2 session, anything else a legacy one. Invariant: a closing connection sends the replies
// to the calls that it accepted, up to a deadline, and then the reason.

import type { Timer } from '../../core/ports/clock.ts'
import { hexOf, readU32, ByteWriter, EMPTY_BYTES } from '../../core/wire/bytes.ts'
import type { Cipher } from '../../core/wire/cipher.ts'
import { CLOSE_CODES, ProtocolError, type CloseReason } from '../../core/wire/errors.ts'
import { TIMES } from '../../core/wire/limits.ts'
import { decodeHello, encodeError, MESSAGE } from '../../core/wire/message.ts'
import type { GatewaySession, SessionConnection } from './gatewaysession.ts'
import type { ConnectionPermit } from './connectionlimiter.ts'
import type { GatewayContext, Transport } from './context.ts'
import { ConnectionDeadlines, type ConnectionState } from './deadlines.ts'
import { LegacySession } from './legacy.ts'
import { OutboundWriter, type OutboundWriterHost, type OutboundWriterOwner } from './outboundwriter.ts'
import { FrameReader, PAUSE_REASON, type FrameReaderOwner } from './reader.ts'
import type { ResumeReservations } from './resumereservations.ts'
import { Session, type SessionHost } from './session.ts'

export interface ConnectionHost extends OutboundWriterHost, SessionHost, Pick<GatewayContext, 'cipher'> {
  readonly resumeReservations: ResumeReservations
  /** Returns true when a session has a connection. */
  hasSession(sessionHex: string): boolean
  /** The connection has closed. `resumableId`: the session that may be resumed, '' = none. */
  removeConnection(connection: Connection, permit: ConnectionPermit, resumableId: string): void
}

interface PendingClose {
  readonly reason: CloseReason
  readonly message: string
  /** The session ends with the connection. */
  readonly isFinal: boolean
  readonly timer: Timer
}

export class Connection implements OutboundWriterOwner, FrameReaderOwner, SessionConnection {
  readonly transport: Transport
  readonly reader: FrameReader
  readonly writer: OutboundWriter
  readonly deadlines: ConnectionDeadlines
  readonly #host: ConnectionHost
  readonly #permit: ConnectionPermit
  readonly #cipher: Cipher | null
  /** null until the first complete frame. */
  #session: GatewaySession | null = null
  #pendingCalls = 0
  #strikes = 0
  #isAuthenticated = false
  /** When WELCOME was sent, and whether HELLO named a session. */
  #welcomedMs = 0
  #isResumed = false
  /** open -> closing, which waits for pending calls -> closed. */
  #state: 'open' | PendingClose | 'closed' = 'open'

  /** Throws what the game's cipher factory throws. */
  constructor(host: ConnectionHost, transport: Transport, permit: ConnectionPermit) {
    this.#host = host
    this.transport = transport
    this.#permit = permit
    this.deadlines = new ConnectionDeadlines(host.clock.mono())
    this.writer = new OutboundWriter(this, host, transport)
    this.reader = new FrameReader(this, host)
    this.#cipher = host.cipher && host.cipher({ remote: transport.address, kind: transport.kind })
  }

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  get remote(): string {
    return this.transport.address
  }

  get isClosed(): boolean {
    return this.#state === 'closed'
  }

  /** Takes a chunk of the socket, for WebSockets one message. The caller must not change it afterwards. */
  receive(chunk: Uint8Array): void {
    if (this.isOpen) this.reader.receive(chunk)
  }

  handleFrame(command: number, source: Uint8Array, start: number, end: number): void {
    if (this.#session === null) {
      const isHello = command === MESSAGE.HELLO
      this.#session = isHello ? new Session(this, this.#host) : new LegacySession(this, this.#host)
      const rejection = this.#permit.confirmFirstFrame(isHello && this.#isKnownSession(source, start, end))
      if (rejection) return this.closeConnection('OVERLOADED', rejection.message)
      if (!isHello) this.updateAuthentication('')
    }
    this.#session.handleFrame(command, source, start, end)
  }

  /** Returns true when the session of a HELLO has a connection or a reservation here. Its token is verified later. */
  #isKnownSession(source: Uint8Array, start: number, end: number): boolean {
    const { session } = decodeHello(source, start, end)
    this.#isResumed = session.some((byte) => byte !== 0)
    const sessionHex = hexOf(session)
    return this.#host.resumeReservations.has(sessionHex) || this.#host.hasSession(sessionHex)
  }

  onFrameError(error: unknown): void {
    if (error instanceof ProtocolError) this.closeConnection(error.reason, error.message)
    else this.onInternalError(error)
  }

  onInternalError(error: unknown): void {
    this.#host.log.error('an internal error closes a connection', { error, remote: this.remote })
    this.closeConnection('BAD_MESSAGE', 'internal error')
  }

  updateAuthentication(uid: string): void {
    const resumableId = this.#session?.resumableId ?? ''
    if (resumableId !== '') {
      this.#welcomedMs ||= this.#host.clock.mono()
      // This connection counts for its address from now on.
      this.#host.resumeReservations.release(resumableId)
    }
    if (uid === '' && this.#host.routingTable.login) return
    this.#isAuthenticated = true
    this.#permit.markAuthenticated()
  }

  decryptBody(body: Uint8Array): Uint8Array {
    if (this.#cipher === null) return body
    try {
      return this.#cipher.open(body)
    } catch {
      throw new ProtocolError('BAD_MESSAGE', `a body of ${body.length} bytes could not be decrypted`)
    }
  }

  encryptBody(body: Uint8Array): Uint8Array {
    if (this.#cipher === null || this.isClosed) return body
    try {
      const encrypted = this.#cipher.seal(body)
      if (encrypted instanceof Uint8Array) return encrypted
      throw new TypeError(`seal returned ${typeof encrypted} instead of bytes`)
    } catch (error) {
      // Not thrown: the shard is sending to many connections, and the others must not fail.
      this.#host.log.error('a connection is closed: its cipher could not encrypt', {
        error,
        remote: this.remote,
      })
      this.writer.flush()
      this.#closeTransport('UNAVAILABLE', 'a body could not be encrypted')
      return EMPTY_BYTES
    }
  }

  addPendingCalls(count: number): void {
    this.#pendingCalls += count
    const { maxWaiting } = this.#host.limits
    const isPaused = this.reader.isPausedBy(PAUSE_REASON.pendingCalls)
    if (!isPaused && this.#pendingCalls >= maxWaiting) this.reader.pause(PAUSE_REASON.pendingCalls)
    else if (isPaused && this.#pendingCalls <= maxWaiting / 2) this.reader.resume(PAUSE_REASON.pendingCalls)
    if (this.#pendingCalls <= 0) this.#finishClose()
  }

  addStrike(message: string): void {
    this.#host.meter.count('strikes')
    if (++this.#strikes >= this.#host.limits.maxStrikes)
      this.closeConnection('STRIKES', `${this.#strikes} refused messages, the last: ${message}`)
  }

  sendLegacyEvent(event: number, body: Uint8Array): void {
    if (this.#cipher === null) this.writer.writeBroadcast(event, body)
    else this.writer.writeFrame(event, this.encryptBody(body))
  }

  onCongestionChanged(isCongested: boolean): void {
    this.#session?.pauseEvents(isCongested)
  }

  onBacklogChanged(isOverLimit: boolean): void {
    if (isOverLimit) this.reader.pause(PAUSE_REASON.unread)
    else this.reader.resume(PAUSE_REASON.unread)
  }

  onSlowConsumer(message: string): void {
    this.#closeTransport('SLOW_CONSUMER', message)
  }

  closeConnection(reason: CloseReason, message: string, isFinal = FINAL_REASONS.has(reason)): void {
    // At once: the newer connection opens the same channels next, and a later close would close those.
    const isImmediate = reason === 'REPLACED'
    if (this.isOpen) {
      this.reader.stop()
      const timer = this.#host.clock.after(TIMES.drainMs, () => this.#finishClose())
      this.#state = { reason, message, isFinal, timer }
      if (this.#pendingCalls <= 0 || isImmediate) this.#finishClose()
    } else if (isImmediate) this.#finishClose()
  }

  /** closing -> closed. */
  #finishClose(): void {
    if (typeof this.#state === 'string') return
    const { reason, message, isFinal, timer } = this.#state
    timer.cancel()
    if (this.#session?.kind === 'session') {
      const error = { channel: 0, sequence: 0, kind: 'system', code: reason, message } as const
      const retry = reason === 'OVERLOADED' && { retryAfterMs: this.#host.times.retryAfterMs }
      this.writer.writeFrame(MESSAGE.ERROR, encodeError({ ...error, ...retry }))
    }
    this.writer.flushAndClose()
    this.#closeTransport(reason, message, isFinal)
  }

  #closeTransport(reason: CloseReason, message: string, isFinal = false): void {
    if (this.isClosed) return
    const { transport } = this
    this.#host.meter.countClose(reason)
    this.#host.log.info('connection closed', { reason, message, remote: transport.remote })
    this.#releaseResources(isFinal, reason === 'REPLACED')
    const text = toPrintableAscii(`${reason}: ${message}`)
    // Reading must go on, to receive the peer's side of the close.
    transport.resume?.()
    if (reason === 'SLOW_CONSUMER') transport.abort(CLOSE_CODES[reason], text)
    else transport.close(CLOSE_CODES[reason], text)
  }

  /** The peer closed the socket. `isClean`: it does not resume the session. */
  onTransportClosed(isClean = false): void {
    if (this.isClosed) return
    this.#host.meter.countClose('PEER')
    this.#releaseResources(isClean)
  }

  /** `isMoved`: the session continues on another connection. */
  #releaseResources(isFinal: boolean, isMoved = false): void {
    if (typeof this.#state === 'object') this.#state.timer.cancel()
    this.#state = 'closed'
    this.writer.closeWriter()
    this.reader.stop()
    const session = this.#session
    // Seats of an earlier connection may remain even then, when this one has not resumed all its channels yet.
    const isRecentlyResumed = this.#isResumed && this.#host.clock.mono() - this.#welcomedMs < TIMES.lingerMs
    const keepsReservation = !isMoved && (!isFinal || isRecentlyResumed)
    const resumableId = session?.resumableId ?? ''
    this.#host.removeConnection(this, this.#permit, keepsReservation ? resumableId : '')
    session?.onConnectionClosed(isFinal)
  }

  /** Closes the connection if a deadline has passed, and sends a PING when it is due. */
  checkDeadlines(nowMs: number): void {
    const { times, routingTable, meter } = this.#host
    const session = this.#session
    const state: ConnectionState = {
      kind: session?.kind ?? 'unknown',
      isPaused: this.reader.isPaused,
      mustLogin: routingTable.login && !this.#isAuthenticated,
    }
    const expired = this.deadlines.expired(nowMs, state, times)
    if (expired) return this.closeConnection(expired.reason, expired.message)
    if (!session?.resumableId || !this.deadlines.pingDue(nowMs, times.heartbeatMs)) return
    meter.count('pings')
    // Its PONG shows that everything before it has arrived.
    this.writer.writeFrame(MESSAGE.PING, new ByteWriter(PING_BYTES).u32(nowMs).u32(session.tokenGeneration).bytes)
  }

  handlePong(source: Uint8Array, start: number, end: number): number {
    const { lastPingMs } = this.deadlines
    if (end - start !== PING_BYTES) return 0
    if (lastPingMs !== 0 && readU32(source, start) === lastPingMs >>> 0)
      this.#host.meter.recordLatency('roundTrip', this.#host.clock.mono() - lastPingMs)
    return readU32(source, start + 4)
  }
}

/** u32 time, u32 generation of the last token before it. */
const PING_BYTES = 8
/** Reasons that end the session: its seats are released at once. */
const FINAL_REASONS: ReadonlySet<CloseReason> = new Set(['KICKED', 'STRIKES', 'FLOOD', 'BAD_MESSAGE', 'WINDOW'])

/** A close reason has at most 123 bytes of UTF-8 (RFC 6455 section 5.5.1), and may quote what a peer sent. */
function toPrintableAscii(text: string): string {
  return text.slice(0, 120).replace(/[^ -~]/g, '?')
}
