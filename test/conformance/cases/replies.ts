// Replies, missing replies, refusals and bugs. Invariant: a turn that throws leaves no effect.

import assert from 'node:assert/strict'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { ResetOnBug, Desk, Hop, Ledger, Room } from '../contracts.ts'
import type { Host } from '../host.ts'
import { awaitOn, awaitFailure, frame, uniqueName, join, jsons, waitForJsons, waitForTexts, type Case } from './case.ts'

/** Asserts that no effect of `changeAllThenFail` exists, now and in the next activation. Returns the error code. */
async function assertRolledBack(host: Host, how: 'bug' | 'refuse' | 'undeclared' | 'output'): Promise<string> {
  const key = uniqueName()
  const [client, watcher] = [await host.sdkClient(), await host.sdkClient()]
  const ledger = client.at(Ledger, key)
  const events: number[] = []
  ledger.on('changed', ({ sum }) => events.push(sum))
  watcher.at(Ledger, key).on('changed', ({ sum }) => events.push(sum))
  await awaitOn(host, watcher.at(Ledger, key).watch())
  const before = await awaitOn(host, ledger.add({ n: 1 }))
  await host.waitUntil(() => events.length === 1, 'the event of the first turn')
  const { code } = await awaitFailure(host, ledger.changeAllThenFail({ how }))
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
  await host.waitUntil(() => events.length === 2, 'the event of the last turn, to its member only')
  return code
}

export const cases: readonly Case[] = [
  {
    name: 'a reply has the command number of its request and a body in the codec of its contract',
    run: async (host) => {
      const client = await host.rawClient()
      client.send(frame(202, { n: 5 }))
      assert.deepEqual(await waitForJsons(host, client, 1), [[202, { n: 5 }]])
    },
  },
  {
    name: 'a handler that returns undefined and a cast send no frame to a legacy client',
    run: async (host) => {
      const client = await host.rawClient()
      client.send(join(frame(10, 'noReply'), frame(11, 'cast'), frame(1, 'after')))
      assert.deepEqual(await waitForTexts(host, client, 1), [[1, 'after']])
    },
  },
  {
    name: 'an SDK call resolves with undefined when its handler returns undefined',
    run: async (host) => {
      const room = (await host.sdkClient()).at(Room, uniqueName())
      assert.equal(await awaitOn(host, room.returnUndefined()), undefined)
    },
  },
  {
    name: 'a cast returns no promise and takes effect',
    run: async (host) => {
      const room = (await host.sdkClient()).at(Room, uniqueName())
      assert.equal(room.appendLine({ text: 'cast' }), undefined)
      assert.deepEqual((await awaitOn(host, room.info())).lines, ['cast'])
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
    name: 'a declared refusal sends a legacy client the refusal body of its contract, without a strike',
    run: async (host) => {
      const client = await host.rawClient()
      const times = DEFAULT_LIMITS.maxStrikes * 2
      for (let i = 0; i < times; i++) client.send(frame(203, {}))
      client.send(frame(202, { n: 1 }))
      assert.deepEqual((await waitForJsons(host, client, times + 1))[0], [203, { ok: false, why: 'POOR' }])
      assert.deepEqual(jsons(client)[times], [202, { n: 1 }])
      assert.equal(client.isClosed, false)
    },
  },
  {
    name: 'a refusal whose legacy body cannot be encoded sends no reply and keeps the connection open',
    run: async (host) => {
      const client = await host.rawClient()
      client.send(join(frame(12, 'refuse'), frame(1, 'after')))
      assert.deepEqual(await waitForTexts(host, client, 1), [[1, 'after']])
      assert.equal(client.isClosed, false)
    },
  },
  {
    name: 'an undeclared refusal is INTERNAL',
    run: async (host) => {
      const desk = (await host.sdkClient()).at(Desk, uniqueName())
      const error = await awaitFailure(host, desk.undeclared())
      assert.equal(error.name, 'CallError')
      assert.equal(error.code, 'INTERNAL')
    },
  },
  {
    name: 'a bug in a handler sends a legacy client no reply, without a strike',
    run: async (host) => {
      const client = await host.rawClient()
      const times = DEFAULT_LIMITS.maxStrikes * 2
      for (let i = 0; i < times; i++) client.send(frame(205, {}))
      client.send(frame(202, { n: 1 }))
      assert.deepEqual(await waitForJsons(host, client, 1), [[202, { n: 1 }]])
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
    name: 'volatile state survives a bug unless the shard resets on bugs',
    run: async (host) => {
      const client = await host.sdkClient()
      const resetOnBug = client.at(ResetOnBug, uniqueName())
      await awaitOn(host, resetOnBug.bump())
      await awaitFailure(host, resetOnBug.throwError())
      assert.deepEqual(await awaitOn(host, resetOnBug.bump()), { n: 1 })
      const ledger = client.at(Ledger, uniqueName())
      await awaitOn(host, ledger.bump())
      await awaitFailure(host, ledger.changeAllThenFail({ how: 'bug' }))
      assert.deepEqual(await awaitOn(host, ledger.bump()), { n: 2 })
    },
  },
  {
    name: 'a call whose bug resets the shard fails with INTERNAL',
    run: async (host) => {
      const resetOnBug = (await host.sdkClient()).at(ResetOnBug, uniqueName())
      assert.equal((await awaitFailure(host, resetOnBug.throwError())).code, 'INTERNAL')
    },
  },
  {
    name: 'the context of an ended turn throws',
    run: async (host) => {
      const room = (await host.sdkClient()).at(Room, uniqueName())
      await awaitOn(host, room.join({ groups: [] }))
      const events: string[] = []
      room.on('message', ({ text }) => events.push(text))
      await awaitOn(host, room.saveContext())
      assert.equal((await awaitFailure(host, room.useSavedContext())).code, 'INTERNAL')
      await awaitOn(host, room.say({ text: 'own' }))
      assert.deepEqual(events, ['own'])
    },
  },
  {
    name: 'an uncaught refusal of another shard is a bug of the caller',
    run: async (host) => {
      const hop = (await host.sdkClient()).at(Hop, uniqueName())
      const error = await awaitFailure(host, hop.takeUncaught({ n: 1_000 }))
      assert.equal(error.name, 'CallError')
      assert.equal(error.code, 'INTERNAL')
    },
  },
  {
    name: 'a large body is echoed unchanged',
    run: async (host) => {
      const room = (await host.sdkClient()).at(Room, uniqueName())
      const text = 'x'.repeat(60_000)
      assert.equal((await awaitOn(host, room.echo({ text }))).text, text)
    },
  },
]
