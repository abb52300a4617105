// Rows in memory: what stays and what leaves, what a turn sees however small the memory is, keys in the order of both
// databases, and ids that follow the clock.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { command, contract, firefly, shard, t, table, type Rows } from '../../core/game/index.ts'
import { Engine } from '../../core/engine/engine.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/testing/memory.ts'
import type { PeerAnswer } from '../../core/ports/directory.ts'
import type { Row } from '../../core/ports/store.ts'
import { CachedRow, OVERHEAD_BYTES, RowCache, rowBytes } from '../../core/rows/rowcache.ts'
import { compareKeys, newRowId } from '../../core/rows/rowkey.ts'
import type { RowError } from '../../core/wire/errors.ts'

/** A row of 1,000 bytes with all that is around it. */
const ROW_OF_1000_BYTES: Row = { text: 'x'.repeat(984 - OVERHEAD_BYTES) }
function cachedRow(name: string, gone: string[] = [], row: Row | null = ROW_OF_1000_BYTES): CachedRow {
  return new CachedRow(name, [name], row, ({ id }) => gone.push(id))
}

test('rows in memory are bounded by bytes, and the least recently used leave first', () => {
  const gone: string[] = []
  const cache = new RowCache(3_000)
  const rows = ['a', 'b', 'c'].map((name) => cachedRow(name, gone))
  for (const row of rows) cache.add(row)
  assert.deepEqual([cache.bytes, cache.rows, gone], [3_000, 3, []])
  cache.markUsed(rows[0]!)
  cache.add(cachedRow('d', gone))
  assert.deepEqual([cache.bytes, cache.rows, gone], [3_000, 3, ['b']])
  cache.add(cachedRow('e', gone, { text: 'x'.repeat(1_984 - OVERHEAD_BYTES) }))
  assert.deepEqual([cache.bytes, gone], [3_000, ['b', 'c', 'a']])
  assert.equal(rows[1]!.isEvicted, true)
})

test('a pinned row stays, however full the memory is, until the last pin is out', () => {
  const gone: string[] = []
  const cache = new RowCache(1_000)
  const row = cachedRow('pinned', gone)
  cache.add(row)
  cache.pin(row)
  cache.pin(row)
  for (const name of ['a', 'b']) cache.add(cachedRow(name, gone))
  assert.deepEqual([gone, cache.rows], [['a'], 2], 'the last one that was asked for is there as well')
  cache.unpin(row)
  cache.markUsed(row)
  assert.equal(row.isEvicted, false)
  cache.unpin(row)
  assert.deepEqual([gone, cache.bytes], [['a', 'b'], 1_000])
  const never = cachedRow('never', gone)
  never.pins = 1
  cache.add(never)
  for (const name of ['c', 'd']) cache.add(cachedRow(name, gone))
  assert.deepEqual([never.isEvicted, gone], [false, ['a', 'b', 'pinned', 'c']])
})

test('the bytes in memory are those of its rows, whatever happens to them', () => {
  const step = fc.tuple(
    fc.constantFrom('add', 'use', 'pin', 'unpin', 'change', 'remove'),
    fc.nat(9),
    fc.nat(2_000),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const cache = new RowCache(5_000)
      const rows = new Map<number, CachedRow>()
      for (const [what, name, size] of steps) {
        const row = rows.get(name)
        if (what === 'add' && !row) {
          const made = new CachedRow(String(name), [name], { text: 'x'.repeat(size) }, () =>
            rows.delete(name),
          )
          rows.set(name, made)
          cache.add(made)
        } else if (!row) continue
        else if (what === 'use') cache.markUsed(row)
        else if (what === 'pin') cache.pin(row)
        else if (what === 'unpin' && row.pins > 0) cache.unpin(row)
        else if (what === 'remove') cache.remove(row)
        else if (what === 'change' && row.pins > 0) {
          row.row = size % 3 === 0 ? null : { text: 'y'.repeat(size) }
          cache.updateSize(row)
        }
        const held = [...rows.values()]
        assert.equal(cache.rows, held.length)
        assert.equal(
          cache.bytes,
          held.reduce((sum, one) => sum + OVERHEAD_BYTES + rowBytes(one.row), 0),
        )
        const loose = held.filter(({ pins }) => pins === 0)
        assert.ok(cache.bytes <= 5_000 || loose.length <= 1, 'what may leave has left')
      }
    }),
  )
})

test('keys stand in the order of UTF-8, of numbers and of bytes', () => {
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
        assert.equal(
          Math.sign(compareKeys(['k', a], ['k', b])),
          Math.sign(i - j),
          `${String(a)} ${String(b)}`,
        )
  assert.ok(compareKeys(['b', 1], ['a', 2]) > 0)
  const text = fc.string({ unit: 'binary' })
  fc.assert(
    fc.property(text, text, (a, b) => {
      const expected = Buffer.compare(Buffer.from(a), Buffer.from(b))
      assert.equal(Math.sign(compareKeys([a], [b])), expected)
    }),
  )
})

test('ids that are made later stand behind, and two of one moment differ', () => {
  const clock = new ManualClock()
  const made: string[] = []
  for (let i = 0; i < 100; i++) {
    made.push(newRowId(clock))
    clock.advance(1 + i * i * 1_000)
  }
  assert.deepEqual(made.toSorted(), made)
  for (const id of made) assert.match(id, /^[0-9A-HJKMNP-TV-Z]{26}$/)
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
  /** Called as what `c.rows` might be thought to have of its own. */
  turn: table('turns', { own: t.string(64), n: t.u32 }, { key: 'own', owner: Own }),
}
type Own = Rows<typeof tables>

/** An engine in memory, and a shard that does what it is told in one turn. */
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
    const call = { command: 1, body: new Uint8Array(0), chain: [], deadlineMs: 0 }
    return engine.receiveCall({ contract: 'own', key: 'k' }, call)
  }
  const runExpectingReply = async (work: (rows: Own) => unknown): Promise<void> => {
    const answer = await run(work)
    const error = log.lines.findLast(({ level }) => level === 'error')
    assert.equal(answer.kind, 'reply', String(error?.fields['error']))
  }
  return { engine, store, log, run, does: runExpectingReply }
}

for (const maxBytes of [1, 600, 1_000_000]) {
  test(`a turn sees its own rows and those of others where memory has room for ${maxBytes} bytes`, async () => {
    const { engine, run, does } = createFixture(maxBytes)
    const model = new Map<number, number>()
    const check = (rows: Own): void => {
      const expected = [...model].toSorted(([a], [b]) => a - b)
      const all = rows.things.all()
      assert.deepEqual(
        all.map(({ n, mark }) => [n, mark]),
        expected,
      )
      for (const [n, mark] of model) assert.equal(rows.things.get(n)?.mark, mark)
    }
    await does((rows) => {
      for (let n = 0; n < 20; n++) {
        rows.things.insert({ n, mark: n })
        model.set(n, n)
      }
      check(rows)
    })
    await does((rows) => {
      check(rows)
      const held = [...model.keys()].map((n) => rows.things.get(n)!)
      for (const row of held) {
        row.update({ mark: row.n * 2 + 100 })
        assert.equal(row.increment('mark', 1), row.n * 2 + 101)
        model.set(row.n, row.n * 2 + 101)
      }
      check(rows)
      for (const row of held.slice(0, 5)) {
        model.delete(row.n)
        row.delete()
      }
      check(rows)
      rows.things.insert({ n: 3, mark: 3 })
      model.set(3, 3)
      assert.throws(() => rows.things.insert({ n: 4, mark: 3 }), /thing\.mark: 3 is taken/)
      check(rows)
    })
    const bad = await run((rows) => {
      for (const row of rows.things.all()) row.delete()
      for (let n = 0; n < 40; n++) rows.things.insert({ n, mark: n })
      throw new Error('the bug of the test')
    })
    assert.equal(bad.kind, 'system')
    await does(check)
    const { bytes } = engine.rowCache
    assert.ok(bytes <= maxBytes || engine.rowCache.rows <= 1, `${bytes} bytes`)
  })
}

test('rows of a table that is never evicted are read once, and leave with their shard', async () => {
  const { engine, does } = createFixture(1)
  await does((rows) => {
    for (let n = 0; n < 10; n++) rows.stays.insert({ n })
  })
  await does((rows) => {
    for (let n = 0; n < 10; n++) rows.things.insert({ n })
  })
  const before = engine.meter.rowReads
  await does((rows) => {
    for (let n = 0; n < 10; n++) assert.equal(rows.stays.get(n)?.n, n)
  })
  assert.equal(engine.meter.rowReads, before)
  await engine.evict({ contract: 'own', key: 'k' })
  assert.deepEqual([engine.rowCache.bytes, engine.rowCache.rows], [0, 0])
})

test('a row above 100 KB is warned of once', async () => {
  const { log, does } = createFixture(1_000_000)
  const warnings = (): unknown[] =>
    log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields)
  await does((rows) => rows.things.insert({ n: 1, word: 'x'.repeat(102_300) }))
  assert.deepEqual(warnings(), [])
  for (const size of [102_400, 200_000])
    await does((rows) => rows.things.get(1)!.update({ word: 'x'.repeat(size) }))
  const [{ table: name, key, bytes }, ...others] = warnings() as [Record<string, unknown>]
  assert.deepEqual([name, key, others], ['thing', '"1"', []])
  assert.ok(typeof bytes === 'number' && bytes > 102_400 && bytes < 103_000, String(bytes))
})

test('a table may be called like a part of the engine', async () => {
  const { does } = createFixture(1_000_000)
  await does((rows) => rows.turn.insert({ n: 7 }))
  await does((rows) => assert.equal(rows.turn.get()?.n, 7))
})

test('a row whose id comes late is not inserted by a turn that is over', async () => {
  const { store, run, does } = createFixture(1_000_000)
  const { promise, resolve } = Promise.withResolvers<bigint>()
  Object.assign(store, { nextId: () => promise })
  let late: Promise<unknown> = Promise.resolve()
  await does((rows) => {
    // A forgotten await.
    late = rows.made.insert({})
    late.catch(() => {})
    return 0
  })
  resolve(7n)
  await assert.rejects(late, /this context is over: its turn has ended/)
  await does((rows) => assert.deepEqual(rows.made.all(), []))
  await does(async (rows) => assert.equal((await rows.made.insert({})).n, 7))
  const { kind } = await run((rows) => rows.made.insert({}))
  assert.equal(kind, 'system', 'the id is taken')
})

test('a row that its turn changes while it is read again is not put back', async () => {
  const { store, does } = createFixture(1_000_000)
  const { promise, resolve } = Promise.withResolvers<Row>()
  Object.assign(store, { reload: () => promise })
  await does((rows) => rows.turn.insert({ n: 1 }))
  await does(async (rows) => {
    const again = rows.turn.invalidate()
    rows.turn.get()!.update({ n: 2 })
    resolve({ own: 'k', n: 9 })
    await assert.rejects(again, /turns: this turn has changed the row: invalidate it first/)
  })
  await does((rows) => assert.equal(rows.turn.get()?.n, 2))
  await does(async (rows) => {
    assert.equal((await rows.turn.invalidate())?.n, 9)
    assert.equal(rows.turn.get()?.n, 9)
  })
})

test('a row that moved to another shard is gone when it is read again, and its shard goes on', async () => {
  const { store, does } = createFixture(1_000_000)
  Object.assign(store, { reload: async () => ({ own: 'other', n: 9 }) })
  await does((rows) => rows.turn.insert({ n: 1 }))
  await does(async (rows) => {
    assert.equal(await rows.turn.invalidate(), undefined)
    assert.deepEqual([rows.turn.get(), rows.turn.all()], [undefined, []])
  })
  assert.equal(store.row({ contract: 'own', key: 'k' }, tables.turn.definition, ['k']), null)
  await does((rows) => assert.equal(rows.turn.insert({ n: 2 }).n, 2))
})

test('a refused row names its column, the columns of its key, or the largest of them', async () => {
  const { does } = createFixture(1_000_000)
  await does((rows) => {
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
