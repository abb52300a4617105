// A player whom nobody sends anything, and who rests: the only kind of object that the platform puts out of memory.
// It holds its connection all the time; what the object knew before its sleep, it must know after it.

import { setTimeout as sleep } from 'node:timers/promises'

import type { SqlClient } from '../../../core/sql/client.ts'
import type { Workers } from '../../support/workers.ts'
import type { Books, Deed } from './books.ts'
import { activationOf, isFlushed } from './edgeobjects.ts'
import { Unanswered, type Line } from './line.ts'
import { until } from '../../support/wait.ts'

export interface SleeperOptions {
  readonly name: string
  /** Who is sent something at the end of a sleep. */
  readonly to: string
  readonly line: Line
  readonly books: Books
  readonly workers: Workers
  readonly client: SqlClient
  readonly run: string
  readonly patienceMs: number
}

const AGAIN_MS = 100
/** For what is still on its way. wrangler's harness waits for an eviction with all of this process. */
const REST_MS = 500
/** What keeps an object awake; workerd waits 30 s for it to end. */
const AWAKE = /not currently running|active references/

export class Sleeper {
  readonly #options: SleeperOptions
  #made = 0
  #isOver = false

  constructor(options: SleeperOptions) {
    this.#options = options
  }

  close(): void {
    this.#isOver = true
    this.#options.line.close()
  }

  /** False when its object could not be put out of memory. */
  async nap(): Promise<boolean> {
    const { name, to, books, workers, client, patienceMs } = this.#options
    const deed = this.#deed('deposit', '', 10)
    books.acknowledge(deed, await this.#do(deed))
    await until(() => isFlushed(workers, client, name), patienceMs)
    await sleep(REST_MS)
    const before = await activationOf(workers, name)
    if (!(await until(() => this.#evict(), patienceMs))) return false
    const gold = await this.#do(deed)
    books.repeats++
    if (gold !== deed.gold)
      books.fault('repeated', `${deed.id} was answered ${deed.gold}, and after a sleep ${gold}`)
    const gift = this.#deed('transfer', to, 1)
    books.acknowledge(gift, await this.#do(gift))
    return (await activationOf(workers, name)) > before
  }

  async #evict(): Promise<boolean> {
    try {
      await this.#options.workers.evictShard('purse', this.#options.name, 'hibernate')
      return true
    } catch (error) {
      if (AWAKE.test(String(error))) return false
      throw error
    }
  }

  #deed(kind: Deed['kind'], to: string, amount: number): Deed {
    const { run, name, books } = this.#options
    const deed: Deed = { id: `${run}-${name}-${++this.#made}`, player: name, kind, to, amount, gold: null }
    books.deeds.set(deed.id, deed)
    return deed
  }

  /** The purse after it; asked for until it is answered. */
  async #do({ kind, id, to, amount }: Deed): Promise<number> {
    const input = kind === 'deposit' ? { amount, id } : { to, amount, id }
    for (;;) {
      try {
        return ((await this.#options.line.ask(kind, input)) as { gold: number }).gold
      } catch (error) {
        if (this.#isOver || !(error instanceof Unanswered)) throw error
        this.#options.books.error(error.message)
        await sleep(AGAIN_MS)
      }
    }
  }
}
