// The `firefly migrate` command: its output, the sources of its options, its exit codes, and a kill during a step.

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { before } from 'node:test'

import type { SqlClient } from '../../core/sql/client.ts'
import { splitStatements } from '../../core/sql/statements.ts'
import { startPlanetscale } from '../support/planetscale/server.ts'
import { openTestDatabase, openClient, sql, waitUntil } from '../support/database.ts'
import { createEmptyDatabase } from '../support/migrations.ts'
import { temporaryFolder } from '../support/program.ts'

const { url, skip } = await openTestDatabase()
const SCRIPT = join(import.meta.dirname, '../../cli/firefly.ts')
const folder = temporaryFolder()
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('FIREFLY_')))

const gameOf = (pets: string): string => `
import { command, contract, firefly, shard, t, table } from 'firefly-game'
const Player = contract('player', { hello: command(1) })
const purses = table('purses', { player: t.string(20), gold: t.u32 }, { key: 'player', owner: Player, class: 'critical' })
const pets = table('pets', ${pets})
export default firefly({ player: shard(Player).tables({ purses, pets }).on('hello', () => {}) })
`
/** The game, its next version, and a version with incompatible tables. */
const GAMES = {
  one: "{ player: t.string(20), name: t.string(9) }, { key: ['player', 'name'], owner: Player, defaults: { name: \"?'\" } }",
  two: "{ player: t.string(20), name: t.string(9), level: t.u8, mood: t.oneOf('calm', 'wild') }, { key: ['player', 'name'], by: ['player', 'level'], owner: Player }",
  bad: "{ player: t.string(40), name: t.u8 }, { key: ['player'], owner: Player }",
}
before(() => {
  for (const [name, pets] of Object.entries(GAMES)) {
    mkdirSync(join(folder, name))
    writeFileSync(join(folder, name, 'server.ts'), gameOf(pets))
  }
})

interface CommandResult {
  readonly code: number
  readonly out: string
  readonly err: string
}
function runMigrate(args: readonly string[], more: NodeJS.ProcessEnv = {}, cwd = folder): Promise<CommandResult> {
  return new Promise((resolve) => {
    const options = { cwd, env: { ...env, ...more }, timeout: 60_000 }
    execFile(process.execPath, [SCRIPT, 'migrate', ...args], options, (error, out, err) => {
      for (const text of [out, err]) assert.doesNotMatch(text, SECRETS)
      resolve({ code: error ? Number(error.code) : 0, out, err })
    })
  })
}
const SECRETS = new RegExp(`secret-word|pscale_pw|${url ? new URL(url).password : 'secret-word'}`)
const assertSuccess = (result: CommandResult): string => {
  assert.deepEqual([result.code, result.err], [0, ''])
  return result.out
}
const queryRows = async (client: SqlClient, text: string) => (await client.query(sql(text))).rows

const BIN = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin'
const PURSES = `-- 2. table purses is missing
INSERT INTO firefly_table (name, columns, adopted, applied_at) VALUES ('purses', '{"player":"VARCHAR(20) ${BIN} NOT NULL",\
"gold":"INT UNSIGNED NOT NULL DEFAULT 0"}', 0, UTC_TIMESTAMP(3)) ON DUPLICATE KEY UPDATE columns = VALUES(columns), \
adopted = VALUES(adopted), applied_at = VALUES(applied_at);
CREATE TABLE \`purses\` (
  \`player\` VARCHAR(20) ${BIN} NOT NULL,
  \`gold\` INT UNSIGNED NOT NULL DEFAULT 0,
  PRIMARY KEY (\`player\`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
`

test('plan, apply and status: migrates by hand or with apply', { skip }, async () => {
  await using database = await createEmptyDatabase(url)
  const by = (verb: string, app = 'one') => runMigrate([verb, '--app', app, '--mysql', database.url])
  const place = new URL(database.url)
  const plan = assertSuccess(await by('plan'))
  assert.ok(
    plan.startsWith(`-- What \`firefly migrate apply\` would run at ${place.host}/${database.name}, in 3 steps.

-- 1. 0001_firefly.sql was not run yet (Firefly's own tables)
CREATE TABLE IF NOT EXISTS firefly_owner (
`),
  )
  assert.ok(plan.includes(`\n\n${PURSES}\n-- 3. table pets is missing\n`), plan)
  assert.equal(
    assertSuccess(await by('status')),
    `TABLE   STATE    ROWS  CLASS     OWNER
purses  missing  -     critical  player
pets    missing  -     local     player

Firefly's own tables: 0001_firefly.sql not run yet
no writer yet
`,
  )
  // An operator runs the printed statements.
  for (const statement of splitStatements(plan)) await queryRows(database.client, statement)
  const inPlace = '2 tables and 1 numbered file are in place'
  assert.equal(assertSuccess(await by('plan')), `-- nothing to do: ${inPlace} at ${place.host}/${database.name}\n`)
  assert.equal(assertSuccess(await by('apply')), `nothing to do: ${inPlace}\n`)

  const next = assertSuccess(await by('plan', 'two'))
  assert.match(
    next,
    /-- 1\. table pets lacks the column level\nINSERT .*\nALTER TABLE `pets` ADD COLUMN `level` TINYINT/,
  )
  assert.match(assertSuccess(await by('status', 'two')), /^pets +2 columns missing +~0 /m)
  const ms = /done in \d+ ms/g
  assert.equal(
    assertSuccess(await by('apply', 'two')).replaceAll(ms, 'done in N ms'),
    `add-column: table pets lacks the column level … done in N ms
add-column: table pets lacks the column mood … done in N ms
${inPlace}
`,
  )
})

test('status prints the writers and the number of parked turns', { skip }, async () => {
  await using database = await createEmptyDatabase(url)
  const { client } = database
  const args = ['--app', 'one', '--mysql', database.url]
  const applied = assertSuccess(await runMigrate(['apply', ...args])).replaceAll(/done in \d+ ms/g, 'done in N ms')
  assert.equal(
    applied,
    `run: 0001_firefly.sql was not run yet (Firefly's own tables) … done in N ms
create: table purses is missing … done in N ms
create: table pets is missing … done in N ms
2 tables and 1 numbered file are in place
`,
  )
  const since = '2026-11-23 01:02:03.000'
  const owner = 'INSERT INTO firefly_owner (owner, epoch, applied_seq, store_id, taken_at) VALUES (?, ?, ?, ?, ?)'
  for (const [name, epoch, position] of [
    ['slot-1', 3, 4_711],
    ['slot-10', 12, 0],
  ] as const)
    await client.query(sql(owner, name, epoch, position, 'a'.repeat(32), since))
  const parked = 'INSERT INTO firefly_parked (owner, seq, shard, error, data, parked_at) VALUES (?, ?, ?, ?, ?, ?)'
  await client.query(sql(parked, 'slot-1', 4_710, 'player/ada', 'Duplicate', new Uint8Array(1), since))
  const status = assertSuccess(await runMigrate(['status', ...args]))
  assert.equal(
    status,
    `TABLE   STATE     ROWS  CLASS     OWNER
purses  in place  ~0    critical  player
pets    in place  ~0    local     player

Firefly's own tables: in place
turns parked because MySQL refused their rows: 1

WRITER   EPOCH  OUTBOX POSITION  SINCE
slot-1   3      4711             ${since} UTC
slot-10  12     0                ${since} UTC
`,
  )
  for (let n = 20; n < 40; n++) await client.query(sql(owner, `slot-${n}`, 1, 1, 'a'.repeat(32), since))
  const many = assertSuccess(await runMigrate(['status', ...args]))
  assert.match(many, /slot-37 .*\n… and more; these are the first 20\n$/)
  assert.doesNotMatch(many, /slot-38/)
  const json = JSON.parse(assertSuccess(await runMigrate(['status', '--json', ...args]))) as Record<string, unknown>
  assert.deepEqual(json['tables'], [
    { name: 'purses', state: 'in place', rows: 0, class: 'critical', owner: 'player' },
    { name: 'pets', state: 'in place', rows: 0, class: 'local', owner: 'player' },
  ])
  assert.deepEqual((json['owners'] as unknown[])[0], {
    owner: 'slot-1',
    epoch: 3,
    position: 4_711,
    since: `${since} UTC`,
  })
  assert.deepEqual([json['pending'], json['moreOwners'], json['parked'], json['drift']], [[], true, 1, []])
})

test('prints drift on stderr, exits with 1 and changes nothing', { skip }, async () => {
  await using database = await createEmptyDatabase(url)
  assertSuccess(await runMigrate(['apply', '--app', 'one', '--mysql', database.url]))
  const drift = `firefly: nothing was changed, because of 3 differences that Firefly does not resolve by itself:
table pets
  there:  PRIMARY KEY (player, name)
  wanted: PRIMARY KEY (player)
  advice: a key cannot change: use the existing key in the game, or move the rows to a new table
table pets, column player
  there:  varchar(20) COLLATE utf8mb4_bin NOT NULL
  wanted: VARCHAR(40) ${BIN} NOT NULL
  advice: use the existing declaration in the game, or check the values and change it by hand: \
ALTER TABLE \`pets\` MODIFY COLUMN \`player\` VARCHAR(40) ${BIN} NOT NULL
table pets, column name
  there:  varchar(9) COLLATE utf8mb4_bin NOT NULL
  wanted: TINYINT UNSIGNED NOT NULL DEFAULT 0
  advice: use the existing declaration in the game, or check the values and change it by hand: \
ALTER TABLE \`pets\` MODIFY COLUMN \`name\` TINYINT UNSIGNED NOT NULL DEFAULT 0
`
  const args = ['--app', 'bad', '--mysql', database.url]
  assert.deepEqual(await runMigrate(['plan', ...args]), { code: 1, out: '', err: drift })
  assert.deepEqual(await runMigrate(['apply', ...args]), { code: 1, out: '', err: drift })
  const status = await runMigrate(['status', ...args])
  assert.deepEqual([status.code, status.err], [1, drift])
  assert.match(status.out, /^purses +in place .*\npets +drift +~0 /m)
  for (const verb of ['plan', 'apply', 'status']) {
    const { code, out } = await runMigrate([verb, '--json', ...args])
    assert.deepEqual([code, (JSON.parse(out) as { drift: unknown[] }).drift.length], [1, 3])
  }
})

test('prints the compared columns before an adoption', { skip }, async () => {
  await using database = await createEmptyDatabase(url)
  await queryRows(
    database.client,
    `CREATE TABLE purses (player VARCHAR(40) ${BIN} PRIMARY KEY, gold BIGINT NULL, note TEXT)`,
  )
  const args = ['--app', 'one', '--mysql', database.url]
  assert.match(assertSuccess(await runMigrate(['status', ...args])), /^purses +adoptable +~0 /m)
  const refused = await runMigrate(['apply', ...args])
  assert.deepEqual([refused.code, refused.out], [1, ''])
  assert.match(refused.err, /there: {2}a table of 3 columns and about 0 rows that Firefly did not create\n/)
  assert.match(refused.err, /compare with `firefly migrate plan --adopt`, then run `… apply --adopt`\n$/)
  const details = [
    `player: varchar(40) COLLATE utf8mb4_bin NOT NULL holds VARCHAR(20) ${BIN} NOT NULL`,
    'gold: bigint NULL holds INT UNSIGNED NOT NULL DEFAULT 0',
  ]
  const reason = 'table purses exists already, and every value of the game fits into it'
  const plan = assertSuccess(await runMigrate(['plan', '--adopt', ...args]))
  assert.ok(plan.includes(`-- 2. ${reason}\n--    ${details.join('\n--    ')}\nINSERT INTO firefly_table `), plan)
  const applied = assertSuccess(await runMigrate(['apply', '--adopt', ...args]))
  assert.ok(applied.includes(`  ${details.join('\n  ')}\nadopt: ${reason} … done in `), applied)
  assert.match(assertSuccess(await runMigrate(['status', ...args])), /^purses +in place, adopted +~0 /m)
})

test('reaches the same state after a kill during a step, and when run twice at once', { skip }, async () => {
  await using database = await createEmptyDatabase(url)
  const args = (app: string): string[] => ['apply', '--app', app, '--mysql', database.url]
  const both = await Promise.all([runMigrate(args('one')), runMigrate(args('one'))])
  for (const result of both) assert.match(assertSuccess(result), /are in place\n$/)

  // An ALTER TABLE waits for the open transactions that have read the table, up to a timeout.
  await using reader = openClient(database.url, { poolSize: 1 })
  await reader.query(sql('BEGIN'))
  await reader.query(sql('SELECT * FROM pets'))
  const timedOut = await runMigrate(args('two'))
  assert.deepEqual([timedOut.code, timedOut.out], [2, 'add-column: table pets lacks the column level … failed\n'])
  assert.match(timedOut.err, /^firefly: table pets .*\(1205\); a transaction that has used the table is still open\n$/)
  const child = spawn(process.execPath, [SCRIPT, 'migrate', ...args('two')], { cwd: folder, env })
  let out = ''
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  const waiting = "SELECT 1 FROM information_schema.processlist WHERE state LIKE '%metadata lock%'"
  await waitUntil(async () => (await queryRows(database.client, waiting)).length > 0)
  child.kill('SIGKILL')
  await new Promise((resolve) => child.once('close', resolve))
  assert.equal(out, 'add-column: table pets lacks the column level … ')
  await reader.query(sql('ROLLBACK'))
  assert.match(assertSuccess(await runMigrate(args('two'))), /2 tables and 1 numbered file are in place\n$/)
  assert.match(assertSuccess(await runMigrate(['status', ...args('two').slice(1)])), /^pets +in place /m)
})

test('works over HTTP in the same way', { skip }, async () => {
  await using database = await createEmptyDatabase(url)
  const endpoint = await startPlanetscale({ mysql: database.url })
  try {
    const args = (verb: string, app: string): string[] => [verb, '--app', app, '--mysql', endpoint.url]
    const plan = assertSuccess(await runMigrate(args('plan', 'one')))
    assert.ok(plan.includes(`would run at 127.0.0.1:${endpoint.port}/${database.name}, in 3 steps`), plan)
    assert.match(assertSuccess(await runMigrate(args('apply', 'one'))), /create: table pets is missing … done/)
    assert.match(
      assertSuccess(await runMigrate(args('apply', 'two'))),
      /add-column: table pets lacks the column mood … done/,
    )
    assert.match(assertSuccess(await runMigrate(args('status', 'two'))), /^pets +in place /m)
    const wrong = await runMigrate(args('plan', 'two').with(4, endpoint.url.replace(/:[^:@]+@/, ':secret-word@')))
    assert.equal(wrong.code, 2)
    assert.match(wrong.err, /^firefly: 127\.0\.0\.1:\d+: the server rejected the login: .*\n$/)
  } finally {
    await endpoint.close()
  }
})

test('reads options from the command line, the environment and firefly.json, and prints no password', async () => {
  const cwd = temporaryFolder()
  const place = 'mysql://ada:secret-word@127.0.0.1:1/nothing'
  writeFileSync(join(cwd, 'firefly.json'), JSON.stringify({ app: join(folder, 'one'), mysql: place }))
  const unreachable = /^firefly: mysql 127\.0\.0\.1:1\/nothing: .*ECONNREFUSED.*\n$/
  const cases: [string[], NodeJS.ProcessEnv, string, RegExp][] = [
    [[], {}, cwd, unreachable],
    [['--app', 'one'], { FIREFLY_MYSQL: place }, folder, unreachable],
    [['--mysql', place], { FIREFLY_APP: 'one' }, folder, unreachable],
    [['--app', 'nowhere'], { FIREFLY_MYSQL: place }, folder, /^firefly: app nowhere does not exist\n$/],
    [
      [],
      { FIREFLY_MYSQL: place },
      folder,
      /^firefly: no game: give --app PATH, FIREFLY_APP, or app in firefly\.json\n$/,
    ],
    [['--app', 'one'], {}, folder, /^firefly: no database: give --mysql URL, .*\n$/],
    [['--mysql', 'ada:secret-word@host/db'], {}, cwd, /^firefly: database URL: does not begin with mysql:\/\/.*\n$/],
    [['--mysql', 'mysql://ada:secret-word@host'], {}, cwd, /^firefly: database URL: names no database.*\n$/],
    [['--mysql', 'https://ada@host/db'], {}, cwd, /^firefly: the database url has no user or no password.*\n$/],
    [['--nonsense'], {}, cwd, /^error: unknown option '--nonsense'\n$/],
  ]
  const check = async ([args, more, where, message]: (typeof cases)[number]): Promise<void> => {
    const { code, out, err } = await runMigrate(['plan', ...args], more, where)
    assert.deepEqual([code, out], [2, ''])
    assert.match(err, message)
  }
  await Promise.all(cases.map(check))
  assert.match((await runMigrate(['fix'], {}, cwd)).err, /Allowed choices are plan, apply, status\.\n$/)
  const { out } = await runMigrate(['--help'], {}, cwd)
  assert.match(out, /MySQL database: mysql:/)
})

test('prints one line and exits with 2 for a rejected login or an unknown database', { skip }, async () => {
  const urlWith = (change: (url: URL) => void): string => {
    const other = new URL(url)
    change(other)
    return other.href
  }
  const cases: [string, string, RegExp][] = [
    ['plan', urlWith((other) => (other.password = 'secret-word')), /Access denied for user '\w+'@'[^']+' .*\n$/],
    ['apply', urlWith((other) => (other.password = 'secret-word')), /Access denied for user /],
    [
      'status',
      urlWith((other) => (other.pathname = 'nothing_here')),
      /Unknown database 'nothing_here' \(1049\), as user '\w+'\n$/,
    ],
  ]
  for (const [verb, mysql, message] of cases) {
    const { code, out, err } = await runMigrate([verb, '--app', 'one', '--mysql', mysql])
    assert.deepEqual([code, out, err.split('\n').length], [2, '', 2])
    assert.match(err, message)
  }
})
