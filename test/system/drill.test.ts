// The reset drill, run as an operator runs it.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import test from 'node:test'
import { promisify } from 'node:util'

test('resets of a shard under fifty players close no connection, lose no call and apply none twice', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['test/drill/main.ts', 'reset'])
  const line = stdout.split('\n').find((text) => text.startsWith('{'))
  console.log(line)
  const figures = JSON.parse(line!) as Record<string, number>
  assert.equal(figures['players'], 50)
  assert.equal(figures['resets'], 5)
  assert.equal(figures['disconnects'], 0)
  assert.equal(figures['lost'], 0)
  assert.equal(figures['twice'], 0)
  assert.ok(figures['pauseMsMax']! > 0)
})
