// A table of durable rows: its columns, keys and owner. Invariant: when `table` returns, every identifier is safe in SQL, and
// SQLite and MySQL can both store every column without loss.

import type { Contract } from '../wire/contract.ts'
import { CONTRACT } from '../wire/contractoptions.ts'
import { DefinitionError, shorten } from '../wire/errors.ts'
import { checkName, checkOption, checkOptions, NAME, NAMES, OBJECT, oneOf } from '../wire/options.ts'
import type { OptionKinds } from '../wire/options.ts'
import { INVALID, NON_JSON_KINDS, compileSchema, findKind, type CompiledSchema, type TypeSpec } from '../wire/schema.ts'
import type { Fields, Flatten, InferFields } from '../wire/type.ts'
import { checkStorage, longest } from './storage.ts'

/**
 * When a reply is sent: `local` = after the rows are committed in the shard's Store; `critical` = after they are committed in
 * MySQL too, so that they survive the loss of the machine.
 */
export type Durability = 'local' | 'critical'
/** Source of a new row's key: the game, Firefly (a `t.id`), or MySQL's AUTO_INCREMENT. */
export type Ids = 'given' | 'generated' | 'auto'

/** Options of `table`. */
export interface TableOptions<C extends Fields> {
  /** The primary key, one column or several. */
  readonly key: ColumnName<C> | readonly [ColumnName<C>, ...ColumnName<C>[]]
  /** The only kind of shard that writes these rows. */
  readonly owner: Contract
  /** Foreign keys: `c.rows.items.all({ guild })`. */
  readonly by?: readonly ColumnName<C>[]
  /** The column with the key of the row's shard. Default: the first of `by`, else the first key column. */
  readonly shardKey?: ColumnName<C>
  /** Columns whose values are unique in the table. */
  readonly unique?: readonly ColumnName<C>[]
  /** Default 'local'. */
  readonly class?: Durability
  /** Default 'given'. */
  readonly ids?: Ids
  /** Values that an insert may omit; also the values of rows that are older than the column. */
  readonly defaults?: { readonly [K in ColumnName<C>]?: InferFields<C>[K & keyof InferFields<C>] }
  /** 'never' retains rows in memory while their shard is active; default 'lru'. */
  readonly evict?: 'lru' | 'never'
}
type ColumnName<C> = keyof C & string

/** A table for its game; `types` carries the type parameters and is never present. */
export interface Table<Types extends TableTypes = TableTypes> {
  /** Marks a table. */
  readonly kind: 'table'
  /** Carries the types of its rows; never present. */
  readonly types?: Types
  /** @internal What the engine uses. */
  readonly definition: TableDefinition
}
/** The types of the rows of a table. */
export interface TableTypes {
  /** All columns. */
  row: object
  /** Arguments of `get`. */
  key: readonly unknown[]
  /** Argument of `insert`. */
  insert: object
  /** Columns that may change. */
  patch: object
  /** Argument of `all`. */
  by: object
  /** MySQL gives the key of a new row. */
  auto: boolean
}

/** A table for the engine and the SQL statements. */
export interface TableDefinition {
  readonly name: string
  readonly columns: readonly ColumnDefinition[]
  readonly columnByName: ReadonlyMap<string, ColumnDefinition>
  /** Primary key columns, in order. */
  readonly key: readonly ColumnDefinition[]
  /** The key without the shard's column: identifies a row in its shard. */
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

type KeyOf<O> = O extends { readonly key: infer K } ? (K extends readonly string[] ? K[number] : K & string) : never
type FirstKey<O> = O extends { readonly key: infer K } ? (K extends readonly [infer F, ...unknown[]] ? F : K) : never
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
/** Without such columns a query may name no column; the type `{}` would accept any. */
type QueryBy<Row, By> = [By] extends [never] ? { readonly [name: string]: never } : Partial<PickExisting<Row, By>>

export type TypesOf<C extends Fields, O> = {
  row: InferFields<C>
  key: KeyArgs<InferFields<C>, Exclude<KeyOf<O>, ShardKeyOf<O>>>
  insert: Flatten<
    Omit<InferFields<C>, Optional<InferFields<C>, O>> &
      Partial<PickExisting<InferFields<C>, Optional<InferFields<C>, O>>>
  >
  patch: Partial<Omit<InferFields<C>, KeyOf<O> | ShardKeyOf<O>>>
  by: QueryBy<InferFields<C>, Exclude<ByOf<O> | UniqueOf<O>, ShardKeyOf<O>>>
  auto: O extends { readonly ids: 'auto' } ? true : false
}

/** MySQL allows 64 characters; the rest is for the prefixes of indexes. */
const TABLE_NAME = /^[a-z][a-z0-9_]{0,47}$/
const COLUMN_NAME = /^[a-z][A-Za-z0-9_]{0,62}$/
/** Methods of a row, and names that JavaScript treats specially. */
const RESERVED_COLUMNS = new Set(['update', 'increment', 'delete', 'values', 'then', 'constructor', 'toJSON'])
/** Reserved by InnoDB, in any letter case. */
const INNODB_COLUMNS = new Set(['db_row_id', 'db_trx_id', 'db_roll_ptr', 'fts_doc_id'])
/** Three such columns fit into a key of 3,072 bytes, at 4 bytes per character. */
const MAX_KEY_CHARS = 255
/** InnoDB allows 1,017, but a statement of Cloudflare's SQLite takes 100 parameters. */
const MAX_COLUMNS = 90

const TABLE_OPTIONS: OptionKinds<TableOptions<Fields>> = {
  key: { what: 'a column or a list of columns', accepts: (value) => NAME.accepts(value) || NAMES.accepts(value) },
  owner: CONTRACT,
  by: NAMES,
  shardKey: NAME,
  unique: NAMES,
  class: /* @__PURE__ */ oneOf('local', 'critical'),
  ids: /* @__PURE__ */ oneOf('given', 'generated', 'auto'),
  defaults: OBJECT,
  evict: /* @__PURE__ */ oneOf('lru', 'never'),
}

/**
 * Declares a table. Pass it to its owner: `shard(Player).tables({ items })`.
 * @throws DefinitionError for a name, column or key that SQLite or MySQL cannot store
 */
export function table<const C extends Fields, const O extends TableOptions<C>>(
  name: string,
  columns: C,
  options: O,
): Table<TypesOf<C, O>> {
  const fail = (why: string): never => {
    throw new DefinitionError(`table ${shorten(name)}: ${why}`)
  }
  if (typeof name !== 'string' || !TABLE_NAME.test(name) || name.startsWith('firefly_'))
    fail('the name must match [a-z][a-z0-9_]{0,47} and not begin with firefly_')
  const where = `table ${shorten(name)}`
  checkOption(where, 'the argument columns', columns, OBJECT)
  checkOptions(where, options, TABLE_OPTIONS, ['key', 'owner'])
  const names = Object.keys(columns)
  for (const column of Object.keys(options.defaults ?? {})) checkName(`${where}: defaults`, 'column', column, names)
  if (names.length === 0 || names.length > MAX_COLUMNS) fail(`${names.length} columns are not 1..${MAX_COLUMNS}`)
  const lowerNames = new Set(names.map((column) => column.toLowerCase()))
  if (lowerNames.size !== names.length) fail('two columns differ only in letter case')
  const keyNames: readonly string[] = typeof options.key === 'string' ? [options.key] : options.key
  if (keyNames.length === 0) fail('the key has no column')
  const ids = options.ids ?? 'given'
  const shardKeyName = options.shardKey ?? options.by?.[0] ?? keyNames[0]!
  const definitions = names.map((column) => {
    const isGenerated = ids !== 'given' && keyNames.includes(column) && column !== shardKeyName
    return columnOf(name, column, columns, options, isGenerated || column === shardKeyName)
  })
  const columnByName = new Map(definitions.map((column) => [column.name, column]))
  const find = (role: string, column: string): ColumnDefinition =>
    columnByName.get(column) ?? fail(`${role} ${shorten(column)} is not a column`)
  const key = keyNames.map((column) => find('key', column))
  if (new Set(keyNames).size !== keyNames.length) fail('a key column is listed twice')
  const shardKey = find('shardKey', shardKeyName)
  const by = (options.by ?? []).map((column) => find('by', column)).filter((column) => column !== shardKey)
  const unique = (options.unique ?? []).map((column) => find('unique', column))
  for (const column of new Set([...key, shardKey, ...by, ...unique])) checkKeyColumn(name, column)
  for (const column of [...key, shardKey]) if (column.nullable) fail(`key column ${column.name} cannot be null`)
  if (shardKey.kind !== 'text') fail(`shardKey ${shardKey.name} must be text: it is the key of a shard`)
  const keyInShard = key.filter((column) => column !== shardKey)
  checkIds(ids, keyInShard, fail)
  checkStorage(definitions, { key, keyInShard, by, unique, shardKey, ids }, fail)
  return {
    kind: 'table',
    definition: {
      name,
      columns: definitions,
      columnByName,
      key,
      keyInShard,
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

function checkIds(ids: Ids, keyInShard: readonly ColumnDefinition[], fail: (why: string) => never): void {
  if (ids === 'given') return
  const [generated] = keyInShard
  if (keyInShard.length !== 1 || generated === undefined) fail(`ids '${ids}' need one key column besides the shard's`)
  else if (ids === 'generated' && generated.spec.kind !== 'id')
    fail(`ids 'generated' need a t.id, which ${generated.name} is not`)
  else if (ids === 'auto' && generated.kind !== 'int' && generated.kind !== 'big')
    fail(`ids 'auto' need an integer, which ${generated.name} is not`)
}

function columnOf(
  table: string,
  name: string,
  columns: Fields,
  options: TableOptions<Fields>,
  isAssigned: boolean,
): ColumnDefinition {
  const where = `table ${table}: column ${shorten(name)}`
  if (!COLUMN_NAME.test(name)) throw new DefinitionError(`${where} must match [a-z][A-Za-z0-9_]{0,62}`)
  if (RESERVED_COLUMNS.has(name)) throw new DefinitionError(`${where}: a row has a method of that name`)
  if (INNODB_COLUMNS.has(name.toLowerCase())) throw new DefinitionError(`${where}: the name is reserved by MySQL`)
  const schema = compileSchema(where, columns[name])
  if (schema.spec.kind === 'optional') throw new DefinitionError(`${where}: use t.nullable; a row has all its columns`)
  const nullable = schema.spec.kind === 'nullable'
  const spec = schema.spec.kind === 'nullable' ? schema.spec.item : schema.spec
  const kind = columnKindOf(where, spec)
  const declaredDefault = options.defaults?.[name]
  if (declaredDefault !== undefined && schema.read(declaredDefault) === INVALID)
    throw new DefinitionError(`${where}: default ${schema.diagnose(declaredDefault).message}`)
  return {
    name,
    kind,
    spec,
    nullable,
    schema,
    defaultValue: declaredDefault ?? (nullable ? null : implicitDefault(kind, spec)),
    optional: isAssigned || nullable || declaredDefault !== undefined,
  }
}

function columnKindOf(where: string, spec: TypeSpec): ColumnKind {
  const { kind } = spec
  if (kind === 'optional' || kind === 'nullable') throw new DefinitionError(`${where}: ${kind} cannot be a column`)
  if (kind === 'f32' || kind === 'f64') return 'real'
  if (kind === 'i64' || kind === 'u64') return 'big'
  if (kind === 'id' || kind === 'string' || kind === 'oneOf') return 'text'
  if (kind === 'bool' || kind === 'decimal' || kind === 'bytes' || kind === 'date') return kind
  if ('min' in spec) return 'int'
  const unsupported = findKind(spec, NON_JSON_KINDS)
  if (unsupported === null) return 'json'
  throw new DefinitionError(`${where} is stored as JSON, which cannot represent t.${unsupported}`)
}

/** The value of rows that are older than the column, if the column declares no default. */
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

/** Values of keys and indexes must be exact and short. */
function checkKeyColumn(table: string, { name, kind, spec }: ColumnDefinition): void {
  const where = `table ${table}: key column ${name}`
  if (kind === 'json' || kind === 'real' || (kind === 'bytes' && spec.kind === 'bytes' && spec.max > MAX_KEY_CHARS))
    throw new DefinitionError(`${where}: ${spec.kind} cannot be a key`)
  const chars = spec.kind === 'string' ? spec.max : spec.kind === 'oneOf' ? longest(spec.values) : 0
  if (chars > MAX_KEY_CHARS) throw new DefinitionError(`${where}: ${chars} characters exceed ${MAX_KEY_CHARS}`)
}
