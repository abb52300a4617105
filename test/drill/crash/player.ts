// One player: always one request under way, asked again under the same id until it is answered. Every answer is held
// against those before it: only the player spends, so a purse never holds less than its last answer said.

import { setTimeout as sleep } from 'node:timers/promises'

import { MAX_ENTRIES } from '../../../examples/market/contract.ts'
import type { Books, Deed } from './books.ts'
import { Refused, Unanswered, type Line, type Request } from './line.ts'
import type { Random } from '../../support/random.ts'

interface Entry {
  readonly id: string
  readonly kind: 'deposit' | 'sent' | 'received' | 'returned'
  readonly amount: number
  readonly gold: number
}

const MAX_AMOUNT = 100
const REPEATS = 0.03
const BALANCES = 0.03
const HISTORIES = 0.01
const DEPOSITS = 0.35
/** Connections that break in the middle of a request. */
const CUTS = 0.003
const CUT_MS = 10
const AGAIN_MS = 40
/** Kept for repeats: the newest. */
const OLD = 500

export interface PlayerOptions {
  readonly name: string
  /** Everybody who can be sent something. */
  readonly others: readonly string[]
  readonly line: Line
  readonly books: Books
  readonly random: Random
  /** After an answer. */
  readonly thinkMs: number
  /** Ids are unique in the run. */
  readonly run: string
}

export class Player {
  readonly #options: PlayerOptions
  readonly #old: Deed[] = []
  #made = 0
  #stopping = false
  #aborted = false
  /** At least so much is in the purse. */
  #gold = 0
  #last: Deed | null = null
  /** What it waits for, '' = nothing. */
  waitsFor = ''

  constructor(options: PlayerOptions) {
    this.#options = options
  }

  /** Ends when the request in hand is answered. */
  stop(): void {
    this.#stopping = true
  }

  /** Ends now. */
  abort(): void {
    this.#stopping = true
    this.#aborted = true
    this.#options.line.close()
  }

  async run(): Promise<void> {
    const { random, thinkMs, line } = this.#options
    while (!this.#stopping) {
      const dice = random.next()
      if (dice < REPEATS) await this.#repeat()
      else if (dice < REPEATS + BALANCES) await this.#balance()
      else if (dice < REPEATS + BALANCES + HISTORIES) await this.#history()
      else await this.#act()
      if (thinkMs > 0) await sleep(2 * thinkMs * random.next())
    }
    // So that each purse has been opened by the last server, wherever it was before.
    await this.#balance()
    line.close()
  }

  async #act(): Promise<void> {
    const { random, books, name, others, run } = this.#options
    const deposits = this.#gold === 0 || random.chance(DEPOSITS)
    const most = deposits ? MAX_AMOUNT : Math.min(MAX_AMOUNT, this.#gold)
    const deed: Deed = {
      id: `${run}-${name}-${++this.#made}`,
      player: name,
      kind: deposits ? 'deposit' : 'transfer',
      to: deposits ? '' : others[random.below(others.length)]!,
      amount: 1 + random.below(most),
      gold: null,
    }
    books.deeds.set(deed.id, deed)
    const gold = await this.#ask(deed)
    if (gold === null) return
    books.acknowledge(deed, gold)
    this.#gold = gold
    this.#last = deed
    if (this.#old.length < OLD) this.#old.push(deed)
    else this.#old[random.below(OLD)] = deed
  }

  /** Asks for a deed until it is answered; null = refused, which is a fault. */
  async #ask({ kind, id, to, amount }: Deed): Promise<number | null> {
    const input = kind === 'deposit' ? { amount, id } : { to, amount, id }
    const answer = (await this.#answer(kind, input)) as { gold: number } | null
    return answer?.gold ?? null
  }

  async #repeat(): Promise<void> {
    const { books, random } = this.#options
    const deed = this.#old[random.below(this.#old.length)]
    if (!deed) return
    const gold = await this.#ask(deed)
    if (gold === null) return
    books.repeats++
    if (gold !== deed.gold)
      books.fault('repeated', `${deed.id} was answered ${deed.gold}, and when it was repeated ${gold}`)
  }

  async #balance(): Promise<void> {
    const { books, name } = this.#options
    const answer = (await this.#answer('balance', {})) as { gold: number } | null
    if (!answer) return
    books.reads++
    const { gold } = answer
    if (gold < this.#gold)
      books.fault('read', `${name} has ${gold}, and had ${this.#gold} after ${this.#last?.id}`)
    this.#gold = gold
  }

  async #history(): Promise<void> {
    const { books, random, name } = this.#options
    const limit = 1 + random.below(MAX_ENTRIES)
    const answer = (await this.#answer('history', { limit })) as { entries: readonly Entry[] } | null
    if (!answer) return
    books.reads++
    const { entries } = answer
    for (const [i, { id, kind, amount, gold }] of entries.entries()) {
      const before = entries[i + 1]?.gold
      if (before !== undefined && gold !== before + (kind === 'sent' ? -amount : amount))
        books.fault('read', `history of ${name}: ${before}, then ${kind} ${amount} (${id}) makes ${gold}`)
    }
    const last = this.#last
    if (!last) return
    const found = entries.find(({ kind }) => kind === 'deposit' || kind === 'sent')
    if (!found && entries.length === limit) return
    if (found?.id !== last.id || found.gold !== last.gold)
      books.fault('read', `history of ${name} does not have ${last.id} as its last deed, but ${found?.id}`)
  }

  /** null = refused. */
  async #answer(request: Request, input: Readonly<Record<string, unknown>>): Promise<unknown> {
    const { line, books, name, random } = this.#options
    this.waitsFor = `${request} ${JSON.stringify(input)}`
    while (!this.#aborted) {
      const cut = random.chance(CUTS) ? setTimeout(() => line.cut(), random.below(CUT_MS)) : undefined
      try {
        const answer = await line.ask(request, input)
        this.waitsFor = ''
        return answer
      } catch (error) {
        if (error instanceof Refused) {
          this.waitsFor = ''
          books.fault('refused', `${name}: ${request} ${JSON.stringify(input)} was refused: ${error.message}`)
          return null
        }
        if (!(error instanceof Unanswered)) throw error
        books.error(error.message)
        if (error.message === 'REJECTED')
          books.fault('refused', `${name}: MySQL rejected ${request} ${JSON.stringify(input)}`)
        await sleep(AGAIN_MS * (0.5 + random.next()))
      } finally {
        clearTimeout(cut)
      }
    }
    return null
  }
}
