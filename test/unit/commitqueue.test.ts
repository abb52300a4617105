// Effects keep the order of their turns, however late a commit ends and whatever an effect causes.

import assert from 'node:assert/strict'
import test from 'node:test'
import { command, contract, event, firefly, shard, t } from '../../core/game/index.ts'
import { CommitQueue, type CommitCallbacks } from '../../core/turn/commitqueue.ts'
import { ManualClock } from '../../core/testing/memory.ts'
import type { Outcome } from '../../core/ports/store.ts'
import { memoryHost } from '../conformance/memoryhost.ts'

const runNow = (work: () => void): void => work()
const commitCallbacks = (
  onCommitted: () => unknown,
  onFailed: (outcome: Outcome) => unknown = () => assert.fail('the commit failed'),
): CommitCallbacks => ({
  onCommitted: () => void onCommitted(),
  onFailed: (outcome) => void onFailed(outcome),
  onTimeout: null,
})

test('releases effects in order, after the commits before them', async () => {
  const released: number[] = []
  const queue = new CommitQueue(new ManualClock(), 1_000, runNow)
  const { promise, resolve } = Promise.withResolvers<Outcome>()
  queue.push(
    promise,
    commitCallbacks(() => released.push(1)),
  )
  queue.push(
    null,
    commitCallbacks(() => released.push(2)),
  )
  queue.push(
    { kind: 'committed' },
    commitCallbacks(() => released.push(3)),
  )
  assert.deepEqual(released, [])
  const emptied = queue.whenEmpty()
  resolve({ kind: 'committed' })
  await emptied
  assert.deepEqual(released, [1, 2, 3])
})

test('releases nothing after a commit that failed or is unknown, and empties the queue', async () => {
  for (const kind of ['failed', 'unknown'] as const) {
    const failed: string[] = []
    const queue = new CommitQueue(new ManualClock(), 1_000, runNow)
    queue.push(
      Promise.resolve({ kind, cause: null }),
      commitCallbacks(assert.fail, (outcome) => failed.push(outcome.kind)),
    )
    queue.push(null, commitCallbacks(assert.fail))
    await queue.whenEmpty()
    assert.deepEqual(failed, [kind])
  }
})

test('calls onTimeout of a late commit once, and still releases its effects when it ends', async () => {
  const clock = new ManualClock()
  const queue = new CommitQueue(clock, 1_000, runNow)
  const { promise, resolve } = Promise.withResolvers<Outcome>()
  const calls: string[] = []
  const caller = (name: string): CommitCallbacks => ({
    onCommitted: () => calls.push(`${name} committed`),
    onFailed: () => assert.fail('the commit failed'),
    onTimeout: () => calls.push(`${name} timed out`),
  })
  queue.push(promise, caller('first'))
  clock.advance(600)
  queue.push(null, caller('second'))
  clock.advance(399)
  assert.deepEqual(calls, [])
  clock.advance(1)
  assert.deepEqual(calls, ['first timed out'])
  clock.advance(600)
  assert.deepEqual(calls, ['first timed out', 'second timed out'])
  clock.advance(5_000)
  resolve({ kind: 'committed' })
  await queue.whenEmpty()
  assert.deepEqual(calls, ['first timed out', 'second timed out', 'first committed', 'second committed'])
})

const Note = contract(
  'note',
  { write: command(1, {}, {}), echo: command(2), first: event(10), second: event(11) },
  { key: 'main' },
)
const note = shard(Note)
  .public()
  .kv({ n: t.u32 })
  .on('write', (c) => {
    c.join()
    c.kv.set('n', 1)
    c.at(Note).cast.echo()
    c.broadcast.first()
    return {}
  })
  .on('echo', (c) => c.broadcast.second())

test('a cast that a late commit releases does not overtake the events behind it', async () => {
  const host = memoryHost(firefly({ note }))
  const releases: (() => void)[] = []
  host.store.hold = (release) => releases.push(release)
  const game = await host.sdkClient()
  const received: string[] = []
  game.at(Note).on('first', () => received.push('first'))
  game.at(Note).on('second', () => received.push('second'))
  const written = game.at(Note).write()
  await host.waitUntil(() => releases.length === 1, 'the commit is held')
  assert.deepEqual(received, [])
  releases[0]!()
  await host.waitUntil(() => received.length === 2, 'both events')
  assert.deepEqual(received, ['first', 'second'])
  await written
})
