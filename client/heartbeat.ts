// Heartbeats of one connection: PINGs, round-trip times and the idle timeout. Invariant: a connection times out when no bytes
// arrive for 2.5 intervals; a missing PONG alone is no reason.

import { readU32, writeU32 } from '../core/wire/bytes.ts'
import { TIMES } from '../core/wire/limits.ts'
import type { ClientClock } from './socket.ts'

export interface HeartbeatEvents {
  sendPing(body: Uint8Array): void
  onRoundTrip(ms: number): void
  /** No bytes arrived for `ms`. */
  onTimeout(ms: number): void
}

/** The first PINGs are sent early, to measure the round trip; their interval then grows up to the server's. */
const FIRST_PING_MS = 500
const PING_GROWTH = 4
const PING_BYTES = 8
const TIMEOUT_INTERVALS = 2.5
/** Timers above a platform's maximum fire immediately. */
const MAX_INTERVAL_MS = 3_600_000

export class Heartbeat {
  readonly #clock: ClientClock
  readonly #events: HeartbeatEvents
  #pingTimer: { cancel(): void } | null = null
  #silenceTimer: { cancel(): void } | null = null
  #intervalMs: number = TIMES.heartbeatMs
  #lastReceivedMs = 0
  /** Number and time of the last PING; its PONG contains the number. */
  #pingNumber = 0
  #pingSentMs: number | null = null

  constructor(clock: ClientClock, events: HeartbeatEvents) {
    this.#clock = clock
    this.#events = events
  }

  /** `heartbeatMs`: the server's interval; 0 = the default. */
  start(heartbeatMs: number): void {
    this.stop()
    this.#intervalMs = Math.min(heartbeatMs || TIMES.heartbeatMs, MAX_INTERVAL_MS)
    this.#lastReceivedMs = this.#clock.mono()
    this.#schedulePing(Math.min(FIRST_PING_MS, this.#intervalMs))
    this.#scheduleSilenceCheck(this.#intervalMs * TIMEOUT_INTERVALS)
  }

  stop(): void {
    this.#pingTimer?.cancel()
    this.#silenceTimer?.cancel()
    this.#pingSentMs = null
  }

  received(): void {
    this.#lastReceivedMs = this.#clock.mono()
  }

  pongReceived(source: Uint8Array, start: number, end: number): void {
    if (this.#pingSentMs === null || end - start < PING_BYTES || readU32(source, start + 4) !== this.#pingNumber) return
    const ms = this.#clock.mono() - this.#pingSentMs
    this.#pingSentMs = null
    this.#events.onRoundTrip(ms)
  }

  #schedulePing(ms: number): void {
    this.#pingTimer = this.#clock.after(ms, () => {
      this.#schedulePing(Math.min(ms * PING_GROWTH, this.#intervalMs))
      const body = new Uint8Array(PING_BYTES)
      this.#pingNumber = (this.#pingNumber + 1) >>> 0
      writeU32(body, 4, this.#pingNumber)
      this.#pingSentMs = this.#clock.mono()
      this.#events.sendPing(body)
    })
  }

  #scheduleSilenceCheck(leftMs: number): void {
    this.#silenceTimer = this.#clock.after(leftMs, () => {
      const silentMs = this.#clock.mono() - this.#lastReceivedMs
      const remainingMs = this.#intervalMs * TIMEOUT_INTERVALS - silentMs
      if (remainingMs > 0) this.#scheduleSilenceCheck(remainingMs)
      else this.#events.onTimeout(silentMs)
    })
  }
}
