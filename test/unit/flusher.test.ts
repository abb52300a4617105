// The flusher of one owner: which batches it sends and when, and its behaviour after lost answers.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { BatchMemory } from '../../core/outbox/batchmemory.ts'
import type { RowChange } from '../../core/ports/store.ts'
import { RowCoalescer } from '../../core/outbox/coalescer.ts'
import { FlusherFixture } from './flusherfixture.ts'
import { writeSet } from './slotfixture.ts'
import { ada, bob, coin, coins, item, items, remove, update } from './tieredstorefixture.ts'
import { assertField } from '../support/assertfield.ts'
import { insert } from '../support/tables.ts'

test('coalesces the changes of a row into the net change', () => {
  const [put, change, change2, removal] = [
    insert(items, item(ada, 'a', 1)),
    update(items, ada, 'a', { n: 2 }),
    update(items, ada, 'a', { mark: 'm' }),
    remove(items, ada, 'a'),
  ]
  const cases: [RowChange[], string[]][] = [
    [[put], ['insert {"player":"ada","name":"a","n":1,"mark":null}']],
    [[put, change], ['insert {"player":"ada","name":"a","n":2,"mark":null}']],
    [[change, change2], ['update {"n":2,"mark":"m"}']],
    [[put, removal], []],
    [[change, removal], ['delete {}']],
    [[removal], ['delete {}']],
    [
      [removal, put],
      ['delete {}', 'insert {"player":"ada","name":"a","n":1,"mark":null}'],
    ],
    [
      [removal, put, change],
      ['delete {}', 'insert {"player":"ada","name":"a","n":2,"mark":null}'],
    ],
    [[removal, put, removal], ['delete {}']],
    [[put, removal, put], ['insert {"player":"ada","name":"a","n":1,"mark":null}']],
    [
      [change, removal, put, change2],
      ['delete {}', 'insert {"player":"ada","name":"a","n":1,"mark":"m"}'],
    ],
  ]
  for (const [turns, expected] of cases) {
    const rows = new RowCoalescer()
    for (const turn of turns) assert.ok(rows.add([turn]))
    const changes = rows.changes().map(({ op, values }) => `${op} ${JSON.stringify(values)}`)
    assert.deepEqual(changes, expected)
  }
})

test('rejects a turn whose change cannot follow an earlier one, and adds none of its changes', () => {
  const [put, change, removal] = [
    insert(items, item(ada, 'a', 1)),
    update(items, ada, 'a', { n: 2 }),
    remove(items, ada, 'a'),
  ]
  for (const [first, second] of [
    [put, put],
    [change, put],
    [removal, removal],
    [removal, change],
  ] as const) {
    const rows = new RowCoalescer()
    assert.ok(rows.add([first]))
    assert.ok(!rows.add([insert(items, item(ada, 'b', 1)), second]))
    assert.equal(rows.size, 1)
  }
})

test('delays local turns up to flushMs, and flushes them at once with a critical turn', async () => {
  const fixture = await FlusherFixture.ready()
  fixture.commitTurn(ada, [insert(items, item(ada, 'a', 1))])
  await fixture.advance(60)
  fixture.commitTurn(bob, [insert(items, item(bob, 'b', 1))])
  await fixture.advance(30)
  assert.deepEqual(fixture.sentBatches, [])
  await fixture.advance(20)
  assert.deepEqual(fixture.sentBatches, ['1..3 insert a=1 insert b=1'])
  fixture.commitTurn(ada, [update(items, ada, 'a', { n: 2 })])
  const start = fixture.clock.mono()
  await fixture.waitFor(
    fixture.flusher.waitForCommit(fixture.commitTurn(ada, [insert(coins, coin(ada, 'c', 1))]), 'player/ada'),
  )
  assert.ok(fixture.clock.mono() - start < 10)
  assert.deepEqual(fixture.sentBatches.slice(1), ['4..5 update a=2 insert c=1'])
})

test('flushes a full batch at once; bounds batches in rows, entries and bytes', async () => {
  const fixture = await FlusherFixture.ready(1, { maxBatch: 10, maxBytes: 100_000 })
  await fixture.advance(20)
  for (let n = 0; n < 25; n++) fixture.commitTurn(ada, [insert(items, item(ada, `i${n}`, n))])
  await fixture.advance(20)
  assert.deepEqual(
    fixture.batches.map(({ firstSeq, lastSeq }) => [firstSeq, lastSeq]),
    [
      [1, 11],
      [12, 21],
    ],
  )
  const many = Array.from({ length: 9 }, (_, n) => insert(items, item(ada, `m${n}`, n)))
  fixture.commitTurn(ada, many)
  await fixture.advance(150)
  assert.deepEqual(
    fixture.batches.slice(2).map(({ firstSeq, lastSeq, rows }) => [firstSeq, lastSeq, rows.length]),
    [
      [22, 26, 5],
      [27, 27, 9],
    ],
  )
  const small = await FlusherFixture.ready(1, { maxBytes: 60 })
  for (let n = 0; n < 4; n++) small.commitTurn(ada, [insert(items, item(ada, `i${n}`, n))])
  await small.advance(300)
  assert.equal(small.batches.length, 4)
})

test('a batch takes at most half of the memory that the batches of other flushers leave', async () => {
  const batchMemory = new BatchMemory(1_000_000)
  const other = { heldBytes: 0 }
  batchMemory.add(other)
  const fixture = await FlusherFixture.ready(1, { maxBatch: 100_000, batchMemory })
  const sentTurns = async (): Promise<number> => {
    const before = fixture.batches.length
    for (let n = 0; n < 8; n++) {
      const id = `${before}-${n}-`
      fixture.commitTurn(
        ada,
        Array.from({ length: 1_000 }, (_, i) => insert(items, item(ada, id + i, i))),
      )
    }
    await fixture.advance(2_000)
    return fixture.batches.length - before
  }
  assert.ok((await sentTurns()) <= 3)
  other.heldBytes = 1_000_000
  assert.equal(await sentTurns(), 8)
  other.heldBytes = 0
  assert.ok((await sentTurns()) <= 3)
})

test('puts deletes before inserts, so that a unique value can move', async () => {
  const fixture = new FlusherFixture()
  fixture.commitTurn(ada, [insert(items, item(ada, 'a', 1, 'crown'))])
  await fixture.advance(200)
  fixture.commitTurn(ada, [remove(items, ada, 'a')])
  fixture.commitTurn(ada, [insert(items, item(ada, 'b', 2, 'crown'))])
  fixture.commitTurn(ada, [remove(items, ada, 'b')])
  fixture.commitTurn(ada, [insert(items, item(ada, 'b', 3, 'crown'))])
  await fixture.advance(200)
  assert.deepEqual(fixture.sentBatches, ['1..1 insert a=1', '2..5 delete a insert b=3'])
  assert.equal(fixture.flusher.metrics.parked, 0)
})

test('sends turns one by one when a batch exchanges unique values', async () => {
  const fixture = new FlusherFixture()
  fixture.commitTurn(ada, [insert(items, item(ada, 'a', 1, 'x'))])
  fixture.commitTurn(ada, [insert(items, item(ada, 'b', 1, 'y'))])
  await fixture.advance(200)
  fixture.commitTurn(ada, [update(items, ada, 'a', { mark: 'z' })])
  fixture.commitTurn(ada, [update(items, ada, 'b', { mark: 'x' })])
  fixture.commitTurn(ada, [update(items, ada, 'a', { mark: 'y' })])
  await fixture.advance(200)
  assertField(fixture.database.rows(items), 'mark', ['y', 'x'])
  assert.equal(fixture.flusher.metrics.parked, 0)
})

test('sends the last mark and the last state of each cast of critical turns', async () => {
  const fixture = new FlusherFixture()
  const mark = (n: number) => ({ channel: { id: 'c', mark: n, replies: new Uint8Array([n]), nowMs: 0, weight: 0 } })
  const cast = (sequence: number) => ({
    sequence,
    target: bob,
    command: 1,
    body: new Uint8Array(0),
    answer: '',
    data: new Uint8Array(0),
  })
  fixture.commitTurn(ada, [insert(coins, coin(ada, 'a', 1))], {
    ...mark(1),
    casts: new Map([
      [1, cast(1)],
      [2, cast(2)],
    ]),
  })
  fixture.commitTurn(ada, [update(coins, ada, 'a', { n: 2 })], { ...mark(2), casts: new Map([[1, null]]) })
  fixture.commitTurn(ada, [insert(items, item(ada, 'i', 1))], mark(3))
  await fixture.advance(200)
  const [batch] = fixture.batches
  const marks = batch?.channels.map(({ shard, id, mark }) => [shard, id, mark])
  assert.deepEqual(marks, [['player/ada', 'c', 2]])
  assert.deepEqual(
    batch?.casts.map(({ sequence, cast }) => [sequence, cast !== null]),
    [
      [1, false],
      [2, true],
    ],
  )
})

test('confirms the turns of a batch whose COMMIT answer was lost, and applies it only once', async () => {
  const fixture = new FlusherFixture()
  fixture.database.injectFaults('apply', 'lost')
  const critical = fixture.commitCriticalTurn(ada, [insert(coins, coin(ada, 'a', 1))])
  await fixture.advance(500)
  assert.deepEqual(critical.outcome, { kind: 'committed', seq: 1 })
  assert.deepEqual(fixture.sentBatches, ['1..1 insert a=1'])
  assert.deepEqual([fixture.callCount('apply'), fixture.flusher.metrics.retries], [2, 1])
})

test('recovers when several answers of COMMIT and the read of the lease are lost', async () => {
  const fixture = new FlusherFixture()
  fixture.database.injectFaults('apply', 'lost', 'lost', 'unavailable')
  fixture.database.injectFaults('lease', 'unavailable')
  const critical = fixture.commitCriticalTurn(ada, [insert(coins, coin(ada, 'a', 1))])
  await fixture.advance(3_000)
  assert.equal(critical.outcome?.kind, 'committed')
  assert.deepEqual(fixture.sentBatches, ['1..1 insert a=1'])
})

test('reads no entries ahead while MySQL is unavailable, and then flushes everything in order', async () => {
  const fixture = await FlusherFixture.ready(7, { maxBatch: 100 })
  fixture.database.isUnavailable = true
  for (let n = 0; n < 3_000; n++) {
    const name = `i${n % 50}`
    fixture.commitTurn(ada, [n < 50 ? insert(items, item(ada, name, n)) : update(items, ada, name, { n })])
    if (n % 10 === 0) await fixture.advance(100, 100)
  }
  const outbox = fixture.local.outboxOf('owner')
  assert.ok(outbox.entriesRead <= 100, `${outbox.entriesRead} entries are in memory`)
  const { depth, oldestMs, retries } = fixture.flusher.metrics
  assert.equal(depth, 3_001, 'sequence 1 was used by the takeover and is not an entry')
  assert.ok(oldestMs > 29_000 && oldestMs <= 32_000, `${oldestMs} ms`)
  assert.ok(retries >= 7 && retries <= 20, `${retries} retries in 30 s`)
  fixture.database.isUnavailable = false
  await fixture.advance(6_000, 20)
  assert.deepEqual([fixture.flusher.metrics.depth, fixture.flusher.metrics.oldestMs], [0, 0])
  assert.deepEqual(
    fixture.database.rows(items),
    fixture.local.list(ada, items, { by: {}, descending: false, limit: 0 }),
  )
  assert.equal(fixture.flusher.metrics.flushedTurns, 3_000)
  assert.ok(fixture.batches.every(({ firstSeq }, i) => firstSeq === (fixture.batches[i - 1]?.lastSeq ?? 0) + 1))
})

test('shortens a long backoff when a caller waits', async () => {
  const fixture = new FlusherFixture()
  fixture.commitTurn(ada, [insert(items, item(ada, 'a', 1))])
  fixture.database.isUnavailable = true
  await fixture.advance(30_000, 50)
  fixture.database.isUnavailable = false
  const critical = fixture.commitCriticalTurn(ada, [insert(coins, coin(ada, 'c', 1))])
  await fixture.advance(330)
  assert.equal(critical.outcome?.kind, 'committed')
  fixture.database.isUnavailable = true
  const another = fixture.commitCriticalTurn(ada, [insert(coins, coin(ada, 'd', 1))])
  await fixture.advance(20_000, 50)
  fixture.database.isUnavailable = false
  await fixture.advance(330)
  assert.equal(another.outcome?.kind, 'committed')
  const lines = fixture.log.lines.filter(({ message }) => message.includes('flush to MySQL failed'))
  assert.equal(lines.length, 2, 'one line per outage')
})

test('finishes the running transaction on stop; ends a drain at its deadline', async () => {
  const fixture = await FlusherFixture.ready()
  const critical = fixture.commitCriticalTurn(ada, [insert(coins, coin(ada, 'a', 1))])
  await fixture.advance(1, 1)
  await fixture.waitFor(fixture.flusher.stop())
  assert.equal(critical.outcome?.kind, 'committed')
  const other = new FlusherFixture()
  other.database.isUnavailable = true
  const waiting = other.commitCriticalTurn(ada, [insert(coins, coin(ada, 'a', 1))])
  assert.equal(await other.waitFor(other.flusher.drain(300)), 1)
  await other.waitFor(other.flusher.stop())
  assert.equal(waiting.outcome?.kind, 'unknown')
})

test('flushes an entry that was reported before it was durable', async () => {
  const fixture = await FlusherFixture.ready()
  const releases: (() => void)[] = []
  fixture.local.hold = (release) => void releases.push(release)
  const { activation } = fixture.local.open(ada)
  const row = insert(coins, coin(ada, 'a', 1))
  const committed = fixture.local.commit(writeSet(ada, activation, { rows: [row], critical: true }))
  const settled = fixture.flusher.waitUntilSettled(1, 'player/ada')
  await fixture.advance(200)
  assert.deepEqual(fixture.batches, [], 'MySQL must not have a turn that the store could still lose')
  for (const release of releases) release()
  const outcome = await committed
  assert.ok(outcome.kind === 'committed')
  fixture.flusher.entryCommitted(outcome.seq!)
  assert.equal((await fixture.waitFor(settled, 50)).kind, 'committed')
})
