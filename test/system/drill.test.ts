// The reset drill, run as an operator runs it.

import assert from 'node:assert/strict'
import test from 'node:test'

import { figuresOf } from '../support/figure.ts'

test('resets of a shard under fifty players close no connection, lose no call and apply none twice', async (t) => {
  const [figure] = (await figuresOf('test/drill/main.ts', 'reset'))!
  t.diagnostic(JSON.stringify(figure))
  const { players, resets, disconnects, lost, twice, pauseMsMax } = figure!
  assert.deepEqual({ players, resets }, { players: 50, resets: 5 })
  assert.deepEqual({ disconnects, lost, twice }, { disconnects: 0, lost: 0, twice: 0 })
  assert.ok(Number(pauseMsMax) > 0)
})
