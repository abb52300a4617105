// The same call twice: on one connection, on the next one, and to the next life of its shard.

import assert from 'node:assert/strict'
import { Gate } from '../contracts.ts'
import type { Host } from '../host.ts'
import { answer, callBody, fresh, speak, Speaker, waiting, type Case } from './probe.ts'
import { MESSAGE } from '../../../core/wire/message.ts'

const ADD = 400
const READ = 402
const BUMP = 403

async function replies(host: Host, speaker: Speaker, count: number): Promise<void> {
  await host.until(() => speaker.said.replies.length >= count, `${count} replies`)
}

/** The session on a new connection, with channel 1 open again. */
async function reconnect(host: Host, before: Speaker, contract: string, key: string): Promise<Speaker> {
  const { opened } = before.said
  before.client.close()
  const speaker = new Speaker(await host.raw())
  // The first life, also if it heard of a later one: it is to be told what it missed.
  speaker.hello(before.return).open(1, contract, key, opened[0]!.activation)
  await host.until(() => speaker.said.opened.length === 1, 'OPENED again')
  return speaker
}

export const cases: readonly Case[] = [
  {
    name: 'a durable call that comes twice is one effect and the same reply twice',
    run: async (host) => {
      const speaker = await speak(host, 'ledger', fresh())
      const call = callBody(1, 1, ADD, { n: 5 })
      speaker.say(MESSAGE.CALL, call).say(MESSAGE.CALL, call)
      await replies(host, speaker, 1)
      const before = speaker.said.replies.length
      speaker.say(MESSAGE.CALL, call)
      await replies(host, speaker, before + 1)
      speaker.call(1, 2, READ)
      await host.until(() => speaker.reply(2) !== undefined, 'the reply behind')
      const [first, ...rest] = speaker.said.replies.filter(({ sequence }) => sequence === 1)
      assert.ok(rest.length === 1 || rest.length === 2)
      for (const one of rest) assert.deepEqual(one, first)
      assert.equal((speaker.reply(2) as { count: number }).count, 1)
    },
  },
  {
    name: 'a volatile call that comes twice is one effect and the same reply twice',
    run: async (host) => {
      const speaker = await speak(host, 'ledger', fresh())
      speaker.call(1, 1, BUMP).call(1, 1, BUMP).call(1, 2, BUMP)
      await replies(host, speaker, 3)
      const { replies: all } = speaker.said
      assert.deepEqual(all[0], all[1])
      assert.deepEqual(speaker.reply(2), { n: 2 })
    },
  },
  {
    name: 'a refusal and a bug that come twice are told twice',
    run: async (host) => {
      const speaker = await speak(host, 'ledger', fresh())
      speaker.call(1, 1, 412).call(1, 1, 412).call(1, 2, 405, { how: 'bug' }).call(1, 2, 405, { how: 'bug' })
      await host.until(() => speaker.said.errors.length === 4, 'four errors')
      assert.deepEqual(
        speaker.said.errors.map(({ sequence, kind, code }) => [sequence, kind, code]),
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
      const gate = fresh('gate')
      const opener = (await host.client()).at(Gate)
      const speaker = await speak(host, 'ledger', fresh())
      speaker.call(1, 1, 408, { n: 5, gate }).call(1, 1, 408, { n: 5, gate }).call(1, 2, READ)
      await waiting(host, opener, gate)
      await answer(host, opener.open({ name: gate }))
      await host.until(() => speaker.reply(2) !== undefined, 'the reply behind')
      assert.equal((speaker.reply(2) as { count: number }).count, 1)
      const firsts = speaker.said.replies.filter(({ sequence }) => sequence === 1)
      assert.ok(firsts.length >= 1)
      for (const one of firsts) assert.deepEqual(one, firsts[0])
    },
  },
  {
    name: 'a call that comes again on the next connection gets the reply of the first',
    run: async (host) => {
      const key = fresh()
      const before = await speak(host, 'ledger', key)
      before.call(1, 1, ADD, { n: 5 })
      await replies(host, before, 1)
      const after = await reconnect(host, before, 'ledger', key)
      assert.equal(after.said.opened[0]!.mark, 1)
      after.call(1, 1, ADD, { n: 5 }).call(1, 2, ADD, { n: 5 })
      await replies(host, after, 2)
      assert.deepEqual(after.reply(1), before.reply(1))
      assert.equal((after.reply(2) as { count: number }).count, 2)
    },
  },
  {
    name: 'a durable call that comes again after an eviction gets the reply of the first',
    needs: ['evict'],
    run: async (host) => {
      const key = fresh()
      const speaker = await speak(host, 'ledger', key)
      speaker.call(1, 1, ADD, { n: 5 })
      await replies(host, speaker, 1)
      await host.evict('ledger', key)
      speaker.call(1, 1, ADD, { n: 5 })
      await replies(host, speaker, 2)
      assert.deepEqual(speaker.said.replies[0], speaker.said.replies[1])
    },
  },
  {
    name: 'a durable call that comes again after an abort, on a new connection, gets the reply of the first',
    needs: ['abort'],
    run: async (host) => {
      const key = fresh()
      const before = await speak(host, 'ledger', key)
      before.call(1, 1, ADD, { n: 5 })
      await replies(host, before, 1)
      await host.abort('ledger', key)
      const after = await reconnect(host, before, 'ledger', key)
      const { activation, mark, lost } = after.said.opened[0]!
      assert.deepEqual([mark, lost], [1, true])
      assert.ok(activation > before.said.opened[0]!.activation)
      after.call(1, 1, ADD, { n: 5 })
      await replies(host, after, 1)
      assert.deepEqual(after.reply(1), before.reply(1))
    },
  },
  {
    name: 'replies are kept until they are acknowledged: by the next call, or by a word of its own',
    run: async (host) => {
      const speaker = await speak(host, 'ledger', fresh())
      speaker.call(1, 1, ADD, { n: 1 }).call(1, 2, ADD, { n: 1 })
      await replies(host, speaker, 2)
      speaker.call(1, 3, ADD, { n: 1 }, 1)
      speaker.call(1, 1, ADD, { n: 1 }, 1).call(1, 2, ADD, { n: 1 }, 1)
      await replies(host, speaker, 4)
      speaker.ack(1, 3)
      speaker.call(1, 3, ADD, { n: 1 }, 3).call(1, 4, READ, {}, 3)
      await host.until(() => speaker.reply(4) !== undefined, 'the reply behind')
      const sequences = speaker.said.replies.map(({ sequence }) => sequence)
      assert.deepEqual(
        sequences.sort((a, b) => a - b),
        [1, 2, 2, 3, 4],
      )
      assert.equal((speaker.reply(4) as { count: number }).count, 3)
    },
  },
  {
    name: 'a durable cast is acknowledged when it has taken effect',
    run: async (host) => {
      const speaker = await speak(host, 'ledger', fresh())
      speaker.call(1, 1, 401, { n: 1 }).call(1, 1, 401, { n: 1 })
      await host.until(() => speaker.said.acks.some(({ calls }) => calls === 1), 'ACK 1')
      speaker.call(1, 2, READ)
      await replies(host, speaker, 1)
      assert.equal((speaker.reply(2) as { count: number }).count, 1)
    },
  },
  {
    name: 'sequences of two channels and two sessions are their own',
    run: async (host) => {
      const key = fresh()
      const [one, two] = [await speak(host, 'ledger', key), await speak(host, 'ledger', key)]
      one.open(2, 'ledger', key)
      for (const speaker of [one, two]) speaker.call(1, 1, ADD, { n: 1 })
      one.call(2, 1, ADD, { n: 1 })
      await replies(host, one, 2)
      await replies(host, two, 1)
      two.call(1, 2, READ)
      await host.until(() => two.reply(2) !== undefined, 'the sum')
      assert.equal((two.reply(2) as { count: number }).count, 3)
    },
  },
]
