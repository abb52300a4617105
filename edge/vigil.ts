// What must come in time on one connection: its first frame, the end of every frame, a login, and now and then anything at
// all. Times are monotonic; who is late is found when it is looked for, several times in a heartbeat.

import type { CloseReason } from '../core/wire/errors.ts'
import type { GatewayTimes } from './gateway.ts'

export interface Late {
  readonly reason: CloseReason
  readonly message: string
}

/** Where its connection stands. */
export interface Standing {
  /** Since its first whole frame. */
  readonly kind: 'nobody' | 'legacy' | 'session'
  /** It is not read for the moment, so nothing can come. */
  readonly isPaused: boolean
  /** The game demands a login, and there was none yet. */
  readonly mustLogin: boolean
}

export class Vigil {
  readonly #openedMs: number
  /** The last byte; since when a frame is unfinished, 0 = none is; the last PING, 0 = none yet. Whole milliseconds. */
  #heardMs: number
  #partialMs = 0
  #pingedMs = 0

  constructor(nowMs: number) {
    this.#openedMs = this.#heardMs = Math.trunc(nowMs)
  }

  heard(nowMs: number): void {
    this.#heardMs = Math.trunc(nowMs)
  }

  /** What was heard last ended a frame and no other is begun. */
  whole(): void {
    this.#partialMs = 0
  }

  /** It ended inside a frame: in one that it began (`isNew`), or in the one before. */
  partial(isNew: boolean): void {
    if (this.#partialMs === 0 || isNew) this.#partialMs = this.#heardMs
  }

  /** What has not come in time; null = it is in time. */
  late(nowMs: number, { kind, isPaused, mustLogin }: Standing, times: GatewayTimes): Late | null {
    const ageMs = nowMs - this.#openedMs
    const silentMs = nowMs - this.#heardMs
    if (kind === 'nobody' && ageMs > times.firstFrameMs)
      return { reason: 'TOO_SLOW', message: `no whole frame within ${times.firstFrameMs} ms` }
    if (!isPaused && this.#partialMs !== 0 && nowMs - this.#partialMs > times.frameMs)
      return { reason: 'TOO_SLOW', message: `a frame did not end within ${times.frameMs} ms` }
    if (mustLogin && ageMs > times.loginMs)
      return { reason: 'LOGIN_TIMEOUT', message: `no login within ${times.loginMs} ms` }
    // It is looked for every half heartbeat: found within two and a half.
    const mostMs = kind === 'session' ? times.heartbeatMs * 2 : times.idleMs
    if (isPaused || silentMs < mostMs) return null
    return { reason: 'IDLE', message: `nothing was received for ${silentMs} ms` }
  }

  /** Whether a heartbeat has passed since the last PING; then one begins with now. */
  pings(nowMs: number, heartbeatMs: number): boolean {
    if (nowMs - this.#pingedMs < heartbeatMs) return false
    this.#pingedMs = nowMs
    return true
  }

  /** What the last PING said; 0 = there was none. */
  get pingedMs(): number {
    return this.#pingedMs
  }
}
