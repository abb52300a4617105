// A shard that owns rows of every kind: the third part of the game under test. It plays what a case writes down, step
// by step, so that a case shows its turns and not the game's words for them.

import { cacheable, command, contract, RowError, shard, t, table, type Rows } from '../../core/game/index.ts'
import type { StandardSchema } from '../../core/wire/schema.ts'
import { errorText } from './timershards.ts'
import { Gate } from './contracts.ts'

const name = t.string(64)
const key = t.string(128)
/** What a case sends to a table, or hears of it: any plain value. */
const anyValue: StandardSchema<unknown> = {
  '~standard': { version: 1, vendor: 'suite', validate: (value) => ({ value }) },
}

/** A word, its table, and what the word needs. */
export type RowStep =
  | readonly ['get' | 'delete' | 'invalidate' | 'hold', TableName, unknown?]
  | readonly ['all', TableName, object?, { readonly limit?: number; readonly descending?: boolean }?]
  | readonly ['insert', TableName, object]
  /** Inserts with a column of so many times that text. */
  | readonly ['pad', TableName, object, string, string, number]
  | readonly ['update', TableName, unknown, object]
  | readonly ['add', TableName, unknown, string, number | bigint]
  | readonly ['kv', number?]
  | readonly ['wait', string]
  | readonly ['cached', string]
  /** `late`: the turn goes on after an await; `used`: what `hold` kept is used; `spoil`: the output is refused. */
  | readonly ['late' | 'throw' | 'refuse' | 'spoil' | 'save' | 'used']

const script = { steps: t.array(anyValue, 64) }
const results = { told: t.array(anyValue, 64) }

export const RowScript = contract(
  'keep',
  {
    play: command(1500, script, results),
    playOnce: command(1501, script, results, { durable: true }),
    /** Inserts spots `from`.. and gives how many there are. */
    grow: command(1502, { from: t.i32, count: t.u32 }, { n: t.u32 }),
    /** The body becomes the bytes of zoo row 1, or (empty) is answered from it. */
    raw: command(1503, t.bytes(), t.bytes(), { codec: 'raw' }),
    secret: command(1504, {}, {}, { internal: true }),
  },
  { refuses: ['NO'] },
)

/** Every kind of column. */
const zoo = table(
  'keep_zoo',
  {
    keep: key,
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
  { key: ['keep', 'n'], owner: RowScript },
)

/** Generated ids, foreign keys of several kinds, a unique column, defaults. */
const items = table(
  'keep_item',
  {
    keep: key,
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
    key: ['keep', 'id'],
    shardKey: 'keep',
    owner: RowScript,
    by: ['kind', 'owner', 'price', 'weight', 'seal', 'made'],
    unique: ['mark'],
    ids: 'generated',
    defaults: { kind: 'sword', price: '1.5', weight: 0n, made: new Date(0), count: 1 },
  },
)

/** Three columns of a key. */
const spots = table(
  'keep_spot',
  { keep: key, x: t.i32, word: name, n: t.u32 },
  { key: ['keep', 'x', 'word'], owner: RowScript, by: ['n'], shardKey: 'keep', defaults: { n: 0 } },
)

/** One row of each shard, never evicted. */
const heads = table(
  'keep_head',
  { keep: key, gold: t.int(0, 1_000), big: t.u64, real: t.f32, none: t.nullable(t.u8) },
  { key: 'keep', owner: RowScript, evict: 'never', defaults: { big: 0n, real: 0 } },
)

/** The shard's key is no part of the row's; rows may be too large. */
const notes = table(
  'keep_note',
  { id: t.id, keep: key, text: t.string(3_000_000), seal: t.nullable(t.bytes(16)) },
  { key: 'id', owner: RowScript, by: ['keep'], unique: ['seal'] },
)

/** A key of every kind that a key may be of. */
const ranks = table(
  'keep_rank',
  {
    keep: key,
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
  { key: ['keep', 'date', 'u64', 'i64', 'bytes', 'yes', 'one', 'id', 'int'], owner: RowScript },
)

const tables = { zoo, items, spots, heads, notes, ranks }
type TableName = keyof typeof tables

/** A table whose types a script does not know. */
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
  readonly state: { held: UntypedRow | undefined }
  at(contract: typeof Gate): { call: { wait(to: { name: string }): Promise<unknown> } }
  cached(what: typeof countedLoad, params: { name: string }): Promise<number>
  save(): void
  fail(code: 'NO'): Error
}

let loadCount = 0
const countedLoad = cacheable('counted:{name}', { ttlMs: 200 }, async ({ name }: { name: string | number }) => {
  if (String(name).startsWith('bad')) throw new Error(`load ${++loadCount}`)
  return ++loadCount
})

const INVALID_OUTPUT = { spoilt: true }

function runScript(
  c: ScriptContext,
  { steps }: { steps: unknown[] },
): { told: unknown[] } | Promise<{ told: unknown[] }> {
  const results: unknown[] = []
  const output = (): { told: unknown[] } =>
    results.includes(INVALID_OUTPUT) ? { told: 'spoilt' as never } : { told: results }
  for (const [i, step] of steps.entries()) {
    const got = catchRowError(() => runStep(c, step as RowStep))
    if (got instanceof Promise) return runRemaining(got, steps.slice(i + 1))
    results.push(got)
  }
  return output()

  async function runRemaining(first: Promise<unknown>, rest: unknown[]): Promise<{ told: unknown[] }> {
    results.push(await first)
    for (const step of rest) results.push(await catchRowError(() => runStep(c, step as RowStep)))
    return output()
  }
}

/** A RowError is told, the turn goes on; anything else ends it. */
function catchRowError(step: () => unknown): unknown {
  const refused = (error: unknown): string => {
    if (error instanceof RowError) return `${error.code} ${error.message}`
    throw error
  }
  try {
    const got = step()
    return got instanceof Promise ? got.catch(refused) : got
  } catch (error) {
    return refused(error)
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
    case 'late':
      return Promise.resolve('late')
    case 'throw':
      throw new Error('the bug of the suite')
    case 'refuse':
      throw c.fail('NO')
    case 'spoil':
      return INVALID_OUTPUT
    case 'save':
      return c.save()
    case 'used':
      try {
        return rowValues(c.state.held)
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
    case 'pad':
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
    case 'hold':
      c.state.held = rows.get(step[2])
      return null
    default:
      throw new Error(`no step ${step[0]}`)
  }
}

/** MessagePack would make a number of a small bigint: it is told as `12n`. */
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
  .state(() => ({ held: undefined as UntypedRow | undefined }))
  .on('play', (c, script) => runScript(c, script))
  .on('playOnce', (c, script) => runScript(c, script))
  .on('grow', (c, { from, count }) => {
    for (let x = from; x < from + count; x++) c.rows.spots.insert({ x, word: `w${x % 7}`, n: x % 10 })
    return { n: c.rows.spots.all().length }
  })
  .on('raw', (c, body) => {
    const row = c.rows.zoo.get(1)!
    if (body.length > 0) row.update({ bytes: body })
    return row.bytes
  })
  .on('secret', () => ({}))
