// Keys that are asked for at the same time share a question; nobody waits for company, and no answer is older than the
// `get` it answers.

import assert from 'node:assert/strict'
import test from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'

import { KeyBatcher } from '../../core/sql/batcher.ts'

interface Question {
  readonly keys: readonly number[]
  readonly answer: () => void
  readonly fail: (error: Error) => void
}

/** A Bulk whose questions are answered when a test says so: with the key and the number of the question. */
function createManualBulk({ maxKeys = 100, maxQuestions = 4 } = {}) {
  const questions: Question[] = []
  const bulk = new KeyBatcher<number, string>({
    maxKeys,
    maxInFlight: maxQuestions,
    query: (keys) => {
      const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>()
      const number = questions.length
      questions.push({ keys, answer: () => resolve(keys.map((key) => `${key}@${number}`)), fail: reject })
      return promise
    },
  })
  return { bulk, questions, asked: () => questions.map(({ keys }) => keys) }
}

test('a lone key is asked in the turn that asks for it', async () => {
  const { bulk, questions, asked } = createManualBulk()
  const value = bulk.get(7)
  await Promise.resolve()
  assert.deepEqual(asked(), [[7]])
  questions[0]!.answer()
  assert.equal(await value, '7@0')
})

test('keys of one turn are one question, and each caller gets the answer to its own', async () => {
  const { bulk, questions, asked } = createManualBulk()
  const values = [3, 1, 2].map((key) => bulk.get(key))
  const later = Promise.resolve().then(() => bulk.get(4))
  await turn()
  assert.deepEqual(asked(), [[3, 1, 2], [4]])
  for (const { answer } of questions) answer()
  assert.deepEqual(await Promise.all([...values, later]), ['3@0', '1@0', '2@0', '4@1'])
})

test('the callers of one answer ask their next question together', async () => {
  const { bulk, questions, asked } = createManualBulk()
  const callers = [1, 2, 3].map(async (key) => {
    await bulk.get(key)
    return bulk.get(key + 10)
  })
  await turn()
  questions[0]!.answer()
  await turn()
  assert.deepEqual(asked(), [
    [1, 2, 3],
    [11, 12, 13],
  ])
  questions[1]!.answer()
  assert.deepEqual(await Promise.all(callers), ['11@1', '12@1', '13@1'])
})

test('the same key is asked once for all who wait for it', async () => {
  const { bulk, questions, asked } = createManualBulk()
  const values = [5, 6, 5, 5].map((key) => bulk.get(key))
  await turn()
  assert.deepEqual(asked(), [[5, 6]])
  questions[0]!.answer()
  assert.deepEqual(await Promise.all(values), ['5@0', '6@0', '5@0', '5@0'])
})

test('a key whose question is on its way, or answered, is asked anew', async () => {
  const { bulk, questions, asked } = createManualBulk()
  const first = bulk.get(5)
  await turn()
  const second = bulk.get(5)
  await turn()
  assert.deepEqual(asked(), [[5], [5]])
  questions[1]!.answer()
  assert.equal(await second, '5@1')
  questions[0]!.answer()
  assert.equal(await first, '5@0')
  const third = bulk.get(5)
  await turn()
  questions[2]!.answer()
  assert.equal(await third, '5@2')
})

test('a question has so many keys at most, and so many are on their way; who waits is first', async () => {
  const { bulk, questions, asked } = createManualBulk({ maxKeys: 3, maxQuestions: 2 })
  const values = Array.from({ length: 10 }, (_, key) => bulk.get(key))
  await turn()
  assert.deepEqual(asked(), [
    [0, 1, 2],
    [3, 4, 5],
  ])
  const late = [9, 10].map((key) => bulk.get(key))
  await turn()
  assert.equal(questions.length, 2)
  questions[1]!.answer()
  await turn()
  assert.deepEqual(asked().slice(2), [[6, 7, 8]])
  questions[0]!.answer()
  await turn()
  assert.deepEqual(asked().slice(3), [[9, 10]])
  for (const { answer } of questions) answer()
  assert.deepEqual(await Promise.all(values), [
    ...['0@0', '1@0', '2@0', '3@1', '4@1', '5@1', '6@2', '7@2', '8@2', '9@3'],
  ])
  assert.deepEqual(await Promise.all(late), ['9@3', '10@3'])
})

test('an error reaches all who asked, none of the others, and is not remembered', async () => {
  const { bulk, questions } = createManualBulk({ maxKeys: 2, maxQuestions: 1 })
  const settled = Promise.allSettled([1, 2, 1, 3].map((key) => bulk.get(key)))
  await turn()
  const error = new Error('gone')
  questions[0]!.fail(error)
  await turn()
  questions[1]!.answer()
  const failed = { status: 'rejected', reason: error }
  assert.deepEqual(await settled, [failed, failed, failed, { status: 'fulfilled', value: '3@1' }])
  const again = bulk.get(1)
  await turn()
  questions[2]!.answer()
  assert.equal(await again, '1@2')
})

test('a question that throws, or answers for another number of keys, is an error for its keys', async () => {
  let answer = (): readonly number[] => assert.fail('thrown')
  const bulk = new KeyBatcher<string, number>({ query: () => answer(), maxKeys: 9, maxInFlight: 1 })
  await assert.rejects(bulk.get('a'), /thrown/)
  answer = () => [1]
  const both = await Promise.allSettled([bulk.get('a'), bulk.get('b')])
  for (const one of both)
    assert.match(String(one.status === 'rejected' && one.reason), /1 answers to a question of 2 keys/)
  assert.equal(await bulk.get('c'), 1)
})
