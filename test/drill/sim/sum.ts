// What all seeds of a drill come to.

import { isWrong, type Verdict } from './verdict.ts'

export class Sum {
  readonly #startedMs = performance.now()
  readonly #faults = new Map<string, number>()
  readonly #invariants = new Map<string, number>()
  #seeds = 0
  #virtualMs = 0
  #operations = 0
  #acked = 0
  #crashes = 0
  #broken = 0
  #unequal = 0
  wrong = 0

  add(verdict: Verdict): void {
    const { virtualMs, operations, acked, crashes, faults, broken, isEqual } = verdict
    this.#seeds++
    this.#virtualMs += virtualMs
    this.#operations += operations
    this.#acked += acked
    this.#crashes += crashes
    for (const [name, times] of faults) this.#faults.set(name, (this.#faults.get(name) ?? 0) + times)
    if (broken) {
      this.#broken++
      this.#invariants.set(broken.invariant, (this.#invariants.get(broken.invariant) ?? 0) + 1)
    }
    if (!isEqual) this.#unequal++
    if (isWrong(verdict)) this.wrong++
  }

  progress(of: number): string {
    const wrong = [...this.#invariants].map(([name, times]) => `${name} ${times}`).join(', ')
    return `${this.#seeds} of ${of} seeds, ${this.#acked} acknowledged, ${this.#crashes} crashes${wrong && `, BROKEN: ${wrong}`}`
  }

  figure(): object {
    return {
      drill: 'sim',
      seeds: this.#seeds,
      virtualSeconds: Math.round(this.#virtualMs / 1_000),
      operations: this.#operations,
      acked: this.#acked,
      crashes: this.#crashes,
      faults: Object.fromEntries([...this.#faults].sort(([a], [b]) => (a < b ? -1 : 1))),
      broken: this.#broken,
      ...(this.#broken > 0 ? { invariants: Object.fromEntries(this.#invariants) } : {}),
      unequalHashes: this.#unequal,
      seconds: Math.round((performance.now() - this.#startedMs) / 100) / 10,
    }
  }
}
