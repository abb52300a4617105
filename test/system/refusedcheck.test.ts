// An idle database connection whose check the server refuses, as a proxy of MySQL does that has lost its backend: the
// pool replaces it and closes it, because nothing else would.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import test from 'node:test'
import { openClient, openTestDatabase, sql } from '../support/database.ts'
import { waitFor } from '../support/wait.ts'

const { url, skip } = await openTestDatabase()

test('a connection whose check is refused is closed', { skip }, async (t) => {
  const clients: Socket[] = []
  let closed = 0
  const proxy = createServer((client) => {
    clients.push(client)
    const server = connect(Number(new URL(url).port), '127.0.0.1')
    const refuse = (chunk: Buffer): string => chunk.toString('latin1').replace('SELECT 1', 'SELECT x')
    client.on('data', (chunk: Buffer) => server.write(refuse(chunk), 'latin1'))
    client.on('error', () => {}).once('close', () => (closed++, server.destroy()))
    server.on('error', () => {}).once('close', () => client.destroy())
    server.pipe(client)
  }).listen(0, '127.0.0.1')
  t.after(() => {
    proxy.close()
    for (const client of clients) client.destroy()
  })
  await once(proxy, 'listening')
  const proxied = new URL(url)
  proxied.port = String((proxy.address() as AddressInfo).port)
  await using client = openClient(proxied.href, { poolSize: 1, checkAfterIdleMs: 0 })
  const two = sql('SELECT 2')
  for (let i = 0; i < 3; i++) assert.deepEqual((await client.query(two)).rows, [['2']])
  assert.equal(clients.length, 3)
  await waitFor(() => closed === 2, 'the end of the refused connections')
})
