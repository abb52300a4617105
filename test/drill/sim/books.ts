// What the players of a run asked for and were answered, what was met on the way, and the first thing that was wrong:
// with it the run ends, so that its trace ends there too.

import type { FaultName } from './profile.ts'

/** One request that changes gold, under an id of its own. */
export interface Deed {
  readonly id: string
  readonly player: string
  readonly kind: 'deposit' | 'transfer'
  /** '' of a deposit. */
  readonly to: string
  readonly amount: number
  /** What a server first said: the purse after it. null = nothing yet. */
  given: number | null
  /** What its player first heard. */
  gold: number | null
  /** A rule of the market refused it, the last time. */
  refused: boolean
}

/** A balance that a player read. */
export interface Read {
  readonly player: string
  readonly gold: number
  /** Its last deed that was acknowledged before it asked; null = none. */
  readonly after: Deed | null
}

/** What may be wrong. */
export type Invariant =
  | 'lost' // acknowledged, and not where its class says
  | 'doubled' // it happened twice
  | 'wrong' // it happened, but not as it was acknowledged
  | 'strange' // nobody asked for it
  | 'repeated' // a repeated id did not get its first answer
  | 'refused' // a sane request was refused
  | 'read' // a balance or a history that never was
  | 'ledger' // numbers with gaps, sums that do not add up, gold out of bounds
  | 'conserved' // gold came from nowhere or went there
  | 'order' // answers of a channel out of order, or twice
  | 'mark' // a call or a cast was committed twice
  | 'early' // an answer left before its commit
  | 'hang' // a call without an end, or work that does not come to rest
  | 'mysql' // MySQL and the local store differ
  | 'parked' // MySQL refused what it should have taken
  | 'zombie' // a batch was applied that its fence should have kept out
  | 'bug' // something threw that should not
  | 'platform' // the real world was asked for time or chance

export interface Broken {
  readonly invariant: Invariant
  readonly what: string
  readonly atMs: number
}

export class Books {
  readonly deeds = new Map<string, Deed>()
  readonly reads: Read[] = []
  readonly faults = new Map<FaultName, number>()
  operations = 0
  acked = 0
  crashes = 0
  broken: Broken | null = null
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  break(invariant: Invariant, what: string): void {
    this.broken ??= { invariant, what, atMs: this.#now() }
  }

  met(fault: FaultName, times = 1): void {
    this.faults.set(fault, (this.faults.get(fault) ?? 0) + times)
  }

  /** A server gives this answer, whether it arrives or not. */
  give(deed: Deed, gold: number): void {
    deed.given ??= gold
    if (deed.given !== gold)
      this.break('repeated', `${deed.id} is answered ${gold}, and was answered ${deed.given} before`)
  }

  /** Its player has the answer. */
  acknowledge(deed: Deed, gold: number): void {
    if (deed.gold === null) this.acked++
    deed.gold ??= gold
    if (deed.gold !== gold)
      this.break('repeated', `${deed.id} was answered ${deed.gold}, and when it was repeated ${gold}`)
  }
}
