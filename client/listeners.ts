// The game's listeners, by name. Invariant: an error of a listener is rethrown outside of the SDK's call stack, so the platform
// reports it and the SDK continues.

import type { ClientClock } from './socket.ts'

/** Rethrows an error of the game's code after the current code has returned. */
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

  /** Returns a function that removes the listener. */
  add(what: string, listener: (data: never) => void): () => void {
    const set = this.#sets.get(what) ?? new Set()
    this.#sets.set(what, set.add(listener))
    return () => void set.delete(listener)
  }

  has(what: string): boolean {
    return (this.#sets.get(what)?.size ?? 0) > 0
  }

  /** Calls the listeners that are registered now; listeners that they add are not called. */
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
