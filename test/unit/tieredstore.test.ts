// TieredStore: an acknowledged turn is where its class requires it, across crashes and lost answers; a shard opens only
// on complete rows.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Outcome } from '../../core/ports/store.ts'
import { CallError, RowError } from '../../core/wire/errors.ts'
import { writeSet } from './slotfixture.ts'
import { ada, bob, coin, coins, item, items, remove, update, TieredStoreFixture } from './tieredstorefixture.ts'
import { insert } from '../support/tables.ts'

const kind = ({ kind }: Outcome): string => kind
const isRetryLater = (error: unknown): boolean => error instanceof CallError && error.code === 'RETRY_LATER'

test('acknowledges a local turn at once and flushes it to MySQL soon after', async () => {
  const fixture = new TieredStoreFixture()
  const { local, store, shard } = await fixture.startShard()
  const row = item(ada, 'axe', 1)
  assert.deepEqual(shard.commitTurn([insert(items, row)]), { kind: 'committed', seq: 2 })
  assert.deepEqual(store.row(ada, items, ['ada', 'axe']), row)
  assert.deepEqual(fixture.database.rows(items), [])
  await fixture.advance(120)
  assert.deepEqual(fixture.database.rows(items), [row])
  assert.deepEqual(local.outboxOf('owner').turns, [])
})

test('acknowledges a critical turn when MySQL has it and everything before it', async () => {
  const fixture = new TieredStoreFixture()
  const { shard } = await fixture.startShard()
  shard.commitTurn([insert(items, item(ada, 'axe', 1))])
  const outcome = shard.commitTurn([insert(coins, coin(ada, 'gold', 5))])
  assert.ok(outcome instanceof Promise)
  assert.deepEqual(await fixture.waitFor(outcome, 20), { kind: 'committed', seq: 3 })
  assert.deepEqual([fixture.database.rows(items).length, fixture.database.rows(coins).length], [1, 1])
})

test('loads a cold shard in pages, once for two opens, with the marks of critical turns', async () => {
  const fixture = new TieredStoreFixture()
  const { database } = fixture
  for (let i = 0; i < 2_500; i++) database.putRow(items, item(ada, `i${i}`, i))
  database.putRow(items, item(bob, 'other', 1))
  database.channels.set('x', { shard: 'player/ada', id: 'c', mark: 7, replies: new Uint8Array(0) })
  const local = fixture.createStore()
  const { store } = fixture.startProcess(local)
  const [first, second] = await Promise.all([fixture.waitFor(store.open(ada)), fixture.waitFor(store.open(ada))])
  assert.deepEqual(new Set([first.activation, second.activation]), new Set([1, 2]))
  assert.equal(store.list(ada, items, { by: {}, descending: false, limit: 0 }).length, 2_500)
  assert.equal((await store.channel(ada, 'c'))?.mark, 7)
  assert.equal(database.requestCounts.get('load'), 3 + 1)
  assert.deepEqual([store.metrics.loads, store.metrics.loadedRows], [1, 2_500])
  await fixture.waitFor(store.open(ada))
  assert.equal(database.requestCounts.get('load'), 4, 'a loaded shard is not loaded again')
})

test('drops the rows of an interrupted load that MySQL no longer has', async () => {
  const fixture = new TieredStoreFixture()
  const { database } = fixture
  for (let i = 0; i < 1_500; i++) database.putRow(items, item(ada, `i${i}`, i))
  const local = fixture.createStore()
  const first = fixture.startProcess(local)
  void Promise.resolve(first.store.open(ada)).catch(() => {})
  while ((database.requestCounts.get('load') ?? 0) < 2) await fixture.advance(1, 1)
  first.crash()
  assert.ok(rowCount(first.store) > 0)
  const second = fixture.startProcess(local)
  database.isUnavailable = false
  database.injectFaults('load')
  for (const row of database.rows(items))
    if (Number(row['n']) >= 10) database.removeRow(items, ['ada', String(row['name'])])
  await fixture.waitFor(second.store.open(ada))
  assert.equal(rowCount(second.store), 10)

  function rowCount(store: typeof first.store): number {
    return store.list(ada, items, { by: {}, descending: false, limit: 0 }).length
  }
})

test('rejects an open of too many rows, or of a value outside of its column type, with a clear message', async () => {
  const fixture = new TieredStoreFixture()
  for (let i = 0; i < 11; i++) fixture.database.putRow(items, item(ada, `i${i}`, i))
  fixture.database.putRow(items, { ...item(bob, 'axe', 1), n: -5 })
  const local = fixture.createStore()
  const { store } = fixture.startProcess(local, { maxRows: 10 })
  await assert.rejects(fixture.waitFor(store.open(ada)), /player\/ada has more than 10 rows/)
  await assert.rejects(fixture.waitFor(store.open(bob)), /table items: column n holds -5/)
})

test('opens a loaded local shard while MySQL is unavailable; RETRY_LATER for a cold or critical one', async () => {
  const fixture = new TieredStoreFixture()
  const { local, process: first, shard: hot } = await fixture.startShard()
  const critical = await first.activate(bob)
  hot.commitTurn([insert(items, item(ada, 'axe', 1))])
  fixture.database.isUnavailable = true
  void critical.commitTurn([insert(coins, coin(bob, 'gold', 1))])
  await fixture.advance(50)
  first.crash()
  const { store, activate } = fixture.startProcess(local)
  const startMs = fixture.clock.mono()
  const again = await activate(ada)
  assert.ok(fixture.clock.mono() - startMs <= 1_000)
  assert.equal(kind(await again.commitTurn([update(items, ada, 'axe', { n: 2 })])), 'committed')
  const cold = { contract: 'player', key: 'cold' }
  const opens = [store.open(bob), store.open(cold)].map((open) => assert.rejects(async () => open, isRetryLater))
  await fixture.advance(5_100, 50)
  await Promise.all(opens)
  fixture.database.isUnavailable = false
  await fixture.advance(6_000, 20)
  await fixture.waitFor(store.open(bob))
  await fixture.waitFor(store.open(cold))
  assert.deepEqual(fixture.database.rows(items), [item(ada, 'axe', 2)])
  assert.deepEqual(fixture.database.rows(coins), [coin(bob, 'gold', 1)])
})

test('flushes the outbox of a process that crashed after its local commit', async () => {
  const fixture = new TieredStoreFixture()
  const { local, crash, shard } = await fixture.startShard()
  shard.commitTurn([insert(items, item(ada, 'axe', 1))])
  crash()
  await fixture.advance(500)
  assert.deepEqual(fixture.database.rows(items), [])
  const next = fixture.startProcess(local)
  next.store.start()
  await fixture.advance(200)
  assert.deepEqual(fixture.database.rows(items), [item(ada, 'axe', 1)])
})

test('after a crash during a flush, drops the entries that MySQL has and sends the others', async () => {
  for (const fate of ['lost', 'unavailable', 'held'] as const) {
    const fixture = new TieredStoreFixture()
    const { local, crash, shard } = await fixture.startShard()
    fixture.database.injectFaults('apply', fate)
    shard.commitTurn([insert(items, item(ada, 'axe', 1))])
    void shard.commitTurn([insert(coins, coin(ada, 'gold', 1))])
    await fixture.advance(20)
    crash()
    const { shard: again } = await fixture.startShard(local)
    const released = fixture.database.releaseHeld()
    assert.deepEqual(released, fate === 'held' ? ['fenced'] : [], 'the late batch is fenced off')
    await fixture.assertCommitted(again.commitTurn([update(coins, ada, 'gold', { n: 2 })]))
    assert.deepEqual(fixture.database.rows(items), [item(ada, 'axe', 1)], fate)
    assert.deepEqual(fixture.database.rows(coins), [coin(ada, 'gold', 2)], fate)
  }
})

test('stores nothing anywhere when the local commit fails', async () => {
  const fixture = new TieredStoreFixture()
  const { local, shard } = await fixture.startShard()
  local.faults.push('failed')
  assert.equal(kind(await shard.commitTurn([insert(coins, coin(ada, 'gold', 1))])), 'failed')
  await fixture.advance(300)
  assert.deepEqual(fixture.database.rows(coins), [])
})

test('flushes an applied commit of unknown outcome, for which the next open waits', async () => {
  const fixture = new TieredStoreFixture()
  const { local, activate, shard } = await fixture.startShard()
  local.faults.push('applied')
  assert.equal(kind(await shard.commitTurn([insert(coins, coin(ada, 'gold', 1))])), 'unknown')
  await activate(ada)
  assert.deepEqual(fixture.database.rows(coins), [coin(ada, 'gold', 1)])
})

test('opens a loaded shard without a request to MySQL when the lease check is off', async () => {
  const fixture = new TieredStoreFixture()
  const local = fixture.createStore()
  const first = fixture.startProcess(local, { checksLeaseFirst: false })
  await first.activate(ada)
  first.crash()
  const taken = fixture.database.requestCounts.get('takeover')
  const { store } = fixture.startProcess(local, { checksLeaseFirst: false })
  assert.ok(!(store.open(ada) instanceof Promise))
  await fixture.advance(1_000)
  assert.equal(fixture.database.requestCounts.get('takeover'), taken)
  assert.equal(await fixture.waitFor(store.nextId(ada, items, {})), 1n)
})

test('flushes entries that were not reported when the host calls checkOutbox', async () => {
  const fixture = new TieredStoreFixture()
  const local = fixture.createStore()
  const { store, activate } = fixture.startProcess(local)
  await activate(ada)
  local.commit({ ...writeSet(ada, 1, { rows: [insert(items, item(ada, 'axe', 1))] }) })
  await fixture.advance(500)
  assert.deepEqual(fixture.database.rows(items), [])
  store.checkOutbox('owner')
  await fixture.advance(50)
  assert.equal(fixture.database.rows(items).length, 1)
})

test('reports a refused critical turn to its engine, and takes it back with all later turns', async () => {
  const fixture = new TieredStoreFixture()
  const { store, activate, shard } = await fixture.startShard()
  const other = await activate(bob)
  fixture.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'n is unlucky' : null)
  shard.commitTurn([insert(items, item(ada, 'axe', 1))])
  const refused = shard.commitTurn([insert(coins, coin(ada, 'gold', 13))])
  shard.commitTurn([update(items, ada, 'axe', { n: 2 })])
  const behind = shard.commitTurn([insert(coins, coin(ada, 'silver', 1))])
  const others = other.commitTurn([insert(coins, coin(bob, 'gold', 1))])
  const outcome = await fixture.waitFor(refused)
  assert.ok(outcome.kind === 'refused' && outcome.seq === 3 && /unlucky/.test(outcome.cause.message))
  const channel = { id: 'c', mark: 3, replies: new Uint8Array(0), nowMs: 0, weight: 0 }
  assert.equal(kind(await store.reject(ada, outcome.seq, channel)), 'committed')
  assert.equal(kind(await fixture.waitFor(behind)), 'failed')
  await fixture.assertCommitted(others)
  assert.equal(kind(await shard.commitTurn([update(items, ada, 'axe', { n: 3 })])), 'failed')
  await activate(ada)
  await fixture.advance(200)
  assert.deepEqual(fixture.database.rows(items), [item(ada, 'axe', 1)])
  assert.deepEqual(store.row(ada, items, ['ada', 'axe']), item(ada, 'axe', 1))
  assert.deepEqual(fixture.database.rows(coins), [coin(bob, 'gold', 1)])
  assert.equal((await store.channel(ada, 'c'))?.mark, 3)
})

test('takes back a refused critical turn of an earlier process before its shard opens', async () => {
  const fixture = new TieredStoreFixture()
  const { local, process: first, shard } = await fixture.startShard()
  fixture.database.isUnavailable = true
  void shard.commitTurn([insert(coins, coin(ada, 'gold', 13))])
  await fixture.advance(10)
  first.crash()
  fixture.database.isUnavailable = false
  fixture.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'n is unlucky' : null)
  const { store, activate } = fixture.startProcess(local)
  await activate(ada)
  assert.equal(store.row(ada, coins, ['ada', 'gold']), null)
})

test('reloads a row after MySQL has everything that its shard committed', async () => {
  const fixture = new TieredStoreFixture()
  const { store, shard } = await fixture.startShard()
  shard.commitTurn([insert(items, item(ada, 'axe', 1))])
  const startMs = fixture.clock.mono()
  assert.deepEqual(await fixture.waitFor(store.reload(ada, items, ['ada', 'axe'])), item(ada, 'axe', 1))
  assert.ok(fixture.clock.mono() - startMs < 50, 'the reload does not wait for flushMs')
  fixture.database.putRow(items, item(ada, 'axe', 7))
  assert.deepEqual(await fixture.waitFor(store.reload(ada, items, ['ada', 'axe'])), item(ada, 'axe', 7))
  fixture.database.isUnavailable = true
  await assert.rejects(fixture.waitFor(store.reload(ada, items, ['ada', 'axe'])), isRetryLater)
})

test('rejects the reload of a parked row, with advice in the error', async () => {
  const fixture = new TieredStoreFixture()
  const { store, shard } = await fixture.startShard()
  fixture.database.refuseChange = ({ values }) => (values['n'] === 1 ? 'no ones' : null)
  shard.commitTurn([insert(items, item(ada, 'axe', 1))])
  const parked = (error: unknown): boolean =>
    error instanceof RowError &&
    error.code === 'PARKED' &&
    /^items: MySQL refused the row "axe": .* the row is retried every minute$/.test(error.message)
  await assert.rejects(fixture.waitFor(store.reload(ada, items, ['ada', 'axe'])), parked)
  shard.commitTurn([update(items, ada, 'axe', { n: 2 })])
  await fixture.advance(70_000, 1_000)
  assert.deepEqual(await fixture.waitFor(store.reload(ada, items, ['ada', 'axe'])), item(ada, 'axe', 2))
})

test('drain flushes what it can and returns the number of entries left', async () => {
  const fixture = new TieredStoreFixture()
  const local = fixture.createStore({ ownerOf: ({ key }) => key })
  const { store, activate } = fixture.startProcess(local)
  const shards = [await activate(ada), await activate(bob)]
  for (const shard of shards) shard.commitTurn([insert(items, item(shard.shard, 'axe', 1))])
  assert.equal(await fixture.waitFor(store.drain(5_000), 50), 0)
  assert.equal(fixture.database.rows(items).length, 2)
  fixture.database.isUnavailable = true
  for (const shard of shards) shard.commitTurn([remove(items, shard.shard, 'axe')])
  assert.equal(await fixture.waitFor(store.drain(500)), 2)
  await fixture.waitFor(store.close())
  assert.equal(kind(await shards[0]!.commitTurn([insert(items, item(ada, 'bow', 1))])), 'failed')
})
