// Sessions whose connection is lost and whose seats are kept: for as long their address is counted for them, so that one
// address holds no more seats than it may have connections, however fast it comes and goes.

import type { Clock, Timer } from '../core/run/ports.ts'
import { TIMES } from '../core/wire/limits.ts'
import type { Entry } from './census.ts'

interface Seat {
  readonly entry: Entry
  readonly untilMs: number
}

export class Lingering {
  readonly #clock: Clock
  readonly #most: number
  /** By session, 32 hex digits; the one that ends next is first. */
  readonly #seats = new Map<string, Seat>()
  #timer: Timer | null = null

  /** Of more than `most` the oldest is let go. */
  constructor(clock: Clock, most: number) {
    this.#clock = clock
    this.#most = most
  }

  get size(): number {
    return this.#seats.size
  }

  has(session: string): boolean {
    return this.#seats.has(session)
  }

  /** The session may come back within TIMES.lingerMs. */
  keep(session: string, entry: Entry): void {
    this.end(session)
    entry.linger()
    this.#seats.set(session, { entry, untilMs: this.#clock.mono() + TIMES.lingerMs })
    if (this.#seats.size > this.#most) for (const oldest of this.#seats.keys()) return this.end(oldest)
    this.#arm()
  }

  /** It has come back, or never will. */
  end(session: string): void {
    this.#seats.get(session)?.entry.leave()
    this.#seats.delete(session)
  }

  clear(): void {
    for (const session of this.#seats.keys()) this.end(session)
    this.#timer?.cancel()
    this.#timer = null
  }

  #arm(): void {
    if (this.#timer) return
    for (const { untilMs } of this.#seats.values()) {
      this.#timer = this.#clock.after(Math.max(0, untilMs - this.#clock.mono()), () => this.#expire())
      return
    }
  }

  #expire(): void {
    this.#timer = null
    const now = this.#clock.mono()
    for (const [session, { untilMs }] of this.#seats) {
      if (untilMs > now) break
      this.end(session)
    }
    this.#arm()
  }
}
