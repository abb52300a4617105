// The crash drill, in short, as an operator runs it: the product survives it in both classes, and what is wrong on
// purpose does not.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import test, { type TestContext } from 'node:test'
import { promisify } from 'node:util'

const STORE_POINTS = ['before-store-commit', 'after-store-commit', 'before-takeover', 'after-takeover']
const FLUSH_POINTS = ['before-flush', 'between-commit-and-answer', 'after-flush', 'zombie']
const EXTERNAL_POINTS = ['random', 'dropped-answer', 'database-kill', 'both-kill', 'database-pause', 'drain']

type DrillFigure = Readonly<Record<string, unknown>>

/** Its JSON lines; null where MariaDB is not installed. */
async function runCrashDrill(t: TestContext, ...args: string[]): Promise<DrillFigure[] | null> {
  const command = ['test/drill/crash/main.ts', ...args]
  const limits = { timeout: 100_000, maxBuffer: 1 << 24 }
  try {
    const { stdout } = await promisify(execFile)(process.execPath, command, limits)
    const lines = stdout.split('\n').filter((line) => line !== '')
    for (const line of lines) t.diagnostic(line)
    return lines.map((line) => JSON.parse(line) as DrillFigure)
  } catch (error) {
    const { code, stderr, stdout } = error as { code: unknown; stderr: string; stdout: string }
    if (code !== 2) assert.fail(`the drill ended with ${String(code)}: ${stdout}${stderr}`)
    t.skip(stderr)
    return null
  }
}

test('sixteen kills in each class lose nothing, double nothing, and MySQL ends up equal', async (t) => {
  const figures = await runCrashDrill(t, '--quick')
  if (!figures) return
  assert.deepEqual(
    figures.map((figure) => figure['class']),
    ['local', 'critical'],
  )
  for (const figure of figures) {
    const points = figure['points'] as Readonly<Record<string, number>>
    const wanted = [
      ...STORE_POINTS,
      ...FLUSH_POINTS,
      ...EXTERNAL_POINTS,
      ...(figure['class'] === 'critical' ? ['disk-loss', 'old-disk'] : []),
    ]
    assert.deepEqual(Object.keys(points).toSorted(), wanted.toSorted())
    assert.equal(figure['drill'], 'crash')
    assert.equal(figure['host'], 'node')
    assert.ok((figure['kills'] as number) >= 16)
    assert.ok((figure['acked'] as number) >= 2_000)
    assert.ok((figure['repeats'] as number) > 0 && (figure['reads'] as number) > 0)
    assert.equal(figure['lost'], 0)
    assert.equal(figure['doubled'], 0)
    assert.ok((figure['goldExpected'] as number) > 0)
    assert.equal(figure['goldFound'], figure['goldExpected'])
    assert.equal(figure['mysqlEqual'], true)
    assert.equal(figure['parked'], 0)
    assert.ok((figure['zombies'] as number) > 0)
    assert.equal(figure['zombiesFenced'], figure['zombies'])
    assert.ok((figure['databaseKills'] as number) > 0 && (figure['droppedAnswers'] as number) > 0)
    assert.deepEqual(figure['faults'], [])
  }
})

test('every mutant is found out: fence, mark, takeover, order, unknown', async (t) => {
  const lines = await runCrashDrill(t, '--mutants')
  if (!lines) return
  const [{ drill, caught, missed }] = lines as [DrillFigure]
  assert.equal(drill, 'crash-mutants')
  assert.deepEqual(caught, ['fence', 'mark', 'takeover', 'order', 'unknown'])
  assert.deepEqual(missed, [])
})
