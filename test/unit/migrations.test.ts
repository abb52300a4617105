// The plan of a migration: from the catalog and the records of a database to steps, or to drift for the operator.

import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import test from 'node:test'

import type { TableDefinition } from '../../core/game/table.ts'
import type { Catalog } from '../../core/sql/catalog.ts'
import { describeDifference, parseMigrationFile, REQUIRED_FILE } from '../../core/migrate/migrations.ts'
import { planFromCatalog, type MigrationRecords } from '../../core/migrate/plan.ts'
import { t } from '../../core/wire/type.ts'
import { catalog, MARIA, pets, PETS, PETS_INDEXES, type Column } from './informationschema.ts'
import { defineTable } from '../support/tables.ts'
import { assertField } from '../support/assertfield.ts'

const NONE: MigrationRecords = { files: new Map(), tables: new Map() }
const target = (tables: readonly TableDefinition[], more = {}) => ({ tables, files: [], adopt: false, ...more })
const recorded = (isAdopted = false): MigrationRecords => ({ ...NONE, tables: new Map([['pets', { isAdopted }]]) })
const existingPets = (change: (column: Column) => Column | null = (column) => column): Catalog =>
  catalog(
    'pets',
    PETS[MARIA]!.map(change).filter((column) => column !== null),
    PETS_INDEXES,
  )

test('plans files first, a record before each table, and a step for each column and index', async () => {
  const first = await parseMigrationFile(
    '0001_a.sql',
    'CREATE TABLE IF NOT EXISTS firefly_a (\n  a INT\n);\n-- b\nALTER;\n',
  )
  const second = await parseMigrationFile('0002_b.sql', 'SELECT;\n')
  const files = [first, second]
  assert.deepEqual(first.statements, ['CREATE TABLE IF NOT EXISTS firefly_a (\n  a INT\n)', 'ALTER'])
  const all = planFromCatalog(new Map(), NONE, target([pets], { files }))
  assert.deepEqual(all.pendingFiles, ['0001_a.sql', '0002_b.sql'])
  assert.deepEqual(
    all.steps.map(({ kind, reason }) => `${kind}: ${reason}`),
    [
      "ours: 0001_a.sql was not run yet (Firefly's own tables)",
      "ours: 0002_b.sql was not run yet (Firefly's own tables)",
      'create: table pets is missing',
    ],
  )
  assert.deepEqual(
    all.steps.map(({ statements }) => statements.map(({ sql }) => sql.slice(0, 30))),
    [
      ['CREATE TABLE IF NOT EXISTS fir', 'ALTER', 'INSERT INTO firefly_migration '],
      ['SELECT', 'INSERT INTO firefly_migration '],
      ['INSERT INTO firefly_table (nam', 'CREATE TABLE `pets` (\n  `id` V'],
    ],
  )

  const done: MigrationRecords = { files: new Map([[1, first]]), tables: new Map([['pets', { isAdopted: false }]]) }
  const incomplete = existingPets((column) => (['level', 'born'].includes(column[0]) ? null : column))
  const bare = new Map([...incomplete].map(([name, found]) => [name, { ...found, indexes: [] }] as const))
  const rest = planFromCatalog(bare, done, target([pets], { files }))
  assert.deepEqual(
    rest.steps.map(({ reason }) => reason),
    [
      "0002_b.sql was not run yet (Firefly's own tables)",
      'table pets lacks the column level',
      'table pets lacks the column born',
      'table pets lacks KEY shard_uid (uid)',
      'table pets lacks UNIQUE KEY unique_name (name)',
    ],
  )
  assert.match(rest.steps[1]!.statements[1]!.sql, /ADD COLUMN `level` .*, ADD KEY `by_level` \(`uid`, `level`\)$/)
  assert.equal(rest.steps[4]!.statements[0]!.sql, 'ALTER TABLE `pets` ADD UNIQUE KEY `unique_name` (`name`)')
  assert.deepEqual(planFromCatalog(existingPets(), recorded(), target([pets])).steps, [])
})

test('omits a statement that would create an existing table, because deploy requests refuse it', async () => {
  const file = await parseMigrationFile('0001_a.sql', 'CREATE TABLE IF NOT EXISTS firefly_a (a INT);\n')
  const existing = catalog('firefly_a', [['a', 'int', 'YES']], [])
  const [step] = planFromCatalog(existing, NONE, target([], { files: [file] })).steps
  const starts = step!.statements.map(({ sql }) => sql.slice(0, 12))
  assert.deepEqual(starts, ['INSERT INTO '])
})

test('reports a file that was changed after it was run as drift, except for its line ends', async () => {
  const ran = await parseMigrationFile('0001_a.sql', 'SELECT 1;\nSELECT 2;\n')
  assert.equal((await parseMigrationFile('0001_a.sql', 'SELECT 1;\r\nSELECT 2;\r\n')).checksum, ran.checksum)
  assert.deepEqual((await parseMigrationFile('0001_a.sql', 'SELECT 1;\r\nSELECT 2;\r\n')).statements, ran.statements)
  const files = new Map([[1, ran]])
  const renamed = await parseMigrationFile('0001_b.sql', 'SELECT 1;\nSELECT 2;\n')
  const changed = await parseMigrationFile('0001_a.sql', 'SELECT 1;\nSELECT 3;\n')
  for (const file of [renamed, changed]) {
    const { steps, drift } = planFromCatalog(new Map(), { ...NONE, files }, target([pets], { files: [file] }))
    assert.deepEqual(steps, [])
    assert.match(
      drift.map(describeDifference).join(),
      /^table firefly_migration: found 0001_a.sql with the checksum \w{64}, expected /,
    )
  }
  const unknown = new Map([
    [1, ran],
    [9, ran],
  ])
  assert.deepEqual(planFromCatalog(new Map(), { ...NONE, files: unknown }, target([], { files: [ran] })).drift, [])
})

test('adopts a table that Firefly did not create only with the option, and only if it is compatible', () => {
  const wide = existingPets((column) => (column[0] === 'level' ? ['level', 'int(11)', 'NO', '3'] : column))
  const narrow = existingPets((column) => (column[0] === 'level' ? ['level', 'tinyint(4)', 'NO', '3'] : column))
  const withAdopt = { adopt: true }

  for (const existing of [wide, existingPets()]) {
    const { steps, drift, tables } = planFromCatalog(existing, NONE, target([pets]))
    assert.deepEqual(steps, [])
    assertField(drift, 'actual', ['a table of 12 columns and about 7 rows that Firefly did not create'])
    assert.match(drift[0]!.advice, /apply --adopt/)
    assert.equal(tables[0]!.state, 'adoptable')
  }

  const [adopted, ...none] = planFromCatalog(wide, NONE, target([pets], withAdopt)).steps
  assert.equal(adopted!.reason, 'table pets exists already, and every value of the game fits into it')
  assert.equal(adopted!.details[2], 'level: int NOT NULL DEFAULT "3" holds SMALLINT UNSIGNED NOT NULL DEFAULT 1')
  assert.equal(adopted!.statements[0]!.params[2], 1)
  assert.deepEqual(none, [])
  const [same] = planFromCatalog(existingPets(), NONE, target([pets], withAdopt)).steps
  assert.equal(same!.reason, 'table pets exists already, and it is as Firefly would have created it')
  assert.equal(same!.statements[0]!.params[2], 0)

  const { steps, drift } = planFromCatalog(narrow, NONE, target([pets], withAdopt))
  assert.deepEqual(steps, [])
  assert.deepEqual(drift, [
    {
      table: 'pets',
      column: 'level',
      actual: 'tinyint NOT NULL DEFAULT "3"',
      expected: 'SMALLINT UNSIGNED NOT NULL DEFAULT 1',
      advice:
        "its maximum is 127, that of the game's column 65535; change the game's column, or by hand: " +
        'ALTER TABLE `pets` MODIFY COLUMN `level` SMALLINT UNSIGNED NOT NULL DEFAULT 1',
    },
  ])

  // An adopted table stays adopted; a table that Firefly created must match exactly.
  assert.deepEqual(planFromCatalog(wide, recorded(true), target([pets])).steps, [])
  assert.equal(planFromCatalog(wide, recorded(true), target([pets])).tables[0]!.state, 'in place')
  assert.equal(planFromCatalog(wide, recorded(), target([pets], withAdopt)).drift[0]!.column, 'level')
})

test('puts no literal into a statement, whatever the defaults are', () => {
  const special = defineTable(
    'special',
    { id: t.id, a: t.string(40), b: t.bytes(9), c: t.date, d: t.decimal(5, 2), e: t.string(9) },
    { key: 'id', defaults: { a: 'it\'s "?"\\ \0😀', b: Uint8Array.of(0, 63, 255), d: '-1.50', e: '?'.repeat(3) } },
  )
  const [step] = planFromCatalog(new Map(), NONE, target([special])).steps
  const create = step!.statements[1]!
  assert.doesNotMatch(create.sql, /['"]/)
  assert.equal(create.sql.split('?').length - 1, create.params.length)
  assert.deepEqual(create.params, [
    'it\'s "?"\\ \0😀',
    Uint8Array.of(0, 63, 255),
    '1970-01-01 00:00:00.000',
    '-1.50',
    '???',
  ])
})

test("numbers Firefly's own files without gaps, without literals, and requires the last one", async () => {
  const files = await Promise.all(
    globSync('schemas/mysql/*.sql')
      .sort()
      .map((path) => parseMigrationFile(basename(path), readFileSync(path, 'utf8'))),
  )
  assertField(
    files,
    'number',
    files.map((_, i) => i + 1),
  )
  assert.equal(files.length, REQUIRED_FILE)
  for (const { statements } of files) for (const sql of statements) assert.doesNotMatch(sql, /['"?]/)
})
