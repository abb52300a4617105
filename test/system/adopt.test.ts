// Adoption of tables of another program: a compatible column stores and returns the extreme values of the game's column,
// an incompatible one is refused by name, and existing rows are not changed.

import assert from 'node:assert/strict'
import test from 'node:test'

import { SqlDatabase } from '../../core/sql/database.ts'
import { checkSchema, describeDifference, DriftError, planMigration } from '../../core/migrate/migrations.ts'
import { specOf, t, type Fields } from '../../core/wire/type.ts'
import { openTestDatabase, sql } from '../support/database.ts'
import { applySteps, dumpDatabase, createEmptyDatabase, targetOf, type EmptyDatabase } from '../support/migrations.ts'
import { defineTable } from '../support/tables.ts'

const { url, skip } = await openTestDatabase()
const BIN = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin'
const CI = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci'
const queryRows = async ({ client }: EmptyDatabase, text: string) => (await client.query(sql(text))).rows

type Compatible = readonly [type: Fields[string], existing: string, seed: string, values: readonly unknown[]]
type Mismatch = readonly [type: Fields[string], existing: string, seed: string, reason: string]
const CASES: readonly (Compatible | Mismatch)[] = [
  [t.u16, 'INT UNSIGNED NOT NULL', '7', [0, 65_535]],
  [t.u16, 'INT NULL', 'NULL', [0, 65_535]],
  [t.u16, 'DECIMAL(5,0) NOT NULL', '7', [0, 65_535]],
  [t.u32, 'INT(10) UNSIGNED ZEROFILL', '7', [0, 4_294_967_295]],
  [t.u32, 'SMALLINT NOT NULL', '7', "its maximum is 32767, that of the game's column 4294967295"],
  [t.i8, 'SMALLINT UNSIGNED NOT NULL', '7', "its minimum is 0, that of the game's column -128"],
  [t.u32, 'DOUBLE NOT NULL', '7', 'it is not an integer type'],
  [t.u64, 'DECIMAL(20,0) NOT NULL', '7', [0n, 2n ** 64n - 1n]],
  [t.i64, 'BIGINT', '7', [-(2n ** 63n), 2n ** 63n - 1n]],
  [t.f64, 'DOUBLE', '0.5', [5e-324, -Number.MAX_VALUE]],
  [t.f32, 'FLOAT', '0.5', 'only DOUBLE returns every value unchanged'],
  [t.bool, 'BIT(1) NOT NULL', "b'1'", [true, false]],
  [t.bool, 'INT', '1', [true, false]],
  [t.decimal(10, 2), 'DECIMAL(14,4)', '1.5', ['-99999999.99', '0.01']],
  [t.decimal(10, 2), 'DECIMAL(10,1)', '1.5', "it has 1 digits after the point, the game's column 2"],
  [t.string(20), `VARCHAR(200) ${CI}`, "'Ada'", ['', '😀'.repeat(10), "it's\\ "]],
  [t.string(20), `TEXT ${BIN}`, "'Ada'", ['', '😀'.repeat(10), 'end ']],
  [t.string(20), `VARCHAR(19) ${BIN}`, "'Ada'", "its maximum is 19 characters, that of the game's column 20"],
  [t.string(20), `CHAR(20) ${BIN}`, "'Ada'", 'CHAR removes trailing spaces'],
  [
    t.string(20),
    'VARCHAR(20) CHARACTER SET latin1',
    "'Ada'",
    'CHARACTER SET latin1 lacks some characters; utf8mb4 has them all',
  ],
  [t.id, 'CHAR(64) CHARACTER SET latin1', "'Ada'", ['A', 'z'.repeat(64)]],
  [t.oneOf('axe', 'bow'), "ENUM('sword','bow','axe') CHARACTER SET latin1", "'bow'", ['axe', 'bow']],
  [t.oneOf('axe', 'pike'), "ENUM('bow','axe')", "'axe'", 'it lacks "pike"'],
  [t.bytes(200), 'TINYBLOB', "'ab'", [new Uint8Array(200).fill(255), new Uint8Array(0)]],
  [t.bytes(16), 'BINARY(16)', "'ab'", 'BINARY adds zeros'],
  [t.array(t.string(9), 9), 'JSON', `'["a"]'`, [[], ['ü', '😀']]],
  [t.array(t.string(9), 9), `TEXT ${BIN}`, `'["a"]'`, 'JSON of any length needs LONGTEXT or JSON'],
  [t.date, 'DATETIME(6)', "'2026-01-02 03:04:05.678'", [new Date('1000-01-01T00:00:00.001Z'), new Date(-1)]],
  [t.date, 'DATETIME', "'2026-01-02 03:04:05'", 'it drops the milliseconds'],
  [t.date, 'TIMESTAMP(3)', "'2026-01-02 03:04:05'", 'the years 1000 to 9999 with milliseconds need DATETIME(3)'],
  [t.nullable(t.u8), 'INT NULL DEFAULT 5', 'NULL', [null, 255]],
  [t.nullable(t.u8), 'INT NOT NULL', '5', 'it does not allow NULL'],
  [t.u8, 'INT AS (LENGTH(uid)) STORED', 'DEFAULT', 'MySQL computes it'],
]

for (const [type, existing, seed, expected] of CASES) {
  const verb = Array.isArray(expected) ? 'adopts' : 'refuses'
  test(`${verb} ${existing} for t.${specOf(type).kind}`, { skip }, async () => {
    await using database = await createEmptyDatabase(url)
    const { client } = database
    const heroes = defineTable('heroes', { uid: t.string(20), value: type, more: t.u8 }, { key: 'uid', unique: [] })
    const target = targetOf([heroes], true)
    await queryRows(
      database,
      `CREATE TABLE heroes (uid VARCHAR(30) ${BIN} PRIMARY KEY, value ${existing}, own INT DEFAULT 9)`,
    )
    await queryRows(database, `INSERT INTO heroes (uid, value) VALUES ('old', ${seed})`)
    const before = await dumpDatabase(client)
    const { drift } = await planMigration(client, targetOf([heroes]))
    await assert.rejects(applySteps(client, targetOf([heroes])), DriftError)
    assert.equal(await dumpDatabase(client), before)
    if (typeof expected === 'string') {
      const [, clause] = /column value: found .*, expected (.*): /.exec(describeDifference(drift[0]!)) ?? []
      const advice = `ALTER TABLE \`heroes\` MODIFY COLUMN \`value\` ${drift[0]!.expected}`
      assert.ok(clause)
      assert.equal(drift[0]!.advice, `${expected}; change the game's column, or by hand: ${advice}`)
      await assert.rejects(applySteps(client, target), DriftError)
      assert.equal(await dumpDatabase(client), before)
      return
    }
    assert.match(drift[0]!.actual, /^a table of 3 columns and about \d+ rows that Firefly did not create$/)
    const rows = await queryRows(database, 'SELECT * FROM heroes')
    assert.deepEqual(await applySteps(client, target), ['ours', 'adopt', 'add-column'])
    assert.deepEqual(await queryRows(database, 'SELECT adopted FROM firefly_table'), [['1']])
    assert.deepEqual(await queryRows(database, 'SELECT uid, value, own FROM heroes'), rows)
    await checkSchema(client, [heroes])
    await assertWritesAndReads(database, heroes, expected)
  })
}

async function assertWritesAndReads(
  { client }: EmptyDatabase,
  heroes: ReturnType<typeof defineTable>,
  values: readonly unknown[],
): Promise<void> {
  const database = new SqlDatabase(client, { tables: [heroes] })
  const { epoch } = await database.takeover('me', 'a'.repeat(32))
  const rows = values.map((value, n) => ({ uid: `new${n}`, value, more: n }))
  const batch = {
    rows: rows.map((row) => ({ table: heroes, op: 'insert', key: [row.uid], values: row }) as const),
    channels: [],
    casts: [],
    parked: [],
  }
  assert.equal(await database.apply({ ...batch, owner: 'me', epoch, firstSeq: 1, lastSeq: 1 }), 'applied')
  for (const row of rows) assert.deepEqual(await database.row(heroes, [row.uid]), row)
  assert.ok(await database.row(heroes, ['old']))
}

const pets = defineTable(
  'pets',
  { id: t.u32, uid: t.string(20), name: t.string(20), level: t.u8 },
  { key: 'id', by: ['uid'], unique: ['name'], ids: 'auto' },
)
const petsWithGivenIds = defineTable(
  'pets',
  { id: t.u32, uid: t.string(20), name: t.string(20), level: t.u8 },
  { key: 'id', by: ['uid'], unique: ['name'] },
)
const LEGACY = (change: (ddl: string) => string): string =>
  change(`CREATE TABLE pets (id INT UNSIGNED NOT NULL AUTO_INCREMENT, uid VARCHAR(20) ${BIN} NOT NULL,
    name VARCHAR(20) ${BIN} NOT NULL, born TIMESTAMP NOT NULL DEFAULT NOW(), PRIMARY KEY (id), UNIQUE KEY n (name))`)
const KEYS: readonly (readonly [name: string, (ddl: string) => string, typeof pets, ...drift: RegExp[]])[] = [
  ['compatible', (ddl) => ddl, pets],
  ['compatible without the unique index, which is added', (ddl) => ddl.replace(', UNIQUE KEY n (name)', ''), pets],
  [
    'a case-insensitive unique column',
    (ddl) => ddl.replace(`name VARCHAR(20) ${BIN}`, `name VARCHAR(20) ${CI}`),
    pets,
    /column name: .*utf8mb4_general_ci treats different keys as equal/,
  ],
  ['AUTO_INCREMENT where the game gives the ids', (ddl) => ddl, petsWithGivenIds, /column id: .*needs ids: 'auto'/],
  [
    'no AUTO_INCREMENT where the game needs it',
    (ddl) => ddl.replace('AUTO_INCREMENT', ''),
    pets,
    /column id: .*ids: 'auto' needs AUTO_INCREMENT/,
  ],
  [
    'another key',
    (ddl) => ddl.replace('PRIMARY KEY (id)', 'PRIMARY KEY (uid, id), KEY (id)'),
    pets,
    /found PRIMARY KEY \(uid, id\), expected PRIMARY KEY \(id\)/,
  ],
  ['a shard key that is TEXT', (ddl) => ddl.replace('uid VARCHAR(20)', 'uid TEXT'), pets, /cannot index a whole TEXT/],
  [
    'no shard key',
    (ddl) => ddl.replace('uid VARCHAR', 'owner VARCHAR'),
    pets,
    /column uid: found no such/,
    /column owner/,
  ],
  ['another engine', (ddl) => `${ddl} ENGINE=MyISAM`, pets, /found ENGINE=MyISAM/],
  [
    'a unique index of its own',
    (ddl) => ddl.replace('UNIQUE KEY n', 'UNIQUE (uid), UNIQUE KEY n'),
    pets,
    /UNIQUE KEY uid/,
  ],
]

for (const [name, change, table, ...expected] of KEYS) {
  test(`compares the keys of a table: ${name}`, { skip }, async () => {
    await using database = await createEmptyDatabase(url)
    const { client } = database
    await queryRows(database, LEGACY(change))
    const before = await dumpDatabase(client)
    const target = targetOf([table], true)
    const { drift } = await planMigration(client, target)
    const described = drift.map(describeDifference)
    assert.equal(described.length, expected.length, described.join('\n'))
    for (const [i, line] of described.entries()) assert.match(line, expected[i]!)
    if (expected.length > 0) {
      await assert.rejects(applySteps(client, target), DriftError)
      assert.equal(await dumpDatabase(client), before)
      return
    }
    const indexes = name.includes('added') ? ['add-index', 'add-index'] : ['add-index']
    assert.deepEqual(await applySteps(client, target), ['ours', 'adopt', 'add-column', ...indexes])
    await checkSchema(client, [table])
    const values = { uid: 'u', name: 'Rex', level: 1 }
    const sqlDatabase = new SqlDatabase(client, { tables: [table] })
    assert.equal(await sqlDatabase.nextId(table, values), 1n)
  })
}

test('completes an interrupted adoption, to which a later version adds columns', { skip }, async () => {
  await using database = await createEmptyDatabase(url)
  const { client } = database
  await queryRows(
    database,
    LEGACY((ddl) => ddl),
  )
  await queryRows(database, "INSERT INTO pets (uid, name) VALUES ('u', 'Rex')")
  const target = targetOf([pets], true)
  const { steps } = await planMigration(client, target)
  assert.deepEqual(steps[1]!.details, [
    'id: int unsigned NOT NULL AUTO_INCREMENT holds INT UNSIGNED NOT NULL AUTO_INCREMENT',
    `uid: varchar(20) COLLATE utf8mb4_bin NOT NULL holds VARCHAR(20) ${BIN} NOT NULL`,
    `name: varchar(20) COLLATE utf8mb4_bin NOT NULL holds VARCHAR(20) ${BIN} NULL`,
    'level: added as TINYINT UNSIGNED NOT NULL DEFAULT 0',
  ])
  const statements = steps.flatMap(({ statements }) => statements)
  for (const statement of statements.slice(0, -2)) await client.query(statement)
  // A table that is recorded as adopted needs no option.
  assert.deepEqual(await applySteps(client, targetOf([pets])), ['add-column', 'add-index'])
  const later = defineTable(
    'pets',
    { id: t.u32, uid: t.string(20), name: t.string(20), level: t.u8, mood: t.oneOf('calm', 'wild') },
    { key: 'id', by: ['uid', 'mood'], unique: ['name'], ids: 'auto', defaults: { mood: 'wild' } },
  )
  assert.deepEqual(await applySteps(client, targetOf([later])), ['add-column'])
  assert.deepEqual(await queryRows(database, 'SELECT id, uid, name, level, mood FROM pets'), [
    ['1', 'u', 'Rex', '0', 'wild'],
  ])
  assert.deepEqual(await queryRows(database, 'SELECT adopted FROM firefly_table'), [['1']])
  await checkSchema(client, [pets])
  await checkSchema(client, [later])
})
