// The first tier: rows in the memory of one process, least recently used first out, bounded by bytes. Invariant: a row
// that a turn has changed is pinned until its commit is known, because the Store does not show it before.

import type { Row, RowKey } from '../ports/store.ts'

/** What a row of some five columns costs besides its values: objects, map entries. Measured by `bench -- state`. */
export const OVERHEAD_BYTES = 430

export class CachedRow {
  readonly id: string
  readonly key: RowKey
  /** As the shard sees it now; null = there is none. */
  row: Row | null
  bytes = 0
  /** Reasons to stay: uncommitted changes, a table that is never evicted. */
  pins = 0
  /** It left the cache; whoever holds it looks it up again. */
  isEvicted = false
  /** @internal */
  newer: CachedRow | null = null
  /** @internal */
  older: CachedRow | null = null
  readonly #onEvicted: (row: CachedRow) => void

  constructor(id: string, key: RowKey, row: Row | null, onEvicted: (row: CachedRow) => void) {
    this.id = id
    this.key = key
    this.row = row
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

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  get bytes(): number {
    return this.#bytes
  }
  get rows(): number {
    return this.#rows
  }

  add(row: CachedRow): void {
    row.bytes = OVERHEAD_BYTES + rowBytes(row.row)
    this.#bytes += row.bytes
    this.#rows++
    if (row.pins === 0) this.#link(row)
    this.#shrink(row)
  }

  markUsed(row: CachedRow): void {
    if (row === this.#newest || row.pins > 0) return
    this.#unlink(row)
    this.#link(row)
  }

  /** Its values changed. Returns what they weigh. */
  updateSize(row: CachedRow): number {
    const bytes = rowBytes(row.row)
    this.#bytes += OVERHEAD_BYTES + bytes - row.bytes
    row.bytes = OVERHEAD_BYTES + bytes
    return bytes
  }

  pin(row: CachedRow): void {
    if (row.pins++ === 0) this.#unlink(row)
  }

  unpin(row: CachedRow): void {
    if (row.isEvicted || --row.pins > 0) return
    this.#link(row)
    this.#shrink()
  }

  /** Takes it out, pinned or not. */
  remove(row: CachedRow): void {
    if (row.isEvicted) return
    if (row.pins === 0) this.#unlink(row)
    this.#bytes -= row.bytes
    this.#rows--
    row.markEvicted()
  }

  /** Whoever has just asked for `asked` has it, even where pinned rows alone fill the cache. */
  #shrink(protectedRow: CachedRow | null = null): void {
    while (this.#bytes > this.maxBytes && this.#oldest !== null && this.#oldest !== protectedRow)
      this.remove(this.#oldest)
  }

  #link(row: CachedRow): void {
    row.older = this.#newest
    row.newer = null
    if (this.#newest) this.#newest.newer = row
    else this.#oldest = row
    this.#newest = row
  }

  #unlink(row: CachedRow): void {
    if (row.newer) row.newer.older = row.older
    else if (this.#newest === row) this.#newest = row.older
    if (row.older) row.older.newer = row.newer
    else if (this.#oldest === row) this.#oldest = row.newer
    row.newer = row.older = null
  }
}

/** Bytes of a row's values, as a Store and MySQL would hold them, nearly: `lengthOf` text is its UTF-16 units. */
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
