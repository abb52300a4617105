// The simulation drill in its quick form, run as an operator runs it: thirty clusters keep every invariant under faults, each
// seed runs twice with the same trace, and planted bugs are found.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import test, { type TestContext } from 'node:test'
import { promisify } from 'node:util'

import { LOG_ALARMS } from '../drill/sim/processlog.ts'

type Figure = Readonly<Record<string, unknown>>

/** Runs the quick simulation. `ok`: it exited with 0. */
async function runSimulation(
  t: TestContext,
  ...args: string[]
): Promise<{ figure: Figure; ok: boolean; stderr: string }> {
  const command = ['test/drill/main.ts', 'sim', '--quick', ...args]
  const limits = { timeout: 150_000, maxBuffer: 1 << 24 }
  const run = promisify(execFile)(process.execPath, command, limits)
  const { stdout, stderr, code } = await run.then(
    (output) => ({ ...output, code: 0 }),
    (error: { stdout: string; stderr: string; code: unknown }) => error,
  )
  t.diagnostic(stdout.trim())
  if (code !== 0 && code !== 1) assert.fail(`the drill ended with ${String(code)}: ${stderr}`)
  return { figure: JSON.parse(stdout) as Figure, ok: code === 0, stderr }
}

test('thirty seeds break no invariant, and two runs of a seed have the same trace', async (t) => {
  const { figure, ok, stderr } = await runSimulation(t)
  assert.ok(ok, stderr)
  const { drill, seeds, broken, unequalHashes } = figure
  assert.deepEqual({ drill, seeds, broken, unequalHashes }, { drill: 'sim', seeds: 30, broken: 0, unequalHashes: 0 })
  assert.ok((figure['virtualSeconds'] as number) >= 30 * 90)
  assert.ok((figure['acked'] as number) > 10_000)
  const faults = figure['faults'] as Readonly<Record<string, number>>
  const kinds = ['crash', 'point', 'cut', 'evict', 'abort', 'away', 'chaos', 'disk', 'jump', 'mesh', 'loss']
  for (const fault of [...kinds, 'poison', 'zombie', 'diskFaults']) assert.ok(faults[fault]! > 0, fault)
})

for (const [plant, invariant] of [
  ['mark', 'doubled'],
  ['early', 'early'],
  ['fence', 'zombie'],
] as const) {
  test(`finds the planted bug ${plant}`, async (t) => {
    const { figure, ok, stderr } = await runSimulation(t, '--plant', plant)
    assert.ok(!ok)
    assert.ok((figure['broken'] as number) > 0)
    assert.ok(Object.keys(figure['invariants'] as object).includes(invariant), stderr.slice(-2_000))
    assert.match(stderr, /reproduce: npm run sim -- --seed \d+ --trace --plant /)
  })
}

test('each log alarm matches a message of the product', () => {
  const sources = globSync('{core,edge}/**/*.ts').map((file) => readFileSync(file, 'utf8'))
  for (const [pattern] of LOG_ALARMS)
    assert.ok(
      sources.some((source) => pattern.test(source)),
      String(pattern),
    )
})
