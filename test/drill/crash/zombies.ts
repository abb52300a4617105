// Batches of servers that died with them in hand, and that reach MySQL when the next server has long gone on. Each must
// be 'fenced', then and whenever it comes again.

import type { Batch } from '../../../core/ports/database.ts'
import type { TableDefinition } from '../../../core/game/table.ts'
import { DatabaseError, type SqlClient } from '../../../core/sql/client.ts'
import { SqlDatabase } from '../../../core/sql/database.ts'
import type { Books } from './books.ts'
import { unguarded, updatesOf } from './mutants.ts'
import type { Mutant, PackedBatch } from './points.ts'

export class Zombies {
  /** Batches that were shut out. */
  fenced = 0
  readonly #tables: ReadonlyMap<string, TableDefinition>
  readonly #database: SqlDatabase
  readonly #books: Books
  readonly #isMutant: boolean
  readonly #waiting: Batch[] = []
  readonly #all: Batch[] = []
  #busy = false

  constructor(client: SqlClient, tables: readonly TableDefinition[], books: Books, mutant: Mutant | null) {
    this.#isMutant = mutant === 'fence'
    this.#database = new SqlDatabase(this.#isMutant ? unguarded(client) : client, { tables })
    this.#tables = new Map(tables.map((table) => [table.name, table]))
    this.#books = books
  }

  get count(): number {
    return this.#all.length
  }
  /** Those whose time has not come. */
  get waiting(): number {
    return this.#waiting.length
  }

  add(packed: PackedBatch): void {
    const rows = packed.rows.map((change) => ({ ...change, table: this.#tables.get(change.table)! }))
    const batch = { ...packed, rows }
    this.#all.push(batch)
    this.#waiting.push(batch)
  }

  /** Sends those whose owner has been taken over and has flushed since. Where MySQL is away: the next time. */
  async look(): Promise<void> {
    if (this.#busy) return
    this.#busy = true
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
    } finally {
      this.#busy = false
    }
  }

  /** All of them once more, when nothing else writes any more. */
  async again(): Promise<void> {
    for (const batch of this.#all) await this.#send(batch)
  }

  async #send(batch: Batch): Promise<void> {
    const result = await this.#database
      .apply(this.#isMutant ? updatesOf(batch) : batch)
      .catch((error: unknown) => {
        if (error instanceof DatabaseError && error.kind === 'refused') return error.message
        throw error
      })
    if (result === 'fenced') return
    const { owner, epoch, firstSeq: lo, lastSeq: hi } = batch
    this.#books.fault('zombie', `${owner} epoch ${epoch} ${lo}..${hi} was answered: ${result}`)
  }
}
