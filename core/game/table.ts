// A table of durable rows: its columns, its keys, its one owner. After `table` returned, every identifier is safe to
// stand in SQL and every column has a kind that both SQLite and MySQL hold without loss.

import type { Contract } from '../wire/contract.ts'
import { DefinitionError, shorten } from '../wire/errors.ts'
import { findKind, compileSchema, type CompiledSchema } from '../wire/schema.ts'
import type { Fields, InferFields, TypeSpec } from '../wire/type.ts'
import { checkStorage, longest } from './storage.ts'

/**
 * When a reply may leave: `local` = the rows are committed in the shard's Store; `critical` = they are committed in
 * MySQL as well, so that not even the loss of the machine takes them back.
 */
export type Durability = 'local' | 'critical'
/** Who makes the key of a new row: the game, Firefly (a `t.id`), or MySQL's AUTO_INCREMENT. */
export type Ids = 'given' | 'generated' | 'auto'

export interface TableOptions<C extends Fields> {
  /** The primary key, one column or several. */
  readonly key: ColumnName<C> | readonly [ColumnName<C>, ...ColumnName<C>[]]
  /** The kind of shard that alone writes these rows. */
  readonly owner: Contract
  /** Foreign keys: `c.rows.items.all({ guild })`. */
  readonly by?: readonly ColumnName<C>[]
  /** The column that holds the key of the row's shard. Default: the first of `by`, else the first key column. */
  readonly shardKey?: ColumnName<C>
  /** No two rows of the table share a value. */
  readonly unique?: readonly ColumnName<C>[]
  /** Default 'local'. */
  readonly class?: Durability
  /** Default 'given'. */
  readonly ids?: Ids
  /** What a new row gets where its insert says nothing; also what rows get that are older than the column. */
  readonly defaults?: { readonly [K in ColumnName<C>]?: InferFields<C>[K & keyof InferFields<C>] }
  /** 'never' keeps rows in memory as long as their shard is; default 'lru'. */
  readonly evict?: 'lru' | 'never'
}
type ColumnName<C> = keyof C & string

/** A table as its game knows it; `types` is never present. */
export interface Table<Types extends TableTypes = TableTypes> {
  readonly kind: 'table'
  readonly types?: Types
  readonly definition: TableDefinition
}
export interface TableTypes {
  row: object
  /** What `get` is given. */
  key: readonly unknown[]
  insert: object
  /** Columns that may change. */
  patch: object
  by: object
  auto: boolean
}

/** What the engine and the emitters of SQL work with. */
export interface TableDefinition {
  readonly name: string
  readonly columns: readonly ColumnDefinition[]
  readonly columnByName: ReadonlyMap<string, ColumnDefinition>
  /** Primary key columns, in order. */
  readonly key: readonly ColumnDefinition[]
  /** The key without the shard's own column: what tells rows of one shard apart. */
  readonly keyInShard: readonly ColumnDefinition[]
  readonly shardKey: ColumnDefinition
  readonly by: readonly ColumnDefinition[]
  readonly unique: readonly ColumnDefinition[]
  /** Contract name. */
  readonly owner: string
  readonly class: Durability
  readonly ids: Ids
  readonly evict: 'lru' | 'never'
}

export type ColumnKind = 'int' | 'real' | 'bool' | 'big' | 'decimal' | 'text' | 'bytes' | 'json' | 'date'

export interface ColumnDefinition {
  readonly name: string
  readonly kind: ColumnKind
  /** Without its `nullable`. */
  readonly spec: TypeSpec
  readonly nullable: boolean
  readonly schema: CompiledSchema<unknown>
  /** The value of a row that is older than the column. */
  readonly defaultValue: unknown
  /** An insert may leave it out. */
  readonly optional: boolean
}

type KeyOf<O> = O extends { readonly key: infer K }
  ? K extends readonly string[]
    ? K[number]
    : K & string
  : never
type FirstKey<O> = O extends { readonly key: infer K }
  ? K extends readonly [infer F, ...unknown[]]
    ? F
    : K
  : never
type ShardKeyOf<O> = O extends { readonly shardKey: infer S extends string }
  ? S
  : O extends { readonly by: readonly [infer B extends string, ...string[]] }
    ? B
    : FirstKey<O> & string
type ByOf<O> = O extends { readonly by: infer B extends readonly string[] } ? B[number] : never
type UniqueOf<O> = O extends { readonly unique: infer U extends readonly string[] } ? U[number] : never
type DefaultsOf<O> = O extends { readonly defaults: infer D } ? keyof D & string : never
type GeneratedOf<O> = O extends { readonly ids: 'generated' | 'auto' } ? KeyOf<O> : never
type Nullable<Row> = { [K in keyof Row & string]: null extends Row[K] ? K : never }[keyof Row & string]
type Optional<Row, O> = ShardKeyOf<O> | DefaultsOf<O> | GeneratedOf<O> | Nullable<Row>
type IsUnion<T, U = T> = T extends U ? ([U] extends [T] ? false : true) : never
type PickExisting<Row, K> = { readonly [P in K & keyof Row]: Row[P] }
type KeyArgs<Row, Rest> = [Rest] extends [never]
  ? readonly []
  : true extends IsUnion<Rest>
    ? readonly [key: PickExisting<Row, Rest>]
    : readonly [key: Row[Rest & keyof Row]]
/** Without such columns nothing may be asked for, and `{}` alone would take anything. */
type QueryBy<Row, By> = [By] extends [never]
  ? { readonly [name: string]: never }
  : Partial<PickExisting<Row, By>>
type Flat<T> = { [K in keyof T]: T[K] } & {}

export type TypesOf<C extends Fields, O> = {
  row: InferFields<C>
  key: KeyArgs<InferFields<C>, Exclude<KeyOf<O>, ShardKeyOf<O>>>
  insert: Flat<
    Omit<InferFields<C>, Optional<InferFields<C>, O>> &
      Partial<PickExisting<InferFields<C>, Optional<InferFields<C>, O>>>
  >
  patch: Partial<Omit<InferFields<C>, KeyOf<O> | ShardKeyOf<O>>>
  by: QueryBy<InferFields<C>, Exclude<ByOf<O> | UniqueOf<O>, ShardKeyOf<O>>>
  auto: O extends { readonly ids: 'auto' } ? true : false
}

/** MySQL allows 64; room for the prefixes of indexes. */
const TABLE_NAME = /^[a-z][a-z0-9_]{0,47}$/
const COLUMN_NAME = /^[a-z][A-Za-z0-9_]{0,62}$/
/** Verbs of a row, and what would make it something else than a row. */
const RESERVED_COLUMNS = new Set(['update', 'increment', 'delete', 'values', 'then', 'constructor', 'toJSON'])
/** InnoDB's own, in whatever case. */
const INNODB_COLUMNS = new Set(['db_row_id', 'db_trx_id', 'db_roll_ptr', 'fts_doc_id'])
/** Three of them fit into a key: 3,072 bytes, 4 for each character. */
const MAX_KEY_CHARS = 255
/** Far below the 1,017 of InnoDB: a statement of Cloudflare's SQLite takes 100 parameters. */
const MAX_COLUMNS = 90

/**
 * Rows of one kind. Give it to its owner: `shard(Player).tables({ items })`.
 * @throws DefinitionError for a name, column or key that SQLite or MySQL would not hold
 */
export function table<const C extends Fields, const O extends TableOptions<C>>(
  name: string,
  columns: C,
  options: O,
): Table<TypesOf<C, O>> {
  const fail = (why: string): never => {
    throw new DefinitionError(`table ${shorten(name)}: ${why}`)
  }
  if (!TABLE_NAME.test(name) || name.startsWith('firefly_'))
    fail('the name must match [a-z][a-z0-9_]{0,47} and not begin with firefly_')
  const names = Object.keys(columns)
  if (names.length === 0 || names.length > MAX_COLUMNS)
    fail(`${names.length} columns are not 1..${MAX_COLUMNS}`)
  const lowerNames = new Set(names.map((column) => column.toLowerCase()))
  if (lowerNames.size !== names.length) fail('two columns differ only in the case of their letters')
  const keyNames: readonly string[] = typeof options.key === 'string' ? [options.key] : options.key
  const ids = options.ids ?? 'given'
  const shardKeyName = options.shardKey ?? options.by?.[0] ?? keyNames[0]!
  const definitions = names.map((column) => {
    const made = ids !== 'given' && keyNames.includes(column) && column !== shardKeyName
    return columnOf(name, column, columns, options, made || column === shardKeyName)
  })
  const column = new Map(definitions.map((one) => [one.name, one]))
  const find = (what: string, wanted: string): ColumnDefinition =>
    column.get(wanted) ?? fail(`${what} ${shorten(wanted)} is no column`)
  const key = keyNames.map((one) => find('key', one))
  if (new Set(keyNames).size !== keyNames.length) fail('a key column stands twice')
  const shardKey = find('shardKey', shardKeyName)
  if (key.length === 0) fail('the key has no column')
  const by = (options.by ?? []).map((one) => find('by', one)).filter((one) => one !== shardKey)
  const unique = (options.unique ?? []).map((one) => find('unique', one))
  for (const one of new Set([...key, shardKey, ...by, ...unique])) checkKeyColumn(name, one)
  for (const one of [...key, shardKey]) if (one.nullable) fail(`key column ${one.name} cannot be null`)
  if (!isText(shardKey)) fail(`shardKey ${shardKey.name} must be text: it holds the key of a shard`)
  const rest = key.filter((one) => one !== shardKey)
  checkIds(ids, rest, fail)
  checkStorage(definitions, { key, keyInShard: rest, by, unique, shardKey, ids }, fail)
  return {
    kind: 'table',
    definition: {
      name,
      columns: definitions,
      columnByName: column,
      key,
      keyInShard: rest,
      shardKey,
      by,
      unique,
      owner: options.owner.name,
      class: options.class ?? 'local',
      ids,
      evict: options.evict ?? 'lru',
    },
  }
}

function checkIds(ids: Ids, rest: readonly ColumnDefinition[], fail: (why: string) => never): void {
  if (ids === 'given') return
  const [generated] = rest
  if (rest.length !== 1 || generated === undefined)
    fail(`ids '${ids}' need one key column beside the shard's`)
  else if (ids === 'generated' && generated.spec.kind !== 'id')
    fail(`ids 'generated' need a t.id, ${generated.name} is not one`)
  else if (ids === 'auto' && generated.kind !== 'int' && generated.kind !== 'big')
    fail(`ids 'auto' need an integer, ${generated.name} is not one`)
}

function columnOf(
  table: string,
  name: string,
  columns: Fields,
  options: TableOptions<Fields>,
  isGenerated: boolean,
): ColumnDefinition {
  const where = `table ${table}: column ${shorten(name)}`
  if (!COLUMN_NAME.test(name)) throw new DefinitionError(`${where} must match [a-z][A-Za-z0-9_]{0,62}`)
  if (RESERVED_COLUMNS.has(name)) throw new DefinitionError(`${where}: a row has a verb of that name`)
  if (INNODB_COLUMNS.has(name.toLowerCase()))
    throw new DefinitionError(`${where}: MySQL keeps the name for itself`)
  const part = compileSchema(where, columns[name])
  if (part.spec.kind === 'optional')
    throw new DefinitionError(`${where}: use t.nullable; a row has all its columns`)
  const nullable = part.spec.kind === 'nullable'
  const spec = part.spec.kind === 'nullable' ? part.spec.item : part.spec
  const kind = columnKindOf(where, spec)
  const declaredDefault = options.defaults?.[name]
  const fallback =
    declaredDefault === undefined ? (nullable ? null : implicitDefault(kind, spec)) : declaredDefault
  if (declaredDefault !== undefined) checkDefault(where, part, declaredDefault)
  return {
    name,
    kind,
    spec,
    nullable,
    schema: part,
    defaultValue: fallback,
    optional: isGenerated || nullable || declaredDefault !== undefined,
  }
}

function checkDefault(where: string, part: CompiledSchema<unknown>, value: unknown): void {
  const out = part.read(value)
  if (typeof out === 'symbol') throw new DefinitionError(`${where}: default ${part.diagnose(value).message}`)
}

function columnKindOf(where: string, spec: TypeSpec): ColumnKind {
  switch (spec.kind) {
    case 'u8':
    case 'u16':
    case 'u32':
    case 'i8':
    case 'i16':
    case 'i32':
    case 'int':
      return 'int'
    case 'f32':
    case 'f64':
      return 'real'
    case 'i64':
    case 'u64':
      return 'big'
    case 'id':
    case 'string':
    case 'oneOf':
      return 'text'
    case 'bool':
    case 'decimal':
    case 'bytes':
    case 'date':
      return spec.kind
    case 'array':
    case 'record':
    case 'object':
    case 'foreign': {
      const not = findKind(spec, ['bytes', 'i64', 'u64', 'date'])
      if (not !== null)
        throw new DefinitionError(`${where} is stored as JSON, which has no form for t.${not}`)
      return 'json'
    }
    default:
      throw new DefinitionError(`${where}: ${spec.kind} has no form in a table`)
  }
}

/** What a row gets that is older than the column and whose column declares no default. */
function implicitDefault(kind: ColumnKind, spec: TypeSpec): unknown {
  if (kind === 'int' || kind === 'real') return 'min' in spec && (spec.min > 0 || spec.max < 0) ? spec.min : 0
  if (kind === 'big') return 0n
  if (kind === 'bool') return false
  if (kind === 'bytes') return new Uint8Array(0)
  if (kind === 'date') return new Date(0)
  if (spec.kind === 'decimal') return spec.scale === 0 ? '0' : `0.${'0'.repeat(spec.scale)}`
  if (kind === 'json') return spec.kind === 'array' ? [] : {}
  return spec.kind === 'oneOf' ? spec.values[0] : ''
}

function isText({ kind }: ColumnDefinition): boolean {
  return kind === 'text'
}

/** What stands in a key or an index must be exact and short. */
function checkKeyColumn(table: string, { name, kind, spec }: ColumnDefinition): void {
  const where = `table ${table}: key column ${name}`
  if (
    kind === 'json' ||
    kind === 'real' ||
    (kind === 'bytes' && spec.kind === 'bytes' && spec.max > MAX_KEY_CHARS)
  )
    throw new DefinitionError(`${where}: ${spec.kind} cannot be a key`)
  const chars = spec.kind === 'string' ? spec.max : spec.kind === 'oneOf' ? longest(spec.values) : 0
  if (chars > MAX_KEY_CHARS)
    throw new DefinitionError(`${where}: ${chars} characters exceed ${MAX_KEY_CHARS}`)
}
