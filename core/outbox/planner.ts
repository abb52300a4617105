// What an owner's flusher has to do next: the turns that wait in the outbox, then what a stale store had acknowledged,
// then the parked rows that MySQL may take by now. A refused batch is halved until one turn stands alone: a local one
// is parked beside the others, a critical one must be taken back. Invariant: nothing is forgotten before MySQL has it.

import type { TableDefinition } from '../game/table.ts'
import type { Clock } from '../ports/clock.ts'
import type { Log } from '../ports/log.ts'
import type { ParkedTurn } from '../ports/database.ts'
import type { Row, RowChange, RowKey } from '../ports/store.ts'
import type { FlushLog } from './flushlog.ts'
import { decodeEntry, type DecodedEntry } from './entry.ts'
import { buildBatch, type BlockedTurn, type BuiltBatch } from './batch.ts'
import type { Outbox, OutboxEntry } from './localstore.ts'
import { ParkedRows, type ParkedGroup } from './parkedrows.ts'
import { assertCommitted } from './takeover.ts'

export interface BatchPlannerOptions {
  readonly outbox: Outbox
  /** Every table of the game, by name. */
  readonly tables: ReadonlyMap<string, TableDefinition>
  readonly clock: Clock
  readonly log: Log
  /** A row as the Store has it; shard is `contract/key`. */
  readonly readRow: (shard: string, table: TableDefinition, key: RowKey) => Row | null
  /** Every row of the shard is in the Store. */
  readonly isLoaded: (shard: string) => boolean
  /** Rows, and entries, of one transaction. */
  readonly maxBatch: number
  readonly maxBytes: number
}

/** One transaction, until its outcome is known. */
export interface FlushAttempt {
  readonly hi: number
  readonly contents: BuiltBatch['contents']
  readonly turnCount: number
  /** MySQL has it. */
  onApplied(): void
  /** MySQL will not take it as it is. */
  onRefused(cause: Error): BlockedTurn | null
}

const RETRY_PARKED_MS = 60_000
/** When the moment was not right. */
const RETRY_LOST_MS = 1_000
/** Beyond it MySQL and the game disagree altogether, and going on would only fill the memory. */
const MAX_PARKED_ROWS = 10_000
/** Lost turns in one transaction. */
const MAX_LOST_ENTRIES = 100
const LOST_ERROR = 'lost: acknowledged by a store'

export class BatchPlanner {
  parkedCount = 0
  readonly #options: BatchPlannerOptions
  readonly #flushLog: FlushLog
  readonly #parkedRows = new ParkedRows()
  /** Entries of a batch: halved while one of them is refused. */
  #maxEntries: number
  #poisonTurn: { readonly seq: number; readonly cause: Error } | null = null
  #lostEntries: readonly OutboxEntry[] = []
  #parkLostAtMs = 0
  #retryGroups: readonly ParkedGroup[] = []
  #retryAtMs = 0

  constructor(options: BatchPlannerOptions, complaints: FlushLog) {
    this.#options = options
    this.#flushLog = complaints
    this.#maxEntries = options.maxBatch
  }

  /** Until there is something to do beside the outbox; Infinity = there is not. */
  dueMs(now: number): number {
    if (this.#lostEntries.length > 0) return Math.max(0, this.#parkLostAtMs - now)
    if (this.#retryGroups.length > 0) return 0
    return this.#parkedRows.size > 0 ? Math.max(0, this.#retryAtMs - now) : Infinity
  }

  /** The parked turn whose rows MySQL does not have, null = none of these. */
  parkedSeqOfRows(rows: readonly Pick<RowChange, 'table' | 'key'>[]): number | null {
    return this.#parkedRows.parkedSeqOfRows(rows)
  }

  /** What an earlier process left parked is kept apart here too, and tried again at once. */
  restoreParked(parked: readonly ParkedTurn[]): void {
    const { tables, isLoaded, log } = this.#options
    for (const { seq, shard, error, data } of parked) {
      if (error.startsWith(LOST_ERROR) || !isLoaded(shard)) continue
      try {
        this.#parkedRows.addTurn(seq, shard, decodeEntry(data, tables).rows)
      } catch (cause) {
        log.warn('a parked turn cannot be read', { shard, seq, error: String(cause) })
      }
    }
    this.#retryAtMs = this.#options.clock.mono()
  }

  /** The store was emptied; these turns were acknowledged, and an operator may want them. */
  storeReset(lost: readonly OutboxEntry[]): void {
    this.#lostEntries = [...this.#lostEntries, ...lost]
    this.#parkedRows.clear()
    this.#retryGroups = []
    this.#poisonTurn = null
  }

  /** @throws EntryError, or what the store says */
  async nextAttempt(applied: number): Promise<FlushAttempt | BlockedTurn | null> {
    const { outbox, maxBytes } = this.#options
    const entries = outbox.read(applied, this.#maxEntries, maxBytes)
    if (entries.length > 0) return this.#attemptEntries(entries)
    const now = this.#options.clock.mono()
    if (this.#lostEntries.length > 0) return now >= this.#parkLostAtMs ? this.#parkLost(applied) : null
    if (this.#retryGroups.length === 0 && now >= this.#retryAtMs) {
      this.#retryGroups = this.#parkedRows.groups()
      this.#retryAtMs = now + RETRY_PARKED_MS
    }
    this.#retryGroups = this.#retryGroups.filter((group) => this.#parkedRows.isCurrent(group))
    return this.#retryGroups.length > 0 ? this.#retryParked(applied) : null
  }

  #attemptEntries(entries: readonly OutboxEntry[]): FlushAttempt | BlockedTurn {
    const { tables, maxBatch } = this.#options
    const parkedRows = this.#parkedRows
    if (parkedRows.size > MAX_PARKED_ROWS)
      throw new Error(`MySQL refused ${parkedRows.size} rows: until some of them are mended no more are sent`)
    const batch = buildBatch(entries, { tables, parkedRows, maxRows: maxBatch, poisonTurn: this.#poisonTurn })
    if ('blocked' in batch) return batch
    const { contents: parts, entries: turns, parked } = batch
    return {
      hi: turns.at(-1)!.seq,
      contents: parts,
      turnCount: turns.length,
      onApplied: () => {
        this.#maxEntries = Math.min(maxBatch, 2 * this.#maxEntries)
        this.#poisonTurn = null
        for (const one of parked) this.#turnParked(one)
      },
      onRefused: (cause) => this.#narrowBatch(turns, cause),
    }
  }

  /** Halves the batch; a turn that is refused alone is the one. */
  #narrowBatch(turns: readonly OutboxEntry[], cause: Error): BlockedTurn | null {
    const [firstEntry] = turns
    if (turns.length > 1) this.#maxEntries = turns.length >> 1
    else if (firstEntry!.critical) return { blocked: firstEntry!, cause }
    else if (this.#poisonTurn?.seq !== firstEntry!.seq) this.#poisonTurn = { seq: firstEntry!.seq, cause }
    else throw new Error(`MySQL does not even park a turn: ${cause.message}`, { cause })
    return null
  }

  #turnParked({
    turn: { seq, shard, error },
    entry,
  }: {
    readonly turn: ParkedTurn
    readonly entry: DecodedEntry
  }): void {
    if (this.#parkedRows.size === 0) this.#retryAtMs = this.#options.clock.mono() + RETRY_PARKED_MS
    this.#parkedRows.addTurn(seq, shard, entry.rows)
    this.parkedCount++
    const tables = [...new Set(entry.rows.map(({ table }) => table.name))].join(', ')
    this.#flushLog.logTurn('MySQL refused a turn: it is parked in firefly_parked', {
      shard,
      seq,
      tables,
      error,
    })
  }

  /** Keeps a stale store's acknowledged turns in firefly_parked, under sequences of this store. */
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
    const done = (): void => {
      this.#lostEntries = this.#lostEntries.slice(lostEntries.length)
      this.#parkLostAtMs = 0
    }
    return {
      hi,
      contents: { ...EMPTY_CONTENTS, parked },
      turnCount: 0,
      onApplied: done,
      onRefused: (cause) => {
        this.#flushLog.logTurn('lost turns could not be parked', {
          turns: lostEntries.length,
          error: cause.message,
        })
        done()
        return null
      },
    }
  }

  /** Writes the rows of parked turns that hang together as the Store has them now. */
  async #retryParked(applied: number): Promise<FlushAttempt | null> {
    const [group, ...others] = this.#retryGroups
    const hi = await this.#reserveSeqs(applied, 1)
    if (!group || hi === null) {
      this.#retryGroups = []
      return null
    }
    const rows: RowChange[] = []
    const inserts: RowChange[] = []
    const { shard, seqs } = group
    const shardKey = shard.slice(shard.indexOf('/') + 1)
    for (const { table, key } of group.rows.values()) {
      const row = this.#options.readRow(shard, table, key)
      rows.push({ table, op: 'delete', key, values: { [table.shardKey.name]: shardKey } })
      if (row) inserts.push({ table, op: 'insert', key, values: row })
    }
    return {
      hi,
      contents: { ...EMPTY_CONTENTS, rows: [...rows, ...inserts], unparkedSeqs: seqs },
      turnCount: 0,
      onApplied: () => {
        this.#retryGroups = others
        this.#parkedRows.removeGroup(group)
        this.#options.log.info('MySQL has the rows of a parked turn now', { shard, seq: seqs[0] })
      },
      onRefused: () => {
        this.#retryGroups = others
        return null
      },
    }
  }

  /** The last of `count` sequences of ours, above which and below which no turn waits; null = one does. */
  async #reserveSeqs(applied: number, count: number): Promise<number | null> {
    const { outbox } = this.#options
    const hi = Math.max(applied, outbox.lastSeq) + count
    assertCommitted(await outbox.raiseSeq(hi))
    // Every commit before it is durable now, and may have taken some of the sequences; those after it are above.
    return outbox.lastSeq === hi && outbox.read(applied, 1, 1).length === 0 ? hi : null
  }
}

const EMPTY_CONTENTS: BuiltBatch['contents'] = {
  rows: [],
  channels: [],
  casts: [],
  parked: [],
}
