// The three tiers as one Store: what is acknowledged under its class is where that class says, across crashes and
// lost answers; a shard opens on complete rows or not at all.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Outcome } from '../../core/ports/store.ts'
import { CallError, RowError } from '../../core/wire/errors.ts'
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
  remove,
  update,
  TiersFixture,
} from './tiersfixture.ts'

const kind = ({ kind }: Outcome): string => kind
const isRetryLater = (error: unknown): boolean => error instanceof CallError && error.code === 'RETRY_LATER'

test('a local turn is acknowledged at once and is in MySQL soon after', async () => {
  const world = new TiersFixture()
  const local = world.createStore()
  const { tiers } = world.startProcess(local)
  const shard = await activateShard(world, tiers, local, ada)
  const row = item(ada, 'axe', 1)
  assert.deepEqual(shard.commitTurn([insert(items, row)]), { kind: 'committed', seq: 2 })
  assert.deepEqual(tiers.row(ada, items, ['ada', 'axe']), row)
  assert.deepEqual(world.database.rows(items), [])
  await world.advance(120)
  assert.deepEqual(world.database.rows(items), [row])
  assert.deepEqual(local.outboxOf('owner').turns, [])
})

test('a critical turn is acknowledged when MySQL has it and everything before it', async () => {
  const world = new TiersFixture()
  const local = world.createStore()
  const { tiers } = world.startProcess(local)
  const shard = await activateShard(world, tiers, local, ada)
  shard.commitTurn([insert(items, item(ada, 'axe', 1))])
  const outcome = shard.commitTurn([insert(coins, coin(ada, 'gold', 5))])
  assert.ok(outcome instanceof Promise)
  assert.deepEqual(await world.waitFor(outcome, 20), { kind: 'committed', seq: 3 })
  assert.deepEqual([world.database.rows(items).length, world.database.rows(coins).length], [1, 1])
})

test('a cold shard is loaded in pages, once for two opens, with what critical turns left', async () => {
  const world = new TiersFixture()
  const { database } = world
  for (let i = 0; i < 2_500; i++) database.putRow(items, item(ada, `i${i}`, i))
  database.putRow(items, item(bob, 'other', 1))
  database.channels.set('x', { shard: 'player/ada', id: 'c', mark: 7, replies: new Uint8Array(0) })
  const local = world.createStore()
  const { tiers } = world.startProcess(local)
  const [first, second] = await Promise.all([world.waitFor(tiers.open(ada)), world.waitFor(tiers.open(ada))])
  assert.deepEqual(new Set([first.activation, second.activation]), new Set([1, 2]))
  assert.equal(tiers.list(ada, items, { by: {}, descending: false, limit: 0 }).length, 2_500)
  assert.equal((await tiers.channel(ada, 'c'))?.mark, 7)
  assert.equal(database.requestCounts.get('load'), 3 + 1)
  assert.deepEqual([tiers.metrics.loads, tiers.metrics.loadedRows], [1, 2_500])
  await world.waitFor(tiers.open(ada))
  assert.equal(database.requestCounts.get('load'), 4, 'a hot shard never loads again')
})

test('a load that was cut off leaves no rows that MySQL has lost meanwhile', async () => {
  const world = new TiersFixture()
  const { database } = world
  for (let i = 0; i < 1_500; i++) database.putRow(items, item(ada, `i${i}`, i))
  const local = world.createStore()
  const old = world.startProcess(local)
  void Promise.resolve(old.tiers.open(ada)).catch(() => {})
  while ((database.requestCounts.get('load') ?? 0) < 2) await world.advance(1, 1)
  old.crash()
  assert.ok(tiersRows(old.tiers) > 0)
  const world2 = world.startProcess(local)
  database.isUnavailable = false
  database.injectFaults('load')
  for (const row of database.rows(items))
    if (Number(row['n']) >= 10) rowsOf(world).delete(String(row['name']))
  await world.waitFor(world2.tiers.open(ada))
  assert.equal(tiersRows(world2.tiers), 10)

  function tiersRows(tiers: typeof old.tiers): number {
    return tiers.list(ada, items, { by: {}, descending: false, limit: 0 }).length
  }
  function rowsOf({ database }: TiersFixture): { delete(name: string): void } {
    return { delete: (name) => database.removeRow(items, ['ada', name]) }
  }
})

test('too many rows, and values that their column refuses, are said clearly', async () => {
  const world = new TiersFixture()
  for (let i = 0; i < 11; i++) world.database.putRow(items, item(ada, `i${i}`, i))
  world.database.putRow(items, { ...item(bob, 'axe', 1), n: -5 })
  const local = world.createStore()
  const { tiers } = world.startProcess(local, { maxRows: 10 })
  await assert.rejects(world.waitFor(tiers.open(ada)), /player\/ada has more than 10 rows/)
  await assert.rejects(world.waitFor(tiers.open(bob)), /table items: column n holds -5/)
})

test('while MySQL is away a hot local shard opens; a cold one and one with critical turns is RETRY_LATER', async () => {
  const world = new TiersFixture()
  const local = world.createStore()
  const first = world.startProcess(local)
  const hot = await activateShard(world, first.tiers, local, ada)
  const critical = await activateShard(world, first.tiers, local, bob)
  hot.commitTurn([insert(items, item(ada, 'axe', 1))])
  world.database.isUnavailable = true
  void critical.commitTurn([insert(coins, coin(bob, 'gold', 1))])
  await world.advance(50)
  first.crash()
  const { tiers } = world.startProcess(local)
  const startMs = world.clock.mono()
  const again = await activateShard(world, tiers, local, ada)
  assert.ok(world.clock.mono() - startMs <= 1_000)
  assert.equal(kind(await again.commitTurn([update(items, ada, 'axe', { n: 2 })])), 'committed')
  const cold = { contract: 'player', key: 'cold' }
  const opens = [tiers.open(bob), tiers.open(cold)].map((open) =>
    assert.rejects(async () => open, isRetryLater),
  )
  await world.advance(5_100, 50)
  await Promise.all(opens)
  world.database.isUnavailable = false
  await world.advance(6_000, 20)
  await world.waitFor(tiers.open(bob))
  await world.waitFor(tiers.open(cold))
  assert.deepEqual(world.database.rows(items), [item(ada, 'axe', 2)])
  assert.deepEqual(world.database.rows(coins), [coin(bob, 'gold', 1)])
})

test('crash after the local commit: the outbox is sent by the next life', async () => {
  const world = new TiersFixture()
  const local = world.createStore()
  const { tiers, crash } = world.startProcess(local)
  const shard = await activateShard(world, tiers, local, ada)
  shard.commitTurn([insert(items, item(ada, 'axe', 1))])
  crash()
  await world.advance(500)
  assert.deepEqual(world.database.rows(items), [])
  const next = world.startProcess(local)
  next.tiers.start()
  await world.advance(200)
  assert.deepEqual(world.database.rows(items), [item(ada, 'axe', 1)])
})

test('crash while the batch is on its way: what MySQL has is dropped, what it has not is sent', async () => {
  for (const fate of ['lost', 'unavailable', 'held'] as const) {
    const world = new TiersFixture()
    const local = world.createStore()
    const { tiers, crash } = world.startProcess(local)
    const shard = await activateShard(world, tiers, local, ada)
    world.database.injectFaults('apply', fate)
    shard.commitTurn([insert(items, item(ada, 'axe', 1))])
    void shard.commitTurn([insert(coins, coin(ada, 'gold', 1))])
    await world.advance(20)
    crash()
    const next = world.startProcess(local)
    const awakened = await activateShard(world, next.tiers, local, ada)
    assert.deepEqual(world.database.releaseHeld(), fate === 'held' ? ['fenced'] : [], 'a zombie is refused')
    assert.equal(
      kind(await world.waitFor(awakened.commitTurn([update(coins, ada, 'gold', { n: 2 })]))),
      'committed',
    )
    assert.deepEqual(world.database.rows(items), [item(ada, 'axe', 1)], fate)
    assert.deepEqual(world.database.rows(coins), [coin(ada, 'gold', 2)], fate)
  }
})

test('crash before the local commit, or a commit that fails: nothing is anywhere', async () => {
  const world = new TiersFixture()
  const local = world.createStore()
  const { tiers } = world.startProcess(local)
  const shard = await activateShard(world, tiers, local, ada)
  local.faults.push('failed')
  assert.equal(kind(await shard.commitTurn([insert(coins, coin(ada, 'gold', 1))])), 'failed')
  await world.advance(300)
  assert.deepEqual(world.database.rows(coins), [])
})

test('a commit of unknown outcome that is there reaches MySQL, and the next open waits for it', async () => {
  const world = new TiersFixture()
  const local = world.createStore()
  const { tiers } = world.startProcess(local)
  const shard = await activateShard(world, tiers, local, ada)
  local.faults.push('applied')
  assert.equal(kind(await shard.commitTurn([insert(coins, coin(ada, 'gold', 1))])), 'unknown')
  await activateShard(world, tiers, local, ada)
  assert.deepEqual(world.database.rows(coins), [coin(ada, 'gold', 1)])
})

test('where no other store can be, a shard that is here opens without a question to MySQL', async () => {
  const world = new TiersFixture()
  const local = world.createStore()
  const first = world.startProcess(local, { checksLeaseFirst: false })
  await activateShard(world, first.tiers, local, ada)
  first.crash()
  const taken = world.database.requestCounts.get('takeover')
  const { tiers } = world.startProcess(local, { checksLeaseFirst: false })
  assert.ok(!(tiers.open(ada) instanceof Promise))
  await world.advance(1_000)
  assert.equal(world.database.requestCounts.get('takeover'), taken)
  assert.equal(await world.waitFor(tiers.nextId(ada, items, {})), 1n)
})

test('entries that no commit told of are found when the host says so', async () => {
  const world = new TiersFixture()
  const local = world.createStore()
  const { tiers } = world.startProcess(local)
  await activateShard(world, tiers, local, ada)
  local.commit({ ...writeSet(ada, 1, { rows: [insert(items, item(ada, 'axe', 1))] }) })
  await world.advance(500)
  assert.deepEqual(world.database.rows(items), [])
  tiers.checkOutbox('owner')
  await world.advance(50)
  assert.equal(world.database.rows(items).length, 1)
})

test('a critical turn that MySQL refuses is told to its engine and taken back with all behind it', async () => {
  const world = new TiersFixture()
  const local = world.createStore()
  const { tiers } = world.startProcess(local)
  const shard = await activateShard(world, tiers, local, ada)
  const other = await activateShard(world, tiers, local, bob)
  world.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'n is unlucky' : null)
  shard.commitTurn([insert(items, item(ada, 'axe', 1))])
  const refused = shard.commitTurn([insert(coins, coin(ada, 'gold', 13))])
  shard.commitTurn([update(items, ada, 'axe', { n: 2 })])
  const behind = shard.commitTurn([insert(coins, coin(ada, 'silver', 1))])
  const others = other.commitTurn([insert(coins, coin(bob, 'gold', 1))])
  const outcome = await world.waitFor(refused)
  assert.ok(outcome.kind === 'refused' && outcome.seq === 3 && /unlucky/.test(outcome.cause.message))
  const channel = { id: 'c', mark: 3, replies: new Uint8Array(0), nowMs: 0, weight: 0 }
  assert.equal(kind(await tiers.reject(ada, outcome.seq, channel)), 'committed')
  assert.equal(kind(await world.waitFor(behind)), 'failed')
  assert.equal(kind(await world.waitFor(others)), 'committed')
  assert.equal(kind(await shard.commitTurn([update(items, ada, 'axe', { n: 3 })])), 'failed')
  await activateShard(world, tiers, local, ada)
  await world.advance(200)
  assert.deepEqual(world.database.rows(items), [item(ada, 'axe', 1)])
  assert.deepEqual(tiers.row(ada, items, ['ada', 'axe']), item(ada, 'axe', 1))
  assert.deepEqual(world.database.rows(coins), [coin(bob, 'gold', 1)])
  assert.equal((await tiers.channel(ada, 'c'))?.mark, 3)
})

test('a refused critical turn of an earlier life is taken back before its shard opens', async () => {
  const world = new TiersFixture()
  const local = world.createStore()
  const first = world.startProcess(local)
  const shard = await activateShard(world, first.tiers, local, ada)
  world.database.isUnavailable = true
  void shard.commitTurn([insert(coins, coin(ada, 'gold', 13))])
  await world.advance(10)
  first.crash()
  world.database.isUnavailable = false
  world.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'n is unlucky' : null)
  const { tiers } = world.startProcess(local)
  await activateShard(world, tiers, local, ada)
  assert.equal(tiers.row(ada, coins, ['ada', 'gold']), null)
})

test('a row is read anew when MySQL has all that its shard committed', async () => {
  const world = new TiersFixture()
  const local = world.createStore()
  const { tiers } = world.startProcess(local)
  const shard = await activateShard(world, tiers, local, ada)
  shard.commitTurn([insert(items, item(ada, 'axe', 1))])
  const startMs = world.clock.mono()
  assert.deepEqual(await world.waitFor(tiers.reload(ada, items, ['ada', 'axe'])), item(ada, 'axe', 1))
  assert.ok(world.clock.mono() - startMs < 50, 'it does not wait for others')
  world.database.putRow(items, item(ada, 'axe', 7))
  assert.deepEqual(await world.waitFor(tiers.reload(ada, items, ['ada', 'axe'])), item(ada, 'axe', 7))
  world.database.isUnavailable = true
  await assert.rejects(world.waitFor(tiers.reload(ada, items, ['ada', 'axe'])), isRetryLater)
})

test('a row that stands parked is not read anew, and the error says what to do', async () => {
  const world = new TiersFixture()
  const local = world.createStore()
  const { tiers } = world.startProcess(local)
  const shard = await activateShard(world, tiers, local, ada)
  world.database.refuseChange = ({ values }) => (values['n'] === 1 ? 'no ones' : null)
  shard.commitTurn([insert(items, item(ada, 'axe', 1))])
  const parked = (error: unknown): boolean =>
    error instanceof RowError &&
    error.code === 'PARKED' &&
    /^items: .* "axe" .*: it is tried again every minute$/.test(error.message)
  await assert.rejects(world.waitFor(tiers.reload(ada, items, ['ada', 'axe'])), parked)
  shard.commitTurn([update(items, ada, 'axe', { n: 2 })])
  await world.advance(70_000, 1_000)
  assert.deepEqual(await world.waitFor(tiers.reload(ada, items, ['ada', 'axe'])), item(ada, 'axe', 2))
})

test('a drain flushes what waits and tells what is left', async () => {
  const world = new TiersFixture()
  const local = world.createStore({ ownerOf: ({ key }) => key })
  const { tiers } = world.startProcess(local)
  const shards = [
    await activateShard(world, tiers, local, ada),
    await activateShard(world, tiers, local, bob),
  ]
  for (const shard of shards) shard.commitTurn([insert(items, item(shard.shard, 'axe', 1))])
  assert.equal(await world.waitFor(tiers.drain(5_000), 50), 0)
  assert.equal(world.database.rows(items).length, 2)
  world.database.isUnavailable = true
  for (const shard of shards) shard.commitTurn([remove(items, shard.shard, 'axe')])
  assert.equal(await world.waitFor(tiers.drain(500)), 2)
  await world.waitFor(tiers.close())
  assert.equal(kind(await shards[0]!.commitTurn([insert(items, item(ada, 'bow', 1))])), 'failed')
})
