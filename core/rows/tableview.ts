// What a turn does with rows: `c.rows.items.get(id)`, `item.update({ … })`. Values are checked when they are given, so
// that a bad one fails its own turn, with a message that names table, column, value and bound.

import { Unserializable } from '../wire/codec.ts'
import type { RowOf, Rows, Tables, TableMethods } from '../game/context.ts'
import type { ColumnDefinition, TableDefinition, TableTypes } from '../game/table.ts'
import { RowError, shorten } from '../wire/errors.ts'
import { INVALID, findKind, pathText } from '../wire/schema.ts'
import type { Row, RowKey } from '../ports/store.ts'
import type { CachedRow } from './rowcache.ts'
import { keyColumns, describeKey, newRowId } from './rowkey.ts'
import { rowKeyOf, type TableRows } from './tablerows.ts'
import type { Turn } from '../turn/turn.ts'

/** The verbs of one table in one turn: `c.rows.items`. */
class TableView implements TableMethods<TableTypes> {
  readonly #turn: Turn
  readonly #rows: TableRows
  readonly #handle: HandleClass

  constructor(turn: Turn, rows: TableRows, handle: HandleClass) {
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
      throw new RowError('BAD_VALUE', table.name, `limit ${shorten(limit)} is not a whole number from 0`)
    if (limit === 0) return []
    const found = this.#rows.list(filter, limit ?? 0, descending)
    return found.map((cached) => this.#handleOf(cached)!)
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
    if (cached.row !== null)
      throw new RowError(
        'DUPLICATE',
        table.name,
        `a row with the key ${describeKey(table, cached.key)} is there`,
        keyColumns(table)
          .map(({ name }) => name)
          .join(),
      )
    this.#rows.checkUnique(cached, row)
    this.#rows.setRow(this.#turn, cached, row)
    return this.#handleOf(cached)!
  }

  async #insertAuto(values: Row): Promise<RowOf<TableTypes>> {
    const { table } = this.#rows
    const [idColumn] = table.keyInShard
    if (values[idColumn!.name] !== undefined) return this.#insert(values)
    const { store, shard } = this.#turn.activation
    if (!store.nextId)
      throw new RowError(
        'BAD_VALUE',
        table.name,
        `ids 'auto' come from MySQL, and none stands behind`,
        idColumn!.name,
      )
    const sample = this.#complete({ ...values, [idColumn!.name]: idColumn!.defaultValue })
    const id = await store.nextId(shard.id, table, sample)
    this.#turn.requireActive()
    return this.#insert({ ...values, [idColumn!.name]: idColumn!.kind === 'big' ? id : Number(id) })
  }

  async invalidate(...key: readonly unknown[]): Promise<RowOf<TableTypes> | undefined> {
    const activation = this.#turn.requireActive()
    const full = this.#fullKey(key[0])
    const { store, shard } = activation
    this.#refuseIfChanged(full)
    if (store.reload) {
      const fresh = await store.reload(shard.id, this.#rows.table, full)
      this.#turn.requireActive()
      this.#refuseIfChanged(full)
      activation.refreshRow(this.#rows, full, fresh)
    }
    return this.#handleOf(this.#rows.find(full))
  }

  #refuseIfChanged(key: RowKey): void {
    if (this.#turn.hasChanged(this.#rows.find(key)))
      throw new RowError(
        'BAD_VALUE',
        this.#rows.table.name,
        'this turn has changed the row: invalidate it first',
      )
  }

  #handleOf(cached: CachedRow): RowOf<TableTypes> | undefined {
    return cached.row === null ? undefined : new this.#handle(this.#turn, this.#rows, cached)
  }

  #fullKey(given: unknown): RowKey {
    const { table } = this.#rows
    const { key } = this.#turn.activation.shard.id
    const [only] = table.keyInShard
    return table.key.map((column) => {
      if (column === table.shardKey) return key
      const value =
        column === only && table.keyInShard.length === 1 ? given : (given as Row | undefined)?.[column.name]
      return checkValue(table, column, value)
    })
  }

  /** A whole row, checked, frozen, in the order of the columns. */
  #complete(values: Row): Row {
    const { table } = this.#rows
    const { shard, clock } = this.#turn.activation
    for (const name in values) {
      if (!table.columnByName.has(name)) throw unknownColumn(table, name, values[name])
    }
    const row: Record<string, unknown> = {}
    for (const column of table.columns) {
      const { name } = column
      let value = values[name]
      if (column === table.shardKey) {
        if (value !== undefined && value !== shard.id.key)
          throw new RowError('BAD_VALUE', table.name, `${shorten(value)} is another shard's`, name)
        value = shard.id.key
      } else if (value === undefined && column.optional) {
        value =
          table.ids === 'generated' && table.keyInShard[0] === column ? newRowId(clock) : column.defaultValue
      }
      row[name] = checkValue(table, column, value)
    }
    return Object.freeze(row)
  }
}

/** No name that a table may have. */
const TURN = Symbol('turn')

export type RowsView = new (turn: Turn) => Rows<Tables>

/** The class of `c.rows` of one kind of shard: a getter a table. */
export function rowsView(tables: ReadonlyMap<string, TableDefinition>): RowsView {
  class View {
    readonly [TURN]: Turn
    constructor(turn: Turn) {
      this[TURN] = turn
    }
  }
  for (const [name, table] of tables) {
    const handle = handleClass(table)
    Object.defineProperty(View.prototype, name, {
      get(this: View) {
        return new TableView(this[TURN], this[TURN].requireActive().rows(table), handle)
      },
    })
  }
  return View as unknown as RowsView
}

type Handle = RowOf<TableTypes>
type HandleClass = new (turn: Turn, rows: TableRows, cached: CachedRow) => Handle

/** The class of a table's rows: a getter a column, and the verbs. Made once for each table. */
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
  return TableRow as unknown as HandleClass
}

class RowHandle extends Unserializable {
  readonly #turn: Turn
  readonly #rows: TableRows
  #cached: CachedRow

  constructor(turn: Turn, rows: TableRows, cached: CachedRow) {
    super()
    this.#turn = turn
    this.#rows = rows
    this.#cached = cached
  }

  get values(): Row {
    this.#turn.requireActive()
    if (this.#cached.isEvicted) this.#cached = this.#rows.find(this.#cached.key)
    const { row } = this.#cached
    if (row === null)
      throw new RowError(
        'MISSING',
        this.#rows.table.name,
        `the row ${describeKey(this.#rows.table, this.#cached.key)} was deleted`,
      )
    return row
  }

  toJSON(): Row {
    return this.values
  }

  update(patch: Row): void {
    const { table } = this.#rows
    const row: Record<string, unknown> = { ...this.values }
    for (const name in patch) {
      const column = table.columnByName.get(name)
      if (!column) throw unknownColumn(table, name, patch[name])
      if (table.key.includes(column) || column === table.shardKey)
        throw new RowError(
          'BAD_VALUE',
          table.name,
          `${shorten(patch[name])} cannot be set, it is part of the key: delete the row and insert another`,
          name,
        )
      if (patch[name] !== undefined) row[name] = checkValue(table, column, patch[name])
    }
    if (table.unique.length > 0) this.#rows.checkUnique(this.#cached, row)
    this.#rows.setRow(this.#turn, this.#cached, Object.freeze(row))
  }

  increment(name: string, by: number | bigint): unknown {
    const { table } = this.#rows
    const { values } = this
    if (!table.columnByName.has(name)) throw unknownColumn(table, name, by)
    const now = values[name]
    if (typeof now !== typeof by || (typeof by !== 'number' && typeof by !== 'bigint'))
      throw new RowError('BAD_VALUE', table.name, `${shorten(by)} cannot be added to it`, name)
    const sum = typeof now === 'bigint' ? now + (by as bigint) : (now as number) + (by as number)
    this.update({ [name]: sum })
    return sum
  }

  delete(): void {
    // Reading it says whether it is still there.
    if (this.values) this.#rows.setRow(this.#turn, this.#cached, null)
  }
}

function checkValue(table: TableDefinition, column: ColumnDefinition, value: unknown): unknown {
  const out = column.schema.read(value)
  if (out === INVALID || out === undefined) {
    const missing = { message: `missing, expected ${column.spec.kind}`, path: [] }
    const { message, path } = value === undefined ? missing : column.schema.diagnose(value)
    throw new RowError('BAD_VALUE', table.name, message, column.name, pathText(path))
  }
  // The Store would tell `a` from `a `. MySQL's utf8mb4_bin does not, and would refuse the second after its answer.
  if (typeof out === 'string' && out.endsWith(' ') && isDistinct(table, column)) {
    const message = `${shorten(out)} ends in a space, which MySQL ignores in a key or a unique value`
    throw new RowError('BAD_VALUE', table.name, message, column.name)
  }
  return ownedValue(column, out)
}

/** No two rows may be the same in it, alone or with other columns. */
function isDistinct({ key, unique }: TableDefinition, column: ColumnDefinition): boolean {
  return key.includes(column) || unique.includes(column)
}

function unknownColumn(
  { name: table }: TableDefinition,
  name: string,
  value: unknown,
  what = 'column',
): RowError {
  return new RowError('UNKNOWN_COLUMN', table, `no such ${what}, was given ${shorten(value)}`, name)
}

/**
 * As the row holds it, whatever becomes of what the author gave. Values are shared between turns: JSON is frozen; bytes
 * and dates cannot be, and are the author's to leave alone.
 */
function ownedValue({ kind, spec }: ColumnDefinition, value: unknown): unknown {
  if (value instanceof Uint8Array) return new Uint8Array(value)
  if (value instanceof Date) return new Date(value)
  // Another library's value may be more than JSON gives back.
  const isOurs = kind !== 'json' || findKind(spec, ['foreign']) === null
  return freeze(isOurs ? value : JSON.parse(JSON.stringify(value)))
}

function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  for (const inner of Object.values(value)) freeze(inner)
  return Object.freeze(value)
}

const NO_VALUES: Row = Object.freeze({})
