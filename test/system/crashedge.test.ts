// The crash drill on the Cloudflare host, in short: real workerd, the real driver, a real MariaDB behind the endpoint.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import test from 'node:test'
import { promisify } from 'node:util'

const POINTS = [
  'after-commit',
  'database-kill',
  'dropped-commit',
  'evict',
  'garbage',
  'late-commit',
  'unavailable',
]
const LAST = { local: 'abort', critical: 'object-loss' } as const

test('objects die and their database fails, eight times in each class: nothing is lost or doubled', async (t) => {
  const command = ['test/drill/crash/edge.ts', '--quick']
  const run = promisify(execFile)(process.execPath, command, { timeout: 300_000, maxBuffer: 1 << 24 })
  const failure = await run.then(
    () => null,
    (error: { code: unknown; stdout: string; stderr: string }) => error,
  )
  if (failure?.code === 2) return t.skip(failure.stderr)
  if (failure) assert.fail(`the drill ended with ${String(failure.code)}: ${failure.stdout}${failure.stderr}`)
  const { stdout } = await run
  const lines = stdout.split('\n').filter((line) => line !== '')
  for (const line of lines) t.diagnostic(line)
  const figures = lines.map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>)
  assert.deepEqual(
    figures.map((figure) => figure['class']),
    ['local', 'critical'],
  )
  for (const figure of figures) {
    const last = LAST[figure['class'] as keyof typeof LAST]
    assert.deepEqual(Object.keys(figure['points'] as object).toSorted(), [...POINTS, last].toSorted())
    assert.equal(figure['drill'], 'crash')
    assert.equal(figure['host'], 'workerd')
    assert.ok((figure['kills'] as number) >= 8)
    assert.ok((figure['acked'] as number) >= 400)
    assert.ok((figure['repeats'] as number) > 0 && (figure['reads'] as number) > 0)
    assert.ok((figure['databaseKills'] as number) > 0 && (figure['droppedAnswers'] as number) > 0)
    assert.equal(figure['lost'], 0)
    assert.equal(figure['doubled'], 0)
    assert.ok((figure['goldExpected'] as number) > 0)
    assert.equal(figure['goldFound'], figure['goldExpected'])
    assert.equal(figure['mysqlEqual'], true)
    assert.equal(figure['parked'], 0)
    assert.deepEqual(figure['faults'], [])
  }
})
