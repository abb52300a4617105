// Batches of servers that died before they sent them. The drill sends them to MySQL after the next server has taken
// over. Each must be 'fenced', then and whenever it is sent again.

import { setTimeout as sleep } from 'node:timers/promises'

import type { TableDefinition } from '../../../core/game/table.ts'
import type { Batch } from '../../../core/ports/database.ts'
import { DatabaseError, type SqlClient } from '../../../core/sql/client.ts'
import { SqlDatabase } from '../../../core/sql/database.ts'
import type { RequestLog } from '../market/requestlog.ts'
import type { PackedBatch } from './killpoints.ts'
import { updatesOf, withoutFence } from './mutants.ts'

const POLL_MS = 100

export class LateBatches {
  /** Batches that were sent for the first time and fenced. */
  fenced = 0
  readonly #tables: ReadonlyMap<string, TableDefinition>
  readonly #database: SqlDatabase
  readonly #log: RequestLog
  readonly #isFenceMutant: boolean
  readonly #waiting: Batch[] = []
  readonly #all: Batch[] = []
  #isStopped = false

  constructor(client: SqlClient, tables: readonly TableDefinition[], log: RequestLog, isFenceMutant: boolean) {
    this.#isFenceMutant = isFenceMutant
    this.#database = new SqlDatabase(isFenceMutant ? withoutFence(client) : client, { tables })
    this.#tables = new Map(tables.map((table) => [table.name, table]))
    this.#log = log
  }

  get count(): number {
    return this.#all.length
  }
  /** Batches whose owner was not yet taken over. */
  get waiting(): number {
    return this.#waiting.length
  }

  add(packed: PackedBatch): void {
    const rows = packed.rows.map((change) => ({ ...change, table: this.#tables.get(change.table)! }))
    const batch = { ...packed, rows }
    this.#all.push(batch)
    this.#waiting.push(batch)
  }

  /** Sends batches as they become due, until `stop`. */
  async run(): Promise<void> {
    for (; !this.#isStopped; await sleep(POLL_MS)) await this.#sendDue()
  }

  stop(): void {
    this.#isStopped = true
  }

  /** Sends every batch once more, after the last server has stopped. */
  async sendAll(): Promise<void> {
    for (const batch of this.#all) await this.#send(batch)
  }

  /** Sends the batches whose owner was taken over and has flushed since; later, when MySQL is unavailable. */
  async #sendDue(): Promise<void> {
    try {
      for (const batch of [...this.#waiting]) {
        const lease = await this.#database.lease(batch.owner)
        if (!lease || lease.epoch <= batch.epoch || lease.appliedSeq < batch.firstSeq) continue
        await this.#send(batch)
        this.#waiting.splice(this.#waiting.indexOf(batch), 1)
        this.fenced++
      }
    } catch (error) {
      if (!(error instanceof DatabaseError && error.kind === 'unavailable')) throw error
    }
  }

  async #send(batch: Batch): Promise<void> {
    const result = await this.#database
      .apply(this.#isFenceMutant ? updatesOf(batch) : batch)
      .catch((error: unknown) => {
        if (error instanceof DatabaseError && error.kind === 'refused') return error.message
        throw error
      })
    if (result === 'fenced') return
    const { owner, epoch, firstSeq, lastSeq } = batch
    this.#log.violations.add('zombie', `${owner} epoch ${epoch} ${firstSeq}..${lastSeq} was answered: ${result}`)
  }
}
