// Several stores of one owner: lost disks, old copies, and restarts on an old store. The store with the lease stays
// complete, and acknowledged turns of a stale store are reported and parked.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Outcome, RowChange } from '../../core/ports/store.ts'
import { CallError } from '../../core/wire/errors.ts'
import { writeSet } from './slotfixture.ts'
import { ada, bob, coin, coins, item, items, update, TieredStoreFixture } from './tieredstorefixture.ts'
import { insert } from '../support/tables.ts'

const kind = ({ kind }: Outcome): string => kind
const isRetryLater = (error: unknown): boolean => error instanceof CallError && error.code === 'RETRY_LATER'

test('starts a new disk above the sequence that MySQL has, and flushes its critical turns', async () => {
  const fixture = new TieredStoreFixture()
  const { process: first, shard } = await fixture.startShard()
  for (let n = 0; n < 5; n++) shard.commitTurn([insert(items, item(ada, `i${n}`, n))])
  await fixture.assertCommitted(shard.commitTurn([insert(coins, coin(ada, 'gold', 1))]))
  shard.commitTurn([insert(items, item(ada, 'tail', 1))])
  first.crash()
  const { shard: again } = await fixture.startShard()
  const outcome = await fixture.waitFor(again.commitTurn([update(coins, ada, 'gold', { n: 2 })]))
  assert.deepEqual(fixture.database.rows(coins), [coin(ada, 'gold', 2)])
  assert.deepEqual(outcome, { kind: 'committed', seq: 8 })
  assert.equal(fixture.database.rows(items).length, 5, 'the last local turn is lost with the disk')
})

test('starts a new disk in the same way when the answers of both takeovers are lost', async () => {
  const fixture = new TieredStoreFixture()
  const { process: first, shard } = await fixture.startShard()
  await fixture.assertCommitted(shard.commitTurn([insert(coins, coin(ada, 'gold', 1))]))
  first.crash()
  const fresh = fixture.createStore()
  fixture.database.injectFaults('takeover', 'lost', 'lost')
  const { shard: again } = await fixture.startShard(fresh)
  await fixture.assertCommitted(again.commitTurn([update(coins, ada, 'gold', { n: 2 })]))
  assert.deepEqual(fixture.database.rows(coins), [coin(ada, 'gold', 2)])
})

test('fences off a store when another takes its owner: commits fail, opens reject', async () => {
  const fixture = new TieredStoreFixture()
  const { process: old, shard: oldShard } = await fixture.startShard()
  await fixture.assertCommitted(oldShard.commitTurn([insert(coins, coin(ada, 'gold', 1))]))
  const { shard } = await fixture.startShard()
  await fixture.assertCommitted(shard.commitTurn([update(coins, ada, 'gold', { n: 2 })]))
  assert.equal(kind(await fixture.waitFor(oldShard.commitTurn([update(coins, ada, 'gold', { n: 9 })]))), 'unknown')
  assert.deepEqual(fixture.database.rows(coins), [coin(ada, 'gold', 2)])
  assert.deepEqual(fixture.notifications, ['fenced owner'])
  assert.equal(kind(await oldShard.commitTurn([insert(items, item(ada, 'axe', 1))])), 'failed')
  await assert.rejects(async () => old.store.open(ada), /taken over by store/)
})

test('empties a store after another has flushed, and parks its acknowledged turns', async () => {
  const fixture = new TieredStoreFixture()
  const { local: disk, process: first, shard } = await fixture.startShard()
  const put = (n: number) => ({ channel: { id: 'c', mark: n, replies: new Uint8Array(0), nowMs: 0, weight: 0 } })
  await fixture.assertCommitted(shard.commitTurn([insert(coins, coin(ada, 'gold', 1))], put(1)))
  fixture.database.isUnavailable = true
  shard.commitTurn([insert(items, item(ada, 'axe', 1))])
  // Not acknowledged: its mark must not make a retry of the client look done.
  const before: RowChange = { ...update(coins, ada, 'gold', coin(ada, 'gold', 1)), op: 'store-put' }
  const undo = writeSet(ada, 1, { ...put(1), rows: [before] })
  void shard.commitTurn([update(coins, ada, 'gold', { n: 9 })], { ...put(2), undo })
  await fixture.advance(10)
  first.crash()
  fixture.database.isUnavailable = false
  const { process: second, shard: elsewhere } = await fixture.startShard()
  await fixture.assertCommitted(elsewhere.commitTurn([update(coins, ada, 'gold', { n: 3 })]))
  second.crash()
  const { process: back, shard: home } = await fixture.startShard(disk)
  assert.deepEqual(back.store.row(ada, coins, ['ada', 'gold']), coin(ada, 'gold', 3))
  assert.equal(back.store.row(ada, items, ['ada', 'axe']), null)
  assert.equal((await back.store.channel(ada, 'c'))?.mark, 1)
  assert.ok(fixture.hasLogged('an acknowledged turn is lost'))
  await fixture.advance(100)
  const parked = fixture.database.parkedRecords.map(({ shard, error }) => [shard, error])
  assert.deepEqual(parked, [['player/ada', 'lost: acknowledged by a store that MySQL had gone on without']])
  await fixture.assertCommitted(home.commitTurn([update(coins, ada, 'gold', { n: 4 })]))
  assert.deepEqual(fixture.database.rows(coins), [coin(ada, 'gold', 4)])
  assert.equal(
    kind(await shard.commitTurn([update(coins, ada, 'gold', { n: 5 })])),
    'failed',
    'its activation has ended',
  )
})

test('ends a shard with stale rows when MySQL is available again', async () => {
  const fixture = new TieredStoreFixture()
  const { local: disk, process: first, shard } = await fixture.startShard()
  await fixture.assertCommitted(shard.commitTurn([insert(coins, coin(ada, 'gold', 1))]))
  first.crash()
  const { process: second, shard: elsewhere } = await fixture.startShard()
  await fixture.assertCommitted(elsewhere.commitTurn([update(coins, ada, 'gold', { n: 3 })]))
  second.crash()
  fixture.database.isUnavailable = true
  const { process: back, shard: stale } = await fixture.startShard(disk)
  stale.commitTurn([insert(items, item(ada, 'axe', 1))])
  const waiting = stale.commitTurn([update(coins, ada, 'gold', { n: 9 })])
  await fixture.advance(500)
  fixture.database.isUnavailable = false
  assert.equal(kind(await fixture.waitFor(waiting)), 'unknown')
  await fixture.advance(100)
  assert.deepEqual(fixture.notifications, ['stale owner'])
  assert.equal(kind(await stale.commitTurn([insert(items, item(ada, 'bow', 1))])), 'failed')
  const again = await back.activate(ada)
  await fixture.assertCommitted(again.commitTurn([update(coins, ada, 'gold', { n: 4 })]))
  assert.deepEqual([fixture.database.rows(items), fixture.database.rows(coins)], [[], [coin(ada, 'gold', 4)]])
  assert.equal(back.store.metrics.owners.get('owner')?.lost, 1)
})

test('commits nothing while a stale store is being emptied', async () => {
  const fixture = new TieredStoreFixture()
  const { local: disk, process: first, shard } = await fixture.startShard()
  await fixture.waitFor(shard.commitTurn([insert(coins, coin(ada, 'gold', 1))]))
  first.crash()
  const lease = fixture.database.leases.get('owner')!
  fixture.database.leases.set('owner', { ...lease, appliedSeq: 50, storeId: 'e'.repeat(32) })
  fixture.database.isUnavailable = true
  const { store, shard: stale } = await fixture.startShard(disk)
  const releases: (() => void)[] = []
  disk.hold = (release) => void releases.push(release)
  const held = stale.commitTurn([insert(items, item(ada, 'axe', 1))])
  fixture.database.isUnavailable = false
  await fixture.advance(3_000, 10)
  disk.hold = null
  assert.equal(kind(await stale.commitTurn([insert(items, item(ada, 'bow', 1))])), 'failed')
  const open = store.open(ada)
  for (const release of releases) release()
  await fixture.waitFor(held)
  await fixture.waitFor(open)
  await fixture.advance(300)
  assert.equal(store.metrics.owners.get('owner')?.lost, 1)
  assert.deepEqual(store.list(ada, items, { by: {}, descending: false, limit: 0 }), [])
})

test('discards rows that were loaded while the store was emptied', async () => {
  const fixture = new TieredStoreFixture()
  const { database } = fixture
  const { local, store, shard } = await fixture.startShard()
  await fixture.waitFor(shard.commitTurn([insert(coins, coin(ada, 'silver', 1))]))
  for (let n = 0; n < 1_200; n++) database.putRow(items, item(bob, `i${n}`, n))
  database.injectFaults('apply', 'unavailable', 'refused')
  void shard.commitTurn([insert(coins, coin(ada, 'gold', 1))])
  await fixture.advance(10)
  const { load, lease } = database
  const gate = Promise.withResolvers<void>()
  database.load = async (...args) => {
    await gate.promise
    return load.apply(database, args)
  }
  const open = assert.rejects(async () => store.open(bob), isRetryLater)
  await fixture.advance(10)
  // Another store takes the owner over between the read of the lease and the takeover.
  database.lease = async (owner) => {
    const seen = await lease.call(database, owner)
    database.leases.set('owner', { ...seen!, epoch: seen!.epoch + 1, appliedSeq: 50, storeId: 'e'.repeat(32) })
    database.lease = lease
    return seen
  }
  await fixture.advance(1_000, 10)
  assert.deepEqual(fixture.notifications, ['stale owner'])
  gate.resolve()
  await fixture.advance(1_000, 10)
  await open
  assert.ok(!local.isLoaded(bob))
  await fixture.waitFor(store.open(bob))
  assert.equal(store.list(bob, items, { by: {}, descending: false, limit: 0 }).length, 1_200)
})

test('takes an owner over again after another process has served it', async () => {
  const fixture = new TieredStoreFixture()
  const { store, activate, shard } = await fixture.startShard()
  shard.commitTurn([insert(items, item(ada, 'axe', 1))])
  await fixture.waitFor(store.drain(1_000))
  await fixture.waitFor(store.releaseOwner('owner'))
  assert.equal(kind(await shard.commitTurn([insert(items, item(ada, 'bow', 1))])), 'failed')
  const { process: next, shard: elsewhere } = await fixture.startShard()
  await fixture.waitFor(elsewhere.commitTurn([insert(coins, coin(ada, 'gold', 1))]))
  await fixture.waitFor(next.store.releaseOwner('owner'))
  const back = await activate(ada)
  assert.equal(back.local.row(ada, coins, ['ada', 'gold'])?.['n'], 1)
  await fixture.assertCommitted(back.commitTurn([update(coins, ada, 'gold', { n: 2 })]))
})

test('treats a store that had the lease before its first turn as stale', async () => {
  const fixture = new TieredStoreFixture()
  const { local: disk, process: first, shard } = await fixture.startShard()
  shard.commitTurn([insert(items, item(ada, 'axe', 1))])
  first.crash()
  const { process: second, shard: elsewhere } = await fixture.startShard()
  await fixture.waitFor(elsewhere.commitTurn([insert(coins, coin(ada, 'gold', 1))]))
  second.crash()
  const back = fixture.startProcess(disk)
  await back.activate(ada)
  assert.equal(back.store.row(ada, items, ['ada', 'axe']), null)
  assert.equal(back.store.metrics.owners.get('owner')?.lost, 1)
})

test('empties an older copy of a store, whatever its sequences are', async () => {
  const fixture = new TieredStoreFixture()
  const { local: disk, process: first, shard } = await fixture.startShard()
  for (let n = 1; n <= 3; n++) {
    const change = n === 1 ? insert(coins, coin(ada, 'gold', n)) : update(coins, ada, 'gold', { n })
    await fixture.assertCommitted(shard.commitTurn([change]))
  }
  first.crash()
  const backup = fixture.createStore({ storeId: disk.outboxOf('owner').storeId })
  backup.fill(ada, [{ ...insert(coins, coin(ada, 'gold', 1)), op: 'store-put' }], null, true)
  await backup.outboxOf('owner').raiseSeq(1)
  const { process: second, shard: again } = await fixture.startShard(backup)
  assert.deepEqual(second.store.row(ada, coins, ['ada', 'gold']), coin(ada, 'gold', 3))
  await fixture.assertCommitted(again.commitTurn([update(coins, ada, 'gold', { n: 4 })]))
  assert.deepEqual(fixture.database.rows(coins), [coin(ada, 'gold', 4)])
})

test('refuses to join rows that were never in MySQL with the rows of another store', async () => {
  const fixture = new TieredStoreFixture()
  const { process: first, shard } = await fixture.startShard()
  await fixture.waitFor(shard.commitTurn([insert(coins, coin(ada, 'gold', 1))]))
  await fixture.waitFor(first.store.close())
  fixture.database.isUnavailable = false
  const embedded = fixture.createStore()
  embedded.fill(bob, [], null, true)
  const { activate } = fixture.startProcess(embedded)
  fixture.database.isUnavailable = true
  const hot = await activate(bob)
  hot.commitTurn([insert(items, item(bob, 'axe', 1))])
  fixture.database.isUnavailable = false
  await fixture.advance(6_000, 50)
  assert.deepEqual(fixture.notifications, ['fenced owner'])
  assert.ok(fixture.log.lines.some(({ fields }) => /rows that were never in MySQL/.test(String(fields['error']))))
  assert.equal(fixture.database.leases.get('owner')?.epoch, 1, 'the process of the other store is not fenced off')
  assert.deepEqual(embedded.row(bob, items, ['bob', 'axe']), item(bob, 'axe', 1))
  assert.deepEqual(fixture.database.rows(items), [])
})

test('does not mistake an older copy for the newer one after turns during an outage and a restart', async () => {
  const fixture = new TieredStoreFixture()
  const { local: disk, process: first, shard } = await fixture.startShard()
  await fixture.assertCommitted(shard.commitTurn([insert(items, item(ada, 'axe', 1))]))
  for (let n = 2; n < 6; n++) await fixture.assertCommitted(shard.commitTurn([update(items, ada, 'axe', { n })]))
  await fixture.advance(300)
  first.crash()
  const { storeId } = disk.outboxOf('owner')
  const backup = fixture.createStore({ storeId })
  backup.fill(ada, [{ ...insert(items, item(ada, 'axe', 1)), op: 'store-put' }], null, true)
  await backup.outboxOf('owner').raiseSeq(1)
  fixture.database.isUnavailable = true
  for (const run of [1, 2]) {
    const { crash, shard: stale } = await fixture.startShard(backup)
    for (let n = 0; n < 10; n++)
      await fixture.waitFor(stale.commitTurn([update(items, ada, 'axe', { n: 100 * run + n })]))
    crash()
  }
  assert.ok(backup.outboxOf('owner').lastSeq > 20)
  fixture.database.isUnavailable = false
  const { shard: again } = await fixture.startShard(backup)
  await fixture.advance(6_000, 20)
  assert.deepEqual(fixture.database.rows(items), [item(ada, 'axe', 5)])
  await fixture.assertCommitted(again.commitTurn([update(items, ada, 'axe', { n: 6 })]))
  await fixture.advance(300)
  assert.deepEqual(fixture.database.rows(items), [item(ada, 'axe', 6)])
  assert.equal(backup.outboxOf('owner').leasedSeq, backup.outboxOf('owner').lastSeq)
})
