// The slot store on real files: committed state survives a reopening, commits share syncs, and timers, channels and
// activation numbers are stored.

import assert from 'node:assert/strict'
import { fdatasync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { systemClock } from '../../core/node/clock.ts'
import type { Clock } from '../../core/ports/clock.ts'
import { slotOf } from '../../core/node/slotname.ts'
import { shardName } from '../../core/wire/shardid.ts'
import type { WriteSet } from '../../core/ports/store.ts'
import { TIMES } from '../../core/wire/limits.ts'
import { waitFor } from '../support/wait.ts'
import { ada, slotTest, bob, bytes, kvWriteSet, isStoreError, writeSet, text } from './slotfixture.ts'
import { assertField } from '../support/assertfield.ts'

slotTest('a committed write set is returned by the next open, also after a restart of the store', async ({ open }) => {
  let store = await open()
  const first = await store.open(ada)
  assert.deepEqual(
    { kv: [...first.kv], timers: first.timers, snapshot: first.snapshot },
    { kv: [], timers: [], snapshot: null },
  )
  const timer = { name: 'bell', dueMs: 1_800_000_000_000.5, data: new Uint8Array(0) }
  const outcome = await store.commit(
    writeSet(ada, first.activation, {
      kv: new Map([
        ['gold', bytes('7')],
        ['none', new Uint8Array(0)],
      ]),
      timers: new Map([['bell', timer]]),
      snapshot: bytes('picture'),
      wakeMs: timer.dueMs,
    }),
  )
  assert.deepEqual(outcome, { kind: 'committed' })
  for (let round = 0; round < 2; round++) {
    const next = await store.open(ada)
    assert.equal(text(next.kv.get('gold')), '7')
    assert.deepEqual(next.kv.get('none'), new Uint8Array(0))
    assert.deepEqual(next.timers, [timer])
    assert.equal(text(next.snapshot!), 'picture')
    await store.closeStore()
    store = await open()
  }
  assert.deepEqual([...(await store.open(bob)).kv], [])
})

slotTest('a busy event loop does not delay commits by one turn of the loop per slot', async ({ open }) => {
  const slots = 16
  let nowMs = 0
  const turns: (() => void)[] = []
  // Each look at the clock takes as long as a batch may; the loop comes back after `loopMs`.
  let defer = (run: () => void): void => void turns.push(run)
  const clock: Clock = { ...systemClock, mono: () => (nowMs += 2), defer: (run) => defer(run) }
  const store = await open({ slots, clock })
  const turnsUntilCommitted = async (loopMs: number): Promise<number> => {
    const shards = Array.from({ length: slots }, (_, i) => ({ contract: 'player', key: `${loopMs}-${i}` }))
    // The numbers of a slot's activations are reserved in a commit of their own.
    const opened = Promise.all(shards.map(async (shard) => ({ shard, ...(await store.open(shard)) })))
    let isOpened = false
    void opened.then(() => (isOpened = true))
    const nextTurn = (): void => turns.splice(0).forEach((run) => run())
    await waitFor(() => (nextTurn(), isOpened), 'every shard is open')
    let committed = 0
    for (const { shard, activation } of await opened)
      void Promise.resolve(store.commit(kvWriteSet(shard, activation, 'gold', '1'))).then(() => committed++)
    let count = 0
    await waitFor(() => {
      if (turns.length > 0) {
        count++
        nowMs += loopMs
        nextTurn()
      }
      return committed === slots
    }, 'every slot has committed')
    return count
  }
  const [idle, busy] = [await turnsUntilCommitted(0), await turnsUntilCommitted(500)]
  // So that the store can close.
  defer = (run) => systemClock.defer(run)
  assert.ok(idle >= 8, `batches of an idle loop are spread over ${idle} turns`)
  assert.ok(busy <= 3, `batches of a busy loop run in ${busy} turns`)
})

slotTest('a null deletes only its own value or timer', async ({ openShard }) => {
  const { store, activation } = await openShard()
  const timer = (name: string) => ({ name, dueMs: 5, data: bytes(name) })
  await store.commit(kvWriteSet(ada, activation, 'a', '1'))
  await store.commit(kvWriteSet(ada, activation, 'b', '2'))
  const both = new Map([['x', timer('x')] as const, ['y', timer('y')] as const])
  await store.commit(writeSet(ada, activation, { timers: both, wakeMs: 5 }))
  const deletion = writeSet(ada, activation, { kv: new Map([['a', null]]), timers: new Map([['x', null]]), wakeMs: 5 })
  await store.commit(deletion)
  const { kv, timers } = await store.open(ada)
  assert.deepEqual([...kv.keys()], ['b'])
  assert.deepEqual(timers, [timer('y')])
})

slotTest(
  'concurrent write sets share one sync, and those that arrive during a slow sync share the next',
  async ({ openShard }) => {
    const syncs: (() => void)[] = []
    let isPaused = false
    const { store, activation } = await openShard({
      slots: 1,
      fdatasync: (fd, done) => {
        const run = (): void => fdatasync(fd, done)
        syncs.push(run)
        if (!isPaused) run()
      },
    })
    const before = syncs.length
    await Promise.all(
      Array.from({ length: 100 }, async (_, n) => store.commit(kvWriteSet(ada, activation, `n${n}`, 'x'))),
    )
    assert.equal(syncs.length - before, 1)

    isPaused = true
    let settled = 0
    const commit = async (name: string): Promise<void> => {
      assert.equal((await store.commit(kvWriteSet(ada, activation, name, 'y'))).kind, 'committed')
      settled++
    }
    const first = commit('first')
    await waitFor(() => syncs.length - before === 2, 'the sync is waiting')
    const later = [commit('second'), commit('third')]
    const reopened = store.open(ada)
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(settled, 0)
    assert.equal(syncs.length - before, 2)
    isPaused = false
    syncs.at(-1)!()
    await Promise.all([first, ...later])
    assert.equal(syncs.length - before, 3)
    assert(reopened instanceof Promise)
    const { kv } = await reopened
    assert.deepEqual([text(kv.get('first')), text(kv.get('third'))], ['y', 'y'])
  },
)

slotTest('open returns all earlier commits, although the caller did not wait for them', async ({ openShard }) => {
  const { store, activation } = await openShard()
  for (let n = 0; n < 3_000; n++) void store.commit(kvWriteSet(ada, activation, 'n', String(n)))
  assert.equal(text((await store.open(ada)).kv.get('n')), '2999')
})

slotTest('stores mark and replies of a channel, and returns null for an unknown channel', async ({ openShard }) => {
  const { store, activation } = await openShard()
  assert.equal(await store.channel(ada, 'c:1'), null)
  const nowMs = Date.now()
  void store.commit(
    writeSet(ada, activation, { channel: { id: 'c:1', mark: 4, replies: bytes('four'), nowMs, weight: 0 } }),
  )
  void store.commit(
    writeSet(ada, activation, { channel: { id: 'c:1', mark: 5, replies: bytes('five'), nowMs, weight: 0 } }),
  )
  assert.deepEqual(await store.channel(ada, 'c:1'), { mark: 5, replies: bytes('five') })
  assert.equal(await store.channel(bob, 'c:1'), null)
})

slotTest('stores the last committed mark when one transaction has several', async ({ openShard }) => {
  const { store, activation } = await openShard({ slots: 1 })
  const mark = async (n: number, extra: Partial<WriteSet> = {}) =>
    store.commit(
      writeSet(ada, activation, {
        channel: { id: 'c:1', mark: n, replies: bytes(String(n)), nowMs: 0, weight: 1 },
        ...extra,
      }),
    )
  const other = await store.open(bob)
  const outcomes = [
    mark(1),
    mark(2),
    // SQLite rejects this value: this part of the transaction fails, and all later parts of the same activation.
    mark(3, { kv: new Map([['gold', {} as Uint8Array]]) }),
    mark(4),
    Promise.resolve(store.commit(kvWriteSet(bob, other.activation, 'gold', '1'))),
  ]
  assertField(await Promise.all(outcomes), 'kind', ['committed', 'committed', 'failed', 'failed', 'committed'])
  assert.deepEqual(await store.channel(ada, 'c:1'), { mark: 2, replies: bytes('2') })
})

slotTest('prunes channels that are older than the limit, and no others', async ({ openShard }) => {
  let monoMs = 0
  const { store, activation } = await openShard({ slots: 1, clock: { ...systemClock, mono: () => monoMs } })
  const seen = (id: string, nowMs: number): WriteSet =>
    writeSet(ada, activation, { channel: { id, mark: 1, replies: bytes('r'), nowMs, weight: 0 } })
  const now = Date.now()
  const old = Array.from({ length: 700 }, (_, n) => store.commit(seen(`old${n}`, now - TIMES.keepMarksMs - 1_000)))
  await Promise.all([...old, store.commit(seen('young', now - TIMES.keepMarksMs + 60_000))])
  for (let page = 0; page < 2; page++) {
    monoMs += 10_000
    await store.commit(kvWriteSet(ada, activation, 'page', String(page)))
  }
  assert.equal(await store.channel(ada, 'old0'), null)
  assert.equal(await store.channel(ada, 'old699'), null)
  assert.equal((await store.channel(ada, 'young'))?.mark, 1)
})

slotTest(
  'onWake receives every change of timers, and at the start the earliest timer of each shard',
  async (fixture) => {
    const { store, activation } = await fixture.openShard()
    const other = await store.open(bob)
    const timer = (name: string, dueMs: number) => [name, { name, dueMs, data: bytes('') }] as const
    await store.commit(
      writeSet(ada, activation, { timers: new Map([timer('late', 900), timer('soon', 300)]), wakeMs: 300 }),
    )
    await store.commit(kvWriteSet(ada, activation, 'no', 'timers'))
    await store.commit(writeSet(bob, other.activation, { timers: new Map([timer('one', 500)]), wakeMs: 500 }))
    await store.commit(writeSet(ada, activation, { timers: new Map([['soon', null]]), wakeMs: 900 }))
    await store.commit(writeSet(bob, other.activation, { timers: new Map([['one', null]]), wakeMs: null }))
    assert.deepEqual(fixture.wakes, [
      [shardName(ada), 300],
      [shardName(bob), 500],
      [shardName(ada), 900],
      [shardName(bob), null],
    ])
    await store.commit(
      writeSet(bob, other.activation, { timers: new Map([timer('two', 700), timer('three', 600)]), wakeMs: 600 }),
    )
    await store.closeStore()
    fixture.wakes.length = 0
    await fixture.open()
    assert.deepEqual(fixture.wakes.toSorted(), [
      [shardName(ada), 900],
      [shardName(bob), 600],
    ])
  },
)

slotTest('does not report timers that are due much later until they are due soon', async (fixture) => {
  const { store, activation } = await fixture.openShard()
  const other = await store.open(bob)
  const [soonMs, lateMs] = [Date.now() + 1_000, Date.now() + 2 * TIMES.wakeAheadMs]
  const timers = (...dues: number[]) =>
    new Map(dues.map((dueMs, i) => [`${i}`, { name: `${i}`, dueMs, data: bytes('') }]))
  await store.commit(writeSet(ada, activation, { timers: timers(lateMs, soonMs), wakeMs: soonMs }))
  await store.commit(writeSet(bob, other.activation, { timers: timers(lateMs), wakeMs: lateMs }))
  const due: [string, number][] = []
  store.scanDueTimers((shard, dueMs) => due.push([shardName(shard), dueMs]))
  assert.deepEqual(due, [[shardName(ada), soonMs]])
  await store.closeStore()
  fixture.wakes.length = 0
  await fixture.open()
  assert.deepEqual(fixture.wakes, [[shardName(ada), soonMs]])
})

slotTest('activation numbers rise over many blocks and restarts, with few syncs', async ({ open }) => {
  let last = 0
  let syncs = 0
  for (let round = 0; round < 3; round++) {
    const store = await open({ fdatasync: (fd, done) => (syncs++, fdatasync(fd, done)) })
    for (let n = 0; n < 1_500; n++) {
      const { activation } = await store.open(ada)
      assert(activation > last, `${activation} after ${last}`)
      last = activation
    }
    await store.closeStore()
  }
  assert(syncs <= 9, `${syncs} syncs`)
})

slotTest('checkpoints bound the WAL without losing a row', async ({ dir, open, openShard }) => {
  const { store, activation } = await openShard({ slots: 1 })
  // Every byte differs from the previous value, because SQLite writes only changed pages.
  const value = (n: number): string => String(n).repeat(33_333)
  for (let n = 0; n < 200; n++) await store.commit(kvWriteSet(ada, activation, `n${n % 20}`, value(n)))
  const wal = readFileSync(join(dir, 'slot-0-of-1.sqlite-wal'))
  assert(wal.length < 8_000_000, `${wal.length} bytes`)
  await store.closeStore()
  assert.deepEqual(readdirSync(dir).toSorted(), ['slot-0-of-1.sqlite', 'store.lock', 'store.pid'])
  const { kv } = await (await open({ slots: 1 })).open(ada)
  for (let n = 180; n < 200; n++) assert.equal(text(kv.get(`n${n % 20}`)), value(n))
})

slotTest('a closed store has settled earlier commits, and rejects later use', async ({ openShard }) => {
  const { store, activation } = await openShard()
  const last = store.commit(kvWriteSet(ada, activation, 'last', '1'))
  await store.closeStore()
  assert.equal((await last).kind, 'committed')
  assert.throws(() => store.open(ada), isStoreError('CLOSED', /is closed/))
  assert.equal((await store.commit(kvWriteSet(ada, activation, 'later', '2'))).kind, 'failed')
})

test('distributes names evenly over the slots, each always to the same slot', () => {
  assert.deepEqual([slotOf('player/ada', 32), slotOf('arena/duel-7', 32), slotOf('', 32)], [11, 9, 11])
  for (const name of [(n: number) => `player/${n}`, (n: number) => `arena/room-${n * 64}`]) {
    const counts = new Array<number>(32).fill(0)
    for (let n = 0; n < 32_000; n++) counts[slotOf(name(n), 32)]!++
    assert(Math.min(...counts) > 850 && Math.max(...counts) < 1_150, counts.join(' '))
  }
})
