// A PONG confirms the resume token that preceded its PING, for a client that sends nothing else.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { json } from '../../core/wire/codec.ts'
import { TIMES } from '../../core/wire/limits.ts'
import { MESSAGE } from '../../core/wire/message.ts'
import { openRawSession, RawSession } from '../conformance/cases/case.ts'
import { game } from '../conformance/game.ts'
import { memoryHost } from '../conformance/memoryhost.ts'
import { Accounts } from '../conformance/sessionshards.ts'

/** A session that has logged in on a connection whose client answers no PING; its credentials from before. */
async function loggedInSession() {
  const host = memoryHost(game)
  const session = await openRawSession(host, 'accounts', '')
  const before = session.credentials
  await session.call(1, 1, Accounts.entries.login.number, json.encode({ uid: 'ada' }))
  await host.sleep(TIMES.heartbeatMs * 1.5)
  const ping = session.client.frames.findLast(({ command }) => command === MESSAGE.PING)
  assert.ok(ping)
  return { host, session, before, ping: ping.body }
}

test('a PONG revokes the token that was replaced before its PING', async () => {
  const { host, session, before, ping } = await loggedInSession()
  session.send(MESSAGE.PONG, ping)
  await host.sleep(10)
  const thief = (await RawSession.connect(host)).sendHello(before)
  assert.deepEqual(await thief.waitForClose(), ['BAD_TOKEN'])
  assert.equal(session.client.isClosed, false)
})

test('without a PONG, or with another one, the replaced token stays valid: TOKEN may be lost', async () => {
  const { host, session, before, ping } = await loggedInSession()
  for (const pong of [ping.subarray(0, 7), new Uint8Array(8), new Uint8Array(8).fill(255)])
    session.send(MESSAGE.PONG, pong)
  await host.sleep(10)
  const resumed = (await RawSession.connect(host)).sendHello(before)
  await resumed.waitFor('welcome')
  assert.deepEqual(await session.waitForClose(), ['REPLACED'])
})
