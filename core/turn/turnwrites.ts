// The write set of one turn: changed keys, timers, durable casts and rows, each with what its undo needs. Only this
// file writes the fields. A turn without writes has none.

import type { Row, StoredCast } from '../ports/store.ts'
import type { CachedRow } from '../rows/rowcache.ts'
import type { TableRows } from '../rows/tablerows.ts'

export interface TimerWrite {
  /** Wall clock, milliseconds: it is stored. */
  readonly dueMs: number
  /** The same moment by the monotonic clock of this activation. */
  readonly monoMs: number
  readonly data: unknown
  /** `data` as the Store holds it. */
  readonly encoded: Uint8Array
}

export interface RowWrite {
  readonly rows: TableRows
  /** The row before this turn; null = it did not exist. */
  readonly before: Row | null
}

export class TurnWrites {
  /** Encoded values by name; null deletes. */
  kv: Map<string, Uint8Array | null> | null = null
  /** The same names before this turn. */
  kvBefore: Map<string, Uint8Array | null> | null = null
  /** null stops a timer. */
  timers: Map<string, TimerWrite | null> | null = null
  /** null ends a cast. */
  casts: Map<number, StoredCast | null> | null = null
  rows: Map<CachedRow, RowWrite> | null = null
  /** The reply waits until MySQL has all that the shard wrote. */
  requiresFlush = false

  setKv(name: string, bytes: Uint8Array | null, before: Uint8Array | null): void {
    this.kv ??= new Map()
    this.kvBefore ??= new Map()
    this.kv.set(name, bytes)
    if (!this.kvBefore.has(name)) this.kvBefore.set(name, before)
  }

  setTimer(name: string, write: TimerWrite | null): void {
    this.timers ??= new Map()
    this.timers.set(name, write)
  }

  setCast(sequence: number, cast: StoredCast | null): void {
    this.casts ??= new Map()
    this.casts.set(sequence, cast)
  }

  setRow(cached: CachedRow, write: RowWrite): void {
    this.rows ??= new Map()
    this.rows.set(cached, write)
  }

  requireFlush(): void {
    this.requiresFlush = true
  }
}
