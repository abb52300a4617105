// The storm drill in its quick profile. What depends on the share of the processor that the machine leaves to the server
// is measured by the full profile.

import assert from 'node:assert/strict'
import test from 'node:test'

import { quickDrill } from '../support/figure.ts'

test('at twice the capacity every call is answered or refused, sessions resume, and no deposit is missing', async (t) => {
  const [figure] = (await quickDrill(t, 'storm'))!
  const { faults, missingDeposits, answeredPerSecond, refusedPerSecond } = figure!
  const ofTheServer = (faults as readonly string[]).filter((fault) => !/^(?:goodput|resume|slow):/.test(fault))
  assert.deepEqual(ofTheServer, [])
  assert.equal(missingDeposits, 0)
  assert.ok(Number(answeredPerSecond) > 0 && Number(refusedPerSecond) > 0)
})
