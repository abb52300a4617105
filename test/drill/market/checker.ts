// The final check of a market drill: every acknowledged transaction is stored exactly once with its answer, ledgers
// add up, and no gold appears or disappears. Portable. Invariant: it only reads the sources and adds violations to
// the log.

import { MAX_GOLD } from '../../../examples/market/contract.ts'
import type { Read, RequestLog, Transaction, ViolationKind } from './requestlog.ts'

export interface Purse {
  readonly player: string
  readonly gold: number
  readonly pending: number
  readonly entries: number
}

export interface LedgerEntry {
  readonly n: number
  readonly cause: string
  readonly id: string
  readonly kind: string
  readonly amount: number
  readonly gold: number
}

/** A place that stores purses and ledgers: MySQL, slot files, objects, disks of the simulation. */
export interface LedgerSource {
  readonly name: string
  purses(): Promise<readonly Purse[]>
  /** Ordered by `n`. */
  ledger(player: string): Promise<readonly LedgerEntry[]>
  /** false: this source never loaded the player, whose rows are in MySQL only. Default: true. */
  holds?(player: string): boolean
}

/** Ids of transactions. */
export interface SourceCheck {
  readonly lost: Set<string>
  readonly doubled: Set<string>
}

interface TransferOutcome {
  received: number
  returned: number
}

const PURSE_COLUMNS = ['player', 'gold', 'pending', 'entries']
const ENTRY_COLUMNS = ['n', 'cause', 'id', 'kind', 'amount', 'gold']

/** Checks one source by itself against the log. */
export function checkSource(log: RequestLog, source: LedgerSource): Promise<SourceCheck> {
  return new SourceChecker(log, source).check()
}

/** Adds a violation for each difference between a local store and MySQL. Returns true when they are equal. */
export async function compareSources(log: RequestLog, store: LedgerSource, mysql: LedgerSource): Promise<boolean> {
  const found = await differences(log, store, mysql)
  for (const what of found) log.violations.add('mysql', what)
  return found.length === 0
}

/** The differences between a local store and MySQL, in words; no violation is added. */
export async function differences(log: RequestLog, store: LedgerSource, mysql: LedgerSource): Promise<string[]> {
  const found: string[] = []
  const [here, there] = [byPlayer(await store.purses()), byPlayer(await mysql.purses())]
  for (const player of new Set([...here.keys(), ...there.keys(), ...playersOf(log)])) {
    if (!here.has(player) && !(store.holds?.(player) ?? true)) continue
    const purses = [here.get(player), there.get(player)] as const
    if (textOf(purses[0], PURSE_COLUMNS) !== textOf(purses[1], PURSE_COLUMNS))
      found.push(`${store.name}: ${textOf(purses[0])}, ${mysql.name}: ${textOf(purses[1])}`)
    const entries = [await store.ledger(player), await mysql.ledger(player)] as const
    const length = Math.max(entries[0].length, entries[1].length)
    for (let n = 0; n < length; n++) {
      const [a, b] = [entries[0][n], entries[1][n]]
      if (textOf(a, ENTRY_COLUMNS) === textOf(b, ENTRY_COLUMNS)) continue
      found.push(`entry ${n} of ${player} in ${store.name}: ${textOf(a)}, in ${mysql.name}: ${textOf(b)}`)
      break
    }
  }
  return found
}

/** Compares the gold of all purses with what was deposited. */
export async function checkTotals(
  log: RequestLog,
  mysql: LedgerSource,
): Promise<{ goldExpected: number; goldFound: number }> {
  const purses = await mysql.purses()
  const transactions = [...log.transactions.values()]
  const goldExpected = sum(transactions.map(acknowledgedDeposit))
  const goldFound = sum(purses.map(({ gold }) => gold))
  let deposited = 0
  for (const { player } of purses)
    for (const { kind, amount } of await mysql.ledger(player)) if (kind === 'deposit') deposited += amount
  if (goldFound !== deposited)
    log.violations.add('conserved', `the purses hold ${goldFound} gold, the ledgers list deposits of ${deposited}`)
  // An earlier copy of a refused request may still have been applied.
  const isCertain = !transactions.some(({ isRefused, gold }) => isRefused && gold === null)
  if (isCertain && goldFound !== goldExpected)
    log.violations.add('total', `${mysql.name} has ${goldFound} gold, deposits of ${goldExpected} were acknowledged`)
  return { goldExpected, goldFound }
}

class SourceChecker {
  readonly #log: RequestLog
  readonly #source: LedgerSource
  readonly #lost = new Set<string>()
  readonly #doubled = new Set<string>()
  /** Transactions with an entry in the ledger of their player. */
  readonly #applied = new Set<string>()
  readonly #transfers = new Map<string, TransferOutcome>()
  readonly #reads: Map<string, Read[]>

  constructor(log: RequestLog, source: LedgerSource) {
    this.#log = log
    this.#source = source
    this.#reads = Map.groupBy(log.reads, ({ player }) => player)
  }

  async check(): Promise<SourceCheck> {
    const purses = byPlayer(await this.#source.purses())
    const players = playersOf(this.#log)
    for (const player of purses.keys()) if (!players.has(player)) this.#add('strange', `a purse of ${player}`)
    for (const player of players) {
      if (!purses.has(player) && !this.#holds(player)) continue
      const ledger = await this.#source.ledger(player)
      this.#checkLedger(player, purses.get(player), ledger)
      this.#checkEntries(player, ledger)
      for (const read of this.#reads.get(player) ?? []) this.#checkRead(read, ledger)
    }
    for (const transaction of this.#log.transactions.values()) this.#checkTransaction(transaction)
    return { lost: this.#lost, doubled: this.#doubled }
  }

  /** Numbers without gaps, sums, bounds, and the purse equal to the end of its ledger. */
  #checkLedger(player: string, purse: Purse | undefined, ledger: readonly LedgerEntry[]): void {
    const wrong = (what: string): void => this.#add('ledger', `${player}: ${what}`)
    let sumOfGold = 0
    for (const [i, { n, kind, amount, gold }] of ledger.entries()) {
      sumOfGold += kind === 'sent' ? -amount : amount
      if (n !== i) return wrong(`entry ${i} has number ${n}`)
      if (gold !== sumOfGold) return wrong(`entry ${i} has gold ${gold}, the sum is ${sumOfGold}`)
      if (gold < 0 || gold > MAX_GOLD) return wrong(`after entry ${i} the purse holds ${gold} of 0..${MAX_GOLD}`)
    }
    if (!purse) return ledger.length === 0 ? undefined : wrong('a ledger without a purse')
    if (ledger.length === 0) return wrong('a purse without a ledger')
    if (purse.gold !== sumOfGold) wrong(`the purse holds ${purse.gold}, the ledger ends with ${sumOfGold}`)
    if (purse.entries !== ledger.length)
      wrong(`the purse counts ${purse.entries} entries, the ledger has ${ledger.length}`)
    if (purse.pending !== 0) wrong(`${purse.pending} gold is pending`)
  }

  /** Each entry belongs to a transaction that was requested, and occurs once. */
  #checkEntries(player: string, ledger: readonly LedgerEntry[]): void {
    const causes = new Set<string>()
    for (const entry of ledger) {
      const { cause, id, kind, amount } = entry
      if (causes.has(cause)) {
        this.#doubled.add(id)
        this.#add('doubled', `${cause} of ${player}`)
      }
      causes.add(cause)
      const transaction = this.#log.transactions.get(id)
      if (!transaction) this.#add('strange', `${player} has ${cause}, which was never requested`)
      else if (kind === 'deposit' || kind === 'sent') this.#checkOwnEntry(player, entry, transaction)
      else {
        const outcome = this.#transfers.get(id) ?? { received: 0, returned: 0 }
        this.#transfers.set(id, outcome)
        const isReceived = kind === 'received'
        outcome[isReceived ? 'received' : 'returned'] += amount
        const owner = isReceived ? transaction.to : transaction.player
        if (player !== owner) this.#add('transfer', `${id} was ${kind} by ${player}, not by ${owner}`)
      }
    }
  }

  /** The entry has the values that were requested and acknowledged. */
  #checkOwnEntry(player: string, { kind, amount, gold }: LedgerEntry, transaction: Transaction): void {
    this.#applied.add(transaction.id)
    const expected = transaction.kind === 'deposit' ? 'deposit' : 'sent'
    const answer = answerOf(transaction)
    const isSame = player === transaction.player && kind === expected && amount === transaction.amount
    if (isSame && (answer === null || gold === answer)) return
    this.#add(
      'wrong',
      `${transaction.id} is stored as ${kind} ${amount} with gold ${gold} of ${player}; ` +
        `acknowledged was ${expected} ${transaction.amount} with gold ${answer} of ${transaction.player}`,
    )
  }

  #checkTransaction(transaction: Transaction): void {
    const { id, player, to, kind, amount, isRefused } = transaction
    if (!this.#applied.has(id)) {
      if (!this.#holds(player)) return
      const answer = answerOf(transaction)
      if (answer !== null) {
        this.#lost.add(id)
        this.#add('lost', `${id} (${kind} ${amount}, answered ${answer}) is not stored`)
      } else if (!isRefused && !this.#log.isAborted) this.#add('hang', `${id} was neither answered nor refused`)
    } else if (kind === 'transfer' && this.#holds(player) && this.#holds(to)) {
      const { received, returned } = this.#transfers.get(id) ?? { received: 0, returned: 0 }
      if (received + returned !== amount)
        this.#add('transfer', `${id} sent ${amount}, of which ${received} were received and ${returned} returned`)
    }
  }

  /** A balance must have existed at or after the last transaction that was acknowledged before the request. */
  #checkRead({ player, gold, after }: Read, ledger: readonly LedgerEntry[]): void {
    const from = after ? ledger.findIndex(({ cause }) => cause === `own:${after.id}`) : -1
    if ((gold === 0 && from < 0) || ledger.some((entry, i) => i >= from && entry.gold === gold)) return
    this.#add('read', `${player} read ${gold} after ${after?.id ?? 'no transaction'}`)
  }

  #holds(player: string): boolean {
    return this.#source.holds?.(player) ?? true
  }

  #add(kind: ViolationKind, what: string): void {
    this.#log.violations.add(kind, `${what}, in ${this.#source.name}`)
  }
}

/** All players who requested or could receive something. */
function playersOf(log: RequestLog): Set<string> {
  const transactions = [...log.transactions.values()]
  return new Set(transactions.flatMap(({ player, to }) => (to === '' ? player : [player, to])))
}

function byPlayer(purses: readonly Purse[]): Map<string, Purse> {
  return new Map(purses.map((purse) => [purse.player, purse]))
}

function answerOf({ gold, sentGold }: Transaction): number | null {
  return gold ?? sentGold
}

function acknowledgedDeposit({ kind, gold, amount }: Transaction): number {
  return kind === 'deposit' && gold !== null ? amount : 0
}

/** Comparable text: sources may name the columns in another order. */
function textOf(row: Purse | LedgerEntry | undefined, columns?: string[]): string {
  return row ? JSON.stringify(row, columns) : 'nothing'
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
