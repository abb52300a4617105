// One owner's flusher: what it sends, in which batches and when, and what lost answers and late packets do to it.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { RowChange } from '../../core/ports/store.ts'
import { RowCoalescer } from '../../core/outbox/coalescer.ts'
import { FlusherFixture } from './flusherfixture.ts'
import { writeSet } from './slotfixture.ts'
import { ada, bob, coin, coins, insert, item, items, remove, update } from './tiersfixture.ts'

test('what turns did to a row becomes the least that MySQL must do', () => {
  const [put, change, change2, gone] = [
    insert(items, item(ada, 'a', 1)),
    update(items, ada, 'a', { n: 2 }),
    update(items, ada, 'a', { mark: 'm' }),
    remove(items, ada, 'a'),
  ]
  const cases: [RowChange[], string[]][] = [
    [[put], ['insert {"player":"ada","name":"a","n":1,"mark":null}']],
    [[put, change], ['insert {"player":"ada","name":"a","n":2,"mark":null}']],
    [[change, change2], ['update {"n":2,"mark":"m"}']],
    [[put, gone], []],
    [[change, gone], ['delete {}']],
    [[gone], ['delete {}']],
    [
      [gone, put],
      ['delete {}', 'insert {"player":"ada","name":"a","n":1,"mark":null}'],
    ],
    [
      [gone, put, change],
      ['delete {}', 'insert {"player":"ada","name":"a","n":2,"mark":null}'],
    ],
    [[gone, put, gone], ['delete {}']],
    [[put, gone, put], ['insert {"player":"ada","name":"a","n":1,"mark":null}']],
    [
      [change, gone, put, change2],
      ['delete {}', 'insert {"player":"ada","name":"a","n":1,"mark":"m"}'],
    ],
  ]
  for (const [turns, expected] of cases) {
    const rows = new RowCoalescer()
    for (const one of turns) assert.ok(rows.add([one]))
    assert.deepEqual(
      rows.changes().map(({ op, values }) => `${op} ${JSON.stringify(values)}`),
      expected,
    )
  }
})

test('changes that cannot follow each other are left to MySQL, one batch each, and all of their turn with them', () => {
  const [put, change, gone] = [
    insert(items, item(ada, 'a', 1)),
    update(items, ada, 'a', { n: 2 }),
    remove(items, ada, 'a'),
  ]
  for (const [first, second] of [
    [put, put],
    [change, put],
    [gone, gone],
    [gone, change],
  ] as const) {
    const rows = new RowCoalescer()
    assert.ok(rows.add([first]))
    assert.ok(!rows.add([insert(items, item(ada, 'b', 1)), second]))
    assert.equal(rows.size, 1)
  }
})

test('local turns gather for a moment, a critical one takes them with it at once', async () => {
  const bench = new FlusherFixture()
  await bench.waitFor(bench.flusher.whenReady())
  bench.commitTurn(ada, [insert(items, item(ada, 'a', 1))])
  await bench.advance(60)
  bench.commitTurn(bob, [insert(items, item(bob, 'b', 1))])
  await bench.advance(30)
  assert.deepEqual(bench.sentBatches, [])
  await bench.advance(20)
  assert.deepEqual(bench.sentBatches, ['1..3 insert a=1 insert b=1'])
  bench.commitTurn(ada, [update(items, ada, 'a', { n: 2 })])
  const start = bench.clock.mono()
  await bench.waitFor(
    bench.flusher.waitForCommit(bench.commitTurn(ada, [insert(coins, coin(ada, 'c', 1))]), 'player/ada'),
  )
  assert.ok(bench.clock.mono() - start < 10)
  assert.deepEqual(bench.sentBatches.slice(1), ['4..5 update a=2 insert c=1'])
})

test('a full batch goes at once; batches are bounded in rows, entries and bytes', async () => {
  const bench = new FlusherFixture(1, { maxBatch: 10, maxBytes: 100_000 })
  await bench.waitFor(bench.flusher.whenReady())
  await bench.advance(20)
  for (let n = 0; n < 25; n++) bench.commitTurn(ada, [insert(items, item(ada, `i${n}`, n))])
  await bench.advance(20)
  assert.deepEqual(
    bench.batches.map(({ firstSeq: lo, lastSeq: hi }) => [lo, hi]),
    [
      [1, 11],
      [12, 21],
    ],
  )
  const many = Array.from({ length: 9 }, (_, n) => insert(items, item(ada, `m${n}`, n)))
  bench.commitTurn(ada, many)
  await bench.advance(150)
  assert.deepEqual(
    bench.batches.slice(2).map(({ firstSeq: lo, lastSeq: hi, rows }) => [lo, hi, rows.length]),
    [
      [22, 26, 5],
      [27, 27, 9],
    ],
  )
  const small = new FlusherFixture(1, { maxBytes: 60 })
  await small.waitFor(small.flusher.whenReady())
  for (let n = 0; n < 4; n++) small.commitTurn(ada, [insert(items, item(ada, `i${n}`, n))])
  await small.advance(300)
  assert.equal(small.batches.length, 4)
})

test('deletes stand before inserts, so that a unique value can move', async () => {
  const bench = new FlusherFixture()
  bench.commitTurn(ada, [insert(items, item(ada, 'a', 1, 'crown'))])
  await bench.advance(200)
  bench.commitTurn(ada, [remove(items, ada, 'a')])
  bench.commitTurn(ada, [insert(items, item(ada, 'b', 2, 'crown'))])
  bench.commitTurn(ada, [remove(items, ada, 'b')])
  bench.commitTurn(ada, [insert(items, item(ada, 'b', 3, 'crown'))])
  await bench.advance(200)
  assert.deepEqual(bench.sentBatches, ['1..1 insert a=1', '2..5 delete a insert b=3'])
  assert.equal(bench.flusher.metrics.parked, 0)
})

test('unique values that change hands in one batch are sent turn by turn', async () => {
  const bench = new FlusherFixture()
  bench.commitTurn(ada, [insert(items, item(ada, 'a', 1, 'x'))])
  bench.commitTurn(ada, [insert(items, item(ada, 'b', 1, 'y'))])
  await bench.advance(200)
  bench.commitTurn(ada, [update(items, ada, 'a', { mark: 'z' })])
  bench.commitTurn(ada, [update(items, ada, 'b', { mark: 'x' })])
  bench.commitTurn(ada, [update(items, ada, 'a', { mark: 'y' })])
  await bench.advance(200)
  assert.deepEqual(
    bench.database.rows(items).map(({ mark }) => mark),
    ['y', 'x'],
  )
  assert.equal(bench.flusher.metrics.parked, 0)
})

test('of a critical turn MySQL keeps the last mark and the last state of each cast', async () => {
  const bench = new FlusherFixture()
  const mark = (n: number) => ({
    channel: { id: 'c', mark: n, replies: new Uint8Array([n]), nowMs: 0, weight: 0 },
  })
  const cast = (sequence: number) => ({
    sequence,
    target: bob,
    command: 1,
    body: new Uint8Array(0),
    answer: '',
    data: new Uint8Array(0),
  })
  bench.commitTurn(ada, [insert(coins, coin(ada, 'a', 1))], {
    ...mark(1),
    casts: new Map([
      [1, cast(1)],
      [2, cast(2)],
    ]),
  })
  bench.commitTurn(ada, [update(coins, ada, 'a', { n: 2 })], { ...mark(2), casts: new Map([[1, null]]) })
  bench.commitTurn(ada, [insert(items, item(ada, 'i', 1))], mark(3))
  await bench.advance(200)
  const [batch] = bench.batches
  assert.deepEqual(
    batch?.channels.map(({ shard, id, mark }) => [shard, id, mark]),
    [['player/ada', 'c', 2]],
  )
  assert.deepEqual(
    batch?.casts.map(({ sequence, cast }) => [sequence, cast !== null]),
    [
      [1, false],
      [2, true],
    ],
  )
})

test('a lost answer of COMMIT is read back: the batch is not applied twice and its turns are confirmed', async () => {
  const bench = new FlusherFixture()
  bench.database.injectFaults('apply', 'lost')
  const critical = bench.commitCriticalTurn(ada, [insert(coins, coin(ada, 'a', 1))])
  await bench.advance(500)
  assert.deepEqual(critical.told, { kind: 'committed', seq: 1 })
  assert.deepEqual(bench.sentBatches, ['1..1 insert a=1'])
  assert.deepEqual([bench.callCount('apply'), bench.flusher.metrics.retries], [2, 1])
})

test('the read-back may fail as well, and answers may be lost again', async () => {
  const bench = new FlusherFixture()
  bench.database.injectFaults('apply', 'lost', 'lost', 'unavailable')
  bench.database.injectFaults('lease', 'unavailable')
  const critical = bench.commitCriticalTurn(ada, [insert(coins, coin(ada, 'a', 1))])
  await bench.advance(3_000)
  assert.equal(critical.told?.kind, 'committed')
  assert.deepEqual(bench.sentBatches, ['1..1 insert a=1'])
})

test('while MySQL is away nothing is read ahead; then everything drains in order', async () => {
  const bench = new FlusherFixture(7, { maxBatch: 100 })
  await bench.waitFor(bench.flusher.whenReady())
  bench.database.isUnavailable = true
  for (let n = 0; n < 3_000; n++) {
    const name = `i${n % 50}`
    bench.commitTurn(ada, [n < 50 ? insert(items, item(ada, name, n)) : update(items, ada, name, { n })])
    if (n % 10 === 0) await bench.advance(100, 100)
  }
  const outbox = bench.local.outboxOf('owner')
  assert.ok(outbox.entriesRead <= 100, `${outbox.entriesRead} entries are in memory`)
  const { depth, oldestMs, retries } = bench.flusher.metrics
  assert.equal(depth, 3_001, 'the sequence that tells of the lease is no entry')
  assert.ok(oldestMs > 29_000 && oldestMs <= 32_000, `${oldestMs} ms`)
  assert.ok(retries >= 7 && retries <= 20, `${retries} retries in 30 s`)
  bench.database.isUnavailable = false
  await bench.advance(6_000, 20)
  assert.deepEqual([bench.flusher.metrics.depth, bench.flusher.metrics.oldestMs], [0, 0])
  assert.deepEqual(
    bench.database.rows(items),
    bench.local.list(ada, items, { by: {}, descending: false, limit: 0 }),
  )
  assert.equal(bench.flusher.metrics.flushedTurns, 3_000)
  assert.ok(bench.batches.every(({ firstSeq: lo }, i) => lo === (bench.batches[i - 1]?.lastSeq ?? 0) + 1))
})

test('who waits is not kept waiting by a long backoff', async () => {
  const bench = new FlusherFixture()
  bench.commitTurn(ada, [insert(items, item(ada, 'a', 1))])
  bench.database.isUnavailable = true
  await bench.advance(30_000, 50)
  bench.database.isUnavailable = false
  const critical = bench.commitCriticalTurn(ada, [insert(coins, coin(ada, 'c', 1))])
  await bench.advance(330)
  assert.equal(critical.told?.kind, 'committed')
  bench.database.isUnavailable = true
  const another = bench.commitCriticalTurn(ada, [insert(coins, coin(ada, 'd', 1))])
  await bench.advance(20_000, 50)
  bench.database.isUnavailable = false
  await bench.advance(330)
  assert.equal(another.told?.kind, 'committed')
  const lines = bench.log.lines.filter(({ message }) => message.includes('takes nothing'))
  assert.equal(lines.length, 2, 'each outage is told once')
})

test('a stop finishes the transaction that runs; a drain that cannot ends with its deadline', async () => {
  const bench = new FlusherFixture()
  await bench.waitFor(bench.flusher.whenReady())
  const critical = bench.commitCriticalTurn(ada, [insert(coins, coin(ada, 'a', 1))])
  await bench.advance(1, 1)
  await bench.waitFor(bench.flusher.stop())
  assert.equal(critical.told?.kind, 'committed')
  const other = new FlusherFixture()
  other.database.isUnavailable = true
  const waits = other.commitCriticalTurn(ada, [insert(coins, coin(ada, 'a', 1))])
  assert.equal(await other.waitFor(other.flusher.drain(300)), 1)
  await other.waitFor(other.flusher.stop())
  assert.equal(waits.told?.kind, 'unknown')
})

test('an entry that was told of before it was durable is not forgotten', async () => {
  const bench = new FlusherFixture()
  await bench.waitFor(bench.flusher.whenReady())
  const releases: (() => void)[] = []
  bench.local.hold = (release) => void releases.push(release)
  const { activation } = bench.local.open(ada)
  const row = insert(coins, coin(ada, 'a', 1))
  const committed = bench.local.commit(writeSet(ada, activation, { rows: [row], critical: true }))
  const passed = bench.flusher.waitUntilSettled(1, 'player/ada')
  await bench.advance(200)
  assert.deepEqual(bench.batches, [], 'MySQL must not have what a power cut could take back here')
  for (const release of releases) release()
  const outcome = await committed
  assert.ok(outcome.kind === 'committed')
  bench.flusher.entryCommitted(outcome.seq!)
  assert.equal((await bench.waitFor(passed, 50)).kind, 'committed')
})
