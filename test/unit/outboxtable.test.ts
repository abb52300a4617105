// The outbox and the casts of a store, on any host: no sequence is used twice, turns are taken back, and rows from before
// the attachment to MySQL are queued.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { shardName } from '../../core/wire/shardid.ts'
import { decodeEntry } from '../../core/outbox/entry.ts'
import { DetachedError } from '../../core/outbox/storetables.ts'
import { t } from '../../core/wire/type.ts'
import { ENTRY_PART_BYTES } from '../../schemas/rows.ts'
import { storedCast, fill, item, items, openInMemoryTables, remove, rowWriteSet } from './rowsfixture.ts'
import { assertField } from '../support/assertfield.ts'
import { ada, bob } from './slotfixture.ts'
import { defineTable, insert, update } from '../support/tables.ts'

const A = shardName(ada)
const B = shardName(bob)
const pets = defineTable('pets', { owner: t.id, name: t.id }, { key: ['owner', 'name'] })
const rex = { owner: 'ada', name: 'rex' }

test('stores durable casts until they are answered, in the order of their sequences', () => {
  const rows = openInMemoryTables().open([])
  rows.writeCasts(
    A,
    new Map([
      [2 ** 50, storedCast(2 ** 50, 'late')],
      [3, storedCast(3, 'paid')],
    ]),
  )
  rows.writeCasts(B, new Map([[1, storedCast(1, '')]]))
  assert.deepEqual(rows.pendingCasts(A), [storedCast(3, 'paid'), storedCast(2 ** 50, 'late')])
  assert.deepEqual(rows.shardsWithCasts().toSorted(), [A, B].toSorted())
  rows.writeCasts(
    A,
    new Map([
      [3, null],
      [2 ** 50, null],
    ]),
  )
  assert.deepEqual(rows.pendingCasts(A), [])
  assert.deepEqual(rows.shardsWithCasts(), [B])
})

test('queues only the turns that MySQL needs, and only in a store that is attached to MySQL', () => {
  const detached = openInMemoryTables().open([items])
  assert.equal(detached.appendTurn(A, rowWriteSet([insert(items, item('a'))])), 0)
  assert.equal(detached.isLoaded(A), true)
  const rows = openInMemoryTables().open([items], true)
  assert.equal(rows.isLoaded(A), false)
  const kv = new Map([['gold', new Uint8Array(1)]])
  assert.equal(rows.appendTurn(A, rowWriteSet(null, { kv })), 0)
  assert.equal(rows.appendTurn(A, rowWriteSet([fill(items, item('a')), remove(items, ['b'], 'store-delete')])), 0)
  assert.equal(rows.appendTurn(A, rowWriteSet([update(items, ['a'], { count: 2 })])), 1)
  assert.equal(rows.appendTurn(A, rowWriteSet(null, { critical: true })), 2)
  // MySQL does not need it, but it comes after a critical turn and may have to be taken back.
  assert.equal(rows.appendTurn(A, rowWriteSet(null, { kv, undo: rowWriteSet(null, { kv }) })), 3)
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
  assert.equal(rows.outbox.lastSeqOf(A, false), 2)
  assert.equal(rows.outbox.lastSeqOf(A, true), 2)
  assert.equal(rows.outbox.lastSeqOf(B, false), 0)
})

test('bounds a read in entries, bytes and durable sequences, but returns at least one entry', () => {
  const { outbox } = openInMemoryTables().open([], true)
  for (let n = 1; n <= 5; n++) outbox.appendTurn(A, false, new Uint8Array(100), null)
  const seqs = (...bounds: [number, number, number, number]): number[] => outbox.read(...bounds).map(({ seq }) => seq)
  assert.deepEqual(seqs(0, 5, 10, 1_000), [1, 2, 3, 4, 5])
  assert.deepEqual(seqs(0, 5, 10, 299), [1, 2])
  assert.deepEqual(seqs(2, 5, 1, 1_000), [3])
  assert.deepEqual(seqs(2, 5, 10, 1), [3])
  assert.deepEqual(seqs(2, 4, 10, 1_000), [3, 4])
  assert.deepEqual(seqs(5, 5, 10, 1_000), [])
})

test('uses a sequence only once, across drops, restarts, raises and resets', () => {
  const { open, sql } = openInMemoryTables()
  let { outbox } = open([], true)
  const append = (): number => outbox.appendTurn(A, true, new Uint8Array(3), null)
  assert.deepEqual([append(), append(), append()], [1, 2, 3])
  // Above the last sequence: later entries are not dropped.
  outbox.drop(1_000)
  assert.deepEqual([append(), outbox.lastSeqOf(A, true)], [4, 4])
  outbox.drop(4)
  outbox.deleteDropped(10, false)
  assertField(sql.all('SELECT seq FROM outbox'), 'seq', [4])
  assert.deepEqual([outbox.hasEntries(), outbox.lastSeqOf(A, true), outbox.lastSeqOf(A, false)], [false, 0, 0])
  assert.deepEqual(outbox.read(0, 99, 99, 999), [])
  outbox = open([], true).outbox
  // The drop was in memory only: the entry is read again, and dropped again.
  assertField(outbox.read(0, 99, 99, 999), 'seq', [4])
  assert.equal(append(), 5)
  outbox.drop(5)
  outbox.raiseSeq(7)
  outbox.raiseSeq(5)
  outbox.deleteDropped(10, false)
  assert.deepEqual([outbox.lastSeq, outbox.hasEntries(), append()], [7, false, 8])
  outbox = open([], true).outbox
  assertField(outbox.removeAll(), 'seq', [8])
  assert.deepEqual([outbox.hasEntries(), outbox.removeAll()], [false, []])
  outbox = open([], true).outbox
  assert.deepEqual([outbox.hasEntries(), append()], [false, 9])
})

test('blanks the last row when there is no traffic', () => {
  const { open, sql } = openInMemoryTables()
  let { outbox } = open([], true)
  outbox.appendTurn(A, true, new Uint8Array(3), null)
  outbox.drop(1)
  outbox.deleteDropped(10, true)
  assert.deepEqual([outbox.hasRowsToDelete, outbox.lastSeqOf(A, true)], [false, 0])
  outbox = open([], true).outbox
  assert.deepEqual([outbox.hasEntries(), outbox.hasRowsToDelete, outbox.removeAll()], [false, false, []])
  // A dropped row that is not the last costs only its deletion.
  outbox.appendTurn(A, true, new Uint8Array(3), null)
  outbox.appendTurn(A, true, new Uint8Array(3), null)
  outbox.drop(2)
  const before = sql.changes
  outbox.deleteDropped(10, true)
  assert.deepEqual([sql.changes - before, outbox.hasRowsToDelete, outbox.hasEntries()], [2, false, true])
})

test('uses no sequence for a part of a transaction that was rolled back', () => {
  const { open, db } = openInMemoryTables()
  const { outbox } = open([], true)
  outbox.appendTurn(A, false, new Uint8Array(1), null)
  db.exec('SAVEPOINT part')
  outbox.appendTurn(A, false, new Uint8Array(1), null)
  outbox.appendTurn(A, false, new Uint8Array(1), null)
  db.exec('ROLLBACK TO part; RELEASE part')
  outbox.reloadCounters()
  assert.equal(outbox.appendTurn(A, false, new Uint8Array(1), null), 2)
})

test('writes four rows for a turn with one row, including its flush', () => {
  const { open, sql } = openInMemoryTables()
  const rows = open([items], true)
  rows.applyChanges(ada.key, [insert(items, item('a'))])
  for (let n = 1; n <= 5; n++) {
    const before = sql.changes
    const change = [update(items, ['a'], { count: n })]
    rows.applyChanges(ada.key, change)
    rows.appendTurn(A, rowWriteSet(change))
    rows.outbox.drop(n)
    rows.outbox.deleteDropped(10, false)
    // The fourth row is the mark, which the host writes.
    assert.equal(sql.changes - before, n === 1 ? 2 : 3)
  }
})

test('deletes dropped rows in parts', () => {
  const { outbox } = openInMemoryTables().open([], true)
  for (let n = 1; n <= 10; n++) outbox.appendTurn(A, false, new Uint8Array(1), null)
  outbox.drop(10)
  const remaining: boolean[] = []
  while (outbox.hasRowsToDelete) {
    outbox.deleteDropped(4, true)
    remaining.push(outbox.hasRowsToDelete)
  }
  assert.deepEqual(remaining, [true, true, false])
})

test('takes the turns of a shard back from the newest to the refused one, and no turns of other shards', () => {
  const { open, sql } = openInMemoryTables()
  const rows = open([items], true)
  rows.applyChanges(ada.key, [insert(items, item('a', { count: 1 }))])
  const turn = (count: number, critical: boolean): number => {
    const change = update(items, ['a'], { count })
    rows.applyChanges(ada.key, [change])
    const undo = rowWriteSet([fill(items, item('a', { count: count - 1 }))], { wakeMs: count })
    return rows.appendTurn(A, rowWriteSet([change], { critical, undo }))
  }
  assert.deepEqual([turn(2, false), turn(3, true), turn(4, false)], [1, 2, 3])
  rows.appendTurn(B, rowWriteSet([update(items, ['a'], { count: 1 })], { undo: rowWriteSet(null) }, bob))
  assert.equal(turn(5, false), 5)
  const wakeTimes: unknown[] = []
  rows.undoTurns(A, 2, (undo) => {
    wakeTimes.push(undo.wakeMs)
    rows.applyChanges(ada.key, undo.rows ?? [])
  })
  assert.deepEqual(wakeTimes, [5, 4, 3])
  assert.equal(rows.row(items, ada.key, ['a'])?.['count'], 2)
  assert.deepEqual(
    rows.outbox.read(0, 99, 99, 9_999).map(({ seq, shard }) => [seq, shard]),
    [
      [1, A],
      [4, B],
    ],
  )
  assertField(sql.all('SELECT seq FROM outbox ORDER BY seq'), 'seq', [1, 4, 5])
  assert.equal(open([items], true).outbox.appendTurn(A, false, new Uint8Array(1), null), 6)
})

test('reset deletes rows, loaded shards and entries, also of tables that the game no longer declares', () => {
  const { open, sql } = openInMemoryTables()
  let rows = open([items, pets], true)
  rows.applyChanges(ada.key, [insert(items, item('a')), insert(pets, rex)])
  rows.appendTurn(A, rowWriteSet([insert(items, item('a'))]))
  rows.markLoaded(A)
  const { storeId } = rows
  assert.equal(storeId, 'a5'.repeat(16))
  rows = open([items], true)
  assert.deepEqual([rows.isLoaded(A), rows.isLoaded(B)], [true, false])
  assertField(rows.resetStore(), 'seq', [1])
  assert.equal(rows.isLoaded(A), false)
  assert.equal(rows.row(items, ada.key, ['a']), null)
  assert.deepEqual(sql.all('SELECT * FROM r_pets'), [])
  assert.equal(rows.storeId, storeId)
})

test('queues the rows from before the attachment to MySQL once, and marks their shards as loaded', () => {
  const { open } = openInMemoryTables()
  let rows = open([items])
  const many = Array.from({ length: 450 }, (_, n) => item(`n${String(n).padStart(3, '0')}`))
  rows.applyChanges(
    ada.key,
    many.map((row) => insert(items, row)),
  )
  rows.applyChanges(bob.key, [insert(items, item('x', {}, bob.key))])
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
  const { lastSeq: seq } = rows.outbox
  assert.equal(open([items], true).outbox.lastSeq, seq)
  assert.throws(() => open([items]), DetachedError)
})

test('queues the rows of a table that the game declares again after the attachment to MySQL', () => {
  const { open } = openInMemoryTables()
  open([items, pets]).applyChanges(ada.key, [insert(pets, rex)])
  assert.equal(open([items], true).outbox.lastSeq, 0)
  const rows = open([items, pets], true)
  assert.deepEqual([rows.outbox.lastSeq, rows.isLoaded(A)], [1, true])
})

test('splits large data and undos into rows below 2 MB, and removes the parts with their entry', () => {
  const { open, sql } = openInMemoryTables()
  const bytesOf = (size: number, seed: number): Uint8Array =>
    Uint8Array.from({ length: size }, (_, i) => (i + seed) % 251)
  const sizes = [ENTRY_PART_BYTES - 1, ENTRY_PART_BYTES, ENTRY_PART_BYTES + 1, 3_000_000]
  let { outbox } = open([], true)
  for (const [n, size] of sizes.entries()) outbox.appendTurn(A, true, bytesOf(size, n), bytesOf(size, n + 7))
  outbox = open([], true).outbox
  const read = outbox.read(0, 99, 99, Infinity)
  assert.deepEqual(
    read.map(({ data }) => data),
    sizes.map((size, n) => bytesOf(size, n)),
  )
  assert.equal(outbox.read(0, 99, 99, 4 * ENTRY_PART_BYTES).length, 3, 'parts count in the bytes of a read')
  const [largest] = sql.all('SELECT max(length(data) + length(undo)) AS n FROM outbox')
  assert.ok(Number(largest!['n']) < 2_000_000)
  const parts = (): unknown[] => sql.all('SELECT DISTINCT seq FROM outbox_parts ORDER BY seq').map(({ seq }) => seq)
  assert.deepEqual(parts(), [3, 4])
  const undos: Uint8Array[] = []
  outbox.undoTurns(A, 4, (undo) => undos.push(undo))
  assert.deepEqual(undos, [bytesOf(3_000_000, 10)])
  assert.deepEqual(parts(), [3])
  outbox.appendTurn(A, false, bytesOf(3_000_000, 1), null)
  outbox.drop(4)
  outbox.deleteDropped(10, false)
  assert.deepEqual(parts(), [5])
  assert.deepEqual(outbox.removeAll()[0]!.data, bytesOf(3_000_000, 1))
  assert.deepEqual(parts(), [])
})
