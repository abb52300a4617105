// planetscaleClient in workerd, whose fetch is stricter than Node's.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createTestHarness } from 'wrangler'
import { mysqlClient } from '../../core/node/mysqlpool.ts'
import { openTestDatabase, sql } from '../support/database.ts'
import { startPlanetscale } from '../support/planetscale/server.ts'

const { url: mysql, skip } = await openTestDatabase()

test('runs planetscaleClient in a Worker', { skip }, async () => {
  process.env['CLOUDFLARE_CF_FETCH_ENABLED'] ??= 'false'
  process.env['WRANGLER_SEND_METRICS'] ??= 'false'
  const direct = mysqlClient({ url: mysql })
  await direct.query(sql('CREATE TABLE w (a BIGINT UNSIGNED PRIMARY KEY, b TEXT, c BLOB)'))
  await direct.close()
  const endpoint = await startPlanetscale({ mysql })
  const main = new URL('fixtures/planetscale.ts', import.meta.url).pathname
  const harness = createTestHarness({
    workers: [{ config: { name: 'planetscale', main, compatibility_date: '2026-11-01' } }],
  })
  try {
    const { url } = await harness.listen()
    const response = await fetch(url, { method: 'POST', body: endpoint.url })
    const row = ['18446744073709551615', '😀', [0, 255]]
    assert.deepEqual(await response.json(), {
      results: [
        { rows: [], columns: [], affected: 1, insertId: '0' },
        { rows: [row], columns: ['a', 'b', 'c'], affected: 0, insertId: '0' },
      ],
      refused: 'refused',
      late: 'unavailable',
      access: 'access',
    })
  } finally {
    await harness.close()
    await endpoint.close()
  }
})
