// Ends the activation of an idle object that declares `onDeactivate`. The platform reports neither hibernation nor eviction, so
// the hook has to run while the object is still in memory. Invariant: no timer is pending while a client is connected, because
// it would keep a quiet object from hibernating.

import type { Clock, Timer } from '../ports/clock.ts'

export interface IdleShard {
  isIdle(): boolean
  /** Removes channels that were detached long ago. */
  sweep(): void
  /** Runs the hook and ends the activation. */
  evict(): Promise<void>
}

/** Below the 10 s after which the platform may hibernate an object. */
export const IDLE_MS = 5_000

export class IdleWatch {
  readonly #clock: Clock
  readonly #shard: IdleShard
  #timer: Timer | null = null

  constructor(clock: Clock, shard: IdleShard) {
    this.#clock = clock
    this.#shard = shard
  }

  /** An event without connected client: the object is idle if none follows. A seat or a channel may have to expire first. */
  restart(): void {
    this.#timer?.cancel()
    this.#timer = this.#clock.after(IDLE_MS, () => {
      this.#timer = null
      this.#shard.sweep()
      if (this.#shard.isIdle()) void this.#shard.evict()
      else this.restart()
    })
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = null
  }
}
