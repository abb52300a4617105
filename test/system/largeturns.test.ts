// Turns that write more than one value of a Durable Object's SQLite holds (2 MB): their outbox entries in a real workerd
// with MySQL behind it.

import assert from 'node:assert/strict'
import test from 'node:test'

import { connect } from '../../client/index.ts'
import { openTestDatabase, sql, waitUntil } from '../support/database.ts'
import { applySteps, createEmptyDatabase, targetOf } from '../support/migrations.ts'
import { startPlanetscale } from '../support/planetscale/server.ts'
import { startWorkers } from '../support/workers.ts'
import game, { Hoard } from './fixtures/manyrows.ts'

const { url, skip } = await openTestDatabase()
const ROWS = 80
const ROW_BYTES = 100_000
const MAX_VALUE_BYTES = 2_000_000

test('a turn that writes 8 MB in an object is committed and reaches MySQL', { skip }, async () => {
  await using database = await createEmptyDatabase(url)
  await applySteps(database.client, targetOf([...game.tables.values()]))
  const endpoint = await startPlanetscale({ mysql: database.url })
  const entry = new URL('fixtures/manyrowsworker.ts', import.meta.url).pathname
  const workers = await startWorkers({ entry, coreVars: { DATABASE_URL: endpoint.url } })
  try {
    await using client = await connect(workers.url)
    const hoard = client.at(Hoard, 'gold')
    let restarts = 0
    hoard.onRestart(() => restarts++)
    await hoard.put({ from: 0, count: ROWS, bytes: ROW_BYTES })
    const stored = sql('SELECT COUNT(*), SUM(LENGTH(text)) FROM items')
    const expected = [[String(ROWS), String(ROWS * ROW_BYTES)]]
    await waitUntil(async () => JSON.stringify((await database.client.query(stored)).rows) === JSON.stringify(expected))
    // Flushed, and not deleted yet. The workerd of the tests does not enforce the bound of the platform.
    const [largest] = await workers.queryShard('hoard', 'gold', 'SELECT max(length(data)) AS n FROM outbox')
    assert.ok(Number(largest!['n']) < MAX_VALUE_BYTES, String(largest!['n']))
    await hoard.put({ from: ROWS, count: 1, bytes: 1 })
    assert.equal(restarts, 0)
    const left = 'SELECT COUNT(*) AS n FROM outbox_parts'
    await waitUntil(async () => (await workers.queryShard('hoard', 'gold', left))[0]?.['n'] === 0)
  } finally {
    await workers.close()
    await endpoint.close()
  }
})
