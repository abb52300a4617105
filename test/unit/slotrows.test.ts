// Rows, casts and the outbox of the slot store on real files: only synced outbox entries are read, a refused turn is
// undone completely, older file formats are migrated, and a start without the MySQL of the rows is rejected.

import assert from 'node:assert/strict'
import { fdatasync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import { systemClock } from '../../core/node/clock.ts'
import type { SlotStoreOptions } from '../../core/node/slotstore.ts'
import { shardName, type ShardId } from '../../core/wire/shardid.ts'
import type { Awaitable } from '../../core/game/definition.ts'
import type { Outcome, RowQuery } from '../../core/ports/store.ts'
import { storedCast, fill, item, items } from './rowsfixture.ts'
import { waitFor } from '../support/wait.ts'
import { ada, slotTest, bob, bytes, kvWriteSet, isStoreError, writeSet, text } from './slotfixture.ts'
import { assertField } from '../support/assertfield.ts'
import { insert, update } from '../support/tables.ts'

const tables = [items]
const OUTBOX_OPTIONS = { slots: 1, tables, outbox: true } as const
const everything: RowQuery = { by: {}, descending: false, limit: 0 }
const OWNER = 'slot/0-of-1'

slotTest('a turn commits rows, casts and outbox entry, and the next open returns them', async (fixture) => {
  let store = await fixture.open(OUTBOX_OPTIONS)
  const { activation, casts } = await store.open(ada)
  assert.deepEqual(casts, [])
  const first = await store.commit(
    writeSet(ada, activation, {
      rows: [insert(items, item('a')), insert(items, item('b', { kind: 'bow' }))],
      casts: new Map([[5, storedCast(5, 'paid')]]),
      wakeMs: 1_000,
    }),
  )
  assert.deepEqual(first, { kind: 'committed', seq: 1 })
  assert.deepEqual(await store.commit(kvWriteSet(ada, activation, 'no', 'rows')), { kind: 'committed' })
  const second = await store.commit(writeSet(ada, activation, { rows: [update(items, ['a'], { count: 2 })] }))
  assert.deepEqual(second, { kind: 'committed', seq: 2 })
  for (let round = 0; round < 2; round++) {
    assert.deepEqual({ ...store.row(ada, items, ['a']) }, item('a', { count: 2 }))
    assertField(store.list(ada, items, { ...everything, by: { kind: 'bow' } }), 'id', ['b'])
    assert.equal(store.row(bob, items, ['a']), null)
    assert.deepEqual((await store.open(ada)).casts, [storedCast(5, 'paid')])
    await store.closeStore()
    const before = Date.now()
    fixture.wakes.length = 0
    store = await fixture.open(OUTBOX_OPTIONS)
    // A cast is due immediately.
    assert.equal(fixture.wakes.length, 1)
    assert.equal(fixture.wakes[0]![0], shardName(ada))
    assert(fixture.wakes[0]![1]! >= before && fixture.wakes[0]![1]! <= Date.now())
  }
})

slotTest('reads unsynced rows, and no unsynced outbox entries', async (fixture) => {
  const pausedSyncs: (() => void)[] = []
  let isPaused = false
  const notified: string[] = []
  const store = await fixture.open({
    ...OUTBOX_OPTIONS,
    onOutboxDurable: (owner) => notified.push(owner),
    fdatasync: (fd, done) => (isPaused ? void pausedSyncs.push(() => fdatasync(fd, done)) : fdatasync(fd, done)),
  })
  const { activation } = await store.open(ada)
  const outbox = store.outboxOf(OWNER)
  assert.deepEqual([store.ownerOf(ada), store.ownersWithEntries()], [OWNER, []])
  isPaused = true
  const outcome = store.commit(writeSet(ada, activation, { rows: [insert(items, item('a'))], critical: true }))
  await waitFor(() => pausedSyncs.length === 1, 'the sync is waiting')
  const meanwhile = [store.row(ada, items, ['a'])?.['id'], outbox.read(0, 99, 9_999), [...notified]]
  // The entry already counts, for callers that wait until MySQL has all entries.
  const sequences = [outbox.lastSeqOf(ada, true), outbox.lastSeqOf(bob, false), outbox.lastSeq]
  isPaused = false
  pausedSyncs[0]!()
  assert.deepEqual(await outcome, { kind: 'committed', seq: 1 })
  assert.deepEqual({ meanwhile, sequences }, { meanwhile: ['a', [], []], sequences: [1, 0, 1] })
  assert.deepEqual([notified, store.ownersWithEntries()], [[OWNER], [OWNER]])
  assert.deepEqual(outbox.read(0, 99, 9_999)[0]?.shard, shardName(ada))
})

slotTest('a write set that fails uses no sequence and leaves no row', async ({ open }) => {
  const store = await open(OUTBOX_OPTIONS)
  const a = (await store.open(ada)).activation
  const b = (await store.open(bob)).activation
  const good = (shard: ShardId, activation: number, id: string): Awaitable<Outcome> =>
    store.commit(writeSet(shard, activation, { rows: [insert(items, item(id, {}, shard.key))] }))
  const outcomes = await Promise.all([
    good(ada, a, 'x'),
    store.commit(writeSet(ada, a, { rows: [insert(items, item('y')), insert(items, item('x'))] })),
    good(ada, a, 'z'),
    good(bob, b, 'x'),
  ])
  const results = outcomes.map((outcome) => (outcome.kind === 'committed' ? outcome.seq : outcome.kind))
  assert.deepEqual(results, [1, 'failed', 'failed', 2])
  assert.equal(store.list(ada, items, everything).length, 1)
})

slotTest('undoes a refused turn and all later ones, and fences its activation', async (fixture) => {
  const { store, activation } = await fixture.openShard(OUTBOX_OPTIONS)
  const timer = (dueMs: number) => ({ name: 'bell', dueMs, data: bytes('t') })
  const nowMs = Date.now()
  const start = writeSet(ada, activation, {
    kv: new Map([['gold', bytes('7')]]),
    timers: new Map([['bell', timer(100)]]),
    channel: { id: 'c', mark: 1, replies: bytes('one'), nowMs, weight: 0 },
    rows: [insert(items, item('a'))],
    casts: new Map([[1, storedCast(1, 'old')]]),
    wakeMs: 100,
  })
  await store.commit(start)
  const undo = writeSet(ada, activation, { ...start, rows: [fill(items, item('a'))] })
  const refused = await store.commit(
    writeSet(ada, activation, {
      kv: new Map([['gold', null]]),
      timers: new Map([['bell', timer(200)]]),
      channel: { id: 'c', mark: 2, replies: bytes('two'), nowMs, weight: 0 },
      rows: [update(items, ['a'], { count: 9, kind: 'axe' })],
      casts: new Map([[1, null]]),
      critical: true,
      undo,
      wakeMs: 200,
    }),
  )
  assert.deepEqual(refused, { kind: 'committed', seq: 2 })
  // A later turn without changes for MySQL, but computed from the undone one.
  const later = writeSet(ada, activation, { kv: new Map([['gold', bytes('5000')]]) })
  const laterUndo = writeSet(ada, activation, { kv: new Map([['gold', null]]), wakeMs: 200 })
  await store.commit({ ...later, undo: laterUndo })
  fixture.wakes.length = 0
  const patch = { id: 'c', mark: 2, replies: bytes('refused'), nowMs, weight: 0 }
  const rejected = store.reject(ada, 2, patch)
  const stale = store.commit(kvWriteSet(ada, activation, 'gold', '9'))
  const reopened = store.open(ada)
  assert.deepEqual(await rejected, { kind: 'committed' })
  assert.equal((await stale).kind, 'failed')
  const { kv, timers, casts } = await reopened
  assert.equal(text(kv.get('gold')), '7')
  assert.deepEqual([timers, casts], [[timer(100)], [storedCast(1, 'old')]])
  assert.deepEqual({ ...store.row(ada, items, ['a']) }, item('a'))
  assert.deepEqual(await store.channel(ada, 'c'), { mark: 2, replies: bytes('refused') })
  assert.deepEqual(fixture.wakes, [[shardName(ada), 100]])
  const outbox = store.outboxOf(OWNER)
  assert.deepEqual([outbox.read(0, 99, 9_999).map(({ seq }) => seq), outbox.lastSeq], [[1], 3])
})

slotTest('a drop needs no sync, and the sequence continues after a restart', async ({ dir, open }) => {
  let syncs = 0
  let afterMs: (() => void) | null = null
  const clock = { ...systemClock, after: (_ms: number, run: () => void) => ((afterMs = run), { cancel: () => {} }) }
  const watched: Partial<SlotStoreOptions> = {
    ...OUTBOX_OPTIONS,
    clock,
    fdatasync: (fd, done) => (syncs++, fdatasync(fd, done)),
  }
  let store = await open(watched)
  const { activation } = await store.open(ada)
  for (let n = 0; n < 3; n++) {
    await store.commit(writeSet(ada, activation, { rows: [insert(items, item(`n${n}`))] }))
  }
  const outbox = store.outboxOf(OWNER)
  syncs = 0
  assert.deepEqual(await outbox.drop(3), { kind: 'committed' })
  assert.deepEqual([outbox.read(0, 99, 9_999), store.ownersWithEntries(), syncs], [[], [], 0])
  assert(afterMs)
  ;(afterMs as () => void)()
  await new Promise((resolve) => setTimeout(resolve, 20))
  assert.equal(syncs, 0)
  await store.closeStore()
  const db = new DatabaseSync(join(dir, 'slot-0-of-1.sqlite'))
  assert.deepEqual(db.prepare('SELECT group_concat(seq) AS left FROM outbox').get()!['left'], '3')
  db.close()
  store = await open(watched)
  const again = await store.open(ada)
  const outcome = await store.commit(writeSet(ada, again.activation, { rows: [insert(items, item('next'))] }))
  assert.deepEqual(outcome, { kind: 'committed', seq: 4 })
  assert.deepEqual(await store.outboxOf(OWNER).raiseSeq(90), { kind: 'committed' })
  const last = await store.commit(writeSet(ada, again.activation, { rows: [insert(items, item('last'))] }))
  assert.deepEqual(last, { kind: 'committed', seq: 91 })
  await store.outboxOf(OWNER).drop(91)
  await store.closeStore()
  store = await open(watched)
  assert.deepEqual([store.ownersWithEntries(), store.outboxOf(OWNER).lastSeq], [[], 91])
})

slotTest('fill stores the state from MySQL, and never lowers a mark', async ({ openShard }) => {
  const { store, activation } = await openShard(OUTBOX_OPTIONS)
  const nowMs = Date.now()
  await store.commit(
    writeSet(ada, activation, { channel: { id: 'mine', mark: 5, replies: bytes('5'), nowMs, weight: 0 } }),
  )
  assert.equal(store.isLoaded(ada), false)
  await store.fill(ada, [fill(items, item('a'))], null, false)
  assert.equal(store.isLoaded(ada), false)
  const remains = {
    channels: [
      { id: 'mine', mark: 4, replies: bytes('old') },
      { id: 'other', mark: 9, replies: bytes('nine') },
    ],
    casts: [storedCast(3, 'paid')],
  }
  assert.deepEqual(await store.fill(ada, [fill(items, item('b'))], remains, true), { kind: 'committed' })
  assert.deepEqual([store.isLoaded(ada), store.isLoaded(bob)], [true, false])
  assert.equal(store.list(ada, items, everything).length, 2)
  assert.equal((await store.channel(ada, 'mine'))?.mark, 5)
  assert.deepEqual(await store.channel(ada, 'other'), { mark: 9, replies: bytes('nine') })
  assert.deepEqual((await store.open(ada)).casts, [storedCast(3, 'paid')])
})

slotTest('a reset deletes the rows of all shards of its slot and fences their activations', async ({ openShard }) => {
  const { store, activation } = await openShard(OUTBOX_OPTIONS)
  const write = writeSet(ada, activation, { rows: [insert(items, item('a'))] })
  await store.commit(write)
  await store.fill(ada, [], null, true)
  const { storeId } = store.outboxOf(OWNER)
  assert.match(storeId, /^[0-9a-f]{32}$/)
  const entries = await store.outboxOf(OWNER).reset()
  assertField(entries, 'seq', [1])
  assert.equal((await store.commit(write)).kind, 'failed')
  assert.deepEqual([store.row(ada, items, ['a']), store.isLoaded(ada)], [null, false])
  const next = await store.open(ada)
  assert.deepEqual(await store.commit({ ...write, activation: next.activation }), { kind: 'committed', seq: 2 })
  assert.equal(store.outboxOf(OWNER).storeId, storeId)
})

slotTest('a slot reopened after an error of the disk reports its outbox entries', async ({ openShard }) => {
  let isBroken = false
  const notified: string[] = []
  const eio = Object.assign(new Error('EIO'), { code: 'EIO' })
  const { store, activation } = await openShard({
    ...OUTBOX_OPTIONS,
    onOutboxDurable: (owner) => notified.push(owner),
    fdatasync: (fd, done) => (isBroken ? void setImmediate(done, eio) : fdatasync(fd, done)),
  })
  const outbox = store.outboxOf(OWNER)
  isBroken = true
  const lost = await store.commit(writeSet(ada, activation, { rows: [insert(items, item('a'))] }))
  assert.equal(lost.kind, 'unknown')
  assert.deepEqual([notified, store.ownersWithEntries()], [[], [OWNER]])
  isBroken = false
  // Any read reopens it, also one of an outbox object created before.
  assertField(outbox.read(0, 99, 9_999), 'seq', [1])
  assert.deepEqual(notified, [OWNER])
  assert.equal(store.row(ada, items, ['a'])?.['id'], 'a')
})

slotTest('migrates a file of format 1 without losing its data', async ({ dir, open }) => {
  const path = join(dir, 'slot-0-of-1.sqlite')
  const db = new DatabaseSync(path)
  db.exec(FORMAT_1)
  db.exec(`INSERT INTO kv VALUES ('${shardName(ada)}', 'gold', x'37');
    INSERT INTO timers VALUES ('${shardName(ada)}', 'bell', 300, x'');
    INSERT INTO channels VALUES ('${shardName(ada)}', 'c', 4, 1e15, x'34');
    UPDATE activations SET reserved = 2000`)
  db.close()
  for (let round = 0; round < 2; round++) {
    const store = await open(OUTBOX_OPTIONS)
    const { activation, kv, timers } = await store.open(ada)
    assert(activation > 2_000)
    assert.equal(text(kv.get('gold')), '7')
    assert.deepEqual(timers, [{ name: 'bell', dueMs: 300, data: bytes('') }])
    assert.equal((await store.channel(ada, 'c'))?.mark, 4)
    const change = round === 0 ? insert(items, item('a')) : update(items, ['a'], { count: 2 })
    const outcome = await store.commit(writeSet(ada, activation, { rows: [change] }))
    assert.deepEqual(outcome, { kind: 'committed', seq: round + 1 })
    await store.closeStore()
  }
})

slotTest(
  'queues existing rows at the first start with MySQL, and rejects a later start without it',
  async ({ open }) => {
    let store = await open({ slots: 1, tables })
    const { activation } = await store.open(ada)
    const alone = await store.commit(writeSet(ada, activation, { rows: [insert(items, item('a'))] }))
    assert.deepEqual(alone, { kind: 'committed' })
    await store.closeStore()
    store = await open(OUTBOX_OPTIONS)
    assert.deepEqual(store.ownersWithEntries(), [OWNER])
    const queued = store.outboxOf(OWNER).read(0, 99, 9_999)
    assert.deepEqual(queued[0]?.shard, shardName(ada))
    assert.deepEqual([store.isLoaded(ada), store.isLoaded(bob)], [true, false])
    await store.closeStore()
    await assert.rejects(
      open({ slots: 1, tables }),
      isStoreError('DETACHED', /slot-0-of-1\.sqlite: its rows belong to a MySQL database: start with --mysql/),
    )
  },
)

slotTest('rejects a table that the game cannot read, and a damaged file', async ({ dir, open }) => {
  const store = await open(OUTBOX_OPTIONS)
  await store.open(ada)
  await store.closeStore()
  await assert.rejects(
    open({ ...OUTBOX_OPTIONS, tables: [{ ...items, owner: 'guild' }] }),
    isStoreError(
      'TABLES',
      /slot-0-of-1\.sqlite: table items is owned by player in the store, the game expects owner guild/,
    ),
  )
  writeFileSync(join(dir, 'slot-0-of-1.sqlite'), Buffer.alloc(8_192, 65))
  await assert.rejects(open(OUTBOX_OPTIONS), isStoreError('CORRUPT', /is damaged/))
})

slotTest('names owners after their slots', async ({ open }) => {
  const store = await open({ slots: 32 })
  assert.equal(store.ownerOf({ contract: 'player', key: 'ada' }), 'slot/11-of-32')
  assert.equal(store.ownerOf({ contract: 'arena', key: 'duel-7' }), 'slot/09-of-32')
  assert.throws(() => store.outboxOf('slot/32-of-32'), /is not a slot of/)
})

/** A slot file as created by Firefly before it had tables. */
const FORMAT_1 = `
  PRAGMA journal_mode = WAL;
  BEGIN;
  CREATE TABLE kv (shard TEXT, name TEXT, value BLOB NOT NULL, PRIMARY KEY (shard, name)) WITHOUT ROWID;
  CREATE TABLE timers
    (shard TEXT, name TEXT, due_ms NOT NULL, data BLOB NOT NULL, PRIMARY KEY (shard, name)) WITHOUT ROWID;
  CREATE TABLE channels
    (shard TEXT, id TEXT, mark INTEGER NOT NULL, seen_ms NOT NULL, replies BLOB NOT NULL,
     PRIMARY KEY (shard, id)) WITHOUT ROWID;
  CREATE TABLE snapshots (shard TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
  CREATE TABLE activations (id INTEGER PRIMARY KEY CHECK (id = 1), reserved INTEGER NOT NULL);
  INSERT INTO activations (id, reserved) VALUES (1, 0);
  PRAGMA application_id = 1181315685;
  PRAGMA user_version = 1;
  COMMIT;
`
