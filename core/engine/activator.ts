// How a shard comes to its next activation: one try at a time, at once while all is well, later after each failure.
// Invariant: as long as somebody is attached another try follows, so nobody waits for an activation that never comes.

import { backoffMs } from '../wire/backoff.ts'
import type { Engine } from './engine.ts'
import type { ShardPlan } from '../turn/plan.ts'
import type { Awaitable } from '../game/shard.ts'
import type { ShardId } from '../wire/shardid.ts'
import type { StoredShard } from '../ports/store.ts'
import type { Timer } from '../ports/clock.ts'

export interface ActivationTarget {
  readonly id: ShardId
  readonly plan: ShardPlan
  /** Somebody who is attached waits to be told of an activation. */
  readonly needsActivation: boolean
  inRun(work: () => void): void
  /** Makes the activation; what is returned begins it. @throws what keeps it from being activated */
  createActivation(stored: StoredShard): () => void
  activationFailed(error: unknown): void
}

const RETRY = { minMs: 10, maxMs: 2_000 } as const

export class Activator {
  readonly #engine: Engine
  readonly #shard: ActivationTarget
  #isActivating = false
  /** Activations in a row whose commits failed: what made them fail may last. */
  #failedCommits = 0
  /** Tries in a row that failed. */
  #failedAttempts = 0
  #retry: Timer | null = null

  constructor(engine: Engine, shard: ActivationTarget) {
    this.#engine = engine
    this.#shard = shard
  }

  /** A try is under way. */
  get isActivating(): boolean {
    return this.#isActivating
  }

  /** A commit of the activation failed. */
  commitFailed(): void {
    this.#failedCommits++
  }

  /** A commit of the activation succeeded. */
  commitSucceeded(): void {
    this.#failedCommits = 0
  }

  /** The first activation after a setback comes at once. */
  activate(): void {
    if (this.#isActivating) return
    this.#isActivating = true
    if (this.#failedCommits <= 1) return this.#openShard()
    this.#afterBackoff(this.#failedCommits - 1, () => this.#openShard())
  }

  /** No try before `until` has ended; then `next` says whether there is to be one. */
  waitFor(until: Promise<unknown>, next: () => void): void {
    this.#isActivating = true
    const resume = (): void => {
      this.#isActivating = false
      this.#shard.inRun(next)
    }
    until.then(resume, resume)
  }

  #openShard(): void {
    let stored: Awaitable<StoredShard>
    try {
      stored = this.#engine.openShard(this.#shard.id, this.#shard.plan)
    } catch (error) {
      return this.#attemptFailed(error)
    }
    if (stored instanceof Promise)
      stored.then(
        (found) => this.#startActivation(found),
        (error: unknown) => this.#attemptFailed(error),
      )
    else this.#startActivation(stored)
  }

  #startActivation(stored: StoredShard): void {
    this.#isActivating = false
    let start: () => void
    try {
      start = this.#shard.createActivation(stored)
    } catch (error) {
      return this.#attemptFailed(error)
    }
    this.#failedAttempts = 0
    start()
  }

  #attemptFailed(error: unknown): void {
    this.#isActivating = false
    this.#shard.activationFailed(error)
    this.#failedAttempts++
    if (this.#retry) return
    this.#retry = this.#afterBackoff(this.#failedAttempts, () => {
      this.#retry = null
      if (this.#shard.needsActivation) this.activate()
    })
  }

  /** 10 ms, doubling up to 2 s, with jitter, so that the shards of a broken disk do not come back all at once. */
  #afterBackoff(failures: number, run: () => void): Timer {
    const { clock } = this.#engine
    return clock.after(backoffMs(failures - 1, RETRY, clock.random()), () => this.#shard.inRun(run))
  }
}
