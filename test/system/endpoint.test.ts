// The local PlanetScale endpoint: its protocol, its errors, its limits, and its command.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { after, before, test as run } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { mysqlClient } from '../../core/node/mysqlpool.ts'
import type { SqlClient } from '../../core/sql/client.ts'
import { planetscaleClient } from '../../core/sql/planetscale.ts'
import { openTestDatabase, sql } from '../support/database.ts'
import { EndpointError } from '../support/planetscale/backend.ts'
import { startPlanetscale, type Endpoint } from '../support/planetscale/server.ts'

const { url: mysql, mariadb, skip } = await openTestDatabase()
const test = (name: string, work: () => Promise<void>) => run(name, { skip }, work)

const TRANSACTION_MS = 250
let direct: SqlClient
let endpoint: Endpoint
let limitedEndpoint: Endpoint
before(async () => {
  if (skip) return
  direct = mysqlClient({ url: mysql })
  endpoint = await startPlanetscale({ mysql })
  limitedEndpoint = await startPlanetscale({
    mysql,
    limits: {
      bodyBytes: 5_000,
      resultBytes: 20_000,
      rows: 100,
      transactionMs: TRANSACTION_MS,
      statementMs: 400,
      transactions: 2,
      connections: 2,
    },
  })
})
after(async () => {
  if (skip) return
  await Promise.all([endpoint.close(), limitedEndpoint.close(), direct.close()])
})

interface Answer {
  readonly status: number
  readonly session?: { signature: string; vitessSession: Record<string, unknown> } | null
  readonly result?: { fields?: Record<string, unknown>[]; rows?: unknown[]; rowsAffected?: string }
  readonly error?: { code: string; message: string }
}

/** Sends a request to the endpoint, also one that the driver would not send. */
async function post(to: Endpoint, body: unknown, method = 'Execute', login?: string): Promise<Answer> {
  const { username, password } = new URL(to.url)
  const response = await fetch(`http://127.0.0.1:${to.port}/psdb.v1alpha1.Database/${method}`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(login ?? `${username}:${password}`)}` },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  return { status: response.status, ...((await response.json()) as object) }
}
const executeQuery = (query: string, session: unknown = null, to = endpoint) => post(to, { query, session })

let tables = 0
async function table(columns: string): Promise<string> {
  const name = `e${++tables}`
  await direct.query(sql(`CREATE TABLE ${name} (${columns})`))
  return name
}
const rowsOf = async (text: string) => (await direct.query(sql(text))).rows

test('returns the errors of Vitess with its wording', async () => {
  const { status, error, session } = await executeQuery('REPLACE INTO t VALUES (1)')
  assert.equal(status, 200)
  assert(session)
  assert.match(error!.message, /^VT12001: unsupported: REPLACE INTO .* \(errno 1235\) \(sqlstate 42000\)/)
})

test('returns fields with the types, charsets and flags of Vitess', async () => {
  const name = await table('a INT UNSIGNED NOT NULL, b VARCHAR(9) COLLATE utf8mb4_bin, c VARBINARY(9), d TEXT')
  const { result } = await executeQuery(`SELECT *, NULL AS n FROM ${name} AS t`)
  const fields = result!.fields!.map(({ name, type, charset, table, orgTable }) => {
    return [name, type, charset === 63, table, orgTable]
  })
  assert.deepEqual(fields, [
    ['a', 'UINT32', true, 't', name],
    // Vitess reports text with a _bin collation as VARBINARY with the charset of text.
    ['b', 'VARBINARY', false, 't', name],
    ['c', 'VARBINARY', true, 't', name],
    ['d', 'TEXT', false, 't', name],
    ['n', undefined, true, undefined, undefined],
  ])
  assert.equal(result!.rows, undefined)
  const { result: singleRow } = await executeQuery("SELECT 'aß', NULL, ''")
  assert.deepEqual(singleRow!.rows, [{ lengths: ['3', '-1', '0'], values: btoa('a\xc3\x9f') }])
})

test('accepts a session only as it was issued, for one transaction', async () => {
  const created = (await post(endpoint, {}, 'CreateSession')).session
  const { session } = await executeQuery('BEGIN', created)
  assert.equal(session!.vitessSession['inTransaction'], true)
  const FORGED = [
    { ...session, signature: 'x' },
    { ...session, vitessSession: { ...session!.vitessSession, transactionId: '1' } },
    { vitessSession: session!.vitessSession },
    { signature: session!.signature },
    {},
    [],
    'x',
    7,
  ]
  for (const forged of FORGED) assert.match((await executeQuery('SELECT 1', forged)).error!.message, /not issued/)
  assert.match((await executeQuery('SELECT 1', session, limitedEndpoint)).error!.message, /not issued/)
  assert.deepEqual((await executeQuery('COMMIT', session)).result, {})
  for (const query of ['SELECT 1', 'COMMIT', 'ROLLBACK']) {
    const { error } = await executeQuery(query, session)
    assert.match(error!.message, /code = Aborted desc = transaction \d+: ended at .* UTC \(transaction committed\)/)
  }
  // Without a transaction they have no effect, as in MySQL.
  for (const query of ['COMMIT', 'ROLLBACK', 'SAVEPOINT a']) assert.deepEqual((await executeQuery(query)).result, {})
})

test('isolates transactions, supports savepoints, and runs one statement at a time', async () => {
  const name = await table('id INT')
  const { session } = await executeQuery('START TRANSACTION')
  const statements = [
    `INSERT INTO ${name} VALUES (1)`,
    'SAVEPOINT a',
    `INSERT INTO ${name} VALUES (2)`,
    'ROLLBACK TO SAVEPOINT a',
  ]
  for (const query of statements) assert.equal((await executeQuery(query, session)).error, undefined)
  const [slow, fast] = await Promise.all([
    executeQuery('SELECT SLEEP(0.1)', session),
    sleep(30).then(() => executeQuery('SELECT 1', session)),
  ])
  assert.equal(slow.error, undefined)
  assert.match(fast.error!.message, /in use/)
  assert.deepEqual(await rowsOf(`SELECT id FROM ${name}`), [])
  assert.equal((await executeQuery('COMMIT', session)).error, undefined)
  assert.deepEqual(await rowsOf(`SELECT id FROM ${name}`), [['1']])
})

test('rolls back a transaction at its timeout, idle or busy, and reports it', async () => {
  const name = await table('id INT PRIMARY KEY')
  const { session: idle } = await executeQuery('BEGIN', null, limitedEndpoint)
  await executeQuery(`INSERT INTO ${name} VALUES (1)`, idle, limitedEndpoint)
  const { session: busy } = await executeQuery('BEGIN', null, limitedEndpoint)
  await executeQuery(`INSERT INTO ${name} VALUES (2)`, busy, limitedEndpoint)
  const { error: killed } = await executeQuery('SELECT SLEEP(5)', busy, limitedEndpoint)
  const exceeded = new RegExp(`ended at .* \\(exceeded timeout: ${TRANSACTION_MS / 1_000}s\\)`)
  assert.match(killed!.message, exceeded)
  for (const session of [idle, busy])
    assert.match((await executeQuery('COMMIT', session, limitedEndpoint)).error!.message, exceeded)
  // The locks are released.
  assert.equal((await executeQuery(`INSERT INTO ${name} VALUES (1), (2)`)).result?.rowsAffected, '2')

  const client = planetscaleClient({ url: limitedEndpoint.url })
  const slow = client.transact([{ sql: 'SELECT SLEEP(5)', params: [] }], () => true)
  await assert.rejects(slow, { kind: 'unavailable', statement: 0, errno: 0 })
})

test('bounds transactions, rows, results, requests and the time of a statement', async () => {
  const [a, b] = [
    await executeQuery('BEGIN', null, limitedEndpoint),
    await executeQuery('BEGIN', null, limitedEndpoint),
  ]
  assert.match(
    (await executeQuery('BEGIN', null, limitedEndpoint)).error!.message,
    /connection limit exceeded \(errno 1203\)/,
  )
  for (const { session } of [a, b]) await executeQuery('ROLLBACK', session, limitedEndpoint)

  const many = (count: number) => `SELECT 1 FROM information_schema.collations LIMIT ${count}`
  assert.equal((await executeQuery(many(100), null, limitedEndpoint)).result!.rows!.length, 100)
  const { session } = await executeQuery('BEGIN', null, limitedEndpoint)
  assert.match((await executeQuery(many(101), session, limitedEndpoint)).error!.message, /Row count exceeded 100/)
  // A result above its limit ends neither the connection nor the transaction.
  assert.equal((await executeQuery('COMMIT', session, limitedEndpoint)).error, undefined)
  assert.match((await executeQuery("SELECT REPEAT('x', 20001)", null, limitedEndpoint)).error!.message, /exceeds 20000/)

  const long = await executeQuery(`SELECT '${'x'.repeat(5_000)}'`, null, limitedEndpoint)
  assert.deepEqual([long.status, long.error?.code], [413, 'RESOURCE_EXHAUSTED'])
  const client = planetscaleClient({ url: limitedEndpoint.url })
  const large = client.transact([{ sql: 'SELECT ?', params: ['x'.repeat(5_000)] }], () => true)
  await assert.rejects(large, { kind: 'refused', statement: 0, errno: 1153 })
  assert.match((await executeQuery('SELECT SLEEP(5)', null, limitedEndpoint)).error!.message, /deadline exceeded/)
})

test('answers an invalid request with an error, and executes nothing', async () => {
  const INVALID: readonly (readonly [unknown, number])[] = [
    ['', 400],
    ['{', 400],
    ['null', 400],
    [{}, 400],
    [{ query: 1 }, 400],
  ]
  for (const [body, status] of INVALID) assert.equal((await post(endpoint, body)).status, status)
  assert.equal((await post(endpoint, {}, 'Execute', 'a:b')).error?.code, 'UNAUTHENTICATED')
  assert.equal((await post(endpoint, {}, 'CloseSession')).status, 404)
  assert.equal((await fetch(`http://127.0.0.1:${endpoint.port}/`)).status, 404)
})

test('closes at once, and rolls open transactions back', async () => {
  const name = await table('id INT PRIMARY KEY')
  const other = await startPlanetscale({ mysql })
  const { session } = await executeQuery('BEGIN', null, other)
  await executeQuery(`INSERT INTO ${name} VALUES (1)`, session, other)
  const running = assert.rejects(executeQuery('SELECT SLEEP(5)', null, other))
  await sleep(50)
  other.faults.delay(60_000)
  const delayed = assert.rejects(executeQuery('SELECT 1', session, other))
  await sleep(50)
  await other.close()
  await Promise.all([running, delayed])
  assert.equal((await executeQuery(`INSERT INTO ${name} VALUES (1)`)).result?.rowsAffected, '1')
})

test('reports an error while MySQL is down, and recovers when it is up', async () => {
  if (!mariadb) return
  const name = await table('id INT')
  const { session } = await executeQuery('BEGIN')
  await executeQuery(`INSERT INTO ${name} VALUES (1)`, session)
  const running = executeQuery('SELECT SLEEP(5)')
  await sleep(50)
  await mariadb.kill()
  assert.match((await running).error!.message, /code = Unavailable .*\(errno 2013\)/)
  assert.match((await executeQuery('COMMIT', session)).error!.message, /errno 2013/)
  assert.match((await executeQuery('SELECT 1')).error!.message, /code = Unavailable/)
  await mariadb.start()
  assert.equal((await executeQuery('SELECT 1')).error, undefined)
  assert.deepEqual(await rowsOf(`SELECT id FROM ${name}`), [])
})

function runCommand(...args: string[]) {
  const child = spawn(process.execPath, ['test/support/planetscale/main.ts', ...args])
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const ended = new Promise<[number | null, string]>((resolve) => {
    child.on('close', (code) => resolve([code, stderr]))
  })
  const ready = new Promise<string>((resolve) => child.stdout.on('data', (data: Buffer) => resolve(String(data))))
  return { child, ended, ready }
}

test('the command prints one ready line, serves, and ends on SIGTERM and SIGINT', async () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const { child, ended, ready } = runCommand('--mysql', mysql, '--port', '0')
    const [, url] = /^planetscale ready url=(http:\S+) pid=\d+\n$/.exec(await ready) ?? []
    const client = planetscaleClient({ url: url! })
    assert.deepEqual((await client.query({ sql: 'SELECT 1', params: [] })).rows, [['1']])
    child.kill(signal)
    assert.deepEqual(await ended, [0, ''])
  }
})

test('the command prints one line and exits with 2 when it cannot start', async () => {
  const url = new URL(mysql)
  const variant = (change: (url: URL) => void): string => {
    const copy = new URL(url)
    change(copy)
    return copy.href
  }
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  const CASES: readonly (readonly [string[], RegExp])[] = [
    [[], /required option '--mysql <url>'/],
    [['--mysql', url.href, '--port', 'x'], /Not a port/],
    [['--mysql', url.href, '--frob'], /unknown option/],
    [['--mysql', 'http://x/y'], /--mysql must be mysql:/],
    [['--mysql', variant((u) => (u.pathname = '/'))], /names no database/],
    [['--mysql', variant((u) => (u.pathname = '/nowhere'))], /has no database nowhere/],
    [['--mysql', variant((u) => (u.password = 'secret'))], /refuses user \w+ or its password/],
    [['--mysql', variant((u) => (u.port = '1'))], /does not answer \(ECONNREFUSED\)/],
    [['--mysql', url.href, '--user', 'a:b'], /without a colon/],
    [['--mysql', url.href, '--port', String(port)], /in use/],
  ]
  await Promise.all(
    CASES.map(async ([args, message]) => {
      const [code, stderr] = await runCommand(...args).ended
      assert.match(stderr, message)
      assert.match(stderr, /^[^\n]+\n$/)
      assert(!stderr.includes('secret'))
      assert.equal(code, 2)
    }),
  )
  listener.close()
  await assert.rejects(startPlanetscale({ mysql: 'x' }), EndpointError)
})
