// Which key of a contract a session means, as its game said by `c.bind`. It outlives the connection for a while, so
// that a client that comes back reaches its player's shard again.

import type { Clock } from '../core/run/ports.ts'
import { TIMES } from '../core/wire/limits.ts'

/** Contract name to key. */
export type Keys = Map<string, string>

interface Kept {
  readonly keys: Keys
  /** Monotonic time since when no connection carries it; 0 = one does. */
  endedMs: number
}

export class Bindings {
  readonly #clock: Clock
  readonly #maxSessions: number
  readonly #bySession = new Map<string, Kept>()

  constructor(clock: Clock, maxSessions: number) {
    this.#clock = clock
    this.#maxSessions = maxSessions
  }

  /** The keys of a session whose connection stands now. */
  take(session: string): Keys {
    const kept = this.#bySession.get(session) ?? { keys: new Map(), endedMs: 0 }
    kept.endedMs = 0
    this.#bySession.set(session, kept)
    return kept.keys
  }

  ended(session: string): void {
    const kept = this.#bySession.get(session)
    if (!kept) return
    if (kept.keys.size === 0) this.#bySession.delete(session)
    else kept.endedMs = this.#clock.mono()
  }

  /** Forgets sessions that did not come back, and the oldest of too many. */
  sweep(): void {
    const before = this.#clock.mono() - TIMES.rememberMs
    for (const [session, { endedMs }] of this.#bySession) {
      const isOver = endedMs !== 0 && (endedMs <= before || this.#bySession.size > this.#maxSessions)
      if (isOver) this.#bySession.delete(session)
    }
  }
}
