// planetscaleClient with the real driver, against the local endpoint in front of a real MariaDB. Its results equal those
// of mysqlClient on the same database.

import assert from 'node:assert/strict'
import { after, before, test as run } from 'node:test'
import { inspect } from 'node:util'
import { mysqlClient } from '../../core/node/mysqlpool.ts'
import { DatabaseError, type SqlClient, type SqlValue } from '../../core/sql/client.ts'
import { planetscaleClient } from '../../core/sql/planetscale.ts'
import { openTestDatabase, sql } from '../support/database.ts'
import { startPlanetscale, type Endpoint } from '../support/planetscale/server.ts'

const { url: mysql, skip } = await openTestDatabase()
const test = (name: string, work: () => Promise<void>) => run(name, { skip }, work)

let password = ''
let endpoint: Endpoint
let client: SqlClient
let direct: SqlClient
before(async () => {
  if (skip) return
  endpoint = await startPlanetscale({ mysql })
  password = new URL(endpoint.url).password
  client = planetscaleClient({ url: endpoint.url })
  direct = mysqlClient({ url: mysql })
})
after(async () => {
  if (skip) return
  await Promise.all([client.close(), direct.close()])
  await endpoint.close()
})

const accept = () => true
const rowsOf = async (client: SqlClient, text: string, ...params: SqlValue[]) =>
  (await client.query(sql(text, ...params))).rows

/** Creates a table with a unique name. */
let tables = 0
async function table(columns: string): Promise<string> {
  const name = `t${++tables}`
  await direct.query(sql(`CREATE TABLE ${name} (${columns}) COLLATE utf8mb4_bin`))
  return name
}

function isDatabaseError(kind: string, message: RegExp, more: { errno?: number; statement?: number } = {}) {
  return (error: unknown) => {
    assert(error instanceof DatabaseError)
    assert.match(error.message, message)
    assert(error.message.length <= 500)
    const all = inspect(error, { depth: 9, showHidden: true })
    for (const secret of [password, btoa(`firefly:${password}`)]) assert(!all.includes(secret), all)
    const actual = { kind: error.kind, errno: error.errno, statement: error.statement }
    assert.deepEqual(actual, { ...actual, kind, ...more })
    return true
  }
}

const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)
const TEXT = '\uFEFF😀 it\'s "quoted" \\ back\\\\slash ? :v `tick` \0 \b\n\r\t\x1a -- /* # ; \u2028 ß'

/** Column type, written value, and the value read back if it differs. */
const VALUES: readonly (readonly [string, SqlValue, (string | Uint8Array | null)?])[] = [
  ['TINYINT', -128, '-128'],
  ['TINYINT UNSIGNED', 255, '255'],
  ['BOOLEAN', true, '1'],
  ['SMALLINT', -32_768, '-32768'],
  ['SMALLINT UNSIGNED', 65_535, '65535'],
  ['MEDIUMINT', -8_388_608, '-8388608'],
  ['MEDIUMINT UNSIGNED', 16_777_215, '16777215'],
  ['INT', -2_147_483_648, '-2147483648'],
  ['INT UNSIGNED', 4_294_967_295, '4294967295'],
  ['BIGINT', -9_223_372_036_854_775_808n, '-9223372036854775808'],
  ['BIGINT UNSIGNED', 18_446_744_073_709_551_615n, '18446744073709551615'],
  ['FLOAT', 1.5, '1.5'],
  ['DOUBLE', 5e-324, '5e-324'],
  ['DOUBLE', 1.797_693_134_862_315_7e308, '1.7976931348623157e308'],
  ['DECIMAL(30,10)', '-12345678901234567890.0123456789'],
  ['DATE', '2026-02-28'],
  ['TIME(3)', '-838:59:58.125'],
  ['DATETIME(3)', '2026-02-28 23:59:59.999'],
  ['TIMESTAMP(6)', '2026-07-01 00:00:00.000001'],
  ['YEAR', 2026, '2026'],
  ['CHAR(8)', 'abc'],
  ['VARCHAR(200)', TEXT],
  ['VARCHAR(200) COLLATE utf8mb4_general_ci', TEXT],
  ['VARCHAR(20)', ''],
  ['VARCHAR(20)', '\uD83D', '\uFFFD'],
  ['TEXT', TEXT],
  ['LONGTEXT', 'é'.repeat(100_000)],
  ['BINARY(4)', Uint8Array.of(0, 255), Uint8Array.of(0, 255, 0, 0)],
  ['VARBINARY(300)', bytes],
  ['VARBINARY(300)', new Uint8Array(0)],
  ['BLOB', bytes],
  ['LONGBLOB', new Uint8Array(100_000).fill(0xc3)],
  ['BIT(12)', 0xabc, Uint8Array.of(0x0a, 0xbc)],
  ['JSON', '["ß"]'],
  ["ENUM('a','b')", 'b'],
  ["SET('a','b')", 'a,b'],
  ['BIGINT', null],
  ['BLOB', null],
]

test('returns every type as text, bytes or null, equal with both drivers', async () => {
  const columns = VALUES.map(([type], i) => `c${i} ${type} NULL`)
  const name = await table(['id INT', ...columns].join(', '))
  const params = VALUES.map(([, value]) => value)
  const insert = `INSERT INTO ${name} VALUES (?${', ?'.repeat(params.length)})`
  await client.query(sql(insert, 1, ...params))
  await direct.query(sql(insert, 2, ...params))
  const expected = VALUES.map(([, value, readBack]) => (readBack === undefined ? value : readBack))
  for (const driver of [client, direct]) {
    const { rows, columns } = await driver.query(sql(`SELECT * FROM ${name} ORDER BY id`))
    assert.deepEqual(columns, ['id', ...VALUES.map((_, i) => `c${i}`)])
    for (const [i, [id, ...row]] of rows.entries()) {
      assert.equal(id, String(i + 1))
      for (const [j, value] of row.entries()) {
        // mysql2 returns a Buffer.
        const plain = value instanceof Uint8Array ? Uint8Array.from(value) : value
        assert.deepEqual(plain, expected[j], `${VALUES[j]![0]} of row ${id}`)
      }
    }
    assert.equal(rows.length, 2)
  }
})

test('returns equal expressions, SHOW and empty results with both drivers', async () => {
  const name = await table('id INT PRIMARY KEY, v VARCHAR(20)')
  const statements = [
    sql('SELECT 1, 1.5, 2.5e0, NULL, ?, ?, ? AS same, ? AS same', 'ß', bytes, true, 12n),
    sql('SELECT COUNT(*), SUM(1), UTC_DATE() = CURRENT_DATE() AS utc, @@time_zone'),
    sql('SELECT HEX(?), CONCAT(?, ?), CAST(? AS CHAR), CAST(? AS SIGNED)', bytes, 'a', 1, 2, '3'),
    sql(`SELECT * FROM ${name}`),
    sql(`SHOW COLUMNS FROM ${name}`),
    sql('SELECT table_name FROM information_schema.tables WHERE table_name = ?', name),
    sql(`INSERT INTO ${name} VALUES (1, ?), (2, ?)`, 'a', 'b'),
    sql(`INSERT INTO ${name} VALUES (2, ?) ON DUPLICATE KEY UPDATE v = VALUES(v)`, 'c'),
    sql(`DELETE FROM ${name}`),
  ]
  for (const statement of statements) {
    const resultOf = async (driver: SqlClient) => {
      let result: unknown
      await driver.transact([statement], (_, received) => ((result = received), false))
      return JSON.stringify(result, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value))
    }
    assert.equal(await resultOf(client), await resultOf(direct), statement.sql)
  }
})

test('returns the matched rows of a write, and the first id of an INSERT up to 2^64 - 3', async () => {
  const name = await table('id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, v INT')
  const first = await client.query(sql(`INSERT INTO ${name} (v) VALUES (?), (?)`, 1, 2))
  assert.deepEqual([first.affected, first.insertId], [2, 1n])
  const same = await client.query(sql(`UPDATE ${name} SET v = v WHERE id = ?`, 1))
  assert.deepEqual([same.affected, same.insertId], [1, 0n])
  assert.equal((await client.query(sql(`UPDATE ${name} SET v = 1 WHERE id = ?`, 9))).affected, 0)
  assert.equal((await client.query(sql(`SELECT * FROM ${name}`))).affected, 0)
  for (const id of [2n ** 53n + 1n, 2n ** 63n + 1n, 2n ** 64n - 3n]) {
    await client.query(sql(`INSERT INTO ${name} (id) VALUES (?)`, id - 1n))
    assert.equal((await client.query(sql(`INSERT INTO ${name} (v) VALUES (?)`, 3))).insertId, id)
  }
})

test('commits a transaction completely or rolls it back completely', async () => {
  const name = await table('id INT PRIMARY KEY, v INT')
  const insert = (id: number) => sql(`INSERT INTO ${name} VALUES (?, 0)`, id)
  const results = await client.transact([insert(1), insert(2), sql(`SELECT COUNT(*) FROM ${name}`)], accept)
  assert.deepEqual([results?.[0]?.affected, results?.[2]?.rows], [1, [['2']]])
  assert.deepEqual(await client.transact([], accept), [])

  const checked: number[] = []
  const none = await client.transact([insert(3), insert(4), insert(5)], (index) => checked.push(index) < 2)
  assert.deepEqual([none, checked], [null, [0, 1]])
  const refused = client.transact([insert(6), insert(1), insert(7)], accept)
  await assert.rejects(refused, isDatabaseError('refused', /Duplicate entry '1'/, { errno: 1062, statement: 1 }))
  const bug = client.transact([insert(8)], () => assert.fail('a bug'))
  await assert.rejects(bug, /a bug/)
  assert.deepEqual(await rowsOf(direct, `SELECT id FROM ${name} ORDER BY id`), [['1'], ['2']])

  // Concurrent transactions: the second waits for the row lock, and then reads the committed value.
  const add = sql(`UPDATE ${name} SET v = v + 1 WHERE id = 1`)
  await Promise.all(Array.from({ length: 8 }, () => client.transact([add, add], accept)))
  assert.deepEqual(await rowsOf(client, `SELECT v FROM ${name} WHERE id = 1`), [['16']])
})

test('reports an error with kind, number and host, without the password', async () => {
  const name = await table('id INT PRIMARY KEY, v VARCHAR(400) UNIQUE')
  const duplicate = sql(`INSERT INTO ${name} VALUES (?, ?)`, 1, '(errno 1205) (sqlstate HY000)'.repeat(12))
  await client.query(duplicate)
  const CASES: readonly (readonly [ReturnType<typeof sql>, string, RegExp, number])[] = [
    [duplicate, 'refused', /^127\.0\.0\.1:\d+: target: firefly\w*\.-\.primary: vttablet/, 1062],
    [sql(`INSERT INTO ${name} VALUES (NULL, ?)`, 'x'), 'refused', /cannot be null/, 1048],
    [sql(`INSERT INTO ${name} VALUES (?, NULL)`, 2n ** 40n), 'refused', /Out of range/, 1264],
    [sql(`INSERT INTO ${name} VALUES (2, ?)`, 'x'.repeat(401)), 'refused', /Data too long/, 1406],
    [sql('SELECT * FROM nowhere'), 'schema', /nowhere/, 1146],
    [sql(`SELECT nothing FROM ${name}`), 'schema', /nothing/, 1054],
    [sql('SELECT FROM'), 'schema', /syntax/, 1064],
  ]
  for (const [statement, kind, message, errno] of CASES)
    await assert.rejects(client.query(statement), isDatabaseError(kind, message, { errno, statement: -1 }))

  const url = endpoint.url.replace(password, 'wrong%2Fword')
  const wrongLogin = planetscaleClient({ url })
  await assert.rejects(
    wrongLogin.query(sql('SELECT 1')),
    isDatabaseError('access', /rejected the login: invalid username/),
  )
  await assert.rejects(wrongLogin.transact([sql('SELECT 1')], accept), isDatabaseError('access', /rejected the login/))
  const unreachable = planetscaleClient({ url: endpoint.url.replace(/:\d+\//, ':1/') })
  await assert.rejects(
    unreachable.query(sql('SELECT 1')),
    isDatabaseError('unavailable', /^127\.0\.0\.1:1: fetch failed: \w/),
  )
  await unreachable.close()
  await assert.rejects(unreachable.query(sql('SELECT 1')), isDatabaseError('unavailable', /closed/))
})

test('sends the decoded password of a percent-encoded url', async () => {
  const login = { user: 'us%er', password: "p@ss:/?#%40'&" }
  const other = await startPlanetscale({ mysql, ...login })
  const client = planetscaleClient({ url: other.url })
  assert.deepEqual(await rowsOf(client, 'SELECT 1'), [['1']])
  await other.close()
})

test('reports a lost answer of COMMIT as unavailable, though the commit was applied', async () => {
  const name = await table('id INT')
  const insert = (id: number) => [sql(`INSERT INTO ${name} VALUES (?)`, id)]
  endpoint.faults.dropAnswers((text) => text === 'COMMIT')
  await assert.rejects(client.transact(insert(1), accept), isDatabaseError('unavailable', /fetch failed/))
  endpoint.faults.dropAnswers((text) => text.startsWith('INSERT'))
  await assert.rejects(client.transact(insert(2), accept), isDatabaseError('unavailable', /./, { statement: 0 }))
  endpoint.faults.dropAnswers(1)
  await assert.rejects(client.query(insert(3)[0]!), isDatabaseError('unavailable', /./))
  await client.transact(insert(4), accept)
  assert.deepEqual(await rowsOf(client, `SELECT id FROM ${name} ORDER BY id`), [['1'], ['3'], ['4']])
})

test('reports a lost COMMIT as unavailable, commits nothing and releases its locks', async () => {
  const name = await table('id INT PRIMARY KEY')
  const lossy: typeof fetch = (input, init) =>
    (init!.body as string).includes('"COMMIT"') ? Promise.reject(new Error('no route')) : fetch(input, init)
  const lossyClient = planetscaleClient({ url: endpoint.url, fetch: lossy })
  const insert = [sql(`INSERT INTO ${name} VALUES (1)`)]
  await assert.rejects(lossyClient.transact(insert, accept), isDatabaseError('unavailable', /no route/))
  assert.equal((await client.transact(insert, accept))?.[0]?.affected, 1)
})

test('reports the error of the statement when the ROLLBACK fails too', async () => {
  endpoint.faults.dropAnswers((text) => text === 'ROLLBACK')
  const schema = client.transact([sql('SELECT 1'), sql('SELECT * FROM nowhere')], accept)
  await assert.rejects(schema, isDatabaseError('schema', /nowhere/, { errno: 1146, statement: 1 }))
  assert.equal(await client.transact([sql('SELECT 1')], () => false), null)
  endpoint.faults.dropAnswers(0)
})

test('reports an invalid answer, a 503 and a timeout as unavailable', async () => {
  endpoint.faults.garbage(1)
  await assert.rejects(client.query(sql('SELECT 1')), isDatabaseError('unavailable', /not in the PlanetScale protocol/))
  endpoint.faults.unavailable(true)
  await assert.rejects(client.transact([], accept), isDatabaseError('unavailable', /HTTP 503/))
  endpoint.faults.unavailable(false)
  const shortTimeout = planetscaleClient({ url: endpoint.url, timeoutMs: 100 })
  endpoint.faults.delay(300)
  await assert.rejects(shortTimeout.query(sql('SELECT 1')), isDatabaseError('unavailable', /no answer within 100 ms/))
  endpoint.faults.delay(0)
  assert.deepEqual(await rowsOf(shortTimeout, 'SELECT 1'), [['1']])
})
