// A shard that owns rows of every kind: the third part of the game under test. It plays what a case writes down, step
// by step, so that a case shows its turns and not the game's words for them.

import { cacheable, command, contract, RowError, shard, t, table, type Rows } from '../../core/game/index.ts'
import type { StandardSchema } from '../../core/wire/schema.ts'
import { problem } from './clockwork.ts'
import { Gate } from './contracts.ts'

const name = t.string(64)
const key = t.string(128)
/** What a case sends to a table, or hears of it: any plain value. */
const any: StandardSchema<unknown> = {
  '~standard': { version: 1, vendor: 'suite', validate: (value) => ({ value }) },
}

/** A word, its table, and what the word needs. */
export type Step =
  | readonly ['get' | 'delete' | 'invalidate' | 'hold', Name, unknown?]
  | readonly ['all', Name, object?, { readonly limit?: number; readonly descending?: boolean }?]
  | readonly ['insert', Name, object]
  /** Inserts with a column of so many times that text. */
  | readonly ['pad', Name, object, string, string, number]
  | readonly ['update', Name, unknown, object]
  | readonly ['add', Name, unknown, string, number | bigint]
  | readonly ['kv', number?]
  | readonly ['wait', string]
  | readonly ['cached', string]
  /** `late`: the turn goes on after an await; `used`: what `hold` kept is used; `spoil`: the output is refused. */
  | readonly ['late' | 'throw' | 'refuse' | 'spoil' | 'save' | 'used']

const script = { steps: t.array(any, 64) }
const told = { told: t.array(any, 64) }

export const Keep = contract(
  'keep',
  {
    play: command(1500, script, told),
    playOnce: command(1501, script, told, { durable: true }),
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
    any,
    noInt: t.nullable(t.u8),
    noBig: t.nullable(t.i64),
    noText: t.nullable(t.string(9)),
    noBytes: t.nullable(t.bytes(9)),
    noDate: t.nullable(t.date),
    noList: t.nullable(t.array(t.u8, 9)),
    noYes: t.nullable(t.bool),
  },
  { key: ['keep', 'n'], owner: Keep },
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
    owner: Keep,
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
  { key: ['keep', 'x', 'word'], owner: Keep, by: ['n'], shardKey: 'keep', defaults: { n: 0 } },
)

/** One row of each shard, never evicted. */
const heads = table(
  'keep_head',
  { keep: key, gold: t.int(0, 1_000), big: t.u64, real: t.f32, none: t.nullable(t.u8) },
  { key: 'keep', owner: Keep, evict: 'never', defaults: { big: 0n, real: 0 } },
)

/** The shard's key is no part of the row's; rows may be too large. */
const notes = table(
  'keep_note',
  { id: t.id, keep: key, text: t.string(3_000_000), seal: t.nullable(t.bytes(16)) },
  { key: 'id', owner: Keep, by: ['keep'], unique: ['seal'] },
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
  { key: ['keep', 'date', 'u64', 'i64', 'bytes', 'yes', 'one', 'id', 'int'], owner: Keep },
)

const tables = { zoo, items, spots, heads, notes, ranks }
type Name = keyof typeof tables

/** A table whose types a script does not know. */
interface Verbs {
  get(key?: unknown): Handle | undefined
  all(by?: object, options?: object): Handle[]
  insert(values: object): Handle
  invalidate(key?: unknown): Promise<Handle | undefined>
}
interface Handle {
  readonly values: object
  update(patch: object): void
  increment(column: string, by: unknown): unknown
  delete(): void
}
interface Player {
  readonly rows: Rows<typeof tables>
  readonly kv: { get(name: 'n'): number | undefined; set(name: 'n', value: number): void }
  readonly state: { held: Handle | undefined }
  at(contract: typeof Gate): { call: { wait(to: { name: string }): Promise<unknown> } }
  cached(what: typeof counted, params: { name: string }): Promise<number>
  save(): void
  fail(code: 'NO'): Error
}

let loads = 0
const counted = cacheable('counted:{name}', { ttlMs: 200 }, async ({ name }: { name: string | number }) => {
  if (String(name).startsWith('bad')) throw new Error(`load ${++loads}`)
  return ++loads
})

const SPOILT = { spoilt: true }

function play(
  c: Player,
  { steps }: { steps: unknown[] },
): { told: unknown[] } | Promise<{ told: unknown[] }> {
  const told: unknown[] = []
  const end = (): { told: unknown[] } => (told.includes(SPOILT) ? { told: 'spoilt' as never } : { told })
  for (const [i, step] of steps.entries()) {
    const got = attempt(() => take(c, step as Step))
    if (got instanceof Promise) return goOn(got, steps.slice(i + 1))
    told.push(got)
  }
  return end()

  async function goOn(first: Promise<unknown>, rest: unknown[]): Promise<{ told: unknown[] }> {
    told.push(await first)
    for (const step of rest) told.push(await attempt(() => take(c, step as Step)))
    return end()
  }
}

/** A RowError is told, the turn goes on; anything else ends it. */
function attempt(step: () => unknown): unknown {
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

function take(c: Player, step: Step): unknown {
  switch (step[0]) {
    case 'kv':
      if (step[1] !== undefined) c.kv.set('n', step[1])
      return c.kv.get('n') ?? 0
    case 'wait':
      return c.at(Gate).call.wait({ name: step[1] })
    case 'cached':
      return c.cached(counted, { name: step[1] }).catch(problem)
    case 'late':
      return Promise.resolve('late')
    case 'throw':
      throw new Error('the bug of the suite')
    case 'refuse':
      throw c.fail('NO')
    case 'spoil':
      return SPOILT
    case 'save':
      return c.save()
    case 'used':
      try {
        return plain(c.state.held)
      } catch (error) {
        return problem(error)
      }
    default:
      return touch(c, c.rows[step[1]], step)
  }
}

function touch(c: Player, verbs: Verbs, step: Exclude<Step, readonly ['kv' | 'wait', unknown?]>): unknown {
  switch (step[0]) {
    case 'get':
      return plain(verbs.get(step[2]))
    case 'all':
      return verbs.all(step[2], step[3]).map(plain)
    case 'insert':
      return plain(verbs.insert(step[2]))
    case 'pad':
      verbs.insert({ ...step[2], [step[3]]: step[4].repeat(step[5]) })
      return null
    case 'update':
      verbs.get(step[2])!.update(step[3])
      return null
    case 'add':
      return simple(verbs.get(step[2])!.increment(step[3], step[4]))
    case 'delete':
      verbs.get(step[2])!.delete()
      return null
    case 'invalidate':
      return verbs.invalidate(step[2]).then(plain)
    case 'hold':
      c.state.held = verbs.get(step[2])
      return null
    default:
      throw new Error(`no step ${step[0]}`)
  }
}

/** MessagePack would make a number of a small bigint: it is told as `12n`. */
function simple(value: unknown): unknown {
  return typeof value === 'bigint' ? `${value}n` : value
}
function plain(row: Handle | undefined): object | null {
  if (!row) return null
  return Object.fromEntries(Object.entries(row.values).map(([column, value]) => [column, simple(value)]))
}

export const keep = shard(Keep)
  .public()
  .tables(tables)
  .kv({ n: t.u32 })
  .state(() => ({ held: undefined as Handle | undefined }))
  .on('play', (c, script) => play(c, script))
  .on('playOnce', (c, script) => play(c, script))
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
