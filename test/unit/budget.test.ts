// The memory that the objects of a Worker isolate share.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { ISOLATE_BUDGET, ISOLATE_BYTES } from '../../core/durable/budget.ts'
import { SharedMemory, type MemoryUser } from '../../core/engine/sharedmemory.ts'
import { RowCache, CachedRow } from '../../core/rows/rowcache.ts'
import { DEFAULT_LIMITS } from '../../core/wire/limits.ts'

const budget = { rowBytes: 10_000, channelBytes: 80_000, backlogBytes: 1_000_000 }
const text = 'x'.repeat(54)
/** Bytes of a row with that text: 430 besides it, and 16 more. */
const ROW_BYTES = 500

function addRows(cache: RowCache, count: number, evicted: string[] = [], isPinned = false): CachedRow[] {
  return Array.from({ length: count }, (_, i) => {
    const row = new CachedRow(`${i}`, [i], { text }, ({ id }) => evicted.push(id), isPinned)
    cache.add(row)
    assert.equal(row.bytes, ROW_BYTES)
    return row
  })
}

test('the parts of an isolate are at most the whole', () => {
  const sum = Object.values(ISOLATE_BUDGET).reduce((total, bytes) => total + bytes, 0)
  assert.ok(sum <= ISOLATE_BYTES, `${sum} bytes exceed ${ISOLATE_BYTES}`)
})

test('the rows of all engines stay within the budget, and the largest cache gives way', () => {
  const { rows } = new SharedMemory(budget)
  const [large, small] = [new RowCache(Infinity, rows), new RowCache(Infinity, rows)]
  const evicted: string[] = []
  addRows(large, 18, evicted)
  assert.deepEqual(evicted, [])
  addRows(small, 10)
  assert.equal(small.rows, 10)
  assert.ok(large.bytes + small.bytes <= budget.rowBytes, `${large.bytes} + ${small.bytes}`)
  assert.deepEqual(evicted.slice(0, 3), ['0', '1', '2'])
  assert.equal(large.rows, 18 - evicted.length)
})

test('pinned rows stay, and a row is not evicted by its own addition', () => {
  const cache = new RowCache(Infinity, new SharedMemory(budget).rows)
  const pinned = addRows(cache, 40, [], true)
  assert.equal(cache.rows, 40)
  const [added] = addRows(cache, 1)
  assert.equal(added!.isEvicted, false)
  for (const row of pinned) cache.unpin(row)
  assert.ok(cache.bytes <= budget.rowBytes, `${cache.bytes} bytes`)
})

test('the bound of a channel falls to an equal share while all channels exceed the budget', () => {
  const memory = new SharedMemory(budget)
  const limits = memory.limitsOf(DEFAULT_LIMITS)
  const users = [1, 7].map((channelCount) => ({ channelCount, channelBytes: 40_000, backlogBytes: 0 }))
  for (const user of users) memory.add(user)
  const readOften = (): number => {
    for (let i = 0; i < 100; i++) void limits.maxUnackedBytes
    return limits.maxUnackedEventBytes
  }
  assert.equal(readOften(), DEFAULT_LIMITS.maxUnackedEventBytes)
  users[0]!.channelBytes = 50_000
  assert.equal(readOften(), 5_000)
  assert.equal(limits.maxUnackedBytes, 5_000)
  assert.equal(limits.maxUnackedEvents, DEFAULT_LIMITS.maxUnackedEvents)
  users[0]!.channelBytes = 10_000
  assert.equal(readOften(), DEFAULT_LIMITS.maxUnackedEventBytes)
})

test('an engine queues a little even when the others use up the budget', () => {
  const memory = new SharedMemory(budget)
  const users: MemoryUser[] = [600_000, 400_000].map((backlogBytes) => ({
    channelCount: 1,
    channelBytes: 0,
    backlogBytes,
  }))
  for (const user of users) memory.add(user)
  assert.equal(memory.isBacklogFull(0), false)
  assert.equal(memory.isBacklogFull(400_000), true)
})
