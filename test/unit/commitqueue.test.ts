// Effects stay in the order of their turns, however late a commit is and whatever an effect sets off.

import assert from 'node:assert/strict'
import test from 'node:test'
import { command, contract, event, firefly, shard, t } from '../../core/game/index.ts'
import { CommitQueue, type CommitCallbacks } from '../../core/turn/commitqueue.ts'
import { ManualClock } from '../../core/testing/memory.ts'
import type { Outcome } from '../../core/ports/store.ts'
import { memoryHost } from '../conformance/memoryhost.ts'

const plain = (work: () => void): void => work()
const commitCallbacks = (
  release: () => unknown,
  broken: (outcome: Outcome) => unknown = () => assert.fail('broken'),
): CommitCallbacks => ({
  onCommitted: () => void release(),
  onFailed: (outcome) => void broken(outcome),
  onTimeout: null,
})

test('effects wait for the commits before them, and leave in order', async () => {
  const left: number[] = []
  const egress = new CommitQueue(new ManualClock(), 1_000, plain)
  const { promise, resolve } = Promise.withResolvers<Outcome>()
  egress.push(
    promise,
    commitCallbacks(() => left.push(1)),
  )
  egress.push(
    null,
    commitCallbacks(() => left.push(2)),
  )
  egress.push(
    { kind: 'committed' },
    commitCallbacks(() => left.push(3)),
  )
  assert.deepEqual(left, [])
  const emptied = egress.whenEmpty()
  resolve({ kind: 'committed' })
  await emptied
  assert.deepEqual(left, [1, 2, 3])
})

test('after a commit that is not known to be good nothing leaves, and nobody waits for it', async () => {
  for (const kind of ['failed', 'unknown'] as const) {
    const broken: string[] = []
    const egress = new CommitQueue(new ManualClock(), 1_000, plain)
    egress.push(
      Promise.resolve({ kind, cause: null }),
      commitCallbacks(assert.fail, (outcome) => broken.push(outcome.kind)),
    )
    egress.push(null, commitCallbacks(assert.fail))
    await egress.whenEmpty()
    assert.deepEqual(broken, [kind])
  }
})

test('a caller that waits too long is told once; what it caused still leaves when the commit is there', async () => {
  const clock = new ManualClock()
  const egress = new CommitQueue(clock, 1_000, plain)
  const { promise, resolve } = Promise.withResolvers<Outcome>()
  const heard: string[] = []
  const caller = (name: string): CommitCallbacks => ({
    onCommitted: () => heard.push(`${name} left`),
    onFailed: () => assert.fail('broken'),
    onTimeout: () => heard.push(`${name} told`),
  })
  egress.push(promise, caller('first'))
  clock.advance(600)
  egress.push(null, caller('second'))
  clock.advance(399)
  assert.deepEqual(heard, [])
  clock.advance(1)
  assert.deepEqual(heard, ['first told'])
  clock.advance(600)
  assert.deepEqual(heard, ['first told', 'second told'])
  clock.advance(5_000)
  resolve({ kind: 'committed' })
  await egress.whenEmpty()
  assert.deepEqual(heard, ['first told', 'second told', 'first left', 'second left'])
})

const Note = contract('note', {
  write: command(1, {}, {}),
  echo: command(2),
  first: event(10),
  second: event(11),
})
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

test('a cast that is released by a late commit does not overtake the events behind it', async () => {
  const host = memoryHost(firefly({ note }))
  const releases: (() => void)[] = []
  host.store.hold = (release) => releases.push(release)
  const game = await host.sdkClient()
  const told: string[] = []
  game.at(Note).on('first', () => told.push('first'))
  game.at(Note).on('second', () => told.push('second'))
  const written = game.at(Note).write()
  await host.waitUntil(() => releases.length === 1, 'the commit is held')
  assert.deepEqual(told, [])
  releases[0]!()
  await host.waitUntil(() => told.length === 2, 'both events')
  assert.deepEqual(told, ['first', 'second'])
  await written
})
