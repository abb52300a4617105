// How a flusher acquires and loses its lease, in the presence of other stores and late takeovers.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { FlusherFixture } from './flusherfixture.ts'
import { writeSet } from './slotfixture.ts'
import { ada, bob, coin, coins, item, items } from './tieredstorefixture.ts'
import { insert } from '../support/tables.ts'

test('ends the flusher permanently at a newer epoch, and confirms no turn', async () => {
  const fixture = await FlusherFixture.ready()
  await fixture.waitFor(fixture.database.takeover('owner', 'f'.repeat(32)))
  const critical = fixture.commitCriticalTurn(ada, [insert(coins, coin(ada, 'a', 1))])
  await fixture.advance(100)
  assert.equal(critical.outcome?.kind, 'unknown')
  assert.match(fixture.notifications[0] ?? '', /taken over by store ffff/)
  assert.deepEqual([fixture.batches, fixture.flusher.metrics.fenced], [[], 1])
  const later = await fixture.flusher.waitForCommit(
    fixture.commitTurn(ada, [insert(coins, coin(ada, 'b', 1))]),
    'player/ada',
  )
  assert.equal(later.kind, 'unknown')
  await assert.rejects(fixture.flusher.whenReady(), /taken over/)
})

test('ends the flusher when the fence has a value that no attempt of it can have set', async () => {
  const fixture = await FlusherFixture.ready()
  fixture.commitTurn(ada, [insert(items, item(ada, 'a', 1))])
  fixture.commitTurn(ada, [insert(items, item(ada, 'b', 1))])
  fixture.database.leases.set('owner', { ...fixture.database.leases.get('owner')!, appliedSeq: 1 })
  await fixture.advance(300)
  assert.match(fixture.notifications[0] ?? '', /fence 1\.\.3 did not match applied_seq 1/)
})

test('survives a takeover of its own store that arrives late', async () => {
  const fixture = new FlusherFixture()
  fixture.database.injectFaults('takeover', 'held')
  await fixture.waitFor(fixture.flusher.whenReady())
  fixture.database.releaseHeld()
  const critical = fixture.commitCriticalTurn(ada, [insert(coins, coin(ada, 'a', 1))])
  await fixture.advance(500)
  assert.equal(critical.outcome?.kind, 'committed')
})

test('keeps, raises or resets the store on a takeover, depending on the lease', async () => {
  const OTHER = 'e'.repeat(32)
  interface Expected {
    readonly flushed: number
    readonly seq: number
    readonly loaded: boolean
  }
  type OldLease = readonly [storeId: 'own' | 'other', appliedSeq: number] | null
  /** Name, lease in MySQL, highest sequence of the store, number of its last entries that are not flushed, and result. */
  const cases: readonly (readonly [string, OldLease, number, number, Expected])[] = [
    ['nothing applied', null, 3, 3, { flushed: 3, seq: 3, loaded: true }],
    ['another store, nothing applied', ['other', 0], 3, 3, { flushed: 3, seq: 3, loaded: true }],
    ['own store, behind the store', ['own', 2], 3, 3, { flushed: 1, seq: 3, loaded: true }],
    ['own store, equal', ['own', 3], 3, 1, { flushed: 0, seq: 3, loaded: true }],
    ['own store, ahead of the store', ['own', 9], 3, 1, { flushed: 0, seq: 9, loaded: false }],
    ['another store, new store', ['other', 9], 0, 0, { flushed: 0, seq: 9, loaded: false }],
    ['another store, rows loaded', ['other', 9], 3, 0, { flushed: 0, seq: 9, loaded: false }],
    ['another store, entries below', ['other', 9], 3, 2, { flushed: 0, seq: 9, loaded: false }],
    ['another store, entries above', ['other', 1], 3, 2, { flushed: 0, seq: 4, loaded: false }],
  ]
  for (const [name, lease, seq, waiting, expected] of cases) {
    for (const fault of [null, 'lost', 'unavailable'] as const) {
      const fixture = new FlusherFixture()
      const outbox = fixture.local.outboxOf('owner')
      fixture.local.fill(ada, [], null, true)
      for (let n = 0; n < seq; n++) {
        fixture.local.commit(writeSet(ada, 1, { rows: [insert(items, item(ada, `i${n}`, n))] }))
      }
      outbox.drop(seq - waiting)
      if (lease) {
        const [owner, appliedSeq] = lease
        const storeId = owner === 'own' ? outbox.storeId : OTHER
        fixture.database.leases.set('owner', { epoch: 4, appliedSeq, storeId })
      }
      if (fault) fixture.database.injectFaults('takeover', fault, fault)
      fixture.database.onApply = () => {}
      await fixture.waitFor(fixture.flusher.whenReady())
      assert.ok(outbox.lastSeq >= expected.seq, `${name}: seq ${outbox.lastSeq}`)
      assert.equal(fixture.local.isLoaded(ada), expected.loaded, name)
      assert.equal(fixture.database.leases.get('owner')?.storeId, outbox.storeId, name)
      await fixture.advance(300)
      assert.equal(fixture.database.rows(items).length, expected.flushed, `${name}: flushed rows`)
      const lost = expected.loaded ? 0 : waiting
      assert.equal(fixture.flusher.metrics.lost, lost, `${name}: lost`)
      assert.equal(fixture.database.parkedRecords.length, lost, `${name}: parked for the operator`)
      // Later turns reach MySQL.
      const { activation } = fixture.local.open(ada)
      fixture.local.commit(writeSet(ada, activation, { rows: [insert(coins, coin(ada, 'c', 1))], critical: true }))
      assert.equal(
        (await fixture.waitFor(fixture.flusher.waitForCommit(outbox.lastSeq, 'player/ada'))).kind,
        'committed',
      )
      assert.equal(fixture.database.rows(coins).length, 1, name)
    }
  }
})

test('recognizes a stale store again after a failed reset', async () => {
  for (const isFirst of [true, false]) {
    const fixture = new FlusherFixture()
    const outbox = fixture.local.outboxOf('owner')
    fixture.local.fill(ada, [], null, true)
    for (let n = 0; n < 3; n++) fixture.local.commit(writeSet(ada, 1, { rows: [insert(items, item(ada, `i${n}`, n))] }))
    outbox.drop(3)
    // One turn ahead: the number of sequences that a reset uses up.
    fixture.database.leases.set('owner', { epoch: 4, appliedSeq: 4, storeId: outbox.storeId })
    const { reset } = outbox
    outbox.reset = () => {
      outbox.reset = reset
      return Promise.reject(new Error('the disk failed'))
    }
    if (!isFirst) outbox.markUnleased()
    await fixture.waitFor(fixture.flusher.whenReady())
    assert.equal(fixture.local.isLoaded(ada), false)
    assert.deepEqual([fixture.flusher.appliedSeq, outbox.leasedSeq], [4, outbox.lastSeq])
  }
})

test('never confirms a turn from before a reset by the sequences of another store', async () => {
  const fixture = new FlusherFixture()
  fixture.database.leases.set('owner', { epoch: 4, appliedSeq: 50, storeId: 'e'.repeat(32) })
  fixture.local.commit(writeSet(ada, 1, { rows: [insert(items, item(ada, 'a', 1))] }))
  fixture.local.outboxOf('owner').drop(1)
  fixture.local.commit(writeSet(ada, 1, { rows: [insert(coins, coin(ada, 'a', 1))], critical: true }))
  await fixture.waitFor(fixture.flusher.whenReady())
  assert.equal(fixture.flusher.appliedSeq, 50)
  const outcome = await fixture.flusher.waitForCommit(2, 'player/ada')
  assert.equal(outcome.kind, 'unknown')
})

test('detects another store that takes the owner over at the same moment', async () => {
  const OTHER = 'e'.repeat(32)
  for (const moment of ['before the epoch', 'before the store id'] as const) {
    const fixture = new FlusherFixture()
    const { database, local } = fixture
    const outbox = local.outboxOf('owner')
    for (let n = 0; n < 60; n++)
      local.commit(writeSet(ada, 1, { rows: [insert(items, item(ada, `i${n}`, n))], critical: n === 59 }))
    outbox.drop(57)
    const first = moment === 'before the epoch'
    database.leases.set('owner', { epoch: 4, appliedSeq: first ? 40 : 50, storeId: first ? outbox.storeId : OTHER })
    const { takeover } = database
    const otherSeq = first ? 55 : 70
    let count = first ? 1 : 2
    database.takeover = (owner, storeId) => {
      const lease = database.leases.get('owner')!
      if (--count === 0)
        database.leases.set('owner', { epoch: lease.epoch + 1, appliedSeq: otherSeq, storeId: 'd'.repeat(32) })
      return takeover.call(database, owner, storeId)
    }
    // The raise of the own store fails once, so the takeover is repeated.
    const { raiseSeq: raise } = outbox
    if (first)
      outbox.raiseSeq = (seq) => {
        outbox.raiseSeq = raise
        return Promise.reject(new Error(`no ${seq}`))
      }
    await fixture.waitFor(fixture.flusher.whenReady())
    assert.deepEqual(fixture.batches, [], moment)
    assert.deepEqual([fixture.flusher.appliedSeq, fixture.flusher.metrics.lost], [otherSeq, 2], moment)
    const critical = fixture.commitCriticalTurn(bob, [insert(coins, coin(bob, 'a', 1))])
    await fixture.advance(1_000)
    assert.equal(critical.outcome?.kind, 'committed')
    assert.equal(database.rows(coins).length, 1, moment)
  }
})
