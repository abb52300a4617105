// The fuzz drill in its quick profile, as an operator runs it.

import assert from 'node:assert/strict'
import test from 'node:test'
import { quickDrill } from '../support/figure.ts'

test('twenty thousand mutated cases cause no crash, no bug and no wrong answer to a player', async (t) => {
  const [figure] = (await quickDrill(t, 'fuzz'))!
  assert.ok(figure)
  const { findings, broken, cases, crashes, bugs, playerFaults } = figure
  assert.deepEqual({ findings, broken, cases }, { findings: [], broken: [], cases: 20_000 })
  assert.deepEqual({ crashes, bugs, playerFaults }, { crashes: 0, bugs: 0, playerFaults: 0 })
  assert.ok(Number(figure['playerAnswers']) > 100)
  assert.ok(Number(figure['framedShare']) >= 0.6, 'most cases pass the frame header')
  assert.ok(Number(figure['reachedShardShare']) >= 0.3, 'many cases reach a shard')
})
