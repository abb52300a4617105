// What the drill counts: cases by kind, answers by code, and findings, everything that must not happen. Invariant: the
// memory is bounded, however often something happens.

import type { Case } from './arbitraries/cases.ts'

/** Something that must not happen, and the cases that were in progress when it was reported. */
export interface Finding {
  readonly what: string
  /** The first of them. */
  readonly cases: readonly number[]
  count: number
}

/** Findings that are listed. The others are not even counted. */
const MAX_FINDINGS = 50
const MAX_CASES = 24
const MAX_CHARACTERS = 500

export class Findings {
  /** Cases that have ended. */
  ended = 0
  /** Cases that pass the frame headers as a whole. */
  framed = 0
  reachedShard = 0
  readonly kinds = new Map<string, number>()
  readonly answers = new Map<string, number>()
  readonly warnings = new Map<string, number>()
  readonly #findings = new Map<string, Finding>()
  readonly #candidates = new Map<Finding, readonly number[]>()
  readonly #reached: Uint8Array

  readonly #onNew: (line: string) => void

  /** `cases`: above the number of every case. `onNew`: gets each new finding. */
  constructor(cases: number, onNew: (line: string) => void = () => {}) {
    this.#reached = new Uint8Array(cases)
    this.#onNew = onNew
  }

  get list(): readonly Finding[] {
    return [...this.#findings.values()]
  }

  get total(): number {
    return this.list.reduce((sum, { count }) => sum + count, 0)
  }

  /** All cases that may have caused the finding. */
  candidates(finding: Finding): readonly number[] {
    return this.#candidates.get(finding) ?? []
  }

  caseEnded({ kind, on, isComplete }: Case): void {
    this.ended++
    if (isComplete) this.framed++
    increment(this.kinds, `${on} ${kind}`)
  }

  answer(code: string): void {
    increment(this.answers, code)
  }

  warning(what: string): void {
    increment(this.warnings, what.slice(0, MAX_CHARACTERS))
  }

  /** A shard has answered a call of this case. */
  shardReached(number: number): void {
    // A mutated channel may name a case that does not exist.
    if (this.#reached[number] !== 0) return
    this.#reached[number] = 1
    this.reachedShard++
  }

  add(what: string, cases: readonly Pick<Case, 'number'>[]): void {
    const text = what.slice(0, MAX_CHARACTERS)
    // The same finding with another shard or number is the same.
    const name = text.replaceAll(/[0-9a-f]{8,}|\d+/g, '#')
    const known = this.#findings.get(name)
    if (known) known.count++
    else if (this.#findings.size < MAX_FINDINGS) {
      const numbers = cases.map(({ number }) => number)
      const finding = { what: text, cases: numbers.slice(0, MAX_CASES), count: 1 }
      this.#findings.set(name, finding)
      this.#candidates.set(finding, numbers)
      this.#onNew(`finding: ${text}\n  cases ${finding.cases.join(' ')}`)
    }
  }
}

function increment(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1)
}
