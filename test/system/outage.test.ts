// The outage drill in its quick profile.

import assert from 'node:assert/strict'
import test from 'node:test'
import { quickDrill } from '../support/figure.ts'

test('critical acknowledges only what MySQL has during an outage, and both classes recover', async (t) => {
  const lines = await quickDrill(t, 'outage')
  if (!lines) return
  const runs = lines.map((line) => `${String(line['class'])} ${String(line['how'])}`).sort()
  assert.deepEqual(runs, ['critical kill', 'critical pause', 'local kill', 'local pause'])
  for (const line of lines) {
    assert.equal(line['falseAcks'], 0)
    assert.deepEqual(line['faults'], [])
    // -1: not in time. 0: at the first look.
    assert.ok(Number(line['recoveredSeconds']) >= 0 && Number(line['drainedSeconds']) >= 0)
    assert.ok(Number(line['ackedBefore']) > 0 && Number(line['ackedAfter']) > 0)
    if (line['class'] === 'local') assert.ok(Number(line['ackedDuring']) > 0)
    else assert.ok(Number(line['looked']) > 0)
  }
})
