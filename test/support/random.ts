// Repeatable random numbers (mulberry32). Invariant: the same seed gives the same sequence on every runtime.

/** What fast-check's `Random` draws from. */
interface NumberSource {
  next(): number
  clone(): NumberSource
  getState(): readonly number[]
}

export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** 0 <= x < 1 */
  next(): number {
    return this.#nextU32() / 2 ** 32
  }

  /** 0..bound-1 */
  below(bound: number): number {
    return Math.floor(this.next() * bound)
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!
  }

  /** Returns an independent sequence, for a consumer that draws at times of its own. */
  fork(): Random {
    return new Random(this.below(2 ** 32))
  }

  shuffled<T>(items: readonly T[]): T[] {
    const left = [...items]
    return Array.from(items, () => left.splice(this.below(left.length), 1)[0]!)
  }

  /** This sequence as the source of fast-check's `Random`. */
  generator(): NumberSource {
    return {
      next: () => this.#nextU32() | 0,
      clone: () => new Random(this.#state).generator(),
      getState: () => [this.#state],
    }
  }

  #nextU32(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
}
