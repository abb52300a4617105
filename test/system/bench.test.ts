// Benchmarks in their quick profile run to their end and print every figure. Speed is not judged, the size of the package is.

import assert from 'node:assert/strict'
import test from 'node:test'
import { figuresOf } from '../support/figure.ts'

const TURNS = ['1 x 1', '100 x 1', '1000 x 1', '1000 x 16']

test('`bench state` prints every figure', async (t) => {
  const lines = await figuresOf('test/bench/main.ts', 'state', '--quick')
  if (lines === null) return t.skip('MariaDB is not installed')
  const count = (name: string): number => lines.filter(({ figure }) => figure === name).length
  assert.deepEqual(
    lines
      .filter(({ figure }) => figure === 'turns')
      .map(({ shards, inFlight, mysql }) => `${Number(shards)} x ${Number(inFlight)}${mysql ? ' mysql' : ''}`),
    [...TURNS, ...TURNS.map((name) => `${name} mysql`)],
  )
  assert.equal(count('fdatasync'), 2)
  assert.equal(count('memory'), 2)
  for (const name of ['rowsWritten', 'flush', 'reads', 'login']) assert.equal(count(name), 1, name)
  for (const line of lines) {
    assert.equal(line['bench'], 'state')
    for (const [name, value] of Object.entries(line))
      if (typeof value === 'number') assert.ok(Number.isFinite(value), name)
  }
  const aims = lines.filter((line) => 'aim' in line).map(({ figure }) => figure)
  assert.deepEqual(aims, ['turns', 'turns', 'turns', 'rowsWritten', 'flush', 'reads', 'login'])
  const written = lines.find(({ figure }) => figure === 'rowsWritten')!
  assert.ok(Number(written['perTurn']) > 1 && Number(written['perTurn']) <= 4)
})

test('`bench coldstart` finds the installed package within its aim', async () => {
  const lines = await figuresOf('test/bench/main.ts', 'coldstart', '--quick')
  assert.deepEqual(
    lines!.map(({ figure }) => figure),
    ['package', 'installedMB'],
  )
  assert.equal(lines![1]!['ok'], true, JSON.stringify(lines))
})
