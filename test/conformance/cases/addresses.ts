// The client's IP address, as the game receives it: in `auth`, in `admit` and in handlers.

import assert from 'node:assert/strict'
import { Accounts, Visits } from '../sessionshards.ts'
import {
  callJson,
  endActivation,
  frame,
  openRawSession,
  RawSession,
  uniqueName,
  waitForJsons,
  END_NAMES,
  type Case,
} from './case.ts'

const { read, readFromShard } = Visits.entries
const { currentUid } = Accounts.entries

const afterEnd = (end: 'evict' | 'abort'): Case => ({
  name: `the next activation after ${END_NAMES[end]} has the address of a client that stayed connected`,
  needs: [end],
  run: async (host) => {
    const key = uniqueName()
    const session = await openRawSession(host, 'visits', key)
    await callJson(session, 1, 1, read.number)
    const before = session.received.opened.length
    await endActivation(host, end, 'visits', key)
    // After an abort the client sends its calls when it has received the new activation.
    if (end === 'abort') await session.waitFor('opened', before + 1)
    const expected = { remote: host.clientAddress, admitted: host.clientAddress }
    assert.deepEqual(await callJson(session, 1, 2, read.number), expected)
  },
})

export const cases: readonly Case[] = [
  {
    name: 'handlers and admit receive the address of the client',
    run: async (host) => {
      const session = await openRawSession(host, 'visits', uniqueName())
      const expected = { remote: host.clientAddress, admitted: host.clientAddress }
      assert.deepEqual(await callJson(session, 1, 1, read.number), expected)
    },
  },
  {
    name: 'handlers receive the address of a legacy client',
    run: async (host) => {
      const client = await host.rawClient()
      client.send(frame(read.number, {}))
      const [reply] = await waitForJsons(host, client, 1)
      assert.equal((reply![1] as { remote: string }).remote, host.clientAddress)
    },
  },
  {
    name: 'a session that resumes has the address of its new connection',
    run: async (host) => {
      const key = uniqueName()
      const first = await openRawSession(host, 'visits', key)
      const { credentials } = first
      first.client.close()
      const second = await openRawSession(host, 'visits', key, credentials)
      const { remote } = (await callJson(second, 1, 1, read.number)) as { remote: string }
      assert.equal(remote, host.clientAddress)
    },
  },
  {
    name: 'a call of another shard has no address',
    run: async (host) => {
      const key = uniqueName()
      const session = await openRawSession(host, 'visits', uniqueName())
      assert.deepEqual(await callJson(session, 1, 1, readFromShard.number, { key }), { remote: '', admitted: '' })
    },
  },
  {
    name: 'auth receives the address of the client',
    run: async (host) => {
      const session = (await RawSession.connect(host)).sendTicket('address')
      await session.waitFor('welcome')
      await session.open(1, 'accounts', '')
      const uid = await callJson(session, 1, 1, currentUid.number)
      assert.deepEqual(uid, { uid: `at ${host.clientAddress}` })
    },
  },
  afterEnd('evict'),
  afterEnd('abort'),
]
