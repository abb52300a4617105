// docs/hostile.md and the tests of test/system/hostile agree: each row has a test and each attack has a row, with the same
// response and the same counters.

import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import type { Attack } from './hostile/attack.ts'
import { SUITES } from './hostile/suites.ts'

const TEST_FOLDER = import.meta.dirname
const COLUMNS = 5

interface Row {
  readonly name: string
  readonly bytes: string
  readonly receives: string
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
    const [name, bytes, receives, counters, file] = cells as [string, string, string, string, string]
    const counterNames = [...counters.matchAll(/`([^`]+)`/g)].map((match) => match[1]!)
    return { name, bytes, receives, counters: counterNames, file: file.replaceAll('`', '') }
  })
const attacks = new Map<string, Attack>(
  Object.entries(SUITES).flatMap(([suite, { attacks }]) =>
    attacks.map((attack: Attack) => [`hostile-${suite}: ${attack.name}`, attack] as const),
  ),
)

test('every row has a test with the same response and counters', () => {
  assert.ok(rows.length > 0)
  for (const { name, bytes, receives, counters, file } of rows) {
    const attack = attacks.get(`${file}: ${name}`)
    assert.ok(attack, `${file} has no test: ${name}`)
    assert.notEqual(bytes, '', name)
    assert.equal(receives, attack.receives, name)
    assert.deepEqual(counters, Object.keys(attack.counters), name)
  }
})

test('every attack has one row', () => {
  const named = rows.map(({ file, name }) => `${file}: ${name}`)
  assert.deepEqual(named.toSorted(), [...attacks.keys()].toSorted())
})

test('every hostile test file registers its suite and nothing else', () => {
  const files = globSync('hostile-*.test.ts', { cwd: TEST_FOLDER })
  const suites = Object.keys(SUITES)
  assert.deepEqual(files.toSorted(), suites.map((suite) => `hostile-${suite}.test.ts`).toSorted())
  for (const suite of suites) {
    const code = readFileSync(join(TEST_FOLDER, `hostile-${suite}.test.ts`), 'utf8')
      .split('\n')
      .filter((line) => !/^(\/\/|import |$)/.test(line))
    assert.deepEqual(code, [`registerSuite('${suite}')`])
  }
})
