// How a shard comes to its next activation: one try at a time, at once while all is well, later after each failure.
// Invariant: as long as somebody is attached another try follows, so nobody waits for an activation that never comes.

import type { Engine } from './engine.ts'
import type { ShardPlan } from './plan.ts'
import type { Awaitable, ShardId, Stored, Timer } from './ports.ts'

export interface Sleeper {
  readonly id: ShardId
  readonly plan: ShardPlan
  /** Somebody who is attached waits to be told of an activation. */
  readonly isAwaited: boolean
  inRun(work: () => void): void
  /** Makes the activation; what is returned begins it. @throws what keeps it from being activated */
  awake(stored: Stored): () => void
  notAwake(error: unknown): void
}

const REST_MS = 10
const MAX_REST_MS = 2_000

export class Waking {
  readonly #engine: Engine
  readonly #shard: Sleeper
  #busy = false
  /** Activations in a row whose commits failed: what made them fail may last. */
  #setbacks = 0
  /** Tries in a row that failed. */
  #failures = 0
  #retry: Timer | null = null

  constructor(engine: Engine, shard: Sleeper) {
    this.#engine = engine
    this.#shard = shard
  }

  /** A try is under way. */
  get busy(): boolean {
    return this.#busy
  }

  /** A commit of the activation failed. */
  setBack(): void {
    this.#setbacks++
  }

  /** A commit of the activation succeeded. */
  succeeded(): void {
    this.#setbacks = 0
  }

  /** The first activation after a setback comes at once. */
  begin(): void {
    if (this.#busy) return
    this.#busy = true
    if (this.#setbacks <= 1) return this.#try()
    this.#after(this.#setbacks - 1, () => this.#try())
  }

  /** No try before `until` has ended; then `next` says whether there is to be one. */
  hold(until: Promise<unknown>, next: () => void): void {
    this.#busy = true
    const ready = (): void => {
      this.#busy = false
      this.#shard.inRun(next)
    }
    until.then(ready, ready)
  }

  #try(): void {
    let stored: Awaitable<Stored>
    try {
      stored = this.#engine.openStore(this.#shard.id, this.#shard.plan)
    } catch (error) {
      return this.#failed(error)
    }
    if (stored instanceof Promise)
      stored.then(
        (found) => this.#awake(found),
        (error: unknown) => this.#failed(error),
      )
    else this.#awake(stored)
  }

  #awake(stored: Stored): void {
    this.#busy = false
    let start: () => void
    try {
      start = this.#shard.awake(stored)
    } catch (error) {
      return this.#failed(error)
    }
    this.#failures = 0
    start()
  }

  #failed(error: unknown): void {
    this.#busy = false
    this.#shard.notAwake(error)
    this.#failures++
    if (this.#retry) return
    this.#retry = this.#after(this.#failures, () => {
      this.#retry = null
      if (this.#shard.isAwaited) this.begin()
    })
  }

  /** 10 ms, doubling up to 2 s, with jitter, so that the shards of a broken disk do not come back all at once. */
  #after(failures: number, run: () => void): Timer {
    const { clock } = this.#engine
    const longest = Math.min(MAX_REST_MS, REST_MS * 2 ** Math.min(failures - 1, 10))
    return clock.after(longest * (0.5 + clock.random() / 2), () => this.#shard.inRun(run))
  }
}
