// Resent calls: on one connection, on the next connection, and to the next activation of the shard.

import assert from 'node:assert/strict'
import { Gate } from '../contracts.ts'
import type { Host } from '../host.ts'
import {
  awaitOn,
  encodeCallBody,
  uniqueName,
  openRawSession,
  RawSession,
  waitForTurnsAtGate,
  type Case,
} from './case.ts'
import { MESSAGE } from '../../../core/wire/message.ts'

const ADD = 400
const READ = 402
const BUMP = 403

interface Account {
  readonly count: number
}

/** Resumes the session on a new connection, with channel 1 open again. */
async function reconnect(host: Host, previous: RawSession, key: string): Promise<RawSession> {
  const { opened } = previous.received
  previous.client.close()
  const session = await RawSession.connect(host)
  // The first activation, even if the client received a later one: OPENED then reports what was lost.
  session.sendHello(previous.credentials).openChannel(1, 'ledger', key, opened[0]!.activation)
  await session.waitFor('opened')
  return session
}

export const cases: readonly Case[] = [
  {
    name: 'a durable call that is sent twice takes effect once and gets the same reply twice',
    run: async (host) => {
      const session = await openRawSession(host, 'ledger', uniqueName())
      const call = encodeCallBody(1, 1, ADD, { n: 5 })
      session.send(MESSAGE.CALL, call).send(MESSAGE.CALL, call)
      await session.waitFor('replies')
      const before = session.received.replies.length
      session.send(MESSAGE.CALL, call)
      await session.waitFor('replies', before + 1)
      session.sendCall(1, 2, READ)
      assert.equal((await session.reply<Account>(2)).count, 1)
      const [first, ...rest] = session.received.replies.filter(({ sequence }) => sequence === 1)
      assert.ok(rest.length === 1 || rest.length === 2)
      for (const reply of rest) assert.deepEqual(reply, first)
    },
  },
  {
    name: 'a volatile call that is sent twice takes effect once and gets the same reply twice',
    run: async (host) => {
      const session = await openRawSession(host, 'ledger', uniqueName())
      session.sendCall(1, 1, BUMP).sendCall(1, 1, BUMP).sendCall(1, 2, BUMP)
      const [first, second] = await session.waitFor('replies', 3)
      assert.deepEqual(first, second)
      assert.deepEqual(await session.reply(2), { n: 2 })
    },
  },
  {
    name: 'a call that fails and is sent twice gets the same error twice',
    run: async (host) => {
      const session = await openRawSession(host, 'ledger', uniqueName())
      session
        .sendCall(1, 1, 412)
        .sendCall(1, 1, 412)
        .sendCall(1, 2, 405, { how: 'bug' })
        .sendCall(1, 2, 405, { how: 'bug' })
      const errors = await session.waitFor('errors', 4)
      assert.deepEqual(
        errors.map(({ sequence, kind, code }) => [sequence, kind, code]),
        [
          [1, 'refusal', 'NO'],
          [1, 'refusal', 'NO'],
          [2, 'system', 'INTERNAL'],
          [2, 'system', 'INTERNAL'],
        ],
      )
    },
  },
  {
    name: 'a call that is resent while its turn waits takes effect once',
    run: async (host) => {
      const gate = uniqueName('gate')
      const gates = (await host.sdkClient()).at(Gate)
      const session = await openRawSession(host, 'ledger', uniqueName())
      session.sendCall(1, 1, 408, { n: 5, gate }).sendCall(1, 1, 408, { n: 5, gate }).sendCall(1, 2, READ)
      await waitForTurnsAtGate(host, gates, gate)
      await awaitOn(host, gates.open({ name: gate }))
      assert.equal((await session.reply<Account>(2)).count, 1)
      const replies = session.received.replies.filter(({ sequence }) => sequence === 1)
      assert.ok(replies.length >= 1)
      for (const reply of replies) assert.deepEqual(reply, replies[0])
    },
  },
  {
    name: 'a call that is resent on the next connection gets the first reply',
    run: async (host) => {
      const key = uniqueName()
      const before = await openRawSession(host, 'ledger', key)
      await before.call(1, 1, ADD, { n: 5 })
      const after = await reconnect(host, before, key)
      assert.equal(after.received.opened[0]!.mark, 1)
      after.sendCall(1, 1, ADD, { n: 5 }).sendCall(1, 2, ADD, { n: 5 })

      assert.deepEqual(await after.reply(1), await before.reply(1))
      assert.equal((await after.reply<Account>(2)).count, 2)
    },
  },
  {
    name: 'a durable call that is resent after an eviction gets the first reply',
    needs: ['evict'],
    run: async (host) => {
      const key = uniqueName()
      const session = await openRawSession(host, 'ledger', key)
      await session.call(1, 1, ADD, { n: 5 })
      await host.evictShard('ledger', key)
      session.sendCall(1, 1, ADD, { n: 5 })
      const [first, second] = await session.waitFor('replies', 2)
      assert.deepEqual(first, second)
    },
  },
  {
    name: 'a durable call that is resent after an abort, on a new connection, gets the first reply',
    needs: ['abort'],
    run: async (host) => {
      const key = uniqueName()
      const before = await openRawSession(host, 'ledger', key)
      await before.call(1, 1, ADD, { n: 5 })
      await host.abortShard('ledger', key)
      const after = await reconnect(host, before, key)
      const { activation, mark, lost } = after.received.opened[0]!
      assert.deepEqual([mark, lost], [1, true])
      assert.ok(activation > before.received.opened[0]!.activation)
      assert.deepEqual(await after.call(1, 1, ADD, { n: 5 }), await before.replyBody(1))
    },
  },
  {
    name: 'replies are retained until a call or an ACK acknowledges them',
    run: async (host) => {
      const session = await openRawSession(host, 'ledger', uniqueName())
      session.sendCall(1, 1, ADD, { n: 1 }).sendCall(1, 2, ADD, { n: 1 })
      await session.waitFor('replies', 2)
      session.sendCall(1, 3, ADD, { n: 1 }, 1)
      session.sendCall(1, 1, ADD, { n: 1 }, 1).sendCall(1, 2, ADD, { n: 1 }, 1)
      await session.waitFor('replies', 4)
      session.sendAck(1, 3)
      session.sendCall(1, 3, ADD, { n: 1 }, 3).sendCall(1, 4, READ, {}, 3)
      assert.equal((await session.reply<Account>(4)).count, 3)
      const sequences = session.received.replies.map(({ sequence }) => sequence)
      assert.equal(sequences.sort((a, b) => a - b).join(' '), '1 2 2 3 4')
    },
  },
  {
    name: 'a durable cast is acknowledged when it has taken effect',
    run: async (host) => {
      const session = await openRawSession(host, 'ledger', uniqueName())
      session.sendCall(1, 1, 401, { n: 1 }).sendCall(1, 1, 401, { n: 1 })
      await host.waitUntil(() => session.received.acks.some(({ calls }) => calls === 1), 'ACK 1')
      session.sendCall(1, 2, READ)
      assert.equal((await session.reply<Account>(2)).count, 1)
    },
  },
  {
    name: 'each channel of each session has its own call sequences',
    run: async (host) => {
      const key = uniqueName()
      const session = await openRawSession(host, 'ledger', key)
      const other = await openRawSession(host, 'ledger', key)
      session.openChannel(2, 'ledger', key).sendCall(1, 1, ADD, { n: 1 }).sendCall(2, 1, ADD, { n: 1 })
      await other.call(1, 1, ADD, { n: 1 })
      await session.waitFor('replies', 2)
      other.sendCall(1, 2, READ)
      assert.equal((await other.reply<Account>(2)).count, 3)
    },
  },
]
