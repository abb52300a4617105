// Deadlines of one connection: first frame, completion of a frame, login, and idle time. Invariant: a deadline is measured
// on the monotonic clock and checked by polling several times per heartbeat, so no connection needs a timer.

import type { CloseReason } from '../../core/wire/errors.ts'
import type { GatewayTimes } from './context.ts'

export interface ExpiredDeadline {
  readonly reason: CloseReason
  readonly message: string
}

export interface ConnectionState {
  /** 'unknown' until the first complete frame. */
  readonly kind: 'unknown' | 'legacy' | 'session'
  /** Reading is paused, so nothing can arrive. */
  readonly isPaused: boolean
  /** The game requires a login, and there was none yet. */
  readonly mustLogin: boolean
}

export class ConnectionDeadlines {
  readonly #openedMs: number
  /** Times in whole milliseconds: of the last received byte, */
  #lastReceivedMs: number
  /** of the start of the frame in progress (0 = none is), */
  #frameStartedMs = 0
  /** and of the last PING (0 = never). */
  #lastPingMs = 0

  constructor(nowMs: number) {
    this.#openedMs = this.#lastReceivedMs = Math.trunc(nowMs)
  }

  /** Records that bytes arrived. */
  received(nowMs: number): void {
    this.#lastReceivedMs = Math.trunc(nowMs)
  }

  /** Records that the last chunk ended on a frame boundary. */
  frameCompleted(): void {
    this.#frameStartedMs = 0
  }

  /** Records that the last chunk ended inside a frame. `startedInChunk`: that frame began in this chunk. */
  frameInProgress(startedInChunk: boolean): void {
    if (this.#frameStartedMs === 0 || startedInChunk) this.#frameStartedMs = this.#lastReceivedMs
  }

  /** Returns the first deadline that has passed, or null. */
  expired(nowMs: number, { kind, isPaused, mustLogin }: ConnectionState, times: GatewayTimes): ExpiredDeadline | null {
    const ageMs = nowMs - this.#openedMs
    const idleMs = nowMs - this.#lastReceivedMs
    if (kind === 'unknown' && ageMs > times.firstFrameMs)
      return { reason: 'TOO_SLOW', message: `no complete frame within ${times.firstFrameMs} ms` }
    if (!isPaused && this.#frameStartedMs !== 0 && nowMs - this.#frameStartedMs > times.frameMs)
      return { reason: 'TOO_SLOW', message: `a frame was not complete within ${times.frameMs} ms` }
    if (mustLogin && ageMs > times.loginMs)
      return { reason: 'LOGIN_TIMEOUT', message: `no login within ${times.loginMs} ms` }
    // Polled every half heartbeat: expires after 2 to 2.5 heartbeats.
    const maxIdleMs = kind === 'session' ? times.heartbeatMs * 2 : times.idleMs
    if (isPaused || idleMs < maxIdleMs) return null
    return { reason: 'IDLE', message: `nothing was received for ${idleMs} ms` }
  }

  /** Returns true when the next PING is due, and records it as sent now. */
  pingDue(nowMs: number, heartbeatMs: number): boolean {
    if (nowMs - this.#lastPingMs < heartbeatMs) return false
    this.#lastPingMs = nowMs
    return true
  }

  /** Payload of the last PING; 0 = none was sent. */
  get lastPingMs(): number {
    return this.#lastPingMs
  }
}
