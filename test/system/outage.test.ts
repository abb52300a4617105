// MySQL that goes away under load and comes back, as an operator tries it out.

import assert from 'node:assert/strict'
import test from 'node:test'
import { figures } from '../support/figures.ts'

test('while MySQL is away nothing is acknowledged that it does not have, and everything comes back', async (t) => {
  const lines = await figures('test/drill/outage.ts', '--quick')
  if (lines === null) return t.skip('MariaDB is not installed')
  assert.deepEqual(lines.map((line) => `${String(line['class'])} ${String(line['how'])}`).sort(), [
    'critical kill',
    'critical pause',
    'local kill',
    'local pause',
  ])
  for (const line of lines) {
    console.log(JSON.stringify(line))
    assert.equal(line['falseAcks'], 0)
    assert.ok(Number(line['recoveredSeconds']) > 0 && Number(line['drainedSeconds']) > 0)
    assert.ok(Number(line['ackedBefore']) > 0 && Number(line['ackedAfter']) > 0)
    if (line['class'] === 'local') assert.ok(Number(line['ackedDuring']) > 0)
    else assert.ok(Number(line['looked']) > 0)
  }
})
