// The outbox of one store: what its turns have still to tell MySQL, and how to take them back. Invariant: a sequence
// is used once in the life of a store. So the highest row stays when it is dropped. While turns go on it is only passed
// over until the next one takes it away: an entry costs one written row, its drop another, the counter none. After a
// restart such a row is seen once more; it is in MySQL already, and is dropped once more. In a quiet moment it is erased.

import { EMPTY_BYTES } from '../wire/bytes.ts'
import type { OutboxEntry } from './localstore.ts'
import { blobBytes, type SqliteHandle } from '../sql/sqlite.ts'
import * as rows from '../../schemas/rows.ts'

export class OutboxTable {
  readonly #sql: SqliteHandle
  #lastSeq = 0
  /** The row `#seq` holds nothing. */
  #isLastBlank = true
  /** Entries up to this one are forgotten, though they may still stand. Known to this process only. */
  #droppedSeq = 0
  /** The lowest row that may stand. */
  #lowestSeq = 1
  #leasedSeq: number | null = null

  constructor(sql: SqliteHandle) {
    this.#sql = sql
  }

  /** The highest sequence that was ever used. */
  get lastSeq(): number {
    return this.#lastSeq
  }

  /** The highest sequence of a turn that was made, or followed, under the lease of this store. */
  get leasedSeq(): number {
    return this.#leasedSeq ?? this.#lastSeq
  }

  /** Turns from here on are made before it is known whether this store still is the one that MySQL knows. */
  markUnleased(): void {
    if (this.#leasedSeq !== null) return
    this.#sql.run(rows.SET_META, 'trusted', this.#lastSeq)
    this.#leasedSeq = this.#lastSeq
  }

  /** The lease is held: the turns so far are MySQL's next. */
  markLeased(): void {
    if (this.#leasedSeq === null) return
    this.#sql.run(rows.DELETE_TRUSTED)
    this.#leasedSeq = null
  }

  /** Reads the counter: at first, and after a part of a transaction was taken back. */
  reloadCounters(): void {
    const [bounds] = this.#sql.all(rows.OUTBOX_BOUNDS)
    this.#lastSeq = Number(bounds?.['high'] ?? 0)
    this.#lowestSeq = Number(bounds?.['low'] ?? 1)
    this.#isLastBlank = Number(bounds?.['bytes'] ?? 0) === 0
    const [trusted] = this.#sql.all(rows.GET_TRUSTED)
    this.#leasedSeq = trusted ? Number(trusted['value']) : null
  }

  /** `data` null: MySQL need not hear of it, it can only be taken back. */
  appendTurn(shard: string, critical: boolean, data: Uint8Array | null, undo: Uint8Array | null): number {
    const seq = this.#lastSeq + 1
    this.#sql.run(rows.ADD_ENTRY, seq, shard, critical ? 1 : 0, data ?? EMPTY_BYTES, undo)
    this.#lastSeq = seq
    this.#isLastBlank = false
    return seq
  }

  /** Every later sequence is above this one. */
  raiseSeq(seq: number): void {
    if (seq <= this.#lastSeq) return
    this.#sql.run(rows.ADD_ENTRY, seq, '', 0, EMPTY_BYTES, null)
    this.#lastSeq = seq
    this.#isLastBlank = true
  }

  /** Entries above `after` up to `upTo`; at least one if there is any. */
  read(after: number, upTo: number, maxEntries: number, maxBytes: number): OutboxEntry[] {
    const from = Math.max(after, this.#droppedSeq)
    let bytes = 0
    let last = from
    for (const row of this.#sql.all(rows.ENTRY_SIZES, from, upTo, maxEntries)) {
      bytes += Number(row['bytes'])
      if (last !== from && bytes > maxBytes) break
      last = Number(row['seq'])
    }
    if (last === from) return []
    return this.#sql.all(rows.ENTRIES, from, last).map((row) => ({
      seq: Number(row['seq']),
      shard: String(row['shard']),
      critical: Number(row['critical']) !== 0,
      data: blobBytes(row['data']),
    }))
  }

  /** Something waits. */
  hasEntries(): boolean {
    return this.#sql.all(rows.ANY_ENTRY, this.#droppedSeq).length > 0
  }

  lastSeqOf(shard: string, critical: boolean): number {
    const [row] = this.#sql.all(critical ? rows.LAST_CRITICAL : rows.LAST_ENTRY, shard, this.#droppedSeq)
    return Number(row?.['seq'] ?? 0)
  }

  /** Forgets entries up to this one; their rows go with the next `clear`. */
  drop(upTo: number): void {
    this.#droppedSeq = Math.max(this.#droppedSeq, Math.min(upTo, this.#lastSeq))
  }

  /** `clear` has something to do. */
  get hasRowsToDelete(): boolean {
    return this.#lowestSeq <= Math.min(this.#droppedSeq, this.#lastSeq - 1) || this.#isFullyDropped
  }

  /** Deletes rows that are dropped, some `maxRows` of them. `isQuiet`: what the last one held goes as well. */
  deleteDropped(maxRows: number, isQuiet: boolean): void {
    const upTo = Math.min(this.#droppedSeq, this.#lastSeq - 1, this.#lowestSeq + maxRows - 1)
    if (upTo >= this.#lowestSeq) {
      this.#sql.run(rows.DROP_ENTRIES, upTo)
      this.#lowestSeq = upTo + 1
    }
    if (isQuiet && this.#isFullyDropped) this.#blankLast()
  }

  /** Nothing waits any more, and the last row does not say so. */
  get #isFullyDropped(): boolean {
    return !this.#isLastBlank && this.#droppedSeq >= this.#lastSeq
  }

  #blankLast(): void {
    this.#sql.run(rows.BLANK_ENTRY, this.#lastSeq)
    this.#isLastBlank = true
  }

  /** Calls `apply` with what takes each turn of the shard back, newest first, down to `fromSeq`; they are forgotten. */
  undoTurns(shard: string, fromSeq: number, apply: (undo: Uint8Array) => void): void {
    for (const row of this.#sql.all(rows.UNDOS, fromSeq, shard)) {
      apply(blobBytes(row['undo']))
      const seq = Number(row['seq'])
      if (seq === this.#lastSeq) this.#blankLast()
      else this.#sql.run(rows.DELETE_ENTRY, seq)
    }
  }

  /** Takes everything out that waits. */
  removeAll(): OutboxEntry[] {
    const entries = this.read(0, this.#lastSeq, -1, Infinity)
    if (this.#lastSeq === 0) return entries
    this.#sql.run(rows.DROP_ENTRIES, this.#lastSeq - 1)
    this.#blankLast()
    this.#lowestSeq = this.#lastSeq
    return entries
  }
}
