// The outbox of a store, its casts and what ties them to MySQL, whichever host holds it: no sequence is used twice,
// turns are taken back, and rows from before MySQL are queued.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { table } from '../../core/game/table.ts'
import { shardName } from '../../core/run/ports.ts'
import { decodeEntry } from '../../core/tiers/entry.ts'
import { DetachedError } from '../../core/tiers/rowtables.ts'
import { t } from '../../core/wire/type.ts'
import { cast, fill, insert, item, items, memory, Player, remove, update, writes } from './rowsbench.ts'
import { ada, bob } from './slotbench.ts'

const A = shardName(ada)
const B = shardName(bob)
const pets = table('pets', { owner: t.id, name: t.id }, { key: ['owner', 'name'], owner: Player }).definition
const rex = { owner: 'ada', name: 'rex' }

test('a durable cast is there until it is answered, in the order of the sequences', () => {
  const rows = memory().open([])
  rows.writeCasts(
    A,
    new Map([
      [2 ** 50, cast(2 ** 50, 'late')],
      [3, cast(3, 'paid')],
    ]),
  )
  rows.writeCasts(B, new Map([[1, cast(1, '')]]))
  assert.deepEqual(rows.pending(A), [cast(3, 'paid'), cast(2 ** 50, 'late')])
  assert.deepEqual(rows.casting().toSorted(), [A, B].toSorted())
  rows.writeCasts(
    A,
    new Map([
      [3, null],
      [2 ** 50, null],
    ]),
  )
  assert.deepEqual(rows.pending(A), [])
  assert.deepEqual(rows.casting(), [B])
})

test('only what MySQL must hear of is queued, and only with MySQL behind', () => {
  const { open } = memory()
  const alone = open([items])
  assert.equal(alone.append(A, writes([insert(items, item('a'))])), 0)
  assert.equal(alone.isLoaded(A), true)
  const { open: openBeside } = memory()
  const rows = openBeside([items], true)
  assert.equal(rows.isLoaded(A), false)
  const kv = new Map([['gold', new Uint8Array(1)]])
  assert.equal(rows.append(A, writes(null, { kv })), 0)
  assert.equal(rows.append(A, writes([fill(items, item('a')), remove(items, ['b'], 'drop')])), 0)
  assert.equal(rows.append(A, writes([update(items, ['a'], { count: 2 })])), 1)
  assert.equal(rows.append(A, writes(null, { critical: true })), 2)
  // It says nothing to MySQL, but stands behind a critical turn and may have to be taken back.
  assert.equal(rows.append(A, writes(null, { kv, undo: writes(null, { kv }) })), 3)
  const entries = rows.outbox.read(0, 9, 9, 9_999)
  assert.deepEqual(
    entries.map(({ seq, shard, critical }) => [seq, shard, critical]),
    [
      [1, A, false],
      [2, A, true],
    ],
  )
  const { rows: changes } = decodeEntry(entries[0]!.data, new Map([['items', items]]))
  assert.deepEqual(changes, [update(items, ['a'], { count: 2 })])
  assert.equal(rows.outbox.last(A, false), 2)
  assert.equal(rows.outbox.last(A, true), 2)
  assert.equal(rows.outbox.last(B, false), 0)
})

test('a read is bounded by entries, by bytes and by what is durable, but gives one if there is any', () => {
  const { outbox } = memory().open([], true)
  for (let n = 1; n <= 5; n++) outbox.append(A, false, new Uint8Array(100), null)
  const seqs = (...bounds: [number, number, number, number]): number[] =>
    outbox.read(...bounds).map(({ seq }) => seq)
  assert.deepEqual(seqs(0, 5, 10, 1_000), [1, 2, 3, 4, 5])
  assert.deepEqual(seqs(0, 5, 10, 299), [1, 2])
  assert.deepEqual(seqs(2, 5, 1, 1_000), [3])
  assert.deepEqual(seqs(2, 5, 10, 1), [3])
  assert.deepEqual(seqs(2, 4, 10, 1_000), [3, 4])
  assert.deepEqual(seqs(5, 5, 10, 1_000), [])
})

test('a sequence is used once: after drops, after a reopening, after raise and reset', () => {
  const { open, sql } = memory()
  let { outbox } = open([], true)
  const append = (): number => outbox.append(A, true, new Uint8Array(3), null)
  assert.deepEqual([append(), append(), append()], [1, 2, 3])
  // More than there is: what comes later is not dropped by it.
  outbox.drop(1_000)
  assert.deepEqual([append(), outbox.last(A, true)], [4, 4])
  outbox.drop(4)
  outbox.clear(10, false)
  assert.deepEqual(
    sql.all('SELECT seq FROM outbox').map(({ seq }) => seq),
    [4],
  )
  assert.deepEqual([outbox.holds(), outbox.last(A, true), outbox.last(A, false)], [false, 0, 0])
  assert.deepEqual(outbox.read(0, 99, 99, 999), [])
  outbox = open([], true).outbox
  // Who dropped it is gone: it is seen once more, and dropped once more.
  assert.deepEqual(
    outbox.read(0, 99, 99, 999).map(({ seq }) => seq),
    [4],
  )
  assert.equal(append(), 5)
  outbox.drop(5)
  outbox.raise(7)
  outbox.raise(5)
  outbox.clear(10, false)
  assert.deepEqual([outbox.seq, outbox.holds(), append()], [7, false, 8])
  outbox = open([], true).outbox
  assert.deepEqual(
    outbox.empty().map(({ seq }) => seq),
    [8],
  )
  assert.deepEqual([outbox.holds(), outbox.empty()], [false, []])
  outbox = open([], true).outbox
  assert.deepEqual([outbox.holds(), append()], [false, 9])
})

test('in a quiet moment the last row says that nothing waits', () => {
  const { open, sql } = memory()
  let { outbox } = open([], true)
  outbox.append(A, true, new Uint8Array(3), null)
  outbox.drop(1)
  outbox.clear(10, true)
  assert.deepEqual([outbox.littered, outbox.last(A, true)], [false, 0])
  outbox = open([], true).outbox
  assert.deepEqual([outbox.holds(), outbox.littered, outbox.empty()], [false, false, []])
  // A dropped row that is not the last costs nothing but its deletion.
  outbox.append(A, true, new Uint8Array(3), null)
  outbox.append(A, true, new Uint8Array(3), null)
  outbox.drop(2)
  const before = sql.changes
  outbox.clear(10, true)
  assert.deepEqual([sql.changes - before, outbox.littered, outbox.holds()], [2, false, true])
})

test('a failed part of a transaction uses no sequence', () => {
  const { open, db } = memory()
  const { outbox } = open([], true)
  outbox.append(A, false, new Uint8Array(1), null)
  db.exec('SAVEPOINT part')
  outbox.append(A, false, new Uint8Array(1), null)
  outbox.append(A, false, new Uint8Array(1), null)
  db.exec('ROLLBACK TO part; RELEASE part')
  outbox.recount()
  assert.equal(outbox.append(A, false, new Uint8Array(1), null), 2)
})

test('a turn with one row writes four rows, flush included', () => {
  const { open, sql } = memory()
  const rows = open([items], true)
  rows.apply(ada.key, [insert(items, item('a'))])
  for (let n = 1; n <= 5; n++) {
    const before = sql.changes
    const change = [update(items, ['a'], { count: n })]
    rows.apply(ada.key, change)
    rows.append(A, writes(change))
    rows.outbox.drop(n)
    rows.outbox.clear(10, false)
    // The fourth is the mark, which is the host's.
    assert.equal(sql.changes - before, n === 1 ? 2 : 3)
  }
})

test('dropped rows are deleted some at a time', () => {
  const { outbox } = memory().open([], true)
  for (let n = 1; n <= 10; n++) outbox.append(A, false, new Uint8Array(1), null)
  outbox.drop(10)
  const left: boolean[] = []
  while (outbox.littered) {
    outbox.clear(4, true)
    left.push(outbox.littered)
  }
  assert.deepEqual(left, [true, true, false])
})

test('turns are taken back from the newest to the refused one, those of other shards stay', () => {
  const { open, sql } = memory()
  const rows = open([items], true)
  rows.apply(ada.key, [insert(items, item('a', { count: 1 }))])
  const turn = (count: number, critical: boolean): number => {
    const change = update(items, ['a'], { count })
    rows.apply(ada.key, [change])
    const undo = writes([fill(items, item('a', { count: count - 1 }))], { wakeMs: count })
    return rows.append(A, writes([change], { critical, undo }))
  }
  assert.deepEqual([turn(2, false), turn(3, true), turn(4, false)], [1, 2, 3])
  rows.append(B, writes([update(items, ['a'], { count: 1 })], { undo: writes(null) }, bob))
  assert.equal(turn(5, false), 5)
  const wakes: unknown[] = []
  rows.takeBack(A, 2, (undo) => {
    wakes.push(undo.wakeMs)
    rows.apply(ada.key, undo.rows ?? [])
  })
  assert.deepEqual(wakes, [5, 4, 3])
  assert.equal(rows.row(items, ada.key, ['a'])?.['count'], 2)
  assert.deepEqual(
    rows.outbox.read(0, 99, 99, 9_999).map(({ seq, shard }) => [seq, shard]),
    [
      [1, A],
      [4, B],
    ],
  )
  assert.deepEqual(
    sql.all('SELECT seq FROM outbox ORDER BY seq').map(({ seq }) => seq),
    [1, 4, 5],
  )
  assert.equal(open([items], true).outbox.append(A, false, new Uint8Array(1), null), 6)
})

test('reset forgets rows, loaded shards and entries, also of tables that the game dropped', () => {
  const { open, sql } = memory()
  let rows = open([items, pets], true)
  rows.apply(ada.key, [insert(items, item('a')), insert(pets, rex)])
  rows.append(A, writes([insert(items, item('a'))]))
  rows.loaded(A)
  const { storeId } = rows
  assert.equal(storeId, 'a5'.repeat(16))
  rows = open([items], true)
  assert.deepEqual([rows.isLoaded(A), rows.isLoaded(B)], [true, false])
  assert.deepEqual(
    rows.reset().map(({ seq }) => seq),
    [1],
  )
  assert.equal(rows.isLoaded(A), false)
  assert.equal(rows.row(items, ada.key, ['a']), null)
  assert.deepEqual(sql.all('SELECT * FROM r_pets'), [])
  assert.equal(rows.storeId, storeId)
})

test('rows from before MySQL are queued once, and their shards are complete', () => {
  const { open } = memory()
  let rows = open([items])
  const many = Array.from({ length: 450 }, (_, n) => item(`n${String(n).padStart(3, '0')}`))
  rows.apply(
    ada.key,
    many.map((row) => insert(items, row)),
  )
  rows.apply(bob.key, [insert(items, item('x', {}, bob.key))])
  rows = open([items], true)
  const tables = new Map([['items', items]])
  const entries = rows.outbox
    .read(0, 99, 99, 9_999_999)
    .map(({ shard, data }) => ({ shard, ...decodeEntry(data, tables) }))
  const queued = entries.filter(({ shard }) => shard === A).flatMap((entry) => entry.rows)
  assert.deepEqual(
    queued,
    many.map((row) => insert(items, row)),
  )
  assert(entries.length >= 4 && entries.every((entry) => entry.rows.length <= 200))
  assert.deepEqual([rows.isLoaded(A), rows.isLoaded(B), rows.isLoaded('player/eve')], [true, true, false])
  const { seq } = rows.outbox
  assert.equal(open([items], true).outbox.seq, seq)
  assert.throws(() => open([items]), DetachedError)
})

test('a table that comes back after MySQL was attached without it is queued then', () => {
  const { open } = memory()
  open([items, pets]).apply(ada.key, [insert(pets, rex)])
  assert.equal(open([items], true).outbox.seq, 0)
  const rows = open([items, pets], true)
  assert.deepEqual([rows.outbox.seq, rows.isLoaded(A)], [1, true])
})
