// Which calls of one channel have begun, and which are committed. Invariant: a call at or below the mark never begins again.

/** `committed`: begun earlier, so its answer or the mark is sent again. `ignored`: not answered now. */
export type CallBeginning = 'begun' | 'committed' | 'ignored'

export class CallMark {
  #begun = 0
  #committed = 0
  /** The highest call that did not run because a later one had begun, which has not ended; 0 = none. */
  #overtaken = 0
  #isRefused = false

  /** The highest call that has begun. */
  get begun(): number {
    return this.#begun
  }
  /** The highest call that is committed and whose effects have left. */
  get committed(): number {
    return this.#committed
  }

  /** Raises the mark to a new call. */
  begin(sequence: number): CallBeginning {
    if (this.#isRefused) return 'ignored'
    if (sequence > this.#begun) {
      this.#begun = sequence
      return 'begun'
    }
    if (sequence <= this.#committed) return 'committed'
    if (sequence > this.#overtaken) this.#overtaken = sequence
    return 'ignored'
  }

  commit(sequence: number): void {
    if (sequence > this.#committed) this.#committed = sequence
  }

  /** Returns true once, when all calls that later ones have overtaken are committed. */
  takeOvertaken(): boolean {
    if (this.#overtaken === 0 || this.#overtaken > this.#committed) return false
    this.#overtaken = 0
    return true
  }

  /** No call begins from now on. */
  refuse(): void {
    this.#isRefused = true
  }

  /** Another activation starts at what was committed before it. */
  restart(mark: number): void {
    this.#begun = this.#committed = mark
    this.#overtaken = 0
  }
}
