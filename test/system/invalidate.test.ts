// Rows that another program changes in a real MariaDB, reloaded on request: changed, deleted, or moved to another shard;
// and a row that MySQL has refused.

import assert from 'node:assert/strict'
import test from 'node:test'

import { connect } from '../../client/index.ts'
import { command, contract, firefly, RowError, shard, t, table } from '../../core/game/index.ts'
import { start } from '../../edge/node/server.ts'
import { openTestDatabase, openClient, sql, waitUntil } from '../support/database.ts'
import { applySteps, createEmptyDatabase, targetOf } from '../support/migrations.ts'
import { temporaryFolder } from '../support/program.ts'

const { url, skip } = await openTestDatabase()

const Box = contract('box', {
  put: command(1, { id: t.id, n: t.u32, name: t.string(20) }, { error: t.string(500) }),
  again: command(2, { id: t.id }, { n: t.nullable(t.u32), error: t.string(500) }),
  list: command(3, {}, { ids: t.array(t.id, 9) }),
})
const vals = table(
  'vals',
  { id: t.id, box: t.string(64), n: t.u32, name: t.string(20) },
  { key: 'id', by: ['box'], unique: ['name'], owner: Box },
)
const rowErrorText = (error: unknown): string => {
  if (error instanceof RowError) return `${error.code} ${error.message}`
  throw error
}
const game = firefly({
  box: shard(Box)
    .public()
    .tables({ vals })
    .on('put', (c, { id, n, name }) => {
      try {
        const row = c.rows.vals.get(id)
        if (row) row.update({ n, name })
        else c.rows.vals.insert({ id, n, name })
        return { error: '' }
      } catch (error) {
        return { error: rowErrorText(error) }
      }
    })
    .on('again', async (c, { id }) => {
      try {
        return { n: (await c.rows.vals.invalidate(id))?.n ?? null, error: '' }
      } catch (error) {
        return { n: null, error: rowErrorText(error) }
      }
    })
    .on('list', (c) => ({ ids: c.rows.vals.all().map(({ id }) => id) })),
})

test('reloads rows that another program changed, deleted or moved', { skip }, async () => {
  await using database = await createEmptyDatabase(url)
  await using other = openClient(database.url)
  await applySteps(database.client, targetOf([vals.definition]))
  const server = await start({ game, dir: temporaryFolder(), http: 0, tcp: 0, logLevel: 'silent', mysql: database.url })
  try {
    await using client = await connect(`ws://127.0.0.1:${server.http.port}/ws`)
    const [box, next] = [client.at(Box, 'one'), client.at(Box, 'two')]
    let restarts = 0
    box.onRestart(() => restarts++)
    const ids = async (shard: typeof box): Promise<string[]> => (await shard.list()).ids
    for (const [n, id] of ['a', 'b', 'c'].entries()) await box.put({ id, n, name: id })
    assert.deepEqual(await ids(next), [])
    assert.deepEqual(await box.again({ id: 'a' }), { n: 0, error: '' })

    await other.query(sql('UPDATE vals SET n = 7 WHERE id = ?', 'a'))
    assert.deepEqual(await box.again({ id: 'a' }), { n: 7, error: '' })
    await other.query(sql('DELETE FROM vals WHERE id = ?', 'b'))
    assert.deepEqual(await box.again({ id: 'b' }), { n: null, error: '' })
    await other.query(sql('UPDATE vals SET box = ? WHERE id = ?', 'two', 'c'))
    assert.deepEqual(await box.again({ id: 'c' }), { n: null, error: '' })
    assert.deepEqual([await ids(box), restarts], [['a'], 0])
    assert.deepEqual(await next.again({ id: 'c' }), { n: 2, error: '' })
    assert.deepEqual([await ids(box), await ids(next)], [['a'], ['c']])

    // Refused within the turn: MySQL would refuse it 100 ms after the answer.
    const spaced = await box.put({ id: 'd', n: 1, name: 'a ' })
    assert.match(spaced.error, /^BAD_VALUE vals\.name: "a " ends in a space/)
    const parked = async (): Promise<string[]> =>
      (await other.query(sql('SELECT error FROM firefly_parked'))).rows.map(([error]) => String(error))
    // Only MySQL can check the values of other shards.
    assert.deepEqual(await box.put({ id: 'e', n: 1, name: 'c' }), { error: '' })
    await waitUntil(async () => (await parked()).length === 1)
    assert.match((await parked())[0]!, /Duplicate entry 'c'/)
    const refused = await box.again({ id: 'e' })
    assert.match(refused.error, /^PARKED vals: MySQL refused the row "e": .* or repair MySQL/)
    assert.deepEqual([await ids(box), restarts], [['a', 'e'], 0])
  } finally {
    await server.stop()
  }
})
