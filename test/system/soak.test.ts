// The soak in short, as an operator runs it: sessions on lines that are cut, on both hosts, and races for one uid.

import assert from 'node:assert/strict'
import test from 'node:test'
import { figures } from '../support/figures.ts'

test('connections are cut at random bytes, and no event is missed, doubled or out of place', async () => {
  const lines = (await figures('test/drill/soak.ts', 'sessions', '--quick'))!
  for (const line of lines) console.log(JSON.stringify(line))
  assert.deepEqual(
    lines.map((line) => line['host']),
    ['node', 'workerd'],
  )
  for (const line of lines) {
    assert.deepEqual(line['faults'], [])
    assert.equal(line['drill'], 'sessions')
    assert.equal(line['connections'], 40)
    assert.ok(Number(line['cuts']) > 40 && Number(line['resumes']) > 20)
    assert.ok(Number(line['events']) > 1_000 && Number(line['replies']) > 100)
    assert.deepEqual([line['gaps'], line['duplicates'], line['reordered']], [0, 0, 0])
    assert.deepEqual([line['overruns'], line['overrunsWithoutResync'], line['withins']], [4, 0, 2])
    assert.equal(line['resyncs'], line['overruns'])
    assert.ok(Number(line['resumeP99Ms']) > 0 && Number(line['pauseP99Ms']) > 0)
  }
})

test('two clients race for one uid, and one of them has it', async () => {
  const lines = (await figures('test/drill/soak.ts', 'logins', '--quick'))!
  for (const line of lines) console.log(JSON.stringify(line))
  assert.deepEqual(
    lines.map((line) => `${String(line['mode'])} ${String(line['by'])}`),
    ['takeover command', 'takeover ticket', 'refuse command', 'refuse ticket'],
  )
  for (const line of lines) {
    assert.deepEqual(line['faults'], [])
    assert.ok(Number(line['races']) >= 300)
    assert.deepEqual([line['bothAlive'], line['bothDead']], [0, 0])
  }
})
