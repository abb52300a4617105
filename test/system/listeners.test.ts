// The listening sockets of a port: a busy server accepts many connections per turn of its event loop, and the port is its
// own.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { test } from 'node:test'

import { listen } from '../../edge/node/listeners.ts'
import { waitFor } from '../support/wait.ts'

const HOST = '127.0.0.1'
const CLIENTS = 100

async function close(servers: readonly Server[]): Promise<void> {
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
}

test('a busy server accepts the connections that wait in a few turns of its event loop', async (t) => {
  if (process.platform !== 'linux') return t.skip('the system does not share a port fairly')
  const accepted: Socket[] = []
  const server = createServer((socket) => accepted.push(socket))
  const servers = [server, ...(await listen(server, { port: 0, host: HOST }, false))]
  const { port } = server.address() as AddressInfo
  const clients = Array.from({ length: CLIENTS }, () => connect(port, HOST))
  let turns = 0
  let isCounting = true
  const busyTurn = (): void => {
    if (!isCounting) return
    turns++
    for (const endMs = performance.now() + 5; performance.now() < endMs;);
    setImmediate(busyTurn)
  }
  busyTurn()
  await waitFor(() => accepted.length === CLIENTS, 'all connections are accepted')
  isCounting = false
  // With one listening socket it takes one turn each.
  assert.ok(turns < CLIENTS / 2, `${CLIENTS} connections were accepted in ${turns} turns`)
  for (const socket of [...clients, ...accepted]) socket.destroy()
  await close(servers)
})

test('a second server on the port fails with EADDRINUSE, and gets it when the first has closed', async () => {
  const [first, second, third] = [createServer(), createServer(), createServer()]
  const servers = [first, ...(await listen(first, { port: 0, host: HOST }, false))]
  const { port } = first.address() as AddressInfo
  await assert.rejects(listen(second, { port, host: HOST }, false), { code: 'EADDRINUSE' })
  await close(servers)
  const later = [third, ...(await listen(third, { port, host: HOST }, false))]
  const socket = connect(port, HOST)
  await once(socket, 'connect')
  socket.destroy()
  await close(later)
})
