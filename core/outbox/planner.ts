// Selects the next transaction of a flusher: first the turns of the outbox, then acknowledged turns of a stale store,
// then a retry of parked rows. A refused batch is halved down to one turn: a local turn is parked, a critical one must
// be taken back. Invariant: nothing is removed here before MySQL has it.

import type { TableDefinition } from '../game/table.ts'
import type { Clock } from '../ports/clock.ts'
import type { Log } from '../ports/log.ts'
import type { ParkedTurn } from '../ports/database.ts'
import type { Row, RowChange, RowKey } from '../ports/store.ts'
import type { DatabaseError } from '../sql/client.ts'
import { parseShardName } from '../wire/shardid.ts'
import type { BatchHolder, BatchMemory } from './batchmemory.ts'
import type { FlushLog } from './flushlog.ts'
import { decodeEntry } from './entry.ts'
import { buildBatch, type BlockedTurn, type BuiltBatch, type NewlyParkedTurn, type PoisonTurn } from './batch.ts'
import type { Outbox, OutboxEntry } from './localstore.ts'
import { ParkedRows, type ParkedGroup } from './parkedrows.ts'
import type { RefusalTracker } from './refusals.ts'
import { assertCommitted } from './takeover.ts'

export interface BatchPlannerOptions {
  readonly outbox: Outbox
  /** Every table of the game, by name. */
  readonly tables: ReadonlyMap<string, TableDefinition>
  readonly clock: Clock
  readonly log: Log
  /** Reads a row from the Store; shard is `contract/key`. */
  readonly readRow: (shard: string, table: TableDefinition, key: RowKey) => Row | null
  /** True = the Store has every row of the shard. */
  readonly isLoaded: (shard: string) => boolean
  /** Maximum number of rows, and of entries, of one transaction. */
  readonly maxBatch: number
  readonly maxBytes: number
  /** Shared with other flushers; may allow less than `maxBytes`. */
  readonly batchMemory?: BatchMemory | undefined
}

/** One transaction, until its outcome is known. */
export interface FlushAttempt {
  /** Its highest sequence. */
  readonly hi: number
  readonly contents: BuiltBatch['contents']
  readonly turnCount: number
  /** Called when MySQL has it. */
  onApplied(): void
  /** Called when MySQL refused it. Returns the turn that must be taken back; null = none. */
  onRefused(cause: DatabaseError): BlockedTurn | null
}

const RETRY_PARKED_MS = 60_000
/** Delay until lost turns are parked again, after other turns were in the outbox. */
const RETRY_LOST_MS = 1_000
/** Bound of the parked rows in memory: above it the schema of MySQL and the game do not match. */
const MAX_PARKED_ROWS = 10_000
/** Maximum number of lost turns in one transaction. */
const MAX_LOST_ENTRIES = 100
/** Prefix of `firefly_parked.error`, by which a restart recognizes lost turns. */
const LOST_ERROR = 'lost: acknowledged by a store'

export class BatchPlanner implements BatchHolder {
  #parkedCount = 0
  #heldBytes = 0
  readonly #options: BatchPlannerOptions
  readonly #flushLog: FlushLog
  readonly #refusals: RefusalTracker
  readonly #parkedRows = new ParkedRows()
  /** Maximum number of entries of a batch: halved while MySQL refuses one of them. */
  #maxEntries: number
  #poisonTurn: PoisonTurn | null = null
  #lostEntries: readonly OutboxEntry[] = []
  #parkLostAtMs = 0
  #retryGroups: readonly ParkedGroup[] = []
  #retryAtMs = 0

  constructor(options: BatchPlannerOptions, flushLog: FlushLog, refusals: RefusalTracker) {
    this.#options = options
    this.#flushLog = flushLog
    this.#refusals = refusals
    this.#maxEntries = options.maxBatch
    options.batchMemory?.add(this)
  }

  get heldBytes(): number {
    return this.#heldBytes
  }

  /** Turns that were parked since the start. */
  get parkedCount(): number {
    return this.#parkedCount
  }

  /** Time until a transaction apart from the outbox is due; Infinity = none. */
  dueMs(now: number): number {
    if (this.#lostEntries.length > 0) return Math.max(0, this.#parkLostAtMs - now)
    if (this.#retryGroups.length > 0) return 0
    return this.#parkedRows.size > 0 ? Math.max(0, this.#retryAtMs - now) : Infinity
  }

  /** The parked turn to which one of these rows belongs; null = none. */
  parkedSeqOfRows(rows: readonly Pick<RowChange, 'table' | 'key'>[]): number | null {
    return this.#parkedRows.parkedSeqOfRows(rows)
  }

  /** Restores the parked turns of an earlier process. Their rows are retried at once. */
  restoreParked(parked: readonly ParkedTurn[]): void {
    const { tables, isLoaded, log } = this.#options
    for (const { seq, shard, error, data } of parked) {
      if (error.startsWith(LOST_ERROR) || !isLoaded(shard)) continue
      try {
        this.#parkedRows.addTurn(seq, shard, decodeEntry(data, tables).rows)
      } catch (cause) {
        log.warn('a parked turn cannot be decoded', { shard, seq, error: String(cause) })
      }
    }
    this.#retryAtMs = this.#options.clock.mono()
  }

  /** Called after a reset of the store, with the acknowledged turns that will be parked for the operator. */
  storeReset(lostEntries: readonly OutboxEntry[]): void {
    this.#lostEntries = [...this.#lostEntries, ...lostEntries]
    this.#parkedRows.clear()
    this.#retryGroups = []
    this.#poisonTurn = null
  }

  /** Returns the next transaction; null = nothing is due. @throws EntryError, or the error of the store */
  async nextAttempt(applied: number): Promise<FlushAttempt | BlockedTurn | null> {
    const { outbox, maxBytes, batchMemory } = this.#options
    this.#heldBytes = 0
    const entries = outbox.read(applied, this.#maxEntries, Math.min(maxBytes, batchMemory?.maxBatchBytes ?? Infinity))
    this.#heldBytes = entries.reduce((sum, { data }) => sum + data.length, 0)
    if (entries.length > 0) return this.#attemptEntries(entries)
    const now = this.#options.clock.mono()
    if (this.#lostEntries.length > 0) return now >= this.#parkLostAtMs ? this.#parkLost(applied) : null
    if (this.#retryGroups.length === 0 && now >= this.#retryAtMs) {
      this.#retryGroups = this.#parkedRows.groups()
      this.#retryAtMs = now + RETRY_PARKED_MS
    }
    this.#retryGroups = this.#retryGroups.filter(
      (group) => this.#parkedRows.isCurrent(group) && this.#refusals.causeOf(group.rows.values()) === null,
    )
    return this.#retryGroups.length > 0 ? this.#retryParked(applied) : null
  }

  #attemptEntries(entries: readonly OutboxEntry[]): FlushAttempt | BlockedTurn {
    const { tables, maxBatch } = this.#options
    const parkedRows = this.#parkedRows
    if (parkedRows.size > MAX_PARKED_ROWS)
      throw new Error(`${parkedRows.size} parked rows exceed ${MAX_PARKED_ROWS}: repair some of them to go on`)
    const refusalOf = (rows: readonly RowChange[]): Error | null => this.#refusals.causeOf(rows)
    const poisonTurn = this.#poisonTurn
    const batch = buildBatch(entries, { tables, parkedRows, maxRows: maxBatch, poisonTurn, refusalOf })
    if ('blocked' in batch) return batch
    const { contents, entries: turns, parked } = batch
    return {
      hi: turns.at(-1)!.seq,
      contents,
      turnCount: turns.length,
      onApplied: () => {
        this.#maxEntries = Math.min(maxBatch, 2 * this.#maxEntries)
        this.#poisonTurn = null
        for (const newlyParked of parked) this.#turnParked(newlyParked)
      },
      onRefused: (cause) => this.#narrowBatch(turns, cause),
    }
  }

  /**
   * Halves the batch after a refusal; a turn that was refused alone is parked or taken back. When its table refuses
   * everything, the next batch parks or takes back all turns of the table.
   */
  #narrowBatch(turns: readonly OutboxEntry[], cause: DatabaseError): BlockedTurn | null {
    const [firstEntry] = turns
    const { seq, critical } = firstEntry!
    if (turns.length > 1) this.#maxEntries = turns.length >> 1
    else if (critical) return { blocked: firstEntry!, cause }
    else if (this.#poisonTurn?.seq !== seq) this.#poisonTurn = { seq, cause, withoutValues: false }
    // The record of the parked turn may be too large: the Store has the values.
    else if (!this.#poisonTurn.withoutValues) this.#poisonTurn = { ...this.#poisonTurn, withoutValues: true }
    else throw new Error(`MySQL refused to park a turn: ${cause.message}`, { cause })
    return null
  }

  #turnParked({ turn: { seq, shard, error }, entry }: NewlyParkedTurn): void {
    if (this.#parkedRows.size === 0) this.#retryAtMs = this.#options.clock.mono() + RETRY_PARKED_MS
    this.#parkedRows.addTurn(seq, shard, entry.rows)
    this.#parkedCount++
    const tables = [...new Set(entry.rows.map(({ table }) => table.name))].join(', ')
    this.#flushLog.logTurn('MySQL refused a turn: it is parked in firefly_parked', { shard, seq, tables, error })
  }

  /** Stores acknowledged turns of a stale store in firefly_parked, with sequences of this store. */
  async #parkLost(applied: number): Promise<FlushAttempt | null> {
    const { clock } = this.#options
    const lostEntries = this.#lostEntries.slice(0, MAX_LOST_ENTRIES)
    this.#parkLostAtMs = clock.mono() + RETRY_LOST_MS
    const hi = await this.#reserveSeqs(applied, lostEntries.length)
    if (hi === null) return null
    const error = `${LOST_ERROR} that MySQL had gone on without`
    const parked = lostEntries.map(({ shard, data }, i) => ({
      seq: hi - lostEntries.length + 1 + i,
      shard,
      error,
      data,
    }))
    const removeFromQueue = (): void => {
      this.#lostEntries = this.#lostEntries.slice(lostEntries.length)
      this.#parkLostAtMs = 0
    }
    return {
      hi,
      contents: { ...EMPTY_CONTENTS, parked },
      turnCount: 0,
      onApplied: removeFromQueue,
      onRefused: (cause) => {
        this.#flushLog.logTurn('lost turns could not be parked', { turns: lostEntries.length, error: cause.message })
        removeFromQueue()
        return null
      },
    }
  }

  /** Writes the rows of a group of parked turns with their current values in the Store. */
  async #retryParked(applied: number): Promise<FlushAttempt | null> {
    const [group, ...others] = this.#retryGroups
    const hi = await this.#reserveSeqs(applied, 1)
    if (!group || hi === null) {
      this.#retryGroups = []
      return null
    }
    const deletes: RowChange[] = []
    const inserts: RowChange[] = []
    const { shard, seqs } = group
    const shardKey = parseShardName(shard).key
    for (const { table, key } of group.rows.values()) {
      const row = this.#options.readRow(shard, table, key)
      deletes.push({ table, op: 'delete', key, values: { [table.shardKey.name]: shardKey } })
      if (row) inserts.push({ table, op: 'insert', key, values: row })
    }
    return {
      hi,
      contents: { ...EMPTY_CONTENTS, rows: [...deletes, ...inserts], unparkedSeqs: seqs },
      turnCount: 0,
      onApplied: () => {
        this.#retryGroups = others
        this.#parkedRows.removeGroup(group)
        this.#options.log.info('MySQL accepted the rows of a parked turn', { shard, seq: seqs[0] })
      },
      onRefused: () => {
        this.#retryGroups = others
        return null
      },
    }
  }

  /** Reserves `count` sequences while the outbox is empty, and returns the last; null = it is not empty. */
  async #reserveSeqs(applied: number, count: number): Promise<number | null> {
    const { outbox } = this.#options
    const hi = Math.max(applied, outbox.lastSeq) + count
    assertCommitted(await outbox.raiseSeq(hi))
    // Earlier commits are durable now, and may have used some of the sequences; later commits get higher ones.
    return outbox.lastSeq === hi && outbox.read(applied, 1, 1).length === 0 ? hi : null
  }
}

const EMPTY_CONTENTS: BuiltBatch['contents'] = { rows: [], channels: [], casts: [], parked: [] }
