// Several stores of one owner: lost disks, old copies, machines that come back. The one that MySQL goes on with stays
// whole, and what another had acknowledged is reported and kept.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Outcome, RowChange } from '../../core/run/ports.ts'
import { CallError } from '../../core/wire/errors.ts'
import { set } from './slotbench.ts'
import { ada, awake, bob, coin, coins, insert, item, items, update, World } from './tiersbench.ts'

const kind = ({ kind }: Outcome): string => kind
const isRetryLater = (error: unknown): boolean => error instanceof CallError && error.code === 'RETRY_LATER'

test('a disk is lost: the next one starts above what MySQL has, and a critical turn is really there', async () => {
  const world = new World()
  const disk = world.store()
  const first = world.process(disk)
  const shard = await awake(world, first.tiers, disk, ada)
  for (let n = 0; n < 5; n++) shard.turn([insert(items, item(ada, `i${n}`, n))])
  assert.equal(kind(await world.wait(shard.turn([insert(coins, coin(ada, 'gold', 1))]))), 'committed')
  shard.turn([insert(items, item(ada, 'tail', 1))])
  first.crash()
  const fresh = world.store()
  const second = world.process(fresh)
  const again = await awake(world, second.tiers, fresh, ada)
  const outcome = await world.wait(again.turn([update(coins, ada, 'gold', { n: 2 })]))
  assert.deepEqual(world.database.rows(coins), [coin(ada, 'gold', 2)])
  assert.deepEqual(outcome, { kind: 'committed', seq: 8 })
  assert.equal(world.database.rows(items).length, 5, 'the local tail went with the disk')
})

test('the same, when the answers to both takeovers are lost', async () => {
  const world = new World()
  const disk = world.store()
  const first = world.process(disk)
  const shard = await awake(world, first.tiers, disk, ada)
  assert.equal(kind(await world.wait(shard.turn([insert(coins, coin(ada, 'gold', 1))]))), 'committed')
  first.crash()
  const fresh = world.store()
  world.database.fault('takeover', 'lost', 'lost')
  const second = world.process(fresh)
  const again = await awake(world, second.tiers, fresh, ada)
  assert.equal(kind(await world.wait(again.turn([update(coins, ada, 'gold', { n: 2 })]))), 'committed')
  assert.deepEqual(world.database.rows(coins), [coin(ada, 'gold', 2)])
})

test('the owner goes to another store: the old one is fenced, its commits fail and its opens reject', async () => {
  const world = new World()
  const disk = world.store()
  const old = world.process(disk)
  const zombie = await awake(world, old.tiers, disk, ada)
  assert.equal(kind(await world.wait(zombie.turn([insert(coins, coin(ada, 'gold', 1))]))), 'committed')
  const other = world.store()
  const next = world.process(other)
  const shard = await awake(world, next.tiers, other, ada)
  assert.equal(kind(await world.wait(shard.turn([update(coins, ada, 'gold', { n: 2 })]))), 'committed')
  assert.equal(kind(await world.wait(zombie.turn([update(coins, ada, 'gold', { n: 9 })]))), 'unknown')
  assert.deepEqual(world.database.rows(coins), [coin(ada, 'gold', 2)])
  assert.deepEqual(world.told, ['fenced owner'])
  assert.equal(kind(await zombie.turn([insert(items, item(ada, 'axe', 1))])), 'failed')
  await assert.rejects(async () => old.tiers.open(ada), /taken over by store/)
})

test('a store that comes back when another has gone on is emptied, and what it had acknowledged is kept', async () => {
  const world = new World()
  const disk = world.store()
  const first = world.process(disk)
  const shard = await awake(world, first.tiers, disk, ada)
  const put = (n: number) => ({
    channel: { id: 'c', mark: n, replies: new Uint8Array(0), nowMs: 0, weight: 0 },
  })
  assert.equal(kind(await world.wait(shard.turn([insert(coins, coin(ada, 'gold', 1))], put(1)))), 'committed')
  world.database.away = true
  shard.turn([insert(items, item(ada, 'axe', 1))])
  // Not acknowledged: its mark must not answer the client that asks again.
  const before: RowChange = { ...update(coins, ada, 'gold', coin(ada, 'gold', 1)), op: 'fill' }
  const undo = set(ada, 1, { ...put(1), rows: [before] })
  void shard.turn([update(coins, ada, 'gold', { n: 9 })], { ...put(2), undo })
  await world.pass(10)
  first.crash()
  world.database.away = false
  const other = world.store()
  const second = world.process(other)
  const elsewhere = await awake(world, second.tiers, other, ada)
  assert.equal(kind(await world.wait(elsewhere.turn([update(coins, ada, 'gold', { n: 3 })]))), 'committed')
  second.crash()
  const back = world.process(disk)
  const home = await awake(world, back.tiers, disk, ada)
  assert.deepEqual(back.tiers.row(ada, coins, ['ada', 'gold']), coin(ada, 'gold', 3))
  assert.equal(back.tiers.row(ada, items, ['ada', 'axe']), null)
  assert.equal((await back.tiers.channel(ada, 'c'))?.mark, 1)
  assert.ok(world.says('an acknowledged turn is lost'))
  await world.pass(100)
  assert.deepEqual(
    world.database.park.map(({ shard, error }) => [shard, error]),
    [['player/ada', 'lost: acknowledged by a store that MySQL had gone on without']],
  )
  assert.equal(kind(await world.wait(home.turn([update(coins, ada, 'gold', { n: 4 })]))), 'committed')
  assert.deepEqual(world.database.rows(coins), [coin(ada, 'gold', 4)])
  assert.equal(
    kind(await shard.turn([update(coins, ada, 'gold', { n: 5 })])),
    'failed',
    'its activation is over',
  )
})

test('a shard that runs on stale rows while MySQL is away is ended when MySQL is back', async () => {
  const world = new World()
  const disk = world.store()
  const first = world.process(disk)
  const shard = await awake(world, first.tiers, disk, ada)
  assert.equal(kind(await world.wait(shard.turn([insert(coins, coin(ada, 'gold', 1))]))), 'committed')
  first.crash()
  const other = world.store()
  const second = world.process(other)
  const elsewhere = await awake(world, second.tiers, other, ada)
  assert.equal(kind(await world.wait(elsewhere.turn([update(coins, ada, 'gold', { n: 3 })]))), 'committed')
  second.crash()
  world.database.away = true
  const back = world.process(disk)
  const stale = await awake(world, back.tiers, disk, ada)
  stale.turn([insert(items, item(ada, 'axe', 1))])
  const waiting = stale.turn([update(coins, ada, 'gold', { n: 9 })])
  await world.pass(500)
  world.database.away = false
  assert.equal(kind(await world.wait(waiting)), 'unknown')
  await world.pass(100)
  assert.deepEqual(world.told, ['stale owner'])
  assert.equal(kind(await stale.turn([insert(items, item(ada, 'bow', 1))])), 'failed')
  const again = await awake(world, back.tiers, disk, ada)
  assert.equal(kind(await world.wait(again.turn([update(coins, ada, 'gold', { n: 4 })]))), 'committed')
  assert.deepEqual([world.database.rows(items), world.database.rows(coins)], [[], [coin(ada, 'gold', 4)]])
  assert.equal(back.tiers.metrics.owners.get('owner')?.lost, 1)
})

test('nothing is committed while a stale store is being emptied', async () => {
  const world = new World()
  const disk = world.store()
  const first = world.process(disk)
  const shard = await awake(world, first.tiers, disk, ada)
  await world.wait(shard.turn([insert(coins, coin(ada, 'gold', 1))]))
  first.crash()
  const lease = world.database.leases.get('owner')!
  world.database.leases.set('owner', { ...lease, appliedSeq: 50, storeId: 'e'.repeat(32) })
  world.database.away = true
  const { tiers } = world.process(disk)
  const stale = await awake(world, tiers, disk, ada)
  const releases: (() => void)[] = []
  disk.hold = (release) => void releases.push(release)
  const held = stale.turn([insert(items, item(ada, 'axe', 1))])
  world.database.away = false
  await world.pass(3_000, 10)
  disk.hold = null
  assert.equal(kind(await stale.turn([insert(items, item(ada, 'bow', 1))])), 'failed')
  const open = tiers.open(ada)
  for (const release of releases) release()
  await world.wait(held)
  await world.wait(open)
  await world.pass(300)
  assert.equal(tiers.metrics.owners.get('owner')?.lost, 1)
  assert.deepEqual(tiers.list(ada, items, { by: {}, descending: false, limit: 0 }), [])
})

test('rows that were being loaded while the store was emptied are not taken', async () => {
  const world = new World()
  const { database } = world
  const local = world.store()
  const { tiers } = world.process(local)
  const shard = await awake(world, tiers, local, ada)
  await world.wait(shard.turn([insert(coins, coin(ada, 'silver', 1))]))
  for (let n = 0; n < 1_200; n++) database.put(items, item(bob, `i${n}`, n))
  database.fault('apply', 'unavailable', 'refused')
  void shard.turn([insert(coins, coin(ada, 'gold', 1))])
  await world.pass(10)
  const { load, lease } = database
  const gate = Promise.withResolvers<void>()
  database.load = async (...args) => {
    await gate.promise
    return load.apply(database, args)
  }
  const open = assert.rejects(async () => tiers.open(bob), isRetryLater)
  await world.pass(10)
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
  await world.pass(1_000, 10)
  assert.deepEqual(world.told, ['stale owner'])
  gate.resolve()
  await world.pass(1_000, 10)
  await open
  assert.ok(!local.isLoaded(bob))
  await world.wait(tiers.open(bob))
  assert.equal(tiers.list(bob, items, { by: {}, descending: false, limit: 0 }).length, 1_200)
})

test('an owner that went elsewhere and comes back is taken over anew', async () => {
  const world = new World()
  const disk = world.store()
  const { tiers } = world.process(disk)
  const shard = await awake(world, tiers, disk, ada)
  shard.turn([insert(items, item(ada, 'axe', 1))])
  await world.wait(tiers.drain(1_000))
  await world.wait(tiers.release('owner'))
  assert.equal(kind(await shard.turn([insert(items, item(ada, 'bow', 1))])), 'failed')
  const other = world.store()
  const next = world.process(other)
  const elsewhere = await awake(world, next.tiers, other, ada)
  await world.wait(elsewhere.turn([insert(coins, coin(ada, 'gold', 1))]))
  await world.wait(next.tiers.release('owner'))
  const back = await awake(world, tiers, disk, ada)
  assert.equal(back.local.row(ada, coins, ['ada', 'gold'])?.['n'], 1)
  assert.equal(kind(await world.wait(back.turn([update(coins, ada, 'gold', { n: 2 })]))), 'committed')
})

test('a store that held the lease before its first turn is stale like any other', async () => {
  const world = new World()
  const disk = world.store()
  const first = world.process(disk)
  const shard = await awake(world, first.tiers, disk, ada)
  shard.turn([insert(items, item(ada, 'axe', 1))])
  first.crash()
  const other = world.store()
  const second = world.process(other)
  const elsewhere = await awake(world, second.tiers, other, ada)
  await world.wait(elsewhere.turn([insert(coins, coin(ada, 'gold', 1))]))
  second.crash()
  const back = world.process(disk)
  await awake(world, back.tiers, disk, ada)
  assert.equal(back.tiers.row(ada, items, ['ada', 'axe']), null)
  assert.equal(back.tiers.metrics.owners.get('owner')?.lost, 1)
})

test('an older copy of the store is emptied: its sequences say nothing', async () => {
  const world = new World()
  const disk = world.store()
  const first = world.process(disk)
  const shard = await awake(world, first.tiers, disk, ada)
  for (let n = 1; n <= 3; n++) {
    const change = n === 1 ? insert(coins, coin(ada, 'gold', n)) : update(coins, ada, 'gold', { n })
    assert.equal(kind(await world.wait(shard.turn([change]))), 'committed')
  }
  first.crash()
  const backup = world.store({ storeId: disk.outbox('owner').storeId })
  backup.fill(ada, [{ ...insert(coins, coin(ada, 'gold', 1)), op: 'fill' }], null, true)
  await backup.outbox('owner').raise(1)
  const second = world.process(backup)
  const again = await awake(world, second.tiers, backup, ada)
  assert.deepEqual(second.tiers.row(ada, coins, ['ada', 'gold']), coin(ada, 'gold', 3))
  assert.equal(kind(await world.wait(again.turn([update(coins, ada, 'gold', { n: 4 })]))), 'committed')
  assert.deepEqual(world.database.rows(coins), [coin(ada, 'gold', 4)])
})

test('rows that MySQL never saw meet the rows of another store: both stay as they are', async () => {
  const world = new World()
  const used = world.store()
  const first = world.process(used)
  const shard = await awake(world, first.tiers, used, ada)
  await world.wait(shard.turn([insert(coins, coin(ada, 'gold', 1))]))
  await world.wait(first.tiers.close())
  world.database.away = false
  const embedded = world.store()
  embedded.fill(bob, [], null, true)
  const { tiers } = world.process(embedded)
  world.database.away = true
  const hot = await awake(world, tiers, embedded, bob)
  hot.turn([insert(items, item(bob, 'axe', 1))])
  world.database.away = false
  await world.pass(6_000, 50)
  assert.deepEqual(world.told, ['fenced owner'])
  assert.ok(world.log.lines.some(({ fields }) => /rows that MySQL never saw/.test(String(fields['error']))))
  assert.equal(world.database.leases.get('owner')?.epoch, 1, 'whoever serves the other is not disturbed')
  assert.deepEqual(embedded.row(bob, items, ['bob', 'axe']), item(bob, 'axe', 1))
  assert.deepEqual(world.database.rows(items), [])
})

test('an older copy does not pass for the newer one by what it does while MySQL is away, not even after a restart', async () => {
  const world = new World()
  const disk = world.store()
  const first = world.process(disk)
  const shard = await awake(world, first.tiers, disk, ada)
  assert.equal(kind(await world.wait(shard.turn([insert(items, item(ada, 'axe', 1))]))), 'committed')
  for (let n = 2; n < 6; n++)
    assert.equal(kind(await world.wait(shard.turn([update(items, ada, 'axe', { n })]))), 'committed')
  await world.pass(300)
  first.crash()
  const { storeId } = disk.outbox('owner')
  const backup = world.store({ storeId })
  backup.fill(ada, [{ ...insert(items, item(ada, 'axe', 1)), op: 'fill' }], null, true)
  await backup.outbox('owner').raise(1)
  world.database.away = true
  for (const life of [1, 2]) {
    const { tiers, crash } = world.process(backup)
    const stale = await awake(world, tiers, backup, ada)
    for (let n = 0; n < 10; n++)
      await world.wait(stale.turn([update(items, ada, 'axe', { n: 100 * life + n })]))
    crash()
  }
  assert.ok(backup.outbox('owner').seq > 20)
  world.database.away = false
  const last = world.process(backup)
  const again = await awake(world, last.tiers, backup, ada)
  await world.pass(6_000, 20)
  assert.deepEqual(world.database.rows(items), [item(ada, 'axe', 5)])
  assert.equal(kind(await world.wait(again.turn([update(items, ada, 'axe', { n: 6 })]))), 'committed')
  await world.pass(300)
  assert.deepEqual(world.database.rows(items), [item(ada, 'axe', 6)])
  assert.equal(backup.outbox('owner').trusted, backup.outbox('owner').seq)
})
