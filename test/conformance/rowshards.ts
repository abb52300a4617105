// A shard that owns tables with columns of every type. It runs scripts: a case lists the steps of its turns, and no new
// command is needed for each case.

import { cacheable, command, contract, RowError, shard, t, table, type Rows } from '../../core/game/index.ts'
import type { StandardSchema } from '../../core/wire/schema.ts'
import { errorText } from './timershards.ts'
import { Gate } from './contracts.ts'

const name = t.string(64)
const key = t.string(128)
/** Any value that a case writes to a table or reads from it. */
const anyValue: StandardSchema<unknown> = {
  '~standard': { version: 1, vendor: 'suite', validate: (value) => ({ value }) },
}

/** An operation, its table, and its arguments. */
export type RowStep =
  | readonly ['get' | 'delete' | 'invalidate' | 'saveRow', TableName, unknown?]
  | readonly ['all', TableName, object?, { readonly limit?: number; readonly descending?: boolean }?]
  | readonly ['insert', TableName, object]
  /** Inserts a row whose column is a text repeated so many times. */
  | readonly ['insertLarge', TableName, object, string, string, number]
  | readonly ['update', TableName, unknown, object]
  | readonly ['add', TableName, unknown, string, number | bigint]
  | readonly ['kv', number?]
  | readonly ['wait', string]
  | readonly ['cached', string]
  /** `invalidOutput`: the reply does not match the contract. `useSaved`: reads the row of an earlier `saveRow`. */
  | readonly ['awaitTick' | 'throw' | 'refuse' | 'invalidOutput' | 'save' | 'useSaved']

const script = { steps: t.array(anyValue, 64) }
const output = { results: t.array(anyValue, 64) }

export const RowScript = contract(
  'rows',
  {
    play: command(1500, script, output),
    playOnce: command(1501, script, output, { durable: true }),
    /** Inserts spots from `from` on; returns the number of all spots. */
    grow: command(1502, { from: t.i32, count: t.u32 }, { n: t.u32 }),
    /** Writes the body to row 1 of `types`; an empty body only reads it. */
    raw: command(1503, t.bytes(), t.bytes(), { codec: 'raw' }),
    secret: command(1504, {}, {}, { internal: true }),
  },
  { refuses: ['NO'] },
)

/** Columns of every type. */
const types = table(
  'rows_type',
  {
    shard: key,
    n: t.i32,
    u8: t.u8,
    u16: t.u16,
    u32: t.u32,
    i8: t.i8,
    i16: t.i16,
    i32: t.i32,
    int: t.int(-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
    f32: t.f32,
    f64: t.f64,
    i64: t.i64,
    u64: t.u64,
    dec: t.decimal(20, 4),
    id: t.id,
    text: t.string(20_000),
    one: t.oneOf('a', 'B', 'ü'),
    yes: t.bool,
    bytes: t.bytes(60_000),
    date: t.date,
    list: t.array(t.f64, 8),
    map: t.record(t.string(64), 8),
    thing: t.object({ a: t.u8, b: t.optional(t.array(t.string(9), 3)) }),
    any: anyValue,
    noInt: t.nullable(t.u8),
    noBig: t.nullable(t.i64),
    noText: t.nullable(t.string(9)),
    noBytes: t.nullable(t.bytes(9)),
    noDate: t.nullable(t.date),
    noList: t.nullable(t.array(t.u8, 9)),
    noYes: t.nullable(t.bool),
  },
  { key: ['shard', 'n'], owner: RowScript },
)

/** Generated ids, foreign keys of several kinds, a unique column, defaults. */
const items = table(
  'rows_item',
  {
    shard: key,
    id: t.id,
    kind: t.oneOf('sword', 'shield'),
    owner: t.nullable(name),
    mark: t.nullable(name),
    price: t.decimal(12, 2),
    weight: t.i64,
    seal: t.nullable(t.bytes(16)),
    made: t.date,
    count: t.u32,
  },
  {
    key: ['shard', 'id'],
    shardKey: 'shard',
    owner: RowScript,
    by: ['kind', 'owner', 'price', 'weight', 'seal', 'made'],
    unique: ['mark'],
    ids: 'generated',
    defaults: { kind: 'sword', price: '1.5', weight: 0n, made: new Date(0), count: 1 },
  },
)

/** A key of three columns. */
const spots = table(
  'rows_spot',
  { shard: key, x: t.i32, word: name, n: t.u32 },
  { key: ['shard', 'x', 'word'], owner: RowScript, by: ['n'], shardKey: 'shard', defaults: { n: 0 } },
)

/** One row per shard, never evicted. */
const heads = table(
  'rows_head',
  { shard: key, gold: t.int(0, 1_000), big: t.u64, real: t.f32, none: t.nullable(t.u8) },
  { key: 'shard', owner: RowScript, evict: 'never', defaults: { big: 0n, real: 0 } },
)

/** The shard's key is not part of the row's key; rows may be too large. */
const notes = table(
  'rows_note',
  { id: t.id, shard: key, text: t.string(3_000_000), seal: t.nullable(t.bytes(16)) },
  { key: 'id', owner: RowScript, by: ['shard'], unique: ['seal'] },
)

/** Key columns of every type that a key may have. */
const ranks = table(
  'rows_rank',
  {
    shard: key,
    date: t.date,
    u64: t.u64,
    i64: t.i64,
    bytes: t.bytes(16),
    yes: t.bool,
    one: t.oneOf('b', 'B', 'a', 'é'),
    id: t.id,
    int: t.int(-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
    n: t.u32,
  },
  { key: ['shard', 'date', 'u64', 'i64', 'bytes', 'yes', 'one', 'id', 'int'], owner: RowScript },
)

const tables = { types, items, spots, heads, notes, ranks }
type TableName = keyof typeof tables

/** A table as scripts see it, without its types. */
interface UntypedTable {
  get(key?: unknown): UntypedRow | undefined
  all(by?: object, options?: object): UntypedRow[]
  insert(values: object): UntypedRow
  invalidate(key?: unknown): Promise<UntypedRow | undefined>
}
interface UntypedRow {
  readonly values: object
  update(patch: object): void
  increment(column: string, by: unknown): unknown
  delete(): void
}
interface ScriptContext {
  readonly rows: Rows<typeof tables>
  readonly kv: { get(name: 'n'): number | undefined; set(name: 'n', value: number): void }
  readonly state: { savedRow: UntypedRow | undefined }
  at(contract: typeof Gate): { call: { wait(to: { name: string }): Promise<unknown> } }
  cached(value: typeof countedLoad, params: { name: string }): Promise<number>
  save(): void
  fail(code: 'NO'): Error
}

let loadCount = 0
const countedLoad = cacheable('counted:{name}', { ttlMs: 200 }, async ({ name }: { name: string | number }) => {
  if (String(name).startsWith('bad')) throw new Error(`load ${++loadCount}`)
  return ++loadCount
})

const INVALID_OUTPUT = Symbol('invalid output')

interface ScriptOutput {
  results: unknown[]
}
/** Stays synchronous up to the first step that returns a promise. */
function runScript(c: ScriptContext, { steps }: { steps: unknown[] }): ScriptOutput | Promise<ScriptOutput> {
  const results: unknown[] = []
  const toOutput = (): ScriptOutput =>
    results.includes(INVALID_OUTPUT) ? { results: 'invalid' as never } : { results }
  for (const [i, step] of steps.entries()) {
    const result = catchRowError(() => runStep(c, step as RowStep))
    if (result instanceof Promise) return runRemaining(result, steps.slice(i + 1))
    results.push(result)
  }
  return toOutput()

  async function runRemaining(first: Promise<unknown>, rest: unknown[]): Promise<ScriptOutput> {
    results.push(await first)
    for (const step of rest) results.push(await catchRowError(() => runStep(c, step as RowStep)))
    return toOutput()
  }
}

/** A RowError becomes the step's result; any other error ends the turn. */
function catchRowError(step: () => unknown): unknown {
  const rowErrorText = (error: unknown): string => {
    if (error instanceof RowError) return `${error.code} ${error.message}`
    throw error
  }
  try {
    const result = step()
    return result instanceof Promise ? result.catch(rowErrorText) : result
  } catch (error) {
    return rowErrorText(error)
  }
}

function runStep(c: ScriptContext, step: RowStep): unknown {
  switch (step[0]) {
    case 'kv':
      if (step[1] !== undefined) c.kv.set('n', step[1])
      return c.kv.get('n') ?? 0
    case 'wait':
      return c.at(Gate).call.wait({ name: step[1] })
    case 'cached':
      return c.cached(countedLoad, { name: step[1] }).catch(errorText)
    case 'awaitTick':
      return Promise.resolve(null)
    case 'throw':
      throw new Error('intended bug')
    case 'refuse':
      throw c.fail('NO')
    case 'invalidOutput':
      return INVALID_OUTPUT
    case 'save':
      return c.save()
    case 'useSaved':
      try {
        return rowValues(c.state.savedRow)
      } catch (error) {
        return errorText(error)
      }
    default:
      return runTableStep(c, c.rows[step[1]], step)
  }
}

function runTableStep(
  c: ScriptContext,
  rows: UntypedTable,
  step: Exclude<RowStep, readonly ['kv' | 'wait', unknown?]>,
): unknown {
  switch (step[0]) {
    case 'get':
      return rowValues(rows.get(step[2]))
    case 'all':
      return rows.all(step[2], step[3]).map(rowValues)
    case 'insert':
      return rowValues(rows.insert(step[2]))
    case 'insertLarge':
      rows.insert({ ...step[2], [step[3]]: step[4].repeat(step[5]) })
      return null
    case 'update':
      rows.get(step[2])!.update(step[3])
      return null
    case 'add':
      return encodeBigint(rows.get(step[2])!.increment(step[3], step[4]))
    case 'delete':
      rows.get(step[2])!.delete()
      return null
    case 'invalidate':
      return rows.invalidate(step[2]).then(rowValues)
    case 'saveRow':
      c.state.savedRow = rows.get(step[2])
      return null
    default:
      throw new Error(`no step ${step[0]}`)
  }
}

/** As the text `12n`, because MessagePack decodes a small bigint as a number. */
function encodeBigint(value: unknown): unknown {
  return typeof value === 'bigint' ? `${value}n` : value
}
function rowValues(row: UntypedRow | undefined): object | null {
  if (!row) return null
  return Object.fromEntries(Object.entries(row.values).map(([column, value]) => [column, encodeBigint(value)]))
}

export const rowScript = shard(RowScript)
  .public()
  .tables(tables)
  .kv({ n: t.u32 })
  .state(() => ({ savedRow: undefined as UntypedRow | undefined }))
  .on('play', (c, script) => runScript(c, script))
  .on('playOnce', (c, script) => runScript(c, script))
  .on('grow', (c, { from, count }) => {
    for (let x = from; x < from + count; x++) c.rows.spots.insert({ x, word: `w${x % 7}`, n: x % 10 })
    return { n: c.rows.spots.all().length }
  })
  .on('raw', (c, body) => {
    const row = c.rows.types.get(1)!
    if (body.length > 0) row.update({ bytes: body })
    return row.bytes
  })
  .on('secret', () => ({}))
