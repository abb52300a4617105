// The soak in its quick profile, as an operator runs it: sessions on both hosts, and login races.

import assert from 'node:assert/strict'
import test from 'node:test'
import { quickDrill } from '../support/figure.ts'
import { assertField } from '../support/assertfield.ts'

test('no event is lost, doubled or reordered when connections are cut at random bytes', async (t) => {
  const lines = (await quickDrill(t, 'soak', 'sessions'))!
  assertField(lines, 'host', ['node', 'workerd'])
  for (const line of lines) {
    assert.deepEqual([line['drill'], line['connections'], line['faults']], ['sessions', 40, []])
    // Numbers of the quick load, which is not scaled, on a machine that leaves it a fraction of its time.
    assert.deepEqual(line['factor'], 1)
    assert.ok(Number(line['cuts']) > 10 && Number(line['resumes']) > 5)
    assert.ok(Number(line['events']) > 200 && Number(line['replies']) > 20)
    assert.deepEqual([line['gaps'], line['duplicates'], line['reordered']], [0, 0, 0])
    assert.deepEqual([line['overruns'], line['overrunsWithoutResync'], line['withins']], [4, 0, 2])
    assert.equal(line['resyncs'], line['overruns'])
    assert.ok(Number(line['resumeP99Ms']) > 0 && Number(line['pauseP99Ms']) > 0)
  }
})

test('exactly one of two clients that race for one uid gets it', async (t) => {
  const lines = (await quickDrill(t, 'soak', 'logins'))!
  const races = lines.map((line) => `${String(line['mode'])} ${String(line['by'])}`)
  assert.deepEqual(races, ['takeover command', 'takeover ticket', 'refuse command', 'refuse ticket'])
  for (const line of lines) {
    assert.deepEqual(line['faults'], [])
    assert.ok(Number(line['races']) >= 300)
    assert.deepEqual([line['bothAlive'], line['bothDead']], [0, 0])
  }
})
