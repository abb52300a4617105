// Drift: each difference is reported with the actual state, the expected state and advice, and nothing is changed, not
// even what could be added.

import assert from 'node:assert/strict'
import test from 'node:test'

import type { SqlClient } from '../../core/sql/client.ts'
import {
  checkSchema,
  describeDifference,
  DriftError,
  parseMigrationFile,
  planMigration,
} from '../../core/migrate/migrations.ts'
import { t } from '../../core/wire/type.ts'
import { openTestDatabase, sql } from '../support/database.ts'
import { applySteps, bags, dumpDatabase, files, createEmptyDatabase, items, targetOf } from '../support/migrations.ts'
import { defineTable } from '../support/tables.ts'

const { url, skip } = await openTestDatabase()
const game = targetOf([items, bags])
const queryRows = async (client: SqlClient, text: string) => (await client.query(sql(text))).rows
const NOT_READY = 'the database is not ready for this game: '
const APPLY_HINT = '; run: firefly migrate apply --app … --mysql …'

const CHANGE_HINT = 'use the existing declaration in the game, or check the values and change it by hand: '
const TEXT = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin'
const COUNT = 'SMALLINT UNSIGNED NOT NULL DEFAULT 3'
const countDrift = (actual: string): string =>
  `table items, column count: found ${actual}, expected ${COUNT}: ${CHANGE_HINT}` +
  `ALTER TABLE \`items\` MODIFY COLUMN \`count\` ${COUNT}`
const NO_KEY = 'a key cannot change: use the existing key in the game, or move the rows to a new table'
const DRIFT: readonly (readonly [sql: string, ...drift: string[]])[] = [
  ['ALTER TABLE items MODIFY count INT UNSIGNED NOT NULL DEFAULT 3', countDrift('int unsigned NOT NULL DEFAULT "3"')],
  ['ALTER TABLE items MODIFY count SMALLINT NOT NULL DEFAULT 3', countDrift('smallint NOT NULL DEFAULT "3"')],
  ['ALTER TABLE items MODIFY count SMALLINT UNSIGNED DEFAULT 3', countDrift('smallint unsigned NULL DEFAULT "3"')],
  ['ALTER TABLE items ALTER count SET DEFAULT 4', countDrift('smallint unsigned NOT NULL DEFAULT "4"')],
  ['ALTER TABLE items ALTER count DROP DEFAULT', countDrift('smallint unsigned NOT NULL')],
  [
    'ALTER TABLE items MODIFY uid VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL',
    `table items, column uid: found varchar(20) COLLATE utf8mb4_general_ci NOT NULL, expected VARCHAR(20) ${TEXT} ` +
      `NOT NULL: ${CHANGE_HINT}ALTER TABLE \`items\` MODIFY COLUMN \`uid\` VARCHAR(20) ${TEXT} NOT NULL`,
  ],
  [
    'ALTER TABLE items CHANGE count Count SMALLINT UNSIGNED NOT NULL DEFAULT 3',
    `table items, column count: found Count smallint unsigned NOT NULL DEFAULT "3", expected ${COUNT}: ` +
      "rename the game's column to Count",
    'table items: found KEY by_count (uid, Count), expected KEY `by_count` (`uid`, `count`): ' +
      'another index has this name; by hand: ALTER TABLE `items` DROP INDEX `by_count`',
  ],
  [
    'ALTER TABLE bags DROP PRIMARY KEY, ADD PRIMARY KEY (slot, uid)',
    `table bags: found PRIMARY KEY (slot, uid), expected PRIMARY KEY (uid, slot): ${NO_KEY}`,
  ],
  [
    'ALTER TABLE bags DROP PRIMARY KEY, DROP COLUMN slot, ADD PRIMARY KEY (uid)',
    `table bags: found PRIMARY KEY (uid), expected PRIMARY KEY (uid, slot): ${NO_KEY}`,
    'table bags, column slot: found no such column, expected TINYINT UNSIGNED NOT NULL: ' +
      'existing rows have no value for it: add and fill it by hand, or use another table',
  ],
  [
    'ALTER TABLE bags ADD COLUMN weight INT NOT NULL',
    'table bags, column weight: found int NOT NULL, expected no such column, or one that an INSERT may omit: ' +
      'the game does not declare it: declare it, or make it NULL or give it a DEFAULT',
  ],
  [
    'ALTER TABLE bags ADD UNIQUE KEY only_one (item)',
    "table bags: found UNIQUE KEY only_one (item), expected no such index: declare unique: ['item'] in the game, " +
      'or by hand: ALTER TABLE `bags` DROP INDEX `only_one`',
  ],
  [
    'ALTER TABLE bags ENGINE=MyISAM',
    'table bags: found ENGINE=MyISAM, expected ENGINE=InnoDB: MyISAM has no transactions; ' +
      'by hand: ALTER TABLE `bags` ENGINE=InnoDB',
  ],
  [
    'CREATE OR REPLACE VIEW bags AS SELECT 1 AS uid',
    'table bags: found a view, expected a table: rename the table in the game, or replace the view by a table',
  ],
]
for (const [ddl, ...drift] of DRIFT) {
  test(`reports drift and changes nothing: ${ddl}`, { skip }, async () => {
    await using database = await createEmptyDatabase(url)
    const { client } = database
    await applySteps(client, game)
    await client.query(sql('INSERT INTO items (id, uid) VALUES (?, ?)', 'a', 'u'))
    if (/VIEW/.test(ddl)) await queryRows(client, 'DROP TABLE bags')
    await queryRows(client, ddl)
    const more = defineTable('more', { id: t.id }, { key: 'id' })
    const target = targetOf([more, items, bags])
    const before = await dumpDatabase(client)
    const plan = await planMigration(client, target)
    assert.deepEqual([plan.drift.map(describeDifference), plan.steps], [drift, []])
    for (const adopt of [false, true])
      await assert.rejects(applySteps(client, { ...target, adopt }), (error: unknown) => {
        assert.ok(error instanceof DriftError)
        assert.deepEqual(error.drift, plan.drift)
        return error.message === drift.join('\n')
      })
    await assert.rejects(checkSchema(client, [items, bags]), {
      message: `${NOT_READY}${drift.join('; ')}${APPLY_HINT}`,
    })
    assert.equal(await dumpDatabase(client), before)
  })
}

test('accepts additions of others: columns with defaults, indexes, comments, triggers', { skip }, async () => {
  await using database = await createEmptyDatabase(url)
  const { client } = database
  await applySteps(client, game)
  for (const ddl of [
    'ALTER TABLE items ADD COLUMN note VARCHAR(9) NULL, ADD COLUMN made TIMESTAMP NOT NULL DEFAULT NOW(), ' +
      'ADD COLUMN double_count INT AS (count * 2) STORED, ADD KEY more (count), COMMENT = "theirs"',
    'ALTER TABLE items MODIFY count SMALLINT UNSIGNED NOT NULL DEFAULT 3 COMMENT "how many" AFTER id',
    'CREATE TRIGGER seen BEFORE INSERT ON bags FOR EACH ROW SET @seen = 1',
  ])
    await queryRows(client, ddl)
  const { steps, drift } = await planMigration(client, game)
  assert.deepEqual([steps, drift], [[], []])
  await checkSchema(client, [items, bags])
})

test('refuses to migrate when a numbered file was changed after it was run', { skip }, async () => {
  await using database = await createEmptyDatabase(url)
  const { client } = database
  await applySteps(client, game)
  const [first, ...rest] = files
  const changed = await parseMigrationFile(first!.name, `${first!.statements.join(';\n')};\nSELECT 1;\n`)
  const target = { ...game, files: [changed, ...rest] }
  const drift =
    `table firefly_migration: found ${first!.name} with the checksum ${first!.checksum}, expected ${first!.name} ` +
    `with the checksum ${changed.checksum}: the file was changed after it was run: restore it, and put the change ` +
    'into a file with a new number'
  assert.deepEqual((await planMigration(client, target)).drift.map(describeDifference), [drift])
  const before = await dumpDatabase(client)
  await assert.rejects(applySteps(client, { ...target, tables: [defineTable('more', { id: t.id }, { key: 'id' })] }), {
    message: drift,
  })
  assert.equal(await dumpDatabase(client), before)

  const next = await parseMigrationFile('0099_more.sql', 'CREATE TABLE IF NOT EXISTS firefly_more (a INT);\n')
  const later = { ...game, files: [...files, next] }
  assert.deepEqual((await planMigration(client, later)).pendingFiles, ['0099_more.sql'])
  assert.deepEqual(await applySteps(client, later), ['ours'])
  // The previous version still works.
  assert.deepEqual(await applySteps(client, game), [])
  await checkSchema(client, [items, bags])
})
