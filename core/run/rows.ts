// The rows of one activation as its turns see them: memory first, the Store behind it, both at once and without a
// promise. A turn's changes are seen by itself and by later turns before they are committed, and are taken back when
// it throws. Invariant: what stands in memory is the Store's row, or newer and pinned.

import type { TableDefinition } from '../game/table.ts'
import { RowError, shorten } from '../wire/errors.ts'
import type { Activation } from './activation.ts'
import { compareKeys } from './rowkey.ts'
import { CachedRow, weighRow } from './rowcache.ts'
import type { Row, RowChange, RowKey } from './ports.ts'
import type { Turn } from './turn.ts'

/** A row in SQLite of a Durable Object, with room for its key and names. */
const MAX_ROW_BYTES = 2_000_000
/** An entry above this makes every tier slow. */
const LARGE_ROW_BYTES = 102_400
/** Lists of keys that a table keeps, and how long each may be: a longer one is asked of the Store again. */
const MAX_LISTS = 16
const MAX_LIST = 1_024

export class TableRows {
  readonly table: TableDefinition
  readonly #life: Activation
  readonly #rows = new Map<string, CachedRow>()
  /** Changed and not yet committed. */
  readonly #dirty = new Set<CachedRow>()
  readonly #lists = new Map<string, readonly RowKey[]>()
  #warned = false

  constructor(life: Activation, table: TableDefinition) {
    this.#life = life
    this.table = table
  }

  find(key: RowKey): CachedRow {
    const id = idOf(this.table, key)
    const { rowCache, meter } = this.#life
    const known = this.#rows.get(id)
    if (known) {
      meter.rowHits++
      rowCache.used(known)
      return known
    }
    const { shard } = this.#life
    meter.rowReads++
    return this.#keep(id, key, this.#life.store.row(shard.id, this.table, key))
  }

  #keep(id: string, key: RowKey, row: Row | null): CachedRow {
    const cached = new CachedRow(id, key, row, (gone) => this.#rows.delete(gone.id))
    if (this.table.evict === 'never') cached.pins = 1
    this.#rows.set(id, cached)
    this.#life.rowCache.add(cached)
    return cached
  }

  /** Rows that exist now, in the order of their keys. */
  list(by: Row, limit: number, descending: boolean): CachedRow[] {
    const name = listName(by, limit, descending)
    const keys = this.#lists.get(name)
    if (keys) return keys.map((key) => this.find(key)).filter(({ row }) => row !== null)
    const changed = [...this.#dirty]
    const { shard, store, meter } = this.#life
    const asked = limit === 0 ? 0 : limit + changed.length
    const stored = store.list(shard.id, this.table, { by, limit: asked, descending })
    meter.rowReads++
    const found: CachedRow[] = []
    for (const row of stored) {
      const key = keyOf(this.table, row)
      const id = idOf(this.table, key)
      const cached = this.#rows.get(id) ?? this.#keep(id, key, row)
      if (!this.#dirty.has(cached)) found.push(cached)
    }
    for (const cached of changed) if (cached.row !== null && matches(cached.row, by)) found.push(cached)
    if (changed.length > 0) found.sort((a, b) => compareKeys(a.key, b.key) * (descending ? -1 : 1))
    if (limit !== 0 && found.length > limit) found.length = limit
    if (found.length <= MAX_LIST && this.#lists.size < MAX_LISTS) {
      this.#lists.set(
        name,
        found.map(({ key }) => key),
      )
    }
    return found
  }

  /** Sets a row of a turn; null deletes it. @throws RowError when it is too large */
  set(turn: Turn, cached: CachedRow, row: Row | null): void {
    const before = cached.row
    const bytes = row === null ? 0 : storedBytes(row)
    if (row !== null && bytes > MAX_ROW_BYTES) throw tooLarge(this.table, row, bytes)
    const first = !turn.touched(cached)
    if (first) turn.touch(cached, this, before)
    this.#put(cached, row)
    if (!first) return
    this.pin(cached)
    turn.onUndo(() => {
      this.#put(cached, before)
      this.unpin(cached)
    })
  }

  #put(cached: CachedRow, row: Row | null): void {
    cached.row = row
    this.#lists.clear()
    const bytes = this.#life.rowCache.changed(cached)
    if (bytes <= LARGE_ROW_BYTES || this.#warned) return
    this.#warned = true
    this.#life.log.warn('a row is large: every change rewrites it in the Store', {
      table: this.table.name,
      key: shorten(cached.id),
      bytes,
      advice: `keep rows under ${LARGE_ROW_BYTES} bytes`,
    })
  }

  pin(cached: CachedRow): void {
    this.#dirty.add(cached)
    this.#life.rowCache.pin(cached)
  }

  /** A change of it was committed, or taken back. */
  unpin(cached: CachedRow): void {
    this.#life.rowCache.unpin(cached)
    if (cached.pins === (this.table.evict === 'never' ? 1 : 0)) this.#dirty.delete(cached)
  }

  /** What MySQL holds now stands here too, once it is committed in the Store. A row that moved to another shard is gone. */
  refresh(key: RowKey, found: Row | null): RowChange {
    const isOurs = found?.[this.table.shardKey.name] === this.#life.shard.id.key
    const row = isOurs ? found : null
    const cached = this.find(key)
    this.pin(cached)
    this.#put(cached, row)
    return { table: this.table, op: row ? 'fill' : 'drop', key, values: row ?? NO_VALUES }
  }

  refreshed(key: RowKey): void {
    this.unpin(this.find(key))
  }

  /** @throws RowError when another row of this shard has the value */
  checkUnique(cached: CachedRow, row: Row): void {
    for (const column of this.table.unique) {
      const value = row[column.name]
      if (value === null || (cached.row !== null && same(cached.row[column.name], value))) continue
      const [twin] = this.list({ [column.name]: value }, 1, false)
      if (twin && twin !== cached)
        throw new RowError(
          'DUPLICATE',
          this.table.name,
          `${shorten(value)} is taken, and it is unique`,
          column.name,
        )
    }
  }

  end(): void {
    for (const cached of this.#rows.values()) this.#life.rowCache.remove(cached)
  }
}

/** What a turn did to a row, from how it was before and is now; null = nothing. */
export function changeOf(
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
    if (same(before[name], row[name])) continue
    values[name] = row[name]
    changed = true
  }
  return changed ? { table, op: 'update', key, values } : null
}

/** What takes that back in the Store alone. */
export function undoOf({ table, key }: RowChange, before: Row | null): RowChange {
  return before ? { table, op: 'fill', key, values: before } : { table, op: 'drop', key, values: NO_VALUES }
}

export function keyOf(table: TableDefinition, row: Row): RowKey {
  return table.key.map(({ name }) => row[name])
}

/** What tells rows of one shard apart, as one string. */
function idOf(table: TableDefinition, key: RowKey): string {
  const { rest } = table
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
  for (const name in by) if (!same(row[name], by[name])) return false
  return true
}

function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (a instanceof Uint8Array && b instanceof Uint8Array) return compareKeys([a], [b]) === 0
  return a instanceof Date && b instanceof Date && a.getTime() === b.getTime()
}

/** Exact where it matters: a UTF-16 unit takes at most 3 bytes of UTF-8. */
function storedBytes(row: Row): number {
  const units = weighRow(row)
  return units * 3 <= MAX_ROW_BYTES ? units : utf8Bytes(row)
}

function tooLarge({ name }: TableDefinition, row: Row, bytes: number): RowError {
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
  return weighRow(row, (value) => utf8.encode(value).length)
}

const utf8 = new TextEncoder()

const NO_VALUES: Row = Object.freeze({})
