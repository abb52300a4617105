// Sessions whose connection is lost and whose seats are kept: for as long their address is counted for them, so that one
// address holds no more seats than it may have connections, however fast it comes and goes.

import type { Clock, Timer } from '../../core/ports/clock.ts'
import { TIMES } from '../../core/wire/limits.ts'
import type { ConnectionPermit } from './connectionlimiter.ts'

interface ResumeReservation {
  readonly permit: ConnectionPermit
  readonly expiresMs: number
}

export class ResumeReservations {
  readonly #clock: Clock
  readonly #maxReservations: number
  /** By session, 32 hex digits; the one that ends next is first. */
  readonly #reservations = new Map<string, ResumeReservation>()
  #timer: Timer | null = null

  /** Of more than `most` the oldest is let go. */
  constructor(clock: Clock, maxReservations: number) {
    this.#clock = clock
    this.#maxReservations = maxReservations
  }

  get reservationCount(): number {
    return this.#reservations.size
  }

  has(session: string): boolean {
    return this.#reservations.has(session)
  }

  /** The session may come back within TIMES.lingerMs. */
  reserve(session: string, permit: ConnectionPermit): void {
    this.release(session)
    permit.reserveForResume()
    this.#reservations.set(session, { permit, expiresMs: this.#clock.mono() + TIMES.lingerMs })
    if (this.#reservations.size > this.#maxReservations)
      for (const oldest of this.#reservations.keys()) return this.release(oldest)
    this.#scheduleExpiry()
  }

  /** It has come back, or never will. */
  release(session: string): void {
    this.#reservations.get(session)?.permit.release()
    this.#reservations.delete(session)
  }

  releaseAll(): void {
    for (const session of this.#reservations.keys()) this.release(session)
    this.#timer?.cancel()
    this.#timer = null
  }

  #scheduleExpiry(): void {
    if (this.#timer) return
    for (const { expiresMs: untilMs } of this.#reservations.values()) {
      this.#timer = this.#clock.after(Math.max(0, untilMs - this.#clock.mono()), () => this.#expire())
      return
    }
  }

  #expire(): void {
    this.#timer = null
    const now = this.#clock.mono()
    for (const [session, { expiresMs: untilMs }] of this.#reservations) {
      if (untilMs > now) break
      this.release(session)
    }
    this.#scheduleExpiry()
  }
}
