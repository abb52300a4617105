// The rows that a handler reads and writes: `c.rows.items.get(id)`, `item.update({ … })`. Invariant: a value is checked
// when it is passed in, so that a bad one fails its own turn with a message that names table, column, value and bound.

import type { RowMethods, RowOf, Rows, Tables, TableMethods } from '../game/context.ts'
import type { ColumnDefinition, TableDefinition, TableTypes } from '../game/table.ts'
import { RowError, shorten } from '../wire/errors.ts'
import { JSON_RULES, Unserializable, walkValue } from '../wire/plainvalue.ts'
import { INVALID, findKind, pathText, UNDESCRIBED_KINDS } from '../wire/schema.ts'
import type { Row, RowKey } from '../ports/store.ts'
import { deepFreeze } from './freeze.ts'
import type { CachedRow } from './rowcache.ts'
import { keyColumns, describeKey, newRowId, rowKeyOf } from './rowkey.ts'
import type { RowTurn, TableRows } from './tablerows.ts'

export type RowsView = new (turn: RowTurn) => Rows<Tables>

/** Creates the class of `c.rows` for one kind of shard: one getter per table. */
export function rowsView(tables: ReadonlyMap<string, TableDefinition>): RowsView {
  class View {
    readonly [table: string]: TableMethods<TableTypes>
    readonly [TURN]: RowTurn
    constructor(turn: RowTurn) {
      this[TURN] = turn
    }
  }
  for (const [name, table] of tables) {
    const handle = handleClass(table)
    Object.defineProperty(View.prototype, name, {
      get(this: View) {
        return new TableView(this[TURN], this[TURN].rowsOf(table), handle)
      },
    })
  }
  return View
}

/** A symbol, because every text may be the name of a table. */
const TURN = Symbol('turn')
/** Read by `console.log` on Node and in workerd. */
const INSPECT = Symbol.for('nodejs.util.inspect.custom')
type HandleClass = new (turn: RowTurn, rows: TableRows, cached: CachedRow) => RowHandle

/** Creates the class of a table's rows: one getter per column, and the methods of RowHandle. */
function handleClass(table: TableDefinition): HandleClass {
  class TableRow extends RowHandle {}
  for (const { name } of table.columns) {
    Object.defineProperty(TableRow.prototype, name, {
      get(this: TableRow) {
        return this.values[name]
      },
      enumerable: true,
    })
  }
  return TableRow
}

/** The methods of one table in one turn: `c.rows.items`. */
class TableView implements TableMethods<TableTypes> {
  readonly #turn: RowTurn
  readonly #rows: TableRows
  readonly #handle: HandleClass

  constructor(turn: RowTurn, rows: TableRows, handle: HandleClass) {
    this.#turn = turn
    this.#rows = rows
    this.#handle = handle
  }

  get(...key: readonly unknown[]): RowOf<TableTypes> | undefined {
    this.#turn.requireActive()
    return this.#handleOf(this.#rows.find(this.#fullKey(key[0])))
  }

  all(by: object = NO_VALUES, options: { limit?: number; descending?: boolean } = {}): RowOf<TableTypes>[] {
    this.#turn.requireActive()
    const { table } = this.#rows
    const filter: Record<string, unknown> = {}
    for (const [name, value] of Object.entries(by)) {
      const column = table.columnByName.get(name)
      if (!column || !(table.by.includes(column) || table.unique.includes(column)))
        throw unknownColumn(table, name, value, 'by or unique column')
      filter[name] = checkValue(table, column, value)
    }
    const { limit, descending = false } = options
    if (limit !== undefined && !(Number.isInteger(limit) && limit >= 0))
      throw badValue(table, `limit ${shorten(limit)} is not a whole number from 0`)
    if (limit === 0) return []
    return this.#rows.list(filter, limit ?? 0, descending).map((cached) => this.#handleOf(cached)!)
  }

  insert(values: object): never {
    const { table } = this.#rows
    this.#turn.requireActive()
    if (table.ids === 'auto') return this.#insertAuto(values as Row) as never
    return this.#insert(values as Row) as never
  }

  #insert(values: Row): RowOf<TableTypes> {
    const { table } = this.#rows
    const row = this.#complete(values)
    const cached = this.#rows.find(rowKeyOf(table, row))
    if (cached.row !== null) {
      const columns = keyColumns(table).map(({ name }) => name)
      const message = `a row with the key ${describeKey(table, cached.key)} exists`
      throw new RowError('DUPLICATE', table.name, message, columns.join())
    }
    this.#rows.checkUnique(cached, row)
    this.#rows.setRow(this.#turn, cached, row)
    return this.#handleOf(cached)!
  }

  async #insertAuto(values: Row): Promise<RowOf<TableTypes>> {
    const { table, host } = this.#rows
    const [idColumn] = table.keyInShard
    const { name, kind, defaultValue } = idColumn!
    if (values[name] !== undefined) return this.#insert(values)
    if (!host.store.nextId) throw badValue(table, `ids 'auto' come from MySQL, and none is configured`, name)
    const sample = this.#complete({ ...values, [name]: defaultValue })
    const id = await host.store.nextId(host.shardId, table, sample)
    this.#turn.requireActive()
    return this.#insert({ ...values, [name]: kind === 'big' ? id : Number(id) })
  }

  async invalidate(...key: readonly unknown[]): Promise<RowOf<TableTypes> | undefined> {
    this.#turn.requireActive()
    const fullKey = this.#fullKey(key[0])
    const { table, host } = this.#rows
    this.#refuseIfChanged(fullKey)
    if (host.store.reload) {
      const loaded = await host.store.reload(host.shardId, table, fullKey)
      this.#turn.requireActive()
      this.#refuseIfChanged(fullKey)
      this.#rows.refreshRow(fullKey, loaded)
    }
    return this.#handleOf(this.#rows.find(fullKey))
  }

  #refuseIfChanged(key: RowKey): void {
    if (this.#turn.hasChanged(this.#rows.find(key)))
      throw badValue(this.#rows.table, 'this turn has changed the row: invalidate it first')
  }

  #handleOf(cached: CachedRow): RowHandle | undefined {
    return cached.row === null ? undefined : new this.#handle(this.#turn, this.#rows, cached)
  }

  #fullKey(given: unknown): RowKey {
    const { table, host } = this.#rows
    const [only] = table.keyInShard
    return table.key.map((column) => {
      if (column === table.shardKey) return host.shardId.key
      const value = column === only && table.keyInShard.length === 1 ? given : (given as Row | undefined)?.[column.name]
      return checkValue(table, column, value)
    })
  }

  /** Returns the whole row, checked and frozen, in the order of the columns. */
  #complete(values: Row): Row {
    const { table, host } = this.#rows
    const { key } = host.shardId
    for (const name in values) {
      if (!table.columnByName.has(name)) throw unknownColumn(table, name, values[name])
    }
    const row: Record<string, unknown> = {}
    for (const column of table.columns) {
      const { name } = column
      let value = values[name]
      if (column === table.shardKey) {
        if (value !== undefined && value !== key) throw badValue(table, `${shorten(value)} is another shard's`, name)
        value = key
      } else if (value === undefined && column.optional) {
        const isGenerated = table.ids === 'generated' && table.keyInShard[0] === column
        value = isGenerated ? newRowId(host.clock) : column.defaultValue
      }
      row[name] = checkValue(table, column, value)
    }
    return Object.freeze(row)
  }
}

class RowHandle extends Unserializable implements RowMethods<TableTypes> {
  readonly #turn: RowTurn
  readonly #rows: TableRows
  #cached: CachedRow

  constructor(turn: RowTurn, rows: TableRows, cached: CachedRow) {
    super()
    this.#turn = turn
    this.#rows = rows
    this.#cached = cached
  }

  get values(): Row {
    this.#turn.requireActive()
    if (this.#cached.isEvicted) this.#cached = this.#rows.find(this.#cached.key)
    const { key, row } = this.#cached
    const { table } = this.#rows
    if (row === null) throw new RowError('MISSING', table.name, `the row ${describeKey(table, key)} was deleted`)
    return row
  }

  toJSON(): Row {
    return this.values
  }

  /** What `console.log(row)` shows, also after the turn: the columns instead of an empty object. */
  [INSPECT](): unknown {
    try {
      return { ...this.values }
    } catch {
      // The row was deleted, or the turn has ended: then the last values that it saw.
      const { row } = this.#cached
      return row === null ? `[deleted row of ${this.#rows.table.name}]` : { ...row }
    }
  }

  update(patch: object): void {
    const { table } = this.#rows
    const row: Record<string, unknown> = { ...this.values }
    const values = patch as Row
    for (const name in values) {
      const column = table.columnByName.get(name)
      if (!column) throw unknownColumn(table, name, values[name])
      if (table.key.includes(column) || column === table.shardKey) {
        const why = 'cannot be set, it is part of the key: delete the row and insert another'
        throw badValue(table, `${shorten(values[name])} ${why}`, name)
      }
      if (values[name] !== undefined) row[name] = checkValue(table, column, values[name])
    }
    if (table.unique.length > 0) this.#rows.checkUnique(this.#cached, row)
    this.#rows.setRow(this.#turn, this.#cached, Object.freeze(row))
  }

  increment(name: string, by: number | bigint): never {
    const { table } = this.#rows
    const { values } = this
    if (!table.columnByName.has(name)) throw unknownColumn(table, name, by)
    const now = values[name]
    if (typeof now !== typeof by || (typeof by !== 'number' && typeof by !== 'bigint'))
      throw badValue(table, `${shorten(by)} cannot be added to it`, name)
    const sum = typeof now === 'bigint' ? now + (by as bigint) : (now as number) + (by as number)
    this.update({ [name]: sum })
    return sum as never
  }

  delete(): void {
    // `values` throws where the row was deleted before.
    if (this.values) this.#rows.setRow(this.#turn, this.#cached, null)
  }
}

function checkValue(table: TableDefinition, column: ColumnDefinition, value: unknown): unknown {
  const checked = column.schema.read(value)
  if (checked === INVALID || checked === undefined) {
    const missing = { message: `missing, expected ${column.spec.kind}`, path: [] }
    const { message, path } = value === undefined ? missing : column.schema.diagnose(value)
    throw badValue(table, message, column.name, pathText(path))
  }
  // To the Store `a` and `a ` differ. To MySQL's utf8mb4_bin they are equal, and it would refuse the second row late.
  if (typeof checked === 'string' && checked.endsWith(' ') && isDistinct(table, column)) {
    const message = `${shorten(checked)} ends in a space, which MySQL ignores in a key or a unique value`
    throw badValue(table, message, column.name)
  }
  return ownedValue(table, column, checked)
}

/** Whether values of the column, alone or with other columns, are unique. */
function isDistinct({ key, unique }: TableDefinition, column: ColumnDefinition): boolean {
  return key.includes(column) || unique.includes(column)
}

function unknownColumn(table: TableDefinition, name: string, value: unknown, what = 'column'): RowError {
  return new RowError('UNKNOWN_COLUMN', table.name, `no such ${what}, was given ${shorten(value)}`, name)
}

function badValue(table: TableDefinition, message: string, column?: string, path?: string): RowError {
  return new RowError('BAD_VALUE', table.name, message, column, path)
}

/**
 * The value that the row stores, independent of the author's object. Turns share stored values: JSON is frozen; bytes and
 * dates cannot be frozen, so authors must not change them.
 */
function ownedValue(table: TableDefinition, { name, kind, spec }: ColumnDefinition, value: unknown): unknown {
  if (kind === 'json') {
    if (findKind(spec, UNDESCRIBED_KINDS) === null) return deepFreeze(value)
    // t.unknown and a schema of another library may accept more than JSON preserves.
    const json = walkValue(value, JSON_RULES, (path, why) => {
      throw badValue(table, why, name, path)
    })
    return deepFreeze(JSON.parse(JSON.stringify(json)))
  }
  if (value instanceof Uint8Array) return new Uint8Array(value)
  return value instanceof Date ? new Date(value) : value
}

const NO_VALUES: Row = Object.freeze({})
