// A game's table in SQLite: the encoding of each kind of column, and the statements. Identifiers come from a
// TableDefinition only. Invariant: a row reads back equal to what was written, and SQLite orders keys as
// core/rows/rowkey.ts does.

import type { ColumnDefinition, TableDefinition } from '../game/table.ts'
import type { Row, RowChange, RowKey, RowQuery } from '../ports/store.ts'
import { deepFreeze } from '../rows/freeze.ts'
import { rowKeyOf } from '../rows/rowkey.ts'
import { INVALID, findKind } from '../wire/schema.ts'

export type SqliteValue = number | string | Uint8Array | null
export type SqliteRow = Record<string, unknown>

/** A host's SQLite. The host caches statements by their text. */
export interface SqliteHandle {
  run(sql: string, ...cells: SqliteValue[]): void
  /** INTEGER as number or bigint, BLOB as Uint8Array or ArrayBuffer. */
  all(sql: string, ...cells: SqliteValue[]): SqliteRow[]
}

/** SQLite's type of each encoding. Its affinity keeps `5` an integer and `5.0` a real, whatever a host binds. */
export const SQLITE_TYPES = {
  int: 'INTEGER',
  real: 'REAL',
  bool: 'INTEGER',
  i64: 'TEXT',
  u64: 'TEXT',
  decimal: 'TEXT',
  text: 'TEXT',
  bytes: 'BLOB',
  json: 'TEXT',
  date: 'INTEGER',
} as const

/** How a column is encoded. Two columns with different encodings cannot read each other's cells. */
export type ColumnEncoding = keyof typeof SQLITE_TYPES

export function encodingOf({ kind, spec }: ColumnDefinition): ColumnEncoding {
  if (kind !== 'big') return kind
  return spec.kind === 'u64' ? 'u64' : 'i64'
}

export function blobBytes(cell: unknown): Uint8Array {
  if (cell instanceof Uint8Array) return cell
  if (cell instanceof ArrayBuffer) return new Uint8Array(cell)
  throw new Error(`a BLOB column holds ${typeof cell}`)
}

export function quoteSqliteIdentifier(identifier: string): string {
  return `"${identifier}"`
}
export function quotedTableName(table: string): string {
  return `"r_${table}"`
}
/** No table name contains a dot, so two tables never share the name of an index. */
export function quotedIndexName(table: string, column: string): string {
  return `"i_${table}.${column}"`
}

/** The primary key in SQLite, which stores the rows of a shard together. */
export function primaryKey({ shardKey, keyInShard }: TableDefinition): readonly ColumnDefinition[] {
  return [shardKey, ...keyInShard]
}

/** Columns of `by` and `unique` that need an index: those for which the primary key is not enough. */
export function indexedColumns({ by, unique, shardKey, keyInShard }: TableDefinition): ColumnDefinition[] {
  return [...new Set([...by, ...unique])].filter((column) => column !== shardKey && column !== keyInShard[0])
}

/** Encodes and decodes the values of one column. */
export class SqliteColumn {
  readonly name: string
  readonly encoding: ColumnEncoding
  readonly nullable: boolean
  /** The cell that NULL stands for: the row is older than the column. */
  readonly defaultCell: SqliteValue
  readonly #definition: ColumnDefinition
  /** True = the type parses JSON (t.record: no prototype); false = a foreign schema, which may transform its input. */
  readonly #parsesJson: boolean

  constructor(definition: ColumnDefinition) {
    this.name = definition.name
    this.encoding = encodingOf(definition)
    this.nullable = definition.nullable
    this.#definition = definition
    this.#parsesJson = findKind(definition.spec, ['foreign']) === null
    this.defaultCell = this.nullable ? null : this.encodeCell(definition.defaultValue)
  }

  encodeCell(value: unknown): SqliteValue {
    const { encoding } = this
    if (value === null) return encoding === 'json' && !this.nullable ? 'null' : null
    if (encoding === 'bool') return value ? 1 : 0
    if (encoding === 'i64') return toHex64((value as bigint) + I64_OFFSET)
    if (encoding === 'u64') return toHex64(value as bigint)
    if (encoding === 'json') return JSON.stringify(value) ?? null
    if (encoding === 'date') return (value as Date).getTime()
    return value as SqliteValue
  }

  decodeCell(stored: unknown): unknown {
    const cell = stored ?? this.defaultCell
    if (cell === null) return null
    switch (this.encoding) {
      case 'int':
      case 'real':
        return Number(cell)
      case 'bool':
        return Number(cell) !== 0
      case 'i64':
        return BigInt(`0x${cell as string}`) - I64_OFFSET
      case 'u64':
        return BigInt(`0x${cell as string}`)
      case 'bytes':
        return blobBytes(cell)
      case 'date':
        return new Date(Number(cell))
      case 'json':
        return this.#decodeJson(cell as string)
      default:
        return cell
    }
  }

  #decodeJson(text: string): unknown {
    const value: unknown = JSON.parse(text)
    const read = this.#parsesJson ? this.#definition.schema.read(value) : INVALID
    return deepFreeze(read === INVALID ? value : read)
  }
}

interface UpdateStatement {
  readonly sql: string
  readonly columns: readonly SqliteColumn[]
  /** Reused buffer of the parameters: a statement has ended when its call returns. */
  readonly cells: SqliteValue[]
}
interface ListStatement {
  readonly columns: readonly SqliteColumn[]
  readonly ascending: string
  readonly descending: string
}

/** The statements of one table, shared by all stores of a process. */
export class SqliteTable {
  readonly definition: TableDefinition
  readonly columns: readonly SqliteColumn[]
  readonly #shardKey: string
  readonly #keyInShard: readonly SqliteColumn[]
  /** Positions of `#keyInShard` in a RowKey. */
  readonly #keyPositions: readonly number[]
  readonly #select: string
  readonly #where: string
  readonly #selectByKey: string
  readonly #insert: string
  readonly #upsert: string
  readonly #delete: string
  readonly #rowCells: SqliteValue[]
  readonly #keyBuffer: SqliteValue[]
  readonly #updates: StatementCache<UpdateStatement>
  readonly #lists: StatementCache<ListStatement>

  constructor(definition: TableDefinition) {
    this.definition = definition
    this.columns = definition.columns.map((column) => new SqliteColumn(column))
    const byName = new Map(this.columns.map((column) => [column.name, column]))
    this.#shardKey = definition.shardKey.name
    this.#keyInShard = definition.keyInShard.map(({ name }) => byName.get(name)!)
    this.#keyPositions = definition.keyInShard.map((column) => definition.key.indexOf(column))
    const name = quotedTableName(definition.name)
    const key = primaryKey(definition).map((column) => quoteSqliteIdentifier(column.name))
    const names = this.columns.map((column) => quoteSqliteIdentifier(column.name))
    const otherColumns = names.filter((column) => !key.includes(column))
    this.#where = key.map((column) => `${column} = ?`).join(' AND ')
    this.#select = `SELECT ${names.join(', ')} FROM ${name}`
    this.#selectByKey = `${this.#select} WHERE ${this.#where}`
    this.#insert = `INSERT INTO ${name} (${names.join(', ')}) VALUES (${placeholders(names.length)})`
    const assignments = otherColumns.map((column) => `${column} = excluded.${column}`).join(', ')
    const conflict = assignments === '' ? 'NOTHING' : `UPDATE SET ${assignments}`
    this.#upsert = `${this.#insert} ON CONFLICT (${key.join(', ')}) DO ${conflict}`
    this.#delete = `DELETE FROM ${name} WHERE ${this.#where}`
    this.#rowCells = names.map(() => null)
    this.#keyBuffer = key.map(() => null)
    this.#updates = new StatementCache(this.columns, (columns) => this.#buildUpdate(columns))
    this.#lists = new StatementCache(this.columns, (columns) => this.#buildList(columns))
  }

  readRow(sql: SqliteHandle, shardKey: string, key: RowKey): Row | null {
    const [cells] = sql.all(this.#selectByKey, ...this.#keyCells(shardKey, key))
    return cells === undefined ? null : this.decodeRow(cells)
  }

  listRows(sql: SqliteHandle, shardKey: string, { by, descending, limit }: RowQuery): Row[] {
    const list = this.#lists.get(by)
    const cells: SqliteValue[] = [shardKey]
    for (const column of list.columns) cells.push(column.encodeCell(by[column.name]))
    cells.push(limit === 0 ? -1 : limit)
    return sql.all(descending ? list.descending : list.ascending, ...cells).map((row) => this.decodeRow(row))
  }

  /** @throws the host's error when an inserted key exists; the caller has checked that it does not */
  writeChange(sql: SqliteHandle, shardKey: string, { op, key, values }: RowChange): void {
    if (op === 'update') {
      const { sql: text, columns, cells } = this.#updates.get(values)
      let at = 0
      for (const column of columns) cells[at++] = column.encodeCell(values[column.name])
      for (const cell of this.#keyCells(shardKey, key)) cells[at++] = cell
      return sql.run(text, ...cells)
    }
    if (op === 'delete' || op === 'store-delete') return sql.run(this.#delete, ...this.#keyCells(shardKey, key))
    if (values[this.#shardKey] !== shardKey)
      throw new Error(
        `a row of ${this.definition.name} belongs to shard ${String(values[this.#shardKey])}, not ${shardKey}`,
      )
    let at = 0
    for (const column of this.columns) this.#rowCells[at++] = column.encodeCell(values[column.name])
    sql.run(op === 'insert' ? this.#insert : this.#upsert, ...this.#rowCells)
  }

  /** Rows of all shards after the row `after`, in the order of the primary key. */
  readPage(sql: SqliteHandle, after: Row | null, limit: number): Row[] {
    const key = primaryKey(this.definition).map(({ name }) => quoteSqliteIdentifier(name))
    const afterCondition = after === null ? '' : ` WHERE (${key.join(', ')}) > (${placeholders(key.length)})`
    const cells = after === null ? [] : this.#keyCells(String(after[this.#shardKey]), rowKeyOf(this.definition, after))
    const text = `${this.#select}${afterCondition} ORDER BY ${key.join(', ')} LIMIT ?`
    return sql.all(text, ...cells, limit).map((row) => this.decodeRow(row))
  }

  /** A frozen row with every column, in declared order. */
  decodeRow(cells: SqliteRow): Row {
    const row: Record<string, unknown> = {}
    for (const column of this.columns) row[column.name] = column.decodeCell(cells[column.name])
    return Object.freeze(row)
  }

  #keyCells(shardKey: string, key: RowKey): SqliteValue[] {
    const cells = this.#keyBuffer
    cells[0] = shardKey
    for (let i = 0; i < this.#keyInShard.length; i++)
      cells[i + 1] = this.#keyInShard[i]!.encodeCell(key[this.#keyPositions[i]!])
    return cells
  }

  #buildUpdate(columns: readonly SqliteColumn[]): UpdateStatement {
    const set = columns.map(({ name }) => `${quoteSqliteIdentifier(name)} = ?`).join(', ')
    const sql = `UPDATE ${quotedTableName(this.definition.name)} SET ${set} WHERE ${this.#where}`
    return { sql, columns, cells: [] }
  }

  #buildList(columns: readonly SqliteColumn[]): ListStatement {
    const { name, keyInShard, shardKey } = this.definition
    const names = new Set(columns.map((column) => column.name))
    const indexed = indexedColumns(this.definition).find((column) => names.has(column.name))
    const usesPrimaryKey = keyInShard[0] !== undefined && names.has(keyInShard[0].name)
    // Without the hint SQLite uses the primary key, because it has no statistics of the rows.
    const hint = indexed && !usesPrimaryKey ? ` INDEXED BY ${quotedIndexName(name, indexed.name)}` : ''
    const where = [
      `${quoteSqliteIdentifier(shardKey.name)} = ?`,
      ...columns.map((column) => `${quoteSqliteIdentifier(column.name)} IS ?`),
    ]
    const order = (direction: string): string => {
      const key = keyInShard.map((column) => `${quoteSqliteIdentifier(column.name)}${direction}`).join(', ')
      const orderBy = key === '' ? '' : ` ORDER BY ${key}`
      return `${this.#select}${hint} WHERE ${where.join(' AND ')}${orderBy} LIMIT ?`
    }
    return { columns, ascending: order(''), descending: order(' DESC') }
  }
}

interface CacheNode<T> {
  value: T | null
  readonly next: (CacheNode<T> | undefined)[]
}

/** Bounds the cache, because a game may build sets of columns from what a client sends. */
const MAX_CACHED_STATEMENTS = 256

/** Caches a statement for each set of columns, in a tree, so that a lookup builds no key string. */
class StatementCache<T> {
  readonly #columns: readonly SqliteColumn[]
  readonly #build: (columns: readonly SqliteColumn[]) => T
  #root: CacheNode<T> = { value: null, next: [] }
  #count = 0

  constructor(columns: readonly SqliteColumn[], build: (columns: readonly SqliteColumn[]) => T) {
    this.#columns = columns
    this.#build = build
  }

  get(values: Row): T {
    let node = this.#root
    for (let i = 0; i < this.#columns.length; i++) {
      if (!Object.hasOwn(values, this.#columns[i]!.name)) continue
      node = node.next[i] ??= { value: null, next: [] }
    }
    return (node.value ??= this.#add(values))
  }

  #add(values: Row): T {
    if (++this.#count > MAX_CACHED_STATEMENTS) {
      this.#root = { value: null, next: [] }
      this.#count = 1
    }
    return this.#build(this.#columns.filter(({ name }) => Object.hasOwn(values, name)))
  }
}

/** Added to an i64, so that 16 hex digits sort as the numbers do. */
const I64_OFFSET = 2n ** 63n

function toHex64(value: bigint): string {
  return value.toString(16).padStart(16, '0')
}

function placeholders(count: number): string {
  return Array.from({ length: count }, () => '?').join(', ')
}
