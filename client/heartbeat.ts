// Life of one connection: a PING now and then, its round trip, and an end to silence. Invariant: a connection on which
// nothing at all has arrived for 2.5 intervals is given up; a missing PONG alone is no reason.

import { readU32, writeU32 } from '../core/wire/bytes.ts'
import { TIMES } from '../core/wire/limits.ts'
import type { ClientClock } from './socket.ts'

export interface Pulse {
  /** Sends a PING with this body. */
  ping(body: Uint8Array): void
  rtt(ms: number): void
  /** Nothing came for so long. */
  silent(ms: number): void
}

/** The first heartbeats come soon, for the round-trip time, and further apart up to what the server asks. */
const FIRST_PING_MS = 500
const PING_GROWTH = 4
const PING_BYTES = 8
const SILENT_BEATS = 2.5
/** Beyond what a platform's timer takes, a timer fires at once. */
const MAX_BEAT_MS = 3_600_000

export class Heartbeat {
  readonly #clock: ClientClock
  readonly #pulse: Pulse
  #ping: { cancel(): void } | null = null
  #watch: { cancel(): void } | null = null
  #beatMs: number = TIMES.heartbeatMs
  #heardMs = 0
  /** The last PING, and when it left; its PONG brings the number back. */
  #pings = 0
  #pingMs: number | null = null

  constructor(clock: ClientClock, pulse: Pulse) {
    this.#clock = clock
    this.#pulse = pulse
  }

  /** `heartbeatMs` is the server's wish; 0 = it has none. */
  start(heartbeatMs: number): void {
    this.stop()
    this.#beatMs = Math.min(heartbeatMs || TIMES.heartbeatMs, MAX_BEAT_MS)
    this.#heardMs = this.#clock.mono()
    this.#next(Math.min(FIRST_PING_MS, this.#beatMs))
    this.#guard(this.#beatMs * SILENT_BEATS)
  }

  stop(): void {
    this.#ping?.cancel()
    this.#watch?.cancel()
    this.#pingMs = null
  }

  /** Something arrived, whatever it is. */
  heard(): void {
    this.#heardMs = this.#clock.mono()
  }

  pong(source: Uint8Array, start: number, end: number): void {
    if (this.#pingMs === null || end - start < PING_BYTES || readU32(source, start + 4) !== this.#pings)
      return
    const ms = this.#clock.mono() - this.#pingMs
    this.#pingMs = null
    this.#pulse.rtt(ms)
  }

  #next(ms: number): void {
    this.#ping = this.#clock.after(ms, () => {
      this.#next(Math.min(ms * PING_GROWTH, this.#beatMs))
      const body = new Uint8Array(PING_BYTES)
      this.#pings = (this.#pings + 1) >>> 0
      writeU32(body, 4, this.#pings)
      this.#pingMs = this.#clock.mono()
      this.#pulse.ping(body)
    })
  }

  #guard(leftMs: number): void {
    this.#watch = this.#clock.after(leftMs, () => {
      const silentMs = this.#clock.mono() - this.#heardMs
      const left = this.#beatMs * SILENT_BEATS - silentMs
      if (left > 0) this.#guard(left)
      else this.#pulse.silent(silentMs)
    })
  }
}
