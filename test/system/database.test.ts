// SqlDatabase on a real MariaDB, with both clients: a batch is applied completely or not at all, and an owner without the
// current epoch cannot write.

import assert from 'node:assert/strict'
import test from 'node:test'

import { SqlDatabase } from '../../core/sql/database.ts'
import { t } from '../../core/wire/type.ts'
import {
  ALL_BYTES,
  loadAll,
  uniqueTableName,
  OutboxOwner,
  assertRefused,
  remove,
  openSqlFixture,
} from '../support/sqldatabase.ts'
import { insert, update } from '../support/tables.ts'

const { skip, planetscale, faults, migrate, queryRows, create, testBothDrivers } = await openSqlFixture()

test("creates Firefly's own tables a second time without an error", { skip }, migrate)

testBothDrivers('a takeover raises the epoch and returns the previous lease', async (database, { name }) => {
  assert.equal(await database.lease(name), null)
  const [first, second] = ['1'.repeat(32), '2'.repeat(32)]
  assert.deepEqual(await database.takeover(name, first), { epoch: 1, appliedSeq: 0, storeId: '' })
  assert.deepEqual(await database.lease(name), { epoch: 1, appliedSeq: 0, storeId: first })
  const nothing = { rows: [], channels: [], casts: [], parked: [] }
  await database.apply({ owner: name, epoch: 1, firstSeq: 1, lastSeq: 2 ** 53 - 1, ...nothing })
  assert.deepEqual(await database.takeover(name, second), { epoch: 2, appliedSeq: 2 ** 53 - 1, storeId: first })
  const many = await Promise.all(Array.from({ length: 8 }, () => database.takeover(name, second)))
  const epochs = many.map(({ epoch }) => epoch).sort((a, b) => a - b)
  assert.deepEqual(epochs, [3, 4, 5, 6, 7, 8, 9, 10])
})

testBothDrivers('fences off an owner of an earlier epoch, and a batch that was applied', async (database, owner) => {
  const items = await create({ id: t.id, count: t.u32 }, { key: 'id' })
  const first = await owner.createBatch([insert(items, { id: 'a', count: 1 })])
  assert.equal(await database.apply(first), 'applied')
  assert.equal(await database.apply(first), 'fenced')
  assert.equal((await database.lease(owner.name))!.appliedSeq, first.lastSeq)
  const next = await owner.createBatch([update(items, ['a'], { count: 2 })])
  await database.takeover(owner.name, 'b'.repeat(32))
  assert.equal(await database.apply(next), 'fenced')
  assert.deepEqual(await database.row(items, ['a']), { id: 'a', count: 1 })
  assert.equal((await database.lease(owner.name))!.appliedSeq, first.lastSeq)
  assert.equal(await database.apply({ ...next, owner: 'nobody' }), 'fenced')
})

testBothDrivers('finds a COMMIT whose answer was lost by its sequence', async (database, owner) => {
  const items = await create({ id: t.id, count: t.u32 }, { key: 'id' })
  const batch = await owner.createBatch([insert(items, { id: 'a', count: 1 })])
  // Only the PlanetScale endpoint can drop answers.
  const lossy = new SqlDatabase(planetscale, { tables: [] })
  faults!.dropAnswers((sql) => sql === 'COMMIT')
  await assert.rejects(lossy.apply(batch), { kind: 'unavailable' })
  faults!.dropAnswers(0)
  assert.equal((await database.lease(owner.name))!.appliedSeq, batch.lastSeq)
  assert.equal(await database.apply(batch), 'fenced')
  assert.deepEqual(await database.row(items, ['a']), { id: 'a', count: 1 })
})

testBothDrivers('refuses a duplicate, and applies nothing of its batch', async (database, owner) => {
  const items = await create({ id: t.id, count: t.u32 }, { key: 'id' })
  await owner.applyBatch([insert(items, { id: 'a', count: 1 })])
  const again = ['b', 'a'].map((id) => insert(items, { id, count: 2 }))
  const error = await owner.assertRefused(again, /^table t\d+: insert of 2 rows: .*Duplicate entry 'a'/)
  assert.equal(error.errno, 1062)
  assert.deepEqual(await database.row(items, ['a']), { id: 'a', count: 1 })
  assert.equal(await database.row(items, ['b']), null)
  assert.equal((await database.lease(owner.name))!.appliedSeq, 2)
})

testBothDrivers('refuses an update of a missing row, but not a delete', async (database, owner) => {
  const items = await create({ id: t.id, count: t.u32 }, { key: 'id' })
  await owner.applyBatch(['a', 'b'].map((id) => insert(items, { id, count: 1 })))
  const all = ['a', 'b', 'c'].map((id) => update(items, [id], { count: 2 }))
  await owner.assertRefused(all, /^table t\d+: 1 of 3 rows to update are not in MySQL$/)
  await owner.assertRefused([all[2]!], /^table t\d+: 1 of 1 rows to update/)
  assert.deepEqual(await database.row(items, ['a']), { id: 'a', count: 1 })
  await owner.applyBatch(all.slice(0, 2).map(({ key }) => update(items, key, { count: 1 })))
  await owner.applyBatch([remove(items, 'a'), remove(items, 'c')])
  assert.equal(await database.row(items, ['a']), null)
})

testBothDrivers('does not update columns that only another program changed', async (database, owner) => {
  const items = await create({ id: t.id, count: t.u32, note: t.string(99) }, { key: 'id' })
  await owner.applyBatch(['a', 'b', 'c'].map((id) => insert(items, { id, count: 1, note: 'ours' })))
  await queryRows(`UPDATE ${items.name} SET note = ?`, 'theirs')
  await owner.applyBatch([
    update(items, ['a'], { count: 2 }),
    update(items, ['b'], { count: 3 }),
    update(items, ['c'], { note: 'ours again' }),
  ])
  const rows = await Promise.all(['a', 'b', 'c'].map((id) => database.row(items, [id])))
  assert.deepEqual(rows, [
    { id: 'a', count: 2, note: 'theirs' },
    { id: 'b', count: 3, note: 'theirs' },
    { id: 'c', count: 1, note: 'ours again' },
  ])
})

testBothDrivers('exchanges unique values between rows, and moves them to new rows', async (database, owner) => {
  const heroes = await create(
    { uid: t.id, name: t.string(20), rank: t.nullable(t.u8) },
    { key: 'uid', unique: ['name', 'rank'] },
  )
  const names = async () => (await queryRows(`SELECT uid, name, \`rank\` FROM ${heroes.name} ORDER BY uid`)).join(' ')
  await owner.applyBatch([
    insert(heroes, { uid: 'a', name: 'Ada', rank: 1 }),
    insert(heroes, { uid: 'b', name: 'Bob', rank: 2 }),
    insert(heroes, { uid: 'c', name: 'Cyd', rank: null }),
  ])
  await owner.applyBatch([
    update(heroes, ['a'], { name: 'Bob', rank: 2 }),
    update(heroes, ['b'], { name: 'Ada', rank: 1 }),
    update(heroes, ['c'], { rank: null }),
  ])
  assert.equal(await names(), 'a,Bob,2 b,Ada,1 c,Cyd,')
  await owner.applyBatch([
    remove(heroes, 'b'),
    insert(heroes, { uid: 'd', name: 'Bob', rank: 2 }),
    update(heroes, ['a'], { name: 'Cyd', rank: null }),
    update(heroes, ['c'], { name: 'Ada' }),
  ])
  assert.equal(await names(), 'a,Cyd, c,Ada, d,Bob,2')
  const stolen = [update(heroes, ['a'], { name: 'Bob' }), update(heroes, ['c'], { name: 'Eve' })]
  await owner.assertRefused(stolen, /Duplicate entry 'Bob' for key '(t\d+\.)?unique_name'/)
  assert.equal(await names(), 'a,Cyd, c,Ada, d,Bob,2')
  await queryRows(`ALTER TABLE ${heroes.name} MODIFY name VARCHAR(20) COLLATE utf8mb4_bin NOT NULL`)
  const exchange = [update(heroes, ['a'], { name: 'Ada' }), update(heroes, ['c'], { name: 'Cyd' })]
  await owner.assertRefused(exchange, /Duplicate entry '(Ada|Cyd)'/)
  assert.deepEqual(await database.row(heroes, ['a']), { uid: 'a', name: 'Cyd', rank: null })
})

testBothDrivers('deletes and inserts the same key in one batch', async (database, owner) => {
  const items = await create({ uid: t.id, n: t.u32, count: t.u32 }, { key: ['uid', 'n'] })
  await owner.applyBatch([insert(items, { uid: 'a', n: 1, count: 1 })])
  await owner.applyBatch([insert(items, { uid: 'a', n: 1, count: 2 }), remove(items, 'a', 1)])
  assert.deepEqual(await database.row(items, ['a', 1]), { uid: 'a', n: 1, count: 2 })
})

testBothDrivers('writes 10,000 rows in one batch, and loads them in pages', async (database, owner) => {
  const items = await create({ uid: t.string(20), n: t.u32, count: t.u32 }, { key: ['uid', 'n'] })
  const rows = Array.from({ length: 10_000 }, (_, n) => ({ uid: 'a', n, count: n * 3 }))
  await owner.applyBatch(rows.map((row) => insert(items, row)))
  assert.deepEqual(await loadAll(database, items, 'a', 1_500), rows)
  await owner.applyBatch(rows.map(({ uid, n }) => update(items, [uid, n], { count: n * 5 })))
  const changed = rows.map((row) => ({ ...row, count: row.n * 5 }))
  assert.deepEqual(await loadAll(database, items, 'a', 5_000), changed)
  await owner.applyBatch(rows.slice(1).map(({ uid, n }) => remove(items, uid, n)))
  assert.deepEqual(await loadAll(database, items, 'a', 10), [{ uid: 'a', n: 0, count: 0 }])
})

testBothDrivers('reserves an id only once, and stores no row for it', async (database, owner) => {
  const mails = await create(
    { uid: t.string(9), id: t.u64, text: t.string(9) },
    { key: ['uid', 'id'], ids: 'auto', unique: ['text'] },
  )
  const ids: bigint[] = []
  const next = async () => {
    const id = await database.nextId(mails, { uid: 'a', id: 0n, text: `x${ids.length}` })
    ids.push(id)
    return id
  }
  await next()
  await Promise.all(
    Array.from({ length: 20 }, async (_, i) => {
      ids.push(await database.nextId(mails, { uid: 'a', id: 0n, text: `y${i}` }))
    }),
  )
  assert.deepEqual(await queryRows(`SELECT * FROM ${mails.name}`), [])
  const id = await next()
  await owner.applyBatch([insert(mails, { uid: 'a', id, text: 'taken' })])
  assert.ok((await next()) > id)
  await assertRefused(database.nextId(mails, { uid: 'a', id: 0n, text: 'taken' }), /insert of 1 row: .*Duplicate/)
  await queryRows(`INSERT INTO ${mails.name} (uid, text) VALUES (?, ?)`, 'b', 'foreign')
  const [[foreignId]] = (await queryRows(`SELECT id FROM ${mails.name} WHERE uid = ?`, 'b')) as [[string]]
  ids.push(BigInt(foreignId))
  await owner.applyBatch([remove(mails, 'a', id)])
  await next()
  assert.equal(new Set(ids).size, ids.length)
  assert.deepEqual(
    ids.slice(-3),
    ids.slice(-3).sort((a, b) => (a < b ? -1 : 1)),
  )
  await owner.applyBatch([insert(mails, { uid: 'c', id: 2n ** 63n, text: 'far' })])
  assert.equal(await next(), 2n ** 63n + 1n)
  assert.equal((await queryRows(`SELECT * FROM ${mails.name}`)).length, 2)
})

testBothDrivers('stores marks, casts and parked turns together with the rows', async (database, owner) => {
  const shard = `player/😀-${uniqueTableName()}`
  const cast = (sequence: number) => ({
    shard,
    sequence,
    cast: {
      sequence,
      target: { contract: 'market', key: "ma'in?" },
      command: 7,
      body: ALL_BYTES,
      answer: 'sold',
      data: new Uint8Array(0),
    },
  })
  const channel = (id: string, mark: number) => ({ shard, id, mark, replies: ALL_BYTES })
  const many = Array.from({ length: 1_200 }, (_, i) => i)
  await owner.applyBatch([], {
    channels: many.map((i) => channel(`c${String(i).padStart(5, '0')}`, i)),
    casts: many.map(cast),
  })
  await owner.applyBatch([], {
    channels: [channel('c00000', 2 ** 53 - 1)],
    casts: [...many.slice(2).map((sequence) => ({ shard, sequence, cast: null })), cast(9_999)],
  })
  const { channels, casts } = await database.criticalState(shard)
  assert.equal(channels.length, 1_200)
  assert.deepEqual(channels.slice(0, 2), [
    { id: 'c00000', mark: 2 ** 53 - 1, replies: ALL_BYTES },
    { id: 'c00001', mark: 1, replies: ALL_BYTES },
  ])
  assert.deepEqual(casts, [cast(0).cast, cast(1).cast, cast(9_999).cast])
  assert.deepEqual(await database.criticalState('player/nobody'), { channels: [], casts: [] })
  const parked = { seq: 5, shard, error: '', data: ALL_BYTES }
  const error = '🐉'.repeat(501)
  await owner.applyBatch([], { parked: [parked] })
  await owner.applyBatch([], { parked: [{ ...parked, error }] })
  const rows = await queryRows('SELECT seq, shard, error, data FROM firefly_parked WHERE owner = ?', owner.name)
  assert.deepEqual(rows, [['5', shard, '🐉'.repeat(500), ALL_BYTES]])
})

testBothDrivers('inserts children after their parents, and deletes them before', async (_, { name }, client) => {
  const guilds = await create({ id: t.id, uid: t.id }, { key: 'id', shardKey: 'uid' })
  const members = await create({ id: t.id, uid: t.id, guild: t.id }, { key: 'id', shardKey: 'uid' })
  await queryRows(`ALTER TABLE ${members.name} ADD FOREIGN KEY (guild) REFERENCES ${guilds.name} (id)`)
  const owner = new OutboxOwner(new SqlDatabase(client, { tables: [guilds, members] }))
  const uid = name
  await owner.applyBatch([insert(members, { id: 'm', uid, guild: 'g' }), insert(guilds, { id: 'g', uid })])
  await owner.assertRefused([remove(guilds, 'g')], /delete of 1 row: .*foreign key/)
  await owner.applyBatch([remove(guilds, 'g'), remove(members, 'm')])
})

testBothDrivers('refuses a second kind of owners in one database', async (database) => {
  const store = 'c'.repeat(32)
  assert.equal((await database.takeover('slot/03-of-32', store)).epoch, 1)
  assert.equal((await database.takeover('slot/31-of-32', store)).epoch, 1)
  const others = /belongs to owners slot\/\*-of-32, not to (object\/\*|slot\/\*-of-64)/
  await assert.rejects(database.takeover('object/player/ada', store), others)
  await assert.rejects(database.takeover('slot/03-of-64', store), others)
  assert.equal(await database.lease('object/player/ada'), null)
  await queryRows('DELETE FROM firefly_setting')
  await queryRows('DELETE FROM firefly_owner WHERE owner IN (?, ?)', 'slot/03-of-32', 'slot/31-of-32')
})
