// The three tiers as one Store: what is acknowledged under its class is where that class says, across crashes and
// lost answers; a shard opens on complete rows or not at all.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Outcome } from '../../core/run/ports.ts'
import { CallError, RowError } from '../../core/wire/errors.ts'
import { set } from './slotbench.ts'
import { ada, awake, bob, coin, coins, insert, item, items, remove, update, World } from './tiersbench.ts'

const kind = ({ kind }: Outcome): string => kind
const isRetryLater = (error: unknown): boolean => error instanceof CallError && error.code === 'RETRY_LATER'

test('a local turn is acknowledged at once and is in MySQL soon after', async () => {
  const world = new World()
  const local = world.store()
  const { tiers } = world.process(local)
  const shard = await awake(world, tiers, local, ada)
  const row = item(ada, 'axe', 1)
  assert.deepEqual(shard.turn([insert(items, row)]), { kind: 'committed', seq: 2 })
  assert.deepEqual(tiers.row(ada, items, ['ada', 'axe']), row)
  assert.deepEqual(world.database.rows(items), [])
  await world.pass(120)
  assert.deepEqual(world.database.rows(items), [row])
  assert.deepEqual(local.outbox('owner').turns, [])
})

test('a critical turn is acknowledged when MySQL has it and everything before it', async () => {
  const world = new World()
  const local = world.store()
  const { tiers } = world.process(local)
  const shard = await awake(world, tiers, local, ada)
  shard.turn([insert(items, item(ada, 'axe', 1))])
  const outcome = shard.turn([insert(coins, coin(ada, 'gold', 5))])
  assert.ok(outcome instanceof Promise)
  assert.deepEqual(await world.wait(outcome, 20), { kind: 'committed', seq: 3 })
  assert.deepEqual([world.database.rows(items).length, world.database.rows(coins).length], [1, 1])
})

test('a cold shard is loaded in pages, once for two opens, with what critical turns left', async () => {
  const world = new World()
  const { database } = world
  for (let i = 0; i < 2_500; i++) database.put(items, item(ada, `i${i}`, i))
  database.put(items, item(bob, 'other', 1))
  database.channels.set('x', { shard: 'player/ada', id: 'c', mark: 7, replies: new Uint8Array(0) })
  const local = world.store()
  const { tiers } = world.process(local)
  const [first, second] = await Promise.all([world.wait(tiers.open(ada)), world.wait(tiers.open(ada))])
  assert.deepEqual(new Set([first.activation, second.activation]), new Set([1, 2]))
  assert.equal(tiers.list(ada, items, { by: {}, descending: false, limit: 0 }).length, 2_500)
  assert.equal((await tiers.channel(ada, 'c'))?.mark, 7)
  assert.equal(database.asked.get('load'), 3 + 1)
  assert.deepEqual([tiers.metrics.loads, tiers.metrics.loadedRows], [1, 2_500])
  await world.wait(tiers.open(ada))
  assert.equal(database.asked.get('load'), 4, 'a hot shard never loads again')
})

test('a load that was cut off leaves no rows that MySQL has lost meanwhile', async () => {
  const world = new World()
  const { database } = world
  for (let i = 0; i < 1_500; i++) database.put(items, item(ada, `i${i}`, i))
  const local = world.store()
  const old = world.process(local)
  void Promise.resolve(old.tiers.open(ada)).catch(() => {})
  while ((database.asked.get('load') ?? 0) < 2) await world.pass(1, 1)
  old.crash()
  assert.ok(tiersRows(old.tiers) > 0)
  const world2 = world.process(local)
  database.away = false
  database.fault('load')
  for (const row of database.rows(items))
    if (Number(row['n']) >= 10) rowsOf(world).delete(String(row['name']))
  await world.wait(world2.tiers.open(ada))
  assert.equal(tiersRows(world2.tiers), 10)

  function tiersRows(tiers: typeof old.tiers): number {
    return tiers.list(ada, items, { by: {}, descending: false, limit: 0 }).length
  }
  function rowsOf({ database }: World): { delete(name: string): void } {
    return { delete: (name) => database.remove(items, ['ada', name]) }
  }
})

test('too many rows, and values that their column refuses, are said clearly', async () => {
  const world = new World()
  for (let i = 0; i < 11; i++) world.database.put(items, item(ada, `i${i}`, i))
  world.database.put(items, { ...item(bob, 'axe', 1), n: -5 })
  const local = world.store()
  const { tiers } = world.process(local, { maxRows: 10 })
  await assert.rejects(world.wait(tiers.open(ada)), /player\/ada has more than 10 rows/)
  await assert.rejects(world.wait(tiers.open(bob)), /table items: column n holds -5/)
})

test('while MySQL is away a hot local shard opens; a cold one and one with critical turns is RETRY_LATER', async () => {
  const world = new World()
  const local = world.store()
  const first = world.process(local)
  const hot = await awake(world, first.tiers, local, ada)
  const critical = await awake(world, first.tiers, local, bob)
  hot.turn([insert(items, item(ada, 'axe', 1))])
  world.database.away = true
  void critical.turn([insert(coins, coin(bob, 'gold', 1))])
  await world.pass(50)
  first.crash()
  const { tiers } = world.process(local)
  const startMs = world.clock.mono()
  const again = await awake(world, tiers, local, ada)
  assert.ok(world.clock.mono() - startMs <= 1_000)
  assert.equal(kind(await again.turn([update(items, ada, 'axe', { n: 2 })])), 'committed')
  const cold = { contract: 'player', key: 'cold' }
  const opens = [tiers.open(bob), tiers.open(cold)].map((open) =>
    assert.rejects(async () => open, isRetryLater),
  )
  await world.pass(5_100, 50)
  await Promise.all(opens)
  world.database.away = false
  await world.pass(6_000, 20)
  await world.wait(tiers.open(bob))
  await world.wait(tiers.open(cold))
  assert.deepEqual(world.database.rows(items), [item(ada, 'axe', 2)])
  assert.deepEqual(world.database.rows(coins), [coin(bob, 'gold', 1)])
})

test('crash after the local commit: the outbox is sent by the next life', async () => {
  const world = new World()
  const local = world.store()
  const { tiers, crash } = world.process(local)
  const shard = await awake(world, tiers, local, ada)
  shard.turn([insert(items, item(ada, 'axe', 1))])
  crash()
  await world.pass(500)
  assert.deepEqual(world.database.rows(items), [])
  const next = world.process(local)
  next.tiers.start()
  await world.pass(200)
  assert.deepEqual(world.database.rows(items), [item(ada, 'axe', 1)])
})

test('crash while the batch is on its way: what MySQL has is dropped, what it has not is sent', async () => {
  for (const fate of ['lost', 'unavailable', 'held'] as const) {
    const world = new World()
    const local = world.store()
    const { tiers, crash } = world.process(local)
    const shard = await awake(world, tiers, local, ada)
    world.database.fault('apply', fate)
    shard.turn([insert(items, item(ada, 'axe', 1))])
    void shard.turn([insert(coins, coin(ada, 'gold', 1))])
    await world.pass(20)
    crash()
    const next = world.process(local)
    const awakened = await awake(world, next.tiers, local, ada)
    assert.deepEqual(world.database.release(), fate === 'held' ? ['fenced'] : [], 'a zombie is refused')
    assert.equal(kind(await world.wait(awakened.turn([update(coins, ada, 'gold', { n: 2 })]))), 'committed')
    assert.deepEqual(world.database.rows(items), [item(ada, 'axe', 1)], fate)
    assert.deepEqual(world.database.rows(coins), [coin(ada, 'gold', 2)], fate)
  }
})

test('crash before the local commit, or a commit that fails: nothing is anywhere', async () => {
  const world = new World()
  const local = world.store()
  const { tiers } = world.process(local)
  const shard = await awake(world, tiers, local, ada)
  local.faults.push('failed')
  assert.equal(kind(await shard.turn([insert(coins, coin(ada, 'gold', 1))])), 'failed')
  await world.pass(300)
  assert.deepEqual(world.database.rows(coins), [])
})

test('a commit of unknown outcome that is there reaches MySQL, and the next open waits for it', async () => {
  const world = new World()
  const local = world.store()
  const { tiers } = world.process(local)
  const shard = await awake(world, tiers, local, ada)
  local.faults.push('applied')
  assert.equal(kind(await shard.turn([insert(coins, coin(ada, 'gold', 1))])), 'unknown')
  await awake(world, tiers, local, ada)
  assert.deepEqual(world.database.rows(coins), [coin(ada, 'gold', 1)])
})

test('where no other store can be, a shard that is here opens without a question to MySQL', async () => {
  const world = new World()
  const local = world.store()
  const first = world.process(local, { asksFirst: false })
  await awake(world, first.tiers, local, ada)
  first.crash()
  const taken = world.database.asked.get('takeover')
  const { tiers } = world.process(local, { asksFirst: false })
  assert.ok(!(tiers.open(ada) instanceof Promise))
  await world.pass(1_000)
  assert.equal(world.database.asked.get('takeover'), taken)
  assert.equal(await world.wait(tiers.nextId(ada, items, {})), 1n)
})

test('entries that no commit told of are found when the host says so', async () => {
  const world = new World()
  const local = world.store()
  const { tiers } = world.process(local)
  await awake(world, tiers, local, ada)
  local.commit({ ...set(ada, 1, { rows: [insert(items, item(ada, 'axe', 1))] }) })
  await world.pass(500)
  assert.deepEqual(world.database.rows(items), [])
  tiers.look('owner')
  await world.pass(50)
  assert.equal(world.database.rows(items).length, 1)
})

test('a critical turn that MySQL refuses is told to its engine and taken back with all behind it', async () => {
  const world = new World()
  const local = world.store()
  const { tiers } = world.process(local)
  const shard = await awake(world, tiers, local, ada)
  const other = await awake(world, tiers, local, bob)
  world.database.refuses = ({ values }) => (values['n'] === 13 ? 'n is unlucky' : null)
  shard.turn([insert(items, item(ada, 'axe', 1))])
  const refused = shard.turn([insert(coins, coin(ada, 'gold', 13))])
  shard.turn([update(items, ada, 'axe', { n: 2 })])
  const behind = shard.turn([insert(coins, coin(ada, 'silver', 1))])
  const others = other.turn([insert(coins, coin(bob, 'gold', 1))])
  const outcome = await world.wait(refused)
  assert.ok(outcome.kind === 'refused' && outcome.seq === 3 && /unlucky/.test(outcome.cause.message))
  const channel = { id: 'c', mark: 3, replies: new Uint8Array(0), nowMs: 0, weight: 0 }
  assert.equal(kind(await tiers.reject(ada, outcome.seq, channel)), 'committed')
  assert.equal(kind(await world.wait(behind)), 'failed')
  assert.equal(kind(await world.wait(others)), 'committed')
  assert.equal(kind(await shard.turn([update(items, ada, 'axe', { n: 3 })])), 'failed')
  await awake(world, tiers, local, ada)
  await world.pass(200)
  assert.deepEqual(world.database.rows(items), [item(ada, 'axe', 1)])
  assert.deepEqual(tiers.row(ada, items, ['ada', 'axe']), item(ada, 'axe', 1))
  assert.deepEqual(world.database.rows(coins), [coin(bob, 'gold', 1)])
  assert.equal((await tiers.channel(ada, 'c'))?.mark, 3)
})

test('a refused critical turn of an earlier life is taken back before its shard opens', async () => {
  const world = new World()
  const local = world.store()
  const first = world.process(local)
  const shard = await awake(world, first.tiers, local, ada)
  world.database.away = true
  void shard.turn([insert(coins, coin(ada, 'gold', 13))])
  await world.pass(10)
  first.crash()
  world.database.away = false
  world.database.refuses = ({ values }) => (values['n'] === 13 ? 'n is unlucky' : null)
  const { tiers } = world.process(local)
  await awake(world, tiers, local, ada)
  assert.equal(tiers.row(ada, coins, ['ada', 'gold']), null)
})

test('a row is read anew when MySQL has all that its shard committed', async () => {
  const world = new World()
  const local = world.store()
  const { tiers } = world.process(local)
  const shard = await awake(world, tiers, local, ada)
  shard.turn([insert(items, item(ada, 'axe', 1))])
  const startMs = world.clock.mono()
  assert.deepEqual(await world.wait(tiers.reload(ada, items, ['ada', 'axe'])), item(ada, 'axe', 1))
  assert.ok(world.clock.mono() - startMs < 50, 'it does not wait for others')
  world.database.put(items, item(ada, 'axe', 7))
  assert.deepEqual(await world.wait(tiers.reload(ada, items, ['ada', 'axe'])), item(ada, 'axe', 7))
  world.database.away = true
  await assert.rejects(world.wait(tiers.reload(ada, items, ['ada', 'axe'])), isRetryLater)
})

test('a row that stands parked is not read anew, and the error says what to do', async () => {
  const world = new World()
  const local = world.store()
  const { tiers } = world.process(local)
  const shard = await awake(world, tiers, local, ada)
  world.database.refuses = ({ values }) => (values['n'] === 1 ? 'no ones' : null)
  shard.turn([insert(items, item(ada, 'axe', 1))])
  const parked = (error: unknown): boolean =>
    error instanceof RowError &&
    error.code === 'PARKED' &&
    /^items: .* "axe" .*: it is tried again every minute$/.test(error.message)
  await assert.rejects(world.wait(tiers.reload(ada, items, ['ada', 'axe'])), parked)
  shard.turn([update(items, ada, 'axe', { n: 2 })])
  await world.pass(70_000, 1_000)
  assert.deepEqual(await world.wait(tiers.reload(ada, items, ['ada', 'axe'])), item(ada, 'axe', 2))
})

test('a drain flushes what waits and tells what is left', async () => {
  const world = new World()
  const local = world.store({ ownerOf: ({ key }) => key })
  const { tiers } = world.process(local)
  const shards = [await awake(world, tiers, local, ada), await awake(world, tiers, local, bob)]
  for (const shard of shards) shard.turn([insert(items, item(shard.shard, 'axe', 1))])
  assert.equal(await world.wait(tiers.drain(5_000), 50), 0)
  assert.equal(world.database.rows(items).length, 2)
  world.database.away = true
  for (const shard of shards) shard.turn([remove(items, shard.shard, 'axe')])
  assert.equal(await world.wait(tiers.drain(500)), 2)
  await world.wait(tiers.close())
  assert.equal(kind(await shards[0]!.turn([insert(items, item(ada, 'bow', 1))])), 'failed')
})
