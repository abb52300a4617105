// Loads the rows of a cold shard from MySQL into its Store, page by page. Invariant: the shard counts as loaded only
// with its last page, and the rows of an interrupted load are dropped before the next one.

import type { TableDefinition } from '../game/table.ts'
import type { Database, CriticalState } from '../ports/database.ts'
import type { Row, RowChange, RowKey } from '../ports/store.ts'
import { rowKeyOf } from '../rows/rowkey.ts'
import { shardName, type ShardId } from '../wire/shardid.ts'
import type { LocalStore } from './localstore.ts'
import { assertCommitted } from './takeover.ts'

export interface ShardLoaderOptions {
  readonly local: LocalStore
  readonly database: Database
  /** Maximum number of rows of one shard, all tables together. */
  readonly maxRows: number
}

/** Rows of one query to MySQL; a transaction of the Store has less than twice as many. */
const PAGE_ROWS = 1_000
/**
 * Maximum number of concurrent loads. Concurrent loads share statements (sql/batchreader.ts), so many of them fill the
 * statements. Each may hold two pages of rows; queries that cannot share wait for a connection, in a queue of 1,000.
 */
const MAX_LOADS = 256

export class ShardLoader {
  #loads = 0
  #loadedRows = 0
  readonly #options: ShardLoaderOptions
  readonly #inFlight = new Map<string, Promise<void>>()
  /** Loads above the limit, oldest first. */
  readonly #waiting: (() => void)[] = []
  #active = 0

  constructor(options: ShardLoaderOptions) {
    this.#options = options
  }

  get metrics(): { readonly loads: number; readonly loadedRows: number } {
    return { loads: this.#loads, loadedRows: this.#loadedRows }
  }

  /**
   * Loads a shard, once for all concurrent callers. `check` throws when the rows may no longer be stored.
   * @throws DatabaseError, or an error that describes invalid rows
   */
  load(shard: ShardId, tables: readonly TableDefinition[], check: () => void): Promise<void> {
    const name = shardName(shard)
    let running = this.#inFlight.get(name)
    if (!running) {
      running = this.#limitConcurrency(() => this.#load(shard, tables, check)).finally(() =>
        this.#inFlight.delete(name),
      )
      this.#inFlight.set(name, running)
      // Every caller may have reached its deadline before the load fails.
      running.catch(() => {})
    }
    return running
  }

  async #limitConcurrency(load: () => Promise<void>): Promise<void> {
    if (this.#active >= MAX_LOADS) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#active++
    try {
      await load()
    } finally {
      const admit = this.#waiting.shift()
      if (admit) admit()
      else this.#active--
    }
  }

  async #load(shard: ShardId, tables: readonly TableDefinition[], check: () => void): Promise<void> {
    const { database, maxRows } = this.#options
    await this.#dropUnfinished(shard, tables, check)
    const isCritical = tables.some((table) => table.class === 'critical')
    const criticalState = isCritical ? await database.criticalState(shardName(shard)) : null
    let count = 0
    // Small tables share a page, so a small shard is stored in one transaction.
    let rows: RowChange[] = []
    for (const table of tables) {
      for (let after: RowKey | null = null; ;) {
        const page: readonly Row[] = await database.load(table, shard.key, after, PAGE_ROWS)
        count += page.length
        if (count > maxRows)
          throw new Error(`${shardName(shard)} has more than ${maxRows} rows: split it into several shards`)
        for (const row of page) rows.push({ table, op: 'store-put', key: rowKeyOf(table, row), values: row })
        after = rows.at(-1)?.key ?? null
        if (rows.length >= PAGE_ROWS) {
          await this.#storeRows(shard, rows, null, false, check)
          rows = []
        }
        if (page.length < PAGE_ROWS) break
      }
    }
    await this.#storeRows(shard, rows, criticalState, true, check)
    this.#loads++
    this.#loadedRows += count
  }

  async #storeRows(
    shard: ShardId,
    rows: readonly RowChange[],
    criticalState: CriticalState | null,
    isLast: boolean,
    check: () => void,
  ): Promise<void> {
    check()
    assertCommitted(await this.#options.local.fill(shard, rows, criticalState, isLast))
  }

  /** Drops the rows of a load that a crash interrupted: MySQL may not have them any more. */
  async #dropUnfinished(shard: ShardId, tables: readonly TableDefinition[], check: () => void): Promise<void> {
    for (const table of tables) {
      const leftoverRows = this.#options.local.list(shard, table, { by: {}, descending: false, limit: 0 })
      const drops = leftoverRows.map((row): RowChange => ({
        table,
        op: 'store-delete',
        key: rowKeyOf(table, row),
        values: {},
      }))
      if (drops.length > 0) await this.#storeRows(shard, drops, null, false, check)
    }
  }
}
