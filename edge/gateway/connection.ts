// One connection: bytes in, frames to its session, frames out. The first frame decides the session: HELLO opens a
// version 2 session, anything else a legacy one. A peer that breaks a rule is answered to the end of what it did
// right, and then closed; one that sends or reads at the wrong pace is slowed down first.

import type { Timer } from '../../core/ports/clock.ts'
import { hexOf, readU32, ByteWriter, EMPTY_BYTES } from '../../core/wire/bytes.ts'
import { CLOSE_CODES, ProtocolError, type CloseReason } from '../../core/wire/errors.ts'
import { FrameDecoder } from '../../core/wire/frame.ts'
import { TIMES } from '../../core/wire/limits.ts'
import { decodeHello, encodeError, MESSAGE } from '../../core/wire/message.ts'
import type { ConnectionPermit } from './connectionlimiter.ts'
import type { Cipher } from '../../core/wire/cipher.ts'
import type { Gateway, Transport } from './gateway.ts'
import { PausedReads } from './pausedreads.ts'
import { LegacySession } from './legacy.ts'
import { OutboundWriter, type OutboundWriterOwner } from './outboundwriter.ts'
import { FLOOD_DETECTED, FloodDetector } from './flooddetector.ts'
import { Session } from './session.ts'
import { ConnectionDeadlines } from './deadlines.ts'

/** Why a connection is not read for the moment. */
export const PAUSE_REASON = {
  /** Too many of its calls wait. */
  calls: 1,
  /** It is above its budget. */
  budget: 2,
  /** HELLO waits for its answer. */
  greeting: 4,
} as const
type PauseReason = (typeof PAUSE_REASON)[keyof typeof PAUSE_REASON]

interface PendingClose {
  readonly reason: CloseReason
  readonly message: string
  /** The session ends with it. */
  readonly isFinal: boolean
  readonly timer: Timer
}

export class Connection implements OutboundWriterOwner {
  readonly gateway: Gateway
  readonly transport: Transport
  readonly writer: OutboundWriter
  readonly #permit: ConnectionPermit
  readonly #decoder: FrameDecoder
  readonly #floodDetector: FloodDetector
  readonly #deadlines: ConnectionDeadlines
  readonly #pausedReads = new PausedReads()
  #cipher: Cipher | null = null
  #session: Session | LegacySession | null = null
  /** Calls whose end is not yet known. */
  #pendingCalls = 0
  #strikes = 0
  #pauseReasons = 0
  /** What the frames of the chunk in hand cost. */
  #chunkCost = 0
  #isAuthenticated = false
  /** When its session was welcomed, and whether that had a connection before. */
  #welcomedMs = 0
  #isResumed = false
  #pendingClose: PendingClose | null = null
  isClosed = false

  constructor(gateway: Gateway, transport: Transport, permit: ConnectionPermit) {
    const { limits, clock, frameIdentityBytes: identityBytes, cipher } = gateway
    this.gateway = gateway
    this.transport = transport
    this.#permit = permit
    this.#deadlines = new ConnectionDeadlines(clock.mono())
    this.writer = new OutboundWriter(this)
    this.#floodDetector = new FloodDetector(limits.maxCostPerSecond, limits.maxBytesPerSecond)
    this.#decoder = new FrameDecoder(identityBytes, limits.maxBodyBytes, (command, source, start, end) => {
      this.#handleFrame(command, source, start, end)
    })
    if (cipher) this.#cipher = cipher({ remote: transport.remote, kind: transport.kind })
  }

  /** Bytes of the socket: for WebSockets one message. The chunk must not be changed afterwards. */
  receive(chunk: Uint8Array): void {
    if (this.isClosed || this.#pendingClose) return
    this.#deadlines.received(this.gateway.clock.mono())
    this.gateway.meter.bytesIn += chunk.length
    if (this.#pauseReasons !== 0) return this.#bufferPausedRead(chunk)
    this.#decode(chunk)
  }

  #decode(chunk: Uint8Array): void {
    this.writer.isBatching = true
    this.#chunkCost = 0
    let decodedBytes = 0
    try {
      decodedBytes = this.#decoder.push(chunk)
      if (decodedBytes < chunk.length) this.#bufferPausedRead(chunk.subarray(decodedBytes))
      else if (this.#decoder.bufferedBytes === 0) this.#deadlines.frameCompleted()
      else if (this.transport.kind === 'ws') {
        throw new ProtocolError(
          'PARTIAL_FRAME',
          `a message ends ${this.#decoder.bufferedBytes} bytes into a frame`,
        )
      } else this.#deadlines.frameInProgress(this.#chunkCost > 0)
    } catch (error) {
      this.#handleError(error)
    } finally {
      this.writer.isBatching = false
    }
    this.#chargeChunk(decodedBytes)
    this.writer.flush()
  }

  /** Runs what was held of earlier frames, under their rules: a fault closes this connection, and its cost counts. */
  runQueuedFrames(run: () => void): void {
    if (this.isClosed) return
    this.#chunkCost = 0
    try {
      run()
    } catch (error) {
      this.#handleError(error)
    }
    this.#chargeChunk(0)
  }

  #handleError(error: unknown): void {
    if (error instanceof ProtocolError) this.closeConnection(error.reason, error.message)
    else this.onInternalError(error)
  }

  /** A bug of ours. */
  onInternalError(error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.gateway.log.error('a connection is closed by a bug of ours', { error: text.slice(0, 2_000) })
    this.closeConnection('BAD_MESSAGE', 'internal error')
  }

  #bufferPausedRead(chunk: Uint8Array): void {
    if (this.#pausedReads.push(chunk)) return
    const description = `${this.#pausedReads.bytes} bytes wait behind ${this.#pendingCalls} calls`
    if ((this.#pauseReasons & PAUSE_REASON.budget) !== 0) this.closeConnection('FLOOD', description)
    else this.closeConnection('OVERLOADED', description)
  }

  /** What the chunk cost; a connection in debt is not read until it is out of it. */
  #chargeChunk(bytes: number): void {
    const { clock, meter, times } = this.gateway
    const waitMs = this.#floodDetector.consume(this.#chunkCost, bytes, clock.mono(), times.floodMs)
    if (waitMs === 0 || this.isClosed || this.#pendingClose) return
    if (waitMs === FLOOD_DETECTED)
      return this.closeConnection('FLOOD', `above its budget for ${times.floodMs} ms`)
    meter.throttles++
    this.pauseReading(PAUSE_REASON.budget)
    clock.after(waitMs, () => this.resumeReading(PAUSE_REASON.budget))
  }

  #handleFrame(command: number, source: Uint8Array, start: number, end: number): void {
    this.gateway.meter.framesIn++
    this.#chunkCost++
    if (this.#session === null) {
      this.#session = command === MESSAGE.HELLO ? new Session(this) : new LegacySession(this)
      const isKnownSession = command === MESSAGE.HELLO && this.#checkResume(source, start, end)
      const rejection = this.#permit.confirmFirstFrame(isKnownSession)
      if (rejection) return this.closeConnection('OVERLOADED', rejection.message)
      if (command !== MESSAGE.HELLO) this.updateAuthentication('')
    }
    this.#session.handleFrame(command, source, start, end)
  }

  /** HELLO of a session that is here, or was a moment ago; its token is looked at later. */
  #checkResume(source: Uint8Array, start: number, end: number): boolean {
    const { session } = decodeHello(source, start, end)
    this.#isResumed = session.some((byte) => byte !== 0)
    const name = hexOf(session)
    return this.gateway.resumeReservations.has(name) || this.gateway.sessions.has(name)
  }

  /** The frame in hand costs more than others. */
  addCost(cost: number): void {
    this.#chunkCost += cost
  }

  /** It has spoken its first word, or (`uid`) logged in. */
  updateAuthentication(uid: string): void {
    const session = this.#session
    if (session instanceof Session && session.identity) {
      this.#welcomedMs ||= this.gateway.clock.mono()
      // Its address counts for this connection from here on.
      this.gateway.resumeReservations.release(session.identity.sessionHex)
    }
    if (uid === '' && this.gateway.routingTable.login) return
    this.#isAuthenticated = true
    this.#permit.markAuthenticated()
  }

  /** The body of a command as the game wrote it. @throws ProtocolError BAD_MESSAGE for one that the cipher refuses */
  decryptBody(body: Uint8Array): Uint8Array {
    if (this.#cipher === null) return body
    try {
      return this.#cipher.open(body)
    } catch {
      throw new ProtocolError('BAD_MESSAGE', `a body of ${body.length} bytes could not be opened`)
    }
  }

  /** The body of a reply or an event as it travels; of no use to a connection that its cipher has just ended. */
  encryptBody(body: Uint8Array): Uint8Array {
    if (this.#cipher === null || this.isClosed) return body
    try {
      const encrypted = this.#cipher.seal(body)
      if (encrypted instanceof Uint8Array) return encrypted
      throw new TypeError(`seal gave ${typeof encrypted} instead of bytes`)
    } catch (error) {
      // The shard is in the middle of telling many: it must not hear of this one.
      this.gateway.log.error('a connection is ended: its cipher could not seal', { error: String(error) })
      this.writer.flush()
      this.#closeTransport('UNAVAILABLE', 'a body could not be sealed')
      return EMPTY_BYTES
    }
  }

  /** The session gave `count` calls to a shard (negative: so many have ended). */
  addPendingCalls(count: number): void {
    this.#pendingCalls += count
    const { maxWaiting } = this.gateway.limits
    const isPaused = (this.#pauseReasons & PAUSE_REASON.calls) !== 0
    if (!isPaused && this.#pendingCalls >= maxWaiting) this.pauseReading(PAUSE_REASON.calls)
    else if (isPaused && this.#pendingCalls <= maxWaiting / 2) this.resumeReading(PAUSE_REASON.calls)
    if (this.#pendingClose && this.#pendingCalls <= 0) this.#finishClose()
  }

  /** It is not read until `unpause` of the same reason. */
  pauseReading(reason: PauseReason): void {
    if (this.#pauseReasons === 0) {
      this.#decoder.pause()
      this.transport.pause?.()
    }
    if (reason === PAUSE_REASON.calls) this.gateway.meter.pauses++
    this.#pauseReasons |= reason
  }

  resumeReading(reason: PauseReason): void {
    if ((this.#pauseReasons & reason) === 0) return
    this.#pauseReasons &= ~reason
    if (this.#pauseReasons === 0) this.gateway.clock.defer(() => this.#drainPausedReads())
  }

  /** Takes up the held chunks; may be paused again by any of them. */
  #drainPausedReads(): void {
    while (this.#pauseReasons === 0 && !this.isClosed && !this.#pendingClose) {
      const chunk = this.#pausedReads.shift()
      if (!chunk) {
        // So far nobody has listened.
        this.#deadlines.received(this.gateway.clock.mono())
        return this.transport.resume?.()
      }
      const rest = this.#pausedReads.takeAll()
      this.#decode(chunk)
      this.#pausedReads.putBack(rest)
    }
  }

  /** A refused message of a legacy client. */
  addStrike(message: string): void {
    this.gateway.meter.strikes++
    if (++this.#strikes >= this.gateway.limits.maxStrikes) {
      this.closeConnection('STRIKES', `${this.#strikes} refused messages, the last: ${message}`)
    }
  }

  /** An event of a legacy session. */
  sendLegacyEvent(event: number, body: Uint8Array): void {
    if (this.#cipher === null) this.writer.writeBroadcast(event, body)
    else this.writer.writeFrame(event, this.encryptBody(body))
  }

  /** Its peer reads too slowly, or (false) has read. */
  onCongestionChanged(isCongested: boolean): void {
    this.#session?.pauseEvents(isCongested)
  }

  onSlowConsumer(message: string): void {
    this.#closeTransport('SLOW_CONSUMER', message)
  }

  /** Closes once the calls that were accepted are answered, or after a grace; `forget`: the session ends with it. */
  closeConnection(reason: CloseReason, message: string, isFinal = FINAL_REASONS.has(reason)): void {
    // Whoever replaces it takes its channels over next; closed any later, it would take them away again.
    const isImmediate = reason === 'REPLACED'
    if (this.#pendingClose && isImmediate) return this.#finishClose()
    if (this.isClosed || this.#pendingClose) return
    this.#decoder.stop()
    this.#pausedReads.clear()
    const timer = this.gateway.clock.after(TIMES.drainMs, () => this.#finishClose())
    this.#pendingClose = { reason, message, isFinal, timer }
    if (this.#pendingCalls <= 0 || isImmediate) this.#finishClose()
  }

  #finishClose(): void {
    const closing = this.#pendingClose
    if (!closing || this.isClosed) return
    closing.timer.cancel()
    if (this.#session instanceof Session) {
      const { reason, message } = closing
      const error = { channel: 0, sequence: 0, kind: 'system', code: reason, message } as const
      this.writer.writeFrame(MESSAGE.ERROR, encodeError(error))
    }
    this.writer.flushAndClose()
    this.#closeTransport(closing.reason, closing.message, closing.isFinal)
  }

  #closeTransport(reason: CloseReason, message: string, isFinal = false): void {
    if (this.isClosed) return
    this.gateway.meter.countClose(reason)
    this.gateway.log.info('connection closed', { reason, message, remote: this.transport.remote })
    this.#releaseResources(isFinal, reason === 'REPLACED')
    const text = toPrintableAscii(`${reason}: ${message}`)
    // The peer's side of the close is to be heard.
    this.transport.resume?.()
    if (reason === 'SLOW_CONSUMER') this.transport.abort(CLOSE_CODES[reason], text)
    else this.transport.close(CLOSE_CODES[reason], text)
  }

  /** The peer's side is gone; `clean`: it said that it leaves for good. */
  onTransportClosed(isClean = false): void {
    if (this.isClosed) return
    this.gateway.meter.countClose('PEER')
    this.#releaseResources(isClean)
  }

  /** `forget`: nobody comes back; `isMoved`: its session goes on elsewhere already. */
  #releaseResources(isFinal: boolean, isMoved = false): void {
    this.isClosed = true
    this.writer.closeWriter()
    this.#pendingClose?.timer.cancel()
    this.#decoder.stop()
    this.#pausedReads.clear()
    const session = this.#session
    // Also who leaves for good may have left seats behind, by a connection of which it has not taken up all again.
    const isRecentlyResumed = this.#isResumed && this.gateway.clock.mono() - this.#welcomedMs < TIMES.lingerMs
    const keepsReservation = session instanceof Session && !isMoved && (!isFinal || isRecentlyResumed)
    this.gateway.removeConnection(
      this,
      this.#permit,
      keepsReservation ? (session.identity?.sessionHex ?? '') : '',
    )
    session?.onConnectionClosed(isFinal)
  }

  /** Looks for what has not come in time, several times in a heartbeat. */
  checkDeadlines(nowMs: number): void {
    const { times, routingTable: door, meter } = this.gateway
    const session = this.#session
    const kind = session === null ? 'nobody' : session instanceof Session ? 'session' : 'legacy'
    const mustLogin = door.login && !this.#isAuthenticated
    const expired = this.#deadlines.expired(
      nowMs,
      { kind, isPaused: this.#pauseReasons !== 0, mustLogin },
      times,
    )
    if (expired) return this.closeConnection(expired.reason, expired.message)
    if (!(session instanceof Session) || session.identity === null) return
    if (!this.#deadlines.pingDue(nowMs, times.heartbeatMs)) return
    meter.pings++
    this.writer.writeFrame(MESSAGE.PING, new ByteWriter(4).u32(nowMs).bytes)
  }

  /** The answer to our PING; any other is none. */
  handlePong(source: Uint8Array, start: number, end: number): void {
    const { lastPingMs: pingedMs } = this.#deadlines
    if (pingedMs === 0 || end - start !== 4 || readU32(source, start) !== pingedMs >>> 0) return
    this.gateway.meter.onRoundTrip(this.gateway.clock.mono() - pingedMs)
  }
}

/** Nobody comes back from these: the session's seats are free at once. */
const FINAL_REASONS: ReadonlySet<CloseReason> = new Set([
  'KICKED',
  'STRIKES',
  'FLOOD',
  'BAD_MESSAGE',
  'WINDOW',
])

/** A close reason is at most 123 bytes of UTF-8 (RFC 6455 section 5.5.1), and may quote what a peer has sent. */
function toPrintableAscii(text: string): string {
  return text.slice(0, 120).replace(/[^ -~]/g, '?')
}
