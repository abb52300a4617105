// The next activation of a shard: one attempt at a time, at once or, after failures, with backoff. Invariant: while a
// connection is attached another attempt follows each failure, so no client waits forever.

import { backoffMs } from '../wire/backoff.ts'
import type { ShardId } from '../wire/shardid.ts'
import type { Awaitable } from '../game/definition.ts'
import type { Timer } from '../ports/clock.ts'
import type { StoredShard } from '../ports/store.ts'
import type { ShardPlan } from '../turn/plan.ts'
import type { EngineServices } from './activation.ts'

/** The shard, as its activator uses it. */
export interface ActivationTarget {
  readonly id: ShardId
  readonly plan: ShardPlan
  /** A connection is attached and the shard is not active. */
  readonly needsActivation: boolean
  inRun(work: () => void): void
  /** Creates the activation; the returned function begins it. @throws Error when it cannot be created */
  createActivation(stored: StoredShard): () => void
  activationFailed(error: unknown): void
}

const RETRY = { minMs: 10, maxMs: 2_000 } as const

export class Activator {
  readonly #services: Pick<EngineServices, 'clock' | 'openShard'>
  readonly #shard: ActivationTarget
  #isActivating = false
  /** Activations in a row whose commits failed. */
  #failedCommits = 0
  /** Attempts in a row that failed. */
  #failedAttempts = 0
  #retry: Timer | null = null

  constructor(services: Pick<EngineServices, 'clock' | 'openShard'>, shard: ActivationTarget) {
    this.#services = services
    this.#shard = shard
  }

  /** An attempt is in progress or planned. */
  get isActivating(): boolean {
    return this.#isActivating
  }

  commitFailed(): void {
    this.#failedCommits++
  }

  commitSucceeded(): void {
    this.#failedCommits = 0
  }

  /** Activates the shard, at once after the first failed commit, with backoff after further ones. */
  activate(): void {
    if (this.#isActivating) return
    this.#isActivating = true
    if (this.#failedCommits <= 1) return this.#openShard()
    this.#afterBackoff(this.#failedCommits - 1, () => this.#openShard())
  }

  /** Makes no attempt until `until` has settled, then calls `activateNext`. */
  waitFor(until: Promise<unknown>, activateNext: () => void): void {
    this.#isActivating = true
    const resume = (): void => {
      this.#isActivating = false
      this.#shard.inRun(activateNext)
    }
    until.then(resume, resume)
  }

  #openShard(): void {
    let stored: Awaitable<StoredShard>
    try {
      stored = this.#services.openShard(this.#shard.id, this.#shard.plan)
    } catch (error) {
      return this.#attemptFailed(error)
    }
    if (stored instanceof Promise)
      stored.then(
        (opened) => this.#startActivation(opened),
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
    start()
  }

  /** The activation runs calls: its `onActivate` is committed. */
  activationStarted(): void {
    this.#failedAttempts = 0
  }

  /** `onActivate` has failed, and its activation has ended. */
  startFailed(error: unknown): void {
    this.#attemptFailed(error)
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

  /** 10 ms, doubling up to 2 s, with jitter, so that the shards of a broken disk do not retry at the same time. */
  #afterBackoff(failures: number, run: () => void): Timer {
    const { clock } = this.#services
    return clock.after(backoffMs(failures - 1, RETRY, clock.random()), () => this.#shard.inRun(run))
  }
}
