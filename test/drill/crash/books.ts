// What the players of a drill asked for and were answered, and whatever was found wrong. Invariant: an answer stands
// here before its player goes on, so that what the server may have lost cannot be lost here as well.

/** One request that changes gold, under an id of its own. */
export interface Deed {
  readonly id: string
  readonly player: string
  readonly kind: 'deposit' | 'transfer'
  /** '' of a deposit. */
  readonly to: string
  readonly amount: number
  /** What was answered first: the purse after it. null = it was not answered yet. */
  gold: number | null
}

/** What may be wrong, one word for each check. */
export type Fault =
  | 'lost' // acknowledged, and nowhere
  | 'doubled' // it happened twice
  | 'wrong' // it happened, but not as it was acknowledged
  | 'strange' // nobody asked for it
  | 'refused' // a sane request was refused
  | 'repeated' // a request that was made again did not get its first answer
  | 'read' // balance or history contradict an answer
  | 'ledger' // numbers with gaps, sums that do not add up, gold out of bounds
  | 'transfer' // received and returned are not what was sent
  | 'total' // gold in MySQL is not what was deposited
  | 'mysql' // MySQL and the slot files differ
  | 'parked' // MySQL refused rows
  | 'unsettled' // casts without an end
  | 'zombie' // a dead server's batch was not shut out
  | 'point' // a kill point was never reached
  | 'server' // a server ended by itself
  | 'stuck' // requests are answered no more

const SHOWN = 5

export class Books {
  readonly deeds = new Map<string, Deed>()
  acked = 0
  /** Old requests that were made again. */
  repeats = 0
  reads = 0
  /** Errors that are no acknowledgement, by code. */
  readonly errors = new Map<string, number>()
  readonly #faults = new Map<Fault, { count: number; readonly first: string[] }>()

  acknowledge(deed: Deed, gold: number): void {
    deed.gold = gold
    this.acked++
  }

  error(code: string): void {
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1)
  }

  fault(fault: Fault, what: string): void {
    const known = this.#faults.get(fault) ?? { count: 0, first: [] }
    this.#faults.set(fault, known)
    if (known.count++ < SHOWN) known.first.push(what)
  }

  count(fault: Fault): number {
    return this.#faults.get(fault)?.count ?? 0
  }

  get faults(): readonly Fault[] {
    return [...this.#faults.keys()]
  }

  /** One line for each kind of fault, with the first few. */
  report(): string[] {
    return [...this.#faults].map(([fault, { count, first }]) => {
      const more = count > first.length ? `; and ${count - first.length} more` : ''
      return `${fault}: ${first.join('; ')}${more}`
    })
  }
}
