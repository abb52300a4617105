// The same call twice: on one connection, on the next one, and to the next life of its shard.

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

async function waitForReplies(host: Host, speaker: RawSession, count: number): Promise<void> {
  await host.waitUntil(() => speaker.received.replies.length >= count, `${count} replies`)
}

/** The session on a new connection, with channel 1 open again. */
async function reconnect(host: Host, previous: RawSession, contract: string, key: string): Promise<RawSession> {
  const { opened } = previous.received
  previous.client.close()
  const speaker = new RawSession(await host.rawClient())
  // The first life, also if it heard of a later one: it is to be told what it missed.
  speaker.sendHello(previous.credentials).openChannel(1, contract, key, opened[0]!.activation)
  await host.waitUntil(() => speaker.received.opened.length === 1, 'OPENED again')
  return speaker
}

export const cases: readonly Case[] = [
  {
    name: 'a durable call that comes twice is one effect and the same reply twice',
    run: async (host) => {
      const speaker = await openRawSession(host, 'ledger', uniqueName())
      const call = encodeCallBody(1, 1, ADD, { n: 5 })
      speaker.send(MESSAGE.CALL, call).send(MESSAGE.CALL, call)
      await waitForReplies(host, speaker, 1)
      const before = speaker.received.replies.length
      speaker.send(MESSAGE.CALL, call)
      await waitForReplies(host, speaker, before + 1)
      speaker.sendCall(1, 2, READ)
      await host.waitUntil(() => speaker.decodedReply(2) !== undefined, 'the reply behind')
      const [first, ...rest] = speaker.received.replies.filter(({ sequence }) => sequence === 1)
      assert.ok(rest.length === 1 || rest.length === 2)
      for (const one of rest) assert.deepEqual(one, first)
      assert.equal((speaker.decodedReply(2) as { count: number }).count, 1)
    },
  },
  {
    name: 'a volatile call that comes twice is one effect and the same reply twice',
    run: async (host) => {
      const speaker = await openRawSession(host, 'ledger', uniqueName())
      speaker.sendCall(1, 1, BUMP).sendCall(1, 1, BUMP).sendCall(1, 2, BUMP)
      await waitForReplies(host, speaker, 3)
      const { replies: all } = speaker.received
      assert.deepEqual(all[0], all[1])
      assert.deepEqual(speaker.decodedReply(2), { n: 2 })
    },
  },
  {
    name: 'a refusal and a bug that come twice are told twice',
    run: async (host) => {
      const speaker = await openRawSession(host, 'ledger', uniqueName())
      speaker
        .sendCall(1, 1, 412)
        .sendCall(1, 1, 412)
        .sendCall(1, 2, 405, { how: 'bug' })
        .sendCall(1, 2, 405, { how: 'bug' })
      await host.waitUntil(() => speaker.received.errors.length === 4, 'four errors')
      assert.deepEqual(
        speaker.received.errors.map(({ sequence, kind, code }) => [sequence, kind, code]),
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
    name: 'a call that comes again while its turn still waits is answered once',
    run: async (host) => {
      const gate = uniqueName('gate')
      const opener = (await host.sdkClient()).at(Gate)
      const speaker = await openRawSession(host, 'ledger', uniqueName())
      speaker.sendCall(1, 1, 408, { n: 5, gate }).sendCall(1, 1, 408, { n: 5, gate }).sendCall(1, 2, READ)
      await waitForTurnsAtGate(host, opener, gate)
      await awaitOn(host, opener.open({ name: gate }))
      await host.waitUntil(() => speaker.decodedReply(2) !== undefined, 'the reply behind')
      assert.equal((speaker.decodedReply(2) as { count: number }).count, 1)
      const firsts = speaker.received.replies.filter(({ sequence }) => sequence === 1)
      assert.ok(firsts.length >= 1)
      for (const one of firsts) assert.deepEqual(one, firsts[0])
    },
  },
  {
    name: 'a call that comes again on the next connection gets the reply of the first',
    run: async (host) => {
      const key = uniqueName()
      const before = await openRawSession(host, 'ledger', key)
      before.sendCall(1, 1, ADD, { n: 5 })
      await waitForReplies(host, before, 1)
      const after = await reconnect(host, before, 'ledger', key)
      assert.equal(after.received.opened[0]!.mark, 1)
      after.sendCall(1, 1, ADD, { n: 5 }).sendCall(1, 2, ADD, { n: 5 })
      await waitForReplies(host, after, 2)
      assert.deepEqual(after.decodedReply(1), before.decodedReply(1))
      assert.equal((after.decodedReply(2) as { count: number }).count, 2)
    },
  },
  {
    name: 'a durable call that comes again after an eviction gets the reply of the first',
    needs: ['evict'],
    run: async (host) => {
      const key = uniqueName()
      const speaker = await openRawSession(host, 'ledger', key)
      speaker.sendCall(1, 1, ADD, { n: 5 })
      await waitForReplies(host, speaker, 1)
      await host.evictShard('ledger', key)
      speaker.sendCall(1, 1, ADD, { n: 5 })
      await waitForReplies(host, speaker, 2)
      assert.deepEqual(speaker.received.replies[0], speaker.received.replies[1])
    },
  },
  {
    name: 'a durable call that comes again after an abort, on a new connection, gets the reply of the first',
    needs: ['abort'],
    run: async (host) => {
      const key = uniqueName()
      const before = await openRawSession(host, 'ledger', key)
      before.sendCall(1, 1, ADD, { n: 5 })
      await waitForReplies(host, before, 1)
      await host.abortShard('ledger', key)
      const after = await reconnect(host, before, 'ledger', key)
      const { activation, mark, lost } = after.received.opened[0]!
      assert.deepEqual([mark, lost], [1, true])
      assert.ok(activation > before.received.opened[0]!.activation)
      after.sendCall(1, 1, ADD, { n: 5 })
      await waitForReplies(host, after, 1)
      assert.deepEqual(after.decodedReply(1), before.decodedReply(1))
    },
  },
  {
    name: 'replies are kept until they are acknowledged: by the next call, or by a word of its own',
    run: async (host) => {
      const speaker = await openRawSession(host, 'ledger', uniqueName())
      speaker.sendCall(1, 1, ADD, { n: 1 }).sendCall(1, 2, ADD, { n: 1 })
      await waitForReplies(host, speaker, 2)
      speaker.sendCall(1, 3, ADD, { n: 1 }, 1)
      speaker.sendCall(1, 1, ADD, { n: 1 }, 1).sendCall(1, 2, ADD, { n: 1 }, 1)
      await waitForReplies(host, speaker, 4)
      speaker.sendAck(1, 3)
      speaker.sendCall(1, 3, ADD, { n: 1 }, 3).sendCall(1, 4, READ, {}, 3)
      await host.waitUntil(() => speaker.decodedReply(4) !== undefined, 'the reply behind')
      const sequences = speaker.received.replies.map(({ sequence }) => sequence)
      assert.deepEqual(
        sequences.sort((a, b) => a - b),
        [1, 2, 2, 3, 4],
      )
      assert.equal((speaker.decodedReply(4) as { count: number }).count, 3)
    },
  },
  {
    name: 'a durable cast is acknowledged when it has taken effect',
    run: async (host) => {
      const speaker = await openRawSession(host, 'ledger', uniqueName())
      speaker.sendCall(1, 1, 401, { n: 1 }).sendCall(1, 1, 401, { n: 1 })
      await host.waitUntil(() => speaker.received.acks.some(({ calls }) => calls === 1), 'ACK 1')
      speaker.sendCall(1, 2, READ)
      await waitForReplies(host, speaker, 1)
      assert.equal((speaker.decodedReply(2) as { count: number }).count, 1)
    },
  },
  {
    name: 'sequences of two channels and two sessions are their own',
    run: async (host) => {
      const key = uniqueName()
      const [one, two] = [await openRawSession(host, 'ledger', key), await openRawSession(host, 'ledger', key)]
      one.openChannel(2, 'ledger', key)
      for (const speaker of [one, two]) speaker.sendCall(1, 1, ADD, { n: 1 })
      one.sendCall(2, 1, ADD, { n: 1 })
      await waitForReplies(host, one, 2)
      await waitForReplies(host, two, 1)
      two.sendCall(1, 2, READ)
      await host.waitUntil(() => two.decodedReply(2) !== undefined, 'the sum')
      assert.equal((two.decodedReply(2) as { count: number }).count, 3)
    },
  },
]
