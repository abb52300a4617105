// One player: asks under ids of its own, again and again until it is answered, and holds every answer against those
// before it.

import { MAX_ENTRIES, MAX_GOLD } from '../../../examples/market/contract.ts'
import type { Random } from '../../support/random.ts'
import type { Books, Deed } from './books.ts'
import type { VirtualClock } from './clock.ts'
import { Refused, Unanswered, type Input, type Line, type Request } from './line.ts'

interface Entry {
  readonly id: string
  readonly kind: 'deposit' | 'sent' | 'received' | 'returned'
  readonly amount: number
  readonly gold: number
}

export interface PlayerOptions {
  /** Whose purse it is. */
  readonly name: string
  /** Of its ids. */
  readonly prefix: string
  /** false: a second client of the same purse, which never takes anything out of it. */
  readonly spends: boolean
  /** Deeds that are answered, of all clients of the purse. */
  readonly old: Deed[]
  /** Who can be sent something, players or not. */
  readonly others: readonly string[]
  readonly line: Line
  readonly clock: VirtualClock
  readonly books: Books
  readonly random: Random
  readonly thinkMs: number
  readonly rich: boolean
  /** While MySQL is away a disk that comes back is read as it is, however old. */
  readonly mayBeStale: boolean
}

const AGAIN_MS = 300
const MAX_AMOUNT = 100
/** What the market refuses, each with what it says. */
const NONSENSE: readonly (readonly [Request, Input, string])[] = [
  ['deposit', { amount: 0, id: 'zero' }, 'BAD_AMOUNT'],
  ['deposit', { amount: 1.5, id: 'half' }, 'BAD_AMOUNT'],
  ['deposit', { amount: MAX_GOLD + 1, id: 'much' }, 'BAD_AMOUNT'],
  ['deposit', { amount: 'x', id: 'text' }, 'BAD_AMOUNT'],
  ['deposit', { amount: 1, id: '' }, 'BAD_ID'],
  ['transfer', { amount: 1, id: 'nobody', to: '' }, 'BAD_RECEIVER'],
  ['transfer', { amount: -1, id: 'negative', to: 'p0' }, 'BAD_AMOUNT'],
  ['history', { limit: -1 }, 'BAD_LIMIT'],
]

export class Player {
  readonly #options: PlayerOptions
  #made = 0
  #stopping = false
  /** The purse as the last answer said; more may have come in since. null = not known. */
  #gold: number | null = null
  #last: Deed | null = null
  isDone = false
  /** What it waits for, '' = nothing. */
  waitsFor = ''

  constructor(options: PlayerOptions) {
    this.#options = options
  }

  /** What an answer says holds until it spends something itself. */
  get #knows(): boolean {
    return this.#options.spends && !this.#options.mayBeStale
  }

  get name(): string {
    return this.#options.name
  }

  /** Ends when what it has begun is answered. */
  stop(): void {
    this.#stopping = true
  }

  cut(): void {
    this.#options.line.cut()
  }

  async run(): Promise<void> {
    const { random, thinkMs, clock, line } = this.#options
    while (!this.#stopping) {
      const dice = random.next()
      if (dice < 0.06) await this.#repeat()
      else if (dice < 0.12) await this.#balance()
      else if (dice < 0.15) await this.#history()
      else if (dice < 0.17) await this.#nonsense()
      else if (dice < 0.18) line.leave()
      else if (dice < 0.27 && line.width > 1) await this.#burst()
      else await this.#act(this.#deed())
      await clock.sleep(2 * thinkMs * random.next())
    }
    // So that each purse has been opened by the last process, wherever it was before.
    await this.#balance()
    line.leave()
    this.isDone = true
  }

  #deed(): Deed {
    const { random, books, name, prefix, spends, others, rich } = this.#options
    const have = this.#gold ?? MAX_AMOUNT
    const deposits = !spends || have === 0 || random.chance(0.35)
    const most = rich && random.chance(0.3) ? MAX_GOLD / 2 : MAX_AMOUNT
    const amount = 1 + random.below(deposits ? most : Math.min(most, have))
    const deed: Deed = {
      id: `${prefix}-${++this.#made}`,
      player: name,
      kind: deposits ? 'deposit' : 'transfer',
      to: deposits ? '' : others[random.below(others.length)]!,
      amount,
      given: null,
      gold: null,
      refused: false,
    }
    books.deeds.set(deed.id, deed)
    return deed
  }

  async #act(deed: Deed): Promise<void> {
    const before = this.#gold
    const gold = await this.#ask(deed)
    if (gold !== null) return this.#took(deed, gold)
    const { rich, mayBeStale } = this.#options
    const isSane = deed.kind === 'transfer' ? before !== null && deed.amount <= before : !rich
    if (isSane && !mayBeStale)
      this.#options.books.break('refused', `${deed.id}: ${deed.kind} ${deed.amount} of ${before}`)
  }

  #took(deed: Deed, gold: number): void {
    const { books, random } = this.#options
    const sign = deed.kind === 'deposit' ? 1 : -1
    if (this.#gold !== null && gold < this.#gold + sign * deed.amount)
      books.break('read', `${deed.id}: ${gold} after ${this.#gold} and ${deed.kind} ${deed.amount}`)
    this.#gold = this.#knows ? gold : null
    this.#last = deed
    this.#options.old.push(deed)
    if (this.#options.old.length > 50) this.#options.old.splice(random.below(50), 1)
  }

  /** Several at once, some of them twice; what their order was is not known. */
  async #burst(): Promise<void> {
    const { random, line } = this.#options
    const deeds = Array.from({ length: 2 + random.below(line.width - 1) }, () => this.#deed())
    if (random.chance(0.5)) deeds.push(deeds[0]!)
    this.#gold = null
    await Promise.all(deeds.map((deed) => this.#ask(deed)))
    const known = deeds.filter(({ gold }) => gold !== null)
    this.#options.old.push(...new Set(known))
    await this.#balance()
  }

  /** Asks for a deed until it is answered; null = refused by a rule. */
  async #ask(deed: Deed): Promise<number | null> {
    const { books } = this.#options
    const { kind, id, to, amount } = deed
    const input = kind === 'deposit' ? { amount, id } : { to, amount, id }
    const answer = (await this.#answer(kind, input)) as { gold: number } | string
    if (typeof answer === 'string') {
      deed.refused = true
      // An old disk that MySQL has not been asked about yet knows an older purse; it can refuse, not commit.
      if (deed.gold !== null && !this.#options.mayBeStale)
        books.break('repeated', `${id} was answered ${deed.gold}, and when it was repeated ${answer}`)
      return null
    }
    books.acknowledge(deed, answer.gold)
    return answer.gold
  }

  async #repeat(): Promise<void> {
    const deed = this.#options.old[this.#options.random.below(this.#options.old.length)]
    if (deed) await this.#ask(deed)
  }

  async #balance(): Promise<void> {
    const { books, name, mayBeStale } = this.#options
    const after = this.#last
    const answer = (await this.#answer('balance', {})) as { gold: number } | string
    if (typeof answer === 'string') return books.break('refused', `${name}: balance, ${answer}`)
    const { gold } = answer
    if (!mayBeStale) books.reads.push({ player: name, gold, after })
    if (!this.#knows) return
    if (this.#gold !== null && gold < this.#gold)
      books.break('read', `${name} has ${gold}, and had ${this.#gold} after ${this.#last?.id}`)
    this.#gold = gold
  }

  async #history(): Promise<void> {
    const { books, random, name } = this.#options
    const limit = 1 + random.below(MAX_ENTRIES)
    const answer = (await this.#answer('history', { limit })) as { entries: readonly Entry[] } | string
    if (typeof answer === 'string') return books.break('refused', `${name}: history, ${answer}`)
    const { entries } = answer
    for (const [i, { id, kind, amount, gold }] of entries.entries()) {
      const before = entries[i + 1]?.gold
      if (before !== undefined && gold !== before + (kind === 'sent' ? -amount : amount))
        books.break('read', `history of ${name}: ${before}, then ${kind} ${amount} (${id}) makes ${gold}`)
    }
  }

  async #nonsense(): Promise<void> {
    const { books, random, name } = this.#options
    const [request, input, code] = NONSENSE[random.below(NONSENSE.length)]!
    const answer = await this.#answer(request, input)
    if (answer !== code)
      books.break('refused', `${name}: ${request} ${JSON.stringify(input)} was answered ${String(answer)}`)
  }

  /** The answer, or the code of a refusal. */
  async #answer(request: Request, input: Input): Promise<unknown> {
    const { line, clock, random, books } = this.#options
    const what = `${request} ${JSON.stringify(input)}`
    this.waitsFor = what
    books.operations++
    for (;;) {
      try {
        const answer = await line.ask(request, input)
        this.waitsFor = ''
        return answer
      } catch (error) {
        if (error instanceof Refused) {
          this.waitsFor = ''
          return error.message
        }
        if (!(error instanceof Unanswered)) throw error
        await clock.sleep(AGAIN_MS * (0.3 + random.next()))
      }
    }
  }
}
