// The rows of one activation as its turns see them: memory first, the Store behind it, both at once and without a
// promise. A turn's changes are seen by itself and by later turns before they are committed, and are taken back when
// it throws. Invariant: what stands in memory is the Store's row, or newer and pinned.

import { utf8Encoder } from '../wire/bytes.ts'
import type { TableDefinition } from '../game/table.ts'
import { RowError, shorten } from '../wire/errors.ts'
import type { Activation } from '../engine/activation.ts'
import { compareKeys } from './rowkey.ts'
import { CachedRow, rowBytes } from './rowcache.ts'
import type { Row, RowChange, RowKey } from '../ports/store.ts'
import type { Turn } from '../turn/turn.ts'

/** A row in SQLite of a Durable Object, with room for its key and names. */
const MAX_ROW_BYTES = 2_000_000
/** An entry above this makes every tier slow. */
const LARGE_ROW_BYTES = 102_400
/** Lists of keys that a table keeps, and how long each may be: a longer one is asked of the Store again. */
const MAX_LISTS = 16
const MAX_LIST_KEYS = 1_024

export class TableRows {
  readonly table: TableDefinition
  readonly #activation: Activation
  readonly #rows = new Map<string, CachedRow>()
  /** Changed and not yet committed. */
  readonly #dirty = new Set<CachedRow>()
  readonly #lists = new Map<string, readonly RowKey[]>()
  #hasWarnedLarge = false

  constructor(activation: Activation, table: TableDefinition) {
    this.#activation = activation
    this.table = table
  }

  find(key: RowKey): CachedRow {
    const id = rowId(this.table, key)
    const { rowCache, meter } = this.#activation
    const known = this.#rows.get(id)
    if (known) {
      meter.rowHits++
      rowCache.markUsed(known)
      return known
    }
    const { shard } = this.#activation
    meter.rowReads++
    return this.#addToCache(id, key, this.#activation.store.row(shard.id, this.table, key))
  }

  #addToCache(id: string, key: RowKey, row: Row | null): CachedRow {
    const cached = new CachedRow(id, key, row, (evicted) => this.#rows.delete(evicted.id))
    if (this.table.evict === 'never') cached.pins = 1
    this.#rows.set(id, cached)
    this.#activation.rowCache.add(cached)
    return cached
  }

  /** Rows that exist now, in the order of their keys. */
  list(by: Row, limit: number, descending: boolean): CachedRow[] {
    const name = listName(by, limit, descending)
    const keys = this.#lists.get(name)
    if (keys) return keys.map((key) => this.find(key)).filter(({ row }) => row !== null)
    const changed = [...this.#dirty]
    const { shard, store, meter } = this.#activation
    const queryLimit = limit === 0 ? 0 : limit + changed.length
    const stored = store.list(shard.id, this.table, { by, limit: queryLimit, descending })
    meter.rowReads++
    const found: CachedRow[] = []
    for (const row of stored) {
      const key = rowKeyOf(this.table, row)
      const id = rowId(this.table, key)
      const cached = this.#rows.get(id) ?? this.#addToCache(id, key, row)
      if (!this.#dirty.has(cached)) found.push(cached)
    }
    for (const cached of changed) if (cached.row !== null && matches(cached.row, by)) found.push(cached)
    if (changed.length > 0) found.sort((a, b) => compareKeys(a.key, b.key) * (descending ? -1 : 1))
    if (limit !== 0 && found.length > limit) found.length = limit
    if (found.length <= MAX_LIST_KEYS && this.#lists.size < MAX_LISTS) {
      this.#lists.set(
        name,
        found.map(({ key }) => key),
      )
    }
    return found
  }

  /** Sets a row of a turn; null deletes it. @throws RowError when it is too large */
  setRow(turn: Turn, cached: CachedRow, row: Row | null): void {
    const before = cached.row
    const bytes = row === null ? 0 : storedBytes(row)
    if (row !== null && bytes > MAX_ROW_BYTES) throw rowTooLarge(this.table, row, bytes)
    const first = !turn.hasChanged(cached)
    if (first) turn.recordChange(cached, this, before)
    this.#replaceRow(cached, row)
    if (!first) return
    this.pin(cached)
    turn.addUndo(() => {
      this.#replaceRow(cached, before)
      this.unpin(cached)
    })
  }

  #replaceRow(cached: CachedRow, row: Row | null): void {
    cached.row = row
    this.#lists.clear()
    const bytes = this.#activation.rowCache.updateSize(cached)
    if (bytes <= LARGE_ROW_BYTES || this.#hasWarnedLarge) return
    this.#hasWarnedLarge = true
    this.#activation.log.warn('a row is large: every change rewrites it in the Store', {
      table: this.table.name,
      key: shorten(cached.id),
      bytes,
      advice: `keep rows under ${LARGE_ROW_BYTES} bytes`,
    })
  }

  pin(cached: CachedRow): void {
    this.#dirty.add(cached)
    this.#activation.rowCache.pin(cached)
  }

  /** A change of it was committed, or taken back. */
  unpin(cached: CachedRow): void {
    this.#activation.rowCache.unpin(cached)
    if (cached.pins === (this.table.evict === 'never' ? 1 : 0)) this.#dirty.delete(cached)
  }

  /** What MySQL holds now stands here too, once it is committed in the Store. A row that moved to another shard is gone. */
  beginRefresh(key: RowKey, found: Row | null): RowChange {
    const isOurs = found?.[this.table.shardKey.name] === this.#activation.shard.id.key
    const row = isOurs ? found : null
    const cached = this.find(key)
    this.pin(cached)
    this.#replaceRow(cached, row)
    return { table: this.table, op: row ? 'fill' : 'drop', key, values: row ?? NO_VALUES }
  }

  endRefresh(key: RowKey): void {
    this.unpin(this.find(key))
  }

  /** @throws RowError when another row of this shard has the value */
  checkUnique(cached: CachedRow, row: Row): void {
    for (const column of this.table.unique) {
      const value = row[column.name]
      if (value === null || (cached.row !== null && sameValue(cached.row[column.name], value))) continue
      const [duplicate] = this.list({ [column.name]: value }, 1, false)
      if (duplicate && duplicate !== cached)
        throw new RowError(
          'DUPLICATE',
          this.table.name,
          `${shorten(value)} is taken, and it is unique`,
          column.name,
        )
    }
  }

  releaseRows(): void {
    for (const cached of this.#rows.values()) this.#activation.rowCache.remove(cached)
  }
}

/** What a turn did to a row, from how it was before and is now; null = nothing. */
export function rowChangeOf(
  { table }: TableRows,
  { key, row }: CachedRow,
  before: Row | null,
): RowChange | null {
  if (row === before) return null
  if (row === null) return { table, op: 'delete', key, values: NO_VALUES }
  if (before === null) return { table, op: 'insert', key, values: row }
  const values: Record<string, unknown> = {}
  let changed = false
  for (const { name } of table.columns) {
    if (sameValue(before[name], row[name])) continue
    values[name] = row[name]
    changed = true
  }
  return changed ? { table, op: 'update', key, values } : null
}

/** What takes that back in the Store alone. */
export function undoChangeOf({ table, key }: RowChange, before: Row | null): RowChange {
  return before ? { table, op: 'fill', key, values: before } : { table, op: 'drop', key, values: NO_VALUES }
}

export function rowKeyOf(table: TableDefinition, row: Row): RowKey {
  return table.key.map(({ name }) => row[name])
}

/** What tells rows of one shard apart, as one string. */
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
    // The text 'null' stands in quotes, null does not.
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

/** Exact where it matters: a UTF-16 unit takes at most 3 bytes of UTF-8. */
function storedBytes(row: Row): number {
  const units = rowBytes(row)
  return units * 3 <= MAX_ROW_BYTES ? units : utf8Bytes(row)
}

function rowTooLarge({ name }: TableDefinition, row: Row, bytes: number): RowError {
  let largest = ''
  let most = 0
  for (const column in row) {
    const size = utf8Bytes({ [column]: row[column] })
    if (size > most) [largest, most] = [column, size]
  }
  const message = `a row of ${bytes} bytes exceeds ${MAX_ROW_BYTES}, ${most} of them here: ${shorten(row[largest])}`
  return new RowError('TOO_LARGE', name, message, largest)
}

function utf8Bytes(row: Row): number {
  return rowBytes(row, (value) => utf8Encoder.encode(value).length)
}

const NO_VALUES: Row = Object.freeze({})
