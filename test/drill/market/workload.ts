// A player of the market: sends deposits and transfers under its own ids, repeats each until it is answered, and checks
// every answer against the answers before it. Invariant: a purse has one client at a time, which alone takes gold out of it, so the purse
// never holds less than that client's last answer. Portable: the time comes only from the given clock.

import type { ClientClock } from '../../../client/socket.ts'
import { MAX_ENTRIES, MAX_GOLD } from '../../../examples/market/contract.ts'
import type { Random } from '../../support/random.ts'
import { Refused, Unanswered, type Command, type Input, type MarketConnection } from './connection.ts'
import type { Mix } from './mix.ts'
import type { RequestLog, Transaction } from './requestlog.ts'

export interface PlayerOptions {
  /** The owner of the purse. */
  readonly name: string
  /** Of its transaction ids; unique in the run. */
  readonly prefix: string
  /** Possible receivers of a transfer, players or not. */
  readonly recipients: readonly string[]
  readonly connection: MarketConnection
  readonly log: RequestLog
  readonly random: Random
  readonly clock: ClientClock
  readonly mix: Mix
  /** Mean pause after an answer. */
  readonly thinkMs: number
  /** Some deposits are so large that a purse becomes full. Default false. */
  readonly isRich?: boolean
  /** An old state of the purse can be read, as when an old disk returns while MySQL is unavailable. Default false. */
  readonly mayBeStale?: boolean
  /** MySQL rejects some rows. Default false. */
  readonly mayBeRejected?: boolean
  /** Receives each first acknowledgement at once. */
  readonly onAcknowledged?: (of: Transaction, atMs: number) => void
}

interface HistoryEntry {
  readonly id: string
  readonly kind: 'deposit' | 'sent' | 'received' | 'returned'
  readonly amount: number
  readonly gold: number
}

const MAX_AMOUNT = 100
/** Requests that the market refuses, each with its code. */
const INVALID: readonly (readonly [Command, Input, string])[] = [
  ['deposit', { amount: 0, id: 'zero' }, 'BAD_AMOUNT'],
  ['deposit', { amount: 1.5, id: 'half' }, 'BAD_AMOUNT'],
  ['deposit', { amount: MAX_GOLD + 1, id: 'much' }, 'BAD_AMOUNT'],
  ['deposit', { amount: 'x', id: 'text' }, 'BAD_AMOUNT'],
  ['deposit', { amount: 1, id: '' }, 'BAD_ID'],
  ['transfer', { amount: 1, id: 'nobody', to: '' }, 'BAD_RECEIVER'],
  ['transfer', { amount: -1, id: 'negative', to: 'p0' }, 'BAD_AMOUNT'],
  ['history', { limit: -1 }, 'BAD_LIMIT'],
]

export class MarketPlayer {
  readonly #options: PlayerOptions
  readonly #answered: Transaction[] = []
  #transactions = 0
  #isStopping = false
  #isAborted = false
  #isDone = false
  #pending = ''
  /** Lower bound of the gold in the purse; null = unknown. */
  #gold: number | null
  #last: Transaction | null = null
  /** `#last` is the newest own entry of the ledger: no burst, and no refused copy that can still be applied. */
  #isLastNewest = true
  #hasRefusal = false

  constructor(options: PlayerOptions) {
    this.#options = options
    this.#gold = options.mix.initialGold
  }

  get name(): string {
    return this.#options.name
  }

  /** The run has ended. */
  get isDone(): boolean {
    return this.#isDone
  }

  /** The request in progress; '' = none. */
  get pending(): string {
    return this.#pending
  }

  /** Ends the run once the request in progress is answered. */
  stop(): void {
    this.#isStopping = true
  }

  /** Ends the run now. */
  abort(): void {
    this.#isStopping = true
    this.#isAborted = true
    this.#options.connection.leave()
  }

  /** Breaks the connection. */
  cut(): void {
    this.#options.connection.breakConnection()
  }

  async run(): Promise<void> {
    const { random, thinkMs, connection } = this.#options
    while (!this.#isStopping) {
      await this.#step()
      if (thinkMs > 0) await this.#sleep(2 * thinkMs * random.next())
    }
    // The last server opens each purse once, wherever the purse was before.
    await this.#balance()
    connection.leave()
    this.#isDone = true
  }

  /** Sends a transaction until it is answered. Returns the gold after it; null = refused, or the player was aborted. */
  async request(of: Transaction): Promise<number | null> {
    const { log, clock, mayBeStale = false, onAcknowledged } = this.#options
    const { kind, id, to, amount } = of
    const input = kind === 'deposit' ? { amount, id } : { to, amount, id }
    const answer = await this.#request<{ gold: number }>(kind, input)
    if (answer === null) return null
    if (typeof answer === 'string') {
      of.isRefused = true
      this.#hasRefusal = true
      // An old disk that was not compared with MySQL yet holds an older purse: it can refuse, but it cannot commit.
      if (of.gold !== null && !mayBeStale)
        log.violations.add('repeated', `${id} was answered ${of.gold}, and when it was repeated ${answer}`)
      return null
    }
    const isFirst = of.gold === null
    log.acknowledge(of, answer.gold)
    if (isFirst) onAcknowledged?.(of, clock.mono())
    return answer.gold
  }

  /** Only this client takes gold out of the purse, so an answer is a lower bound until then, unless an old state can be read. */
  get #isGoldKnown(): boolean {
    return !this.#options.mayBeStale
  }

  async #step(): Promise<void> {
    const { random, connection, mix } = this.#options
    const draw = random.next()
    let bound = 0
    const isDrawn = (chance: number): boolean => draw < (bound += chance)
    if (isDrawn(mix.repeat)) await this.#repeat()
    else if (isDrawn(mix.balance)) await this.#balance()
    else if (isDrawn(mix.history)) await this.#history()
    else if (isDrawn(mix.invalid)) await this.#invalid()
    else if (isDrawn(mix.leave)) connection.leave()
    else if (isDrawn(mix.burst) && connection.width > 1) await this.#burst()
    else await this.#transact(this.#newTransaction())
  }

  #newTransaction(): Transaction {
    const { random, log, name, prefix, recipients, mix, isRich = false } = this.#options
    const gold = this.#gold ?? MAX_AMOUNT
    const isDeposit = gold === 0 || random.chance(mix.deposits)
    const maxDeposit = isRich && random.chance(0.3) ? MAX_GOLD / 2 : MAX_AMOUNT
    return log.begin({
      amount: 1 + random.below(isDeposit ? maxDeposit : Math.min(maxDeposit, gold)),
      id: `${prefix}-${++this.#transactions}`,
      player: name,
      kind: isDeposit ? 'deposit' : 'transfer',
      to: isDeposit ? '' : recipients[random.below(recipients.length)]!,
    })
  }

  async #transact(of: Transaction): Promise<void> {
    const { log, name, isRich = false, mayBeStale = false } = this.#options
    const before = this.#gold
    const gold = await this.request(of)
    if (gold !== null) return this.#acknowledged(of, gold)
    if (this.#isAborted) return
    const isValid = of.kind === 'transfer' ? before !== null && of.amount <= before : !isRich
    if (isValid && !mayBeStale)
      log.violations.add('refused', `${name}: ${of.id}, ${of.kind} ${of.amount} of ${before}, was refused`)
  }

  #acknowledged(of: Transaction, gold: number): void {
    const { log, random, mix } = this.#options
    const change = of.kind === 'deposit' ? of.amount : -of.amount
    if (this.#gold !== null && gold < this.#gold + change)
      log.violations.add('read', `${of.id}: ${gold} after ${this.#gold} and ${of.kind} ${of.amount}`)
    this.#gold = this.#isGoldKnown ? gold : null
    this.#last = of
    this.#isLastNewest = !this.#hasRefusal
    this.#answered.push(of)
    if (this.#answered.length > mix.maxOld) this.#answered.splice(random.below(mix.maxOld), 1)
  }

  /** Sends several transactions at once, some of them twice. The order in which they are applied is unknown. */
  async #burst(): Promise<void> {
    const { random, connection } = this.#options
    const count = 2 + random.below(connection.width - 1)
    const transactions = Array.from({ length: count }, () => this.#newTransaction())
    if (random.chance(0.5)) transactions.push(transactions[0]!)
    this.#gold = null
    this.#isLastNewest = false
    await Promise.all(transactions.map((of) => this.request(of)))
    this.#answered.push(...new Set(transactions.filter(({ gold }) => gold !== null)))
    await this.#balance()
  }

  async #repeat(): Promise<void> {
    const { random, log } = this.#options
    const of = this.#answered[random.below(this.#answered.length)]
    if (of && (await this.request(of)) !== null) log.repeats++
  }

  async #balance(): Promise<void> {
    const { log, name, mayBeStale = false } = this.#options
    const after = this.#last
    const answer = await this.#requestValid<{ gold: number }>('balance', {})
    if (!answer) return
    const { gold } = answer
    if (!mayBeStale) log.reads.push({ player: name, gold, after })
    if (!this.#isGoldKnown) return
    if (this.#gold !== null && gold < this.#gold)
      log.violations.add('read', `${name} has ${gold}, and had ${this.#gold} after ${this.#last?.id}`)
    this.#gold = gold
  }

  async #history(): Promise<void> {
    const { log, random, name } = this.#options
    const limit = 1 + random.below(MAX_ENTRIES)
    const answer = await this.#requestValid<{ entries: readonly HistoryEntry[] }>('history', { limit })
    if (!answer) return
    const { entries } = answer
    for (const [i, { id, kind, amount, gold }] of entries.entries()) {
      const before = entries[i + 1]?.gold
      if (before !== undefined && gold !== before + (kind === 'sent' ? -amount : amount))
        log.violations.add('read', `history of ${name}: ${before}, ${kind} ${amount} (${id}), then ${gold}`)
    }
    this.#checkNewest(entries, limit)
  }

  /** The newest own entry of a history is the last acknowledged transaction. */
  #checkNewest(entries: readonly HistoryEntry[], limit: number): void {
    const { log, name } = this.#options
    const last = this.#last
    if (!last || !this.#isLastNewest || !this.#isGoldKnown) return
    const newest = entries.find(({ kind }) => kind === 'deposit' || kind === 'sent')
    if (!newest && entries.length === limit) return
    if (newest?.id !== last.id || newest.gold !== last.gold)
      log.violations.add('read', `history of ${name} ends with ${newest?.id}, and not with ${last.id}`)
  }

  async #invalid(): Promise<void> {
    const { log, random, name } = this.#options
    const [command, input, code] = INVALID[random.below(INVALID.length)]!
    const answer = await this.#request<object>(command, input)
    if (answer !== code && answer !== null)
      log.violations.add(
        'refused',
        `${name}: ${command} ${JSON.stringify(input)} was answered ${JSON.stringify(answer)}, and not ${code}`,
      )
  }

  /** Sends a request that no rule refuses until it is answered. Returns null after an abort or a wrong refusal. */
  async #requestValid<Answer extends object>(command: Command, input: Input): Promise<Answer | null> {
    const answer = await this.#request<Answer>(command, input)
    if (typeof answer !== 'string') return answer
    const { log, name } = this.#options
    log.violations.add('refused', `${name}: ${command} was refused: ${answer}`)
    return null
  }

  /** Sends a request until it is answered. Returns the answer, or the code of its refusal; null = aborted. */
  async #request<Answer extends object>(command: Command, input: Input): Promise<Answer | string | null> {
    const { connection, log, random, clock, mix, name, mayBeRejected = false } = this.#options
    const what = `${command} ${JSON.stringify(input)}`
    this.#pending = what
    log.operations++
    while (!this.#isAborted) {
      const isCut = mix.cut > 0 && random.chance(mix.cut)
      const cut = isCut ? clock.after(random.below(mix.cutMs), () => this.cut()) : null
      try {
        const answer = await connection.request(command, input)
        this.#pending = ''
        return answer as Answer
      } catch (error) {
        if (error instanceof Refused) {
          this.#pending = ''
          return error.message
        }
        if (!(error instanceof Unanswered)) throw error
        log.error(error.message)
        if (error.message === 'REJECTED' && !mayBeRejected)
          log.violations.add('refused', `${name}: MySQL rejected ${what}`)
        await this.#sleep(mix.retryMs * (0.375 + 1.25 * random.next()))
      } finally {
        cut?.cancel()
      }
    }
    return null
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#options.clock.after(ms, resolve))
  }
}
