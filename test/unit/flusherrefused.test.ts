// Turns that MySQL refuses: the flusher parks local turns, takes critical ones back, and reports both.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { DatabaseError, type DatabaseErrorOptions } from '../../core/sql/client.ts'
import { FlusherFixture } from './flusherfixture.ts'
import { writeSet } from './slotfixture.ts'
import { ada, bob, tablesByName, coin, coins, item, items, remove, update } from './tieredstorefixture.ts'
import { insert } from '../support/tables.ts'

test('fences off a transaction that arrives late', async () => {
  const fixture = new FlusherFixture()
  fixture.database.injectFaults('apply', 'held')
  fixture.commitTurn(ada, [insert(items, item(ada, 'a', 1))])
  await fixture.advance(100)
  fixture.commitTurn(ada, [update(items, ada, 'a', { n: 2 })])
  await fixture.advance(500)
  assert.deepEqual(fixture.sentBatches, ['1..1 insert a=1', '2..2 update a=2'])
  assert.deepEqual(fixture.database.releaseHeld(), ['fenced'])
  assert.deepEqual(fixture.database.rows(items), [item(ada, 'a', 2)])
})

test('finds a refused local turn by halving the batch, parks it and flushes the others', async () => {
  const fixture = await FlusherFixture.ready()
  fixture.database.refuseChange = ({ values }) => (values['n'] === 113 ? 'unlucky' : null)
  for (let n = 0; n < 200; n++) fixture.commitTurn(ada, [insert(items, item(ada, `i${n}`, n))])
  await fixture.advance(2_000)
  assert.equal(fixture.database.rows(items).length, 199)
  const parked = fixture.database.parkedRecords.map(({ seq, shard, error }) => [seq, shard, error])
  assert.deepEqual(parked, [[115, 'player/ada', 'table items: unlucky']])
  assert.ok(fixture.flusher.metrics.transactions < 30, `${fixture.flusher.metrics.transactions} transactions`)
  assert.equal(fixture.flusher.metrics.parked, 1)
  assert.equal(fixture.log.lines.filter(({ message }) => message.includes('parked')).length, 1)
  assert.equal(fixture.flusher.appliedSeq, 201)
})

test('parks a turn that changes a parked row, with all its rows; refuses a critical one', async () => {
  const fixture = new FlusherFixture()
  fixture.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  fixture.commitTurn(ada, [insert(items, item(ada, 'a', 13))])
  fixture.commitTurn(ada, [insert(items, item(ada, 'b', 1))])
  await fixture.advance(300)
  fixture.commitTurn(ada, [update(items, ada, 'a', { n: 14 }), insert(items, item(ada, 'c', 1))])
  fixture.commitTurn(ada, [update(items, ada, 'c', { n: 2 })])
  fixture.commitTurn(ada, [update(items, ada, 'b', { n: 2 })])
  await fixture.advance(300)
  assert.deepEqual(fixture.database.rows(items), [item(ada, 'b', 2)])
  assert.deepEqual(
    fixture.database.parkedRecords.map(({ seq, error }) => [seq, error]),
    [
      [1, 'table items: unlucky'],
      [3, 'row is parked since seq 1'],
      [4, 'row is parked since seq 3'],
    ],
  )
  const both = [update(items, ada, 'c', { n: 3 }), insert(coins, coin(ada, 'c', 1))]
  const critical = fixture.commitCriticalTurn(ada, both)
  await fixture.advance(50)
  assert.ok(critical.outcome?.kind === 'refused' && critical.outcome.cause.message === 'row is parked since seq 1')
})

test('refuses a turn that requires a flush while a turn of its shard is parked', async () => {
  const fixture = new FlusherFixture()
  fixture.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  fixture.commitTurn(ada, [insert(items, item(ada, 'a', 13))])
  await fixture.advance(300)
  const without = fixture.commitCriticalTurn(ada, [insert(coins, coin(ada, 'c', 1))])
  const other = fixture.commitCriticalTurn(bob, [], { critical: true, requiresFlush: true })
  await fixture.advance(300)
  assert.deepEqual([without.outcome?.kind, other.outcome?.kind], ['committed', 'committed'])
  const flushing = fixture.commitCriticalTurn(ada, [], { critical: true, requiresFlush: true })
  await fixture.advance(300)
  assert.ok(flushing.outcome?.kind === 'refused')
  assert.equal(flushing.outcome.cause.message, 'a turn of this shard is parked since seq 1')
})

test('refuses a turn that requires a flush in the same batch as a refused turn', async () => {
  const fixture = new FlusherFixture()
  fixture.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  fixture.commitTurn(ada, [insert(items, item(ada, 'a', 13))])
  const flushing = fixture.commitCriticalTurn(ada, [], { critical: true, requiresFlush: true })
  await fixture.advance(300)
  assert.ok(flushing.outcome?.kind === 'refused')
})

test('writes parked rows with the values of the Store when MySQL accepts them', async () => {
  const fixture = new FlusherFixture()
  fixture.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  fixture.commitTurn(ada, [insert(items, item(ada, 'a', 13)), insert(items, item(ada, 'b', 1))])
  await fixture.advance(300)
  fixture.commitTurn(ada, [remove(items, ada, 'b')])
  fixture.commitTurn(ada, [update(items, ada, 'a', { mark: 'm' })])
  await fixture.advance(61_000, 50)
  assert.deepEqual(fixture.database.rows(items), [], 'it is still refused')
  fixture.database.refuseChange = null
  await fixture.advance(61_000, 50)
  assert.deepEqual(fixture.database.rows(items), [item(ada, 'a', 13, 'm')])
  assert.ok(fixture.hasLogged('MySQL accepted the rows of a parked turn'))
  fixture.commitTurn(ada, [update(items, ada, 'a', { n: 14 })])
  await fixture.advance(300)
  assert.deepEqual(fixture.database.rows(items), [item(ada, 'a', 14, 'm')])
  assert.deepEqual(fixture.database.parkedRecords, [], 'the turns that were parked with it are removed too')
})

test('restores parked turns after a restart, and retries them at once', async () => {
  const fixture = new FlusherFixture()
  fixture.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  fixture.commitTurn(ada, [insert(items, item(ada, 'a', 13))])
  await fixture.advance(300)
  await fixture.waitFor(fixture.flusher.stop())
  fixture.flusher = fixture.flusherOn(fixture.local)
  // Half of it would pass: the row is not there, but the update of another one is.
  fixture.commitTurn(ada, [update(items, ada, 'a', { mark: 'm' }), insert(items, item(ada, 'b', 1))])
  await fixture.advance(300)
  assert.deepEqual(fixture.database.rows(items), [])
  assert.match(fixture.database.parkedRecords[1]!.error, /parked since seq 1/)
  await fixture.waitFor(fixture.flusher.stop())
  fixture.database.refuseChange = null
  fixture.flusher = fixture.flusherOn(fixture.local)
  fixture.flusher.start()
  await fixture.advance(2_000)
  assert.deepEqual(fixture.database.rows(items), [item(ada, 'a', 13, 'm'), item(ada, 'b', 1)])
  assert.deepEqual(fixture.database.parkedRecords, [])
})

test('takes a refused critical turn back itself when its engine does not within five seconds', async () => {
  const fixture = new FlusherFixture()
  fixture.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  const refused = fixture.commitCriticalTurn(ada, [insert(coins, coin(ada, 'a', 13))])
  const behind = fixture.commitCriticalTurn(ada, [insert(coins, coin(ada, 'b', 1))])
  const other = fixture.commitCriticalTurn(bob, [insert(coins, coin(bob, 'c', 1))])
  await fixture.advance(100)
  assert.equal(refused.outcome?.kind, 'refused')
  assert.deepEqual([behind.outcome, other.outcome, fixture.rejectedTurns], [null, null, []])
  await fixture.advance(5_000, 20)
  assert.deepEqual(fixture.rejectedTurns, [['player/ada', 1]])
  assert.deepEqual([behind.outcome?.kind, other.outcome?.kind], ['failed', 'committed'])
  assert.deepEqual(fixture.database.rows(coins), [coin(bob, 'c', 1)])
  assert.equal(fixture.local.row(ada, coins, ['ada', 'a']), null)
})

test('takes a refused critical turn back at once when no commit waits for it', async () => {
  const fixture = new FlusherFixture()
  fixture.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  fixture.commitTurn(ada, [insert(coins, coin(ada, 'a', 13))])
  fixture.commitTurn(bob, [insert(items, item(bob, 'b', 1))])
  await fixture.advance(200)
  assert.deepEqual(fixture.rejectedTurns, [['player/ada', 1]])
  assert.deepEqual(fixture.database.rows(items), [item(bob, 'b', 1)])
})

test('decides a turn under a new epoch when it was refused while an earlier attempt may still arrive', async () => {
  for (const arrives of ['before', 'after'] as const) {
    const fixture = await FlusherFixture.ready()
    fixture.database.injectFaults('apply', 'held', 'refused', ...(arrives === 'after' ? ['refused' as const] : []))
    if (arrives === 'before') fixture.database.injectFaults('lease', 'unavailable')
    const critical = fixture.commitCriticalTurn(ada, [insert(coins, coin(ada, 'a', 1))])
    if (arrives === 'before') {
      while (fixture.callCount('apply') < 2) await fixture.advance(1, 1)
      assert.deepEqual(fixture.database.releaseHeld(), ['applied'])
      await fixture.advance(1_000)
      assert.equal(critical.outcome?.kind, 'committed')
      assert.deepEqual(fixture.rejectedTurns, [])
      continue
    }
    await fixture.advance(1_000)
    assert.equal(critical.outcome?.kind, 'refused')
    assert.deepEqual(fixture.database.releaseHeld(), ['fenced'], 'the earlier attempt is fenced off')
  }
})

test('stops at an entry of another version, logs it, and goes on when its table exists', async () => {
  const tables = new Map([...tablesByName].filter(([name]) => name !== 'coins'))
  const fixture = new FlusherFixture(1, { tables })
  fixture.commitTurn(ada, [insert(items, item(ada, 'a', 1))])
  fixture.commitTurn(ada, [insert(coins, coin(ada, 'c', 1))])
  fixture.commitTurn(ada, [insert(items, item(ada, 'b', 1))])
  await fixture.advance(70_000, 50)
  assert.deepEqual(fixture.sentBatches, ['1..1 insert a=1'])
  const lines = fixture.log.lines.filter(({ level }) => level === 'error')
  assert.match(String(lines[0]?.fields['error']), /rows of table coins, which this game does not have/)
  assert.equal(lines.length, 2, 'once a minute')
  tables.set('coins', coins)
  await fixture.advance(6_000, 50)
  assert.deepEqual(fixture.sentBatches.slice(1), ['2..3 insert c=1 insert b=1'])
})

test('logs schema and access errors once a minute, with advice', async () => {
  for (const [kind, advice] of [
    ['schema', 'run `firefly migrate`'],
    ['access', 'check user, password, database name and rights'],
  ] as const) {
    const fixture = new FlusherFixture()
    fixture.database.apply = () => Promise.reject(new DatabaseError(kind, 'no'))
    fixture.commitTurn(ada, [insert(items, item(ada, 'a', 1))])
    await fixture.advance(50_000, 50)
    const lines = fixture.log.lines.filter(({ level }) => level === 'error')
    const advices = lines.map(({ fields }) => fields['advice'])
    assert.deepEqual(advices, [advice])
  }
})

test('never confirms a turn that was taken back before its commit started to wait', async () => {
  const fixture = new FlusherFixture()
  fixture.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  fixture.commitTurn(ada, [insert(coins, coin(ada, 'a', 13))])
  const behind = fixture.commitTurn(ada, [insert(coins, coin(ada, 'b', 1))])
  await fixture.advance(200)
  fixture.commitTurn(bob, [insert(items, item(bob, 'i', 1))])
  await fixture.advance(200)
  assert.ok(fixture.flusher.appliedSeq > behind)
  const outcome = await fixture.flusher.waitForCommit(behind, 'player/ada')
  assert.equal(outcome.kind, 'failed')
})

test('retries parked rows only while no commit is in progress', async () => {
  const fixture = new FlusherFixture()
  fixture.database.refuseChange = ({ values }) => (values['n'] === 13 ? 'unlucky' : null)
  fixture.commitTurn(ada, [insert(items, item(ada, 'a', 13))])
  await fixture.advance(59_000, 50)
  fixture.database.refuseChange = null
  const releases: (() => void)[] = []
  fixture.local.hold = (release) => void releases.push(release)
  const rows = [update(items, ada, 'a', { n: 2 }), insert(items, item(ada, 'b', 1))]
  const held = fixture.local.commit(writeSet(ada, 1, { rows }))
  await fixture.advance(5_000, 50)
  assert.deepEqual(fixture.database.rows(items), [])
  for (const release of releases) release()
  const outcome = await held
  assert.ok(outcome.kind === 'committed')
  fixture.flusher.entryCommitted(outcome.seq!)
  fixture.local.hold = null
  await fixture.advance(130_000, 50)
  assert.deepEqual(fixture.database.rows(items), [item(ada, 'a', 2), item(ada, 'b', 1)])
})

/** An error that no list has, of the statement that writes this row. */
function unlistedError(table: string, options: Partial<DatabaseErrorOptions> = {}): DatabaseError {
  return new DatabaseError('unavailable', 'odd', { errno: 9_999, statement: 1, table, ...options })
}

test('isolates a turn with an error that no list has, and goes on with the others', async () => {
  const fixture = await FlusherFixture.ready()
  const other = fixture.commitCriticalTurn(bob, [insert(coins, coin(bob, 'c', 1))])
  await fixture.advance(50)
  assert.equal(other.outcome?.kind, 'committed')
  fixture.database.refuseChange = ({ values, table }) => (values['n'] === 13 ? unlistedError(table.name) : null)
  fixture.commitTurn(ada, [insert(items, item(ada, 'a', 13))])
  const refused = fixture.commitCriticalTurn(ada, [insert(coins, coin(ada, 'b', 13))])
  const behind = fixture.commitCriticalTurn(bob, [insert(coins, coin(bob, 'd', 1))])
  await fixture.advance(8_000, 20)
  assert.equal(refused.outcome?.kind, 'refused')
  await fixture.advance(5_000, 20)
  assert.equal(behind.outcome?.kind, 'committed')
  assert.deepEqual(
    fixture.database.parkedRecords.map(({ seq, error }) => [seq, error]),
    [[3, 'odd']],
  )
  assert.ok(fixture.hasLogged('MySQL keeps refusing these rows'))
  const { transactions } = fixture.flusher.metrics
  fixture.commitTurn(bob, [insert(items, item(bob, 'e', 13))])
  await fixture.advance(300)
  const further = fixture.flusher.metrics.transactions - transactions
  assert.ok(further <= 3, `${further} transactions: the same error is not tried several times again`)
  assert.equal(fixture.database.parkedRecords.length, 2)
})

test('isolates nothing while MySQL stores no other data, or fails before the rows', async () => {
  for (const [error, isProbed] of [
    [unlistedError('items'), true],
    [unlistedError('items', { statement: 0 }), false],
    [unlistedError('items', { statement: -1 }), false],
    [new DatabaseError('unavailable', 'lost COMMIT', { statement: 2 }), false],
    [new DatabaseError('access', 'whole server', { errno: 1045 }), false],
  ] as const) {
    const fixture = await FlusherFixture.ready()
    let probes = 0
    fixture.database.refuseChange = () => error
    fixture.database.probe = () => Promise.reject(new DatabaseError('unavailable', `probe ${++probes}`))
    const turn = fixture.commitCriticalTurn(ada, [insert(items, item(ada, 'a', 1))])
    await fixture.advance(30_000, 20)
    assert.deepEqual([turn.outcome, fixture.rejectedTurns, fixture.database.parkedRecords], [null, [], []])
    assert.equal(probes > 0, isProbed, error.message)
    fixture.database.refuseChange = null
    await fixture.advance(6_000, 20)
    assert.match(JSON.stringify(turn.outcome), /committed/, error.message)
  }
})

test('sends nothing to a locked table for a while, and writes its rows when the lock is gone', async () => {
  const fixture = await FlusherFixture.ready()
  let attempts = 0
  fixture.database.refuseChange = ({ table }) =>
    table === items && ++attempts > 0 ? unlistedError('items', { errno: 1205 }) : null
  for (let i = 0; i < 20; i++) fixture.commitTurn(ada, [insert(items, item(ada, `i${i}`, i))])
  const other = fixture.commitCriticalTurn(bob, [insert(coins, coin(bob, 'c', 1))])
  await fixture.advance(3_000, 20)
  assert.equal(other.outcome?.kind, 'committed')
  assert.equal(fixture.flusher.metrics.refusedTables, 1)
  assert.ok(attempts < 10, `${attempts} attempts`)
  assert.equal(fixture.database.parkedRecords.length, 20)
  const critical = fixture.commitCriticalTurn(ada, [insert(items, item(ada, 'x', 1))], { critical: true })
  await fixture.advance(50)
  assert.equal(critical.outcome?.kind, 'refused')
  fixture.database.refuseChange = null
  await fixture.advance(70_000, 50)
  assert.equal(fixture.database.rows(items).length, 20)
  assert.deepEqual([fixture.database.parkedRecords, fixture.flusher.metrics.refusedTables], [[], 0])
})

test('parks a turn without its values when MySQL refuses the record, and writes them from the Store later', async () => {
  const fixture = await FlusherFixture.ready()
  const { database } = fixture
  database.refuseChange = () => 'unlucky'
  const apply = database.apply.bind(database)
  database.apply = (batch) =>
    batch.parked.some(({ data }) => data.length > 200)
      ? Promise.reject(new DatabaseError('refused', 'too large', { errno: 1153, statement: 1 }))
      : apply(batch)
  const rows = Array.from({ length: 5 }, (_, n) => item(ada, `i${n}`, n, `a long mark ${n}`))
  const changes = rows.map((row) => insert(items, row))
  fixture.commitTurn(ada, changes)
  await fixture.advance(2_000)
  assert.equal(database.parkedRecords.length, 1)
  database.refuseChange = null
  await fixture.advance(70_000, 50)
  assert.deepEqual(database.rows(items), rows)
})
