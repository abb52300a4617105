// The outbox of one store: what its turns have still to tell MySQL, and how to take them back. Invariant: a sequence
// is used once in the life of a store. So the highest row stays when it is dropped. While turns go on it is only passed
// over until the next one takes it away: an entry costs one written row, its drop another, the counter none. After a
// restart such a row is seen once more; it is in MySQL already, and is dropped once more. In a quiet moment it is erased.

import type { OutboxEntry } from './local.ts'
import { bytesOf, type Sql } from './sqlite.ts'
import * as rows from '../../schemas/rows.ts'

const NO_BYTES = new Uint8Array(0)

export class OutboxTable {
  readonly #sql: Sql
  #seq = 0
  /** The row `#seq` holds nothing. */
  #blank = true
  /** Entries up to this one are forgotten, though they may still stand. Known to this process only. */
  #dropped = 0
  /** The lowest row that may stand. */
  #lowest = 1
  #trusted: number | null = null

  constructor(sql: Sql) {
    this.#sql = sql
  }

  /** The highest sequence that was ever used. */
  get seq(): number {
    return this.#seq
  }

  /** The highest sequence of a turn that was made, or followed, under the lease of this store. */
  get trusted(): number {
    return this.#trusted ?? this.#seq
  }

  /** Turns from here on are made before it is known whether this store still is the one that MySQL knows. */
  doubt(): void {
    if (this.#trusted !== null) return
    this.#sql.run(rows.SET_META, 'trusted', this.#seq)
    this.#trusted = this.#seq
  }

  /** The lease is held: the turns so far are MySQL's next. */
  trust(): void {
    if (this.#trusted === null) return
    this.#sql.run(rows.FORGET_TRUSTED)
    this.#trusted = null
  }

  /** Reads the counter: at first, and after a part of a transaction was taken back. */
  recount(): void {
    const [bounds] = this.#sql.all(rows.OUTBOX_BOUNDS)
    this.#seq = Number(bounds?.['high'] ?? 0)
    this.#lowest = Number(bounds?.['low'] ?? 1)
    this.#blank = Number(bounds?.['bytes'] ?? 0) === 0
    const [trusted] = this.#sql.all(rows.GET_TRUSTED)
    this.#trusted = trusted ? Number(trusted['value']) : null
  }

  /** `data` null: MySQL need not hear of it, it can only be taken back. */
  append(shard: string, critical: boolean, data: Uint8Array | null, undo: Uint8Array | null): number {
    const seq = this.#seq + 1
    this.#sql.run(rows.ADD_ENTRY, seq, shard, critical ? 1 : 0, data ?? NO_BYTES, undo)
    this.#seq = seq
    this.#blank = false
    return seq
  }

  /** Every later sequence is above this one. */
  raise(seq: number): void {
    if (seq <= this.#seq) return
    this.#sql.run(rows.ADD_ENTRY, seq, '', 0, NO_BYTES, null)
    this.#seq = seq
    this.#blank = true
  }

  /** Entries above `after` up to `upTo`; at least one if there is any. */
  read(after: number, upTo: number, maxEntries: number, maxBytes: number): OutboxEntry[] {
    const from = Math.max(after, this.#dropped)
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
      data: bytesOf(row['data']),
    }))
  }

  /** Something waits. */
  holds(): boolean {
    return this.#sql.all(rows.ANY_ENTRY, this.#dropped).length > 0
  }

  last(shard: string, critical: boolean): number {
    const [row] = this.#sql.all(critical ? rows.LAST_CRITICAL : rows.LAST_ENTRY, shard, this.#dropped)
    return Number(row?.['seq'] ?? 0)
  }

  /** Forgets entries up to this one; their rows go with the next `clear`. */
  drop(upTo: number): void {
    this.#dropped = Math.max(this.#dropped, Math.min(upTo, this.#seq))
  }

  /** `clear` has something to do. */
  get littered(): boolean {
    return this.#lowest <= Math.min(this.#dropped, this.#seq - 1) || this.#isEmptied
  }

  /** Deletes rows that are dropped, some `maxRows` of them. `isQuiet`: what the last one held goes as well. */
  clear(maxRows: number, isQuiet: boolean): void {
    const upTo = Math.min(this.#dropped, this.#seq - 1, this.#lowest + maxRows - 1)
    if (upTo >= this.#lowest) {
      this.#sql.run(rows.DROP_ENTRIES, upTo)
      this.#lowest = upTo + 1
    }
    if (isQuiet && this.#isEmptied) this.#erase()
  }

  /** Nothing waits any more, and the last row does not say so. */
  get #isEmptied(): boolean {
    return !this.#blank && this.#dropped >= this.#seq
  }

  #erase(): void {
    this.#sql.run(rows.BLANK_ENTRY, this.#seq)
    this.#blank = true
  }

  /** Calls `apply` with what takes each turn of the shard back, newest first, down to `fromSeq`; they are forgotten. */
  takeBack(shard: string, fromSeq: number, apply: (undo: Uint8Array) => void): void {
    for (const row of this.#sql.all(rows.UNDOS, fromSeq, shard)) {
      apply(bytesOf(row['undo']))
      const seq = Number(row['seq'])
      if (seq === this.#seq) this.#erase()
      else this.#sql.run(rows.DELETE_ENTRY, seq)
    }
  }

  /** Takes everything out that waits. */
  empty(): OutboxEntry[] {
    const entries = this.read(0, this.#seq, -1, Infinity)
    if (this.#seq === 0) return entries
    this.#sql.run(rows.DROP_ENTRIES, this.#seq - 1)
    this.#erase()
    this.#lowest = this.#seq
    return entries
  }
}
