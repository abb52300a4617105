// The rows of one table in one activation: memory first, then the Store, both synchronous. A turn's changes are visible
// to itself and to later turns before they are committed, and are undone when the turn throws. Invariant: a row in
// memory equals the Store's row, or is newer and pinned.

import { utf8Encoder } from '../wire/bytes.ts'
import type { ContextLog } from '../game/context.ts'
import type { TableDefinition } from '../game/table.ts'
import { RowError, shorten } from '../wire/errors.ts'
import type { ShardId } from '../wire/shardid.ts'
import type { Clock } from '../ports/clock.ts'
import type { Row, RowChange, RowKey, Store, WriteSet } from '../ports/store.ts'
import { compareKeys, rowKeyOf } from './rowkey.ts'
import { CachedRow, rowBytes, type RowCache } from './rowcache.ts'

/** The activation, as its rows use it. */
export interface RowHost {
  readonly shardId: ShardId
  readonly store: Store
  readonly rowCache: RowCache
  readonly meter: Record<'rowHits' | 'rowReads', number>
  readonly clock: Clock
  readonly log: ContextLog
  /** Commits a change that no turn made. */
  commitParts(parts: Partial<WriteSet>, onCommitted: () => void): void
}

/** The turn, as rows use it. */
export interface RowTurn {
  /** @throws Error when the turn or its activation has ended */
  requireActive(): void
  rowsOf(table: TableDefinition): TableRows
  hasChanged(cached: CachedRow): boolean
  /** Records the first change of a row; `before` = the row as this turn found it. */
  recordChange(cached: CachedRow, rows: TableRows, before: Row | null): void
  addUndo(undo: () => void): void
}

/** Bound of a row in SQLite of a Durable Object (2 MB), minus room for its key and names. */
const MAX_ROW_BYTES = 2_000_000
/** A larger row makes SQLite, the outbox and MySQL slow. */
const LARGE_ROW_BYTES = 102_400
/** Cached results of `list` per table, and keys per result; a longer result is read from the Store each time. */
const MAX_LISTS = 16
const MAX_LIST_KEYS = 1_024

export class TableRows {
  readonly host: RowHost
  readonly table: TableDefinition
  readonly #rows = new Map<string, CachedRow>()
  /** Rows with uncommitted changes. */
  readonly #dirty = new Set<CachedRow>()
  readonly #lists = new Map<string, readonly RowKey[]>()
  #hasWarnedLarge = false

  constructor(host: RowHost, table: TableDefinition) {
    this.host = host
    this.table = table
  }

  find(key: RowKey): CachedRow {
    const id = rowId(this.table, key)
    const { rowCache, meter, store, shardId } = this.host
    const cached = this.#rows.get(id)
    if (cached) {
      meter.rowHits++
      rowCache.markUsed(cached)
      return cached
    }
    meter.rowReads++
    return this.#addToCache(id, key, store.row(shardId, this.table, key))
  }

  #addToCache(id: string, key: RowKey, row: Row | null): CachedRow {
    const isPinned = this.table.evict === 'never'
    const cached = new CachedRow(id, key, row, (evicted) => this.#rows.delete(evicted.id), isPinned)
    this.#rows.set(id, cached)
    this.host.rowCache.add(cached)
    return cached
  }

  /** The existing rows whose columns equal `by`, in the order of their keys. `limit` 0 = all. */
  list(by: Row, limit: number, descending: boolean): CachedRow[] {
    const name = listName(by, limit, descending)
    const keys = this.#lists.get(name)
    if (keys) return keys.map((key) => this.find(key)).filter(({ row }) => row !== null)
    const changed = [...this.#dirty]
    const { shardId, store, meter } = this.host
    const queryLimit = limit === 0 ? 0 : limit + changed.length
    const stored = store.list(shardId, this.table, { by, limit: queryLimit, descending })
    meter.rowReads++
    const result: CachedRow[] = []
    for (const row of stored) {
      const key = rowKeyOf(this.table, row)
      const id = rowId(this.table, key)
      const cached = this.#rows.get(id) ?? this.#addToCache(id, key, row)
      if (!this.#dirty.has(cached)) result.push(cached)
    }
    for (const cached of changed) if (cached.row !== null && matches(cached.row, by)) result.push(cached)
    if (changed.length > 0) result.sort((a, b) => compareKeys(a.key, b.key) * (descending ? -1 : 1))
    if (limit !== 0 && result.length > limit) result.length = limit
    const resultKeys = result.length <= MAX_LIST_KEYS && this.#lists.size < MAX_LISTS && result.map(({ key }) => key)
    if (resultKeys) this.#lists.set(name, resultKeys)
    return result
  }

  /** Sets a row in a turn; null deletes it. @throws RowError when the row is too large */
  setRow(turn: RowTurn, cached: CachedRow, row: Row | null): void {
    const before = cached.row
    const bytes = row === null ? 0 : storedBytes(row)
    if (row !== null && bytes > MAX_ROW_BYTES) throw rowTooLarge(this.table, row, bytes)
    const isFirst = !turn.hasChanged(cached)
    if (isFirst) turn.recordChange(cached, this, before)
    this.#replaceRow(cached, row)
    if (!isFirst) return
    this.#pin(cached)
    turn.addUndo(() => {
      this.#replaceRow(cached, before)
      this.unpin(cached)
    })
  }

  #replaceRow(cached: CachedRow, row: Row | null): void {
    this.#lists.clear()
    const bytes = this.host.rowCache.setRow(cached, row)
    if (bytes <= LARGE_ROW_BYTES || this.#hasWarnedLarge) return
    this.#hasWarnedLarge = true
    this.host.log.warn('a row is large: every change rewrites it in the Store', {
      table: this.table.name,
      key: shorten(cached.id),
      bytes,
      advice: `keep rows under ${LARGE_ROW_BYTES} bytes`,
    })
  }

  #pin(cached: CachedRow): void {
    this.#dirty.add(cached)
    this.host.rowCache.pin(cached)
  }

  /** Removes the pin of one change, after its commit or its undo. */
  unpin(cached: CachedRow): void {
    this.host.rowCache.unpin(cached)
    if (cached.pins === (this.table.evict === 'never' ? 1 : 0)) this.#dirty.delete(cached)
  }

  /** Replaces a row by what MySQL returned, here and in the Store. A row of another shard is removed. */
  refreshRow(key: RowKey, loaded: Row | null): void {
    const row = loaded?.[this.table.shardKey.name] === this.host.shardId.key ? loaded : null
    const cached = this.find(key)
    this.#pin(cached)
    this.#replaceRow(cached, row)
    const change = storeChange(this.table, key, row)
    this.host.commitParts({ rows: [change] }, () => this.unpin(this.find(key)))
  }

  /** @throws RowError when another row of this shard has the value of a unique column */
  checkUnique(cached: CachedRow, row: Row): void {
    for (const column of this.table.unique) {
      const value = row[column.name]
      if (value === null || (cached.row !== null && sameValue(cached.row[column.name], value))) continue
      const [duplicate] = this.list({ [column.name]: value }, 1, false)
      if (duplicate && duplicate !== cached)
        throw new RowError('DUPLICATE', this.table.name, `${shorten(value)} is taken, and it is unique`, column.name)
    }
  }

  releaseRows(): void {
    for (const cached of this.#rows.values()) this.host.rowCache.remove(cached)
  }
}

/** The change of a row between `before` and now; null = no change. */
export function rowChangeOf({ table }: TableRows, { key, row }: CachedRow, before: Row | null): RowChange | null {
  if (row === before) return null
  if (row === null) return { table, op: 'delete', key, values: NO_VALUES }
  if (before === null) return { table, op: 'insert', key, values: row }
  const values: Record<string, unknown> = {}
  let hasChanged = false
  for (const { name } of table.columns) {
    if (sameValue(before[name], row[name])) continue
    values[name] = row[name]
    hasChanged = true
  }
  return hasChanged ? { table, op: 'update', key, values } : null
}

/** Sets (null: removes) a row in the Store alone. */
export function storeChange(table: TableDefinition, key: RowKey, row: Row | null): RowChange {
  return row ? { table, op: 'store-put', key, values: row } : { table, op: 'store-delete', key, values: NO_VALUES }
}

/** A string that identifies a row within its shard. */
function rowId(table: TableDefinition, key: RowKey): string {
  const { keyInShard: rest } = table
  if (rest.length === 0) return ''
  if (rest.length === 1) {
    for (let i = 0; i < key.length; i++) if (table.key[i] === rest[0]) return textOf(key[i])
  }
  return key.map((value) => JSON.stringify(textOf(value))).join()
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  return value instanceof Date ? String(value.getTime()) : String(value)
}

function listName(by: Row, limit: number, descending: boolean): string {
  let name = `${limit}${descending ? '-' : '+'}`
  for (const column in by) {
    const value = by[column]
    // The text 'null' is quoted, null is not.
    name += `,${column}:${value === null ? null : JSON.stringify(textOf(value))}`
  }
  return name
}

function matches(row: Row, by: Row): boolean {
  for (const name in by) if (!sameValue(row[name], by[name])) return false
  return true
}

function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (a instanceof Uint8Array && b instanceof Uint8Array) return compareKeys([a], [b]) === 0
  return a instanceof Date && b instanceof Date && a.getTime() === b.getTime()
}

/** An upper bound far below MAX_ROW_BYTES, exact near it: a UTF-16 unit takes at most 3 bytes of UTF-8. */
function storedBytes(row: Row): number {
  const units = rowBytes(row)
  return units * 3 <= MAX_ROW_BYTES ? units : utf8Bytes(row)
}

function rowTooLarge({ name }: TableDefinition, row: Row, bytes: number): RowError {
  let largest = ''
  let largestBytes = 0
  for (const column in row) {
    const size = utf8Bytes({ [column]: row[column] })
    if (size > largestBytes) [largest, largestBytes] = [column, size]
  }
  const part = `${largestBytes} of them in this column: ${shorten(row[largest])}`
  return new RowError('TOO_LARGE', name, `a row of ${bytes} bytes exceeds ${MAX_ROW_BYTES}, ${part}`, largest)
}

function utf8Bytes(row: Row): number {
  return rowBytes(row, (value) => utf8Encoder.encode(value).length)
}

const NO_VALUES: Row = Object.freeze({})
