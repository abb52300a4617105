// KeyBatcher: keys that are requested at the same time share a query, no lookup waits to fill a batch, and no value is
// older than the `get` that it answers.

import assert from 'node:assert/strict'
import test from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'

import { KeyBatcher } from '../../core/sql/batcher.ts'

interface Query {
  readonly keys: readonly number[]
  readonly answer: () => void
  readonly fail: (error: Error) => void
}

/** A batcher whose queries the test answers, with the key and the number of the query. */
function createManualBatcher({ maxKeys = 100, maxInFlight = 4 } = {}) {
  const queries: Query[] = []
  const batcher = new KeyBatcher<number, string>({
    maxKeys,
    maxInFlight,
    query: (keys) => {
      const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>()
      const number = queries.length
      queries.push({ keys, answer: () => resolve(keys.map((key) => `${key}@${number}`)), fail: reject })
      return promise
    },
  })
  return { batcher, queries, queriedKeys: () => queries.map(({ keys }) => keys) }
}

test('queries a single key in the turn that requests it', async () => {
  const { batcher, queries, queriedKeys } = createManualBatcher()
  const value = batcher.get(7)
  await Promise.resolve()
  assert.deepEqual(queriedKeys(), [[7]])
  queries[0]!.answer()
  assert.equal(await value, '7@0')
})

test('combines the keys of one turn into one query, and returns to each caller its own value', async () => {
  const { batcher, queries, queriedKeys } = createManualBatcher()
  const values = [3, 1, 2].map((key) => batcher.get(key))
  const later = Promise.resolve().then(() => batcher.get(4))
  await turn()
  assert.deepEqual(queriedKeys(), [[3, 1, 2], [4]])
  for (const { answer } of queries) answer()
  assert.deepEqual(await Promise.all([...values, later]), ['3@0', '1@0', '2@0', '4@1'])
})

test('combines the next keys of callers whose lookups were answered together', async () => {
  const { batcher, queries, queriedKeys } = createManualBatcher()
  const callers = [1, 2, 3].map(async (key) => {
    await batcher.get(key)
    return batcher.get(key + 10)
  })
  await turn()
  queries[0]!.answer()
  await turn()
  assert.deepEqual(queriedKeys(), [
    [1, 2, 3],
    [11, 12, 13],
  ])
  queries[1]!.answer()
  assert.deepEqual(await Promise.all(callers), ['11@1', '12@1', '13@1'])
})

test('queries a key once for all callers that wait for it', async () => {
  const { batcher, queries, queriedKeys } = createManualBatcher()
  const values = [5, 6, 5, 5].map((key) => batcher.get(key))
  await turn()
  assert.deepEqual(queriedKeys(), [[5, 6]])
  queries[0]!.answer()
  assert.deepEqual(await Promise.all(values), ['5@0', '6@0', '5@0', '5@0'])
})

test('queries a key again when an earlier query of it is running or answered', async () => {
  const { batcher, queries, queriedKeys } = createManualBatcher()
  const first = batcher.get(5)
  await turn()
  const second = batcher.get(5)
  await turn()
  assert.deepEqual(queriedKeys(), [[5], [5]])
  queries[1]!.answer()
  assert.equal(await second, '5@1')
  queries[0]!.answer()
  assert.equal(await first, '5@0')
  const third = batcher.get(5)
  await turn()
  queries[2]!.answer()
  assert.equal(await third, '5@2')
})

test('bounds the keys of a query and the running queries, oldest keys first', async () => {
  const { batcher, queries, queriedKeys } = createManualBatcher({ maxKeys: 3, maxInFlight: 2 })
  const values = Array.from({ length: 10 }, (_, key) => batcher.get(key))
  await turn()
  assert.deepEqual(queriedKeys(), [
    [0, 1, 2],
    [3, 4, 5],
  ])
  const late = [9, 10].map((key) => batcher.get(key))
  await turn()
  assert.equal(queries.length, 2)
  queries[1]!.answer()
  await turn()
  assert.deepEqual(queriedKeys().slice(2), [[6, 7, 8]])
  queries[0]!.answer()
  await turn()
  assert.deepEqual(queriedKeys().slice(3), [[9, 10]])
  for (const { answer } of queries) answer()
  assert.deepEqual(await Promise.all(values), [
    ...['0@0', '1@0', '2@0', '3@1', '4@1', '5@1', '6@2', '7@2', '8@2', '9@3'],
  ])
  assert.deepEqual(await Promise.all(late), ['9@3', '10@3'])
})

test('rejects every caller of a failed query, and no other or later one', async () => {
  const { batcher, queries } = createManualBatcher({ maxKeys: 2, maxInFlight: 1 })
  const settled = Promise.allSettled([1, 2, 1, 3].map((key) => batcher.get(key)))
  await turn()
  const error = new Error('disconnected')
  queries[0]!.fail(error)
  await turn()
  queries[1]!.answer()
  const failed = { status: 'rejected', reason: error }
  assert.deepEqual(await settled, [failed, failed, failed, { status: 'fulfilled', value: '3@1' }])
  const again = batcher.get(1)
  await turn()
  queries[2]!.answer()
  assert.equal(await again, '1@2')
})

test('rejects the keys of a query that throws or returns a wrong number of values', async () => {
  let answer = (): readonly number[] => assert.fail('thrown')
  const batcher = new KeyBatcher<string, number>({ query: () => answer(), maxKeys: 9, maxInFlight: 1 })
  await assert.rejects(batcher.get('a'), /thrown/)
  answer = () => [1]
  const both = await Promise.allSettled([batcher.get('a'), batcher.get('b')])
  for (const result of both)
    assert.match(String(result.status === 'rejected' && result.reason), /returned 1 values for 2 keys/)
  assert.equal(await batcher.get('c'), 1)
})
