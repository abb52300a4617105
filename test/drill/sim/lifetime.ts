// The lifetime of one simulated process. Portable. Invariant: after `end` no timer of the process runs and no answer reaches it; what it
// sent before still arrives at its receiver.

import type { Clock } from '../../../core/ports/clock.ts'

/** Offset of a wall clock. Wall clocks jump; monotonic clocks never do. */
export interface ClockSkew {
  wallMs: number
}

export class ProcessLifetime {
  readonly name: string
  readonly clock: Clock
  #isOver = false
  readonly #listeners: (() => void)[] = []

  constructor(name: string, base: Clock, skew: ClockSkew) {
    this.name = name
    const guarded = (run: () => void) => () => {
      if (!this.#isOver) run()
    }
    this.clock = {
      now: () => base.now() + skew.wallMs,
      mono: () => base.mono(),
      after: (ms, run) => base.after(ms, guarded(run)),
      defer: (run) => base.defer(guarded(run)),
      random: () => base.random(),
      id: () => base.id(),
    }
  }

  get isOver(): boolean {
    return this.#isOver
  }

  onEnd(run: () => void): void {
    this.#listeners.push(run)
  }

  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    for (const run of this.#listeners) run()
  }

  /** Settles with `answer`, unless the lifetime ends before. */
  whileAlive<T>(answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      answer.then(
        (value) => {
          if (!this.#isOver) resolve(value)
        },
        (error: unknown) => {
          if (!this.#isOver) reject(error)
        },
      )
    })
  }
}
