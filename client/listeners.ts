// The game's listeners, by name, and its hook for measurements. Invariant: an error of a listener is rethrown outside of the SDK's call stack, so the platform
// reports it and the SDK continues.

import type { ClientClock } from './socket.ts'

/** The SDK's measurements, which a game connects to its own metrics. */
export type Metric =
  /** The round-trip time of a heartbeat. */
  | { readonly name: 'rtt'; readonly ms: number }
  /** A completed call: `outcome` is 'ok', a refusal of the contract or a system code. */
  | {
      readonly name: 'call'
      readonly contract: string
      readonly command: string
      readonly ms: number
      readonly outcome: string
    }
  /** Time from the loss of the connection until every open channel was answered, and the number of attempts. */
  | { readonly name: 'reconnect'; readonly ms: number; readonly tries: number }
  /** An event that violates the client's contract was dropped: the server may have another version of it. */
  | { readonly name: 'badEvent'; readonly event: string; readonly message: string }
  /** Events of this shard are lost. */
  | { readonly name: 'resync'; readonly contract: string; readonly key: string }
  /** All bytes of this session so far, frame headers included; reported at each heartbeat. */
  | { readonly name: 'bytes'; readonly in: number; readonly out: number }

/** Receives the SDK's measurements: the option `metrics`. */
export type Measure = (metric: Metric) => void

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
