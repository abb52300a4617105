// The crash drill of the Node host in its quick profile: the product passes in both classes, and every mutant is
// detected.

import assert from 'node:assert/strict'
import test from 'node:test'

import { figuresOf, quickDrill, type Figures } from '../support/figure.ts'
import { assertField } from '../support/assertfield.ts'

const POINTS = [
  ...['before-store-commit', 'after-store-commit', 'before-takeover', 'after-takeover', 'before-flush', 'after-flush'],
  ...['between-commit-and-answer', 'zombie', 'random', 'dropped-answer', 'database-kill', 'both-kill'],
  ...['database-pause', 'drain'],
]

test('sixteen kills in each class lose nothing, apply nothing twice, and leave MySQL equal', async (t) => {
  const figures = await quickDrill(t, 'crash')
  if (!figures) return
  assertField(figures, 'class', ['local', 'critical'])
  for (const figure of figures) {
    const points = [...POINTS, ...(figure['class'] === 'critical' ? ['disk-loss', 'old-disk'] : [])]
    assert.deepEqual(Object.keys(figure['points'] as object).toSorted(), points.toSorted())
    assert.deepEqual(figure['faults'], [])
    assert.partialDeepStrictEqual(figure, {
      drill: 'crash',
      host: 'node',
      lost: 0,
      doubled: 0,
      goldFound: figure['goldExpected'],
      mysqlEqual: true,
      parked: 0,
      zombiesFenced: figure['zombies'],
    })
    assert.ok(Number(figure['kills']) >= 16 && Number(figure['acked']) >= 2_000)
    for (const key of ['goldExpected', 'repeats', 'reads', 'zombies', 'databaseKills', 'droppedAnswers'])
      assert.ok(Number(figure[key]) > 0, key)
  }
})

test('detects every mutant: fence, mark, takeover, order, unknown', async (t) => {
  const figures = await figuresOf('test/drill/main.ts', 'crash', '--mutants')
  if (!figures) return t.skip('MariaDB is not installed')
  t.diagnostic(JSON.stringify(figures))
  const [{ drill, caught, missed }, ...others] = figures as [Figures, ...Figures[]]
  assert.deepEqual([drill, caught], ['crash-mutants', ['fence', 'mark', 'takeover', 'order', 'unknown']])
  assert.deepEqual([missed, others], [[], []])
})
