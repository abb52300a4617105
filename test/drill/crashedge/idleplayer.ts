// A player that receives no transfers and rests: only the object of such a player is evicted by the platform. It
// stays connected all the time, and the object must have the same state after the eviction as before it.

import { setTimeout as sleep } from 'node:timers/promises'

import type { SqlClient } from '../../../core/sql/client.ts'
import { until } from '../../support/wait.ts'
import type { Workers } from '../../support/workers.ts'
import type { Transaction } from '../market/requestlog.ts'
import { MarketPlayer, type PlayerOptions } from '../market/workload.ts'
import { activationOf, isFlushed } from './objectsource.ts'

export interface IdlePlayerOptions extends PlayerOptions {
  readonly workers: Workers
  readonly client: SqlClient
  readonly timeoutMs: number
}

/** For messages in progress to end: an eviction in wrangler's harness blocks this whole process. */
const REST_MS = 500
/** The error when an object cannot be evicted yet; workerd waits 30 s before it reports it. */
const IN_USE = /not currently running|active references/

export class IdlePlayer {
  readonly #options: IdlePlayerOptions
  readonly #player: MarketPlayer
  #transactions = 0

  constructor(options: IdlePlayerOptions) {
    this.#options = options
    this.#player = new MarketPlayer(options)
  }

  abort(): void {
    this.#player.abort()
  }

  /** Deposits, rests until the object is evicted, repeats the deposit. False = it was not evicted. */
  async restUntilEvicted(): Promise<boolean> {
    const { name, log, recipients, workers, client, timeoutMs } = this.#options
    const deposit = this.#begin('deposit', '', 10)
    await this.#request(deposit)
    await until(() => isFlushed(workers, client, name), timeoutMs)
    await sleep(REST_MS)
    const before = await activationOf(workers, name)
    if (!(await until(() => this.#evict(), timeoutMs))) return false
    await this.#request(deposit)
    log.repeats++
    await this.#request(this.#begin('transfer', recipients[0]!, 1))
    return (await activationOf(workers, name)) > before
  }

  async #evict(): Promise<boolean> {
    try {
      await this.#options.workers.evictShard('purse', this.#options.name, 'hibernate')
      return true
    } catch (error) {
      if (IN_USE.test(String(error))) return false
      throw error
    }
  }

  async #request(of: Transaction): Promise<void> {
    await this.#player.request(of)
    if (of.isRefused) this.#options.log.violations.add('refused', `${of.id}, ${of.kind} ${of.amount}, was refused`)
  }

  #begin(kind: Transaction['kind'], to: string, amount: number): Transaction {
    const { log, prefix, name } = this.#options
    return log.begin({ id: `${prefix}-${++this.#transactions}`, player: name, kind, to, amount })
  }
}
