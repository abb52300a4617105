// The accidents drill in its quick profile: players are served beside every accident, and no answer is lost.

import assert from 'node:assert/strict'
import test from 'node:test'

import { ACCIDENTS } from '../drill/accidents/accidents.ts'
import { figuresOf } from '../support/figure.ts'

for (const name of ACCIDENTS)
  test(`players lose no answer, and service is normal again: ${name}`, async (t) => {
    const figures = await figuresOf('test/drill/main.ts', 'accidents', '--quick', '--only', name)
    if (figures === null) return t.skip('MariaDB is not installed')
    const [figure] = figures
    t.diagnostic(JSON.stringify(figure))
    assert.partialDeepStrictEqual(figure, { drill: 'accidents', accident: name, lost: 0, faults: [] })
    assert.ok(Number(figure!['answersBefore']) > 0 && Number(figure!['answersDuring']) > 0)
    assert.ok(Number(figure!['secondsToNormal']) >= 0)
  })
