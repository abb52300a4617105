// Stored rows, on any host: rows read back equal to what was written, lists match their query, and the tables are
// migrated to the game's declaration.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { TableDefinition } from '../../core/game/table.ts'
import type { Row, RowQuery } from '../../core/ports/store.ts'
import { compareKeys, rowKeyOf } from '../../core/rows/rowkey.ts'
import { TableError } from '../../core/sql/layout.ts'
import { t, type Fields } from '../../core/wire/type.ts'
import { fill, item, items, openInMemoryTables, remove } from './rowsfixture.ts'
import { ada, bob } from './slotfixture.ts'
import { assertField } from '../support/assertfield.ts'
import { defineTable, insert, update } from '../support/tables.ts'

const everything: RowQuery = { by: {}, descending: false, limit: 0 }

const columns = {
  owner: t.id,
  id: t.i32,
  int: t.int(-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
  real: t.f64,
  bool: t.bool,
  i64: t.i64,
  u64: t.u64,
  money: t.decimal(20, 4),
  text: t.string(100),
  bytes: t.bytes(100),
  list: t.array(t.u8, 10),
  bag: t.record(t.u32, 10),
  when: t.date,
  // A name that every object inherits.
  toString: t.oneOf('north', 'south'),
  maybe: t.nullable(t.array(t.string(9), 3)),
}
const kinds = defineTable('kinds', columns, { key: ['owner', 'id'] })

const low: Row = {
  owner: 'ada',
  id: -0x8000_0000,
  int: Number.MIN_SAFE_INTEGER,
  real: -Number.MAX_VALUE,
  bool: false,
  i64: -(2n ** 63n),
  u64: 0n,
  money: '-9999999999999999.9999',
  text: '',
  bytes: new Uint8Array(0),
  list: [],
  bag: {},
  when: new Date(Date.UTC(1000, 0, 1)),
  toString: 'south',
  maybe: null,
}
const high: Row = {
  owner: 'ada',
  id: 0x7fff_ffff,
  int: Number.MAX_SAFE_INTEGER,
  real: Number.MIN_VALUE,
  bool: true,
  i64: 2n ** 63n - 1n,
  u64: 2n ** 64n - 1n,
  money: '0.0001',
  text: 'a\0b \u{1F600} \uFFFD "quoted" \'too\'',
  bytes: Uint8Array.from({ length: 100 }, (_, i) => 255 - i),
  list: [0, 255],
  bag: { constructor: 7, '': 1 },
  when: new Date(Date.UTC(9999, 11, 31, 23, 59, 59, 999)),
  toString: 'north',
  maybe: ['', '\u2028'],
}

test('reads back every kind of column at its bounds, in a frozen row in declared order', () => {
  const rows = openInMemoryTables().open([kinds])
  rows.applyChanges('ada', [insert(kinds, low), fill(kinds, high)])
  for (const row of [low, high]) {
    const got = rows.row(kinds, 'ada', rowKeyOf(kinds, row))!
    assert.deepEqual(Object.entries(got).map(plain), Object.entries(row).map(plain))
    assert(Object.isFrozen(got) && Object.isFrozen(got['list']) && Object.isFrozen(got['bag']))
    assert.equal(Object.getPrototypeOf(got['bag']), null)
  }
  assertField(rows.list(kinds, 'ada', everything), 'id', [low['id'], high['id']])
  assert.equal(rows.row(kinds, 'ada', ['ada', 5]), null)
  assert.equal(rows.row(kinds, 'bob', ['bob', low['id']]), null)
})

test('an update changes only its columns, also to null', () => {
  const rows = openInMemoryTables().open([kinds])
  rows.applyChanges('ada', [insert(kinds, high)])
  const key = rowKeyOf(kinds, high)
  for (const patch of [
    { maybe: null, i64: -1n },
    // The same columns in another order, then other columns: each set of columns has its own statement.
    { i64: 1n, maybe: ['x'] },
    { toString: 'south', bool: false },
  ]) {
    const before = rows.row(kinds, 'ada', key)!
    rows.applyChanges('ada', [update(kinds, key, patch)])
    assert.deepEqual(
      Object.entries(rows.row(kinds, 'ada', key)!).map(plain),
      Object.entries({ ...before, ...patch }).map(plain),
    )
  }
})

test('updates a thousand different sets of columns', () => {
  const wide: Record<string, typeof t.u32> = { owner: t.id as never }
  for (let n = 0; n < 10; n++) wide[`c${n}`] = t.u32
  const definition = defineTable('wide', wide, { key: 'owner' })
  const rows = openInMemoryTables().open([definition])
  const row: Record<string, unknown> = { owner: 'ada' }
  for (let n = 0; n < 10; n++) row[`c${n}`] = 0
  rows.applyChanges('ada', [insert(definition, row)])
  for (let mask = 1; mask < 1_024; mask++) {
    const patch: Record<string, unknown> = {}
    for (let n = 0; n < 10; n++) if (mask & (1 << n)) patch[`c${n}`] = mask
    rows.applyChanges('ada', [update(definition, ['ada'], patch)])
    Object.assign(row, patch)
    assert.deepEqual({ ...rows.row(definition, 'ada', ['ada']) }, row)
  }
})

test('orders keys of every kind as the engine does', () => {
  const samples: [string, Fields, unknown[]][] = [
    ['i64s', { id: t.i64 }, [-(2n ** 63n), -256n, -1n, 0n, 1n, 9n, 10n, 2n ** 63n - 1n]],
    ['u64s', { id: t.u64 }, [0n, 9n, 10n, 255n, 2n ** 63n, 2n ** 64n - 1n]],
    ['ints', { id: t.i32 }, [-10, -9, 0, 9, 10, 100]],
    ['texts', { id: t.string(9) }, ['', '\0', '10', '9', 'Z', 'a', 'é', '\uFFFD', '\u{1F600}']],
    ['blobs', { id: t.bytes(9) }, [[], [0], [0, 0], [1], [255]].map((bytes) => new Uint8Array(bytes))],
    ['dates', { id: t.date }, [-2, -1, 0, 1].map((ms) => new Date(ms))],
    ['bools', { id: t.bool }, [false, true]],
  ]
  for (const [name, id, values] of samples) {
    const definition = defineTable(name, { owner: t.id, ...id }, { key: ['id', 'owner'] as never, shardKey: 'owner' })
    const rows = openInMemoryTables().open([definition])
    const shuffled = values.toReversed().map((id) => ({ owner: 'ada', id }))
    rows.applyChanges(
      'ada',
      shuffled.map((row) => insert(definition, row)),
    )
    const sorted = shuffled.toSorted((a, b) => compareKeys([a.id], [b.id])).map(({ id }) => id)
    assert.deepEqual(sorted, values, name)
    assert.deepEqual(
      rows.list(definition, 'ada', everything).map(({ id }) => id),
      values,
      name,
    )
    assert.deepEqual(rows.row(definition, 'ada', [values[0], 'ada'])?.['id'], values[0], name)
  }
})

test('lists the matching rows of one shard in either order, with and without a limit', () => {
  const rows = openInMemoryTables().open([items])
  const swords = ['a', 'b', 'c', 'd'].map((id) => item(id))
  rows.applyChanges(
    ada.key,
    [...swords, item('x', { kind: 'bow', charm: 'elf' })].map((row) => insert(items, row)),
  )
  rows.applyChanges(bob.key, [insert(items, item('a', { count: 9 }, bob.key))])
  const ids = (query: Partial<RowQuery>): unknown[] =>
    rows.list(items, ada.key, { ...everything, ...query }).map(({ id }) => id)
  assert.deepEqual(ids({}), ['a', 'b', 'c', 'd', 'x'])
  assert.deepEqual(ids({ by: { kind: 'sword' }, limit: 2 }), ['a', 'b'])
  assert.deepEqual(ids({ by: { kind: 'sword' }, limit: 2, descending: true }), ['d', 'c'])
  assert.deepEqual(ids({ by: { kind: 'bow', charm: 'elf' } }), ['x'])
  assert.deepEqual(ids({ by: { charm: null } }), ['a', 'b', 'c', 'd'])
  assert.deepEqual(ids({ by: { kind: 'lance' } }), [])
  assertField(rows.list(items, bob.key, everything), 'count', [9])
})

test('uses the index of a column for a list by that column', () => {
  const { db, open, sql } = openInMemoryTables()
  const rows = open([items])
  const texts: string[] = []
  const all = sql.all.bind(sql)
  sql.all = (text, ...cells) => (texts.push(text), all(text, ...cells))
  rows.list(items, ada.key, { by: { kind: 'sword' }, descending: true, limit: 1 })
  const plan = db.prepare(`EXPLAIN QUERY PLAN ${texts[0]}`).all(null, null, 1)
  assertField(plan, 'detail', ['SEARCH r_items USING INDEX i_items.kind (owner=? AND kind=?)'])
})

test('insert rejects an existing key, fill replaces the row, delete and drop remove it', () => {
  const rows = openInMemoryTables().open([items])
  rows.applyChanges(ada.key, [insert(items, item('a'))])
  assert.throws(() => rows.applyChanges(ada.key, [insert(items, item('a'))]), /UNIQUE/)
  rows.applyChanges(ada.key, [fill(items, item('a', { count: 5, charm: 'elf' }))])
  assert.deepEqual({ ...rows.row(items, ada.key, ['a']) }, item('a', { count: 5, charm: 'elf' }))
  rows.applyChanges(ada.key, [remove(items, ['a'])])
  assert.equal(rows.row(items, ada.key, ['a']), null)
  rows.applyChanges(ada.key, [fill(items, item('a')), remove(items, ['a'], 'store-delete')])
  assert.equal(rows.row(items, ada.key, ['a']), null)
  assert.throws(
    () => rows.applyChanges(ada.key, [insert(items, item('a', {}, 'eve'))]),
    /belongs to shard eve, not ada/,
  )
  assert.throws(() => rows.row(kinds, ada.key, ['x']), /the store has no table kinds/)
})

test('rows that are older than a column have its default, and are found by it', () => {
  const { open } = openInMemoryTables()
  open([items]).applyChanges(ada.key, [insert(items, item('old'))])
  const grown = defineTable(
    'items',
    {
      owner: t.id,
      id: t.id,
      level: t.u8,
      kind: t.string(32),
      count: t.u32,
      charm: t.nullable(t.string(32)),
      guild: t.string(9),
      tags: t.array(t.string(9), 3),
      note: t.nullable(t.string(9)),
    },
    { key: 'id', shardKey: 'owner', by: ['guild', 'note'], defaults: { guild: 'none', level: 3 } },
  )
  let rows = open([grown])
  const old = {
    owner: 'ada',
    id: 'old',
    level: 3,
    kind: 'sword',
    count: 1,
    charm: null,
    guild: 'none',
    tags: [],
    note: null,
  }
  assert.deepEqual(Object.entries(rows.row(grown, ada.key, ['old'])!), Object.entries(old))
  const found = rows.list(grown, ada.key, { ...everything, by: { guild: 'none' } })
  assertField(found, 'id', ['old'])
  // The earlier game again: the columns stay, and a row that it writes has their default.
  rows = open([items])
  rows.applyChanges(ada.key, [insert(items, item('new')), update(items, ['old'], { count: 8 })])
  assert.deepEqual({ ...rows.row(items, ada.key, ['old']) }, item('old', { count: 8 }))
  rows = open([grown])
  assertField(rows.list(grown, ada.key, { ...everything, by: { guild: 'none' } }), 'id', ['new', 'old'])
})

test('finds rows by the default of a column that is no longer nullable', () => {
  const { open } = openInMemoryTables()
  const make = (charm: Fields[string]): TableDefinition =>
    defineTable('charms', { owner: t.id, id: t.id, charm }, { key: 'id', shardKey: 'owner', by: ['charm'] })
  const before = make(t.nullable(t.string(9)))
  open([before]).applyChanges('ada', [insert(before, { owner: 'ada', id: 'x', charm: null })])
  const after = make(t.string(9))
  const found = open([after]).list(after, 'ada', { ...everything, by: { charm: '' } })
  const plainRows = found.map((row) => ({ ...row }))
  assert.deepEqual(plainRows, [{ owner: 'ada', id: 'x', charm: '' }])
})

test('writes nothing at a start with the same game', () => {
  const { open, sql } = openInMemoryTables()
  open([items, kinds], true)
  const { changes } = sql
  open([items, kinds], true)
  assert.equal(sql.changes, changes)
})

test('rejects a layout that the game cannot read, and changes nothing', () => {
  const { open, db } = openInMemoryTables()
  open([items])
  const schema = (): unknown => db.prepare('SELECT sql FROM sqlite_master ORDER BY name').all()
  const before = schema()
  const other = defineTable('others', { owner: t.id, id: t.id }, { key: 'id', shardKey: 'owner' })
  const { owner, id, kind, count } = { owner: t.id, id: t.id, kind: t.string(32), count: t.u32 }
  const options = { key: 'id', shardKey: 'owner' } as const
  for (const [definition, column, actual, expected] of [
    [defineTable('items', { owner, id, kind, count: t.f64 }, options), 'count', 'of kind int', 'real'],
    [defineTable('items', { owner, id, kind: t.i64, count }, options), 'kind', 'of kind text', 'i64'],
    [defineTable('items', { owner, id, kind, cOunt: count }, options), 'cOunt', 'called count', 'cOunt'],
    [
      defineTable('items', { owner, id, kind, count }, { ...options, key: ['kind', 'id'] }),
      null,
      'keyed by (owner, id)',
      '(owner, kind, id)',
    ],
    [{ ...items, owner: 'guild' }, null, 'owned by player', 'owner guild'],
  ] as const) {
    assert.throws(
      () => open([other, definition]),
      (error) => {
        assert(error instanceof TableError)
        assert.deepEqual([error.table, error.column, error.actual, error.expected], ['items', column, actual, expected])
        const message = /the store, the game expects .*: give it a new name, or start the earlier version$/
        assert.match(error.message, message)
        return true
      },
    )
  }
  assert.deepEqual(schema(), before)
})

/** A table whose columns the compiler does not check. */
/** node:assert treats objects without a prototype as different. */
function plain([name, value]: [string, unknown]): unknown[] {
  return [name, name === 'bag' ? Object.entries(value as object) : value]
}
