// One author's table in SQLite: the form of each kind of column, and the statements. Identifiers come from a
// TableDefinition and nowhere else. Invariant: what is read equals what was written, and keys sort in SQLite as
// core/rows/rowkey.ts sorts them.

import type { ColumnDefinition, TableDefinition } from '../game/table.ts'
import type { Row, RowChange, RowKey, RowQuery } from '../ports/store.ts'
import { INVALID, findKind } from '../wire/schema.ts'

export type SqliteValue = number | string | Uint8Array | null
export type SqliteRow = Record<string, unknown>

/** A host's SQLite. Statements are kept by their text, so equal texts are the same string. */
export interface SqliteHandle {
  run(sql: string, ...cells: SqliteValue[]): void
  /** INTEGER as number or bigint, BLOB as Uint8Array or ArrayBuffer. */
  all(sql: string, ...cells: SqliteValue[]): SqliteRow[]
}

/** What tells columns apart that cannot be read as each other. */
export type ColumnEncoding =
  | 'int'
  | 'real'
  | 'bool'
  | 'i64'
  | 'u64'
  | 'decimal'
  | 'text'
  | 'bytes'
  | 'json'
  | 'date'

/** SQLite's type of a form: its affinity keeps `5` an integer and `5.0` a real, whatever a host binds. */
export const SQLITE_TYPES: Readonly<Record<ColumnEncoding, 'INTEGER' | 'REAL' | 'TEXT' | 'BLOB'>> = {
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
}

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
/** A dot stands in no name of ours, so two tables never share the name of an index. */
export function quotedIndexName(table: string, column: string): string {
  return `"i_${table}.${column}"`
}

/** SQLite's primary key: a shard's rows stand together. */
export function primaryKey({ shardKey, keyInShard: rest }: TableDefinition): readonly ColumnDefinition[] {
  return [shardKey, ...rest]
}

/** Columns with an index of their own: those asked for that do not follow the shard's in the primary key anyway. */
export function indexedColumns({
  by,
  unique,
  shardKey,
  keyInShard: rest,
}: TableDefinition): ColumnDefinition[] {
  return [...new Set([...by, ...unique])].filter((column) => column !== shardKey && column !== rest[0])
}

/** One column's values as cells, both ways. */
export class SqliteColumn {
  readonly name: string
  readonly encoding: ColumnEncoding
  readonly nullable: boolean
  /** What NULL stands for: the row is older than the column. */
  readonly fallback: SqliteValue
  readonly #definition: ColumnDefinition
  /** Run JSON through its type: t.record gives objects without a prototype. A foreign schema may transform. */
  readonly #parsesJson: boolean

  constructor(definition: ColumnDefinition) {
    this.name = definition.name
    this.encoding = encodingOf(definition)
    this.nullable = definition.nullable
    this.#definition = definition
    this.#parsesJson = findKind(definition.spec, ['foreign']) === null
    this.fallback = this.nullable ? null : this.encodeCell(definition.defaultValue)
  }

  encodeCell(value: unknown): SqliteValue {
    const { encoding: form } = this
    if (value === null) return form === 'json' && !this.nullable ? 'null' : null
    if (form === 'bool') return value ? 1 : 0
    if (form === 'i64') return toHex64((value as bigint) + I64_OFFSET)
    if (form === 'u64') return toHex64(value as bigint)
    if (form === 'json') return JSON.stringify(value) ?? null
    if (form === 'date') return (value as Date).getTime()
    return value as SqliteValue
  }

  decodeCell(stored: unknown): unknown {
    const cell = stored ?? this.fallback
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
  /** Filled anew for each use: a statement is over when its call returns. */
  readonly cells: SqliteValue[]
}
interface ListStatement {
  readonly columns: readonly SqliteColumn[]
  readonly ascending: string
  readonly descending: string
}

/** The statements of one table, for every host and file that holds it. */
export class SqliteTable {
  readonly definition: TableDefinition
  readonly columns: readonly SqliteColumn[]
  readonly #shardKey: string
  readonly #rest: readonly SqliteColumn[]
  /** Where a RowKey holds them. */
  readonly #restPositions: readonly number[]
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
    this.#rest = definition.keyInShard.map(({ name }) => byName.get(name)!)
    this.#restPositions = definition.keyInShard.map((column) => definition.key.indexOf(column))
    const name = quotedTableName(definition.name)
    const key = primaryKey(definition).map((column) => quoteSqliteIdentifier(column.name))
    const names = this.columns.map((column) => quoteSqliteIdentifier(column.name))
    const others = names.filter((column) => !key.includes(column))
    this.#where = key.map((column) => `${column} = ?`).join(' AND ')
    this.#select = `SELECT ${names.join(', ')} FROM ${name}`
    this.#selectByKey = `${this.#select} WHERE ${this.#where}`
    this.#insert = `INSERT INTO ${name} (${names.join(', ')}) VALUES (${placeholders(names.length)})`
    const change = others.map((column) => `${column} = excluded.${column}`).join(', ')
    const conflict = change === '' ? 'NOTHING' : `UPDATE SET ${change}`
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

  /** @throws the host's error where an inserted key is there already: whoever inserts has looked */
  writeChange(sql: SqliteHandle, shardKey: string, { op, key, values }: RowChange): void {
    if (op === 'update') {
      const { sql: text, columns, cells } = this.#updates.get(values)
      let at = 0
      for (const column of columns) cells[at++] = column.encodeCell(values[column.name])
      for (const cell of this.#keyCells(shardKey, key)) cells[at++] = cell
      return sql.run(text, ...cells)
    }
    if (op === 'delete' || op === 'store-delete')
      return sql.run(this.#delete, ...this.#keyCells(shardKey, key))
    if (values[this.#shardKey] !== shardKey)
      throw new Error(
        `a row of ${this.definition.name} is not its shard's: ${String(values[this.#shardKey])}`,
      )
    let at = 0
    for (const column of this.columns) this.#rowCells[at++] = column.encodeCell(values[column.name])
    sql.run(op === 'insert' ? this.#insert : this.#upsert, ...this.#rowCells)
  }

  /** Rows of all shards in the order of the primary key, behind the row `after`. */
  readPage(sql: SqliteHandle, after: Row | null, limit: number): Row[] {
    const key = primaryKey(this.definition).map(({ name }) => quoteSqliteIdentifier(name))
    const afterCondition = after === null ? '' : ` WHERE (${key.join(', ')}) > (${placeholders(key.length)})`
    const cells = after === null ? [] : this.#keyCells(String(after[this.#shardKey]), this.keyOf(after))
    const text = `${this.#select}${afterCondition} ORDER BY ${key.join(', ')} LIMIT ?`
    return sql.all(text, ...cells, limit).map((row) => this.decodeRow(row))
  }

  keyOf(row: Row): RowKey {
    return this.definition.key.map(({ name }) => row[name])
  }

  /** Frozen, every column, in the declared order. */
  decodeRow(cells: SqliteRow): Row {
    const row: Record<string, unknown> = {}
    for (const column of this.columns) row[column.name] = column.decodeCell(cells[column.name])
    return Object.freeze(row)
  }

  #keyCells(shardKey: string, key: RowKey): SqliteValue[] {
    const cells = this.#keyBuffer
    cells[0] = shardKey
    for (let i = 0; i < this.#rest.length; i++)
      cells[i + 1] = this.#rest[i]!.encodeCell(key[this.#restPositions[i]!])
    return cells
  }

  #buildUpdate(columns: readonly SqliteColumn[]): UpdateStatement {
    const set = columns.map(({ name }) => `${quoteSqliteIdentifier(name)} = ?`).join(', ')
    const sql = `UPDATE ${quotedTableName(this.definition.name)} SET ${set} WHERE ${this.#where}`
    return { sql, columns, cells: [] }
  }

  #buildList(columns: readonly SqliteColumn[]): ListStatement {
    const { name, keyInShard: rest, shardKey } = this.definition
    // Left to itself, SQLite takes the primary key for rows of which it has no statistics.
    const inKey = columns.some((column) => column.name === rest[0]?.name)
    const indexed = indexedColumns(this.definition).find((one) => columns.some((it) => it.name === one.name))
    const hint = indexed && !inKey ? ` INDEXED BY ${quotedIndexName(name, indexed.name)}` : ''
    const where = [
      `${quoteSqliteIdentifier(shardKey.name)} = ?`,
      ...columns.map((column) => `${quoteSqliteIdentifier(column.name)} IS ?`),
    ]
    const order = (direction: string): string => {
      const key = rest.map((column) => `${quoteSqliteIdentifier(column.name)}${direction}`).join(', ')
      const by = key === '' ? '' : ` ORDER BY ${key}`
      return `${this.#select}${hint} WHERE ${where.join(' AND ')}${by} LIMIT ?`
    }
    return { columns, ascending: order(''), descending: order(' DESC') }
  }
}

interface CacheNode<T> {
  value: T | null
  readonly next: (CacheNode<T> | undefined)[]
}

/** Sets of columns come from the game's code, which may build them from what a client sends. */
const MAX_CACHED_STATEMENTS = 256

/** What is made once for each set of columns, found without making a name for the set. */
class StatementCache<T> {
  readonly #columns: readonly SqliteColumn[]
  readonly #make: (columns: readonly SqliteColumn[]) => T
  #root: CacheNode<T> = { value: null, next: [] }
  #count = 0

  constructor(columns: readonly SqliteColumn[], make: (columns: readonly SqliteColumn[]) => T) {
    this.#columns = columns
    this.#make = make
  }

  get(values: Row): T {
    let branch = this.#root
    for (let i = 0; i < this.#columns.length; i++) {
      if (!Object.hasOwn(values, this.#columns[i]!.name)) continue
      branch = branch.next[i] ??= { value: null, next: [] }
    }
    return (branch.value ??= this.#add(values))
  }

  #add(values: Row): T {
    if (++this.#count > MAX_CACHED_STATEMENTS) {
      this.#root = { value: null, next: [] }
      this.#count = 1
    }
    return this.#make(this.#columns.filter(({ name }) => Object.hasOwn(values, name)))
  }
}

/** i64 counted from its minimum: 16 hex digits sort as the numbers do. */
const I64_OFFSET = 2n ** 63n

function toHex64(value: bigint): string {
  return value.toString(16).padStart(16, '0')
}

function placeholders(count: number): string {
  return Array.from({ length: count }, () => '?').join(', ')
}

function deepFreeze(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  for (const inner of Object.values(value)) deepFreeze(inner)
  return Object.freeze(value)
}
