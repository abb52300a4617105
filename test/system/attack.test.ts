// `bench attack` and `bench idle` in their quick profile: that they measure what they say, not what comes out.

import assert from 'node:assert/strict'
import test from 'node:test'
import { figuresOf, type Figures } from '../support/figure.ts'

const KINDS = ['legacy', 'ping', 'channel']

const run = async (name: string): Promise<readonly Figures[]> => {
  const lines = await figuresOf('test/bench/main.ts', name, '--quick')
  assert.ok(lines)
  for (const line of lines) {
    assert.equal(line['bench'], name)
    for (const [key, value] of Object.entries(line))
      if (typeof value === 'number') assert.ok(Number.isFinite(value), `${key} of ${String(line['figure'])}`)
  }
  return lines
}

test('`bench attack` tells of every flood what players got, and of those who never read what they cost', async () => {
  const lines = await run('attack')
  const of = (figure: string): readonly Figures[] => lines.filter((line) => line['figure'] === figure)
  assert.deepEqual(
    of('flooderShare').map(({ kind }) => kind),
    KINDS,
  )
  assert.deepEqual(
    of('answers').map(({ load, kind }) => `${String(load)} ${String(kind)}`),
    ['paced', 'full'].flatMap((load) => KINDS.map((kind) => `${load} ${kind}`)),
  )
  for (const line of of('answers')) {
    assert.ok(Number(line['answersPerSecondWithout']) > 0)
    assert.ok(Number(line['answersPerSecond']) > 0, `answers beside a ${String(line['kind'])} flood`)
  }
  for (const name of ['unread', 'readers'])
    assert.deepEqual(
      of(name).map(({ protocol }) => protocol),
      ['v2', 'legacy'],
      name,
    )
  for (const line of of('readers')) {
    assert.equal(line['gaps'], 0)
    assert.equal(line['thrownOut'], 0)
    assert.ok(Number(line['newsPerSecond']) > 0)
  }
})

test('`bench idle` tells what a session takes over TCP and over WebSocket', async () => {
  const lines = await run('idle')
  assert.deepEqual(
    lines.map(({ figure }) => figure),
    ['bytesPerSessionTcp', 'bytesPerSessionWs'],
  )
  for (const line of lines) {
    assert.ok(Number(line['heapUsedBytes']) > 1_000 && Number(line['heapUsedBytes']) < 65_536)
    assert.ok(Number(line['heartbeats']) > 0)
  }
})
