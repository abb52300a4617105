// Rows and turns: a turn sees its own changes and those of turns before it, committed or not; one that ends badly
// leaves none, and neither does one whose commit is not known to be there.

import assert from 'node:assert/strict'
import type { Remote } from '../../../client/index.ts'
import { Gate } from '../contracts.ts'
import type { Host, HostFeature } from '../host.ts'
import { RowScript, type RowStep } from '../rowshards.ts'
import { awaitOn, awaitAllOn, awaitFailure, uniqueName, callWithRetry, waitForTurnsAtGate, type Case } from './case.ts'

type RowScriptClient = Remote<(typeof RowScript)['entries']>
const faults: readonly HostFeature[] = ['commitFaults']

async function openScriptClient(host: Host, key = uniqueName()): Promise<RowScriptClient> {
  return (await host.sdkClient()).at(RowScript, key)
}
async function runSteps(host: Host, keep: RowScriptClient, ...steps: RowStep[]): Promise<unknown[]> {
  return (await callWithRetry(host, () => keep.play({ steps }))).told
}
const spot = (x: number, word: string, n = 0): RowStep => ['insert', 'spots', { x, word, n }]
/** Of what was told of spots: `x word n`. */
function spotTexts(rows: unknown): string[] {
  return (rows as { x: number; word: string; n: number }[]).map(({ x, word, n }) => `${x} ${word} ${n}`)
}
async function readSpots(host: Host, keep: RowScriptClient): Promise<string[]> {
  return spotTexts((await runSteps(host, keep, ['all', 'spots']))[0])
}

/** How a turn may end badly, as its last steps. */
const FAILING_ENDS: readonly (readonly RowStep[])[] = [
  [['throw']],
  [['refuse']],
  [['spoil']],
  [['late'], ['throw']],
  [['late'], ['refuse']],
  [['late'], ['spoil']],
  [['late'], spot(9, 'late'), ['add', 'spots', { x: 4, word: 'd' }, 'n', 1], ['throw']],
]
const INITIAL_STEPS: readonly RowStep[] = [
  spot(1, 'a', 1),
  spot(2, 'b', 2),
  spot(3, 'c', 3),
  ['insert', 'heads', { gold: 5 }],
  ['insert', 'items', { id: 'i', mark: 'm' }],
  ['kv', 1],
]
/** Every way in which rows may change, some of them several times. */
const CHANGES: readonly RowStep[] = [
  spot(4, 'd'),
  ['update', 'spots', { x: 4, word: 'd' }, { n: 44 }],
  ['update', 'spots', { x: 1, word: 'a' }, { n: 10 }],
  ['add', 'spots', { x: 1, word: 'a' }, 'n', 1],
  ['delete', 'spots', { x: 2, word: 'b' }],
  spot(2, 'b', 22),
  ['delete', 'spots', { x: 2, word: 'b' }],
  ['delete', 'spots', { x: 3, word: 'c' }],
  spot(3, 'c', 33),
  spot(5, 'e'),
  ['delete', 'spots', { x: 5, word: 'e' }],
  ['add', 'heads', undefined, 'gold', 7],
  ['delete', 'heads'],
  ['update', 'items', 'i', { mark: null, seal: new Uint8Array([1]) }],
  ['insert', 'items', { id: 'j', mark: 'm' }],
  ['kv', 2],
]
const READ_ALL_STEPS: readonly RowStep[] = [['all', 'spots'], ['get', 'heads'], ['all', 'items'], ['kv']]

async function assertAppliedOnce(host: Host, fault: 'failed' | 'applied' | 'dropped'): Promise<void> {
  const keep = await openScriptClient(host)
  await runSteps(host, keep, ...INITIAL_STEPS)
  let restarts = 0
  keep.onRestart(() => restarts++)
  await host.faults!.injectNext(fault)
  const first = keep.playOnce({ steps: [['add', 'heads', undefined, 'gold', 1], spot(7, 'g'), ['kv', 7]] })
  const second = keep.playOnce({
    steps: [
      ['add', 'heads', undefined, 'gold', 1],
      ['all', 'spots'],
    ],
  })
  const [one, two] = await awaitAllOn(host, [first, second])
  assert.deepEqual([one!.told[0], two!.told[0]], [6, 7])
  await host.waitUntil(() => restarts === 1, 'the activation ended')
  assert.deepEqual(spotTexts(two!.told[1]), ['1 a 1', '2 b 2', '3 c 3', '7 g 0'])
  const [head, kv] = await runSteps(host, keep, ['get', 'heads'], ['kv'])
  assert.deepEqual([(head as { gold: number }).gold, kv], [7, 7])
}

export const cases: readonly Case[] = [
  {
    name: 'a turn sees its own changes',
    run: async (host) => {
      const keep = await openScriptClient(host)
      const key = { x: 1, word: 'w' }
      const of = (n: number): unknown => ({ keep: (mine as { keep: string }).keep, ...key, n })
      const [none, mine, ...rest] = await runSteps(
        host,
        keep,
        ...([
          ['get', 'spots', key],
          spot(1, 'w', 5),
          ['get', 'spots', key],
          ['update', 'spots', key, { n: 6 }],
          ['all', 'spots'],
          ['add', 'spots', key, 'n', 4],
          ['all', 'spots', { n: 10 }],
          ['all', 'spots', { n: 5 }],
          ['delete', 'spots', key],
          ['get', 'spots', key],
          ['all', 'spots'],
          spot(1, 'w', 7),
          ['all', 'spots'],
        ] as RowStep[]),
      )
      assert.deepEqual([none, mine], [null, of(5)])
      assert.deepEqual(rest, [of(5), null, [of(6)], 10, [of(10)], [], null, null, [], of(7), [of(7)]])
    },
  },
  {
    name: 'a turn that ends badly leaves no trace in rows, however often it changed them',
    run: async (host) => {
      for (const end of FAILING_ENDS) {
        const key = uniqueName()
        const keep = await openScriptClient(host, key)
        await runSteps(host, keep, ...INITIAL_STEPS)
        const before = await runSteps(host, keep, ...READ_ALL_STEPS)
        const { code } = await awaitFailure(host, keep.play({ steps: [...CHANGES, ...end] }))
        assert.equal(code, end.at(-1)![0] === 'refuse' ? 'NO' : 'INTERNAL')
        assert.deepEqual(await runSteps(host, keep, ...READ_ALL_STEPS), before, JSON.stringify(end))
        // And the shard goes on: the same turn, well ended.
        const after = await runSteps(host, keep, ...CHANGES, ...READ_ALL_STEPS)
        assert.deepEqual(spotTexts(after.at(-4)), ['1 a 11', '3 c 33', '4 d 44'])
        assert.deepEqual(
          after.slice(-3).map((told) => (told as object[] | null)?.length ?? told),
          [null, 2, 2],
        )
      }
    },
  },
  ...(['evict', 'abort'] as const).map((need): Case => ({
    name: `${need} shows that a turn that ended badly left nothing in the store, and a good one all`,
    needs: [need],
    run: async (host) => {
      const key = uniqueName()
      const keep = await openScriptClient(host, key)
      await runSteps(host, keep, ...INITIAL_STEPS)
      const before = await runSteps(host, keep, ...READ_ALL_STEPS)
      await awaitFailure(host, keep.play({ steps: [...CHANGES, ['late'], ['throw']] }))
      await host[need === 'evict' ? 'evictShard' : 'abortShard']('keep', key)
      assert.deepEqual(await runSteps(host, keep, ...READ_ALL_STEPS), before)
      await runSteps(host, keep, ...CHANGES)
      const after = await runSteps(host, keep, ...READ_ALL_STEPS)
      await host[need === 'evict' ? 'evictShard' : 'abortShard']('keep', key)
      assert.deepEqual(await runSteps(host, keep, ...READ_ALL_STEPS), after)
    },
  })),
  {
    name: 'a turn sees what turns before it changed, committed or not, and not what a bad one did between',
    needs: faults,
    run: async (host) => {
      const keep = await openScriptClient(host)
      await runSteps(host, keep, ...INITIAL_STEPS)
      const release = await host.faults!.holdCommits()
      const order: string[] = []
      const at = { x: 1, word: 'a' }
      const run = (name: string, ...steps: RowStep[]): Promise<unknown[]> =>
        keep.play({ steps }).then(
          ({ told }) => (order.push(name), told),
          () => (order.push(`${name}!`), []),
        )
      const calls = [
        run('change', spot(4, 'd', 4), ['update', 'spots', at, { n: 11 }], ['delete', 'spots', { x: 2, word: 'b' }]),
        run('look', ['all', 'spots'], ['get', 'spots', { x: 2, word: 'b' }], ['all', 'spots', { n: 4 }]),
        run(
          'bad',
          ['update', 'spots', at, { n: 12 }],
          spot(2, 'b', 9),
          ['delete', 'spots', { x: 4, word: 'd' }],
          ['throw'],
        ),
        run('add', ['add', 'spots', at, 'n', 1], ['insert', 'items', { id: 'j', mark: 'm' }], ['delete', 'items', 'i']),
        run('look', ['all', 'spots'], ['insert', 'items', { id: 'k', mark: 'm' }], ['get', 'items', 'i']),
      ]
      await host.sleep(50)
      assert.deepEqual(order, [])
      await release()
      const [, first, , add, last] = await awaitAllOn(host, calls)
      assert.deepEqual(order, ['change', 'look', 'bad!', 'add', 'look'])
      assert.deepEqual(
        [spotTexts(first![0]), first![1], spotTexts(first![2])],
        [['1 a 11', '3 c 3', '4 d 4'], null, ['4 d 4']],
      )
      assert.deepEqual([add![0], String(add![1]).slice(0, 9)], [12, 'DUPLICATE'])
      assert.deepEqual(spotTexts(last![0]), ['1 a 12', '3 c 3', '4 d 4'])
      assert.deepEqual([(last![1] as { id: string }).id, last![2]], ['k', null])
      assert.deepEqual(await readSpots(host, keep), ['1 a 12', '3 c 3', '4 d 4'])
    },
  },
  ...(['failed', 'applied', 'dropped'] as const).map((fault): Case => ({
    name: `a durable call whose commit was ${fault} changes its rows once`,
    needs: faults,
    run: (host) => assertAppliedOnce(host, fault),
  })),
  {
    name: 'a volatile call whose commit failed leaves no rows, and reads see what the store has',
    needs: faults,
    run: async (host) => {
      const keep = await openScriptClient(host)
      await runSteps(host, keep, ...INITIAL_STEPS)
      const before = await runSteps(host, keep, ...READ_ALL_STEPS)
      await host.faults!.injectNext('failed')
      assert.equal((await awaitFailure(host, keep.play({ steps: [...CHANGES] }))).code, 'SHARD_RESTARTED')
      assert.deepEqual(await runSteps(host, keep, ...READ_ALL_STEPS), before)
    },
  },
  {
    name: 'a commit that fails takes the rows of its turn and of those behind it, and each durable call is applied once',
    needs: faults,
    run: async (host) => {
      const keep = await openScriptClient(host)
      await runSteps(host, keep, ...INITIAL_STEPS)
      const release = await host.faults!.holdCommits()
      const add = (x: number): Promise<{ told: unknown[] }> =>
        keep.playOnce({ steps: [['add', 'heads', undefined, 'gold', 1], spot(x, 'x')] })
      const calls = [add(10), add(11)]
      await host.sleep(30)
      await host.faults!.injectNext('failed')
      calls.push(add(12), add(13))
      await host.sleep(30)
      await release()
      const sums = (await awaitAllOn(host, calls)).map(({ told }) => told[0])
      assert.deepEqual(sums, [6, 7, 8, 9])
      assert.deepEqual((await readSpots(host, keep)).slice(3), ['10 x 0', '11 x 0', '12 x 0', '13 x 0'])
    },
  },
  {
    name: 'commits that fail now and then under load: the rows of every durable call are there once, in order',
    needs: faults,
    run: async (host) => {
      const keep = await openScriptClient(host)
      await runSteps(host, keep, ...INITIAL_STEPS)
      const sums: unknown[] = []
      const calls: Promise<unknown>[] = []
      for (let i = 0; i < 60; i++) {
        if (i % 15 === 3) await host.faults!.injectNext('failed')
        if (i % 15 === 8) await host.faults!.injectNext('applied')
        if (i % 15 === 13) await host.faults!.injectNext('dropped')
        const steps: RowStep[] = [['add', 'heads', undefined, 'gold', 1], spot(100 + i, 'x')]
        calls.push(keep.playOnce({ steps }).then(({ told }) => sums.push(told[0])))
        if (i % 7 === 0) await host.sleep(1)
      }
      await awaitAllOn(host, calls)
      assert.deepEqual(
        sums,
        sums.map((_, i) => 6 + i),
      )
      assert.equal((await readSpots(host, keep)).length, 63)
    },
  },
  {
    name: 'what a turn that waits has changed is gone with its activation',
    needs: ['abort'],
    run: async (host) => {
      const [key, gate] = [uniqueName(), uniqueName('gate')]
      const client = await host.sdkClient()
      const keep = client.at(RowScript, key)
      await runSteps(host, keep, ...INITIAL_STEPS)
      const before = await runSteps(host, keep, ...READ_ALL_STEPS)
      const lost = awaitFailure(host, keep.play({ steps: [...CHANGES, ['wait', gate]] }))
      await waitForTurnsAtGate(host, client.at(Gate), gate)
      await host.abortShard('keep', key)
      assert.equal((await lost).code, 'SHARD_RESTARTED')
      await awaitOn(host, client.at(Gate).open({ name: gate }))
      assert.deepEqual(await runSteps(host, keep, ...READ_ALL_STEPS), before)
    },
  },
  {
    name: 'a row is good for its turn, also after an await, and refuses to be used in a later one',
    run: async (host) => {
      const keep = await openScriptClient(host)
      const hold: RowStep = ['hold', 'heads']
      const told = await runSteps(host, keep, ['insert', 'heads', { gold: 1 }], hold, ['late'], ['used'])
      assert.equal((told[3] as { gold: number }).gold, 1)
      assert.match(String((await runSteps(host, keep, ['used']))[0]), /^BUG this context is over: its turn has ended/)
      const [, , , gone] = await runSteps(host, keep, hold, ['late'], ['delete', 'heads'], ['used'])
      assert.match(String(gone), /keep_head: the row .* was deleted/)
    },
  },
  {
    name: 'a row is read again on request, by a turn that has not changed it',
    run: async (host) => {
      const keep = await openScriptClient(host)
      const at = { x: 1, word: 'a' }
      const invalidate: RowStep = ['invalidate', 'spots', at]
      assert.deepEqual(await runSteps(host, keep, invalidate), [null])
      await runSteps(host, keep, spot(1, 'a', 1))
      const [row, , refused] = await runSteps(host, keep, invalidate, ['update', 'spots', at, { n: 2 }], invalidate)
      assert.equal((row as { n: number }).n, 1)
      assert.match(String(refused), /^BAD_VALUE keep_spot: this turn has changed the row/)
      assert.deepEqual(await readSpots(host, keep), ['1 a 2'])
    },
  },
  {
    name: 'a turn that saves is answered, with rows and without, and a bad one as well',
    run: async (host) => {
      const keep = await openScriptClient(host)
      await runSteps(host, keep, ['save'])
      await runSteps(host, keep, spot(1, 'a'), ['save'])
      await awaitFailure(host, keep.play({ steps: [spot(2, 'b'), ['save'], ['throw']] }))
      await awaitOn(host, keep.playOnce({ steps: [['late'], spot(3, 'c'), ['save']] }))
      assert.deepEqual(await readSpots(host, keep), ['1 a 0', '3 c 0'])
    },
  },
  {
    name: 'a value that can be computed again is computed once in its time, and what failed is not kept',
    run: async (host) => {
      const keep = await openScriptClient(host)
      const [good, bad] = [uniqueName('good'), uniqueName('bad')]
      const read = async (name: string): Promise<unknown> => (await runSteps(host, keep, ['cached', name]))[0]
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
