// One connection: bytes in, frames to its session, frames out. The first frame decides the session: HELLO opens a
// version 2 session, anything else a legacy one. A peer that breaks a rule is answered to the end of what it did
// right, and then closed; one that sends or reads at the wrong pace is slowed down first.

import type { Timer } from '../core/run/ports.ts'
import { hexOf, readU32, Writer } from '../core/wire/bytes.ts'
import { CLOSE_CODES, ProtocolError, type CloseReason } from '../core/wire/errors.ts'
import { FrameDecoder } from '../core/wire/frame.ts'
import { TIMES } from '../core/wire/limits.ts'
import { decodeHello, encodeError, MESSAGE } from '../core/wire/message.ts'
import type { Entry } from './census.ts'
import type { Cipher } from './cipher.ts'
import type { Gateway, Transport } from './gateway.ts'
import { Inbox } from './inbox.ts'
import { LegacySession } from './legacy.ts'
import { Outflow, type OutflowOwner } from './outflow.ts'
import { FLOOD, Pace } from './pace.ts'
import { Session } from './session.ts'
import { Vigil } from './vigil.ts'

/** Why a connection is not read for the moment. */
export const PAUSED = {
  /** Too many of its calls wait. */
  calls: 1,
  /** It is above its budget. */
  budget: 2,
  /** HELLO waits for its answer. */
  greeting: 4,
} as const
type Pause = (typeof PAUSED)[keyof typeof PAUSED]

interface Closing {
  readonly reason: CloseReason
  readonly message: string
  /** The session ends with it. */
  readonly forget: boolean
  readonly timer: Timer
}

export class Connection implements OutflowOwner {
  readonly gateway: Gateway
  readonly transport: Transport
  readonly outflow: Outflow
  readonly #entry: Entry
  readonly #decoder: FrameDecoder
  readonly #pace: Pace
  readonly #vigil: Vigil
  readonly #inbox = new Inbox()
  #cipher: Cipher | null = null
  #session: Session | LegacySession | null = null
  /** Calls whose end is not yet known. */
  #waiting = 0
  #strikes = 0
  #pauses = 0
  /** What the frames of the chunk in hand cost. */
  #cost = 0
  #isProven = false
  /** When its session was welcomed, and whether that had a connection before. */
  #welcomedMs = 0
  #isResumed = false
  #closing: Closing | null = null
  over = false

  constructor(gateway: Gateway, transport: Transport, entry: Entry) {
    const { limits, clock, identityBytes, cipher } = gateway
    this.gateway = gateway
    this.transport = transport
    this.#entry = entry
    this.#vigil = new Vigil(clock.mono())
    this.outflow = new Outflow(this)
    this.#pace = new Pace(limits.maxCostPerSecond, limits.maxBytesPerSecond)
    this.#decoder = new FrameDecoder(identityBytes, limits.maxBodyBytes, (command, source, start, end) => {
      this.#frame(command, source, start, end)
    })
    if (cipher) this.#cipher = cipher({ remote: transport.remote, kind: transport.kind })
  }

  /** Bytes of the socket: for WebSockets one message. The chunk must not be changed afterwards. */
  receive(chunk: Uint8Array): void {
    if (this.over || this.#closing) return
    this.#vigil.heard(this.gateway.clock.mono())
    this.gateway.meter.bytesIn += chunk.length
    if (this.#pauses !== 0) return this.#keep(chunk)
    this.#feed(chunk)
  }

  #feed(chunk: Uint8Array): void {
    this.outflow.gathers = true
    this.#cost = 0
    let eaten = 0
    try {
      eaten = this.#decoder.push(chunk)
      if (eaten < chunk.length) this.#keep(chunk.subarray(eaten))
      else if (this.#decoder.buffered === 0) this.#vigil.whole()
      else if (this.transport.kind === 'ws') {
        throw new ProtocolError(
          'PARTIAL_FRAME',
          `a message ends ${this.#decoder.buffered} bytes into a frame`,
        )
      } else this.#vigil.partial(this.#cost > 0)
    } catch (error) {
      this.#fault(error)
    } finally {
      this.outflow.gathers = false
    }
    this.#charge(eaten)
    this.outflow.flush()
  }

  /** Runs what was held of earlier frames, under their rules: a fault closes this connection, and its cost counts. */
  replay(run: () => void): void {
    if (this.over) return
    this.#cost = 0
    try {
      run()
    } catch (error) {
      this.#fault(error)
    }
    this.#charge(0)
  }

  #fault(error: unknown): void {
    if (error instanceof ProtocolError) this.close(error.reason, error.message)
    else this.failed(error)
  }

  /** A bug of ours. */
  failed(error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.gateway.log.error('a connection is closed by a bug of ours', { error: text.slice(0, 2_000) })
    this.close('BAD_MESSAGE', 'internal error')
  }

  #keep(chunk: Uint8Array): void {
    if (this.#inbox.push(chunk)) return
    const waits = `${this.#inbox.bytes} bytes wait behind ${this.#waiting} calls`
    if ((this.#pauses & PAUSED.budget) !== 0) this.close('FLOOD', waits)
    else this.close('OVERLOADED', waits)
  }

  /** What the chunk cost; a connection in debt is not read until it is out of it. */
  #charge(bytes: number): void {
    const { clock, meter, times } = this.gateway
    const waitMs = this.#pace.charge(this.#cost, bytes, clock.mono(), times.floodMs)
    if (waitMs === 0 || this.over || this.#closing) return
    if (waitMs === FLOOD) return this.close('FLOOD', `above its budget for ${times.floodMs} ms`)
    meter.throttles++
    this.pause(PAUSED.budget)
    clock.after(waitMs, () => this.unpause(PAUSED.budget))
  }

  #frame(command: number, source: Uint8Array, start: number, end: number): void {
    this.gateway.meter.framesIn++
    this.#cost++
    if (this.#session === null) {
      this.#session = command === MESSAGE.HELLO ? new Session(this) : new LegacySession(this)
      const returns = command === MESSAGE.HELLO && this.#returns(source, start, end)
      const refused = this.#entry.claim(returns)
      if (refused) return this.close('OVERLOADED', refused.message)
      if (command !== MESSAGE.HELLO) this.spoken('')
    }
    this.#session.frame(command, source, start, end)
  }

  /** HELLO of a session that is here, or was a moment ago; its token is looked at later. */
  #returns(source: Uint8Array, start: number, end: number): boolean {
    const { session } = decodeHello(source, start, end)
    this.#isResumed = session.some((byte) => byte !== 0)
    const name = hexOf(session)
    return this.gateway.lingering.has(name) || this.gateway.sessions.has(name)
  }

  /** The frame in hand costs more than others. */
  spend(cost: number): void {
    this.#cost += cost
  }

  /** It has spoken its first word, or (`uid`) logged in. */
  spoken(uid: string): void {
    const session = this.#session
    if (session instanceof Session && session.identity) {
      this.#welcomedMs ||= this.gateway.clock.mono()
      // Its address counts for this connection from here on.
      this.gateway.lingering.end(session.identity.name)
    }
    if (uid === '' && this.gateway.door.login) return
    this.#isProven = true
    this.#entry.proven()
  }

  /** The body of a command as the game wrote it. @throws ProtocolError BAD_MESSAGE for one that the cipher refuses */
  opened(body: Uint8Array): Uint8Array {
    if (this.#cipher === null) return body
    try {
      return this.#cipher.open(body)
    } catch {
      throw new ProtocolError('BAD_MESSAGE', `a body of ${body.length} bytes could not be opened`)
    }
  }

  /** The body of a reply or an event as it travels; of no use to a connection that its cipher has just ended. */
  sealed(body: Uint8Array): Uint8Array {
    if (this.#cipher === null || this.over) return body
    try {
      const sealed = this.#cipher.seal(body)
      if (sealed instanceof Uint8Array) return sealed
      throw new TypeError(`seal gave ${typeof sealed} instead of bytes`)
    } catch (error) {
      // The shard is in the middle of telling many: it must not hear of this one.
      this.gateway.log.error('a connection is ended: its cipher could not seal', { error: String(error) })
      this.outflow.flush()
      this.#end('UNAVAILABLE', 'a body could not be sealed')
      return NO_BYTES
    }
  }

  /** The session gave `count` calls to a shard (negative: so many have ended). */
  count(count: number): void {
    this.#waiting += count
    const { maxWaiting } = this.gateway.limits
    const isPaused = (this.#pauses & PAUSED.calls) !== 0
    if (!isPaused && this.#waiting >= maxWaiting) this.pause(PAUSED.calls)
    else if (isPaused && this.#waiting <= maxWaiting / 2) this.unpause(PAUSED.calls)
    if (this.#closing && this.#waiting <= 0) this.#finish()
  }

  /** It is not read until `unpause` of the same reason. */
  pause(reason: Pause): void {
    if (this.#pauses === 0) {
      this.#decoder.pause()
      this.transport.pause?.()
    }
    if (reason === PAUSED.calls) this.gateway.meter.pauses++
    this.#pauses |= reason
  }

  unpause(reason: Pause): void {
    if ((this.#pauses & reason) === 0) return
    this.#pauses &= ~reason
    if (this.#pauses === 0) this.gateway.clock.defer(() => this.#resume())
  }

  /** Takes up the held chunks; may be paused again by any of them. */
  #resume(): void {
    while (this.#pauses === 0 && !this.over && !this.#closing) {
      const chunk = this.#inbox.shift()
      if (!chunk) {
        // So far nobody has listened.
        this.#vigil.heard(this.gateway.clock.mono())
        return this.transport.resume?.()
      }
      const rest = this.#inbox.takeAll()
      this.#feed(chunk)
      this.#inbox.putBack(rest)
    }
  }

  /** A refused message of a legacy client. */
  strike(message: string): void {
    this.gateway.meter.strikes++
    if (++this.#strikes >= this.gateway.limits.maxStrikes) {
      this.close('STRIKES', `${this.#strikes} refused messages, the last: ${message}`)
    }
  }

  /** An event of a legacy session. */
  event(event: number, body: Uint8Array): void {
    if (this.#cipher === null) this.outflow.shared(event, body)
    else this.outflow.frame(event, this.sealed(body))
  }

  /** Its peer reads too slowly, or (false) has read. */
  hold(on: boolean): void {
    this.#session?.hold(on)
  }

  stuck(message: string): void {
    this.#end('SLOW_CONSUMER', message)
  }

  /** Closes once the calls that were accepted are answered, or after a grace; `forget`: the session ends with it. */
  close(reason: CloseReason, message: string, forget = FOR_GOOD.has(reason)): void {
    // Whoever replaces it takes its channels over next; closed any later, it would take them away again.
    const atOnce = reason === 'REPLACED'
    if (this.#closing && atOnce) return this.#finish()
    if (this.over || this.#closing) return
    this.#decoder.stop()
    this.#inbox.clear()
    const timer = this.gateway.clock.after(TIMES.drainMs, () => this.#finish())
    this.#closing = { reason, message, forget, timer }
    if (this.#waiting <= 0 || atOnce) this.#finish()
  }

  #finish(): void {
    const closing = this.#closing
    if (!closing || this.over) return
    closing.timer.cancel()
    if (this.#session instanceof Session) {
      const { reason, message } = closing
      const error = { channel: 0, sequence: 0, kind: 'system', code: reason, message } as const
      this.outflow.frame(MESSAGE.ERROR, encodeError(error))
    }
    this.outflow.finish()
    this.#end(closing.reason, closing.message, closing.forget)
  }

  #end(reason: CloseReason, message: string, forget = false): void {
    if (this.over) return
    this.gateway.meter.closed(reason)
    this.gateway.log.info('connection closed', { reason, message, remote: this.transport.remote })
    this.#over(forget, reason === 'REPLACED')
    const text = ascii(`${reason}: ${message}`)
    // The peer's side of the close is to be heard.
    this.transport.resume?.()
    if (reason === 'SLOW_CONSUMER') this.transport.abort(CLOSE_CODES[reason], text)
    else this.transport.close(CLOSE_CODES[reason], text)
  }

  /** The peer's side is gone; `clean`: it said that it leaves for good. */
  ended(clean = false): void {
    if (this.over) return
    this.gateway.meter.closed('PEER')
    this.#over(clean)
  }

  /** `forget`: nobody comes back; `isMoved`: its session goes on elsewhere already. */
  #over(forget: boolean, isMoved = false): void {
    this.over = true
    this.outflow.end()
    this.#closing?.timer.cancel()
    this.#decoder.stop()
    this.#inbox.clear()
    const session = this.#session
    // Also who leaves for good may have left seats behind, by a connection of which it has not taken up all again.
    const isFresh = this.#isResumed && this.gateway.clock.mono() - this.#welcomedMs < TIMES.lingerMs
    const keeps = session instanceof Session && !isMoved && (!forget || isFresh)
    this.gateway.drop(this, this.#entry, keeps ? (session.identity?.name ?? '') : '')
    session?.ended(forget)
  }

  /** Looks for what has not come in time, several times in a heartbeat. */
  sweep(nowMs: number): void {
    const { times, door, meter } = this.gateway
    const session = this.#session
    const kind = session === null ? 'nobody' : session instanceof Session ? 'session' : 'legacy'
    const mustLogin = door.login && !this.#isProven
    const late = this.#vigil.late(nowMs, { kind, isPaused: this.#pauses !== 0, mustLogin }, times)
    if (late) return this.close(late.reason, late.message)
    if (!(session instanceof Session) || session.identity === null) return
    if (!this.#vigil.pings(nowMs, times.heartbeatMs)) return
    meter.pings++
    this.outflow.frame(MESSAGE.PING, new Writer(4).u32(nowMs).bytes)
  }

  /** The answer to our PING; any other is none. */
  ponged(source: Uint8Array, start: number, end: number): void {
    const { pingedMs } = this.#vigil
    if (pingedMs === 0 || end - start !== 4 || readU32(source, start) !== pingedMs >>> 0) return
    this.gateway.meter.roundTrip(this.gateway.clock.mono() - pingedMs)
  }
}

/** Nobody comes back from these: the session's seats are free at once. */
const FOR_GOOD: ReadonlySet<CloseReason> = new Set(['KICKED', 'STRIKES', 'FLOOD', 'BAD_MESSAGE', 'WINDOW'])

const NO_BYTES = new Uint8Array(0)

/** A close reason is at most 123 bytes of UTF-8 (RFC 6455 section 5.5.1), and may quote what a peer has sent. */
function ascii(text: string): string {
  return text.slice(0, 120).replace(/[^ -~]/g, '?')
}
