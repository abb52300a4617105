// What a flusher does with turns that MySQL does not take: parked, taken back, or waited for; and who is told.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { DatabaseError } from '../../core/tiers/client.ts'
import { FlusherBench } from './flusherbench.ts'
import { set } from './slotbench.ts'
import { ada, bob, byName, coin, coins, insert, item, items, remove, update } from './tiersbench.ts'

test('a packet that comes late is refused by the fence, whatever has been sent since', async () => {
  const bench = new FlusherBench()
  bench.database.fault('apply', 'held')
  bench.turn(ada, [insert(items, item(ada, 'a', 1))])
  await bench.pass(100)
  bench.turn(ada, [update(items, ada, 'a', { n: 2 })])
  await bench.pass(500)
  assert.deepEqual(bench.sent, ['1..1 insert a=1', '2..2 update a=2'])
  assert.deepEqual(bench.database.release(), ['fenced'])
  assert.deepEqual(bench.database.rows(items), [item(ada, 'a', 2)])
})

test('a refused local turn is found by halving, parked, and the others pass', async () => {
  const bench = new FlusherBench()
  await bench.wait(bench.flusher.ready())
  bench.database.refuses = ({ values }) => (values['n'] === 113 ? 'unlucky' : null)
  for (let n = 0; n < 200; n++) bench.turn(ada, [insert(items, item(ada, `i${n}`, n))])
  await bench.pass(2_000)
  assert.equal(bench.database.rows(items).length, 199)
  assert.deepEqual(
    bench.database.park.map(({ seq, shard, error }) => [seq, shard, error]),
    [[115, 'player/ada', 'table items: unlucky']],
  )
  assert.ok(bench.flusher.metrics.transactions < 30, `${bench.flusher.metrics.transactions} transactions`)
  assert.equal(bench.flusher.metrics.parked, 1)
  assert.equal(bench.log.lines.filter(({ message }) => message.includes('parked')).length, 1)
  assert.equal(bench.flusher.applied, 201)
})

test('what touches a parked row is parked too, with all its rows; a critical turn that does is refused', async () => {
  const bench = new FlusherBench()
  bench.database.refuses = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  bench.turn(ada, [insert(items, item(ada, 'a', 13))])
  bench.turn(ada, [insert(items, item(ada, 'b', 1))])
  await bench.pass(300)
  bench.turn(ada, [update(items, ada, 'a', { n: 14 }), insert(items, item(ada, 'c', 1))])
  bench.turn(ada, [update(items, ada, 'c', { n: 2 })])
  bench.turn(ada, [update(items, ada, 'b', { n: 2 })])
  await bench.pass(300)
  assert.deepEqual(bench.database.rows(items), [item(ada, 'b', 2)])
  assert.deepEqual(
    bench.database.park.map(({ seq, error }) => [seq, error]),
    [
      [1, 'table items: unlucky'],
      [3, 'row is parked since seq 1'],
      [4, 'row is parked since seq 3'],
    ],
  )
  const both = [update(items, ada, 'c', { n: 3 }), insert(coins, coin(ada, 'c', 1))]
  const critical = bench.critical(ada, both)
  await bench.pass(50)
  assert.ok(critical.told?.kind === 'refused' && critical.told.cause.message === 'row is parked since seq 1')
})

test('a turn that saves is refused while one of its shard stands parked, whatever it touches itself', async () => {
  const bench = new FlusherBench()
  bench.database.refuses = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  bench.turn(ada, [insert(items, item(ada, 'a', 13))])
  await bench.pass(300)
  const without = bench.critical(ada, [insert(coins, coin(ada, 'c', 1))])
  const other = bench.critical(bob, [], { critical: true, saves: true })
  await bench.pass(300)
  assert.deepEqual([without.told?.kind, other.told?.kind], ['committed', 'committed'])
  const saves = bench.critical(ada, [], { critical: true, saves: true })
  await bench.pass(300)
  assert.ok(saves.told?.kind === 'refused')
  assert.equal(saves.told.cause.message, 'a turn of this shard is parked since seq 1')
})

test('a turn that saves in the same batch as what MySQL refuses is refused too', async () => {
  const bench = new FlusherBench()
  bench.database.refuses = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  bench.turn(ada, [insert(items, item(ada, 'a', 13))])
  const saves = bench.critical(ada, [], { critical: true, saves: true })
  await bench.pass(300)
  assert.ok(saves.told?.kind === 'refused')
})

test('parked rows are written as the Store has them once MySQL takes them', async () => {
  const bench = new FlusherBench()
  bench.database.refuses = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  bench.turn(ada, [insert(items, item(ada, 'a', 13)), insert(items, item(ada, 'b', 1))])
  await bench.pass(300)
  bench.turn(ada, [remove(items, ada, 'b')])
  bench.turn(ada, [update(items, ada, 'a', { mark: 'm' })])
  await bench.pass(61_000, 50)
  assert.deepEqual(bench.database.rows(items), [], 'it is still refused')
  bench.database.refuses = null
  await bench.pass(61_000, 50)
  assert.deepEqual(bench.database.rows(items), [item(ada, 'a', 13, 'm')])
  assert.ok(bench.says('MySQL has the rows of a parked turn now'))
  bench.turn(ada, [update(items, ada, 'a', { n: 14 })])
  await bench.pass(300)
  assert.deepEqual(bench.database.rows(items), [item(ada, 'a', 14, 'm')])
  assert.deepEqual(bench.database.park, [], 'and with it those that were parked behind it')
})

test('what an earlier process left parked is kept apart after a restart too, and tried again at once', async () => {
  const bench = new FlusherBench()
  bench.database.refuses = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  bench.turn(ada, [insert(items, item(ada, 'a', 13))])
  await bench.pass(300)
  await bench.wait(bench.flusher.stop())
  bench.flusher = bench.flusherOn(bench.local)
  // Half of it would pass: the row is not there, but the update of another one is.
  bench.turn(ada, [update(items, ada, 'a', { mark: 'm' }), insert(items, item(ada, 'b', 1))])
  await bench.pass(300)
  assert.deepEqual(bench.database.rows(items), [])
  assert.match(bench.database.park[1]!.error, /parked since seq 1/)
  await bench.wait(bench.flusher.stop())
  bench.database.refuses = null
  bench.flusher = bench.flusherOn(bench.local)
  bench.flusher.start()
  await bench.pass(2_000)
  assert.deepEqual(bench.database.rows(items), [item(ada, 'a', 13, 'm'), item(ada, 'b', 1)])
  assert.deepEqual(bench.database.park, [])
})

test('a refused critical turn waits for its engine, and no longer than five seconds', async () => {
  const bench = new FlusherBench()
  bench.database.refuses = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  const refused = bench.critical(ada, [insert(coins, coin(ada, 'a', 13))])
  const behind = bench.critical(ada, [insert(coins, coin(ada, 'b', 1))])
  const other = bench.critical(bob, [insert(coins, coin(bob, 'c', 1))])
  await bench.pass(100)
  assert.equal(refused.told?.kind, 'refused')
  assert.deepEqual([behind.told, other.told, bench.taken], [null, null, []])
  await bench.pass(5_000, 20)
  assert.deepEqual(bench.taken, [['player/ada', 1]])
  assert.deepEqual([behind.told?.kind, other.told?.kind], ['failed', 'committed'])
  assert.deepEqual(bench.database.rows(coins), [coin(bob, 'c', 1)])
  assert.equal(bench.local.row(ada, coins, ['ada', 'a']), null)
})

test('a refused critical turn for which nobody waits is taken back at once', async () => {
  const bench = new FlusherBench()
  bench.database.refuses = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  bench.turn(ada, [insert(coins, coin(ada, 'a', 13))])
  bench.turn(bob, [insert(items, item(bob, 'b', 1))])
  await bench.pass(200)
  assert.deepEqual(bench.taken, [['player/ada', 1]])
  assert.deepEqual(bench.database.rows(items), [item(bob, 'b', 1)])
})

test('a turn that was refused while an earlier try was on its way is decided under a new epoch', async () => {
  for (const arrives of ['before', 'after'] as const) {
    const bench = new FlusherBench()
    await bench.wait(bench.flusher.ready())
    bench.database.fault('apply', 'held', 'refused', ...(arrives === 'after' ? ['refused' as const] : []))
    if (arrives === 'before') bench.database.fault('lease', 'unavailable')
    const critical = bench.critical(ada, [insert(coins, coin(ada, 'a', 1))])
    if (arrives === 'before') {
      while (bench.asked('apply') < 2) await bench.pass(1, 1)
      assert.deepEqual(bench.database.release(), ['applied'])
      await bench.pass(1_000)
      assert.equal(critical.told?.kind, 'committed')
      assert.deepEqual(bench.taken, [])
      continue
    }
    await bench.pass(1_000)
    assert.equal(critical.told?.kind, 'refused')
    assert.deepEqual(bench.database.release(), ['fenced'], 'it cannot come true any more')
  }
})

test('an entry of another version stops the flush, is said, and goes on when its table is there', async () => {
  const tables = new Map([...byName].filter(([name]) => name !== 'coins'))
  const bench = new FlusherBench(1, { tables })
  bench.turn(ada, [insert(items, item(ada, 'a', 1))])
  bench.turn(ada, [insert(coins, coin(ada, 'c', 1))])
  bench.turn(ada, [insert(items, item(ada, 'b', 1))])
  await bench.pass(70_000, 50)
  assert.deepEqual(bench.sent, ['1..1 insert a=1'])
  const lines = bench.log.lines.filter(({ level }) => level === 'error')
  assert.match(String(lines[0]?.fields['error']), /rows of table coins, which this game does not have/)
  assert.equal(lines.length, 2, 'once a minute')
  tables.set('coins', coins)
  await bench.pass(6_000, 50)
  assert.deepEqual(bench.sent.slice(1), ['2..3 insert c=1 insert b=1'])
})

test('schema and access errors are said once a minute, with what to do', async () => {
  for (const [kind, advice] of [
    ['schema', 'run `firefly migrate`'],
    ['access', 'check user, password, database name and rights'],
  ] as const) {
    const bench = new FlusherBench()
    bench.database.apply = () => Promise.reject(new DatabaseError(kind, 'no'))
    bench.turn(ada, [insert(items, item(ada, 'a', 1))])
    await bench.pass(50_000, 50)
    const lines = bench.log.lines.filter(({ level }) => level === 'error')
    assert.deepEqual(
      lines.map(({ fields }) => fields['advice']),
      [advice],
    )
  }
})

test('a turn that was taken back is never confirmed, however late its commit comes to wait', async () => {
  const bench = new FlusherBench()
  bench.database.refuses = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  bench.turn(ada, [insert(coins, coin(ada, 'a', 13))])
  const behind = bench.turn(ada, [insert(coins, coin(ada, 'b', 1))])
  await bench.pass(200)
  bench.turn(bob, [insert(items, item(bob, 'i', 1))])
  await bench.pass(200)
  assert.ok(bench.flusher.applied > behind)
  const outcome = await bench.flusher.wait(behind, 'player/ada')
  assert.equal(outcome.kind, 'failed')
})

test('parked rows are healed only in a moment in which no commit is on its way', async () => {
  const bench = new FlusherBench()
  bench.database.refuses = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  bench.turn(ada, [insert(items, item(ada, 'a', 13))])
  await bench.pass(59_000, 50)
  bench.database.refuses = null
  const releases: (() => void)[] = []
  bench.local.hold = (release) => void releases.push(release)
  const rows = [update(items, ada, 'a', { n: 2 }), insert(items, item(ada, 'b', 1))]
  const held = bench.local.commit(set(ada, 1, { rows }))
  await bench.pass(5_000, 50)
  assert.deepEqual(bench.database.rows(items), [])
  for (const release of releases) release()
  const outcome = await held
  assert.ok(outcome.kind === 'committed')
  bench.flusher.notice(outcome.seq!)
  bench.local.hold = null
  await bench.pass(130_000, 50)
  assert.deepEqual(bench.database.rows(items), [item(ada, 'a', 2), item(ada, 'b', 1)])
})
