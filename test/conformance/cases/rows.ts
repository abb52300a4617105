// Rows and turns: a turn sees its own changes and those of earlier turns, committed or not. A turn that fails, or whose
// commit fails, leaves no change.

import assert from 'node:assert/strict'
import { Gate } from '../contracts.ts'
import { FAULTS, type Fault, type Host, type HostFeature } from '../host.ts'
import type { RowStep } from '../rowshards.ts'
import {
  assertConsecutive,
  awaitOn,
  awaitAllOn,
  awaitFailure,
  END_NAMES,
  endActivation,
  uniqueName,
  waitForTurnsAtGate,
  type Case,
} from './case.ts'
import { insertSpot, openScriptShard, spotTexts, type ScriptShard } from './rowscript.ts'

const needs: readonly HostFeature[] = ['commitFaults']

async function openInitializedShard(host: Host): Promise<ScriptShard> {
  const shard = await openScriptShard(host)
  await shard.run(...INITIAL_STEPS)
  return shard
}
async function readSpots({ run }: ScriptShard): Promise<string[]> {
  return spotTexts((await run(['all', 'spots']))[0])
}

/** The last steps of a turn that fails. */
const FAILING_ENDS: readonly (readonly RowStep[])[] = [
  [['throw']],
  [['refuse']],
  [['invalidOutput']],
  [['awaitTick'], ['throw']],
  [['awaitTick'], ['refuse']],
  [['awaitTick'], ['invalidOutput']],
  [['awaitTick'], insertSpot(9, 'late'), ['add', 'spots', { x: 4, word: 'd' }, 'n', 1], ['throw']],
]
const INITIAL_STEPS: readonly RowStep[] = [
  insertSpot(1, 'a', 1),
  insertSpot(2, 'b', 2),
  insertSpot(3, 'c', 3),
  ['insert', 'heads', { gold: 5 }],
  ['insert', 'items', { id: 'i', mark: 'm' }],
  ['kv', 1],
]
/** Every kind of change, some of them several times. */
const CHANGES: readonly RowStep[] = [
  insertSpot(4, 'd'),
  ['update', 'spots', { x: 4, word: 'd' }, { n: 44 }],
  ['update', 'spots', { x: 1, word: 'a' }, { n: 10 }],
  ['add', 'spots', { x: 1, word: 'a' }, 'n', 1],
  ['delete', 'spots', { x: 2, word: 'b' }],
  insertSpot(2, 'b', 22),
  ['delete', 'spots', { x: 2, word: 'b' }],
  ['delete', 'spots', { x: 3, word: 'c' }],
  insertSpot(3, 'c', 33),
  insertSpot(5, 'e'),
  ['delete', 'spots', { x: 5, word: 'e' }],
  ['add', 'heads', undefined, 'gold', 7],
  ['delete', 'heads'],
  ['update', 'items', 'i', { mark: null, seal: new Uint8Array([1]) }],
  ['insert', 'items', { id: 'j', mark: 'm' }],
  ['kv', 2],
]
const READ_ALL_STEPS: readonly RowStep[] = [['all', 'spots'], ['get', 'heads'], ['all', 'items'], ['kv']]

async function assertAppliedOnce(host: Host, fault: Fault): Promise<void> {
  const { client, run } = await openInitializedShard(host)
  let restarts = 0
  client.onRestart(() => restarts++)
  await host.faults!.injectNext(fault)
  const addGold: RowStep = ['add', 'heads', undefined, 'gold', 1]
  const [first, second] = await awaitAllOn(host, [
    client.playOnce({ steps: [addGold, insertSpot(7, 'g'), ['kv', 7]] }),
    client.playOnce({ steps: [addGold, ['all', 'spots']] }),
  ])
  assert.deepEqual([first!.results[0], second!.results[0]], [6, 7])
  await host.waitUntil(() => restarts === 1, 'the activation ended')
  assert.deepEqual(spotTexts(second!.results[1]), ['1 a 1', '2 b 2', '3 c 3', '7 g 0'])
  const [head, kv] = await run(['get', 'heads'], ['kv'])
  assert.deepEqual([(head as { gold: number }).gold, kv], [7, 7])
}

export const cases: readonly Case[] = [
  {
    name: 'a turn sees its own changes',
    run: async (host) => {
      const { key: shard, run } = await openScriptShard(host)
      const key = { x: 1, word: 'w' }
      const row = (n: number): unknown => ({ shard, ...key, n })
      const results = await run(
        ['get', 'spots', key],
        insertSpot(1, 'w', 5),
        ['get', 'spots', key],
        ['update', 'spots', key, { n: 6 }],
        ['all', 'spots'],
        ['add', 'spots', key, 'n', 4],
        ['all', 'spots', { n: 10 }],
        ['all', 'spots', { n: 5 }],
        ['delete', 'spots', key],
        ['get', 'spots', key],
        ['all', 'spots'],
        insertSpot(1, 'w', 7),
        ['all', 'spots'],
      )
      assert.deepEqual(results.slice(0, 6), [null, row(5), row(5), null, [row(6)], 10])
      assert.deepEqual(results.slice(6), [[row(10)], [], null, null, [], row(7), [row(7)]])
    },
  },
  {
    name: 'a turn that fails leaves no trace in rows, however often it changed them',
    run: async (host) => {
      for (const end of FAILING_ENDS) {
        const { client, run } = await openInitializedShard(host)
        const before = await run(...READ_ALL_STEPS)
        const { code } = await awaitFailure(host, client.play({ steps: [...CHANGES, ...end] }))
        assert.equal(code, end.at(-1)![0] === 'refuse' ? 'NO' : 'INTERNAL')
        assert.deepEqual(await run(...READ_ALL_STEPS), before, JSON.stringify(end))
        // The same changes succeed in the next turn.
        const after = await run(...CHANGES, ...READ_ALL_STEPS)
        assert.deepEqual(spotTexts(after.at(-4)), ['1 a 11', '3 c 33', '4 d 44'])
        const [head, items, kv] = after.slice(-3) as [unknown, unknown[], unknown]
        assert.deepEqual([head, items.length, kv], [null, 2, 2])
      }
    },
  },
  ...(['evict', 'abort'] as const).map((end): Case => ({
    name: `after ${END_NAMES[end]} the store has nothing of a failed turn and all of a successful one`,
    needs: [end],
    run: async (host) => {
      const { key, client, run } = await openInitializedShard(host)
      const before = await run(...READ_ALL_STEPS)
      await awaitFailure(host, client.play({ steps: [...CHANGES, ['awaitTick'], ['throw']] }))
      await endActivation(host, end, 'rows', key)
      assert.deepEqual(await run(...READ_ALL_STEPS), before)
      await run(...CHANGES)
      const after = await run(...READ_ALL_STEPS)
      await endActivation(host, end, 'rows', key)
      assert.deepEqual(await run(...READ_ALL_STEPS), after)
    },
  })),
  {
    name: 'a turn sees changes of earlier turns, committed or not, and none of a failed turn between them',
    needs,
    run: async (host) => {
      const shard = await openInitializedShard(host)
      const release = await host.faults!.holdCommits()
      const order: string[] = []
      const at = { x: 1, word: 'a' }
      const play = (name: string, ...steps: RowStep[]): Promise<unknown[]> =>
        shard.client.play({ steps }).then(
          ({ results }) => (order.push(name), results),
          () => (order.push(`${name} failed`), []),
        )
      const calls = [
        play(
          'change',
          insertSpot(4, 'd', 4),
          ['update', 'spots', at, { n: 11 }],
          ['delete', 'spots', { x: 2, word: 'b' }],
        ),
        play('read', ['all', 'spots'], ['get', 'spots', { x: 2, word: 'b' }], ['all', 'spots', { n: 4 }]),
        play(
          'throw',
          ['update', 'spots', at, { n: 12 }],
          insertSpot(2, 'b', 9),
          ['delete', 'spots', { x: 4, word: 'd' }],
          ['throw'],
        ),
        play(
          'add',
          ['add', 'spots', at, 'n', 1],
          ['insert', 'items', { id: 'j', mark: 'm' }],
          ['delete', 'items', 'i'],
        ),
        play('read', ['all', 'spots'], ['insert', 'items', { id: 'k', mark: 'm' }], ['get', 'items', 'i']),
      ]
      await host.sleep(50)
      assert.deepEqual(order, [])
      await release()
      const [, first, , add, last] = await awaitAllOn(host, calls)
      assert.deepEqual(order, ['change', 'read', 'throw failed', 'add', 'read'])
      assert.deepEqual(
        [spotTexts(first![0]), first![1], spotTexts(first![2])],
        [['1 a 11', '3 c 3', '4 d 4'], null, ['4 d 4']],
      )
      assert.deepEqual([add![0], String(add![1]).slice(0, 9)], [12, 'DUPLICATE'])
      assert.deepEqual(spotTexts(last![0]), ['1 a 12', '3 c 3', '4 d 4'])
      assert.deepEqual([(last![1] as { id: string }).id, last![2]], ['k', null])
      assert.deepEqual(await readSpots(shard), ['1 a 12', '3 c 3', '4 d 4'])
    },
  },
  ...FAULTS.map((fault): Case => ({
    name: `a durable call changes its rows once when its commit is ${fault}`,
    needs,
    run: (host) => assertAppliedOnce(host, fault),
  })),
  {
    name: 'a volatile call whose commit failed changes no rows, and reads return the rows of the store',
    needs,
    run: async (host) => {
      const { client, run } = await openInitializedShard(host)
      const before = await run(...READ_ALL_STEPS)
      await host.faults!.injectNext('failed')
      assert.equal((await awaitFailure(host, client.play({ steps: [...CHANGES] }))).code, 'SHARD_RESTARTED')
      assert.deepEqual(await run(...READ_ALL_STEPS), before)
    },
  },
  {
    name: 'a failed commit discards the rows of its turn and of later ones, and each durable call is applied once',
    needs,
    run: async (host) => {
      const shard = await openInitializedShard(host)
      const release = await host.faults!.holdCommits()
      const add = (x: number): Promise<{ results: unknown[] }> =>
        shard.client.playOnce({ steps: [['add', 'heads', undefined, 'gold', 1], insertSpot(x, 'x')] })
      const calls = [add(10), add(11)]
      await host.sleep(30)
      await host.faults!.injectNext('failed')
      calls.push(add(12), add(13))
      await host.sleep(30)
      await release()
      const sums = (await awaitAllOn(host, calls)).map(({ results }) => results[0])
      assert.deepEqual(sums, [6, 7, 8, 9])
      assert.deepEqual((await readSpots(shard)).slice(3), ['10 x 0', '11 x 0', '12 x 0', '13 x 0'])
    },
  },
  {
    name: 'when commits fail under load, the rows of every durable call are stored once, in order',
    needs,
    run: async (host) => {
      const shard = await openInitializedShard(host)
      const sums: unknown[] = []
      const calls: Promise<unknown>[] = []
      for (let i = 0; i < 60; i++) {
        if (i % 5 === 3) await host.faults!.injectNext(FAULTS[Math.floor(i / 5) % 3]!)
        const steps: RowStep[] = [['add', 'heads', undefined, 'gold', 1], insertSpot(100 + i, 'x')]
        calls.push(shard.client.playOnce({ steps }).then(({ results }) => sums.push(results[0])))
        if (i % 7 === 0) await host.sleep(1)
      }
      await awaitAllOn(host, calls)
      assertConsecutive(sums, 6)
      assert.equal((await readSpots(shard)).length, 63)
    },
  },
  {
    name: 'an abort discards the changes of a waiting turn',
    needs: ['abort'],
    run: async (host) => {
      const gate = uniqueName('gate')
      const gates = (await host.sdkClient()).at(Gate)
      const { key, client, run } = await openInitializedShard(host)
      const before = await run(...READ_ALL_STEPS)
      const failure = awaitFailure(host, client.play({ steps: [...CHANGES, ['wait', gate]] }))
      await waitForTurnsAtGate(host, gates, gate)
      await host.abortShard('rows', key)
      assert.equal((await failure).code, 'SHARD_RESTARTED')
      await awaitOn(host, gates.open({ name: gate }))
      assert.deepEqual(await run(...READ_ALL_STEPS), before)
    },
  },
  {
    name: 'a row is usable in its turn, also after an await, and throws in a later turn',
    run: async (host) => {
      const { run } = await openScriptShard(host)
      const saveRow: RowStep = ['saveRow', 'heads']
      const results = await run(['insert', 'heads', { gold: 1 }], saveRow, ['awaitTick'], ['useSaved'])
      assert.equal((results[3] as { gold: number }).gold, 1)
      assert.match(String((await run(['useSaved']))[0]), /^BUG this context is over: its turn has ended/)
      const deleted = await run(saveRow, ['awaitTick'], ['delete', 'heads'], ['useSaved'])
      assert.match(String(deleted[3]), /rows_head: the row .* was deleted/)
    },
  },
  {
    name: 'invalidate() reads a row again, in a turn that has not changed it',
    run: async (host) => {
      const shard = await openScriptShard(host)
      const at = { x: 1, word: 'a' }
      const invalidate: RowStep = ['invalidate', 'spots', at]
      assert.deepEqual(await shard.run(invalidate), [null])
      await shard.run(insertSpot(1, 'a', 1))
      const [row, , refused] = await shard.run(invalidate, ['update', 'spots', at, { n: 2 }], invalidate)
      assert.equal((row as { n: number }).n, 1)
      assert.match(String(refused), /^BAD_VALUE rows_spot: this turn has changed the row/)
      assert.deepEqual(await readSpots(shard), ['1 a 2'])
    },
  },
  {
    name: 'a turn that calls save() is answered, with and without row changes, and also when it throws afterwards',
    run: async (host) => {
      const shard = await openScriptShard(host)
      await shard.run(['save'])
      await shard.run(insertSpot(1, 'a'), ['save'])
      await awaitFailure(host, shard.client.play({ steps: [insertSpot(2, 'b'), ['save'], ['throw']] }))
      await awaitOn(host, shard.client.playOnce({ steps: [['awaitTick'], insertSpot(3, 'c'), ['save']] }))
      assert.deepEqual(await readSpots(shard), ['1 a 0', '3 c 0'])
    },
  },
  {
    name: 'a cacheable value is loaded once within its lifetime, and a failed load is not cached',
    run: async (host) => {
      const { run } = await openScriptShard(host)
      const [good, bad] = [uniqueName('good'), uniqueName('bad')]
      const read = async (name: string): Promise<unknown> => (await run(['cached', name]))[0]
      const first = await read(good)
      assert.deepEqual([typeof first, await read(good)], ['number', first])
      assert.notEqual(await read(`${good}2`), first)
      await host.sleep(250)
      assert.notEqual(await read(good), first)
      const failed = await read(bad)
      assert.match(String(failed), /^BUG load \d+$/)
      assert.notEqual(await read(bad), failed)
    },
  },
]
