// Tables: errors at start and compile errors. Lines marked with @ts-expect-error test the compiler, run by `tsc -p .`.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import {
  command,
  contract,
  firefly,
  service,
  shard,
  t,
  table,
  type CastAnswer,
  type Rows,
  type SessionContext,
} from '../../core/game/index.ts'
import type { TableMethods } from '../../core/game/context.ts'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
/** Compiles only for `true`. */
function assertTrueType<_Is extends true>(): void {}

const Own = contract('own', {
  go: command(1, {}, {}),
  take: command(2, { amount: t.u32 }, { left: t.u32 }, { durable: true }),
  tell: command(3, {}, null, { durable: true }),
})
const Other = contract('other', {})

const name = t.string(64)
/** Hides arguments from the compiler that it would reject. */
type UntypedRecord = Record<string, unknown>
const define = (title: string, columns: UntypedRecord, options: UntypedRecord): unknown =>
  table(title, columns as never, { owner: Own, ...options } as never)

const fine = { own: name, id: t.id, n: t.u32, big: t.i64, list: t.array(t.u8, 9), none: t.nullable(t.u8) }
const many = (count: number): UntypedRecord =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`c${i}`, name]))
const keyed = { key: ['own', 'id'] }

/** Name, columns, options, and the error. */
const REJECTED: readonly (readonly [string, UntypedRecord, UntypedRecord, RegExp])[] = [
  ['', fine, keyed, /^table "": the name must match/],
  ['Item', fine, keyed, /the name must match \[a-z\]\[a-z0-9_\]\{0,47\}/],
  ['1item', fine, keyed, /the name must match/],
  ['my-item', fine, keyed, /the name must match/],
  ['x'.repeat(49), fine, keyed, /the name must match/],
  ['firefly_kv', fine, keyed, /not begin with firefly_/],
  ['item', {}, { key: 'own' }, /0 columns are not 1\.\.90/],
  ['item', many(91), { key: 'c0' }, /91 columns are not 1\.\.90/],
  ['item', { own: name, OWN: name }, { key: 'own' }, /two columns differ only in letter case/],
  ['item', { ...fine, Name: name }, keyed, /column "Name" must match/],
  ['item', { ...fine, 'a-b': name }, keyed, /column "a-b" must match/],
  ['item', { ...fine, _a: name }, keyed, /column "_a" must match/],
  ['item', { ...fine, ['a'.repeat(64)]: name }, keyed, /must match \[a-z\]\[A-Za-z0-9_\]\{0,62\}/],
  ...['update', 'increment', 'delete', 'values', 'then', 'constructor', 'toJSON'].map(
    (taken) => ['item', { ...fine, [taken]: name }, keyed, /a row has a method of that name/] as const,
  ),
  ['item', { ...fine, x: t.optional(name) }, keyed, /column "x": use t\.nullable/],
  ['item', { ...fine, x: 5 }, keyed, /column "x": expected a t type or Standard Schema/],
  ['item', { ...fine, x: t.nullable(t.nullable(name)) }, keyed, /column "x": nullable cannot be a column/],
  ['item', { ...fine, x: t.array(t.bytes(), 9) }, keyed, /stored as JSON, which cannot represent t\.bytes/],
  ['item', { ...fine, x: t.object({ a: t.record(t.u64, 9) }) }, keyed, /cannot represent t\.u64/],
  ['item', { ...fine, x: t.nullable(t.object({ a: t.date })) }, keyed, /cannot represent t\.date/],
  ['item', fine, { key: ['own', 'uid'] }, /key "uid" is not a column/],
  ['item', fine, { key: [] }, /the key has no column/],
  ['item', fine, { key: ['own', 'id', 'own'] }, /a key column is listed twice/],
  ['item', fine, { ...keyed, shardKey: 'shard' }, /shardKey "shard" is not a column/],
  ['item', fine, { ...keyed, by: ['guild'] }, /shardKey "guild" is not a column/],
  ['item', fine, { ...keyed, by: ['own', 'guild'] }, /by "guild" is not a column/],
  ['item', fine, { ...keyed, unique: ['guild'] }, /unique "guild" is not a column/],
  ['item', fine, { key: ['own', 'none'] }, /key column none cannot be null/],
  ['item', fine, { ...keyed, shardKey: 'none' }, /key column none cannot be null/],
  ['item', fine, { key: 'n' }, /shardKey n must be text/],
  ['item', fine, { ...keyed, by: ['n'] }, /shardKey n must be text/],
  ['item', { ...fine, x: t.f64 }, { key: ['own', 'x'] }, /key column x: f64 cannot be a key/],
  ['item', fine, { key: ['own', 'list'] }, /key column list: array cannot be a key/],
  ['item', fine, { ...keyed, shardKey: 'own', by: ['list'] }, /key column list: array cannot be a key/],
  ['item', fine, { ...keyed, unique: ['list'] }, /key column list: array cannot be a key/],
  ['item', { ...fine, x: t.bytes(256) }, { ...keyed, unique: ['x'] }, /key column x: bytes cannot be a key/],
  ['item', { ...fine, x: t.string(256) }, { key: 'x' }, /key column x: 256 characters exceed 255/],
  ['item', fine, { key: ['own', 'n'], ids: 'generated' }, /need a t\.id, which n is not/],
  ['item', fine, { key: ['own', 'id', 'n'], ids: 'generated' }, /need one key column besides the shard's/],
  ['item', fine, { key: 'own', ids: 'auto' }, /ids 'auto' need one key column besides the shard's/],
  ['item', fine, { ...keyed, ids: 'auto' }, /ids 'auto' need an integer, which id is not/],
  ['item', fine, { ...keyed, defaults: { n: -1 } }, /column "n": default -1 is outside 0\.\.4294967295/],
  ['item', fine, { ...keyed, defaults: { n: '1' } }, /column "n": default expected u32, got "1"/],
  [
    'item',
    fine,
    { ...keyed, defaults: { bigg: 1 } },
    /^table "item": defaults has no column "bigg": did you mean big\?/,
  ],
  ['item', fine, {}, /^table "item": key is undefined, not a column or a list of columns/],
  ['item', fine, { key: 5 }, /^table "item": key is 5, not a column or a list of columns/],
  ['item', fine, { ...keyed, owner: undefined }, /^table "item": owner is undefined, not what contract\(\) returns/],
  ['item', fine, { ...keyed, owner: 'own' }, /^table "item": owner is "own", not what contract\(\) returns/],
  ['item', fine, { ...keyed, shardkey: 'own' }, /^table "item" has no option "shardkey": did you mean shardKey\?/],
  ['item', fine, { ...keyed, by: 'own' }, /^table "item": by is "own", not a list of names/],
  ['item', fine, { ...keyed, class: 'strict' }, /^table "item": class is "strict", not one of local, critical/],
  ['item', fine, { ...keyed, ids: 'random' }, /^table "item": ids is "random", not one of given, generated, auto/],
  ['item', fine, { ...keyed, evict: true }, /^table "item": evict is true, not one of lru, never/],
  ['item', fine, { ...keyed, defaults: [] }, /^table "item": defaults is array of 0, not an object/],
]

test('rejects a table that SQLite or MySQL cannot store, and names it', () => {
  for (const [title, columns, options, message] of REJECTED)
    assert.throws(() => define(title, columns, options), { name: 'DefinitionError', message }, String(message))
})

test('rejects a table without options, without columns, or that table() did not make', () => {
  const untyped = table as (...args: unknown[]) => unknown
  const tables = (own: unknown) => () => shard(Own).tables(own as never)
  for (const [make, message] of [
    [() => untyped('item', fine), /^table "item": the argument options is undefined, not an object/],
    [() => untyped('item', undefined, keyed), /^table "item": the argument columns is undefined, not an object/],
    [() => untyped(5, fine, keyed), /^table 5: the name must match/],
    [tables({ x: {} }), /^own: table "x" is object, not what table\(\) returns/],
    [tables({ x: undefined }), /^own: table "x" is undefined, not what table\(\) returns/],
    [tables(undefined), /^own: the argument tables is undefined, not an object/],
  ] as const)
    assert.throws(make, { name: 'DefinitionError', message })
})

test('accepts a table at its bounds', () => {
  const text = { ...fine, x: t.string(255), y: t.bytes(255), z: t.decimal(9, 2), w: t.date, v: t.bool }
  define('a'.repeat(48), text, { key: ['own', 'x', 'y', 'w', 'v', 'big'], unique: ['z', 'none'], by: ['own', 'n'] })
  define('item', many(90), { key: 'c0' })
  define('item', { ...fine, ['a'.repeat(63)]: name, order: name, group: name }, keyed)
  define('item', fine, { key: 'n', by: ['own'], ids: 'auto' })
  define('item', fine, { ...keyed, ids: 'generated', class: 'critical', evict: 'never' })
})

const items = table(
  'item',
  {
    own: name,
    id: t.id,
    n: t.u32,
    big: t.i64,
    kind: t.oneOf('a', 'b'),
    mark: t.nullable(name),
    list: t.array(t.u8, 9),
  },
  {
    key: ['own', 'id'],
    shardKey: 'own',
    owner: Own,
    by: ['kind'],
    unique: ['mark'],
    ids: 'generated',
    defaults: { n: 1 },
  },
)
const spots = table('spot', { own: name, x: t.i32, y: t.i32 }, { key: ['own', 'x', 'y'], owner: Own })
const heads = table('head', { own: name, gold: t.u32 }, { key: 'own', owner: Own })
const made = table('made', { own: name, n: t.u64, text: name }, { key: ['own', 'n'], owner: Own, ids: 'auto' })
const tables = { items, spots, heads, made }

test('a table must be listed once, by the shard that owns it', () => {
  const definitionError = (message: RegExp) => ({ name: 'DefinitionError', message })
  const Twin = contract('twin', { go: command(9, {}, {}) })
  assert.throws(() => shard(Other).tables({ items }), definitionError(/table item belongs to own, not to other/))
  assert.throws(() => service(Own).tables({ items }), definitionError(/own: a service cannot have tables/))
  const twins = {
    one: shard(Own)
      .tables({ items })
      .handlers({ go: () => ({}), take: () => ({ left: 0 }), tell: () => {} }),
    two: shard(Twin)
      .tables({ items: table('item', { k: name }, { key: 'k', owner: Twin }) })
      .on('go', () => ({})),
  }
  assert.throws(() => firefly(twins), definitionError(/two tables have the name item/))
  const { go, take } = Own.entries
  assert.throws(() => shard(Own).answer('', take, {}, () => {}), definitionError(/an answer needs a name/))
  assert.throws(
    () => shard(Own).answer('done', go, {}, () => {}),
    definitionError(/own: answer "done" is for command 1, which is not durable/),
  )
  assert.throws(() => service(Own).answer('done', take, {}, () => {}), definitionError(/cannot have answers/))
  assert.throws(() => service(Own).bound(), definitionError(/cannot have bound sessions/))
})

test('rows have the types of their columns, and their methods accept only valid values', () => {
  const use = (rows: Rows<typeof tables>): void => {
    const item = rows.items.insert({ big: 1n, kind: 'a', list: [1] })
    assertTrueType<Equal<typeof item.n, number>>()
    assertTrueType<Equal<typeof item.big, bigint>>()
    assertTrueType<Equal<typeof item.kind, 'a' | 'b'>>()
    assertTrueType<Equal<typeof item.mark, string | null>>()
    assertTrueType<Equal<ReturnType<typeof rows.made.insert>, Promise<Awaited<ReturnType<typeof rows.made.insert>>>>>()
    // @ts-expect-error -- kind is missing
    rows.items.insert({ big: 1n, list: [] })
    // @ts-expect-error -- a number is not a bigint
    rows.items.insert({ big: 1, kind: 'a', list: [] })
    // @ts-expect-error -- not one of the kinds
    rows.items.insert({ big: 1n, kind: 'c', list: [] })
    // @ts-expect-error -- no such column
    rows.items.insert({ big: 1n, kind: 'a', list: [], nope: 1 })
    // @ts-expect-error -- gold has no default
    rows.heads.insert({})
    rows.items.insert({ own: 'k', id: 'i', n: 2, big: 1n, kind: 'b', mark: null, list: [] })

    item.update({ n: 2, mark: null })
    // @ts-expect-error -- part of the key
    item.update({ id: 'j' })
    // @ts-expect-error -- the key of the shard
    item.update({ own: 'j' })
    // @ts-expect-error -- text is not a number
    item.update({ n: '2' })
    // @ts-expect-error -- n is never null
    item.update({ n: null })
    // @ts-expect-error -- columns are read only
    item.n = 3

    assertTrueType<Equal<ReturnType<typeof item.increment<'n'>>, number>>()
    item.increment('n', 1)
    item.increment('big', 1n)
    // @ts-expect-error -- a bigint column takes bigints
    item.increment('big', 1)
    // @ts-expect-error -- text is not a number
    item.increment('kind', 1)
    // @ts-expect-error -- a list is not a number
    item.increment('list', 1)
    // @ts-expect-error -- part of the key
    rows.spots.get({ x: 1, y: 1 })!.increment('x', 1)
  }
  assert.equal(typeof use, 'function')
})

test('get() takes the key without the shard key, all() takes foreign keys', () => {
  type Key<V> = V extends TableMethods<infer Types> ? Types['key'] : never
  type Own = Rows<typeof tables>
  assertTrueType<Equal<Key<Own['items']>, readonly [key: string]>>()
  assertTrueType<Equal<Key<Own['heads']>, readonly []>>()
  assertTrueType<Equal<Key<Own['made']>, readonly [key: bigint]>>()
  const use = (rows: Own): void => {
    rows.items.get('i')
    rows.spots.get({ x: 1, y: 2 })
    rows.heads.get()
    // @ts-expect-error -- the key is missing
    rows.items.get()
    // @ts-expect-error -- the key of the shard is implied
    rows.items.get('own', 'i')
    // @ts-expect-error -- an id is text
    rows.items.get(1)
    // @ts-expect-error -- both columns are needed
    rows.spots.get({ x: 1 })
    // @ts-expect-error -- several columns need an object
    rows.spots.get(1, 2)
    // @ts-expect-error -- the shard has only one row
    rows.heads.get('own')
    rows.items.all()
    rows.items.all({ kind: 'a', mark: null }, { limit: 1, descending: true })
    // @ts-expect-error -- not one of its foreign keys
    rows.items.all({ n: 1 })
    // @ts-expect-error -- the key of the shard is implied
    rows.items.all({ own: 'k' })
    // @ts-expect-error -- no such table
    void rows.nothing
  }
  assert.equal(typeof use, 'function')
})

test('the answer of a cast must be one that the shard declares, with its data', () => {
  const own = shard(Own)
    .answer('took', Own.entries.take, { id: name, n: t.optional(t.u32) }, (c, { id }, answer) => {
      assertTrueType<Equal<typeof id, string>>()
      assertTrueType<Equal<typeof answer, CastAnswer<{ left: number }>>>()
      if (answer.ok) assertTrueType<Equal<typeof answer.output.left, number>>()
      // @ts-expect-error -- a refusal has no output
      else void answer.output
      c.at(Own, 'k').cast.take({ amount: 1 }, { answer: 'took', data: { id } })
    })
    .answer('told', Own.entries.tell, {}, (c, _data, answer) => {
      assertTrueType<Equal<typeof answer, CastAnswer<void>>>()
      c.at(Own, 'k').cast.take({ amount: 1 }, { answer: 'took', data: { id: '' } })
    })
    .on('go', (c) => {
      const { cast, call } = c.at(Own, 'k')
      cast.take({ amount: 1 })
      cast.take({ amount: 1 }, { answer: 'took', data: { id: 'x', n: 1 } })
      cast.tell({}, { answer: 'told' })
      cast.tell({}, { answer: 'told', data: {} })
      // @ts-expect-error -- told is for another command
      cast.take({ amount: 1 }, { answer: 'told' })
      // @ts-expect-error -- took is for another command
      cast.tell({}, { answer: 'took', data: { id: 'x' } })
      // @ts-expect-error -- no such answer
      cast.take({ amount: 1 }, { answer: 'gave' })
      // @ts-expect-error -- its data is missing
      cast.take({ amount: 1 }, { answer: 'took' })
      // @ts-expect-error -- its id is missing
      cast.take({ amount: 1 }, { answer: 'took', data: { n: 1 } })
      // @ts-expect-error -- a number is not text
      cast.take({ amount: 1 }, { answer: 'took', data: { id: 1 } })
      // @ts-expect-error -- the input is missing
      cast.take()
      // @ts-expect-error -- only a cast has an answer
      void call.take({ amount: 1 }, { answer: 'took', data: { id: 'x' } })
      // @ts-expect-error -- a command without output cannot be called
      void call.tell({})
      return {}
    })
  const bare = (c: SessionContext): void => {
    // @ts-expect-error -- this shard declares no such answer
    c.at(Own, 'k').cast.take({ amount: 1 }, { answer: 5 })
  }
  assert.equal(typeof bare, 'function')
  assert.deepEqual([...own.definition.answers.keys()], ['took', 'told'])
})
