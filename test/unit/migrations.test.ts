// What is planned for a database: from its catalog and its records to steps, or to what only an operator may settle.

import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import test from 'node:test'

import type { TableDefinition } from '../../core/game/table.ts'
import type { Catalog } from '../../core/sql/catalog.ts'
import {
  describeDifference,
  REQUIRED_FILE,
  parseMigrationFile,
  planFromCatalog,
  type MigrationRecords,
} from '../../core/migrate/migrations.ts'
import { t } from '../../core/wire/type.ts'
import { catalog, define, MARIA, pets, PETS, PETS_INDEXES, type Column } from './informationschema.ts'

const NONE: MigrationRecords = { files: new Map(), tables: new Map() }
const target = (tables: readonly TableDefinition[], more = {}) => ({
  tables,
  files: [],
  adopt: false,
  ...more,
})
const recorded = (isAdopted = false): MigrationRecords => ({
  ...NONE,
  tables: new Map([['pets', { isAdopted }]]),
})
const petsThere = (change: (column: Column) => Column | null = (column) => column): Catalog =>
  catalog(
    'pets',
    PETS[MARIA]!.map(change).filter((column) => column !== null),
    PETS_INDEXES,
  )

test('the plan: files first, a record before each table, a step for each column and index', async () => {
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
    all.steps.map(({ kind, reason: why }) => `${kind}: ${why}`),
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

  const done: MigrationRecords = {
    files: new Map([[1, first]]),
    tables: new Map([['pets', { isAdopted: false }]]),
  }
  const without = petsThere((column) => (['level', 'born'].includes(column[0]) ? null : column))
  const less = new Map([...without].map(([name, found]) => [name, { ...found, indexes: [] }] as const))
  const rest = planFromCatalog(less, done, target([pets], { files }))
  assert.deepEqual(
    rest.steps.map(({ reason: why }) => why),
    [
      "0002_b.sql was not run yet (Firefly's own tables)",
      'table pets lacks the column level',
      'table pets lacks the column born',
      'table pets lacks KEY shard_uid (uid)',
      'table pets lacks UNIQUE KEY unique_name (name)',
    ],
  )
  assert.match(
    rest.steps[1]!.statements[1]!.sql,
    /ADD COLUMN `level` .*, ADD KEY `by_level` \(`uid`, `level`\)$/,
  )
  assert.equal(rest.steps[4]!.statements[0]!.sql, 'ALTER TABLE `pets` ADD UNIQUE KEY `unique_name` (`name`)')
  assert.deepEqual(planFromCatalog(petsThere(), recorded(), target([pets])).steps, [])
})

test('a statement that would create what is there is left out, because deploy requests refuse it', async () => {
  const file = await parseMigrationFile('0001_a.sql', 'CREATE TABLE IF NOT EXISTS firefly_a (a INT);\n')
  const there = catalog('firefly_a', [['a', 'int', 'YES']], [])
  const [step] = planFromCatalog(there, NONE, target([], { files: [file] })).steps
  assert.deepEqual(
    step!.statements.map(({ sql }) => sql.slice(0, 12)),
    ['INSERT INTO '],
  )
})

test('a file that was changed after it was run is drift, line ends are not a change', async () => {
  const ran = await parseMigrationFile('0001_a.sql', 'SELECT 1;\nSELECT 2;\n')
  assert.equal((await parseMigrationFile('0001_a.sql', 'SELECT 1;\r\nSELECT 2;\r\n')).checksum, ran.checksum)
  assert.deepEqual(
    (await parseMigrationFile('0001_a.sql', 'SELECT 1;\r\nSELECT 2;\r\n')).statements,
    ran.statements,
  )
  const files = new Map([[1, ran]])
  const renamed = await parseMigrationFile('0001_b.sql', 'SELECT 1;\nSELECT 2;\n')
  const changed = await parseMigrationFile('0001_a.sql', 'SELECT 1;\nSELECT 3;\n')
  for (const file of [renamed, changed]) {
    const { steps, drift } = planFromCatalog(new Map(), { ...NONE, files }, target([pets], { files: [file] }))
    assert.deepEqual(steps, [])
    assert.match(
      drift.map(describeDifference).join(),
      /^table firefly_migration: 0001_a.sql with the checksum \w{64} is there/,
    )
  }
  const unknown = new Map([
    [1, ran],
    [9, ran],
  ])
  assert.deepEqual(
    planFromCatalog(new Map(), { ...NONE, files: unknown }, target([], { files: [ran] })).drift,
    [],
  )
})

test('a table that Firefly did not make is taken over only when asked, and only when it fits', () => {
  const wide = petsThere((column) => (column[0] === 'level' ? ['level', 'int(11)', 'NO', '3'] : column))
  const narrow = petsThere((column) => (column[0] === 'level' ? ['level', 'tinyint(4)', 'NO', '3'] : column))
  const asked = { adopt: true }

  for (const there of [wide, petsThere()]) {
    const { steps, drift, tables } = planFromCatalog(there, NONE, target([pets]))
    assert.deepEqual(steps, [])
    assert.deepEqual(
      drift.map(({ actual: there }) => there),
      ['a table of 12 columns and about 7 rows that Firefly did not make'],
    )
    assert.match(drift[0]!.advice, /apply --adopt/)
    assert.equal(tables[0]!.state, 'adoptable')
  }

  const [adopted, ...none] = planFromCatalog(wide, NONE, target([pets], asked)).steps
  assert.equal(adopted!.reason, 'table pets is there already, and every value of the game fits into it')
  assert.equal(
    adopted!.details[2],
    'level: int NOT NULL DEFAULT "3" holds SMALLINT UNSIGNED NOT NULL DEFAULT 1',
  )
  assert.equal(adopted!.statements[0]!.params[2], 1)
  assert.deepEqual(none, [])
  const [same] = planFromCatalog(petsThere(), NONE, target([pets], asked)).steps
  assert.equal(same!.reason, 'table pets is there already, and it is as Firefly would have made it')
  assert.equal(same!.statements[0]!.params[2], 0)

  const { steps, drift } = planFromCatalog(narrow, NONE, target([pets], asked))
  assert.deepEqual(steps, [])
  assert.deepEqual(drift, [
    {
      table: 'pets',
      column: 'level',
      actual: 'tinyint NOT NULL DEFAULT "3"',
      expected: 'SMALLINT UNSIGNED NOT NULL DEFAULT 1',
      advice:
        "it ends at 127, the game's column at 65535; change the game's column, or by hand: " +
        'ALTER TABLE `pets` MODIFY COLUMN `level` SMALLINT UNSIGNED NOT NULL DEFAULT 1',
    },
  ])

  // What was adopted stays so; what we made must be as we made it.
  assert.deepEqual(planFromCatalog(wide, recorded(true), target([pets])).steps, [])
  assert.equal(planFromCatalog(wide, recorded(true), target([pets])).tables[0]!.state, 'in place')
  assert.equal(planFromCatalog(wide, recorded(), target([pets], asked)).drift[0]!.column, 'level')
})

test('no statement holds a literal, whatever the defaults are', () => {
  const nasty = define(
    'nasty',
    { id: t.id, a: t.string(40), b: t.bytes(9), c: t.date, d: t.decimal(5, 2), e: t.string(9) },
    {
      key: 'id',
      defaults: { a: 'it\'s "?"\\ \0😀', b: Uint8Array.of(0, 63, 255), d: '-1.50', e: '?'.repeat(3) },
    },
  )
  const [step] = planFromCatalog(new Map(), NONE, target([nasty])).steps
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

test("Firefly's own files are numbered without gaps, hold no literals, and the code needs the last", async () => {
  const files = await Promise.all(
    globSync('schemas/mysql/*.sql')
      .sort()
      .map((path) => parseMigrationFile(basename(path), readFileSync(path, 'utf8'))),
  )
  assert.deepEqual(
    files.map(({ number }) => number),
    files.map((_, i) => i + 1),
  )
  assert.equal(files.length, REQUIRED_FILE)
  for (const { statements } of files) for (const sql of statements) assert.doesNotMatch(sql, /['"?]/)
})
