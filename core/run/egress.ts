// Effects in the order of their turns, each held until its commit is known. Invariant: nothing of a turn leaves
// before its own commit and before everything of earlier turns; after a commit that is not known to be good,
// nothing leaves at all.

import type { Outcome } from './ports.ts'

interface Held {
  readonly release: () => void
  pending: boolean
}

export class Egress {
  readonly #held: Held[] = []
  readonly #onBroken: (outcome: Exclude<Outcome, { kind: 'committed' }>) => void
  readonly #inRun: (work: () => void) => void
  #stopped = false
  #waiters: (() => void)[] = []

  /** `inRun` does work inside the engine's run, so that what an effect causes waits for the effects behind it. */
  constructor(
    inRun: (work: () => void) => void,
    onBroken: (outcome: Exclude<Outcome, { kind: 'committed' }>) => void,
  ) {
    this.#inRun = inRun
    this.#onBroken = onBroken
  }

  /** Nothing waits: a turn without writes may speak at once. */
  get idle(): boolean {
    return this.#held.length === 0
  }

  get size(): number {
    return this.#held.length
  }

  /** Releases when `commit` (null = nothing to commit) and all before it are done. */
  push(commit: Outcome | Promise<Outcome> | null, release: () => void): void {
    if (commit !== null && !(commit instanceof Promise)) {
      if (commit.kind !== 'committed') return this.#break(commit)
      commit = null
    }
    const held: Held = { release, pending: commit !== null }
    this.#held.push(held)
    if (commit === null) return this.#flush()
    void commit.then((outcome) => {
      if (this.#stopped) return
      if (outcome.kind !== 'committed') return this.#break(outcome)
      held.pending = false
      this.#inRun(() => this.#flush())
    })
  }

  /** Resolves when nothing waits any more, whether it left or was given up. */
  emptied(): Promise<void> {
    if (this.idle) return Promise.resolve()
    return new Promise((resolve) => this.#waiters.push(resolve))
  }

  stop(): void {
    this.#stopped = true
    this.#held.length = 0
    this.#wake()
  }

  #flush(): void {
    while (!this.#stopped && this.#held.length > 0 && !this.#held[0]!.pending) this.#held.shift()!.release()
    if (this.idle) this.#wake()
  }

  #wake(): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const wake of waiters) wake()
  }

  #break(outcome: Exclude<Outcome, { kind: 'committed' }>): void {
    this.stop()
    this.#onBroken(outcome)
  }
}
