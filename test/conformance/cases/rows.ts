// Rows and turns: a turn sees its own changes and those of turns before it, committed or not; one that ends badly
// leaves none, and neither does one whose commit is not known to be there.

import assert from 'node:assert/strict'
import type { Remote } from '../../../client/index.ts'
import { Gate } from '../contracts.ts'
import type { Host, Need } from '../host.ts'
import { Keep, type Step } from '../keep.ts'
import { answer, answers, failure, fresh, insist, waiting, type Case } from './probe.ts'

type Keeper = Remote<(typeof Keep)['entries']>
const faults: readonly Need[] = ['commitFaults']

async function open(host: Host, key = fresh()): Promise<Keeper> {
  return (await host.client()).at(Keep, key)
}
async function play(host: Host, keep: Keeper, ...steps: Step[]): Promise<unknown[]> {
  return (await insist(host, () => keep.play({ steps }))).told
}
const spot = (x: number, word: string, n = 0): Step => ['insert', 'spots', { x, word, n }]
/** Of what was told of spots: `x word n`. */
function short(rows: unknown): string[] {
  return (rows as { x: number; word: string; n: number }[]).map(({ x, word, n }) => `${x} ${word} ${n}`)
}
async function spots(host: Host, keep: Keeper): Promise<string[]> {
  return short((await play(host, keep, ['all', 'spots']))[0])
}

/** How a turn may end badly, as its last steps. */
const BAD_ENDS: readonly (readonly Step[])[] = [
  [['throw']],
  [['refuse']],
  [['spoil']],
  [['late'], ['throw']],
  [['late'], ['refuse']],
  [['late'], ['spoil']],
  [['late'], spot(9, 'late'), ['add', 'spots', { x: 4, word: 'd' }, 'n', 1], ['throw']],
]
const BEFORE: readonly Step[] = [
  spot(1, 'a', 1),
  spot(2, 'b', 2),
  spot(3, 'c', 3),
  ['insert', 'heads', { gold: 5 }],
  ['insert', 'items', { id: 'i', mark: 'm' }],
  ['kv', 1],
]
/** Every way in which rows may change, some of them several times. */
const CHANGES: readonly Step[] = [
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
const LOOK: readonly Step[] = [['all', 'spots'], ['get', 'heads'], ['all', 'items'], ['kv']]

async function onceWhole(host: Host, fault: 'failed' | 'applied' | 'dropped'): Promise<void> {
  const keep = await open(host)
  await play(host, keep, ...BEFORE)
  let restarts = 0
  keep.onRestart(() => restarts++)
  await host.faults!.next(fault)
  const first = keep.playOnce({ steps: [['add', 'heads', undefined, 'gold', 1], spot(7, 'g'), ['kv', 7]] })
  const second = keep.playOnce({
    steps: [
      ['add', 'heads', undefined, 'gold', 1],
      ['all', 'spots'],
    ],
  })
  const [one, two] = await answers(host, [first, second])
  assert.deepEqual([one!.told[0], two!.told[0]], [6, 7])
  await host.until(() => restarts === 1, 'the activation ended')
  assert.deepEqual(short(two!.told[1]), ['1 a 1', '2 b 2', '3 c 3', '7 g 0'])
  const [head, kv] = await play(host, keep, ['get', 'heads'], ['kv'])
  assert.deepEqual([(head as { gold: number }).gold, kv], [7, 7])
}

export const cases: readonly Case[] = [
  {
    name: 'a turn sees its own changes',
    run: async (host) => {
      const keep = await open(host)
      const key = { x: 1, word: 'w' }
      const of = (n: number): unknown => ({ keep: (mine as { keep: string }).keep, ...key, n })
      const [none, mine, ...rest] = await play(
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
        ] as Step[]),
      )
      assert.deepEqual([none, mine], [null, of(5)])
      assert.deepEqual(rest, [of(5), null, [of(6)], 10, [of(10)], [], null, null, [], of(7), [of(7)]])
    },
  },
  {
    name: 'a turn that ends badly leaves no trace in rows, however often it changed them',
    run: async (host) => {
      for (const end of BAD_ENDS) {
        const key = fresh()
        const keep = await open(host, key)
        await play(host, keep, ...BEFORE)
        const before = await play(host, keep, ...LOOK)
        const { code } = await failure(host, keep.play({ steps: [...CHANGES, ...end] }))
        assert.equal(code, end.at(-1)![0] === 'refuse' ? 'NO' : 'INTERNAL')
        assert.deepEqual(await play(host, keep, ...LOOK), before, JSON.stringify(end))
        // And the shard goes on: the same turn, well ended.
        const after = await play(host, keep, ...CHANGES, ...LOOK)
        assert.deepEqual(short(after.at(-4)), ['1 a 11', '3 c 33', '4 d 44'])
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
      const key = fresh()
      const keep = await open(host, key)
      await play(host, keep, ...BEFORE)
      const before = await play(host, keep, ...LOOK)
      await failure(host, keep.play({ steps: [...CHANGES, ['late'], ['throw']] }))
      await host[need]('keep', key)
      assert.deepEqual(await play(host, keep, ...LOOK), before)
      await play(host, keep, ...CHANGES)
      const after = await play(host, keep, ...LOOK)
      await host[need]('keep', key)
      assert.deepEqual(await play(host, keep, ...LOOK), after)
    },
  })),
  {
    name: 'a turn sees what turns before it changed, committed or not, and not what a bad one did between',
    needs: faults,
    run: async (host) => {
      const keep = await open(host)
      await play(host, keep, ...BEFORE)
      const release = await host.faults!.hold()
      const order: string[] = []
      const at = { x: 1, word: 'a' }
      const run = (name: string, ...steps: Step[]): Promise<unknown[]> =>
        keep.play({ steps }).then(
          ({ told }) => (order.push(name), told),
          () => (order.push(`${name}!`), []),
        )
      const calls = [
        run(
          'change',
          spot(4, 'd', 4),
          ['update', 'spots', at, { n: 11 }],
          ['delete', 'spots', { x: 2, word: 'b' }],
        ),
        run('look', ['all', 'spots'], ['get', 'spots', { x: 2, word: 'b' }], ['all', 'spots', { n: 4 }]),
        run(
          'bad',
          ['update', 'spots', at, { n: 12 }],
          spot(2, 'b', 9),
          ['delete', 'spots', { x: 4, word: 'd' }],
          ['throw'],
        ),
        run(
          'add',
          ['add', 'spots', at, 'n', 1],
          ['insert', 'items', { id: 'j', mark: 'm' }],
          ['delete', 'items', 'i'],
        ),
        run('look', ['all', 'spots'], ['insert', 'items', { id: 'k', mark: 'm' }], ['get', 'items', 'i']),
      ]
      await host.pass(50)
      assert.deepEqual(order, [])
      await release()
      const [, first, , add, last] = await answers(host, calls)
      assert.deepEqual(order, ['change', 'look', 'bad!', 'add', 'look'])
      assert.deepEqual(
        [short(first![0]), first![1], short(first![2])],
        [['1 a 11', '3 c 3', '4 d 4'], null, ['4 d 4']],
      )
      assert.deepEqual([add![0], String(add![1]).slice(0, 9)], [12, 'DUPLICATE'])
      assert.deepEqual(short(last![0]), ['1 a 12', '3 c 3', '4 d 4'])
      assert.deepEqual([(last![1] as { id: string }).id, last![2]], ['k', null])
      assert.deepEqual(await spots(host, keep), ['1 a 12', '3 c 3', '4 d 4'])
    },
  },
  ...(['failed', 'applied', 'dropped'] as const).map((fault): Case => ({
    name: `a durable call whose commit was ${fault} changes its rows once`,
    needs: faults,
    run: (host) => onceWhole(host, fault),
  })),
  {
    name: 'a volatile call whose commit failed leaves no rows, and reads see what the store has',
    needs: faults,
    run: async (host) => {
      const keep = await open(host)
      await play(host, keep, ...BEFORE)
      const before = await play(host, keep, ...LOOK)
      await host.faults!.next('failed')
      assert.equal((await failure(host, keep.play({ steps: [...CHANGES] }))).code, 'SHARD_RESTARTED')
      assert.deepEqual(await play(host, keep, ...LOOK), before)
    },
  },
  {
    name: 'a commit that fails takes the rows of its turn and of those behind it, and each durable call is applied once',
    needs: faults,
    run: async (host) => {
      const keep = await open(host)
      await play(host, keep, ...BEFORE)
      const release = await host.faults!.hold()
      const add = (x: number): Promise<{ told: unknown[] }> =>
        keep.playOnce({ steps: [['add', 'heads', undefined, 'gold', 1], spot(x, 'x')] })
      const calls = [add(10), add(11)]
      await host.pass(30)
      await host.faults!.next('failed')
      calls.push(add(12), add(13))
      await host.pass(30)
      await release()
      const sums = (await answers(host, calls)).map(({ told }) => told[0])
      assert.deepEqual(sums, [6, 7, 8, 9])
      assert.deepEqual((await spots(host, keep)).slice(3), ['10 x 0', '11 x 0', '12 x 0', '13 x 0'])
    },
  },
  {
    name: 'commits that fail now and then under load: the rows of every durable call are there once, in order',
    needs: faults,
    run: async (host) => {
      const keep = await open(host)
      await play(host, keep, ...BEFORE)
      const sums: unknown[] = []
      const calls: Promise<unknown>[] = []
      for (let i = 0; i < 60; i++) {
        if (i % 15 === 3) await host.faults!.next('failed')
        if (i % 15 === 8) await host.faults!.next('applied')
        if (i % 15 === 13) await host.faults!.next('dropped')
        const steps: Step[] = [['add', 'heads', undefined, 'gold', 1], spot(100 + i, 'x')]
        calls.push(keep.playOnce({ steps }).then(({ told }) => sums.push(told[0])))
        if (i % 7 === 0) await host.pass(1)
      }
      await answers(host, calls)
      assert.deepEqual(
        sums,
        sums.map((_, i) => 6 + i),
      )
      assert.equal((await spots(host, keep)).length, 63)
    },
  },
  {
    name: 'what a turn that waits has changed is gone with its activation',
    needs: ['abort'],
    run: async (host) => {
      const [key, gate] = [fresh(), fresh('gate')]
      const client = await host.client()
      const keep = client.at(Keep, key)
      await play(host, keep, ...BEFORE)
      const before = await play(host, keep, ...LOOK)
      const lost = failure(host, keep.play({ steps: [...CHANGES, ['wait', gate]] }))
      await waiting(host, client.at(Gate), gate)
      await host.abort('keep', key)
      assert.equal((await lost).code, 'SHARD_RESTARTED')
      await answer(host, client.at(Gate).open({ name: gate }))
      assert.deepEqual(await play(host, keep, ...LOOK), before)
    },
  },
  {
    name: 'a row is good for its turn, also after an await, and refuses to be used in a later one',
    run: async (host) => {
      const keep = await open(host)
      const hold: Step = ['hold', 'heads']
      const told = await play(host, keep, ['insert', 'heads', { gold: 1 }], hold, ['late'], ['used'])
      assert.equal((told[3] as { gold: number }).gold, 1)
      assert.match(
        String((await play(host, keep, ['used']))[0]),
        /^BUG this context is over: its turn has ended/,
      )
      const [, , , gone] = await play(host, keep, hold, ['late'], ['delete', 'heads'], ['used'])
      assert.match(String(gone), /keep_head: the row .* was deleted/)
    },
  },
  {
    name: 'a row is read again on request, by a turn that has not changed it',
    run: async (host) => {
      const keep = await open(host)
      const at = { x: 1, word: 'a' }
      const invalidate: Step = ['invalidate', 'spots', at]
      assert.deepEqual(await play(host, keep, invalidate), [null])
      await play(host, keep, spot(1, 'a', 1))
      const [row, , refused] = await play(
        host,
        keep,
        invalidate,
        ['update', 'spots', at, { n: 2 }],
        invalidate,
      )
      assert.equal((row as { n: number }).n, 1)
      assert.match(String(refused), /^BAD_VALUE keep_spot: this turn has changed the row/)
      assert.deepEqual(await spots(host, keep), ['1 a 2'])
    },
  },
  {
    name: 'a turn that saves is answered, with rows and without, and a bad one as well',
    run: async (host) => {
      const keep = await open(host)
      await play(host, keep, ['save'])
      await play(host, keep, spot(1, 'a'), ['save'])
      await failure(host, keep.play({ steps: [spot(2, 'b'), ['save'], ['throw']] }))
      await answer(host, keep.playOnce({ steps: [['late'], spot(3, 'c'), ['save']] }))
      assert.deepEqual(await spots(host, keep), ['1 a 0', '3 c 0'])
    },
  },
  {
    name: 'a value that can be computed again is computed once in its time, and what failed is not kept',
    run: async (host) => {
      const keep = await open(host)
      const [good, bad] = [fresh('good'), fresh('bad')]
      const read = async (name: string): Promise<unknown> => (await play(host, keep, ['cached', name]))[0]
      const first = await read(good)
      assert.deepEqual([typeof first, await read(good)], ['number', first])
      assert.notEqual(await read(`${good}2`), first)
      await host.pass(250)
      assert.notEqual(await read(good), first)
      const failed = await read(bad)
      assert.match(String(failed), /^BUG load \d+$/)
      assert.notEqual(await read(bad), failed)
    },
  },
]
