// Which rows a shard finds: by key, by foreign keys, in order, and only its own. A model in memory gives the expected
// result of every query.

import assert from 'node:assert/strict'
import { Random } from '../../support/random.ts'
import type { RowStep } from '../rowshards.ts'
import { awaitOn, awaitFailure, uniqueName, type Case } from './case.ts'
import { insertSpot, openScriptShard, spotTexts, type Spot } from './rowscript.ts'

function ids(rows: unknown): string[] {
  return (rows as { id: string }[]).map(({ id }) => id)
}
function byKey(a: Spot, b: Spot): number {
  return a.x - b.x || Buffer.compare(Buffer.from(a.word), Buffer.from(b.word))
}

/** In code point order; in UTF-16 order `\ue000` and `\uffff` would be last. */
const WORDS = ['', ' a', 'A', 'B', 'a', 'aa', 'ab', 'b', 'é', '語', '\ue000', '\uffff', '\u{10000}', '\u{1f600}']
const PLACES = [-0x8000_0000, -10, -9, -1, 0, 1, 2, 10, 100, 0x7fff_ffff]

/** One random step and its expected result; the step is also applied to `model`. */
function randomStep(model: Map<string, Spot>, random: Random): [RowStep, unknown] {
  const [x, word, n] = [random.below(4), random.pick(['a', 'b']), random.below(3)]
  const id = `${x}${word}`
  const exists = model.has(id)
  const operation = random.below(8)
  if (operation < 3) {
    if (!exists) model.set(id, { x, word, n })
    return [insertSpot(x, word, n), exists ? 'DUPLICATE' : [`${x} ${word} ${n}`]]
  }
  if (operation === 3) {
    if (exists) model.set(id, { x, word, n })
    return [exists ? ['update', 'spots', { x, word }, { n }] : ['get', 'spots', { x, word }], null]
  }
  if (operation === 4) {
    model.delete(id)
    return [exists ? ['delete', 'spots', { x, word }] : ['get', 'spots', { x, word }], null]
  }
  const descending = random.chance(1 / 2)
  const limit = random.chance(1 / 3) ? undefined : random.below(4)
  const by = random.chance(1 / 2) ? { n } : {}
  const rows = [...model.values()].filter((row) => !('n' in by) || row.n === n).sort(byKey)
  if (descending) rows.reverse()
  const options = { descending, ...(limit === undefined ? {} : { limit }) }
  return [['all', 'spots', by, options], spotTexts(rows.slice(0, limit))]
}
function comparable(result: unknown): unknown {
  if (typeof result === 'string') return result.split(' ')[0]
  return result === null ? null : spotTexts(Array.isArray(result) ? result : [result])
}

/** A value of a foreign key of each type, and a similar one. */
const FOREIGN_KEY_VALUES: readonly (readonly [column: string, value: unknown, other: unknown])[] = [
  ['kind', 'shield', 'sword'],
  ['owner', null, 'null'],
  ['owner', 'null', null],
  ['owner', 'A', 'a'],
  ['owner', 'a', 'a '],
  ['owner', '', ' '],
  ['price', '1.5', '1.51'],
  ['price', '0', '0.01'],
  ['weight', 5, 6],
  ['weight', 2n ** 62n + 1n, 2n ** 62n],
  ['seal', new Uint8Array([1, 2]), new Uint8Array([1, 2, 0])],
  ['seal', null, new Uint8Array(0)],
  ['made', new Date(1_700_000_000_001), new Date(1_700_000_000_002)],
]

/** Ascending values of each type that a key may have. */
const ASCENDING_VALUES: Readonly<Record<string, readonly unknown[]>> = {
  date: [new Date('1000-01-01Z'), new Date(-1), new Date(0), new Date(999), new Date('9999-12-31Z')],
  u64: [0n, 9n, 10n, 2n ** 53n + 1n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n],
  i64: [-(2n ** 63n), -10n, -9n, 0n, 9n, 10n, 2n ** 63n - 1n],
  bytes: [[], [0], [0, 0], [1], [1, 255], [128]].map((bytes) => new Uint8Array(bytes)),
  yes: [false, true],
  one: ['B', 'a', 'b', 'é'],
  id: ['-', '0', 'A', 'AA', '_', 'a'],
  int: [Number.MIN_SAFE_INTEGER, -10, -9, 0, 9, 10, Number.MAX_SAFE_INTEGER],
}
const RANK = Object.fromEntries(Object.entries(ASCENDING_VALUES).map(([column, values]) => [column, values[1]]))

export const cases: readonly Case[] = [
  {
    name: 'keys of every type are in ascending order, and find their rows, before and after an eviction',
    needs: ['evict'],
    run: async (host) => {
      for (const [column, values] of Object.entries(ASCENDING_VALUES)) {
        const { key, run } = await openScriptShard(host)
        const keys = values.map((value) => ({ ...RANK, [column]: value }))
        const inserts = keys.map((rank, n): RowStep => ['insert', 'ranks', { ...rank, n }])
        const order = async (...steps: RowStep[]): Promise<unknown[]> => {
          const results = await run(...steps, ['all', 'ranks'], ['all', 'ranks', {}, { descending: true }])
          const [up, down] = results.slice(-2) as { n: number }[][]
          assert.deepEqual(down, up!.toReversed(), column)
          return up!.map(({ n }) => n)
        }
        const ascending = values.map((_, n) => n)
        const [odd, even] = [1, 0].map((rest) => inserts.filter((_, n) => n % 2 === rest))
        assert.deepEqual(
          await order(...odd!),
          ascending.filter((n) => n % 2 === 1),
        )
        assert.deepEqual(await order(...even!.toReversed()), ascending, column)
        await host.evictShard('rows', key)
        const rows = await run(...keys.map((rank): RowStep => ['get', 'ranks', rank]))
        assert.deepEqual(
          rows.map((row) => (row as { n: number } | null)?.n),
          ascending,
          column,
        )
        assert.deepEqual(await order(), ascending, column)
      }
    },
  },
  {
    name: 'rows are in the order of their keys, committed or not',
    run: async (host) => {
      const { run } = await openScriptShard(host)
      const keys = PLACES.flatMap((x) => [1, 6, 11, 13].map((i) => ({ x, word: WORDS[i]!, n: 0 })))
      const all: Spot[] = [...keys, ...WORDS.map((word) => ({ x: 7, word, n: 0 }))]
      const inserts = new Random(7).shuffled(all).map(({ x, word }) => insertSpot(x, word))
      await run(...inserts.slice(0, 30))
      const reads: RowStep[] = [
        ['all', 'spots'],
        ['all', 'spots', {}, { descending: true }],
        ['all', 'spots', {}, { descending: true, limit: 3 }],
      ]
      const sorted = spotTexts(all.toSorted(byKey))
      const expected = [sorted, sorted.toReversed(), sorted.toReversed().slice(0, 3)]
      const results = await run(...inserts.slice(30), ...reads)
      assert.deepEqual(results.slice(-3).map(spotTexts), expected)
      assert.deepEqual((await run(...reads)).map(spotTexts), expected)
    },
  },
  {
    name: 'all() returns what a model returns, after inserts, updates, deletes, rolled back turns and evictions',
    needs: ['evict'],
    run: async (host) => {
      const { key, client, run } = await openScriptShard(host)
      const random = new Random(42)
      let model = new Map<string, Spot>()
      for (let turn = 0; turn < 60; turn++) {
        const draft = new Map(model)
        const fails = random.chance(1 / 4)
        const steps = Array.from({ length: 12 }, () => randomStep(draft, random))
        const script = steps.map(([step]) => step)
        if (fails) await awaitFailure(host, client.play({ steps: [...script, ['throw']] }))
        else {
          const results = (await run(...script)).map(comparable)
          for (const [i, [step, expected]] of steps.entries())
            assert.deepEqual(results[i], expected, `turn ${turn}, step ${i}: ${JSON.stringify(step)}`)
          model = draft
        }
        if (random.chance(1 / 10)) await host.evictShard('rows', key)
      }
    },
  },
  {
    name: 'foreign keys of every type find their rows, committed or not',
    run: async (host) => {
      for (const [column, value, other] of FOREIGN_KEY_VALUES) {
        const { run } = await openScriptShard(host)
        const what = `${column} ${String(value)}`
        const reads: RowStep[] = [
          ['all', 'items', { [column]: value }],
          ['all', 'items', { [column]: other }],
        ]
        const inserted = await run(
          ['insert', 'items', { id: 'a', [column]: value }],
          ['insert', 'items', { id: 'b', [column]: other }],
          ...reads,
        )
        assert.deepEqual(inserted.slice(2).map(ids), [['a'], ['b']], `${what} in the same turn`)
        assert.deepEqual((await run(...reads)).map(ids), [['a'], ['b']], `${what} in the next turn`)
        const swapped = await run(
          ['update', 'items', 'a', { [column]: other }],
          ['update', 'items', 'b', { [column]: value }],
          ...reads,
        )
        assert.deepEqual(swapped.slice(2).map(ids), [['b'], ['a']], `${what} swapped`)
        const both = await run(['all', 'items', { [column]: value, kind: 'sword' }])
        assert.deepEqual(both.map(ids), [column === 'kind' ? ['a'] : ['b']], `${what} and kind`)
      }
    },
  },
  {
    name: 'a unique value is free when its row was deleted or updated, in the same turn too',
    run: async (host) => {
      const { run } = await openScriptShard(host)
      await run(['insert', 'items', { id: 'a', mark: 'x' }], ['insert', 'items', { id: 'b', mark: 'y' }])
      const results = await run(
        ['update', 'items', 'a', { mark: 'y' }],
        ['update', 'items', 'a', { mark: 'x' }],
        ['update', 'items', 'a', { mark: null }],
        ['update', 'items', 'b', { mark: 'x' }],
        ['update', 'items', 'a', { mark: 'y' }],
        ['delete', 'items', 'b'],
        ['insert', 'items', { id: 'c', mark: 'x' }],
        ['insert', 'items', { id: 'd', mark: null }],
        ['insert', 'items', { id: 'e' }],
        ['all', 'items', { mark: 'x' }],
        ['all', 'items', { mark: 'y' }],
      )
      assert.match(String(results[0]), /^DUPLICATE rows_item\.mark: "y" is taken/)
      assert.deepEqual(results.slice(1, 6), [null, null, null, null, null])
      assert.deepEqual(results.slice(-2).map(ids), [['c'], ['a']])
    },
  },
  {
    name: 'generated ids are unique and ascend in the order of their inserts',
    run: async (host) => {
      const { run } = await openScriptShard(host)
      const generated: string[] = []
      for (let turn = 0; turn < 5; turn++) {
        const rows = await run(...Array.from({ length: 4 }, (): RowStep => ['insert', 'items', {}]))
        generated.push(...ids(rows).toSorted())
        await host.sleep(5)
      }
      assert.equal(new Set(generated).size, 20)
      assert.deepEqual((await run(['all', 'items'])).map(ids), [generated])
      assert.deepEqual(ids(await run(['insert', 'items', { id: 'mine' }])), ['mine'])
    },
  },
  {
    name: 'a shard never finds rows of another shard, even when their own keys are equal',
    run: async (host) => {
      const [first, second] = [await openScriptShard(host), await openScriptShard(host)]
      const inserts = (gold: number): RowStep[] => [
        ['insert', 'heads', { gold }],
        insertSpot(1, 'w', gold),
        ['insert', 'items', { id: 'same', mark: 'same', count: gold }],
        ['insert', 'notes', { id: uniqueName('note'), text: String(gold), seal: new Uint8Array([gold]) }],
      ]
      await first.run(...inserts(1))
      const reads: RowStep[] = [
        ['get', 'heads'],
        ['get', 'items', 'same'],
        ['get', 'spots', { x: 1, word: 'w' }],
        ['all', 'items', { mark: 'same' }],
        ['all', 'spots'],
        ['all', 'notes'],
      ]
      assert.deepEqual(await second.run(...reads), [null, null, null, [], [], []])
      await second.run(...inserts(2))
      for (const { key, run } of [first, second]) {
        const rows = (await run(...reads)).flat() as { shard: string }[]
        assert.deepEqual([rows.length, ...new Set(rows.map(({ shard }) => shard))], [6, key])
      }
      await first.run(['delete', 'heads'], ['delete', 'items', 'same'])
      assert.equal(((await second.run(...reads)) as { gold: number }[])[0]!.gold, 2)
    },
  },
  {
    name: 'one turn inserts a thousand rows',
    run: async (host) => {
      const { client, run } = await openScriptShard(host)
      assert.deepEqual(await awaitOn(host, client.grow({ from: 0, count: 1_000 })), { n: 1_000 })
      const [tenth, last] = await run(['all', 'spots', { n: 3 }], ['all', 'spots', {}, { descending: true, limit: 2 }])
      assert.deepEqual([(tenth as unknown[]).length, spotTexts(last)], [100, ['999 w5 9', '998 w4 8']])
      await awaitFailure(host, client.grow({ from: 500, count: 1_000 }))
      assert.deepEqual(await awaitOn(host, client.grow({ from: 1_000, count: 1_000 })), { n: 2_000 })
    },
  },
]
