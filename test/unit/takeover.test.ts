// How a flusher gets its lease and loses it: whose sequences they are, and who else is there.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { FlusherFixture } from './flusherfixture.ts'
import { writeSet } from './slotfixture.ts'
import { ada, bob, coin, coins, insert, item, items } from './tiersfixture.ts'

test('a newer epoch ends the flusher for good: nobody is confirmed', async () => {
  const bench = new FlusherFixture()
  await bench.waitFor(bench.flusher.whenReady())
  await bench.waitFor(bench.database.takeover('owner', 'f'.repeat(32)))
  const critical = bench.commitCriticalTurn(ada, [insert(coins, coin(ada, 'a', 1))])
  await bench.advance(100)
  assert.equal(critical.told?.kind, 'unknown')
  assert.match(bench.notifications[0] ?? '', /taken over by store ffff/)
  assert.deepEqual([bench.batches, bench.flusher.metrics.fenced], [[], 1])
  const later = await bench.flusher.waitForCommit(
    bench.commitTurn(ada, [insert(coins, coin(ada, 'b', 1))]),
    'player/ada',
  )
  assert.equal(later.kind, 'unknown')
  await assert.rejects(bench.flusher.whenReady(), /taken over/)
})

test('a fence that no try of ours can have left ends the flusher', async () => {
  const bench = new FlusherFixture()
  await bench.waitFor(bench.flusher.whenReady())
  bench.commitTurn(ada, [insert(items, item(ada, 'a', 1))])
  bench.commitTurn(ada, [insert(items, item(ada, 'b', 1))])
  bench.database.leases.set('owner', { ...bench.database.leases.get('owner')!, appliedSeq: 1 })
  await bench.advance(300)
  assert.match(bench.notifications[0] ?? '', /fence 1\.\.3 did not match applied_seq 1/)
})

test('a takeover of ours that comes late does not end us', async () => {
  const bench = new FlusherFixture()
  bench.database.injectFaults('takeover', 'held')
  await bench.waitFor(bench.flusher.whenReady())
  bench.database.releaseHeld()
  const critical = bench.commitCriticalTurn(ada, [insert(coins, coin(ada, 'a', 1))])
  await bench.advance(500)
  assert.equal(critical.told?.kind, 'committed')
})

test('what a takeover makes of the store', async () => {
  const OTHER = 'e'.repeat(32)
  interface Case {
    readonly lease: [storeId: 'ours' | 'other', appliedSeq: number] | null
    /** Entries that were flushed and dropped, and that wait. */
    readonly store: { readonly seq: number; readonly waiting: number }
    readonly becomes: { readonly waits: number; readonly seq: number; readonly loaded: boolean }
  }
  const cases: Record<string, Case> = {
    'nothing was applied': {
      lease: null,
      store: { seq: 3, waiting: 3 },
      becomes: { waits: 3, seq: 3, loaded: true },
    },
    'another took it and applied nothing': {
      lease: ['other', 0],
      store: { seq: 3, waiting: 3 },
      becomes: { waits: 3, seq: 3, loaded: true },
    },
    'ours, ahead': {
      lease: ['ours', 2],
      store: { seq: 3, waiting: 3 },
      becomes: { waits: 1, seq: 3, loaded: true },
    },
    'ours, level': {
      lease: ['ours', 3],
      store: { seq: 3, waiting: 1 },
      becomes: { waits: 0, seq: 3, loaded: true },
    },
    'ours, behind': {
      lease: ['ours', 9],
      store: { seq: 3, waiting: 1 },
      becomes: { waits: 0, seq: 9, loaded: false },
    },
    "another's, fresh": {
      lease: ['other', 9],
      store: { seq: 0, waiting: 0 },
      becomes: { waits: 0, seq: 9, loaded: false },
    },
    "another's, rows loaded": {
      lease: ['other', 9],
      store: { seq: 3, waiting: 0 },
      becomes: { waits: 0, seq: 9, loaded: false },
    },
    "another's, entries below": {
      lease: ['other', 9],
      store: { seq: 3, waiting: 2 },
      becomes: { waits: 0, seq: 9, loaded: false },
    },
    "another's, entries above": {
      lease: ['other', 1],
      store: { seq: 3, waiting: 2 },
      becomes: { waits: 0, seq: 4, loaded: false },
    },
  }
  for (const [name, { lease, store, becomes }] of Object.entries(cases)) {
    for (const fault of [null, 'lost', 'unavailable'] as const) {
      const bench = new FlusherFixture()
      const outbox = bench.local.outboxOf('owner')
      bench.local.fill(ada, [], null, true)
      for (let n = 0; n < store.seq; n++) {
        bench.local.commit(writeSet(ada, 1, { rows: [insert(items, item(ada, `i${n}`, n))] }))
      }
      outbox.drop(store.seq - store.waiting)
      if (lease) {
        const [whose, appliedSeq] = lease
        const storeId = whose === 'ours' ? outbox.storeId : OTHER
        bench.database.leases.set('owner', { epoch: 4, appliedSeq, storeId })
      }
      if (fault) bench.database.injectFaults('takeover', fault, fault)
      bench.database.onApply = () => {}
      await bench.waitFor(bench.flusher.whenReady())
      assert.ok(outbox.lastSeq >= becomes.seq, `${name}: seq ${outbox.lastSeq}`)
      assert.equal(bench.local.isLoaded(ada), becomes.loaded, name)
      assert.equal(bench.database.leases.get('owner')?.storeId, outbox.storeId, name)
      await bench.advance(300)
      assert.equal(bench.database.rows(items).length, becomes.waits, `${name}: rows that were flushed`)
      const lost = becomes.loaded ? 0 : store.waiting
      assert.equal(bench.flusher.metrics.lost, lost, `${name}: lost`)
      assert.equal(bench.database.parkedRecords.length, lost, `${name}: kept for the operator`)
      // And whatever comes now is really there.
      const { activation } = bench.local.open(ada)
      bench.local.commit(
        writeSet(ada, activation, { rows: [insert(coins, coin(ada, 'c', 1))], critical: true }),
      )
      assert.equal(
        (await bench.waitFor(bench.flusher.waitForCommit(outbox.lastSeq, 'player/ada'))).kind,
        'committed',
      )
      assert.equal(bench.database.rows(coins).length, 1, name)
    }
  }
})

test('a store that could not be emptied to the end does not look newer for the attempt', async () => {
  for (const isFirst of [true, false]) {
    const bench = new FlusherFixture()
    const outbox = bench.local.outboxOf('owner')
    bench.local.fill(ada, [], null, true)
    for (let n = 0; n < 3; n++)
      bench.local.commit(writeSet(ada, 1, { rows: [insert(items, item(ada, `i${n}`, n))] }))
    outbox.drop(3)
    // One turn ahead: as many as the attempt uses up itself.
    bench.database.leases.set('owner', { epoch: 4, appliedSeq: 4, storeId: outbox.storeId })
    const { reset } = outbox
    outbox.reset = () => {
      outbox.reset = reset
      return Promise.reject(new Error('the disk is away'))
    }
    if (!isFirst) outbox.markUnleased()
    await bench.waitFor(bench.flusher.whenReady())
    assert.equal(bench.local.isLoaded(ada), false)
    assert.deepEqual([bench.flusher.appliedSeq, outbox.leasedSeq], [4, outbox.lastSeq])
  }
})

test("a turn of a store that was emptied is never confirmed by another's sequences", async () => {
  const bench = new FlusherFixture()
  bench.database.leases.set('owner', { epoch: 4, appliedSeq: 50, storeId: 'e'.repeat(32) })
  bench.local.commit(writeSet(ada, 1, { rows: [insert(items, item(ada, 'a', 1))] }))
  bench.local.outboxOf('owner').drop(1)
  bench.local.commit(writeSet(ada, 1, { rows: [insert(coins, coin(ada, 'a', 1))], critical: true }))
  await bench.waitFor(bench.flusher.whenReady())
  assert.equal(bench.flusher.appliedSeq, 50)
  const outcome = await bench.flusher.waitForCommit(2, 'player/ada')
  assert.equal(outcome.kind, 'unknown')
})

test('a store that takes the owner at the same moment does not pass for us', async () => {
  const OTHER = 'e'.repeat(32)
  for (const moment of ['before our claim', 'before our name'] as const) {
    const bench = new FlusherFixture()
    const { database, local } = bench
    const outbox = local.outboxOf('owner')
    for (let n = 0; n < 60; n++)
      local.commit(writeSet(ada, 1, { rows: [insert(items, item(ada, `i${n}`, n))], critical: n === 59 }))
    outbox.drop(57)
    const first = moment === 'before our claim'
    database.leases.set('owner', {
      epoch: 4,
      appliedSeq: first ? 40 : 50,
      storeId: first ? outbox.storeId : OTHER,
    })
    const { takeover } = database
    const theirs = first ? 55 : 70
    let count = first ? 1 : 2
    database.takeover = (owner, storeId) => {
      const lease = database.leases.get('owner')!
      if (--count === 0)
        database.leases.set('owner', { epoch: lease.epoch + 1, appliedSeq: theirs, storeId: 'd'.repeat(32) })
      return takeover.call(database, owner, storeId)
    }
    // And what we then do with our store has to be done again.
    const { raiseSeq: raise } = outbox
    if (first)
      outbox.raiseSeq = (seq) => {
        outbox.raiseSeq = raise
        return Promise.reject(new Error(`no ${seq}`))
      }
    await bench.waitFor(bench.flusher.whenReady())
    assert.deepEqual(bench.batches, [], moment)
    assert.deepEqual([bench.flusher.appliedSeq, bench.flusher.metrics.lost], [theirs, 2], moment)
    const critical = bench.commitCriticalTurn(bob, [insert(coins, coin(bob, 'a', 1))])
    await bench.advance(1_000)
    assert.equal(critical.told?.kind, 'committed')
    assert.equal(database.rows(coins).length, 1, moment)
  }
})
