// One author's table in SQLite: the form of each kind of column, and the statements. Identifiers come from a
// TableDefinition and nowhere else. Invariant: what is read equals what was written, and keys sort in SQLite as
// core/run/rowkey.ts sorts them.

import type { ColumnDefinition, TableDefinition } from '../game/table.ts'
import type { Row, RowChange, RowKey, RowQuery } from '../run/ports.ts'
import { BAD, kindWithin } from '../wire/schema.ts'

export type Cell = number | string | Uint8Array | null
export type SqlRow = Record<string, unknown>

/** A host's SQLite. Statements are kept by their text, so equal texts are the same string. */
export interface Sql {
  run(sql: string, ...cells: Cell[]): void
  /** INTEGER as number or bigint, BLOB as Uint8Array or ArrayBuffer. */
  all(sql: string, ...cells: Cell[]): SqlRow[]
}

/** What tells columns apart that cannot be read as each other. */
export type Form = 'int' | 'real' | 'bool' | 'i64' | 'u64' | 'decimal' | 'text' | 'bytes' | 'json' | 'date'

/** SQLite's type of a form: its affinity keeps `5` an integer and `5.0` a real, whatever a host binds. */
export const SQL_TYPES: Readonly<Record<Form, 'INTEGER' | 'REAL' | 'TEXT' | 'BLOB'>> = {
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

export function formOf({ kind, spec }: ColumnDefinition): Form {
  if (kind !== 'big') return kind
  return spec.kind === 'u64' ? 'u64' : 'i64'
}

export function bytesOf(cell: unknown): Uint8Array {
  if (cell instanceof Uint8Array) return cell
  if (cell instanceof ArrayBuffer) return new Uint8Array(cell)
  throw new Error(`a BLOB column holds ${typeof cell}`)
}

export function quote(identifier: string): string {
  return `"${identifier}"`
}
export function tableName(table: string): string {
  return `"r_${table}"`
}
/** A dot stands in no name of ours, so two tables never share the name of an index. */
export function indexName(table: string, column: string): string {
  return `"i_${table}.${column}"`
}

/** SQLite's primary key: a shard's rows stand together. */
export function primaryKey({ shardKey, rest }: TableDefinition): readonly ColumnDefinition[] {
  return [shardKey, ...rest]
}

/** Columns with an index of their own: those asked for that do not follow the shard's in the primary key anyway. */
export function indexedColumns({ by, unique, shardKey, rest }: TableDefinition): ColumnDefinition[] {
  return [...new Set([...by, ...unique])].filter((column) => column !== shardKey && column !== rest[0])
}

/** One column's values as cells, both ways. */
export class SqlColumn {
  readonly name: string
  readonly form: Form
  readonly nullable: boolean
  /** What NULL stands for: the row is older than the column. */
  readonly fallback: Cell
  readonly #definition: ColumnDefinition
  /** Run JSON through its type: t.record gives objects without a prototype. A foreign schema may transform. */
  readonly #reads: boolean

  constructor(definition: ColumnDefinition) {
    this.name = definition.name
    this.form = formOf(definition)
    this.nullable = definition.nullable
    this.#definition = definition
    this.#reads = kindWithin(definition.spec, ['foreign']) === null
    this.fallback = this.nullable ? null : this.encode(definition.fallback)
  }

  encode(value: unknown): Cell {
    const { form } = this
    if (value === null) return form === 'json' && !this.nullable ? 'null' : null
    if (form === 'bool') return value ? 1 : 0
    if (form === 'i64') return hex((value as bigint) + I64_OFFSET)
    if (form === 'u64') return hex(value as bigint)
    if (form === 'json') return JSON.stringify(value) ?? null
    if (form === 'date') return (value as Date).getTime()
    return value as Cell
  }

  decode(stored: unknown): unknown {
    const cell = stored ?? this.fallback
    if (cell === null) return null
    switch (this.form) {
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
        return bytesOf(cell)
      case 'date':
        return new Date(Number(cell))
      case 'json':
        return this.#json(cell as string)
      default:
        return cell
    }
  }

  #json(text: string): unknown {
    const value: unknown = JSON.parse(text)
    const read = this.#reads ? this.#definition.part.read(value) : BAD
    return freeze(read === BAD ? value : read)
  }
}

interface Update {
  readonly sql: string
  readonly columns: readonly SqlColumn[]
  /** Filled anew for each use: a statement is over when its call returns. */
  readonly cells: Cell[]
}
interface List {
  readonly columns: readonly SqlColumn[]
  readonly ascending: string
  readonly descending: string
}

/** The statements of one table, for every host and file that holds it. */
export class SqlTable {
  readonly definition: TableDefinition
  readonly columns: readonly SqlColumn[]
  readonly #shardKey: string
  readonly #rest: readonly SqlColumn[]
  /** Where a RowKey holds them. */
  readonly #restAt: readonly number[]
  readonly #select: string
  readonly #where: string
  readonly #get: string
  readonly #insert: string
  readonly #fill: string
  readonly #delete: string
  readonly #row: Cell[]
  readonly #key: Cell[]
  readonly #updates: Variants<Update>
  readonly #lists: Variants<List>

  constructor(definition: TableDefinition) {
    this.definition = definition
    this.columns = definition.columns.map((column) => new SqlColumn(column))
    const byName = new Map(this.columns.map((column) => [column.name, column]))
    this.#shardKey = definition.shardKey.name
    this.#rest = definition.rest.map(({ name }) => byName.get(name)!)
    this.#restAt = definition.rest.map((column) => definition.key.indexOf(column))
    const name = tableName(definition.name)
    const key = primaryKey(definition).map((column) => quote(column.name))
    const names = this.columns.map((column) => quote(column.name))
    const others = names.filter((column) => !key.includes(column))
    this.#where = key.map((column) => `${column} = ?`).join(' AND ')
    this.#select = `SELECT ${names.join(', ')} FROM ${name}`
    this.#get = `${this.#select} WHERE ${this.#where}`
    this.#insert = `INSERT INTO ${name} (${names.join(', ')}) VALUES (${marks(names.length)})`
    const change = others.map((column) => `${column} = excluded.${column}`).join(', ')
    const conflict = change === '' ? 'NOTHING' : `UPDATE SET ${change}`
    this.#fill = `${this.#insert} ON CONFLICT (${key.join(', ')}) DO ${conflict}`
    this.#delete = `DELETE FROM ${name} WHERE ${this.#where}`
    this.#row = names.map(() => null)
    this.#key = key.map(() => null)
    this.#updates = new Variants(this.columns, (columns) => this.#updateOf(columns))
    this.#lists = new Variants(this.columns, (columns) => this.#listOf(columns))
  }

  row(sql: Sql, shardKey: string, key: RowKey): Row | null {
    const [cells] = sql.all(this.#get, ...this.#keyCells(shardKey, key))
    return cells === undefined ? null : this.decode(cells)
  }

  list(sql: Sql, shardKey: string, { by, descending, limit }: RowQuery): Row[] {
    const list = this.#lists.of(by)
    const cells: Cell[] = [shardKey]
    for (const column of list.columns) cells.push(column.encode(by[column.name]))
    cells.push(limit === 0 ? -1 : limit)
    return sql.all(descending ? list.descending : list.ascending, ...cells).map((row) => this.decode(row))
  }

  /** @throws the host's error where an inserted key is there already: whoever inserts has looked */
  write(sql: Sql, shardKey: string, { op, key, values }: RowChange): void {
    if (op === 'update') {
      const { sql: text, columns, cells } = this.#updates.of(values)
      let at = 0
      for (const column of columns) cells[at++] = column.encode(values[column.name])
      for (const cell of this.#keyCells(shardKey, key)) cells[at++] = cell
      return sql.run(text, ...cells)
    }
    if (op === 'delete' || op === 'drop') return sql.run(this.#delete, ...this.#keyCells(shardKey, key))
    if (values[this.#shardKey] !== shardKey)
      throw new Error(
        `a row of ${this.definition.name} is not its shard's: ${String(values[this.#shardKey])}`,
      )
    let at = 0
    for (const column of this.columns) this.#row[at++] = column.encode(values[column.name])
    sql.run(op === 'insert' ? this.#insert : this.#fill, ...this.#row)
  }

  /** Rows of all shards in the order of the primary key, behind the row `after`. */
  page(sql: Sql, after: Row | null, limit: number): Row[] {
    const key = primaryKey(this.definition).map(({ name }) => quote(name))
    const behind = after === null ? '' : ` WHERE (${key.join(', ')}) > (${marks(key.length)})`
    const cells = after === null ? [] : this.#keyCells(String(after[this.#shardKey]), this.keyOf(after))
    const text = `${this.#select}${behind} ORDER BY ${key.join(', ')} LIMIT ?`
    return sql.all(text, ...cells, limit).map((row) => this.decode(row))
  }

  keyOf(row: Row): RowKey {
    return this.definition.key.map(({ name }) => row[name])
  }

  /** Frozen, every column, in the declared order. */
  decode(cells: SqlRow): Row {
    const row: Record<string, unknown> = {}
    for (const column of this.columns) row[column.name] = column.decode(cells[column.name])
    return Object.freeze(row)
  }

  #keyCells(shardKey: string, key: RowKey): Cell[] {
    const cells = this.#key
    cells[0] = shardKey
    for (let i = 0; i < this.#rest.length; i++) cells[i + 1] = this.#rest[i]!.encode(key[this.#restAt[i]!])
    return cells
  }

  #updateOf(columns: readonly SqlColumn[]): Update {
    const set = columns.map(({ name }) => `${quote(name)} = ?`).join(', ')
    const sql = `UPDATE ${tableName(this.definition.name)} SET ${set} WHERE ${this.#where}`
    return { sql, columns, cells: [] }
  }

  #listOf(columns: readonly SqlColumn[]): List {
    const { name, rest, shardKey } = this.definition
    // Left to itself, SQLite takes the primary key for rows of which it has no statistics.
    const inKey = columns.some((column) => column.name === rest[0]?.name)
    const indexed = indexedColumns(this.definition).find((one) => columns.some((it) => it.name === one.name))
    const hint = indexed && !inKey ? ` INDEXED BY ${indexName(name, indexed.name)}` : ''
    const where = [`${quote(shardKey.name)} = ?`, ...columns.map((column) => `${quote(column.name)} IS ?`)]
    const order = (direction: string): string => {
      const key = rest.map((column) => `${quote(column.name)}${direction}`).join(', ')
      const by = key === '' ? '' : ` ORDER BY ${key}`
      return `${this.#select}${hint} WHERE ${where.join(' AND ')}${by} LIMIT ?`
    }
    return { columns, ascending: order(''), descending: order(' DESC') }
  }
}

interface Branch<T> {
  made: T | null
  readonly next: (Branch<T> | undefined)[]
}

/** Sets of columns come from the game's code, which may build them from what a client sends. */
const MAX_VARIANTS = 256

/** What is made once for each set of columns, found without making a name for the set. */
class Variants<T> {
  readonly #columns: readonly SqlColumn[]
  readonly #make: (columns: readonly SqlColumn[]) => T
  #root: Branch<T> = { made: null, next: [] }
  #count = 0

  constructor(columns: readonly SqlColumn[], make: (columns: readonly SqlColumn[]) => T) {
    this.#columns = columns
    this.#make = make
  }

  of(values: Row): T {
    let branch = this.#root
    for (let i = 0; i < this.#columns.length; i++) {
      if (!Object.hasOwn(values, this.#columns[i]!.name)) continue
      branch = branch.next[i] ??= { made: null, next: [] }
    }
    return (branch.made ??= this.#add(values))
  }

  #add(values: Row): T {
    if (++this.#count > MAX_VARIANTS) {
      this.#root = { made: null, next: [] }
      this.#count = 1
    }
    return this.#make(this.#columns.filter(({ name }) => Object.hasOwn(values, name)))
  }
}

/** i64 counted from its minimum: 16 hex digits sort as the numbers do. */
const I64_OFFSET = 2n ** 63n

function hex(value: bigint): string {
  return value.toString(16).padStart(16, '0')
}

function marks(count: number): string {
  return Array.from({ length: count }, () => '?').join(', ')
}

function freeze(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  for (const inner of Object.values(value)) freeze(inner)
  return Object.freeze(value)
}
