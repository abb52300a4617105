// Turns that wait for their commits, in order. Invariant: the effects and the answer of a turn leave after its own
// commit and after all effects of earlier turns; after a commit that failed or whose outcome is unknown, nothing
// leaves.

import type { Clock, Timer } from '../ports/clock.ts'
import type { Outcome } from '../ports/store.ts'

export interface CommitCallbacks {
  /** Runs the effects and sends the answer. */
  onCommitted(): void
  /** The commit failed or its outcome is unknown; the queue dropped all turns behind it. */
  onFailed(outcome: Exclude<Outcome, { kind: 'committed' }>): void
  /** Called once when the turn still waits after the timeout; null = no caller waits. */
  readonly onTimeout: (() => void) | null
}

interface QueuedCommit {
  readonly callbacks: CommitCallbacks
  isPending: boolean
  hasTimedOut: boolean
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

  /** `inRun` runs work inside the engine's run: turns that an effect causes run after the effects behind it. */
  constructor(clock: Clock, timeoutMs: number, inRun: (work: () => void) => void) {
    this.#clock = clock
    this.#timeoutMs = timeoutMs
    this.#inRun = inRun
  }

  /** Nothing waits: a turn without writes can be released at once. */
  get isEmpty(): boolean {
    return this.#queue.length === 0
  }

  get size(): number {
    return this.#queue.length
  }

  /** Calls `onCommitted` when `commit` (null = nothing to commit) and all before it have ended. */
  push(commit: Outcome | Promise<Outcome> | null, callbacks: CommitCallbacks): void {
    if (commit !== null && !(commit instanceof Promise)) {
      if (commit.kind !== 'committed') return this.#failAll(callbacks, commit)
      commit = null
    }
    const hasTimedOut = callbacks.onTimeout === null
    const dueMs = hasTimedOut ? 0 : this.#clock.mono() + this.#timeoutMs
    const queued: QueuedCommit = { callbacks, isPending: commit !== null, hasTimedOut, dueMs }
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

  /** Resolves when the queue is empty: all turns were released or dropped. */
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

  /** One timer, for the caller that has waited longest. */
  #armTimeout(): void {
    if (this.#timer || this.#isStopped) return
    const next = this.#queue.find(({ hasTimedOut }) => !hasTimedOut)
    if (!next) return
    this.#timer = this.#clock.after(Math.max(0, next.dueMs - this.#clock.mono()), () => {
      this.#timer = null
      const now = this.#clock.mono()
      this.#inRun(() => {
        for (const queued of this.#queue) {
          if (queued.hasTimedOut || queued.dueMs > now) continue
          queued.hasTimedOut = true
          queued.callbacks.onTimeout?.()
        }
      })
      this.#armTimeout()
    })
  }
}
