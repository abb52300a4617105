// One owner's flusher: what it sends, in which batches and when, and what lost answers and late packets do to it.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { RowChange } from '../../core/run/ports.ts'
import { Coalesced } from '../../core/tiers/coalesce.ts'
import { FlusherBench } from './flusherbench.ts'
import { set } from './slotbench.ts'
import { ada, bob, coin, coins, insert, item, items, remove, update } from './tiersbench.ts'

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
    const rows = new Coalesced()
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
    const rows = new Coalesced()
    assert.ok(rows.add([first]))
    assert.ok(!rows.add([insert(items, item(ada, 'b', 1)), second]))
    assert.equal(rows.size, 1)
  }
})

test('local turns gather for a moment, a critical one takes them with it at once', async () => {
  const bench = new FlusherBench()
  await bench.wait(bench.flusher.ready())
  bench.turn(ada, [insert(items, item(ada, 'a', 1))])
  await bench.pass(60)
  bench.turn(bob, [insert(items, item(bob, 'b', 1))])
  await bench.pass(30)
  assert.deepEqual(bench.sent, [])
  await bench.pass(20)
  assert.deepEqual(bench.sent, ['1..3 insert a=1 insert b=1'])
  bench.turn(ada, [update(items, ada, 'a', { n: 2 })])
  const start = bench.clock.mono()
  await bench.wait(bench.flusher.wait(bench.turn(ada, [insert(coins, coin(ada, 'c', 1))]), 'player/ada'))
  assert.ok(bench.clock.mono() - start < 10)
  assert.deepEqual(bench.sent.slice(1), ['4..5 update a=2 insert c=1'])
})

test('a full batch goes at once; batches are bounded in rows, entries and bytes', async () => {
  const bench = new FlusherBench(1, { maxBatch: 10, maxBytes: 100_000 })
  await bench.wait(bench.flusher.ready())
  await bench.pass(20)
  for (let n = 0; n < 25; n++) bench.turn(ada, [insert(items, item(ada, `i${n}`, n))])
  await bench.pass(20)
  assert.deepEqual(
    bench.batches.map(({ lo, hi }) => [lo, hi]),
    [
      [1, 11],
      [12, 21],
    ],
  )
  const many = Array.from({ length: 9 }, (_, n) => insert(items, item(ada, `m${n}`, n)))
  bench.turn(ada, many)
  await bench.pass(150)
  assert.deepEqual(
    bench.batches.slice(2).map(({ lo, hi, rows }) => [lo, hi, rows.length]),
    [
      [22, 26, 5],
      [27, 27, 9],
    ],
  )
  const small = new FlusherBench(1, { maxBytes: 60 })
  await small.wait(small.flusher.ready())
  for (let n = 0; n < 4; n++) small.turn(ada, [insert(items, item(ada, `i${n}`, n))])
  await small.pass(300)
  assert.equal(small.batches.length, 4)
})

test('deletes stand before inserts, so that a unique value can move', async () => {
  const bench = new FlusherBench()
  bench.turn(ada, [insert(items, item(ada, 'a', 1, 'crown'))])
  await bench.pass(200)
  bench.turn(ada, [remove(items, ada, 'a')])
  bench.turn(ada, [insert(items, item(ada, 'b', 2, 'crown'))])
  bench.turn(ada, [remove(items, ada, 'b')])
  bench.turn(ada, [insert(items, item(ada, 'b', 3, 'crown'))])
  await bench.pass(200)
  assert.deepEqual(bench.sent, ['1..1 insert a=1', '2..5 delete a insert b=3'])
  assert.equal(bench.flusher.metrics.parked, 0)
})

test('unique values that change hands in one batch are sent turn by turn', async () => {
  const bench = new FlusherBench()
  bench.turn(ada, [insert(items, item(ada, 'a', 1, 'x'))])
  bench.turn(ada, [insert(items, item(ada, 'b', 1, 'y'))])
  await bench.pass(200)
  bench.turn(ada, [update(items, ada, 'a', { mark: 'z' })])
  bench.turn(ada, [update(items, ada, 'b', { mark: 'x' })])
  bench.turn(ada, [update(items, ada, 'a', { mark: 'y' })])
  await bench.pass(200)
  assert.deepEqual(
    bench.database.rows(items).map(({ mark }) => mark),
    ['y', 'x'],
  )
  assert.equal(bench.flusher.metrics.parked, 0)
})

test('of a critical turn MySQL keeps the last mark and the last state of each cast', async () => {
  const bench = new FlusherBench()
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
  bench.turn(ada, [insert(coins, coin(ada, 'a', 1))], {
    ...mark(1),
    casts: new Map([
      [1, cast(1)],
      [2, cast(2)],
    ]),
  })
  bench.turn(ada, [update(coins, ada, 'a', { n: 2 })], { ...mark(2), casts: new Map([[1, null]]) })
  bench.turn(ada, [insert(items, item(ada, 'i', 1))], mark(3))
  await bench.pass(200)
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
  const bench = new FlusherBench()
  bench.database.fault('apply', 'lost')
  const critical = bench.critical(ada, [insert(coins, coin(ada, 'a', 1))])
  await bench.pass(500)
  assert.deepEqual(critical.told, { kind: 'committed', seq: 1 })
  assert.deepEqual(bench.sent, ['1..1 insert a=1'])
  assert.deepEqual([bench.asked('apply'), bench.flusher.metrics.retries], [2, 1])
})

test('the read-back may fail as well, and answers may be lost again', async () => {
  const bench = new FlusherBench()
  bench.database.fault('apply', 'lost', 'lost', 'unavailable')
  bench.database.fault('lease', 'unavailable')
  const critical = bench.critical(ada, [insert(coins, coin(ada, 'a', 1))])
  await bench.pass(3_000)
  assert.equal(critical.told?.kind, 'committed')
  assert.deepEqual(bench.sent, ['1..1 insert a=1'])
})

test('while MySQL is away nothing is read ahead; then everything drains in order', async () => {
  const bench = new FlusherBench(7, { maxBatch: 100 })
  await bench.wait(bench.flusher.ready())
  bench.database.away = true
  for (let n = 0; n < 3_000; n++) {
    const name = `i${n % 50}`
    bench.turn(ada, [n < 50 ? insert(items, item(ada, name, n)) : update(items, ada, name, { n })])
    if (n % 10 === 0) await bench.pass(100, 100)
  }
  const outbox = bench.local.outbox('owner')
  assert.ok(outbox.entriesRead <= 100, `${outbox.entriesRead} entries are in memory`)
  const { depth, oldestMs, retries } = bench.flusher.metrics
  assert.equal(depth, 3_001, 'the sequence that tells of the lease is no entry')
  assert.ok(oldestMs > 29_000 && oldestMs <= 32_000, `${oldestMs} ms`)
  assert.ok(retries >= 7 && retries <= 20, `${retries} retries in 30 s`)
  bench.database.away = false
  await bench.pass(6_000, 20)
  assert.deepEqual([bench.flusher.metrics.depth, bench.flusher.metrics.oldestMs], [0, 0])
  assert.deepEqual(
    bench.database.rows(items),
    bench.local.list(ada, items, { by: {}, descending: false, limit: 0 }),
  )
  assert.equal(bench.flusher.metrics.flushedTurns, 3_000)
  assert.ok(bench.batches.every(({ lo }, i) => lo === (bench.batches[i - 1]?.hi ?? 0) + 1))
})

test('who waits is not kept waiting by a long backoff', async () => {
  const bench = new FlusherBench()
  bench.turn(ada, [insert(items, item(ada, 'a', 1))])
  bench.database.away = true
  await bench.pass(30_000, 50)
  bench.database.away = false
  const critical = bench.critical(ada, [insert(coins, coin(ada, 'c', 1))])
  await bench.pass(330)
  assert.equal(critical.told?.kind, 'committed')
  bench.database.away = true
  const another = bench.critical(ada, [insert(coins, coin(ada, 'd', 1))])
  await bench.pass(20_000, 50)
  bench.database.away = false
  await bench.pass(330)
  assert.equal(another.told?.kind, 'committed')
  const lines = bench.log.lines.filter(({ message }) => message.includes('takes nothing'))
  assert.equal(lines.length, 2, 'each outage is told once')
})

test('a stop finishes the transaction that runs; a drain that cannot ends with its deadline', async () => {
  const bench = new FlusherBench()
  await bench.wait(bench.flusher.ready())
  const critical = bench.critical(ada, [insert(coins, coin(ada, 'a', 1))])
  await bench.pass(1, 1)
  await bench.wait(bench.flusher.stop())
  assert.equal(critical.told?.kind, 'committed')
  const other = new FlusherBench()
  other.database.away = true
  const waits = other.critical(ada, [insert(coins, coin(ada, 'a', 1))])
  assert.equal(await other.wait(other.flusher.drain(300)), 1)
  await other.wait(other.flusher.stop())
  assert.equal(waits.told?.kind, 'unknown')
})

test('an entry that was told of before it was durable is not forgotten', async () => {
  const bench = new FlusherBench()
  await bench.wait(bench.flusher.ready())
  const releases: (() => void)[] = []
  bench.local.hold = (release) => void releases.push(release)
  const { activation } = bench.local.open(ada)
  const row = insert(coins, coin(ada, 'a', 1))
  const committed = bench.local.commit(set(ada, activation, { rows: [row], critical: true }))
  const passed = bench.flusher.passed(1, 'player/ada')
  await bench.pass(200)
  assert.deepEqual(bench.batches, [], 'MySQL must not have what a power cut could take back here')
  for (const release of releases) release()
  const outcome = await committed
  assert.ok(outcome.kind === 'committed')
  bench.flusher.notice(outcome.seq!)
  assert.equal((await bench.wait(passed, 50)).kind, 'committed')
})
