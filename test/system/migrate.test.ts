// Migrations on a real MariaDB, with both clients: from an empty database, repeated, interrupted, concurrent, and next to
// processes of the previous version.

import assert from 'node:assert/strict'
import test from 'node:test'

import fc from 'fast-check'

import { createTable } from '../../core/sql/statements.ts'
import type { SqlClient } from '../../core/sql/client.ts'
import { SqlDatabase } from '../../core/sql/database.ts'
import { checkSchema, describeDifference, DriftError, planMigration } from '../../core/migrate/migrations.ts'
import type { MigrationTarget } from '../../core/migrate/plan.ts'
import { planetscaleClient } from '../../core/sql/planetscale.ts'
import { t, type Fields } from '../../core/wire/type.ts'
import { startPlanetscale } from '../support/planetscale/server.ts'
import { openTestDatabase, openClient, sql, waitUntil } from '../support/database.ts'
import {
  applySteps,
  bags,
  dumpDatabase,
  files,
  createEmptyDatabase,
  items,
  targetOf,
  type EmptyDatabase,
} from '../support/migrations.ts'
import { defineTable } from '../support/tables.ts'

const { url, skip } = await openTestDatabase()

/** Runs a test with mysqlClient and with planetscaleClient, each in its own database. */
function testBothDrivers(name: string, work: (client: SqlClient, database: EmptyDatabase) => Promise<void>): void {
  test(`mysql2: ${name}`, { skip }, async () => {
    await using database = await createEmptyDatabase(url)
    await work(database.client, database)
  })
  test(`planetscale: ${name}`, { skip }, async () => {
    await using database = await createEmptyDatabase(url)
    const endpoint = await startPlanetscale({ mysql: database.url })
    const client = planetscaleClient({ url: endpoint.url })
    try {
      await work(client, database)
    } finally {
      await client.close()
      await endpoint.close()
    }
  })
}

const game = targetOf([items, bags])
const statesOf = async (client: SqlClient, target: MigrationTarget): Promise<string[]> =>
  (await planMigration(client, target)).tables.map(({ state }) => state)
const driftOf = async (client: SqlClient, target: MigrationTarget): Promise<string[]> =>
  (await planMigration(client, target)).drift.map(describeDifference)
const queryRows = async (client: SqlClient, text: string) => (await client.query(sql(text))).rows
const NOT_READY = 'the database is not ready for this game: '
const APPLY_HINT = '; run: firefly migrate apply --app … --mysql …'

testBothDrivers('migrates an empty database, and then has nothing to do', async (client) => {
  assert.deepEqual(await statesOf(client, game), ['missing', 'missing'])
  await assert.rejects(checkSchema(client, [items, bags]), {
    kind: 'schema',
    message: `${NOT_READY}Firefly's own tables are missing; table items is missing; table bags is missing${APPLY_HINT}`,
  })
  assert.deepEqual(await applySteps(client, game), ['ours', 'create', 'create'])
  assert.deepEqual(await statesOf(client, game), ['in place', 'in place'])
  const before = await dumpDatabase(client)
  assert.deepEqual((await planMigration(client, game)).steps, [])
  assert.deepEqual(await applySteps(client, game), [])
  assert.deepEqual(await applySteps(client, { ...game, adopt: true }), [])
  assert.equal(await dumpDatabase(client), before)
  await checkSchema(client, [items, bags])
  await checkSchema(client, [])
  assert.deepEqual(await queryRows(client, 'SELECT number, name, checksum FROM firefly_migration'), [
    [String(files[0]!.number), files[0]!.name, files[0]!.checksum],
  ])
  assert.deepEqual(await queryRows(client, 'SELECT name, columns, adopted FROM firefly_table ORDER BY name'), [
    [
      'bags',
      '{"uid":"VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL",' +
        '"slot":"TINYINT UNSIGNED NOT NULL","item":"VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT \'\'"}',
      '0',
    ],
    [
      'items',
      '{"id":"VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL",' +
        '"uid":"VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL",' +
        '"count":"SMALLINT UNSIGNED NOT NULL DEFAULT 3","gem":"VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL",' +
        '"tags":"LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL"}',
      '0',
    ],
  ])
})

/** A table of up to 80 columns with unusual defaults. */
function tableWithUnusualDefaults(seed: number): ReturnType<typeof defineTable> {
  const columns: Record<string, Fields[string]> = { id: t.id }
  const defaults: Record<string, unknown> = {}
  const add = (name: string, type: Fields[string], value: unknown): void => {
    columns[name] = type
    defaults[name] = value
  }
  const sample = <T>(arbitrary: fc.Arbitrary<T>, numRuns: number): T[] => fc.sample(arbitrary, { numRuns, seed })
  const text = fc.string({ unit: 'binary', maxLength: 12 })
  for (const [i, value] of sample(text, 30).entries()) add(`text${i}`, t.string(24), value)
  for (const [i, value] of ['NULL', "'", '\\', "\\'", '😀', '?', '\0\n', ' ', '0', '﷐', '￿'].entries())
    add(`odd${i}`, t.nullable(t.string(9)), value)
  const double = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0)
  for (const [i, value] of sample(double, 20).entries()) add(`real${i}`, t.f64, value)
  for (const [i, value] of sample(fc.uint8Array({ maxLength: 9 }), 10).entries()) add(`seal${i}`, t.bytes(9), value)
  add('i64', t.i64, -(2n ** 63n))
  add('u64', t.u64, 2n ** 64n - 1n)
  add('i32', t.i32, -2_147_483_648)
  add('whole', t.int(-9, 2 ** 53 - 1), 2 ** 53 - 1)
  add('money', t.decimal(65, 30), '-12.5')
  add('coins', t.decimal(20, 0), '007')
  add('first', t.date, new Date('1000-01-01T00:00:00.001Z'))
  add('last', t.date, new Date('9999-12-31T23:59:59.999Z'))
  add('yes', t.bool, true)
  add('mood', t.oneOf('calm', 'wütend 😀'), 'wütend 😀')
  add('none', t.nullable(t.u8), null)
  add('maybe', t.nullable(t.u8), 0)
  return defineTable(`odd${seed}`, columns, { key: 'id', defaults })
}

testBothDrivers('finds no drift in a created table, whatever its defaults are', async (client) => {
  for (const seed of [1, 2, 3]) {
    const odd = targetOf([tableWithUnusualDefaults(seed)])
    await applySteps(client, odd)
    assert.deepEqual(await driftOf(client, odd), [])
    assert.deepEqual((await planMigration(client, odd)).steps, [])
    await checkSchema(client, odd.tables)
  }
})

testBothDrivers('gives these defaults to a row of an older version', async (client) => {
  const odd = tableWithUnusualDefaults(4)
  await applySteps(client, targetOf([odd]))
  await client.query(sql('INSERT INTO odd4 (id) VALUES (?)', 'a'))
  const row = await new SqlDatabase(client, { tables: [odd] }).row(odd, ['a'])
  for (const column of odd.columns.slice(1)) {
    const expected = column.spec.kind === 'decimal' ? column.schema.read(column.defaultValue) : column.defaultValue
    assert.deepEqual(row![column.name], expected, column.name)
  }
})

const items2 = defineTable(
  'items',
  {
    id: t.id,
    uid: t.string(20),
    count: t.u16,
    gem: t.nullable(t.string(9)),
    tags: t.array(t.string(9), 9),
    level: t.u8,
    name: t.string(20),
    pet: t.object({ name: t.string(9) }),
    kind: t.oneOf('axe', 'bow'),
  },
  { key: 'id', by: ['uid', 'count', 'kind'], unique: ['gem', 'name'], defaults: { count: 3, level: 7, kind: 'bow' } },
)

testBothDrivers('adds columns while a process of the previous version writes', async (client, { url }) => {
  await applySteps(client, game)
  await using other = openClient(url)
  const old = new SqlDatabase(other, { tables: [items] })
  const { epoch } = await old.takeover('old', 'a'.repeat(32))
  const state = { written: 0, isStopped: false }
  const writing = (async () => {
    while (!state.isStopped) {
      const n = ++state.written
      const values = { id: `i${n}`, uid: 'u', count: n % 9, gem: null, tags: ['a'] }
      const insert = { table: items, op: 'insert', key: [`i${n}`], values } as const
      const update = { table: items, op: 'update', key: [`i${n}`], values: { count: 9 } } as const
      const rest = { owner: 'old', epoch, firstSeq: 2 * n - 1, lastSeq: 2 * n, channels: [], casts: [], parked: [] }
      assert.equal(await old.apply({ ...rest, rows: n % 2 ? [insert] : [insert, update] }), 'applied')
    }
  })()
  const next = targetOf([items2, bags])
  assert.deepEqual(await applySteps(client, next), ['add-column', 'add-column', 'add-column', 'add-column'])
  const enough = state.written + 9
  await waitUntil(() => state.written > enough)
  state.isStopped = true
  await writing
  assert.deepEqual(await statesOf(client, next), ['in place', 'in place'])
  assert.deepEqual((await planMigration(client, next)).steps, [])
  // Both versions can start.
  await checkSchema(client, [items, bags])
  await checkSchema(client, [items2, bags])
  const rows = await new SqlDatabase(client, { tables: [items2] }).load(items2, 'u', null, 10_000)
  assert.equal(rows.length, state.written)
  for (const { level, name, pet, kind } of rows) assert.deepEqual({ level, name, pet, kind }, ADDED)
})
const ADDED = { level: 7, name: '', pet: {}, kind: 'bow' }

testBothDrivers('adds a dropped index again, a unique one only if the rows allow it', async (client) => {
  await applySteps(client, game)
  await queryRows(client, 'ALTER TABLE items DROP INDEX by_count, DROP INDEX unique_gem')
  for (const id of ['a', 'b'])
    await client.query(sql('INSERT INTO items (id, uid, gem) VALUES (?, ?, ?)', id, 'u', 'red'))
  await assert.rejects(checkSchema(client, [items, bags]), {
    message:
      `${NOT_READY}table items lacks KEY by_count (uid, count); ` +
      `table items lacks UNIQUE KEY unique_gem (gem)${APPLY_HINT}`,
  })
  await assert.rejects(applySteps(client, game), {
    kind: 'refused',
    message: /^table items lacks UNIQUE KEY unique_gem \(gem\); the migration failed: .*Duplicate entry 'red'/,
  })
  await queryRows(client, 'UPDATE items SET gem = NULL')
  assert.deepEqual(await applySteps(client, game), ['add-index'])
  await checkSchema(client, [items, bags])
})

testBothDrivers('completes a migration that was interrupted after any statement', async (client, { url }) => {
  const all = (await planMigration(client, game)).steps.flatMap(({ statements }) => statements)
  assert.ok(all.length >= 11)
  await using direct = openClient(url)
  for (const cut of all.keys()) {
    for (const [name] of await queryRows(direct, 'SHOW TABLES')) await queryRows(direct, `DROP TABLE ${String(name)}`)
    for (const statement of all.slice(0, cut)) await client.query(statement)
    await applySteps(client, game)
    assert.deepEqual((await planMigration(client, game)).steps, [], `after ${cut}`)
    await checkSchema(client, [items, bags])
  }
  const next = targetOf([items2, bags])
  const alter = (await planMigration(client, next)).steps.flatMap(({ statements }) => statements)
  for (const statement of alter.slice(0, 4)) await client.query(statement)
  assert.deepEqual(await applySteps(client, next), ['add-column', 'add-column'])
  assert.deepEqual(await statesOf(client, next), ['in place', 'in place'])
})

testBothDrivers('runs concurrent migrations to the same state, each step by one of them', async (client, { url }) => {
  const more = Array.from({ length: 5 }, (_, n) => defineTable(`more${n}`, { id: t.id, a: t.u8 }, { key: 'id' }))
  const grown = more.map(({ name }) =>
    defineTable(name, { id: t.id, a: t.u8, b: t.u8, c: t.string(9) }, { key: 'id', unique: ['c'] }),
  )
  const others = Array.from({ length: 3 }, () => openClient(url))
  const together = async (target: MigrationTarget): Promise<string[]> => {
    const done = await Promise.all([client, ...others].map((each) => applySteps(each, target)))
    return done.flat().sort()
  }
  const kinds = (kind: string, n: number): string[] => new Array<string>(n).fill(kind)
  const created = await together(targetOf([items, ...more]))
  assert.deepEqual(
    created.filter((kind) => kind !== 'ours'),
    kinds('create', 6),
  )
  assert.deepEqual(await together(targetOf([items2, ...grown])), kinds('add-column', 14))
  await Promise.all(others.map((other) => other.close()))
  assert.deepEqual((await planMigration(client, targetOf([items2, ...grown]))).steps, [])
})

testBothDrivers(
  "adopts a table without its record only with the option, as Firefly's own if it matches exactly",
  async (client) => {
    await applySteps(client, game)
    // The state after a deploy request of PlanetScale, which transfers no rows.
    await queryRows(client, 'DELETE FROM firefly_table')
    await queryRows(client, 'DELETE FROM firefly_migration')
    await assert.rejects(
      checkSchema(client, [items, bags]),
      /Firefly's own tables are missing; table items: found a table of 5/,
    )
    await assert.rejects(applySteps(client, game), DriftError)
    const { steps } = await planMigration(client, targetOf([items, bags], true))
    for (const { statements } of steps) for (const { sql } of statements) assert.match(sql, /^INSERT INTO firefly_/)
    assert.deepEqual(await applySteps(client, targetOf([items, bags], true)), ['ours', 'adopt', 'adopt'])
    assert.deepEqual(await queryRows(client, 'SELECT name, adopted FROM firefly_table ORDER BY name'), [
      ['bags', '0'],
      ['items', '0'],
    ])
    await checkSchema(client, [items, bags])
  },
)

test('plans and checks as a read-only user, and reports the missing rights on apply', { skip }, async () => {
  await using database = await createEmptyDatabase(url)
  const { client, name } = database
  await using root = openClient(url)
  await root.query(sql(`CREATE USER reader@localhost, reader@'127.0.0.1' IDENTIFIED BY 'secret-word'`))
  await root.query(sql(`GRANT SELECT ON ${name}.* TO reader@localhost, reader@'127.0.0.1'`))
  const readerUrl = new URL(database.url)
  readerUrl.username = 'reader'
  readerUrl.password = 'secret-word'
  await using reader = openClient(readerUrl.href)
  try {
    assert.equal((await planMigration(reader, game)).steps.length, 3)
    await assert.rejects(applySteps(reader, game), {
      kind: 'access',
      message: /^0001_firefly\.sql .*CREATE command denied/,
    })
    for (const [create] of [items, bags].map(createTable)) await client.query(create!)
    await applySteps(client, { ...game, adopt: true })
    assert.deepEqual(await applySteps(reader, game), [])
    await checkSchema(reader, [items, bags])
    await assert.rejects(applySteps(reader, targetOf([items2])), {
      kind: 'access',
      message: /^table items lacks the column level; the migration failed: .*INSERT.* command denied/,
    })
  } finally {
    await root.query(sql(`DROP USER reader@localhost, reader@'127.0.0.1'`))
  }
})

test('reports a missing database and a rejected login', { skip }, async () => {
  const openVariant = (change: (url: URL) => void): SqlClient => {
    const other = new URL(url)
    change(other)
    // It never connects, so it needs no close.
    return openClient(other.href, { connectTimeoutMs: 1_000 })
  }
  const cases: [SqlClient, string, RegExp][] = [
    [openVariant((other) => (other.password = 'not-the-password')), 'access', /Access denied/],
    [openVariant((other) => (other.pathname = 'nothing_here')), 'access', /Unknown database 'nothing_here'/],
    [openVariant((other) => (other.port = '1')), 'unavailable', /ECONNREFUSED/],
  ]
  for (const [client, kind, message] of cases) {
    await assert.rejects(checkSchema(client, [items]), { name: 'DatabaseError', kind, message })
    await assert.rejects(planMigration(client, game), { name: 'DatabaseError', kind, message })
    await assert.rejects(applySteps(client, game), { name: 'DatabaseError', kind, message })
  }
})
