// Effects in the order of their turns, each held until its commit is known. Invariant: nothing of a turn leaves
// before its own commit and before everything of earlier turns; after a commit that is not known to be good,
// nothing leaves at all.

import type { Clock, Outcome, Timer } from './ports.ts'

/** What waits for a commit. */
export interface Ending {
  /** Lets the effects and the answer go. */
  release(): void
  /** The commit is not known to be good; everything behind it is given up too. */
  broken(outcome: Exclude<Outcome, { kind: 'committed' }>): void
  /** Tells the caller, who has waited `patienceMs`, to ask again; null = nobody is to be told. */
  readonly tell: (() => void) | null
}

interface Held {
  readonly ending: Ending
  pending: boolean
  tell: (() => void) | null
  readonly dueMs: number
}

export class Egress {
  readonly #held: Held[] = []
  readonly #clock: Clock
  readonly #patienceMs: number
  readonly #inRun: (work: () => void) => void
  #stopped = false
  #waiters: (() => void)[] = []
  #timer: Timer | null = null

  /** `inRun` does work inside the engine's run, so that what an effect causes waits for the effects behind it. */
  constructor(clock: Clock, patienceMs: number, inRun: (work: () => void) => void) {
    this.#clock = clock
    this.#patienceMs = patienceMs
    this.#inRun = inRun
  }

  /** Nothing waits: a turn without writes may speak at once. */
  get idle(): boolean {
    return this.#held.length === 0
  }

  get size(): number {
    return this.#held.length
  }

  /** Releases when `commit` (null = nothing to commit) and all before it are done. */
  push(commit: Outcome | Promise<Outcome> | null, ending: Ending): void {
    if (commit !== null && !(commit instanceof Promise)) {
      if (commit.kind !== 'committed') return this.#break(ending, commit)
      commit = null
    }
    const dueMs = ending.tell ? this.#clock.mono() + this.#patienceMs : 0
    const held: Held = { ending, pending: commit !== null, tell: ending.tell, dueMs }
    this.#held.push(held)
    if (commit === null) {
      this.#flush()
      if (this.#held.length > 0) this.#arm()
      return
    }
    this.#arm()
    void commit.then((outcome) => {
      if (this.#stopped) return
      if (outcome.kind !== 'committed') return this.#inRun(() => this.#break(ending, outcome))
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
    this.#timer?.cancel()
    this.#held.length = 0
    this.#wake()
  }

  #flush(): void {
    while (!this.#stopped && this.#held.length > 0 && !this.#held[0]!.pending)
      this.#held.shift()!.ending.release()
    if (!this.idle) return
    this.#timer?.cancel()
    this.#timer = null
    this.#wake()
  }

  #wake(): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const wake of waiters) wake()
  }

  #break(ending: Ending, outcome: Exclude<Outcome, { kind: 'committed' }>): void {
    this.stop()
    ending.broken(outcome)
  }

  /** One timer for the caller that has waited longest. */
  #arm(): void {
    if (this.#timer || this.#stopped) return
    const next = this.#held.find(({ tell }) => tell !== null)
    if (!next) return
    this.#timer = this.#clock.after(Math.max(0, next.dueMs - this.#clock.mono()), () => {
      this.#timer = null
      const now = this.#clock.mono()
      this.#inRun(() => {
        for (const held of this.#held) {
          if (held.tell === null || held.dueMs > now) continue
          const { tell } = held
          held.tell = null
          tell()
        }
      })
      this.#arm()
    })
  }
}
