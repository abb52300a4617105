// The outbox table of one store: turns that MySQL does not have yet, and the data to undo them. Invariant: a store uses
// a sequence only once, so the row with the highest sequence is never deleted. During traffic a dropped last row is
// skipped until the next drop deletes it: an entry costs one written row, its drop another, the counter none. After a
// restart the row is read and dropped once more, because MySQL has it already. Without traffic the row is blanked.

import { EMPTY_BYTES } from '../wire/bytes.ts'
import type { OutboxEntry } from './localstore.ts'
import { blobBytes, type SqliteHandle } from '../sql/sqlite.ts'
import * as rows from '../../schemas/rows.ts'

export class OutboxTable {
  readonly #sql: SqliteHandle
  #lastSeq = 0
  /** The row `#lastSeq` has no data. */
  #isLastBlank = true
  /** Entries up to this one are dropped, though their rows may exist. In memory only. */
  #droppedSeq = 0
  /** The lowest row that may exist. */
  #lowestSeq = 1
  #leasedSeq: number | null = null

  constructor(sql: SqliteHandle) {
    this.#sql = sql
  }

  /** The highest sequence that was ever used. */
  get lastSeq(): number {
    return this.#lastSeq
  }

  /** The highest sequence before the first turn without the lease; see Outbox. */
  get leasedSeq(): number {
    return this.#leasedSeq ?? this.#lastSeq
  }

  /** Records that later turns are made without the lease. */
  markUnleased(): void {
    if (this.#leasedSeq !== null) return
    this.#sql.run(rows.SET_META, 'trusted', this.#lastSeq)
    this.#leasedSeq = this.#lastSeq
  }

  /** Records that the lease is held. */
  markLeased(): void {
    if (this.#leasedSeq === null) return
    this.#sql.run(rows.DELETE_TRUSTED)
    this.#leasedSeq = null
  }

  /** Reads the counters from the table: at the start, and after a part of a transaction was rolled back. */
  reloadCounters(): void {
    const [bounds] = this.#sql.all(rows.OUTBOX_BOUNDS)
    this.#lastSeq = Number(bounds?.['high'] ?? 0)
    this.#lowestSeq = Number(bounds?.['low'] ?? 1)
    this.#isLastBlank = Number(bounds?.['bytes'] ?? 0) === 0
    const [trusted] = this.#sql.all(rows.GET_TRUSTED)
    this.#leasedSeq = trusted ? Number(trusted['value']) : null
  }

  /** `data` null = MySQL does not need the turn; the row only holds its undo. */
  appendTurn(shard: string, critical: boolean, data: Uint8Array | null, undo: Uint8Array | null): number {
    const seq = this.#lastSeq + 1
    this.#sql.run(rows.ADD_ENTRY, seq, shard, critical ? 1 : 0, data ?? EMPTY_BYTES, undo)
    this.#lastSeq = seq
    this.#isLastBlank = false
    return seq
  }

  /** Makes every later sequence higher than this one. */
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

  hasEntries(): boolean {
    return this.#sql.all(rows.ANY_ENTRY, this.#droppedSeq).length > 0
  }

  lastSeqOf(shard: string, critical: boolean): number {
    const [row] = this.#sql.all(critical ? rows.LAST_CRITICAL : rows.LAST_ENTRY, shard, this.#droppedSeq)
    return Number(row?.['seq'] ?? 0)
  }

  /** Drops entries up to this one; `deleteDropped` deletes their rows. */
  drop(upTo: number): void {
    this.#droppedSeq = Math.max(this.#droppedSeq, Math.min(upTo, this.#lastSeq))
  }

  /** True = `deleteDropped` has rows to delete or to blank. */
  get hasRowsToDelete(): boolean {
    return this.#lowestSeq <= Math.min(this.#droppedSeq, this.#lastSeq - 1) || this.#isFullyDropped
  }

  /** Deletes up to `maxRows` dropped rows. `isQuiet` = no traffic: also blanks a dropped last row. */
  deleteDropped(maxRows: number, isQuiet: boolean): void {
    const upTo = Math.min(this.#droppedSeq, this.#lastSeq - 1, this.#lowestSeq + maxRows - 1)
    if (upTo >= this.#lowestSeq) {
      this.#sql.run(rows.DROP_ENTRIES, upTo)
      this.#lowestSeq = upTo + 1
    }
    if (isQuiet && this.#isFullyDropped) this.#blankLast()
  }

  /** True = every entry is dropped, and the last row still has data. */
  get #isFullyDropped(): boolean {
    return !this.#isLastBlank && this.#droppedSeq >= this.#lastSeq
  }

  #blankLast(): void {
    this.#sql.run(rows.BLANK_ENTRY, this.#lastSeq)
    this.#isLastBlank = true
  }

  /** Removes the turns of the shard from the newest down to `fromSeq`, and calls `apply` with the undo of each. */
  undoTurns(shard: string, fromSeq: number, apply: (undo: Uint8Array) => void): void {
    for (const row of this.#sql.all(rows.UNDOS, fromSeq, shard)) {
      apply(blobBytes(row['undo']))
      const seq = Number(row['seq'])
      if (seq === this.#lastSeq) this.#blankLast()
      else this.#sql.run(rows.DELETE_ENTRY, seq)
    }
  }

  /** Removes all entries and returns them. */
  removeAll(): OutboxEntry[] {
    const entries = this.read(0, this.#lastSeq, -1, Infinity)
    if (this.#lastSeq === 0) return entries
    this.#sql.run(rows.DROP_ENTRIES, this.#lastSeq - 1)
    this.#blankLast()
    this.#lowestSeq = this.#lastSeq
    return entries
  }
}
