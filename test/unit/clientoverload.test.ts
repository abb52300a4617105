// What the SDK does when the server is overloaded: it spreads retries, sends less, and loses no durable cast.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { CallError } from '../../client/index.ts'
import { ScriptedServer, Room, settlePromises } from './scriptedserver.ts'

const RETRY_MS = 1_000

async function connectRoom() {
  const { server, game } = await ScriptedServer.welcomed({}, { token: 'one' })
  const room = game.at(Room)
  server.takeMessages()
  server.connection.sendOpened(1, 7)
  const refuse = (sequence: number): void =>
    void server.connection.sendError(1, sequence, 'OVERLOADED', 'the server is overloaded', RETRY_MS)
  return { server, game, room, refuse }
}

/** The error of a call that fails. */
async function errorOf(call: Promise<unknown>): Promise<CallError> {
  const error = await call.then(
    () => assert.fail('the call was answered'),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof CallError && error.code === 'OVERLOADED', String(error))
  return error
}

test('a refused call fails with a time to retry, between one and two times that of the server', async () => {
  const { room, refuse } = await connectRoom()
  const times: number[] = []
  const calls = Array.from({ length: 5 }, () => errorOf(room.ask({ n: 1 })))
  for (let sequence = 1; sequence <= calls.length; sequence++) refuse(sequence)
  for (const call of calls) times.push((await call).retryAfterMs)
  for (const ms of times) assert.ok(ms >= RETRY_MS && ms <= 2 * RETRY_MS, times.join())
  assert.ok(new Set(times).size > 1, times.join())
})

test('while the server refuses most calls, a growing share fails without being sent; all are sent when it is over', async () => {
  const { server, room, refuse } = await connectRoom()
  const sentOf = (calls: number): number => {
    for (let i = 0; i < calls; i++) room.ask({ n: 1 }).catch(() => {})
    const sent = server.takeMessages().filter(([name]) => name === 'CALL')
    for (const [, , , sequence] of sent) refuse(Number(sequence))
    return sent.length
  }
  assert.equal(sentOf(20), 20)
  const later = sentOf(100)
  assert.ok(later > 0 && later < 50, `${later} of 100 calls were sent`)
  await settlePromises()
  server.clock.advance(2 * RETRY_MS)
  assert.equal(sentOf(20), 20)
})

test('answers let the share of unsent calls fall', async () => {
  const { server, room, refuse } = await connectRoom()
  for (let i = 0; i < 20; i++) room.ask({ n: 1 }).catch(() => {})
  for (const [, , , sequence] of server.takeMessages()) refuse(Number(sequence))
  let sent = 0
  for (let i = 0; i < 400; i++) {
    room.ask({ n: 1 }).catch(() => {})
    for (const [name, , , sequence] of server.takeMessages())
      if (name === 'CALL') {
        server.connection.sendReply(1, Number(sequence), 1)
        sent++
      }
  }
  assert.ok(sent > 100 && sent < 400, `${sent} of 400 calls were sent`)
  for (let i = 0; i < 50; i++) void room.ask({ n: 1 })
  assert.equal(server.takeMessages().length, 50)
})

test('a refused durable cast is sent again later, as a new call, and later ones wait for it', async () => {
  const { server, room, refuse } = await connectRoom()
  room.note({ n: 1 })
  assert.deepEqual(server.takeMessages(), [['CALL', 1, 1, 1, 3, 1]])
  refuse(1)
  room.note({ n: 2 })
  server.clock.advance(RETRY_MS - 1)
  assert.deepEqual(server.takeMessages(), [])
  server.clock.advance(RETRY_MS + 1)
  assert.deepEqual(server.takeMessages(), [
    ['CALL', 1, 1, 2, 3, 1],
    ['CALL', 1, 1, 3, 3, 2],
  ])
})

test('an overload of one shard alone fails a call and nothing else', async () => {
  const { server, room } = await connectRoom()
  const call = errorOf(room.ask({ n: 1 }))
  server.connection.sendError(1, 1, 'OVERLOADED', 'the mailbox is full')
  assert.equal((await call).retryAfterMs, 0)
  server.takeMessages()
  for (let i = 0; i < 20; i++) void room.ask({ n: 1 })
  assert.equal(server.takeMessages().length, 20)
})

for (const [how, disconnect] of [
  [
    'by ERROR',
    (server: ScriptedServer) => server.connection.sendError(0, 0, 'OVERLOADED', 'full', 3 * RETRY_MS).disconnect(),
  ],
  ['in the close reason', (server: ScriptedServer) => server.connection.disconnect('OVERLOADED: full')],
] as const)
  test(`waits longer before it connects again when the server is overloaded: ${how}`, async () => {
    const { server } = await connectRoom()
    disconnect(server)
    const waitMs = how === 'by ERROR' ? 3 * RETRY_MS : RETRY_MS
    const { length } = server.connections
    server.clock.advance(waitMs - 1)
    assert.equal(server.connections.length, length)
    server.clock.advance(waitMs + 1)
    assert.equal(server.connections.length, length + 1)
  })
