// Sessions whose connection closed and whose seats are reserved. Invariant: until the seats expire each one counts for its
// address, so that an address holds no more seats than it may have connections, however fast it reconnects.

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
  /** By session, 32 hex digits; the first one expires next. */
  readonly #reservations = new Map<string, ResumeReservation>()
  #timer: Timer | null = null

  /** Beyond `maxReservations` the oldest one is released. */
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

  /** Reserves for TIMES.lingerMs. */
  reserve(session: string, permit: ConnectionPermit): void {
    this.release(session)
    permit.reserveForResume()
    this.#reservations.set(session, { permit, expiresMs: this.#clock.mono() + TIMES.lingerMs })
    if (this.#reservations.size > this.#maxReservations)
      for (const oldest of this.#reservations.keys()) return this.release(oldest)
    this.#scheduleExpiry()
  }

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
    for (const { expiresMs } of this.#reservations.values()) {
      this.#timer = this.#clock.after(Math.max(0, expiresMs - this.#clock.mono()), () => this.#expire())
      return
    }
  }

  #expire(): void {
    this.#timer = null
    const now = this.#clock.mono()
    for (const [session, { expiresMs }] of this.#reservations) {
      if (expiresMs > now) break
      this.release(session)
    }
    this.#scheduleExpiry()
  }
}
