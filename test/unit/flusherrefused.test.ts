// What a flusher does with turns that MySQL does not take: parked, taken back, or waited for; and who is told.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { DatabaseError } from '../../core/sql/client.ts'
import { FlusherFixture } from './flusherfixture.ts'
import { writeSet } from './slotfixture.ts'
import { ada, bob, tablesByName, coin, coins, insert, item, items, remove, update } from './tiersfixture.ts'

test('a packet that comes late is refused by the fence, whatever has been sent since', async () => {
  const bench = new FlusherFixture()
  bench.database.injectFaults('apply', 'held')
  bench.commitTurn(ada, [insert(items, item(ada, 'a', 1))])
  await bench.advance(100)
  bench.commitTurn(ada, [update(items, ada, 'a', { n: 2 })])
  await bench.advance(500)
  assert.deepEqual(bench.sentBatches, ['1..1 insert a=1', '2..2 update a=2'])
  assert.deepEqual(bench.database.releaseHeld(), ['fenced'])
  assert.deepEqual(bench.database.rows(items), [item(ada, 'a', 2)])
})

test('a refused local turn is found by halving, parked, and the others pass', async () => {
  const bench = new FlusherFixture()
  await bench.waitFor(bench.flusher.whenReady())
  bench.database.refuseChange = ({ values }) => (values['n'] === 113 ? 'unlucky' : null)
  for (let n = 0; n < 200; n++) bench.commitTurn(ada, [insert(items, item(ada, `i${n}`, n))])
  await bench.advance(2_000)
  assert.equal(bench.database.rows(items).length, 199)
  assert.deepEqual(
    bench.database.parkedRecords.map(({ seq, shard, error }) => [seq, shard, error]),
    [[115, 'player/ada', 'table items: unlucky']],
  )
  assert.ok(bench.flusher.metrics.transactions < 30, `${bench.flusher.metrics.transactions} transactions`)
  assert.equal(bench.flusher.metrics.parked, 1)
  assert.equal(bench.log.lines.filter(({ message }) => message.includes('parked')).length, 1)
  assert.equal(bench.flusher.appliedSeq, 201)
})

test('what touches a parked row is parked too, with all its rows; a critical turn that does is refused', async () => {
  const bench = new FlusherFixture()
  bench.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  bench.commitTurn(ada, [insert(items, item(ada, 'a', 13))])
  bench.commitTurn(ada, [insert(items, item(ada, 'b', 1))])
  await bench.advance(300)
  bench.commitTurn(ada, [update(items, ada, 'a', { n: 14 }), insert(items, item(ada, 'c', 1))])
  bench.commitTurn(ada, [update(items, ada, 'c', { n: 2 })])
  bench.commitTurn(ada, [update(items, ada, 'b', { n: 2 })])
  await bench.advance(300)
  assert.deepEqual(bench.database.rows(items), [item(ada, 'b', 2)])
  assert.deepEqual(
    bench.database.parkedRecords.map(({ seq, error }) => [seq, error]),
    [
      [1, 'table items: unlucky'],
      [3, 'row is parked since seq 1'],
      [4, 'row is parked since seq 3'],
    ],
  )
  const both = [update(items, ada, 'c', { n: 3 }), insert(coins, coin(ada, 'c', 1))]
  const critical = bench.commitCriticalTurn(ada, both)
  await bench.advance(50)
  assert.ok(critical.told?.kind === 'refused' && critical.told.cause.message === 'row is parked since seq 1')
})

test('a turn that saves is refused while one of its shard stands parked, whatever it touches itself', async () => {
  const bench = new FlusherFixture()
  bench.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  bench.commitTurn(ada, [insert(items, item(ada, 'a', 13))])
  await bench.advance(300)
  const without = bench.commitCriticalTurn(ada, [insert(coins, coin(ada, 'c', 1))])
  const other = bench.commitCriticalTurn(bob, [], { critical: true, requiresFlush: true })
  await bench.advance(300)
  assert.deepEqual([without.told?.kind, other.told?.kind], ['committed', 'committed'])
  const saves = bench.commitCriticalTurn(ada, [], { critical: true, requiresFlush: true })
  await bench.advance(300)
  assert.ok(saves.told?.kind === 'refused')
  assert.equal(saves.told.cause.message, 'a turn of this shard is parked since seq 1')
})

test('a turn that saves in the same batch as what MySQL refuses is refused too', async () => {
  const bench = new FlusherFixture()
  bench.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  bench.commitTurn(ada, [insert(items, item(ada, 'a', 13))])
  const saves = bench.commitCriticalTurn(ada, [], { critical: true, requiresFlush: true })
  await bench.advance(300)
  assert.ok(saves.told?.kind === 'refused')
})

test('parked rows are written as the Store has them once MySQL takes them', async () => {
  const bench = new FlusherFixture()
  bench.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  bench.commitTurn(ada, [insert(items, item(ada, 'a', 13)), insert(items, item(ada, 'b', 1))])
  await bench.advance(300)
  bench.commitTurn(ada, [remove(items, ada, 'b')])
  bench.commitTurn(ada, [update(items, ada, 'a', { mark: 'm' })])
  await bench.advance(61_000, 50)
  assert.deepEqual(bench.database.rows(items), [], 'it is still refused')
  bench.database.refuseChange = null
  await bench.advance(61_000, 50)
  assert.deepEqual(bench.database.rows(items), [item(ada, 'a', 13, 'm')])
  assert.ok(bench.hasLogged('MySQL has the rows of a parked turn now'))
  bench.commitTurn(ada, [update(items, ada, 'a', { n: 14 })])
  await bench.advance(300)
  assert.deepEqual(bench.database.rows(items), [item(ada, 'a', 14, 'm')])
  assert.deepEqual(bench.database.parkedRecords, [], 'and with it those that were parked behind it')
})

test('what an earlier process left parked is kept apart after a restart too, and tried again at once', async () => {
  const bench = new FlusherFixture()
  bench.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  bench.commitTurn(ada, [insert(items, item(ada, 'a', 13))])
  await bench.advance(300)
  await bench.waitFor(bench.flusher.stop())
  bench.flusher = bench.flusherOn(bench.local)
  // Half of it would pass: the row is not there, but the update of another one is.
  bench.commitTurn(ada, [update(items, ada, 'a', { mark: 'm' }), insert(items, item(ada, 'b', 1))])
  await bench.advance(300)
  assert.deepEqual(bench.database.rows(items), [])
  assert.match(bench.database.parkedRecords[1]!.error, /parked since seq 1/)
  await bench.waitFor(bench.flusher.stop())
  bench.database.refuseChange = null
  bench.flusher = bench.flusherOn(bench.local)
  bench.flusher.start()
  await bench.advance(2_000)
  assert.deepEqual(bench.database.rows(items), [item(ada, 'a', 13, 'm'), item(ada, 'b', 1)])
  assert.deepEqual(bench.database.parkedRecords, [])
})

test('a refused critical turn waits for its engine, and no longer than five seconds', async () => {
  const bench = new FlusherFixture()
  bench.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  const refused = bench.commitCriticalTurn(ada, [insert(coins, coin(ada, 'a', 13))])
  const behind = bench.commitCriticalTurn(ada, [insert(coins, coin(ada, 'b', 1))])
  const other = bench.commitCriticalTurn(bob, [insert(coins, coin(bob, 'c', 1))])
  await bench.advance(100)
  assert.equal(refused.told?.kind, 'refused')
  assert.deepEqual([behind.told, other.told, bench.rejectedTurns], [null, null, []])
  await bench.advance(5_000, 20)
  assert.deepEqual(bench.rejectedTurns, [['player/ada', 1]])
  assert.deepEqual([behind.told?.kind, other.told?.kind], ['failed', 'committed'])
  assert.deepEqual(bench.database.rows(coins), [coin(bob, 'c', 1)])
  assert.equal(bench.local.row(ada, coins, ['ada', 'a']), null)
})

test('a refused critical turn for which nobody waits is taken back at once', async () => {
  const bench = new FlusherFixture()
  bench.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  bench.commitTurn(ada, [insert(coins, coin(ada, 'a', 13))])
  bench.commitTurn(bob, [insert(items, item(bob, 'b', 1))])
  await bench.advance(200)
  assert.deepEqual(bench.rejectedTurns, [['player/ada', 1]])
  assert.deepEqual(bench.database.rows(items), [item(bob, 'b', 1)])
})

test('a turn that was refused while an earlier try was on its way is decided under a new epoch', async () => {
  for (const arrives of ['before', 'after'] as const) {
    const bench = new FlusherFixture()
    await bench.waitFor(bench.flusher.whenReady())
    bench.database.injectFaults(
      'apply',
      'held',
      'refused',
      ...(arrives === 'after' ? ['refused' as const] : []),
    )
    if (arrives === 'before') bench.database.injectFaults('lease', 'unavailable')
    const critical = bench.commitCriticalTurn(ada, [insert(coins, coin(ada, 'a', 1))])
    if (arrives === 'before') {
      while (bench.callCount('apply') < 2) await bench.advance(1, 1)
      assert.deepEqual(bench.database.releaseHeld(), ['applied'])
      await bench.advance(1_000)
      assert.equal(critical.told?.kind, 'committed')
      assert.deepEqual(bench.rejectedTurns, [])
      continue
    }
    await bench.advance(1_000)
    assert.equal(critical.told?.kind, 'refused')
    assert.deepEqual(bench.database.releaseHeld(), ['fenced'], 'it cannot come true any more')
  }
})

test('an entry of another version stops the flush, is said, and goes on when its table is there', async () => {
  const tables = new Map([...tablesByName].filter(([name]) => name !== 'coins'))
  const bench = new FlusherFixture(1, { tables })
  bench.commitTurn(ada, [insert(items, item(ada, 'a', 1))])
  bench.commitTurn(ada, [insert(coins, coin(ada, 'c', 1))])
  bench.commitTurn(ada, [insert(items, item(ada, 'b', 1))])
  await bench.advance(70_000, 50)
  assert.deepEqual(bench.sentBatches, ['1..1 insert a=1'])
  const lines = bench.log.lines.filter(({ level }) => level === 'error')
  assert.match(String(lines[0]?.fields['error']), /rows of table coins, which this game does not have/)
  assert.equal(lines.length, 2, 'once a minute')
  tables.set('coins', coins)
  await bench.advance(6_000, 50)
  assert.deepEqual(bench.sentBatches.slice(1), ['2..3 insert c=1 insert b=1'])
})

test('schema and access errors are said once a minute, with what to do', async () => {
  for (const [kind, advice] of [
    ['schema', 'run `firefly migrate`'],
    ['access', 'check user, password, database name and rights'],
  ] as const) {
    const bench = new FlusherFixture()
    bench.database.apply = () => Promise.reject(new DatabaseError(kind, 'no'))
    bench.commitTurn(ada, [insert(items, item(ada, 'a', 1))])
    await bench.advance(50_000, 50)
    const lines = bench.log.lines.filter(({ level }) => level === 'error')
    assert.deepEqual(
      lines.map(({ fields }) => fields['advice']),
      [advice],
    )
  }
})

test('a turn that was taken back is never confirmed, however late its commit comes to wait', async () => {
  const bench = new FlusherFixture()
  bench.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  bench.commitTurn(ada, [insert(coins, coin(ada, 'a', 13))])
  const behind = bench.commitTurn(ada, [insert(coins, coin(ada, 'b', 1))])
  await bench.advance(200)
  bench.commitTurn(bob, [insert(items, item(bob, 'i', 1))])
  await bench.advance(200)
  assert.ok(bench.flusher.appliedSeq > behind)
  const outcome = await bench.flusher.waitForCommit(behind, 'player/ada')
  assert.equal(outcome.kind, 'failed')
})

test('parked rows are healed only in a moment in which no commit is on its way', async () => {
  const bench = new FlusherFixture()
  bench.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  bench.commitTurn(ada, [insert(items, item(ada, 'a', 13))])
  await bench.advance(59_000, 50)
  bench.database.refuseChange = null
  const releases: (() => void)[] = []
  bench.local.hold = (release) => void releases.push(release)
  const rows = [update(items, ada, 'a', { n: 2 }), insert(items, item(ada, 'b', 1))]
  const held = bench.local.commit(writeSet(ada, 1, { rows }))
  await bench.advance(5_000, 50)
  assert.deepEqual(bench.database.rows(items), [])
  for (const release of releases) release()
  const outcome = await held
  assert.ok(outcome.kind === 'committed')
  bench.flusher.entryCommitted(outcome.seq!)
  bench.local.hold = null
  await bench.advance(130_000, 50)
  assert.deepEqual(bench.database.rows(items), [item(ada, 'a', 2), item(ada, 'b', 1)])
})
