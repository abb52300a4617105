// The mysql2 client on a healthy server: values read back unchanged, errors have the right kind, and waiting requests are
// bounded.

import assert from 'node:assert/strict'
import test from 'node:test'
import { inspect } from 'node:util'
import { mysqlClient } from '../../core/node/mysqlpool.ts'
import { DatabaseError, type SqlClient, type SqlResult, type SqlValue } from '../../core/sql/client.ts'
import { startMariadb } from '../support/mariadb.ts'
import { openTestDatabase, assertDatabaseError, openClient, sql, waitUntil } from '../support/database.ts'
import { assertField } from '../support/assertfield.ts'

const { url, mariadb, skip: missing } = await openTestDatabase()
const skip = { skip: missing }
const privateOnly = { skip: missing || (mariadb ? false : 'the settings of FIREFLY_TEST_MYSQL are unknown') }
const acceptAll = () => true
const bytesOf = (...bytes: number[]) => Uint8Array.from(bytes)

const TYPES: readonly (readonly [type: string, value: SqlValue, expected: string | Uint8Array])[] = [
  ['BIGINT UNSIGNED', 18_446_744_073_709_551_615n, '18446744073709551615'],
  ['BIGINT', -9_223_372_036_854_775_808n, '-9223372036854775808'],
  ['INT', -7, '-7'],
  ['TINYINT(1)', true, '1'],
  ['BOOLEAN', false, '0'],
  ['DECIMAL(30,10)', '-12345678901234567890.0123456789', '-12345678901234567890.0123456789'],
  ['DOUBLE', 0.1 + 0.2, '0.30000000000000004'],
  ['DOUBLE', 1.7976931348623157e308, '1.7976931348623157e308'],
  ['DOUBLE', 5e-324, '5e-324'],
  ['FLOAT', 1.5, '1.5'],
  ['YEAR', 2026, '2026'],
  ['DATE', '2026-11-22', '2026-11-22'],
  ['TIME(2)', '-838:59:58.99', '-838:59:58.99'],
  ['DATETIME(3)', '2026-11-22 23:59:59.987', '2026-11-22 23:59:59.987'],
  ['TIMESTAMP(6)', '2026-11-22 01:02:03.000004', '2026-11-22 01:02:03.000004'],
  // Other spacing depends on the server, and each has its own; the codec parses it.
  ['JSON', '["ü"]', '["ü"]'],
  ['LONGTEXT', '{"gold": 1}', '{"gold": 1}'],
  ['VARCHAR(40)', '', ''],
  ['VARCHAR(40)', "🐉 ü ' \" \\ \\' ` ? ?? % _ \0 \b\n\r\t\x1a", "🐉 ü ' \" \\ \\' ` ? ?? % _ \0 \b\n\r\t\x1a"],
  ["ENUM('north','süd')", 'süd', 'süd'],
  ['BIT(16)', bytesOf(1, 2), bytesOf(1, 2)],
  ['BINARY(3)', bytesOf(0, 255), bytesOf(0, 255, 0)],
  ['VARBINARY(300)', bytesOf(...Array(256).keys()), bytesOf(...Array(256).keys())],
  ['LONGBLOB', bytesOf(0xc3, 0x28, 0xed, 0xa0, 0x80, 0xff, 0xfe), bytesOf(0xc3, 0x28, 0xed, 0xa0, 0x80, 0xff, 0xfe)],
  ['TINYBLOB', new Uint8Array(0), new Uint8Array(0)],
]

async function assertEveryType(client: SqlClient, table: string): Promise<void> {
  const columns = TYPES.map(([type], index) => `c${index} ${type} NULL`)
  await client.query(sql(`CREATE TABLE ${table} (id INT PRIMARY KEY, ${columns.join()}) CHARSET utf8mb4`))
  const row = (id: number, values: readonly SqlValue[]) =>
    sql(`INSERT INTO ${table} VALUES (?${',?'.repeat(values.length)})`, id, ...values)
  await client.query(
    row(
      1,
      TYPES.map(([, value]) => value),
    ),
  )
  await client.query(
    row(
      2,
      TYPES.map(() => null),
    ),
  )
  const { rows, columns: names } = await client.query(sql(`SELECT * FROM ${table} ORDER BY id`))
  assert.deepEqual(names, ['id', ...TYPES.map((_, index) => `c${index}`)])
  assert.deepEqual(rows, [
    ['1', ...TYPES.map(([, , expected]) => expected)],
    ['2', ...TYPES.map(() => null)],
  ])
  // Each value finds its row, except BIT, which needs a number, padded BINARY, inexact FLOAT, and JSON.
  for (const [index, [type, value]] of TYPES.entries())
    if (!/^(BIT|BINARY|FLOAT|JSON)/.test(type))
      assert.equal((await client.query(sql(`SELECT id FROM ${table} WHERE c${index} = ?`, value))).rows.length, 1, type)
}

test('returns every type as MySQL prints it, binary types as bytes', skip, async () => {
  await using client = openClient(url)
  await assertEveryType(client, 'types')
})

test('sets its own session settings, whatever the defaults of the server are', privateOnly, async () => {
  await using server = await startMariadb({
    flags: [
      '--sql-mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT',
      '--character-set-server=latin1',
      '--skip-character-set-client-handshake',
      '--default-time-zone=+05:00',
      '--transaction-isolation=SERIALIZABLE',
      '--autocommit=0',
      '--max-allowed-packet=1M',
    ],
  })
  await using client = openClient(server.url, { poolSize: 1 })
  await assertEveryType(client, 'types')
  await client.query(sql('CREATE TABLE t (id INT PRIMARY KEY)'))
  await client.query(sql('INSERT INTO t VALUES (1)'))
  await using other = openClient(server.url)
  assert.equal((await other.query(sql('SELECT * FROM t'))).rows.length, 1, 'autocommit')
  const settings = '@@time_zone, @@tx_isolation, @@collation_connection, @@sql_mode'
  assert.deepEqual((await client.query(sql(`SELECT ${settings}`))).rows, [
    ['+00:00', 'READ-COMMITTED', 'utf8mb4_bin', 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'],
  ])
  await assertDatabaseError(client.query(sql('SELECT 1; SELECT 2')), 'schema', server.url)

  // A packet above max_allowed_packet is not sent, because the server would close the connection.
  const big = [sql('INSERT INTO t VALUES (2)'), sql('SELECT LENGTH(?)', 'x'.repeat(1 << 20))]
  const { errno, statement } = await assertDatabaseError(client.transact(big, acceptAll), 'refused', server.url)
  assert.deepEqual([errno, statement], [1153, 1])
  assert.equal((await client.query(sql('SELECT * FROM t'))).rows.length, 1)
})

test('returns the number of matched rows and the generated key of a write', skip, async () => {
  await using client = openClient(url)
  await client.query(sql('CREATE TABLE made (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, n INT)'))
  const write = async (text: string, ...params: SqlValue[]) => {
    const { affected, insertId, rows, columns } = await client.query(sql(text, ...params))
    assert.deepEqual([rows, columns], [[], []])
    return [affected, insertId]
  }
  assert.deepEqual(await write('INSERT INTO made (n) VALUES (?), (?), (?)', 1, 2, 2), [3, 1n])
  assert.deepEqual(
    await write('UPDATE made SET n = 2 WHERE n = 2'),
    [2, 0n],
    'an update without effect matches its rows',
  )
  assert.deepEqual(await write('UPDATE made SET n = 2 WHERE n = 9'), [0, 0n])
  assert.deepEqual(await write('DELETE FROM made WHERE n = 2'), [2, 0n])
  for (const id of [9_007_199_254_740_993n, 18_446_744_073_709_551_613n]) {
    await client.query(sql('INSERT INTO made VALUES (?, 0)', id - 1n))
    assert.deepEqual(await write('INSERT INTO made (n) VALUES (0)'), [1, id])
  }
})

test('reports the index of a refused statement, and rolls the transaction back', skip, async () => {
  await using client = openClient(url, { poolSize: 1 })
  await client.query(sql('CREATE TABLE strict (id TINYINT PRIMARY KEY, name VARCHAR(3) NOT NULL)'))
  const insert = (...params: SqlValue[]) => sql('INSERT INTO strict VALUES (?, ?)', ...params)
  await client.query(insert(1, 'ada'))
  for (const [bad, number] of [
    [insert(1, 'bob'), 1062],
    [insert(300, 'bob'), 1264],
    [insert(3, 'roberta'), 1406],
    [insert(3, null), 1048],
    [insert(3, bytesOf(0xc3, 0x28)), 1366],
  ] as const) {
    const { errno, statement } = await assertDatabaseError(
      client.transact([insert(2, 'eve'), bad, insert(4, 'x')], acceptAll),
      'refused',
      url,
    )
    assert.deepEqual([errno, statement], [number, 1])
    assert.equal((await assertDatabaseError(client.query(bad), 'refused', url)).statement, -1)
    assert.deepEqual((await client.query(sql('SELECT * FROM strict'))).rows, [['1', 'ada']])
  }
  // The longest message that MySQL takes.
  const signal = sql(`SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = ?`, 'm'.repeat(128))
  const { message } = await assertDatabaseError(client.query(signal), 'refused', url)
  assert.ok(message.includes('m'.repeat(128)))
})

test('distinguishes errors that the operator must repair', skip, async () => {
  await using client = openClient(url)
  assert.equal((await assertDatabaseError(client.query(sql('SELECT * FROM nowhere')), 'schema', url)).errno, 1146)
  assert.equal((await assertDatabaseError(client.query(sql('SELECT nothing FROM DUAL')), 'schema', url)).errno, 1054)
  const wrongLogin = new URL(url)
  wrongLogin.password = 's3cret'
  await using refused = openClient(wrongLogin.href)
  assert.equal((await assertDatabaseError(refused.query(sql('SELECT 1')), 'access', wrongLogin.href)).errno, 1045)
  const wrongDatabase = new URL(url)
  wrongDatabase.pathname = 'no_such'
  await using unknown = openClient(wrongDatabase.href)
  assert.equal((await assertDatabaseError(unknown.query(sql('SELECT 1')), 'access', url)).errno, 1049)
})

test('rejects a malformed URL without its text in the error', () => {
  for (const [text, reason] of [
    ['s3cret', 'not a URL'],
    ['postgres://u:s3cret@h/db', 'mysql://'],
    ['mysql://u:1/s3cret@h/db', 'no user'],
    ['mysql://u:s3cret#@h/db', 'not a URL'],
    ['mysql://u:s3cret@h/', 'no database'],
    ['mysql://u:p@h/s3cret/x', 'no database'],
    ['mysql://u:s3cret%@h/db', '%25'],
    ['mysql://u:p@h/db?s3cret=1', 'parameter'],
    ['mysql://u:s3cret@h/db?ssl=maybe', 'ssl is neither'],
    ['mysql://u:s3cret@h/db?ssl=ca:/no/such.pem', 'ENOENT'],
  ] as const)
    assert.throws(
      () => mysqlClient({ url: text }),
      (error: unknown) => {
        assert.ok(error instanceof DatabaseError && error.kind === 'access')
        assert.ok(error.message.includes(reason), `${text}: ${error.message}`)
        return !inspect(error, { depth: 9 }).includes('s3cret')
      },
    )
})

test('rejects an invalid statement before anything is sent', skip, async () => {
  await using client = openClient('mysql://u:p@127.0.0.1:1/db')
  const invalid = [undefined, Number.NaN, Infinity, {}, [1], new Date()].map((value) =>
    sql('SELECT ?', value as SqlValue),
  )
  for (const statement of invalid) {
    await assert.rejects(client.query(statement), TypeError)
    await assert.rejects(client.transact([sql('SELECT 1'), statement], acceptAll), TypeError)
  }
  for (const params of [[], [1, 2]]) await assert.rejects(client.query({ sql: 'SELECT ?', params }), RangeError)
})

test('rolls back a transaction that is not accepted', skip, async () => {
  await using client = openClient(url, { poolSize: 1 })
  await client.query(sql('CREATE TABLE fenced (id INT PRIMARY KEY)'))
  const two = [sql('INSERT INTO fenced VALUES (1)'), sql('UPDATE fenced SET id = 3 WHERE id = 2')]
  const matchesOne = (_: number, { affected }: SqlResult) => affected === 1
  assert.equal(await client.transact(two, matchesOne), null)
  await assert.rejects(
    client.transact(two, (index) => {
      if (index === 1) throw new RangeError('a bug in accept')
      return true
    }),
    RangeError,
  )
  assert.deepEqual((await client.query(sql('SELECT * FROM fenced'))).rows, [])
  assertField((await client.transact(two, acceptAll))!, 'affected', [1, 0])
  assert.deepEqual((await client.query(sql('SELECT * FROM fenced'))).rows, [['1']])
})

test(
  'shares two connections between concurrent transactions, and reports a deadlock as unavailable',
  skip,
  async () => {
    await using client = openClient(url, { poolSize: 2 })
    await client.query(sql('CREATE TABLE shared (id INT PRIMARY KEY, n INT)'))
    await client.query(sql('INSERT INTO shared VALUES (1, 0), (2, 0)'))
    const add = (id: number) => sql('UPDATE shared SET n = n + 1 WHERE id = ?', id)
    const results = await Promise.all(
      Array.from({ length: 40 }, () => client.transact([add(1), sql('SELECT CONNECTION_ID()')], acceptAll)),
    )
    const used = new Set(results.map((result) => result![1]!.rows[0]![0]))
    assert.equal(used.size, 2)
    const delay = sql('SELECT SLEEP(0.1)')
    const both = [
      client.transact([add(1), delay, add(2)], acceptAll),
      client.transact([add(2), delay, add(1)], acceptAll),
    ]
    const victim = (await Promise.allSettled(both)).findIndex(({ status }) => status === 'rejected')
    const { errno, statement } = await assertDatabaseError(both[victim]!, 'unavailable', url)
    assert.deepEqual([errno, statement], [1213, 2])
    assert.deepEqual((await client.query(sql('SELECT n FROM shared'))).rows, [['41'], ['1']])
    const again = await Promise.all([1, 2].map(() => client.query(sql('SELECT CONNECTION_ID(), SLEEP(0.02)'))))
    assert.deepEqual(new Set(again.map(({ rows }) => rows[0]![0])), used, 'a deadlock closes no connection')
  },
)

test('bounds waiting requests in number and in time', skip, async () => {
  await using client = openClient(url, { poolSize: 1, statementTimeoutMs: 300 })
  await client.query(sql('SELECT 1'))
  const busy = assertDatabaseError(client.query(sql('SELECT SLEEP(5)')), 'unavailable', url)
  const waiting = Array.from({ length: 1_000 }, () =>
    client.query(sql('SELECT 1')).then(acceptAll, (error: Error) => error),
  )
  assert.match(
    (await assertDatabaseError(client.query(sql('SELECT 1')), 'unavailable', url)).message,
    /1000 requests already wait/,
  )
  assert.match((await busy).message, /no answer within 300 ms/)
  for (const answer of await Promise.all(waiting))
    if (answer instanceof Error) assert.match(answer.message, /no connection was free within 300 ms/)
  await client.query(sql('SELECT 1'))
})

test('close() waits for running requests, rejects the others and closes every connection', skip, async () => {
  await using watcher = openClient(url)
  const client = openClient(url, { poolSize: 1 })
  const { rows } = await client.query(sql('SELECT CONNECTION_ID()'))
  const running = client.query(sql('SELECT SLEEP(0.05)'))
  const waiting = assertDatabaseError(client.query(sql('SELECT 1')), 'unavailable', url)
  const closing = client.close()
  assert.match((await waiting).message, /this client is closed/)
  assert.deepEqual((await running).rows, [['0']])
  await closing
  await assertDatabaseError(client.transact([], acceptAll), 'unavailable', url)
  const alive = sql('SELECT id FROM information_schema.processlist WHERE id = ?', rows[0]![0] as string)
  await waitUntil(async () => (await watcher.query(alive)).rows.length === 0)
})
