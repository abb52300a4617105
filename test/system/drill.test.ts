// The drills that print figures, run as an operator runs them.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import test from 'node:test'
import { promisify } from 'node:util'

test('resets of the core under fifty players disconnect nobody, lose nothing and double nothing', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['test/drill/reset.ts'])
  const line = stdout.split('\n').find((one) => one.startsWith('{'))
  console.log(line)
  const figures = JSON.parse(line!) as Record<string, number>
  assert.equal(figures['players'], 50)
  assert.equal(figures['resets'], 5)
  assert.equal(figures['disconnects'], 0)
  assert.equal(figures['lost'], 0)
  assert.equal(figures['twice'], 0)
  assert.ok(figures['pauseMsMax']! > 0)
})
