// The crash drill of the Cloudflare host in its quick profile: real workerd, the real driver, a real MariaDB behind
// the local PlanetScale endpoint.

import assert from 'node:assert/strict'
import test from 'node:test'

import { quickDrill } from '../support/figure.ts'
import { assertField } from '../support/assertfield.ts'

const POINTS = ['after-commit', 'database-kill', 'dropped-commit', 'evict', 'garbage', 'late-commit', 'unavailable']
const LAST_POINT = { local: 'abort', critical: 'object-loss' } as const

test('eight faults of objects and database in each class lose nothing and apply nothing twice', async (t) => {
  const figures = await quickDrill(t, 'crashedge')
  if (!figures) return
  assertField(figures, 'class', ['local', 'critical'])
  for (const figure of figures) {
    const last = LAST_POINT[figure['class'] as keyof typeof LAST_POINT]
    assert.deepEqual(Object.keys(figure['points'] as object).toSorted(), [...POINTS, last].toSorted())
    assert.deepEqual(figure['faults'], [])
    assert.partialDeepStrictEqual(figure, {
      drill: 'crash',
      host: 'workerd',
      lost: 0,
      doubled: 0,
      goldFound: figure['goldExpected'],
      mysqlEqual: true,
      parked: 0,
    })
    assert.ok(Number(figure['kills']) >= 8 && Number(figure['acked']) >= 400)
    for (const key of ['goldExpected', 'repeats', 'reads', 'databaseKills', 'droppedAnswers'])
      assert.ok(Number(figure[key]) > 0, key)
  }
})
