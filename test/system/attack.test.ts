// `bench attack` and `bench idle` in their quick profile print every figure. The values are not judged.

import assert from 'node:assert/strict'
import test from 'node:test'
import { figuresOf, type Figures } from '../support/figure.ts'
import { assertField } from '../support/assertfield.ts'

const KINDS = ['legacy', 'ping', 'channel']

const runBench = async (name: string): Promise<readonly Figures[]> => {
  const lines = await figuresOf('test/bench/main.ts', name, '--quick')
  assert.ok(lines)
  for (const line of lines) {
    assert.equal(line['bench'], name)
    for (const [key, value] of Object.entries(line))
      if (typeof value === 'number') assert.ok(Number.isFinite(value), `${key} of ${String(line['figure'])}`)
  }
  return lines
}

test('`bench attack` prints the answers of players during each flood, and the cost of clients that never read', async () => {
  const lines = await runBench('attack')
  const figures = (figure: string): readonly Figures[] => lines.filter((line) => line['figure'] === figure)
  assertField(figures('flooderShare'), 'kind', KINDS)
  const answers = figures('answers').map(({ load, kind }) => `${String(load)} ${String(kind)}`)
  assert.deepEqual(
    answers,
    ['paced', 'full'].flatMap((load) => KINDS.map((kind) => `${load} ${kind}`)),
  )
  for (const line of figures('answers')) {
    assert.ok(Number(line['answersPerSecondWithout']) > 0)
    assert.ok(Number(line['answersPerSecond']) > 0, `answers during a ${String(line['kind'])} flood`)
  }
  for (const name of ['unread', 'readers']) assertField(figures(name), 'protocol', ['v2', 'legacy'])
  for (const line of figures('readers')) {
    assert.equal(line['gaps'], 0)
    assert.equal(line['thrownOut'], 0)
    assert.ok(Number(line['newsPerSecond']) > 0)
  }
})

test('`bench idle` prints the memory of a session over TCP and over WebSocket', async () => {
  const lines = await runBench('idle')
  assertField(lines, 'figure', ['bytesPerSessionTcp', 'bytesPerSessionWs'])
  for (const line of lines) {
    assert.ok(Number(line['heapUsedBytes']) > 1_000 && Number(line['heapUsedBytes']) < 65_536)
    assert.ok(Number(line['heartbeats']) > 0)
  }
})
