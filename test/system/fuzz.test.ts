// The fuzz drill in its quick profile, as an operator runs it.

import assert from 'node:assert/strict'
import test from 'node:test'
import { figuresOf } from '../support/figure.ts'

test('twenty thousand mutated cases cause no crash, no bug and no wrong answer to a player', async (t) => {
  const lines = await figuresOf('test/drill/main.ts', 'fuzz', '--quick')
  const [figure] = lines!
  t.diagnostic(JSON.stringify(figure))
  assert.ok(figure)
  assert.deepEqual(figure['findings'], [])
  assert.deepEqual(figure['broken'], [])
  assert.equal(figure['cases'], 20_000)
  assert.equal(figure['crashes'], 0)
  assert.equal(figure['bugs'], 0)
  assert.equal(figure['playerFaults'], 0)
  assert.ok(Number(figure['playerAnswers']) > 100)
  assert.ok(Number(figure['framedShare']) >= 0.6, 'most cases pass the frame header')
  assert.ok(Number(figure['reachedShardShare']) >= 0.3, 'many cases reach a shard')
})
