// What the players of a drill requested and which answers they received. Portable. Invariant: an answer is recorded
// before its player continues, so a request that the checker misses was lost by the server and not by the drill.

import { Violations } from '../violations.ts'

/** One request that changes gold. A repeated request has the same id. */
export interface Transaction {
  readonly id: string
  readonly player: string
  readonly kind: 'deposit' | 'transfer'
  /** The receiver; '' for a deposit. */
  readonly to: string
  readonly amount: number
  /** The purse after it, in the first answer that the client received; null = not answered. */
  gold: number | null
  /** The same in the first answer that a server sent, received or not; only the simulation records it. */
  sentGold: number | null
  /** The last answer was a refusal by a rule of the market. */
  isRefused: boolean
}

/** A balance that a player read. */
export interface Read {
  readonly player: string
  readonly gold: number
  /** The last transaction that was acknowledged before the request; null = none. */
  readonly after: Transaction | null
}

export type ViolationKind =
  | 'lost' // an acknowledged transaction is not stored
  | 'doubled' // a transaction was applied twice
  | 'wrong' // a transaction was applied with other values than those acknowledged
  | 'strange' // stored, but never requested
  | 'refused' // a valid request was refused, or an invalid one was not
  | 'repeated' // a repeated request got another answer
  | 'read' // a balance or a history that contradicts earlier answers or the ledger
  | 'ledger' // numbers with gaps, wrong sums, gold out of bounds
  | 'transfer' // received plus returned gold is not the gold that was sent
  | 'conserved' // the gold of all purses is not the deposits of all ledgers
  | 'total' // the gold in MySQL is not the gold of the acknowledged deposits
  | 'mysql' // MySQL and the local store differ
  | 'parked' // MySQL refused rows
  | 'unsettled' // durable casts or flushes that never ended
  | 'zombie' // a batch of a dead server was not fenced
  | 'order' // replies of a channel out of order, or two replies for one call
  | 'mark' // a call or a cast was committed twice
  | 'early' // an answer was sent before its commit
  | 'hang' // a call that never ended
  | 'stuck' // requests are no longer answered
  | 'point' // a fault point was not reached
  | 'server' // a server ended by itself
  | 'bug' // an unexpected error was thrown
  | 'platform' // code under simulation used real time or real randomness

export class RequestLog {
  readonly transactions = new Map<string, Transaction>()
  readonly reads: Read[] = []
  readonly violations: Violations<ViolationKind>
  /** Errors that acknowledge nothing, by code. */
  readonly errors = new Map<string, number>()
  /** Acknowledged transactions. */
  acked = 0
  /** Acknowledged transactions that were requested again and answered again. */
  repeats = 0
  /** Requests of any kind, repeats after an error not counted. */
  operations = 0
  /** Set when players were stopped with requests unanswered: these requests may be neither applied nor refused. */
  isAborted = false

  /** @param onFirst called once, with the first violation of the run */
  constructor(onFirst?: (kind: ViolationKind, what: string) => void) {
    this.violations = new Violations(5, onFirst)
  }

  /** Records a new transaction, before its first request is sent. */
  begin(request: Pick<Transaction, 'id' | 'player' | 'kind' | 'to' | 'amount'>): Transaction {
    const { id, player, kind, to, amount } = request
    const transaction = { id, player, kind, to, amount, gold: null, sentGold: null, isRefused: false }
    this.transactions.set(id, transaction)
    return transaction
  }

  /** A server sends an answer, whether the client receives it or not. */
  answerSent(of: Transaction, gold: number): void {
    of.sentGold ??= gold
    if (of.sentGold !== gold)
      this.violations.add('repeated', `a server answered ${of.id} with ${gold}, after it answered ${of.sentGold}`)
  }

  /** The client received an answer. */
  acknowledge(of: Transaction, gold: number): void {
    if (of.gold === null) this.acked++
    of.gold ??= gold
    if (of.gold !== gold)
      this.violations.add('repeated', `${of.id} was answered ${of.gold}, and when it was repeated ${gold}`)
  }

  error(code: string): void {
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1)
  }
}
