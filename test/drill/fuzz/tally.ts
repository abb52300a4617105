// What the drill has counted: cases by what was done to them, answers by code, and everything that must not be.

import type { Case } from './cases.ts'
import type { Finding } from './child.ts'

/** Kinds of findings that are told in full; more of the same are counted. */
const MAX_FINDINGS = 50
const MAX_CASES = 24
const MAX_CHARACTERS = 500

export class Tally {
  ended = 0
  /** All of it passed the frame headers. */
  framed = 0
  readonly kinds = new Map<string, number>()
  readonly answers = new Map<string, number>()
  readonly warnings = new Map<string, number>()
  readonly findings = new Map<string, Finding>()
  readonly #reached: Uint8Array
  #reachedCount = 0

  constructor(cases: number) {
    this.#reached = new Uint8Array(cases)
  }

  get reachedShard(): number {
    return this.#reachedCount
  }

  /** Findings of all kinds, each as often as it came. */
  get faults(): number {
    let sum = 0
    for (const { count } of this.findings.values()) sum += count
    return sum
  }

  case({ kind, on, isWhole }: Case): void {
    this.ended++
    if (isWhole) this.framed++
    add(this.kinds, `${on} ${kind}`)
  }

  answer(code: string): void {
    add(this.answers, code)
  }

  warning(what: string): void {
    add(this.warnings, what.slice(0, MAX_CHARACTERS))
  }

  /** A shard judged a call of this case. */
  reached(number: number): void {
    // A mutated channel may name any.
    if (this.#reached[number] !== 0) return
    this.#reached[number] = 1
    this.#reachedCount++
  }

  fault(what: string, cases: readonly Pick<Case, 'number'>[]): void {
    const cut = what.slice(0, MAX_CHARACTERS)
    // The same fault of another shard or number is the same.
    const name = cut.replaceAll(/[0-9a-f]{8,}|\d+/g, '#')
    const known = this.findings.get(name)
    if (known) known.count++
    else if (this.findings.size < MAX_FINDINGS) {
      const numbers = cases.slice(0, MAX_CASES).map(({ number }) => number)
      this.findings.set(name, { what: cut, cases: numbers, count: 1 })
      console.error(`found: ${cut}\n  cases ${numbers.join(' ')}`)
    }
  }
}

function add(map: Map<string, number>, name: string): void {
  map.set(name, (map.get(name) ?? 0) + 1)
}
