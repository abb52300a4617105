// A CREATE TABLE that MySQL refuses: no record of the table remains, the plan can be run again, and a table that an
// operator creates instead is adopted like any other.

import assert from 'node:assert/strict'
import test from 'node:test'

import { createTable } from '../../core/sql/statements.ts'
import { describeDifference, planMigration } from '../../core/migrate/migrations.ts'
import { readMigrationStatus, statusText } from '../../cli/status.ts'
import { openTestDatabase, assertDatabaseError, openClient, sql } from '../support/database.ts'
import { applySteps, bags, files, createEmptyDatabase, items, targetOf } from '../support/migrations.ts'
import { assertField } from '../support/assertfield.ts'

const { url, skip } = await openTestDatabase()
const game = targetOf([items, bags])

test('reports a table as missing after a failed CREATE, and retries it', { skip }, async () => {
  await using database = await createEmptyDatabase(url)
  const { client, name } = database
  await using root = openClient(url)
  await applySteps(client, targetOf([bags]))
  await root.query(sql(`CREATE USER writer@localhost, writer@'127.0.0.1' IDENTIFIED BY 'secret-word'`))
  const rights = `SELECT, INSERT, UPDATE, DELETE ON ${name}.*`
  await root.query(sql(`GRANT ${rights} TO writer@localhost, writer@'127.0.0.1'`))
  const writerUrl = new URL(database.url)
  writerUrl.username = 'writer'
  writerUrl.password = 'secret-word'
  await using writer = openClient(writerUrl.href, { poolSize: 1 })
  const recorded = async () =>
    (await client.query(sql('SELECT name FROM firefly_table ORDER BY name'))).rows.map(String)
  try {
    for (let attempts = 0; attempts < 2; attempts++) {
      const { message } = await assertDatabaseError(applySteps(writer, game), 'access', writerUrl.href)
      assert.match(message, /^table items is missing; the migration failed: .*CREATE command denied to user 'writer'/)
      assert.deepEqual(await recorded(), ['bags'])
      const plan = await planMigration(writer, game)
      assertField(plan.steps, 'kind', ['create'])
      assert.match(statusText(await readMigrationStatus(writer, plan)), /^items +missing +- /m)
    }

    // Created by hand, with another type than Firefly's.
    const [create] = createTable(items)
    await client.query(sql(create!.sql.replace('VARCHAR(20)', 'VARCHAR(30)')))
    assert.match(
      (await planMigration(writer, game)).drift.map(describeDifference).join(),
      /that Firefly did not create/,
    )
    assert.deepEqual(await applySteps(writer, { ...game, adopt: true }), ['adopt'])
    assert.deepEqual(await applySteps(writer, game), [])
    assert.deepEqual(await recorded(), ['bags', 'items'])
  } finally {
    await root.query(sql(`DROP USER writer@localhost, writer@'127.0.0.1'`))
  }
})

test('records a created table again when another process has deleted its record', { skip }, async () => {
  await using database = await createEmptyDatabase(url)
  const { client } = database
  const deletingClient = {
    ...client,
    query: async (statement: Parameters<typeof client.query>[0]) => {
      const result = await client.query(statement)
      if (statement.sql.startsWith('CREATE TABLE `items`')) await client.query(sql('DELETE FROM firefly_table'))
      return result
    },
  }
  assert.deepEqual(await applySteps(deletingClient, { ...targetOf([items]), files }), ['ours', 'create'])
  assert.deepEqual((await client.query(sql('SELECT name FROM firefly_table'))).rows, [['items']])
})
