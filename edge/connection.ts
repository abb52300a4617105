// One connection: bytes in, frames to its session, frames out. The first frame decides the session: HELLO opens a
// version 2 session, anything else a legacy one. A peer that breaks a rule is answered to the end of what it did
// right, and then closed.

import { CLOSE_CODES, ProtocolError, type CloseReason } from '../core/wire/errors.ts'
import { FrameDecoder } from '../core/wire/frame.ts'
import { TIMES } from '../core/wire/limits.ts'
import { encodeError, MESSAGE } from '../core/wire/message.ts'
import type { Timer } from '../core/run/ports.ts'
import type { Gateway, Transport } from './gateway.ts'
import { LegacySession } from './legacy.ts'
import { Outbox } from './outbox.ts'
import { Session } from './session.ts'

/** Bytes kept for a connection that cannot be paused. */
const MAX_HELD_BYTES = 262_144

export class Connection {
  readonly gateway: Gateway
  readonly transport: Transport
  readonly #decoder: FrameDecoder
  readonly #outbox: Outbox
  #session: Session | LegacySession | null = null
  /** Calls whose end is not yet known. */
  #waiting = 0
  #strikes = 0
  /** Heard from since the last sweep. */
  #heard = true
  #dirty = false
  /** Inside `receive`: its flush comes anyway. */
  #receiving = false
  /** Chunks that wait until fewer calls do. */
  #held: Uint8Array[] = []
  #heldBytes = 0
  #paused = false
  #closing: { readonly reason: CloseReason; readonly message: string; readonly timer: Timer } | null = null
  over = false

  constructor(gateway: Gateway, transport: Transport) {
    this.gateway = gateway
    this.transport = transport
    this.#outbox = new Outbox(gateway.slab, gateway.identityBytes)
    this.#decoder = new FrameDecoder(
      gateway.identity,
      gateway.limits.maxBodyBytes,
      (command, source, start, end) => {
        this.#frame(command, source, start, end)
      },
    )
  }

  /** Bytes of the socket: for WebSockets one message. The chunk must not be changed afterwards. */
  receive(chunk: Uint8Array): void {
    if (this.over || this.#closing) return
    this.#heard = true
    this.gateway.meter.bytesIn += chunk.length
    if (this.#paused) return this.#hold(chunk)
    this.#feed(chunk)
  }

  #feed(chunk: Uint8Array): void {
    this.#receiving = true
    try {
      const eaten = this.#decoder.push(chunk)
      if (eaten < chunk.length) this.#hold(chunk.subarray(eaten))
      else if (this.transport.kind === 'ws' && this.#decoder.buffered > 0) {
        throw new ProtocolError(
          'PARTIAL_FRAME',
          `a message ends ${this.#decoder.buffered} bytes into a frame`,
        )
      }
    } catch (error) {
      if (error instanceof ProtocolError) this.close(error.reason, error.message)
      else {
        this.gateway.log.error('a connection is closed by a bug of ours', {
          error: String((error as Error).stack),
        })
        this.close('BAD_MESSAGE', 'internal error')
      }
    } finally {
      this.#receiving = false
    }
    this.flush()
  }

  #hold(chunk: Uint8Array): void {
    this.#held.push(chunk)
    this.#heldBytes += chunk.length
    if (this.#heldBytes > MAX_HELD_BYTES) {
      this.close('OVERLOADED', `${this.#heldBytes} bytes wait behind ${this.#waiting} calls`)
    }
  }

  #frame(command: number, source: Uint8Array, start: number, end: number): void {
    this.gateway.meter.framesIn++
    if (this.#session === null) {
      this.#session = command === MESSAGE.HELLO ? new Session(this) : new LegacySession(this)
    }
    this.#session.frame(command, source, start, end)
  }

  /** The session gave `count` calls to a shard (negative: so many have ended). */
  count(count: number): void {
    this.#waiting += count
    const { maxWaiting } = this.gateway.limits
    if (!this.#paused && this.#waiting >= maxWaiting) {
      this.#paused = true
      this.gateway.meter.pauses++
      this.#decoder.pause()
      this.transport.pause?.()
    } else if (this.#paused && this.#waiting <= maxWaiting / 2) {
      this.#paused = false
      this.gateway.clock.defer(() => this.#resume())
    }
    if (this.#closing && this.#waiting <= 0) this.#finish()
  }

  /** Takes up the held chunks; may be paused again by any of them. */
  #resume(): void {
    while (!this.#paused && !this.over && !this.#closing) {
      const chunk = this.#held.shift()
      if (!chunk) return this.transport.resume?.()
      this.#heldBytes -= chunk.length
      const rest = this.#held
      this.#held = []
      this.#feed(chunk)
      this.#held.push(...rest)
    }
  }

  /** A refused message of a legacy client. */
  strike(message: string): void {
    this.gateway.meter.strikes++
    if (++this.#strikes >= this.gateway.limits.maxStrikes) {
      this.close('STRIKES', `${this.#strikes} refused messages, the last: ${message}`)
    }
  }

  frame(command: number, body: Uint8Array): void {
    if (this.over) return
    this.#outbox.frame(command, body)
    this.#wrote()
  }

  message(command: number, first: number, second: number, third: number | null, body: Uint8Array): void {
    if (this.over) return
    this.#outbox.message(command, first, second, third, body)
    this.#wrote()
  }

  event(event: number, body: Uint8Array): void {
    if (this.over) return
    this.#outbox.shared(this.gateway.sharedFrame(event, body))
    this.#wrote()
  }

  #wrote(): void {
    if (this.#dirty || this.#receiving) return
    this.#dirty = true
    this.gateway.flushSoon(this)
  }

  /** Gives the socket what is ready; a peer that does not read is let go. */
  flush(): void {
    this.#dirty = false
    if (this.over) return
    const bytes = this.#outbox.take()
    if (bytes === null) return
    this.gateway.meter.bytesOut += bytes.length
    this.transport.write(bytes)
    const { bufferedBytes } = this.transport
    if (bufferedBytes > this.gateway.limits.maxOutboundBytes) {
      this.#end(
        'SLOW_CONSUMER',
        `${bufferedBytes} unread bytes exceed ${this.gateway.limits.maxOutboundBytes}`,
      )
    }
  }

  /** Closes once the calls that were accepted are answered, or after a grace. */
  close(reason: CloseReason, message: string): void {
    // Whoever replaces it takes its channels over next; closed any later, it would take them away again.
    const atOnce = reason === 'REPLACED'
    if (this.#closing && atOnce) return this.#finish()
    if (this.over || this.#closing) return
    this.#decoder.stop()
    this.#held = []
    const timer = this.gateway.clock.after(TIMES.drainMs, () => this.#finish())
    this.#closing = { reason, message, timer }
    if (this.#waiting <= 0 || atOnce) this.#finish()
  }

  #finish(): void {
    const closing = this.#closing
    if (!closing || this.over) return
    closing.timer.cancel()
    if (this.#session instanceof Session) {
      const { reason, message } = closing
      this.frame(
        MESSAGE.ERROR,
        encodeError({ channel: 0, sequence: 0, kind: 'system', code: reason, message }),
      )
    }
    this.flush()
    this.#end(closing.reason, closing.message)
  }

  #end(reason: CloseReason, message: string): void {
    if (this.over) return
    this.gateway.meter.closed(reason)
    this.gateway.log.info('connection closed', { reason, message, remote: this.transport.remote })
    this.#over()
    const text = ascii(`${reason}: ${message}`)
    if (reason === 'SLOW_CONSUMER') this.transport.abort(CLOSE_CODES[reason], text)
    else this.transport.close(CLOSE_CODES[reason], text)
  }

  /** The peer's side is gone. */
  ended(): void {
    if (this.over) return
    this.gateway.meter.closed('PEER')
    this.#over()
  }

  #over(): void {
    this.over = true
    this.#closing?.timer.cancel()
    this.#decoder.stop()
    this.#held = []
    this.gateway.drop(this)
    this.#session?.ended()
  }

  /** Called twice in an idle timeout. */
  sweep(): void {
    if (!this.#heard && !this.#paused) this.close('IDLE', 'nothing was received')
    this.#heard = false
  }
}

/** A close reason is at most 123 bytes of UTF-8 (RFC 6455 section 5.5.1), and may quote what a peer has sent. */
function ascii(text: string): string {
  return text.slice(0, 120).replace(/[^ -~]/g, '?')
}
