// One life of a process: what it is given of the world ends with it, between any two of its steps. Its timers do not
// ring and nobody answers it any more; what it has sent is on its way nevertheless.

import type { Clock } from '../../../core/ports/clock.ts'
import type { VirtualClock } from './clock.ts'

/** Wall clocks jump; monotonic ones never do. */
export interface Skew {
  wallMs: number
}

export class Life {
  readonly name: string
  readonly clock: Clock
  #isOver = false
  readonly #ends: (() => void)[] = []

  constructor(name: string, base: VirtualClock, skew: Skew) {
    this.name = name
    const living = (run: () => void) => () => {
      if (!this.#isOver) run()
    }
    this.clock = {
      now: () => base.now() + skew.wallMs,
      mono: () => base.mono(),
      after: (ms, run) => base.after(ms, living(run)),
      defer: (run) => base.defer(living(run)),
      random: () => base.random(),
      id: () => base.id(),
    }
  }

  get over(): boolean {
    return this.#isOver
  }

  onEnd(run: () => void): void {
    this.#ends.push(run)
  }

  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    for (const run of this.#ends) run()
  }

  /** The answer, if it comes while this life lasts. */
  hears<T>(answer: Promise<T>): Promise<T> {
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
