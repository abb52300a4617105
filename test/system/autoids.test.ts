// A handler that waits for an id of a real MariaDB: when the connections are dead, and when MariaDB refuses the row.

import assert from 'node:assert/strict'
import test from 'node:test'

import { connect } from '../../client/index.ts'
import { command, contract, firefly, shard, t, table } from '../../core/game/index.ts'
import { start } from '../../edge/node/server.ts'
import { BlackholeProxy } from '../support/blackhole.ts'
import { openTestDatabase, sql, waitUntil } from '../support/database.ts'
import { applySteps, createEmptyDatabase, targetOf } from '../support/migrations.ts'
import { temporaryFolder } from '../support/program.ts'

const { url, skip } = await openTestDatabase()

const Box = contract('box', { put: command(1, { name: t.string(20) }, { id: t.u32 }, { durable: true }) })
const mails = table(
  'mails',
  { box: t.string(64), id: t.u32, name: t.string(20) },
  { key: ['box', 'id'], unique: ['name'], ids: 'auto', owner: Box },
)
const game = firefly({
  box: shard(Box)
    .public()
    .tables({ mails })
    .on('put', async (c, { name }) => ({ id: (await c.rows.mails.insert({ name })).id })),
})

test('callers of ids get the cause of a refusal, and RETRY_LATER while MySQL does not answer', { skip }, async () => {
  await using database = await createEmptyDatabase(url)
  await applySteps(database.client, targetOf([mails.definition]))
  await using proxy = await BlackholeProxy.open(Number(new URL(url).port))
  const mysql = proxy.through(database.url)
  const server = await start({ game, dir: temporaryFolder(), http: 0, tcp: 0, logLevel: 'silent', mysql })
  try {
    await using client = await connect(`ws://127.0.0.1:${server.http.port}/ws`)
    const box = client.at(Box, 'one')
    const { id } = await box.put({ name: 'a' })
    await waitUntil(async () => (await database.client.query(sql('SELECT id FROM mails'))).rows.length === 1)
    await assert.rejects(client.at(Box, 'two').put({ name: 'a' }), { code: 'REJECTED', message: /Duplicate entry 'a'/ })
    proxy.dropAll()
    await assert.rejects(box.put({ name: 'b' }), { code: 'RETRY_LATER' })
    let next = 0
    await waitUntil(async () => {
      try {
        next = (await box.put({ name: 'b' })).id
      } catch (error) {
        assert.partialDeepStrictEqual(error, { code: 'RETRY_LATER' })
      }
      return next > 0
    })
    assert.ok(next > id)
  } finally {
    await server.stop()
  }
})
