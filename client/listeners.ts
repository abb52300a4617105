// Who in the game listens to what. Invariant: what a listener throws is thrown again by itself, once the code in hand
// is done: it reaches the platform's own report and breaks nothing here.

import type { ClientClock } from './socket.ts'

/** What code of the game's has thrown. */
export function rethrow(clock: ClientClock, error: unknown): void {
  clock.defer(() => {
    throw error
  })
}

export class Listeners {
  readonly #clock: ClientClock
  readonly #sets = new Map<string, Set<(data: never) => void>>()

  constructor(clock: ClientClock) {
    this.#clock = clock
  }

  /** The returned function stops it. */
  add(what: string, listener: (data: never) => void): () => void {
    const set = this.#sets.get(what) ?? new Set()
    this.#sets.set(what, set.add(listener))
    return () => void set.delete(listener)
  }

  has(what: string): boolean {
    return (this.#sets.get(what)?.size ?? 0) > 0
  }

  /** Calls those who listen now. */
  notify(what: string, data?: unknown): void {
    const set = this.#sets.get(what)
    for (const listener of set ? [...set] : []) {
      try {
        listener(data as never)
      } catch (error) {
        rethrow(this.#clock, error)
      }
    }
  }
}
