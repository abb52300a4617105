// docs/hostile.md and its tests say the same: every row has its test, every attack its row, and both name the same
// verdict and the same counters.

import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import test from 'node:test'
import { SUITES } from './hostile/suites.ts'
import type { Attack } from './hostile/harness.ts'

const TEST_FOLDER = import.meta.dirname
const COLUMNS = 5

interface Row {
  readonly attack: string
  readonly bytes: string
  readonly verdict: string
  readonly counters: readonly string[]
  readonly file: string
}

const text = readFileSync(join(TEST_FOLDER, '../../docs/hostile.md'), 'utf8')
const rows = text
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| attack '))
  .map((line): Row => {
    const cells = line.slice(2, -2).split(' | ')
    assert.equal(cells.length, COLUMNS, line)
    const [attack, bytes, verdict, counters, file] = cells as [string, string, string, string, string]
    const names = [...counters.matchAll(/`([^`]+)`/g)].map((match) => match[1]!)
    return { attack, bytes, verdict, counters: names, file: file.replaceAll('`', '') }
  })
const attacks = new Map<string, Attack>(
  Object.entries(SUITES).flatMap(([suite, { attacks }]) =>
    attacks.map((attack: Attack) => [`hostile-${suite}: ${attack.name}`, attack] as const),
  ),
)

test('every row of the table has a test, with the verdict and the counters that it names', () => {
  assert.ok(rows.length > 0)
  for (const { attack, bytes, verdict, counters, file } of rows) {
    const proved = attacks.get(`${file}: ${attack}`)
    assert.ok(proved, `no test in ${file} is called: ${attack}`)
    assert.notEqual(bytes, '', attack)
    assert.equal(verdict, proved.verdict, attack)
    assert.deepEqual(counters, Object.keys(proved.counters), attack)
  }
})

test('every attack that is tested has one row', () => {
  const named = rows.map(({ file, attack }) => `${file}: ${attack}`)
  assert.deepEqual(named.toSorted(), [...attacks.keys()].toSorted())
})

test('every hostile test file proves its suite and nothing else', () => {
  const files = globSync('hostile-*.test.ts', { cwd: TEST_FOLDER }).map((file) => basename(file))
  assert.deepEqual(
    files.toSorted(),
    Object.keys(SUITES)
      .map((suite) => `hostile-${suite}.test.ts`)
      .toSorted(),
  )
  for (const file of files) {
    const suite = file.slice('hostile-'.length, -'.test.ts'.length)
    const code = readFileSync(join(TEST_FOLDER, file), 'utf8')
      .split('\n')
      .filter((line) => !/^(\/\/|import |$)/.test(line))
    assert.deepEqual(code, [`registerAttacks(SUITES.${suite})`])
  }
})
