// Effects in the order of their turns, each held until its commit is known. Invariant: nothing of a turn leaves
// before its own commit and before everything of earlier turns; after a commit that is not known to be good,
// nothing leaves at all.

import type { Clock, Timer } from '../ports/clock.ts'
import type { Outcome } from '../ports/store.ts'

/** What waits for a commit. */
export interface CommitCallbacks {
  /** Lets the effects and the answer go. */
  onCommitted(): void
  /** The commit is not known to be good; everything behind it is given up too. */
  onFailed(outcome: Exclude<Outcome, { kind: 'committed' }>): void
  /** Tells the caller, who has waited `patienceMs`, to ask again; null = nobody is to be told. */
  readonly onTimeout: (() => void) | null
}

interface QueuedCommit {
  readonly callbacks: CommitCallbacks
  isPending: boolean
  onTimeout: (() => void) | null
  readonly dueMs: number
}

export class CommitQueue {
  readonly #queue: QueuedCommit[] = []
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #inRun: (work: () => void) => void
  #isStopped = false
  #waiters: (() => void)[] = []
  #timer: Timer | null = null

  /** `inRun` does work inside the engine's run, so that what an effect causes waits for the effects behind it. */
  constructor(clock: Clock, timeoutMs: number, inRun: (work: () => void) => void) {
    this.#clock = clock
    this.#timeoutMs = timeoutMs
    this.#inRun = inRun
  }

  /** Nothing waits: a turn without writes may speak at once. */
  get isEmpty(): boolean {
    return this.#queue.length === 0
  }

  get size(): number {
    return this.#queue.length
  }

  /** Releases when `commit` (null = nothing to commit) and all before it are done. */
  push(commit: Outcome | Promise<Outcome> | null, callbacks: CommitCallbacks): void {
    if (commit !== null && !(commit instanceof Promise)) {
      if (commit.kind !== 'committed') return this.#failAll(callbacks, commit)
      commit = null
    }
    const dueMs = callbacks.onTimeout ? this.#clock.mono() + this.#timeoutMs : 0
    const queued: QueuedCommit = {
      callbacks,
      isPending: commit !== null,
      onTimeout: callbacks.onTimeout,
      dueMs,
    }
    this.#queue.push(queued)
    if (commit === null) {
      this.#releaseCommitted()
      if (this.#queue.length > 0) this.#armTimeout()
      return
    }
    this.#armTimeout()
    void commit.then((outcome) => {
      if (this.#isStopped) return
      if (outcome.kind !== 'committed') return this.#inRun(() => this.#failAll(callbacks, outcome))
      queued.isPending = false
      this.#inRun(() => this.#releaseCommitted())
    })
  }

  /** Resolves when nothing waits any more, whether it left or was given up. */
  whenEmpty(): Promise<void> {
    if (this.isEmpty) return Promise.resolve()
    return new Promise((resolve) => this.#waiters.push(resolve))
  }

  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
    this.#queue.length = 0
    this.#resolveWaiters()
  }

  #releaseCommitted(): void {
    while (!this.#isStopped && this.#queue.length > 0 && !this.#queue[0]!.isPending)
      this.#queue.shift()!.callbacks.onCommitted()
    if (!this.isEmpty) return
    this.#timer?.cancel()
    this.#timer = null
    this.#resolveWaiters()
  }

  #resolveWaiters(): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const resolve of waiters) resolve()
  }

  #failAll(callbacks: CommitCallbacks, outcome: Exclude<Outcome, { kind: 'committed' }>): void {
    this.stop()
    callbacks.onFailed(outcome)
  }

  /** One timer for the caller that has waited longest. */
  #armTimeout(): void {
    if (this.#timer || this.#isStopped) return
    const next = this.#queue.find(({ onTimeout: tell }) => tell !== null)
    if (!next) return
    this.#timer = this.#clock.after(Math.max(0, next.dueMs - this.#clock.mono()), () => {
      this.#timer = null
      const now = this.#clock.mono()
      this.#inRun(() => {
        for (const queued of this.#queue) {
          if (queued.onTimeout === null || queued.dueMs > now) continue
          const { onTimeout: tell } = queued
          queued.onTimeout = null
          tell()
        }
      })
      this.#armTimeout()
    })
  }
}
