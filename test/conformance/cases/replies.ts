// What a caller hears: replies, silence, refusals and bugs, and that a turn which throws leaves nothing behind.

import assert from 'node:assert/strict'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { Brittle, Desk, Hop, Ledger, Room } from '../contracts.ts'
import type { Host } from '../host.ts'
import { awaitOn, awaitFailure, frame, uniqueName, join, jsons, texts, type Case } from './case.ts'

/** Nothing that `breakAll` did before it threw is to be seen, now or after a new activation. */
async function assertRolledBack(host: Host, how: 'bug' | 'refuse' | 'undeclared' | 'output'): Promise<string> {
  const key = uniqueName()
  const [client, watcher] = [await host.sdkClient(), await host.sdkClient()]
  const ledger = client.at(Ledger, key)
  const events: number[] = []
  ledger.on('changed', ({ sum }) => events.push(sum))
  watcher.at(Ledger, key).on('changed', ({ sum }) => events.push(sum))
  await awaitOn(host, watcher.at(Ledger, key).watch())
  const before = await awaitOn(host, ledger.add({ n: 1 }))
  await host.waitUntil(() => events.length === 1, 'the event of the turn before')
  const { code } = await awaitFailure(host, ledger.breakAll({ how }))
  await host.sleep(50)
  const expected = { ...before, bumps: 0, size: 1 }
  assert.deepEqual(await awaitOn(host, ledger.read()), expected)
  assert.deepEqual(events, [1])
  assert.deepEqual(await awaitOn(host, client.at(Hop, key).notes()), { notes: [] })
  if (!host.cannot.evict) {
    await host.evictShard('ledger', key)
    assert.deepEqual(await awaitOn(host, ledger.read()), expected)
  }
  const { count, sum } = await awaitOn(host, ledger.add({ n: 1 }))
  assert.deepEqual({ count, sum }, { count: 2, sum: 2 })
  await host.waitUntil(() => events.length === 2, 'the event of the turn after, to its member only')
  return code
}

export const cases: readonly Case[] = [
  {
    name: 'a reply has the command id of its request and the body of its codec',
    run: async (host) => {
      const client = await host.rawClient()
      client.send(frame(202, { n: 5 }))
      await host.waitUntil(() => client.frames.length === 1, 'the reply')
      assert.deepEqual(jsons(client), [[202, { n: 5 }]])
    },
  },
  {
    name: 'undefined and casts send a legacy client nothing',
    run: async (host) => {
      const client = await host.rawClient()
      client.send(join(frame(10, 'mute'), frame(11, 'cast'), frame(1, 'after')))
      await host.waitUntil(() => client.frames.length === 1, 'the echo behind')
      assert.deepEqual(texts(client), [[1, 'after']])
    },
  },
  {
    name: 'a call whose handler returns undefined resolves with undefined',
    run: async (host) => {
      const room = (await host.sdkClient()).at(Room, uniqueName())
      assert.equal(await awaitOn(host, room.nothing()), undefined)
    },
  },
  {
    name: 'a cast gives no promise and takes effect',
    run: async (host) => {
      const room = (await host.sdkClient()).at(Room, uniqueName())
      assert.equal(room.line({ text: 'cast' }), undefined)
      assert.deepEqual((await awaitOn(host, room.who())).lines, ['cast'])
    },
  },
  {
    name: 'a declared refusal reaches the SDK with code and message',
    run: async (host) => {
      const ledger = (await host.sdkClient()).at(Ledger, uniqueName())
      const error = await awaitFailure(host, ledger.refuse())
      assert.equal(error.name, 'Refusal')
      assert.equal(error.code, 'NO')
      assert.match(error.message, /not today/)
      assert.equal((await awaitOn(host, ledger.read())).count, 0)
    },
  },
  {
    name: 'a declared refusal answers a legacy client with the body of its contract, and is no strike',
    run: async (host) => {
      const client = await host.rawClient()
      const times = DEFAULT_LIMITS.maxStrikes * 2
      for (let i = 0; i < times; i++) client.send(frame(203, {}))
      client.send(frame(202, { n: 1 }))
      await host.waitUntil(() => client.frames.length === times + 1, 'all answers')
      assert.deepEqual(jsons(client)[0], [203, { ok: false, why: 'POOR' }])
      assert.deepEqual(jsons(client)[times], [202, { n: 1 }])
      assert.equal(client.isClosed, false)
    },
  },
  {
    name: 'a refusal whose legacy body cannot be encoded is silence, and the connection stays',
    run: async (host) => {
      const client = await host.rawClient()
      client.send(join(frame(12, 'refuse'), frame(1, 'after')))
      await host.waitUntil(() => client.frames.length === 1, 'the echo behind')
      assert.deepEqual(texts(client), [[1, 'after']])
      assert.equal(client.isClosed, false)
    },
  },
  {
    name: 'an undeclared refusal is a bug',
    run: async (host) => {
      const desk = (await host.sdkClient()).at(Desk, uniqueName())
      const error = await awaitFailure(host, desk.undeclared())
      assert.equal(error.name, 'CallError')
      assert.equal(error.code, 'INTERNAL')
    },
  },
  {
    name: "a bug in a handler is silence to a legacy client, and not the client's strike",
    run: async (host) => {
      const client = await host.rawClient()
      const times = DEFAULT_LIMITS.maxStrikes * 2
      for (let i = 0; i < times; i++) client.send(frame(205, {}))
      client.send(frame(202, { n: 1 }))
      await host.waitUntil(() => client.frames.length === 1, 'the answer behind')
      assert.deepEqual(jsons(client), [[202, { n: 1 }]])
      assert.equal(client.isClosed, false)
    },
  },
  {
    name: 'a turn with a bug leaves no row, event, cast, member or timer',
    run: async (host) => assert.equal(await assertRolledBack(host, 'bug'), 'INTERNAL'),
  },
  {
    name: 'a turn that refuses leaves no row, event, cast, member or timer',
    run: async (host) => assert.equal(await assertRolledBack(host, 'refuse'), 'NO'),
  },
  {
    name: 'a turn with an undeclared refusal leaves no row, event, cast, member or timer',
    run: async (host) => assert.equal(await assertRolledBack(host, 'undeclared'), 'INTERNAL'),
  },
  {
    name: 'a turn whose reply breaks the contract leaves no row, event, cast, member or timer',
    run: async (host) => assert.equal(await assertRolledBack(host, 'output'), 'INTERNAL'),
  },
  {
    name: 'a bug keeps volatile state, unless the shard resets on bugs',
    run: async (host) => {
      const client = await host.sdkClient()
      const brittle = client.at(Brittle, uniqueName())
      await awaitOn(host, brittle.bump())
      await awaitFailure(host, brittle.boom())
      assert.deepEqual(await awaitOn(host, brittle.bump()), { n: 1 })
      const ledger = client.at(Ledger, uniqueName())
      await awaitOn(host, ledger.bump())
      await awaitFailure(host, ledger.breakAll({ how: 'bug' }))
      assert.deepEqual(await awaitOn(host, ledger.bump()), { n: 2 })
    },
  },
  {
    name: 'the call that ended its activation by a bug hears INTERNAL',
    run: async (host) => {
      const brittle = (await host.sdkClient()).at(Brittle, uniqueName())
      assert.equal((await awaitFailure(host, brittle.boom())).code, 'INTERNAL')
    },
  },
  {
    name: 'the context of a turn that is over refuses to act',
    run: async (host) => {
      const room = (await host.sdkClient()).at(Room, uniqueName())
      await awaitOn(host, room.join({ groups: [] }))
      const events: string[] = []
      room.on('said', ({ text }) => events.push(text))
      await awaitOn(host, room.keep())
      assert.equal((await awaitFailure(host, room.useKept())).code, 'INTERNAL')
      await awaitOn(host, room.say({ text: 'own' }))
      assert.deepEqual(events, ['own'])
    },
  },
  {
    name: 'a refusal that another shard gave and nobody caught is a bug of the caller',
    run: async (host) => {
      const hop = (await host.sdkClient()).at(Hop, uniqueName())
      const error = await awaitFailure(host, hop.leak({ n: 1_000 }))
      assert.equal(error.name, 'CallError')
      assert.equal(error.code, 'INTERNAL')
    },
  },
  {
    name: 'a large body comes back whole',
    run: async (host) => {
      const room = (await host.sdkClient()).at(Room, uniqueName())
      const text = 'x'.repeat(60_000)
      assert.equal((await awaitOn(host, room.echo({ text }))).text, text)
    },
  },
]
