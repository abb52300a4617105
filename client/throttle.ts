// What a channel sends to an overloaded server. Refused calls cost the server time too, so while it refuses many, a growing
// share of the new calls is refused here. Invariant: the server refuses about one call in six of those that reach it, and
// a server that refuses none for a moment gets every call.

import type { ClientClock } from './socket.ts'

/** Change of the share per refused and per accepted call. */
const RISE = 0.1
const FALL = 0.02
const MAX_SHARE = 0.9

export class CallThrottle {
  readonly #clock: ClientClock
  /** Share of the new calls that are refused here. */
  #share = 0
  /** When the server can be expected to accept calls again. */
  #untilMs = 0

  constructor(clock: ClientClock) {
    this.#clock = clock
  }

  /** The server refused a call. Returns when a retry has a chance: `retryAfterMs`, up to twice as long by chance. */
  refused(retryAfterMs: number): number {
    const ms = retryAfterMs * (1 + this.#clock.random())
    this.#share = Math.min(MAX_SHARE, this.#share + RISE)
    this.#untilMs = this.#clock.mono() + ms
    return Math.ceil(ms)
  }

  /** The server ran a call. */
  accepted(): void {
    if (this.#share > 0) this.#share = Math.max(0, this.#share - FALL)
  }

  /** Returns 0 to send a new call, else the time after which a retry has a chance. */
  waitMs(): number {
    if (this.#share === 0) return 0
    const leftMs = this.#untilMs - this.#clock.mono()
    if (leftMs <= 0) this.#share = 0
    return this.#clock.random() < this.#share ? Math.ceil(leftMs) : 0
  }
}
