// Which rows a shard finds: by key, by foreign keys, in order, its own and no others. Whatever is asked, the answer is
// that of a list that is kept beside it.

import assert from 'node:assert/strict'
import type { Remote } from '../../../client/index.ts'
import type { Host } from '../host.ts'
import { RowScript, type RowStep } from '../rowshards.ts'
import { awaitOn, awaitFailure, uniqueName, callWithRetry, type Case } from './case.ts'

type RowScriptClient = Remote<(typeof RowScript)['entries']>

async function openScriptClient(host: Host, key = uniqueName()): Promise<RowScriptClient> {
  return (await host.sdkClient()).at(RowScript, key)
}
async function runSteps(host: Host, keep: RowScriptClient, ...steps: RowStep[]): Promise<unknown[]> {
  return (await callWithRetry(host, () => keep.play({ steps }))).told
}
const spot = (x: number, word: string, n = 0): RowStep => ['insert', 'spots', { x, word, n }]
interface Spot {
  readonly x: number
  readonly word: string
  readonly n: number
}
function spotTexts(rows: unknown): string[] {
  return (rows as Spot[]).map(({ x, word, n }) => `${x} ${word} ${n}`)
}
function ids(rows: unknown): string[] {
  return (rows as { id: string }[]).map(({ id }) => id)
}
function byKey(a: Spot, b: Spot): number {
  return a.x - b.x || Buffer.compare(Buffer.from(a.word), Buffer.from(b.word))
}

/** Numbers 0 <= x < below, the same in every run. */
function seededRandom(seed: number): (below: number) => number {
  return (below) => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0
    return Math.floor((seed / 4_294_967_296) * below)
  }
}

/** In the order of code points, which is not that of UTF-16: the last but one sorts behind the surrogates there. */
const WORDS = ['', ' a', 'A', 'B', 'a', 'aa', 'ab', 'b', 'é', '語', '\ue000', '\uffff', '\u{10000}', '\u{1f600}']
const PLACES = [-0x8000_0000, -10, -9, -1, 0, 1, 2, 10, 100, 0x7fff_ffff]

/** One random step, and what it must say; `model` is changed with it. */
function randomStep(model: Map<string, Spot>, random: (below: number) => number): [RowStep, unknown] {
  const [x, word, n] = [random(4), 'ab'[random(2)]!, random(3)]
  const id = `${x}${word}`
  const known = model.get(id)
  switch (random(8)) {
    case 0:
    case 1:
    case 2:
      if (!known) model.set(id, { x, word, n })
      return [spot(x, word, n), known ? 'DUPLICATE' : [`${x} ${word} ${n}`]]
    case 3:
      if (known) model.set(id, { x, word, n })
      return [known ? ['update', 'spots', { x, word }, { n }] : ['get', 'spots', { x, word }], null]
    case 4:
      model.delete(id)
      return [known ? ['delete', 'spots', { x, word }] : ['get', 'spots', { x, word }], null]
    default: {
      const descending = random(2) === 1
      const limit = random(3) === 0 ? undefined : random(4)
      const by = random(2) === 1 ? { n } : {}
      const found = [...model.values()].filter((one) => !('n' in by) || one.n === n).sort(byKey)
      if (descending) found.reverse()
      const options = { descending, ...(limit === undefined ? {} : { limit }) }
      return [['all', 'spots', by, options], spotTexts(found.slice(0, limit))]
    }
  }
}
function comparable(told: unknown): unknown {
  if (typeof told === 'string') return told.split(' ')[0]
  return told === null ? null : spotTexts(Array.isArray(told) ? told : [told])
}

/** Values of foreign keys of every kind, with another that is like them. */
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

/** Ascending values of each kind that a key may be of. */
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
    name: 'keys of every kind stand in their order, and find their rows again',
    needs: ['evict'],
    run: async (host) => {
      for (const [column, values] of Object.entries(ASCENDING_VALUES)) {
        const key = uniqueName()
        const keep = await openScriptClient(host, key)
        const keys = values.map((value) => ({ ...RANK, [column]: value }))
        const inserts = keys.map((one, n): RowStep => ['insert', 'ranks', { ...one, n }])
        const order = async (...steps: RowStep[]): Promise<unknown[]> => {
          const told = await runSteps(
            host,
            keep,
            ...steps,
            ['all', 'ranks'],
            ['all', 'ranks', {}, { descending: true }],
          )
          const [up, down] = told.slice(-2) as { n: number }[][]
          assert.deepEqual(down, up!.toReversed(), column)
          return up!.map(({ n }) => n)
        }
        const ascending = values.map((_, n) => n)
        assert.deepEqual(
          await order(...inserts.filter((_, i) => i % 2 === 1)),
          ascending.filter((n) => n % 2 === 1),
        )
        assert.deepEqual(await order(...inserts.filter((_, i) => i % 2 === 0).toReversed()), ascending, column)
        await host.evictShard('keep', key)
        const told = await runSteps(host, keep, ...keys.map((one): RowStep => ['get', 'ranks', one]))
        assert.deepEqual(
          told.map((row) => (row as { n: number } | null)?.n),
          ascending,
          column,
        )
        assert.deepEqual(await order(), ascending, column)
      }
    },
  },
  {
    name: 'rows stand in the order of their keys, committed or not',
    run: async (host) => {
      const keep = await openScriptClient(host)
      const die = seededRandom(7)
      const keys = PLACES.flatMap((x) => [1, 6, 11, 13].map((i) => ({ x, word: WORDS[i]!, n: 0 })))
      const all: Spot[] = [...keys, ...WORDS.map((word) => ({ x: 7, word, n: 0 }))]
      const shuffled = all.map((one) => ({ one, at: die(1e6) })).sort((a, b) => a.at - b.at)
      const inserts = shuffled.map(({ one }) => spot(one.x, one.word))
      await runSteps(host, keep, ...inserts.slice(0, 30))
      const looks: RowStep[] = [
        ['all', 'spots'],
        ['all', 'spots', {}, { descending: true }],
        ['all', 'spots', {}, { descending: true, limit: 3 }],
      ]
      const sorted = spotTexts(all.toSorted(byKey))
      const expected = [sorted, sorted.toReversed(), sorted.toReversed().slice(0, 3)]
      const told = await runSteps(host, keep, ...inserts.slice(30), ...looks)
      assert.deepEqual(told.slice(-3).map(spotTexts), expected)
      assert.deepEqual((await runSteps(host, keep, ...looks)).map(spotTexts), expected)
    },
  },
  {
    name: 'what all() finds is what a list beside it would, through inserts, deletes, bad turns and evictions',
    needs: ['evict'],
    run: async (host) => {
      const key = uniqueName()
      const keep = await openScriptClient(host, key)
      const die = seededRandom(42)
      let model = new Map<string, Spot>()
      for (let turn = 0; turn < 60; turn++) {
        const draft = new Map(model)
        const bad = die(4) === 0
        const steps = Array.from({ length: 12 }, () => randomStep(draft, die))
        const script = steps.map(([step]) => step)
        if (bad) await awaitFailure(host, keep.play({ steps: [...script, ['throw']] }))
        else {
          const told = await runSteps(host, keep, ...script)
          for (const [i, [step, expected]] of steps.entries())
            assert.deepEqual(comparable(told[i]), expected, `turn ${turn}, step ${i}: ${JSON.stringify(step)}`)
          model = draft
        }
        if (die(10) === 0) await host.evictShard('keep', key)
      }
    },
  },
  {
    name: 'rows are found by foreign keys of every kind, committed or not',
    run: async (host) => {
      for (const [column, value, other] of FOREIGN_KEY_VALUES) {
        const keep = await openScriptClient(host)
        const what = `${column} ${String(value)}`
        const all: RowStep[] = [
          ['all', 'items', { [column]: value }],
          ['all', 'items', { [column]: other }],
        ]
        const told = await runSteps(
          host,
          keep,
          ['insert', 'items', { id: 'a', [column]: value }],
          ['insert', 'items', { id: 'b', [column]: other }],
          ...all,
        )
        assert.deepEqual(told.slice(2).map(ids), [['a'], ['b']], `${what} in its turn`)
        assert.deepEqual((await runSteps(host, keep, ...all)).map(ids), [['a'], ['b']], `${what} later`)
        const swap: RowStep[] = [
          ['update', 'items', 'a', { [column]: other }],
          ['update', 'items', 'b', { [column]: value }],
        ]
        const swapped = await runSteps(host, keep, ...swap, ...all)
        assert.deepEqual(swapped.slice(2).map(ids), [['b'], ['a']], `${what} swapped`)
        const both = await runSteps(host, keep, ['all', 'items', { [column]: value, kind: 'sword' }])
        assert.deepEqual(both.map(ids), [column === 'kind' ? ['a'] : ['b']], `${what} and kind`)
      }
    },
  },
  {
    name: 'a unique value is free again when its row is deleted or has another, in the same turn too',
    run: async (host) => {
      const keep = await openScriptClient(host)
      await runSteps(
        host,
        keep,
        ['insert', 'items', { id: 'a', mark: 'x' }],
        ['insert', 'items', { id: 'b', mark: 'y' }],
      )
      const told = await runSteps(
        host,
        keep,
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
      assert.match(String(told[0]), /^DUPLICATE keep_item\.mark: "y" is taken/)
      assert.deepEqual(told.slice(1, 6), [null, null, null, null, null])
      assert.deepEqual(told.slice(-2).map(ids), [['c'], ['a']])
    },
  },
  {
    name: 'generated ids are new, and stand in the order in which they were made',
    run: async (host) => {
      const keep = await openScriptClient(host)
      const made: string[] = []
      for (let turn = 0; turn < 5; turn++) {
        const told = await runSteps(host, keep, ...Array.from({ length: 4 }, (): RowStep => ['insert', 'items', {}]))
        made.push(...ids(told).toSorted())
        await host.sleep(5)
      }
      assert.equal(new Set(made).size, 20)
      assert.deepEqual((await runSteps(host, keep, ['all', 'items'])).map(ids), [made])
      const [own] = await runSteps(host, keep, ['insert', 'items', { id: 'mine' }])
      assert.equal((own as { id: string }).id, 'mine')
    },
  },
  {
    name: 'rows of another key are never seen, whatever their own keys are',
    run: async (host) => {
      const keys = [uniqueName(), uniqueName()]
      const [one, two] = [await openScriptClient(host, keys[0]), await openScriptClient(host, keys[1])]
      const rows = (gold: number): RowStep[] => [
        ['insert', 'heads', { gold }],
        spot(1, 'w', gold),
        ['insert', 'items', { id: 'same', mark: 'same', count: gold }],
        ['insert', 'notes', { id: uniqueName('note'), text: String(gold), seal: new Uint8Array([gold]) }],
      ]
      await runSteps(host, one, ...rows(1))
      const look: RowStep[] = [
        ['get', 'heads'],
        ['get', 'items', 'same'],
        ['get', 'spots', { x: 1, word: 'w' }],
        ['all', 'items', { mark: 'same' }],
        ['all', 'spots'],
        ['all', 'notes'],
      ]
      assert.deepEqual(await runSteps(host, two, ...look), [null, null, null, [], [], []])
      await runSteps(host, two, ...rows(2))
      for (const [i, keep] of [one, two].entries()) {
        const told = (await runSteps(host, keep, ...look)).flat() as { keep: string }[]
        assert.deepEqual([told.length, ...new Set(told.map((row) => row.keep))], [6, keys[i]])
      }
      await runSteps(host, one, ['delete', 'heads'], ['delete', 'items', 'same'])
      assert.equal(((await runSteps(host, two, ...look)) as { gold: number }[])[0]!.gold, 2)
    },
  },
  {
    name: 'a thousand rows in one turn',
    run: async (host) => {
      const keep = await openScriptClient(host)
      assert.deepEqual(await awaitOn(host, keep.grow({ from: 0, count: 1_000 })), { n: 1_000 })
      const [tens, last] = await runSteps(
        host,
        keep,
        ['all', 'spots', { n: 3 }],
        ['all', 'spots', {}, { descending: true, limit: 2 }],
      )
      assert.deepEqual([(tens as unknown[]).length, spotTexts(last)], [100, ['999 w5 9', '998 w4 8']])
      await awaitFailure(host, keep.grow({ from: 500, count: 1_000 }))
      assert.deepEqual(await awaitOn(host, keep.grow({ from: 1_000, count: 1_000 })), { n: 2_000 })
    },
  },
]
