// Rows in a real MariaDB, with both clients: every kind of value reads back unchanged, pages are ordered by key, and
// values of other programs are checked.

import assert from 'node:assert/strict'

import fc from 'fast-check'

import type { Row } from '../../core/ports/store.ts'
import { rowKeyOf } from '../../core/rows/rowkey.ts'
import type { SqlValue } from '../../core/sql/client.ts'
import { addColumn } from '../../core/sql/statements.ts'
import { t, type Fields } from '../../core/wire/type.ts'
import { ALL_BYTES, loadAll, uniqueTableName, assertRefused, remove, openSqlFixture } from '../support/sqldatabase.ts'
import { defineTable, insert, update } from '../support/tables.ts'

const { direct, queryRows, create, testBothDrivers } = await openSqlFixture()

const EVERY_KIND = {
  key: t.string(20),
  u8: t.u8,
  i8: t.i8,
  u16: t.u16,
  i16: t.i16,
  u32: t.u32,
  i32: t.i32,
  int: t.int(-9, Number.MAX_SAFE_INTEGER),
  f32: t.f32,
  f64: t.f64,
  bool: t.bool,
  i64: t.i64,
  u64: t.u64,
  money: t.decimal(65, 30),
  whole: t.decimal(20, 0),
  id: t.id,
  name: t.string(40),
  text: t.string(1_001),
  book: t.string(6_000_000),
  mood: t.oneOf('calm', 'wütend 😀'),
  bytes: t.bytes(256),
  blob: t.bytes(4_001),
  image: t.bytes(20_000_000),
  tags: t.array(t.string(99), 9),
  stats: t.record(t.f64, 9),
  pet: t.object({ name: t.string(99), level: t.optional(t.u8) }),
  at: t.date,
  maybe: t.nullable(t.u8),
  maybeText: t.nullable(t.string(2_000)),
  maybePet: t.nullable(t.array(t.u8, 9)),
}
const SPECIAL_TEXT = "🐉 ü ' \" \\ \\' ` ? ?? % _ ; -- \0\b\n\r\t\u001a \u2028\ufeff"
const LOW: Row = {
  key: 'low',
  u8: 0,
  i8: -128,
  u16: 0,
  i16: -32_768,
  u32: 0,
  i32: -2_147_483_648,
  int: -9,
  f32: -3.4028234663852886e38,
  f64: 5e-324,
  bool: false,
  i64: -(2n ** 63n),
  u64: 0n,
  money: `-${'9'.repeat(35)}.${'9'.repeat(30)}`,
  whole: '0',
  id: 'a',
  name: '',
  text: '',
  book: '',
  mood: 'calm',
  bytes: new Uint8Array(0),
  blob: new Uint8Array(0),
  image: new Uint8Array(0),
  tags: [],
  stats: EVERY_KIND.stats.parse({}),
  pet: { name: '' },
  at: new Date('1000-01-01T00:00:00.001Z'),
  maybe: null,
  maybeText: null,
  maybePet: null,
}
const HIGH: Row = {
  key: 'high',
  u8: 255,
  i8: 127,
  u16: 65_535,
  i16: 32_767,
  u32: 4_294_967_295,
  i32: 2_147_483_647,
  int: Number.MAX_SAFE_INTEGER,
  f32: 0.1,
  f64: Number.MAX_VALUE,
  bool: true,
  i64: 2n ** 63n - 1n,
  u64: 2n ** 64n - 1n,
  money: `0.${'0'.repeat(29)}1`,
  whole: '99999999999999999999',
  id: 'Az09_-'.padEnd(64, 'z'),
  name: '😀'.repeat(20),
  text: SPECIAL_TEXT,
  book: `${SPECIAL_TEXT}${'ü'.repeat(100_000)}`,
  mood: 'wütend 😀',
  bytes: ALL_BYTES,
  blob: ALL_BYTES,
  image: new Uint8Array(70_000).fill(0xff),
  tags: ['"', '\\', '?', "'", '🐉', '\0', ''],
  stats: EVERY_KIND.stats.parse({ '?"\\': -0.5, ü: 1e-7 }),
  pet: { name: SPECIAL_TEXT, level: 255 },
  at: new Date('9999-12-31T23:59:59.999Z'),
  maybe: 255,
  maybeText: SPECIAL_TEXT,
  maybePet: [0, 255],
}

testBothDrivers('reads back every kind of value, inserted and updated', async (database, owner) => {
  const all = await create(EVERY_KIND, { key: 'key' })
  await owner.applyBatch([insert(all, LOW), insert(all, HIGH)])
  for (const row of [LOW, HIGH]) {
    const found = await database.row(all, [row.key])
    assert.deepEqual(found, row)
    assert.deepEqual(Object.keys(found), Object.keys(EVERY_KIND))
    assert.ok(Object.isFrozen(found) && Object.isFrozen(found.tags))
    assert.deepEqual(await database.load(all, row.key as string, null, 9), [row])
  }
  const patch = (row: Row): Row => Object.fromEntries(Object.entries(row).slice(1))
  await owner.applyBatch([update(all, ['low'], patch(HIGH)), update(all, ['high'], patch(LOW))])
  assert.deepEqual(await database.row(all, ['low']), { ...HIGH, key: 'low' })
  assert.deepEqual(await database.row(all, ['high']), { ...LOW, key: 'high' })
  await owner.applyBatch([update(all, ['low'], patch(LOW))])
  assert.deepEqual(await database.row(all, ['low']), LOW)
})

testBothDrivers('stores any number and any text, many rows in one statement', async (database, owner) => {
  const any = await create({ uid: t.id, n: t.u32, real: t.f64, text: t.string(300) }, { key: ['uid', 'n'] })
  const double = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0)
  const text = fc.string({ unit: 'binary', maxLength: 100 })
  const values = fc.sample(fc.tuple(double, text), { numRuns: 300, seed: 7 })
  const rows = values.map(([real, text], n) => ({ uid: 'u', n, real, text }))
  await owner.applyBatch(rows.map((row) => insert(any, row)))
  assert.deepEqual(await database.load(any, 'u', null, 300), rows)
  const swapped = rows.map((row, n) => ({ ...row, real: rows.at(-n - 1)!.real, text: rows.at(-n - 1)!.text }))
  await owner.applyBatch(swapped.map(({ uid, n, real, text }) => update(any, [uid, n], { real, text })))
  assert.deepEqual(await database.load(any, 'u', null, 300), swapped)
})

testBothDrivers('orders pages by key: case, emoji, numbers, bytes and dates', async (database, owner) => {
  const bags = await create(
    { place: t.string(9), uid: t.string(9), at: t.date, tag: t.bytes(2), worth: t.decimal(40, 2) },
    { key: ['place', 'uid', 'at', 'tag', 'worth'], shardKey: 'uid' },
  )
  const rows: Row[] = []
  for (const place of ['', 'B', 'a', 'b', 'ä', '\ue000', '😀'])
    for (const at of [new Date('1969-12-31T23:59:59.999Z'), new Date(0)])
      for (const tag of [Uint8Array.of(), Uint8Array.of(0), Uint8Array.of(200)])
        for (const worth of ['-1.00', '2.00', '10.00', `1${'0'.repeat(36)}1.00`, `1${'0'.repeat(36)}2.00`])
          rows.push({ place, uid: 'me', at, tag, worth })
  const others = rows.map((row) => ({ ...row, uid: 'ME' }))
  await owner.applyBatch([...rows, ...others].map((row) => insert(bags, row)).toReversed())
  for (const page of [1, 7, 1_000]) assert.deepEqual(await loadAll(database, bags, 'me', page), rows)
  for (const row of rows.slice(-10)) assert.deepEqual(await database.row(bags, rowKeyOf(bags, row)), row)
  assert.equal(await database.row(bags, rowKeyOf(bags, { ...rows[0], place: 'A' })), null)
  await owner.applyBatch(rows.slice(-3).map((row) => remove(bags, ...rowKeyOf(bags, row))))
  assert.deepEqual(await loadAll(database, bags, 'me', 1_000), rows.slice(0, -3))
  assert.deepEqual(await loadAll(database, bags, 'ME', 1_000), others)
})

testBothDrivers('loads a shard with a single row as one page', async (database, owner) => {
  const heroes = await create({ uid: t.string(9), level: t.u8 }, { key: 'uid' })
  await owner.applyBatch([insert(heroes, { uid: 'a', level: 1 })])
  assert.deepEqual(await database.load(heroes, 'a', null, 1), [{ uid: 'a', level: 1 }])
  assert.deepEqual(await database.load(heroes, 'a', ['a'], 1), [])
  assert.deepEqual(await database.load(heroes, 'é'.repeat(99), null, 1), [])
})

testBothDrivers('refuses invalid values of another program with column, value and bound', async (database, owner) => {
  const items = await create(
    {
      id: t.id,
      count: t.int(0, 99),
      name: t.string(9, 3),
      mood: t.oneOf('calm', 'wild'),
      tags: t.array(t.u8, 2),
      at: t.date,
      on: t.bool,
    },
    { key: 'id' },
  )
  const good = { id: 'a', count: 1, name: 'Ada', mood: 'calm', tags: [1], at: new Date(0), on: true }
  await owner.applyBatch([insert(items, good)])
  const foreign: [column: string, value: SqlValue, message: RegExp][] = [
    ['count', 100, /^table t\d+: column count holds "100": 100 is outside 0\.\.99$/],
    ['name', 'Al', /column name holds "Al": string of 2 characters is below 3: "Al"$/],
    ['mood', 'sad', /column mood holds "sad": .*calm/],
    ['tags', '[1,2,3]', /column tags holds "\[1,2,3\]": array of 3 items exceeds 2: \[1, 2, 3\]$/],
    ['tags', '[1,', /column tags holds "\[1,": not JSON$/],
    ['on', 7, /column on holds "7": expected bool, got "7"$/],
  ]
  for (const [column, value, message] of foreign) {
    await queryRows(`UPDATE ${items.name} SET \`${column}\` = ?`, value)
    await assertRefused(database.load(items, 'a', null, 9), message)
    await assertRefused(database.row(items, ['a']), message)
    const before = good[column as keyof typeof good]
    await owner.applyBatch([update(items, ['a'], { [column]: before })])
  }
  assert.deepEqual(await database.row(items, ['a']), good)
})

testBothDrivers('reads and writes a table of another program', async (database, owner) => {
  const old = defineTable(
    uniqueTableName(),
    { id: t.u32, uid: t.string(20), on: t.bool, level: t.u8, born: t.date, name: t.string(20) },
    { key: 'id', by: ['uid'], unique: ['name'], defaults: { level: 7 } },
  )
  await queryRows(
    `CREATE TABLE ${old.name} (name CHAR(20) UNIQUE, extra INT NOT NULL DEFAULT 3, \`on\` BIT(1), born TIMESTAMP(6) NULL,
      uid VARCHAR(20) NOT NULL, level INT, id MEDIUMINT UNSIGNED PRIMARY KEY) CHARACTER SET latin1`,
  )
  for (const [id, uid] of [
    [1, 'Bob'],
    [2, 'bob'],
    [3, 'Bob'],
    [4, 'bob'],
    [5, 'Bob '],
  ] as const)
    await queryRows(
      `INSERT INTO ${old.name} (id, uid, name, \`on\`, born) VALUES (?, ?, ?, 1, ?)`,
      id,
      uid,
      `n${id}ü`,
      '2026-11-22 01:02:03.456789',
    )
  const row = (id: number, uid: string): Row => {
    return { id, uid, on: true, level: 7, born: new Date('2026-11-22T01:02:03.456Z'), name: `n${id}ü` }
  }
  for (const page of [1, 2, 9]) {
    assert.deepEqual(await loadAll(database, old, 'Bob', page), [row(1, 'Bob'), row(3, 'Bob')])
    assert.deepEqual(await loadAll(database, old, 'bob', page), [row(2, 'bob'), row(4, 'bob')])
  }
  await owner.applyBatch([insert(old, { ...row(6, 'Bob'), on: false })])
  await owner.applyBatch([update(old, [6], { level: 8 })])
  assert.deepEqual(await database.row(old, [6]), { ...row(6, 'Bob'), on: false, level: 8 })
  assert.deepEqual(await queryRows(`SELECT extra FROM ${old.name} WHERE id = 6`), [['3']])
  await queryRows(`ALTER TABLE ${old.name} DROP COLUMN level`)
  await assert.rejects(database.load(old, 'Bob', null, 1), { kind: 'schema', message: /^table t\d+: .*level/ })
})

testBothDrivers('finds a row by its exact key, whatever the collation treats as equal', async (database, owner) => {
  const heroes = await create({ uid: t.string(20), level: t.u8 }, { key: 'uid' })
  await queryRows(`ALTER TABLE ${heroes.name} MODIFY uid VARCHAR(20) COLLATE utf8mb4_general_ci NOT NULL`)
  await owner.applyBatch([insert(heroes, { uid: 'Bob', level: 1 })])
  assert.deepEqual(await database.row(heroes, ['Bob']), { uid: 'Bob', level: 1 })
  assert.equal(await database.row(heroes, ['bob']), null)
  assert.deepEqual(await database.load(heroes, 'bob', null, 9), [])
  await owner.assertRefused([insert(heroes, { uid: 'bob', level: 2 })], /Duplicate entry 'bob'/)
})

testBothDrivers('refuses a key that ends in a space, which MySQL ignores', async (database, owner) => {
  const items = await create({ uid: t.string(20), n: t.u32 }, { key: ['uid', 'n'] })
  await owner.applyBatch([insert(items, { uid: 'bob', n: 1 })])
  const message = /table t\d+: uid: the key "bob " ends in a space/
  await owner.assertRefused([insert(items, { uid: 'bob ', n: 2 })], message)
  await owner.assertRefused([remove(items, 'bob ', 1)], message)
  await assertRefused(database.row(items, ['bob ', 1]), message)
  await assertRefused(database.load(items, 'bob ', null, 9), message)
  await assertRefused(database.criticalState('player/bob '), /^shard: the key/)
  await assertRefused(database.takeover('player/bob ', 'a'.repeat(32)), /^owner: the key/)
  await assertRefused(database.lease('player/bob '), /^owner: the key/)
  const channel = { shard: 'player/bob', id: '@player/eve ', mark: 1, replies: ALL_BYTES }
  await assertRefused(database.apply(await owner.createBatch([], { channels: [channel] })), /^channel: the key/)
  assert.deepEqual(await database.load(items, 'bob', null, 9), [{ uid: 'bob', n: 1 }])
})

testBothDrivers('accepts rows of a version that does not know a new column', async (database, owner) => {
  const columns = { id: t.string(9), n: t.u8 }
  const old = await create(columns, { key: 'id' })
  await owner.applyBatch([insert(old, { id: 'before', n: 1 }), insert(old, { id: 'too', n: 1 })])
  const added: Fields = {
    mana: t.u16,
    nick: t.id,
    motto: t.string(20),
    bag: t.array(t.u8, 3),
    score: t.decimal(6, 2),
    seen: t.date,
    mail: t.string(20),
    raw: t.bytes(9),
    real: t.f64,
    big: t.u64,
    low: t.int(5, 9),
    code: t.nullable(t.string(9)),
  }
  const all: Fields = { ...columns, ...added }
  const defaults: Row = { motto: "it's \\ 50% ? 🐉; --", bag: [1], raw: Uint8Array.of(0, 39, 255), real: -1e-7 }
  const options = {
    key: 'id',
    unique: ['mail'],
    by: ['nick'],
    shardKey: 'id',
    defaults: { ...defaults, big: 2n ** 64n - 1n },
  } as const
  const current = defineTable(old.name, all, options)
  for (const name of Object.keys(added))
    for (const statement of addColumn(current, current.columnByName.get(name)!)) await direct.query(statement)
  await owner.applyBatch([insert(old, { id: 'after', n: 1 })])
  await queryRows(`INSERT INTO ${old.name} (id, n) VALUES (?, 1)`, 'foreign')
  for (const id of ['before', 'too', 'after', 'foreign']) {
    assert.deepEqual(await database.row(current, [id]), {
      id,
      n: 1,
      mana: 0,
      nick: '',
      score: '0.00',
      seen: new Date(0),
      mail: '',
      big: 2n ** 64n - 1n,
      low: 5,
      code: null,
      ...defaults,
    })
  }
  const fresh = await create(all, options)
  const shape = async (name: string) =>
    ((await queryRows(`SHOW CREATE TABLE ${name}`))[0]![1] as string).replace(name, '').split('\n').sort()
  assert.deepEqual(await shape(old.name), await shape(fresh.name))
})
