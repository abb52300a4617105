// The outbox table of one store: turns that MySQL does not have yet, and the data to undo them. Invariant: a store uses
// a sequence only once, so the row with the highest sequence is never deleted. During traffic a dropped last row is
// skipped until the next drop deletes it: an entry costs one written row, its drop another, the counter none. After a
// restart the row is read and dropped once more, because MySQL has it already. Without traffic the row is blanked. A large
// entry continues in `outbox_parts`: only a row whose data or undo has exactly ENTRY_PART_BYTES can have parts.

import { EMPTY_BYTES, joinBytes } from '../wire/bytes.ts'
import type { OutboxEntry } from './localstore.ts'
import { blobBytes, type SqliteHandle } from '../sql/sqlite.ts'
import * as rows from '../../schemas/rows.ts'

const KIND_DATA = 0
const KIND_UNDO = 1

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
  /** `outbox_parts` may have rows. */
  #hasParts = false

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
    this.#hasParts = this.#sql.all(rows.ANY_PART).length > 0
  }

  /** `data` null = MySQL does not need the turn; the row only holds its undo. */
  appendTurn(shard: string, critical: boolean, data: Uint8Array | null, undo: Uint8Array | null): number {
    const seq = this.#lastSeq + 1
    const [dataHead, undoHead] = [
      this.#storeParts(seq, KIND_DATA, data ?? EMPTY_BYTES),
      undo && this.#storeParts(seq, KIND_UNDO, undo),
    ]
    this.#sql.run(rows.ADD_ENTRY, seq, shard, critical ? 1 : 0, dataHead, undoHead)
    this.#lastSeq = seq
    this.#isLastBlank = false
    return seq
  }

  /** Stores what exceeds one row; returns the rest. */
  #storeParts(seq: number, kind: number, bytes: Uint8Array): Uint8Array {
    for (let at = rows.ENTRY_PART_BYTES; at < bytes.length; at += rows.ENTRY_PART_BYTES) {
      this.#sql.run(rows.ADD_PART, seq, kind, at, bytes.subarray(at, at + rows.ENTRY_PART_BYTES))
      this.#hasParts = true
    }
    return bytes.subarray(0, rows.ENTRY_PART_BYTES)
  }

  #joinParts(seq: number, kind: number, head: Uint8Array): Uint8Array {
    if (head.length !== rows.ENTRY_PART_BYTES) return head
    return joinBytes([head, ...this.#sql.all(rows.PARTS, seq, kind).map(({ bytes }) => blobBytes(bytes))])
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
      const head = Number(row['bytes'])
      bytes += head
      if (head === rows.ENTRY_PART_BYTES)
        bytes += Number(this.#sql.all(rows.PARTS_SIZE, Number(row['seq']))[0]?.['bytes'] ?? 0)
      if (last !== from && bytes > maxBytes) break
      last = Number(row['seq'])
    }
    if (last === from) return []
    return this.#sql.all(rows.ENTRIES, from, last).map((row) => ({
      seq: Number(row['seq']),
      shard: String(row['shard']),
      critical: Number(row['critical']) !== 0,
      data: this.#joinParts(Number(row['seq']), KIND_DATA, blobBytes(row['data'])),
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
      this.#dropRows(upTo)
      this.#lowestSeq = upTo + 1
    }
    if (isQuiet && this.#isFullyDropped) this.#blankLast()
  }

  /** True = every entry is dropped, and the last row still has data. */
  get #isFullyDropped(): boolean {
    return !this.#isLastBlank && this.#droppedSeq >= this.#lastSeq
  }

  #dropRows(upTo: number): void {
    this.#sql.run(rows.DROP_ENTRIES, upTo)
    if (this.#hasParts) this.#sql.run(rows.DROP_PARTS, upTo)
  }

  #blankLast(): void {
    this.#sql.run(rows.BLANK_ENTRY, this.#lastSeq)
    if (this.#hasParts) this.#sql.run(rows.DELETE_PARTS, this.#lastSeq)
    this.#isLastBlank = true
  }

  /** Removes the turns of the shard from the newest down to `fromSeq`, and calls `apply` with the undo of each. */
  undoTurns(shard: string, fromSeq: number, apply: (undo: Uint8Array) => void): void {
    for (const row of this.#sql.all(rows.UNDOS, fromSeq, shard)) {
      const seq = Number(row['seq'])
      apply(this.#joinParts(seq, KIND_UNDO, blobBytes(row['undo'])))
      if (seq === this.#lastSeq) {
        this.#blankLast()
        continue
      }
      this.#sql.run(rows.DELETE_ENTRY, seq)
      if (this.#hasParts) this.#sql.run(rows.DELETE_PARTS, seq)
    }
  }

  /** Removes all entries and returns them. */
  removeAll(): OutboxEntry[] {
    const entries = this.read(0, this.#lastSeq, -1, Infinity)
    if (this.#lastSeq === 0) return entries
    this.#dropRows(this.#lastSeq - 1)
    this.#blankLast()
    this.#lowestSeq = this.#lastSeq
    return entries
  }
}
