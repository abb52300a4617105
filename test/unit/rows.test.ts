// Rows in memory: eviction, what a turn reads however small the cache is, the order of keys in both databases, and ids
// that rise with the clock.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { format, inspect } from 'node:util'

import fc from 'fast-check'

import { command, contract, firefly, shard, t, table, type Rows } from '../../core/game/index.ts'
import { Engine } from '../../core/engine/engine.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/testing/memory.ts'
import type { PeerAnswer } from '../../core/ports/directory.ts'
import type { Row } from '../../core/ports/store.ts'
import { CachedRow, OVERHEAD_BYTES, RowCache, rowBytes } from '../../core/rows/rowcache.ts'
import { compareKeys, newRowId } from '../../core/rows/rowkey.ts'
import type { RowError } from '../../core/wire/errors.ts'

/** A row that takes 1,000 bytes with its overhead. */
const ROW_OF_1000_BYTES: Row = { text: 'x'.repeat(984 - OVERHEAD_BYTES) }
function cachedRow(
  name: string,
  evicted: string[] = [],
  row: Row | null = ROW_OF_1000_BYTES,
  isPinned = false,
): CachedRow {
  return new CachedRow(name, [name], row, ({ id }) => evicted.push(id), isPinned)
}

test('bounds rows in memory by bytes, and evicts the least recently used first', () => {
  const evicted: string[] = []
  const cache = new RowCache(3_000)
  const rows = ['a', 'b', 'c'].map((name) => cachedRow(name, evicted))
  for (const row of rows) cache.add(row)
  assert.deepEqual([cache.bytes, cache.rows, evicted], [3_000, 3, []])
  cache.markUsed(rows[0]!)
  cache.add(cachedRow('d', evicted))
  assert.deepEqual([cache.bytes, cache.rows, evicted], [3_000, 3, ['b']])
  cache.add(cachedRow('e', evicted, { text: 'x'.repeat(1_984 - OVERHEAD_BYTES) }))
  assert.deepEqual([cache.bytes, evicted], [3_000, ['b', 'c', 'a']])
  assert.equal(rows[1]!.isEvicted, true)
})

test('does not evict a pinned row until its last pin is removed', () => {
  const evicted: string[] = []
  const cache = new RowCache(1_000)
  const row = cachedRow('pinned', evicted)
  cache.add(row)
  cache.pin(row)
  cache.pin(row)
  for (const name of ['a', 'b']) cache.add(cachedRow(name, evicted))
  assert.deepEqual([evicted, cache.rows], [['a'], 2], 'the last added row is not evicted')
  cache.unpin(row)
  cache.markUsed(row)
  assert.equal(row.isEvicted, false)
  cache.unpin(row)
  assert.deepEqual([evicted, cache.bytes], [['a', 'b'], 1_000])
  const never = cachedRow('never', evicted, ROW_OF_1000_BYTES, true)
  cache.add(never)
  for (const name of ['c', 'd']) cache.add(cachedRow(name, evicted))
  assert.deepEqual([never.isEvicted, evicted], [false, ['a', 'b', 'pinned', 'c']])
})

test('a pinned row that grows evicts others', () => {
  const evicted: string[] = []
  const cache = new RowCache(3_000)
  const [first, pinned] = [cachedRow('first', evicted), cachedRow('pinned', evicted)]
  for (const row of [first, pinned]) cache.add(row)
  cache.pin(pinned)
  cache.setRow(pinned, { text: 'x'.repeat(2_500) })
  assert.deepEqual([evicted, first.isEvicted, pinned.isEvicted], [['first'], true, false])
})

test('counts the bytes of its rows through any sequence of operations', () => {
  const step = fc.tuple(fc.constantFrom('add', 'use', 'pin', 'unpin', 'change', 'remove'), fc.nat(9), fc.nat(2_000))
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const cache = new RowCache(5_000)
      const rows = new Map<number, CachedRow>()
      for (const [what, name, size] of steps) {
        const row = rows.get(name)
        if (what === 'add' && !row) {
          const added = new CachedRow(String(name), [name], { text: 'x'.repeat(size) }, () => rows.delete(name))
          rows.set(name, added)
          cache.add(added)
        } else if (!row) continue
        else if (what === 'use') cache.markUsed(row)
        else if (what === 'pin') cache.pin(row)
        else if (what === 'unpin' && row.pins > 0) cache.unpin(row)
        else if (what === 'remove') cache.remove(row)
        else if (what === 'change' && row.pins > 0) {
          cache.setRow(row, size % 3 === 0 ? null : { text: 'y'.repeat(size) })
        }
        const present = [...rows.values()]
        assert.equal(cache.rows, present.length)
        assert.equal(
          cache.bytes,
          present.reduce((sum, { row: values }) => sum + OVERHEAD_BYTES + rowBytes(values), 0),
        )
        const unpinned = present.filter(({ pins }) => pins === 0)
        assert.ok(cache.bytes <= 5_000 || unpinned.length <= 1, 'rows above the bound are evicted')
      }
    }),
  )
})

test('orders keys by UTF-8 bytes, by number and by bytes', () => {
  const texts = [
    '',
    ' ',
    'A',
    'a',
    'aa',
    'b',
    '\u007f',
    '\u0080',
    'é',
    '\ud7ff',
    '\ue000',
    '\uffff',
    '\u{10000}',
    '\u{10ffff}',
  ]
  const orders: readonly (readonly unknown[])[] = [
    texts,
    [-5, -1, 0, 9, 10, 2 ** 40],
    [-(2n ** 63n), -1n, 0n, 9n, 10n, 2n ** 64n - 1n],
    [false, true],
    [new Date(-1), new Date(0), new Date(5)],
    [[], [0], [0, 0], [0, 255], [1], [128]].map((bytes) => new Uint8Array(bytes)),
  ]
  for (const order of orders)
    for (const [i, a] of order.entries())
      for (const [j, b] of order.entries())
        assert.equal(Math.sign(compareKeys(['k', a], ['k', b])), Math.sign(i - j), `${String(a)} ${String(b)}`)
  assert.ok(compareKeys(['b', 1], ['a', 2]) > 0)
  const text = fc.string({ unit: 'binary' })
  fc.assert(
    fc.property(text, text, (a, b) => {
      const expected = Buffer.compare(Buffer.from(a), Buffer.from(b))
      assert.equal(Math.sign(compareKeys([a], [b])), expected)
    }),
  )
})

test('generates ids that rise with time, and differ within one millisecond', () => {
  const clock = new ManualClock()
  const ids: string[] = []
  for (let i = 0; i < 100; i++) {
    ids.push(newRowId(clock))
    clock.advance(1 + i * i * 1_000)
  }
  assert.deepEqual(ids.toSorted(), ids)
  for (const id of ids) assert.match(id, /^[0-9A-HJKMNP-TV-Z]{26}$/)
  assert.equal(new Set(Array.from({ length: 1_000 }, () => newRowId(clock))).size, 1_000)
})

const Own = contract('own', { run: command(1, {}, t.optional(t.u32)) })
const tables = {
  things: table(
    'thing',
    { own: t.string(64), n: t.u32, word: t.string(3_000_000), mark: t.nullable(t.u32) },
    { key: ['own', 'n'], owner: Own, unique: ['mark'], defaults: { word: '' } },
  ),
  stays: table('stays', { own: t.string(64), n: t.u32 }, { key: ['own', 'n'], owner: Own, evict: 'never' }),
  made: table('made', { own: t.string(64), n: t.u32 }, { key: ['own', 'n'], owner: Own, ids: 'auto' }),
  /** Has the name of an internal field of `c.rows`. */
  turn: table('turns', { own: t.string(64), n: t.u32 }, { key: 'own', owner: Own }),
}
type Own = Rows<typeof tables>

/** An engine in memory, with a shard that runs the given work in one turn. */
function createFixture(maxRowCacheBytes: number) {
  const log = new MemoryLog()
  const store = new MemoryStore()
  let currentWork: (rows: Own) => unknown = () => 0
  const own = shard(Own)
    .tables(tables)
    .on('run', async (c) => {
      const done = currentWork(c.rows)
      if (done instanceof Promise) await done
      return undefined
    })
  const limits = { maxRowCacheBytes }
  const engine = new Engine(firefly({ own }), { clock: new ManualClock(), store, log }, { limits })
  const run = (work: (rows: Own) => unknown): Promise<PeerAnswer> => {
    currentWork = work
    const call = { command: 1, body: new Uint8Array(0), chain: [], timeoutMs: 0 }
    return engine.receiveCall({ contract: 'own', key: 'k' }, call)
  }
  const runExpectingReply = async (work: (rows: Own) => unknown): Promise<void> => {
    const answer = await run(work)
    const error = log.lines.findLast(({ level }) => level === 'error')
    assert.equal(answer.kind, 'reply', String(error?.fields['error']))
  }
  return { engine, store, log, run, runOk: runExpectingReply }
}

test('console.log shows the columns of a row: in its turn, after its turn, and that it was deleted', async () => {
  const { runOk } = createFixture(1)
  let kept: unknown
  await runOk((rows) => {
    const row = rows.things.insert({ n: 1, word: 'hello' })
    rows.things.insert({ n: 2 })
    row.update({ mark: 7 })
    assert.equal(inspect(row), "{ own: 'k', n: 1, word: 'hello', mark: 7 }")
    assert.equal(format('%o and', row).replaceAll(/\s+/g, ' '), "{ own: 'k', n: 1, word: 'hello', mark: 7 } and")
    assert.equal(inspect({ list: [row] }), "{ list: [ { own: 'k', n: 1, word: 'hello', mark: 7 } ] }")
    kept = row
    const other = rows.things.get(2)!
    other.delete()
    assert.equal(inspect(other), '[deleted row of thing]')
  })
  assert.equal(inspect(kept), "{ own: 'k', n: 1, word: 'hello', mark: 7 }")
})

for (const maxBytes of [1, 600, 1_000_000]) {
  test(`a turn reads its own changes and those of earlier turns with a cache of ${maxBytes} bytes`, async () => {
    const { engine, run, runOk } = createFixture(maxBytes)
    const model = new Map<number, number>()
    const check = (rows: Own): void => {
      const expected = [...model].toSorted(([a], [b]) => a - b)
      const all = rows.things.all()
      const found = all.map(({ n, mark }) => [n, mark])
      assert.deepEqual(found, expected)
      for (const [n, mark] of model) assert.equal(rows.things.get(n)?.mark, mark)
    }
    await runOk((rows) => {
      for (let n = 0; n < 20; n++) {
        rows.things.insert({ n, mark: n })
        model.set(n, n)
      }
      check(rows)
    })
    await runOk((rows) => {
      check(rows)
      const handles = [...model.keys()].map((n) => rows.things.get(n)!)
      for (const row of handles) {
        row.update({ mark: row.n * 2 + 100 })
        assert.equal(row.increment('mark', 1), row.n * 2 + 101)
        model.set(row.n, row.n * 2 + 101)
      }
      check(rows)
      for (const row of handles.slice(0, 5)) {
        model.delete(row.n)
        row.delete()
      }
      check(rows)
      rows.things.insert({ n: 3, mark: 3 })
      model.set(3, 3)
      assert.throws(() => rows.things.insert({ n: 4, mark: 3 }), /thing\.mark: 3 is taken/)
      check(rows)
    })
    const answer = await run((rows) => {
      for (const row of rows.things.all()) row.delete()
      for (let n = 0; n < 40; n++) rows.things.insert({ n, mark: n })
      throw new Error('the bug of the test')
    })
    assert.equal(answer.kind, 'system')
    await runOk(check)
    const { bytes } = engine.rowCache
    assert.ok(bytes <= maxBytes || engine.rowCache.rows <= 1, `${bytes} bytes`)
  })
}

test('reads rows of a table with evict never once, and removes them with their shard', async () => {
  const { engine, runOk } = createFixture(1)
  await runOk((rows) => {
    for (let n = 0; n < 10; n++) rows.stays.insert({ n })
  })
  await runOk((rows) => {
    for (let n = 0; n < 10; n++) rows.things.insert({ n })
  })
  const before = engine.meter.rowReads
  await runOk((rows) => {
    for (let n = 0; n < 10; n++) assert.equal(rows.stays.get(n)?.n, n)
  })
  assert.equal(engine.meter.rowReads, before)
  await engine.evict({ contract: 'own', key: 'k' })
  assert.deepEqual([engine.rowCache.bytes, engine.rowCache.rows], [0, 0])
})

test('warns once about rows above 100 KB', async () => {
  const { log, runOk } = createFixture(1_000_000)
  const warnings = (): unknown[] => log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields)
  await runOk((rows) => rows.things.insert({ n: 1, word: 'x'.repeat(102_300) }))
  assert.deepEqual(warnings(), [])
  for (const size of [102_400, 200_000]) await runOk((rows) => rows.things.get(1)!.update({ word: 'x'.repeat(size) }))
  const [{ table: name, key, bytes }, ...others] = warnings() as [Record<string, unknown>]
  assert.deepEqual([name, key, others], ['thing', '"1"', []])
  assert.ok(typeof bytes === 'number' && bytes > 102_400 && bytes < 103_000, String(bytes))
})

test('a table may have the name of an internal field', async () => {
  const { runOk } = createFixture(1_000_000)
  await runOk((rows) => rows.turn.insert({ n: 7 }))
  await runOk((rows) => assert.equal(rows.turn.get()?.n, 7))
})

test('does not insert a row when its id arrives after the end of the turn', async () => {
  const { store, run, runOk } = createFixture(1_000_000)
  const { promise, resolve } = Promise.withResolvers<bigint>()
  Object.assign(store, { nextId: () => promise })
  let inserted: Promise<unknown> = Promise.resolve()
  await runOk((rows) => {
    // The handler does not await the insert.
    inserted = rows.made.insert({})
    inserted.catch(() => {})
    return 0
  })
  resolve(7n)
  await assert.rejects(inserted, /this context is over: its turn has ended/)
  await runOk((rows) => assert.deepEqual(rows.made.all(), []))
  await runOk(async (rows) => assert.equal((await rows.made.insert({})).n, 7))
  const { kind } = await run((rows) => rows.made.insert({}))
  assert.equal(kind, 'system', 'the id is taken')
})

test('invalidate does not overwrite a row that its turn changed meanwhile', async () => {
  const { store, runOk } = createFixture(1_000_000)
  const { promise, resolve } = Promise.withResolvers<Row>()
  Object.assign(store, { reload: () => promise })
  await runOk((rows) => rows.turn.insert({ n: 1 }))
  await runOk(async (rows) => {
    const refreshed = rows.turn.invalidate()
    rows.turn.get()!.update({ n: 2 })
    resolve({ own: 'k', n: 9 })
    await assert.rejects(refreshed, /turns: this turn has changed the row: invalidate it first/)
  })
  await runOk((rows) => assert.equal(rows.turn.get()?.n, 2))
  await runOk(async (rows) => {
    assert.equal((await rows.turn.invalidate())?.n, 9)
    assert.equal(rows.turn.get()?.n, 9)
  })
})

test('invalidate removes a row that moved to another shard', async () => {
  const { store, runOk } = createFixture(1_000_000)
  Object.assign(store, { reload: async () => ({ own: 'other', n: 9 }) })
  await runOk((rows) => rows.turn.insert({ n: 1 }))
  await runOk(async (rows) => {
    assert.equal(await rows.turn.invalidate(), undefined)
    assert.deepEqual([rows.turn.get(), rows.turn.all()], [undefined, []])
  })
  assert.equal(store.row({ contract: 'own', key: 'k' }, tables.turn.definition, ['k']), null)
  await runOk((rows) => assert.equal(rows.turn.insert({ n: 2 }).n, 2))
})

test('a RowError names the refused column, the columns of the key, or the largest column', async () => {
  const { runOk } = createFixture(1_000_000)
  await runOk((rows) => {
    const { things, turn } = rows
    things.insert({ n: 1, mark: 1 })
    turn.insert({ n: 1 })
    const refused: readonly (readonly [RowError['code'], column: string, () => unknown])[] = [
      ['DUPLICATE', 'n', () => things.insert({ n: 1 })],
      ['DUPLICATE', 'own', () => turn.insert({ n: 1 })],
      ['DUPLICATE', 'mark', () => things.insert({ n: 2, mark: 1 })],
      ['TOO_LARGE', 'word', () => things.insert({ n: 2, word: 'x'.repeat(2_000_000) })],
      ['UNKNOWN_COLUMN', 'nope', () => things.get(1)!.increment('nope' as never, 1 as never)],
    ]
    for (const [code, column, work] of refused) assert.throws(work, { name: 'RowError', code, column })
  })
})
