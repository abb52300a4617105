// The cases of the fuzz drill: repeated by seed and number, of every kind, and shrunk by fast-check.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'

import { DrawnPlan, encodePlan, makeCase, routeOf } from '../drill/fuzz/arbitraries/cases.ts'

const KINDS = {
  session: 'tree body fields strange order message frame length splice vector plain',
  legacy: 'tree body fields strange frame length splice vector plain',
  fresh: 'websocket hello order strange frame length splice vector plain',
  resume: 'resume',
}

test('the same seed and number give the same bytes', () => {
  for (let number = 0; number < 500; number++) {
    assert.deepEqual(makeCase(7, number), makeCase(7, number))
  }
  assert.notDeepEqual(makeCase(7, 1).bytes, makeCase(8, 1).bytes)
})

test('twenty thousand cases contain every kind', () => {
  const seen = new Set<string>()
  for (let number = 0; number < 20_000; number++) {
    const { on, kind } = makeCase(1, number)
    seen.add(`${on} ${kind}`)
  }
  const expected = Object.entries(KINDS).flatMap(([on, kinds]) => kinds.split(' ').map((kind) => `${on} ${kind}`))
  assert.deepEqual([...seen].toSorted(), expected.toSorted())
})

test('a planted fault shrinks to one message with one edit', () => {
  const fails = (bytes: Uint8Array): boolean => Buffer.from(bytes).includes('constructor')
  let number = 0
  while (
    !(routeOf(3, number).on === 'legacy' && makeCase(3, number).kind === 'tree' && fails(makeCase(3, number).bytes))
  )
    number++
  const drawn = new DrawnPlan(3, number)
  const property = fc.property(drawn, (plan) => !fails(encodePlan(plan, routeOf(3, number), number).bytes))
  const { counterexample } = fc.check(property, { numRuns: 1 })
  const [plan] = counterexample!
  assert.equal(plan.messages.length, 1)
  const { edit } = plan.messages[0]!.fields as { readonly edit: { readonly fields: readonly unknown[] } }
  assert.equal(edit.fields.length, 1)
})
