// Several stores of one owner: lost disks, old copies, machines that come back. The one that MySQL goes on with stays
// whole, and what another had acknowledged is reported and kept.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Outcome, RowChange } from '../../core/ports/store.ts'
import { CallError } from '../../core/wire/errors.ts'
import { writeSet } from './slotfixture.ts'
import {
  ada,
  activateShard,
  bob,
  coin,
  coins,
  insert,
  item,
  items,
  update,
  TiersFixture,
} from './tiersfixture.ts'

const kind = ({ kind }: Outcome): string => kind
const isRetryLater = (error: unknown): boolean => error instanceof CallError && error.code === 'RETRY_LATER'

test('a disk is lost: the next one starts above what MySQL has, and a critical turn is really there', async () => {
  const world = new TiersFixture()
  const disk = world.createStore()
  const first = world.startProcess(disk)
  const shard = await activateShard(world, first.tiers, disk, ada)
  for (let n = 0; n < 5; n++) shard.commitTurn([insert(items, item(ada, `i${n}`, n))])
  assert.equal(
    kind(await world.waitFor(shard.commitTurn([insert(coins, coin(ada, 'gold', 1))]))),
    'committed',
  )
  shard.commitTurn([insert(items, item(ada, 'tail', 1))])
  first.crash()
  const fresh = world.createStore()
  const second = world.startProcess(fresh)
  const again = await activateShard(world, second.tiers, fresh, ada)
  const outcome = await world.waitFor(again.commitTurn([update(coins, ada, 'gold', { n: 2 })]))
  assert.deepEqual(world.database.rows(coins), [coin(ada, 'gold', 2)])
  assert.deepEqual(outcome, { kind: 'committed', seq: 8 })
  assert.equal(world.database.rows(items).length, 5, 'the local tail went with the disk')
})

test('the same, when the answers to both takeovers are lost', async () => {
  const world = new TiersFixture()
  const disk = world.createStore()
  const first = world.startProcess(disk)
  const shard = await activateShard(world, first.tiers, disk, ada)
  assert.equal(
    kind(await world.waitFor(shard.commitTurn([insert(coins, coin(ada, 'gold', 1))]))),
    'committed',
  )
  first.crash()
  const fresh = world.createStore()
  world.database.injectFaults('takeover', 'lost', 'lost')
  const second = world.startProcess(fresh)
  const again = await activateShard(world, second.tiers, fresh, ada)
  assert.equal(
    kind(await world.waitFor(again.commitTurn([update(coins, ada, 'gold', { n: 2 })]))),
    'committed',
  )
  assert.deepEqual(world.database.rows(coins), [coin(ada, 'gold', 2)])
})

test('the owner goes to another store: the old one is fenced, its commits fail and its opens reject', async () => {
  const world = new TiersFixture()
  const disk = world.createStore()
  const old = world.startProcess(disk)
  const zombie = await activateShard(world, old.tiers, disk, ada)
  assert.equal(
    kind(await world.waitFor(zombie.commitTurn([insert(coins, coin(ada, 'gold', 1))]))),
    'committed',
  )
  const other = world.createStore()
  const next = world.startProcess(other)
  const shard = await activateShard(world, next.tiers, other, ada)
  assert.equal(
    kind(await world.waitFor(shard.commitTurn([update(coins, ada, 'gold', { n: 2 })]))),
    'committed',
  )
  assert.equal(
    kind(await world.waitFor(zombie.commitTurn([update(coins, ada, 'gold', { n: 9 })]))),
    'unknown',
  )
  assert.deepEqual(world.database.rows(coins), [coin(ada, 'gold', 2)])
  assert.deepEqual(world.notifications, ['fenced owner'])
  assert.equal(kind(await zombie.commitTurn([insert(items, item(ada, 'axe', 1))])), 'failed')
  await assert.rejects(async () => old.tiers.open(ada), /taken over by store/)
})

test('a store that comes back when another has gone on is emptied, and what it had acknowledged is kept', async () => {
  const world = new TiersFixture()
  const disk = world.createStore()
  const first = world.startProcess(disk)
  const shard = await activateShard(world, first.tiers, disk, ada)
  const put = (n: number) => ({
    channel: { id: 'c', mark: n, replies: new Uint8Array(0), nowMs: 0, weight: 0 },
  })
  assert.equal(
    kind(await world.waitFor(shard.commitTurn([insert(coins, coin(ada, 'gold', 1))], put(1)))),
    'committed',
  )
  world.database.isUnavailable = true
  shard.commitTurn([insert(items, item(ada, 'axe', 1))])
  // Not acknowledged: its mark must not answer the client that asks again.
  const before: RowChange = { ...update(coins, ada, 'gold', coin(ada, 'gold', 1)), op: 'store-put' }
  const undo = writeSet(ada, 1, { ...put(1), rows: [before] })
  void shard.commitTurn([update(coins, ada, 'gold', { n: 9 })], { ...put(2), undo })
  await world.advance(10)
  first.crash()
  world.database.isUnavailable = false
  const other = world.createStore()
  const second = world.startProcess(other)
  const elsewhere = await activateShard(world, second.tiers, other, ada)
  assert.equal(
    kind(await world.waitFor(elsewhere.commitTurn([update(coins, ada, 'gold', { n: 3 })]))),
    'committed',
  )
  second.crash()
  const back = world.startProcess(disk)
  const home = await activateShard(world, back.tiers, disk, ada)
  assert.deepEqual(back.tiers.row(ada, coins, ['ada', 'gold']), coin(ada, 'gold', 3))
  assert.equal(back.tiers.row(ada, items, ['ada', 'axe']), null)
  assert.equal((await back.tiers.channel(ada, 'c'))?.mark, 1)
  assert.ok(world.hasLogged('an acknowledged turn is lost'))
  await world.advance(100)
  assert.deepEqual(
    world.database.parkedRecords.map(({ shard, error }) => [shard, error]),
    [['player/ada', 'lost: acknowledged by a store that MySQL had gone on without']],
  )
  assert.equal(
    kind(await world.waitFor(home.commitTurn([update(coins, ada, 'gold', { n: 4 })]))),
    'committed',
  )
  assert.deepEqual(world.database.rows(coins), [coin(ada, 'gold', 4)])
  assert.equal(
    kind(await shard.commitTurn([update(coins, ada, 'gold', { n: 5 })])),
    'failed',
    'its activation is over',
  )
})

test('a shard that runs on stale rows while MySQL is away is ended when MySQL is back', async () => {
  const world = new TiersFixture()
  const disk = world.createStore()
  const first = world.startProcess(disk)
  const shard = await activateShard(world, first.tiers, disk, ada)
  assert.equal(
    kind(await world.waitFor(shard.commitTurn([insert(coins, coin(ada, 'gold', 1))]))),
    'committed',
  )
  first.crash()
  const other = world.createStore()
  const second = world.startProcess(other)
  const elsewhere = await activateShard(world, second.tiers, other, ada)
  assert.equal(
    kind(await world.waitFor(elsewhere.commitTurn([update(coins, ada, 'gold', { n: 3 })]))),
    'committed',
  )
  second.crash()
  world.database.isUnavailable = true
  const back = world.startProcess(disk)
  const stale = await activateShard(world, back.tiers, disk, ada)
  stale.commitTurn([insert(items, item(ada, 'axe', 1))])
  const waiting = stale.commitTurn([update(coins, ada, 'gold', { n: 9 })])
  await world.advance(500)
  world.database.isUnavailable = false
  assert.equal(kind(await world.waitFor(waiting)), 'unknown')
  await world.advance(100)
  assert.deepEqual(world.notifications, ['stale owner'])
  assert.equal(kind(await stale.commitTurn([insert(items, item(ada, 'bow', 1))])), 'failed')
  const again = await activateShard(world, back.tiers, disk, ada)
  assert.equal(
    kind(await world.waitFor(again.commitTurn([update(coins, ada, 'gold', { n: 4 })]))),
    'committed',
  )
  assert.deepEqual([world.database.rows(items), world.database.rows(coins)], [[], [coin(ada, 'gold', 4)]])
  assert.equal(back.tiers.metrics.owners.get('owner')?.lost, 1)
})

test('nothing is committed while a stale store is being emptied', async () => {
  const world = new TiersFixture()
  const disk = world.createStore()
  const first = world.startProcess(disk)
  const shard = await activateShard(world, first.tiers, disk, ada)
  await world.waitFor(shard.commitTurn([insert(coins, coin(ada, 'gold', 1))]))
  first.crash()
  const lease = world.database.leases.get('owner')!
  world.database.leases.set('owner', { ...lease, appliedSeq: 50, storeId: 'e'.repeat(32) })
  world.database.isUnavailable = true
  const { tiers } = world.startProcess(disk)
  const stale = await activateShard(world, tiers, disk, ada)
  const releases: (() => void)[] = []
  disk.hold = (release) => void releases.push(release)
  const held = stale.commitTurn([insert(items, item(ada, 'axe', 1))])
  world.database.isUnavailable = false
  await world.advance(3_000, 10)
  disk.hold = null
  assert.equal(kind(await stale.commitTurn([insert(items, item(ada, 'bow', 1))])), 'failed')
  const open = tiers.open(ada)
  for (const release of releases) release()
  await world.waitFor(held)
  await world.waitFor(open)
  await world.advance(300)
  assert.equal(tiers.metrics.owners.get('owner')?.lost, 1)
  assert.deepEqual(tiers.list(ada, items, { by: {}, descending: false, limit: 0 }), [])
})

test('rows that were being loaded while the store was emptied are not taken', async () => {
  const world = new TiersFixture()
  const { database } = world
  const local = world.createStore()
  const { tiers } = world.startProcess(local)
  const shard = await activateShard(world, tiers, local, ada)
  await world.waitFor(shard.commitTurn([insert(coins, coin(ada, 'silver', 1))]))
  for (let n = 0; n < 1_200; n++) database.putRow(items, item(bob, `i${n}`, n))
  database.injectFaults('apply', 'unavailable', 'refused')
  void shard.commitTurn([insert(coins, coin(ada, 'gold', 1))])
  await world.advance(10)
  const { load, lease } = database
  const gate = Promise.withResolvers<void>()
  database.load = async (...args) => {
    await gate.promise
    return load.apply(database, args)
  }
  const open = assert.rejects(async () => tiers.open(bob), isRetryLater)
  await world.advance(10)
  // Another store comes in between our look at the lease and our taking it.
  database.lease = async (owner) => {
    const seen = await lease.call(database, owner)
    database.leases.set('owner', {
      ...seen!,
      epoch: seen!.epoch + 1,
      appliedSeq: 50,
      storeId: 'e'.repeat(32),
    })
    database.lease = lease
    return seen
  }
  await world.advance(1_000, 10)
  assert.deepEqual(world.notifications, ['stale owner'])
  gate.resolve()
  await world.advance(1_000, 10)
  await open
  assert.ok(!local.isLoaded(bob))
  await world.waitFor(tiers.open(bob))
  assert.equal(tiers.list(bob, items, { by: {}, descending: false, limit: 0 }).length, 1_200)
})

test('an owner that went elsewhere and comes back is taken over anew', async () => {
  const world = new TiersFixture()
  const disk = world.createStore()
  const { tiers } = world.startProcess(disk)
  const shard = await activateShard(world, tiers, disk, ada)
  shard.commitTurn([insert(items, item(ada, 'axe', 1))])
  await world.waitFor(tiers.drain(1_000))
  await world.waitFor(tiers.releaseOwner('owner'))
  assert.equal(kind(await shard.commitTurn([insert(items, item(ada, 'bow', 1))])), 'failed')
  const other = world.createStore()
  const next = world.startProcess(other)
  const elsewhere = await activateShard(world, next.tiers, other, ada)
  await world.waitFor(elsewhere.commitTurn([insert(coins, coin(ada, 'gold', 1))]))
  await world.waitFor(next.tiers.releaseOwner('owner'))
  const back = await activateShard(world, tiers, disk, ada)
  assert.equal(back.local.row(ada, coins, ['ada', 'gold'])?.['n'], 1)
  assert.equal(
    kind(await world.waitFor(back.commitTurn([update(coins, ada, 'gold', { n: 2 })]))),
    'committed',
  )
})

test('a store that held the lease before its first turn is stale like any other', async () => {
  const world = new TiersFixture()
  const disk = world.createStore()
  const first = world.startProcess(disk)
  const shard = await activateShard(world, first.tiers, disk, ada)
  shard.commitTurn([insert(items, item(ada, 'axe', 1))])
  first.crash()
  const other = world.createStore()
  const second = world.startProcess(other)
  const elsewhere = await activateShard(world, second.tiers, other, ada)
  await world.waitFor(elsewhere.commitTurn([insert(coins, coin(ada, 'gold', 1))]))
  second.crash()
  const back = world.startProcess(disk)
  await activateShard(world, back.tiers, disk, ada)
  assert.equal(back.tiers.row(ada, items, ['ada', 'axe']), null)
  assert.equal(back.tiers.metrics.owners.get('owner')?.lost, 1)
})

test('an older copy of the store is emptied: its sequences say nothing', async () => {
  const world = new TiersFixture()
  const disk = world.createStore()
  const first = world.startProcess(disk)
  const shard = await activateShard(world, first.tiers, disk, ada)
  for (let n = 1; n <= 3; n++) {
    const change = n === 1 ? insert(coins, coin(ada, 'gold', n)) : update(coins, ada, 'gold', { n })
    assert.equal(kind(await world.waitFor(shard.commitTurn([change]))), 'committed')
  }
  first.crash()
  const backup = world.createStore({ storeId: disk.outboxOf('owner').storeId })
  backup.fill(ada, [{ ...insert(coins, coin(ada, 'gold', 1)), op: 'store-put' }], null, true)
  await backup.outboxOf('owner').raiseSeq(1)
  const second = world.startProcess(backup)
  const again = await activateShard(world, second.tiers, backup, ada)
  assert.deepEqual(second.tiers.row(ada, coins, ['ada', 'gold']), coin(ada, 'gold', 3))
  assert.equal(
    kind(await world.waitFor(again.commitTurn([update(coins, ada, 'gold', { n: 4 })]))),
    'committed',
  )
  assert.deepEqual(world.database.rows(coins), [coin(ada, 'gold', 4)])
})

test('rows that MySQL never saw meet the rows of another store: both stay as they are', async () => {
  const world = new TiersFixture()
  const used = world.createStore()
  const first = world.startProcess(used)
  const shard = await activateShard(world, first.tiers, used, ada)
  await world.waitFor(shard.commitTurn([insert(coins, coin(ada, 'gold', 1))]))
  await world.waitFor(first.tiers.close())
  world.database.isUnavailable = false
  const embedded = world.createStore()
  embedded.fill(bob, [], null, true)
  const { tiers } = world.startProcess(embedded)
  world.database.isUnavailable = true
  const hot = await activateShard(world, tiers, embedded, bob)
  hot.commitTurn([insert(items, item(bob, 'axe', 1))])
  world.database.isUnavailable = false
  await world.advance(6_000, 50)
  assert.deepEqual(world.notifications, ['fenced owner'])
  assert.ok(world.log.lines.some(({ fields }) => /rows that MySQL never saw/.test(String(fields['error']))))
  assert.equal(world.database.leases.get('owner')?.epoch, 1, 'whoever serves the other is not disturbed')
  assert.deepEqual(embedded.row(bob, items, ['bob', 'axe']), item(bob, 'axe', 1))
  assert.deepEqual(world.database.rows(items), [])
})

test('an older copy does not pass for the newer one by what it does while MySQL is away, not even after a restart', async () => {
  const world = new TiersFixture()
  const disk = world.createStore()
  const first = world.startProcess(disk)
  const shard = await activateShard(world, first.tiers, disk, ada)
  assert.equal(kind(await world.waitFor(shard.commitTurn([insert(items, item(ada, 'axe', 1))]))), 'committed')
  for (let n = 2; n < 6; n++)
    assert.equal(kind(await world.waitFor(shard.commitTurn([update(items, ada, 'axe', { n })]))), 'committed')
  await world.advance(300)
  first.crash()
  const { storeId } = disk.outboxOf('owner')
  const backup = world.createStore({ storeId })
  backup.fill(ada, [{ ...insert(items, item(ada, 'axe', 1)), op: 'store-put' }], null, true)
  await backup.outboxOf('owner').raiseSeq(1)
  world.database.isUnavailable = true
  for (const life of [1, 2]) {
    const { tiers, crash } = world.startProcess(backup)
    const stale = await activateShard(world, tiers, backup, ada)
    for (let n = 0; n < 10; n++)
      await world.waitFor(stale.commitTurn([update(items, ada, 'axe', { n: 100 * life + n })]))
    crash()
  }
  assert.ok(backup.outboxOf('owner').lastSeq > 20)
  world.database.isUnavailable = false
  const last = world.startProcess(backup)
  const again = await activateShard(world, last.tiers, backup, ada)
  await world.advance(6_000, 20)
  assert.deepEqual(world.database.rows(items), [item(ada, 'axe', 5)])
  assert.equal(
    kind(await world.waitFor(again.commitTurn([update(items, ada, 'axe', { n: 6 })]))),
    'committed',
  )
  await world.advance(300)
  assert.deepEqual(world.database.rows(items), [item(ada, 'axe', 6)])
  assert.equal(backup.outboxOf('owner').leasedSeq, backup.outboxOf('owner').lastSeq)
})
