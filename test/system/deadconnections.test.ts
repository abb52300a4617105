// Database connections that a firewall has silently dropped: they are found together, so that MySQL is reached again
// after one deadline, however many connections there are.

import assert from 'node:assert/strict'
import test from 'node:test'
import { pooledFetch } from '../../core/node/httpfetch.ts'
import type { SqlClient } from '../../core/sql/client.ts'
import { planetscaleClient } from '../../core/sql/planetscale.ts'
import { BlackholeProxy } from '../support/blackhole.ts'
import { openClient, openTestDatabase, sql } from '../support/database.ts'
import { startPlanetscale } from '../support/planetscale/server.ts'
import { waitFor } from '../support/wait.ts'

const { url, skip } = await openTestDatabase()
const POOL = 8
/** So that one deadline and a machine that is busy for seconds are told apart. */
const DEADLINE_MS = 3_000
const one = sql('SELECT 1')

async function fillPool(client: SqlClient, proxy: BlackholeProxy): Promise<void> {
  await Promise.all(Array.from({ length: POOL }, () => client.query(sql('SELECT SLEEP(0.3)'))))
  assert.equal(proxy.opened, POOL)
}

/** One statement may fail at its deadline; the next ones must not. */
async function assertOneDeadline(client: SqlClient, proxy: BlackholeProxy): Promise<void> {
  await fillPool(client, proxy)
  assert.equal(proxy.dropAll(), POOL)
  await assert.rejects(client.query(one), { kind: 'unavailable', isTimeout: true })
  for (let i = 0; i < POOL; i++) assert.deepEqual((await client.query(one)).rows, [['1']])
  await client.transact([one], () => true)
}

test('mysql2: one deadline finds all dropped connections', { skip }, async () => {
  await using proxy = await BlackholeProxy.open(Number(new URL(url).port))
  await using client = openClient(proxy.through(url), { poolSize: POOL, statementTimeoutMs: DEADLINE_MS })
  await assertOneDeadline(client, proxy)
  await Promise.all(Array.from({ length: POOL }, () => client.query(sql('SELECT SLEEP(0.3)'))))

  // All connections are in use: their statements, and those that wait for a connection, fail together.
  proxy.dropAll()
  const startMs = performance.now()
  await Promise.allSettled(Array.from({ length: 3 * POOL }, () => client.query(one)))
  for (let i = 0; i < POOL; i++) assert.deepEqual((await client.query(one)).rows, [['1']])
  assert.ok(performance.now() - startMs < 2 * DEADLINE_MS)
})

test('the locks of a transaction whose connection was dropped are released', { skip }, async () => {
  await using proxy = await BlackholeProxy.open(Number(new URL(url).port))
  await using client = openClient(proxy.through(url), { poolSize: POOL, statementTimeoutMs: DEADLINE_MS })
  await client.query(sql('CREATE TABLE locked (id INT PRIMARY KEY, n INT)'))
  await client.query(sql('INSERT INTO locked VALUES (1, 0)'))
  const change = sql('UPDATE locked SET n = n + 1')
  const dropAfterFirst = (index: number): boolean => index > 0 || proxy.dropAll() > 0
  await assert.rejects(client.transact([change, one], dropAfterFirst), { kind: 'unavailable', isTimeout: true })
  await client.transact([change], () => true)
  assert.deepEqual((await client.query(sql('SELECT n FROM locked'))).rows, [['1']])
  const others = sql(
    'SELECT COUNT(*) FROM information_schema.processlist WHERE id != CONNECTION_ID() AND db = DATABASE()',
  )
  const isEnded = async (): Promise<boolean> => (await client.query(others)).rows[0]![0] === '0'
  await waitFor(isEnded, 'the end of the lost connections at the server')
})

test('PlanetScale over HTTP: one deadline finds all dropped connections', { skip }, async () => {
  const endpoint = await startPlanetscale({ mysql: url })
  await using proxy = await BlackholeProxy.open(endpoint.port)
  const client = planetscaleClient({ url: proxy.through(endpoint.url), timeoutMs: DEADLINE_MS, fetch: pooledFetch() })
  try {
    await assertOneDeadline(client, proxy)
  } finally {
    await endpoint.close()
  }
})

test('a connection that was idle is checked before it is used', { skip }, async () => {
  await using proxy = await BlackholeProxy.open(Number(new URL(url).port))
  await using client = openClient(proxy.through(url), { poolSize: POOL, checkAfterIdleMs: 0 })
  await fillPool(client, proxy)
  proxy.dropAll()
  assert.deepEqual((await client.query(one)).rows, [['1']])
  assert.equal(proxy.opened, POOL + 1)
})
