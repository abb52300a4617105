// Concurrent loads of shards share statements, and each shard gets the same rows as from statements of its own: on a real
// MariaDB, with both clients.

import assert from 'node:assert/strict'
import test from 'node:test'

import type { TableDefinition } from '../../core/game/table.ts'
import type { Row } from '../../core/ports/store.ts'
import { DatabaseError, type SqlClient, type SqlValue } from '../../core/sql/client.ts'
import { SqlDatabase } from '../../core/sql/database.ts'
import { selectShards } from '../../core/sql/select.ts'
import { insertInto } from '../../core/sql/statements.ts'
import { t } from '../../core/wire/type.ts'
import { loadAll, uniqueTableName, assertRefused, openSqlFixture } from '../support/sqldatabase.ts'
import { assertField } from '../support/assertfield.ts'
import { defineTable } from '../support/tables.ts'

const { direct, queryRows, create, testBothDrivers } = await openSqlFixture()

/** Number of rows of shard `i`: none, one, few, too many for one shared statement, and more than a page. */
const sizeOf = (i: number): number => [0, 1, 3, 120, i % 40 === 4 ? 1_200 : 3][i % 5]!
const SHARDS = Array.from({ length: 200 }, (_, i) => `s${i}`)

async function insertRows(table: TableDefinition, rows: readonly (readonly SqlValue[])[]): Promise<void> {
  const columns = table.columns.map(({ name }) => name)
  for (const { statement } of insertInto(table.name, columns, rows)) await direct.query(statement)
}

/** A database on this client that counts its statements. */
function countingDatabase(client: SqlClient) {
  const count = { statements: 0 }
  const counting: SqlClient = {
    query: (statement) => (count.statements++, client.query(statement)),
    transact: (statements, accept) => client.transact(statements, accept),
    close: () => client.close(),
  }
  return Object.assign(count, { database: new SqlDatabase(counting, { tables: [] }) })
}

async function loadSequentially<T>(keys: readonly string[], get: (key: string) => Promise<T>): Promise<T[]> {
  const found: T[] = []
  for (const key of keys) found.push(await get(key))
  return found
}

test('orders the rows of many shards by shard, and then as in a page of one shard', () => {
  const columns = { place: t.u8, uid: t.id, n: t.u8 }
  const places = defineTable('places', columns, {
    key: ['place', 'uid', 'n'],
    shardKey: 'uid',
  })
  assert.deepEqual(selectShards(places, ['a', 'b'], 9), {
    sql: 'SELECT `place`, `uid`, `n` FROM `places` WHERE `uid` IN (?, ?) ORDER BY `uid`, `place`, `n` LIMIT ?',
    params: ['a', 'b', 9],
  })
})

testBothDrivers('200 concurrent loads return the same rows as sequential ones', async (_, __, client) => {
  const bags = await create({ uid: t.string(9), n: t.u32, count: t.u32 }, { key: ['uid', 'n'] })
  // The shard key is not part of its primary key.
  const items = await create({ id: t.u32, uid: t.string(9) }, { key: 'id', shardKey: 'uid' })
  await insertRows(
    bags,
    SHARDS.flatMap((uid, i) => Array.from({ length: sizeOf(i) }, (_, n) => [uid, n, n * 3])),
  )
  const ids = SHARDS.flatMap((uid, i) => Array.from({ length: sizeOf(i) }, () => uid))
  await insertRows(
    items,
    ids.map((uid, n) => [(n * 7_919) % 100_003, uid]),
  )
  for (const table of [bags, items])
    for (const page of [1_000, 100]) {
      const alone = countingDatabase(client)
      const expected = await loadSequentially(SHARDS, (uid) => loadAll(alone.database, table, uid, page))
      assertField(
        expected,
        'length',
        SHARDS.map((_, i) => sizeOf(i)),
      )
      const shared = countingDatabase(client)
      const found = await Promise.all(SHARDS.map((uid) => loadAll(shared.database, table, uid, page)))
      assert.deepEqual(found, expected)
      assert.ok(alone.statements >= SHARDS.length)
      assert.ok(shared.statements < alone.statements / 2, `${shared.statements} of ${alone.statements}`)
    }
  const few = countingDatabase(client)
  const small = SHARDS.filter((_, i) => sizeOf(i) < 10)
  await Promise.all(small.map((uid) => few.database.load(bags, uid, null, 1_000)))
  assert.equal(few.statements, Math.ceil(small.length / 64))
})

testBothDrivers('loads several page sizes and tables, and a shard twice, concurrently', async (database) => {
  const bags = await create({ uid: t.string(9), n: t.u32 }, { key: ['uid', 'n'] })
  const heroes = await create({ uid: t.string(9), level: t.u8 }, { key: 'uid' })
  await insertRows(
    bags,
    ['a', 'b', 'c'].flatMap((uid) => [0, 1, 2, 3].map((n) => [uid, n])),
  )
  await insertRows(heroes, [
    ['a', 1],
    ['c', 3],
  ])
  const numbers = (rows: readonly Row[]) => rows.map(({ uid, n }) => `${String(uid)}${String(n)}`).join(' ')
  const found = await Promise.all(
    ['a', 'b', 'c', 'a', 'd'].flatMap((uid) =>
      [2, 4, 9].map(async (limit) => numbers(await database.load(bags, uid, null, limit))),
    ),
  )
  const pagesOf = (uid: string) => [
    `${uid}0 ${uid}1`,
    `${uid}0 ${uid}1 ${uid}2 ${uid}3`,
    `${uid}0 ${uid}1 ${uid}2 ${uid}3`,
  ]
  assert.deepEqual(found, [...pagesOf('a'), ...pagesOf('b'), ...pagesOf('c'), ...pagesOf('a'), '', '', ''])
  const levels = await Promise.all(['a', 'b', 'c'].map((uid) => database.load(heroes, uid, null, 1)))
  assert.deepEqual(levels, [[{ uid: 'a', level: 1 }], [], [{ uid: 'c', level: 3 }]])
})

testBothDrivers('separates the rows of shards that a collation treats as equal', async (database) => {
  const old = defineTable(uniqueTableName(), { id: t.u32, uid: t.string(20) }, { key: 'id', by: ['uid'] })
  await queryRows(
    `CREATE TABLE ${old.name} (id INT UNSIGNED PRIMARY KEY,
      uid VARCHAR(20) COLLATE utf8mb4_general_ci NOT NULL, KEY (uid))`,
  )
  const bobs = ['Bob', 'bob', 'BOB', 'bOb', 'Böb']
  // The collation treats the 4,500 rows as one shard: a result of 4,000 has all rows of none of them.
  await insertRows(
    old,
    Array.from({ length: 4_500 }, (_, i) => [i, bobs[i % 5]!]),
  )
  await queryRows(`INSERT INTO ${old.name} (id, uid) VALUES (9000, ?), (9001, ?), (9002, ?)`, 'ada', 'zoë', 'bob ')
  const keys = [...bobs, 'ada', 'Ada', 'zoe', 'zoë', 'eve', 'boB']
  for (const page of [1_000, 900, 400]) {
    const expected = await loadSequentially(keys, (uid) => loadAll(database, old, uid, page))
    assertField(expected, 'length', [900, 900, 900, 900, 900, 1, 0, 0, 1, 0, 0])
    assert.deepEqual(await Promise.all(keys.map((uid) => loadAll(database, old, uid, page))), expected)
  }
})

testBothDrivers('reports an error of one shard to its load alone', async (database) => {
  // t.id is ASCII: MariaDB refuses to compare it with an é.
  const items = await create({ uid: t.id, n: t.u32, count: t.int(0, 99) }, { key: ['uid', 'n'] })
  await insertRows(
    items,
    SHARDS.flatMap((uid) => [0, 1].map((n) => [uid, n, 7])),
  )
  await queryRows(`UPDATE ${items.name} SET count = 100 WHERE uid = ? AND n = 1`, 's50')
  const keys = [...SHARDS, 'é', 's1 ']
  const results = await Promise.allSettled(keys.map((uid) => database.load(items, uid, null, 9)))
  const failed = results.flatMap(({ status }, i) => (status === 'rejected' ? [keys[i]] : []))
  assert.deepEqual(failed, ['s50', 'é', 's1 '])
  for (const [i, result] of results.entries()) {
    if (result.status === 'fulfilled')
      assert.deepEqual(
        result.value,
        [0, 1].map((n) => ({ uid: keys[i], n, count: 7 })),
      )
    else assert.ok(result.reason instanceof DatabaseError)
  }
  const [wrong] = await Promise.all([
    assertRefused(database.load(items, 's50', null, 9), /column count holds "100": 100 is outside 0\.\.99$/),
    database.load(items, 's51', null, 9),
  ])
  assert.equal(wrong.kind, 'refused')
  await queryRows(`DROP TABLE ${items.name}`)
  const afterDrop = await Promise.allSettled(SHARDS.map((uid) => database.load(items, uid, null, 9)))
  for (const result of afterDrop)
    assert.ok(result.status === 'rejected' && result.reason instanceof DatabaseError && result.reason.kind === 'schema')
})

testBothDrivers('loads the critical state of many shards concurrently', async (_, owner, client) => {
  const shards = SHARDS.map((key) => `${owner.name}/${key}`)
  // A page has 1,000 rows, as has a statement for several shards.
  const sizeOf = (i: number): number => [0, 1, 3, 40, i === 14 ? 1_100 : 2][i % 5]!
  const numbers = (i: number) => Array.from({ length: sizeOf(i) }, (_, n) => n)
  const replies = Uint8Array.of(1, 2)
  const target = { contract: 'market', key: 'main' }
  const cast = { target, command: 7, body: replies, answer: 'sold', data: replies }
  await owner.applyBatch([], {
    channels: shards.flatMap((shard, i) => numbers(i).map((n) => ({ shard, id: `c${1_000 + n}`, mark: n, replies }))),
    casts: shards.flatMap((shard, i) =>
      numbers(i).map((sequence) => ({ shard, sequence, cast: { sequence, ...cast } })),
    ),
  })
  const alone = countingDatabase(client)
  const expected = await loadSequentially(shards, (shard) => alone.database.criticalState(shard))
  const sizes = expected.map(({ channels, casts }) => [channels.length, casts.length])
  const expectedSizes = shards.map((_, i) => [sizeOf(i), sizeOf(i)])
  assert.deepEqual(sizes, expectedSizes)
  const shared = countingDatabase(client)
  const found = await Promise.all(shards.map((shard) => shared.database.criticalState(shard)))
  assert.deepEqual(found, expected)
  assert.ok(shared.statements < alone.statements / 4, `${shared.statements} of ${alone.statements}`)
  const settled = await Promise.allSettled(
    [...shards.slice(0, 9), 'bob '].map((shard) => shared.database.criticalState(shard)),
  )
  assertField(settled, 'status', [...shards.slice(0, 9).map(() => 'fulfilled'), 'rejected'])
})

testBothDrivers(
  'fails the loads that share a statement without an answer, and no later load',
  async (_, __, client) => {
    const items = await create({ uid: t.id, n: t.u32 }, { key: ['uid', 'n'] })
    await insertRows(items, [['s1', 1]])
    const lost = new DatabaseError('unavailable', 'no answer')
    let isLost = true
    const query = client.query.bind(client)
    const database = new SqlDatabase(
      { ...client, query: (statement) => (isLost ? Promise.reject(lost) : query(statement)) },
      { tables: [] },
    )
    for (const result of await Promise.allSettled(SHARDS.map((uid) => database.load(items, uid, null, 9))))
      assert.ok(result.status === 'rejected' && (result.reason as DatabaseError).kind === 'unavailable')
    isLost = false
    const found = await Promise.all(SHARDS.map((uid) => database.load(items, uid, null, 9)))
    assert.deepEqual(found.flat(), [{ uid: 's1', n: 1 }])
  },
)
