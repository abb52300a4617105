// What must come in time on one connection: its first frame, the end of every frame, a login, and now and then anything at
// all. Times are monotonic; who is late is found when it is looked for, several times in a heartbeat.

import type { CloseReason } from '../../core/wire/errors.ts'
import type { GatewayTimes } from './gateway.ts'

export interface ExpiredDeadline {
  readonly reason: CloseReason
  readonly message: string
}

/** Where its connection stands. */
export interface ConnectionState {
  /** Since its first whole frame. */
  readonly kind: 'nobody' | 'legacy' | 'session'
  /** It is not read for the moment, so nothing can come. */
  readonly isPaused: boolean
  /** The game demands a login, and there was none yet. */
  readonly mustLogin: boolean
}

export class ConnectionDeadlines {
  readonly #openedMs: number
  /** The last byte; since when a frame is unfinished, 0 = none is; the last PING, 0 = none yet. Whole milliseconds. */
  #lastReceivedMs: number
  #frameStartedMs = 0
  #lastPingMs = 0

  constructor(nowMs: number) {
    this.#openedMs = this.#lastReceivedMs = Math.trunc(nowMs)
  }

  received(nowMs: number): void {
    this.#lastReceivedMs = Math.trunc(nowMs)
  }

  /** What was heard last ended a frame and no other is begun. */
  frameCompleted(): void {
    this.#frameStartedMs = 0
  }

  /** It ended inside a frame: in one that it began (`isNew`), or in the one before. */
  frameInProgress(startedInChunk: boolean): void {
    if (this.#frameStartedMs === 0 || startedInChunk) this.#frameStartedMs = this.#lastReceivedMs
  }

  /** What has not come in time; null = it is in time. */
  expired(
    nowMs: number,
    { kind, isPaused, mustLogin }: ConnectionState,
    times: GatewayTimes,
  ): ExpiredDeadline | null {
    const ageMs = nowMs - this.#openedMs
    const silentMs = nowMs - this.#lastReceivedMs
    if (kind === 'nobody' && ageMs > times.firstFrameMs)
      return { reason: 'TOO_SLOW', message: `no whole frame within ${times.firstFrameMs} ms` }
    if (!isPaused && this.#frameStartedMs !== 0 && nowMs - this.#frameStartedMs > times.frameMs)
      return { reason: 'TOO_SLOW', message: `a frame did not end within ${times.frameMs} ms` }
    if (mustLogin && ageMs > times.loginMs)
      return { reason: 'LOGIN_TIMEOUT', message: `no login within ${times.loginMs} ms` }
    // It is looked for every half heartbeat: found within two and a half.
    const maxSilentMs = kind === 'session' ? times.heartbeatMs * 2 : times.idleMs
    if (isPaused || silentMs < maxSilentMs) return null
    return { reason: 'IDLE', message: `nothing was received for ${silentMs} ms` }
  }

  /** Whether a heartbeat has passed since the last PING; then one begins with now. */
  pingDue(nowMs: number, heartbeatMs: number): boolean {
    if (nowMs - this.#lastPingMs < heartbeatMs) return false
    this.#lastPingMs = nowMs
    return true
  }

  /** What the last PING said; 0 = there was none. */
  get lastPingMs(): number {
    return this.#lastPingMs
  }
}
