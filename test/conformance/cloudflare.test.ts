// The Cloudflare host in real workerd: what a client keeps when objects are reset, hibernate or are replaced.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { EMPTY_BYTES, utf8Decoder } from '../../core/wire/bytes.ts'
import { decodeOpened, decodeWelcome, encodeHello, encodeOpen, MESSAGE } from '../../core/wire/message.ts'
import { type LegacyClient, webSocketClient } from '../support/sockets.ts'
import { startWorkers, type Workers } from '../support/workers.ts'

const MESSAGE_EVENT = 350
let workers: Workers
before(async () => {
  workers = await startWorkers({ entry: new URL('./fixtures/resetworker.ts', import.meta.url).pathname })
})
after(() => workers.close())

async function nextText(client: LegacyClient, command: number): Promise<string> {
  return utf8Decoder.decode(await client.nextFrame(command))
}

/** A version 2 session with channel 1 open to a shard; returns its credentials and the OPENED. */
async function openSession(
  client: LegacyClient,
  key: string,
  credentials = { session: new Uint8Array(16) as Uint8Array, token: EMPTY_BYTES as Uint8Array },
) {
  const hello = { minVersion: 2, maxVersion: 2, ticket: EMPTY_BYTES, ...credentials }
  client.sendFrame(MESSAGE.HELLO, encodeHello(hello))
  const welcome = await client.nextFrame(MESSAGE.WELCOME)
  const { session, token } = decodeWelcome(welcome, 0, welcome.length)
  const open = { channel: 1, activation: 0, eventAck: 0, contract: 'drill', key }
  client.sendFrame(MESSAGE.OPEN, encodeOpen(open))
  return { session, token, opened: await nextOpened(client) }
}
async function nextOpened(client: LegacyClient) {
  const body = await client.nextFrame(MESSAGE.OPENED)
  return decodeOpened(body, 0, body.length)
}

test('a legacy client keeps its socket, seat and durable state during a reset and gets replies', async () => {
  const client = await webSocketClient(workers.url)
  const { seat } = (await client.call(301, {})) as { seat: number }
  const { total } = (await client.call(302, { by: 5 })) as { total: number }
  await workers.abortShard('drill', 'main')
  assert.deepEqual(await client.call(302, { by: 2 }), { total: total + 2 })
  client.sendFrame(304, { text: 'after the reset' })
  assert.deepEqual(JSON.parse(await nextText(client, MESSAGE_EVENT)), { seat, text: 'after the reset' })
  client.close()
})

test('a hibernated object has its members again before the call that activates it', async () => {
  const clients = [await webSocketClient(workers.url), await webSocketClient(workers.url)] as const
  const first = (await clients[0].call(301, {})) as { seat: number }
  const second = (await clients[1].call(301, {})) as { seat: number; size: number }
  await workers.evictShard('drill', 'main')
  const { size } = (await clients[0].call(303, { text: 'awake' })) as { size: number }
  assert.equal(size, second.size)
  assert.notEqual(first.seat, second.seat)
  clients[1].sendFrame(304, { text: 'hello' })
  assert.match(await nextText(clients[0], MESSAGE_EVENT), /hello/)
  for (const client of clients) client.close()
})

test('a durable timer activates a hibernated object', async () => {
  const client = await webSocketClient(workers.url)
  await client.call(301, {})
  await client.call(305, { ms: 800 })
  await workers.evictShard('drill', 'main')
  assert.match(await nextText(client, MESSAGE_EVENT), /bump/)
  assert.deepEqual(await workers.queryShard('drill', 'main', 'SELECT name FROM timers'), [])
  client.close()
})

test('a shard calls another shard', async () => {
  const client = await webSocketClient(workers.url)
  assert.deepEqual(await client.call(306, { key: 'peer', by: 3 }), { total: 3 })
  await workers.abortShard('drill', 'peer')
  assert.deepEqual(await client.call(306, { key: 'peer', by: 4 }), { total: 7 })
  client.close()
})

test('a snapshot that is larger than a row is restored completely', async () => {
  const client = await webSocketClient(workers.url)
  await client.call(308, { bytes: 3_000_000 })
  await sleep(300)
  assert.equal((await workers.queryShard('drill', 'main', 'SELECT count(*) AS n FROM snapshot'))[0]?.['n'], 3)
  await workers.abortShard('drill', 'main')
  assert.deepEqual(await client.call(308, { bytes: 0 }), { saved: 3_000_000 })
  client.close()
})

test('a version 2 client receives the new activation and the loss of calls after a reset', async () => {
  const client = await webSocketClient(workers.url)
  const { opened } = await openSession(client, 'v2')
  assert.deepEqual(opened, { channel: 1, activation: 1, mark: 0, opening: 1, lost: false })
  await workers.abortShard('drill', 'v2')
  const reopened = await nextOpened(client)
  assert.deepEqual(reopened, { channel: 1, activation: 2, mark: 0, opening: 2, lost: true })
  client.close()
})

test('a session that resumes on a newer connection keeps its channel there, and the older connection is closed', async () => {
  const [older, newer] = [await webSocketClient(workers.url), await webSocketClient(workers.url)]
  const { session, token } = await openSession(older, 'takeover')
  await openSession(newer, 'takeover', { session, token })
  while (!older.isClosed) await sleep(10)
  assert.equal(older.closeCode, 4001)
  assert.deepEqual(
    newer.frames.filter(({ command }) => command === MESSAGE.CLOSE),
    [],
  )
  for (const client of [older, newer]) client.close()
})

test('an illegal frame closes the socket, and other paths get an HTTP error', async () => {
  const client = await webSocketClient(workers.url)
  client.send(new Uint8Array(17).fill(1))
  await sleep(300)
  assert.equal(client.closeCode, 1002)
  assert.equal((await fetch(`${workers.http}metrics`)).status, 404)
  assert.equal((await fetch(`${workers.http}ws`)).status, 426)
})
