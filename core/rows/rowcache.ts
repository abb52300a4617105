// Rows of all shards of an engine in memory, bounded by bytes; the least recently used row is evicted first.
// Invariant: a row with an uncommitted change is pinned until its commit ends, because until then the Store returns the
// old values. Only this file writes the fields of a CachedRow.

import type { Row, RowKey } from '../ports/store.ts'
import type { RowPool } from './rowpool.ts'

/** Bytes of a row of about five columns besides its values: objects and map entries. Measured by `bench -- state`. */
export const OVERHEAD_BYTES = 430

export class CachedRow {
  readonly id: string
  readonly key: RowKey
  /** The row with all changes so far, committed or not; null = the row does not exist. */
  row: Row | null
  bytes = 0
  /** Reasons not to evict: uncommitted changes, a table with `evict: 'never'`. */
  pins: number
  /** True once the row left the cache; its users look the key up again. */
  isEvicted = false
  /** @internal */
  newer: CachedRow | null = null
  /** @internal */
  older: CachedRow | null = null
  readonly #onEvicted: (row: CachedRow) => void

  constructor(id: string, key: RowKey, row: Row | null, onEvicted: (row: CachedRow) => void, isPinned = false) {
    this.id = id
    this.key = key
    this.row = row
    this.pins = isPinned ? 1 : 0
    this.#onEvicted = onEvicted
  }

  /** @internal */
  markEvicted(): void {
    this.isEvicted = true
    this.#onEvicted(this)
  }
}

export class RowCache {
  readonly maxBytes: number
  #bytes = 0
  #rows = 0
  #newest: CachedRow | null = null
  #oldest: CachedRow | null = null
  /** Shares a bound with other caches; null = has its own only. */
  readonly #pool: RowPool | null

  constructor(maxBytes: number, pool: RowPool | null = null) {
    this.maxBytes = maxBytes
    this.#pool = pool
    pool?.add(this)
  }

  get bytes(): number {
    return this.#bytes
  }
  get rows(): number {
    return this.#rows
  }

  add(cached: CachedRow): void {
    cached.bytes = OVERHEAD_BYTES + rowBytes(cached.row)
    this.#rows++
    this.#addBytes(cached.bytes)
    // Its caller uses it now: it is not linked while the pool evicts rows.
    this.#pool?.shrink(false)
    if (cached.pins === 0) this.#link(cached)
    this.#shrink(cached)
  }

  markUsed(cached: CachedRow): void {
    if (cached === this.#newest || cached.pins > 0) return
    this.#unlink(cached)
    this.#link(cached)
  }

  /** Replaces the row. Returns the bytes of its values. */
  setRow(cached: CachedRow, row: Row | null): number {
    const bytes = rowBytes(row)
    cached.row = row
    const growth = OVERHEAD_BYTES + bytes - cached.bytes
    cached.bytes += growth
    this.#addBytes(growth)
    this.#shrink(cached)
    return bytes
  }

  #addBytes(bytes: number): void {
    this.#bytes += bytes
    this.#pool?.addBytes(bytes)
  }

  /** Evicts rows of at least so many bytes, as far as they are not pinned. */
  evict(bytes: number): void {
    const targetBytes = this.#bytes - bytes
    while (this.#bytes > targetBytes && this.#oldest !== null) this.remove(this.#oldest)
  }

  pin(cached: CachedRow): void {
    if (cached.pins++ === 0) this.#unlink(cached)
  }

  unpin(cached: CachedRow): void {
    if (cached.isEvicted || --cached.pins > 0) return
    this.#link(cached)
    this.#shrink()
    this.#pool?.shrink(true)
  }

  /** Removes a row, pinned or not. */
  remove(cached: CachedRow): void {
    if (cached.isEvicted) return
    if (cached.pins === 0) this.#unlink(cached)
    this.#addBytes(-cached.bytes)
    this.#rows--
    cached.markEvicted()
  }

  /** Evicts rows above the bound, but not `added`: its caller uses it now, even where pinned rows fill the cache. */
  #shrink(added: CachedRow | null = null): void {
    while (this.#bytes > this.maxBytes && this.#oldest !== null && this.#oldest !== added) this.remove(this.#oldest)
  }

  #link(cached: CachedRow): void {
    cached.older = this.#newest
    cached.newer = null
    if (this.#newest) this.#newest.newer = cached
    else this.#oldest = cached
    this.#newest = cached
  }

  #unlink(cached: CachedRow): void {
    if (cached.newer) cached.newer.older = cached.older
    else if (this.#newest === cached) this.#newest = cached.older
    if (cached.older) cached.older.newer = cached.newer
    else if (this.#oldest === cached) this.#oldest = cached.newer
    cached.newer = cached.older = null
  }
}

/** Approximate bytes of a row's values in a Store and in MySQL. `lengthOf` text: by default its UTF-16 units. */
export function rowBytes(row: Row | null, lengthOf: (text: string) => number = utf16Length): number {
  if (row === null) return 0
  let bytes = 0
  for (const name in row) bytes += valueBytes(row[name], lengthOf)
  return bytes
}

function valueBytes(value: unknown, lengthOf: (text: string) => number): number {
  if (typeof value === 'string') return 16 + lengthOf(value)
  if (typeof value !== 'object' || value === null) return 8
  if (value instanceof Uint8Array) return 16 + value.length
  if (value instanceof Date) return 8
  return 16 + lengthOf(JSON.stringify(value))
}

function utf16Length(text: string): number {
  return text.length
}
