// Commits that fail, that may or may not have happened, and that take their time: nothing that is not known to be
// committed is ever said, and the truth is what the store has.

import assert from 'node:assert/strict'
import { Alarm, Desk, Hop, Ledger } from '../contracts.ts'
import type { Host, HostFeature } from '../host.ts'
import { awaitOn, awaitAllOn, awaitFailure, frame, uniqueName, jsons, openRawSession, type Case } from './case.ts'

const needs: readonly HostFeature[] = ['commitFaults']

/** A ledger, somebody who listens there, and what was heard. */
async function openWatchedLedger(host: Host, key = uniqueName()) {
  const [client, watcher] = [await host.sdkClient(), await host.sdkClient()]
  const heard: number[] = []
  watcher.at(Ledger, key).on('changed', ({ sum }) => heard.push(sum))
  await awaitOn(host, watcher.at(Ledger, key).watch())
  let restarts = 0
  const ledger = client.at(Ledger, key)
  ledger.onRestart(() => restarts++)
  await awaitOn(host, ledger.read())
  return { client, ledger, heard, key, restarts: () => restarts }
}

async function assertAppliedOnce(host: Host, fault: 'failed' | 'applied' | 'dropped'): Promise<void> {
  const { ledger, heard, restarts } = await openWatchedLedger(host)
  await host.faults!.injectNext(fault)
  const reply = await awaitOn(host, ledger.add({ n: 5 }))
  assert.deepEqual([reply.sum, reply.count], [5, 1])
  await host.waitUntil(() => restarts() === 1, 'the activation ended')
  assert.deepEqual(await awaitOn(host, ledger.read()), { ...reply, bumps: 0, size: 1 })
  await host.sleep(20)
  // The event of a turn whose commit was not known left with nobody; run again, it is sent again.
  assert.deepEqual(heard, fault === 'applied' ? [] : [5])
}

export const cases: readonly Case[] = [
  {
    name: 'a failed commit says nothing, ends the activation, and the call that is sent again is the truth',
    needs,
    run: (host) => assertAppliedOnce(host, 'failed'),
  },
  {
    name: 'a commit of unknown outcome that was applied is one effect, with the committed reply',
    needs,
    run: (host) => assertAppliedOnce(host, 'applied'),
  },
  {
    name: 'a commit of unknown outcome that was not applied is one effect',
    needs,
    run: (host) => assertAppliedOnce(host, 'dropped'),
  },
  {
    name: 'a volatile call whose commit failed hears SHARD_RESTARTED, and left nothing',
    needs,
    run: async (host) => {
      const { ledger, heard } = await openWatchedLedger(host)
      await host.faults!.injectNext('failed')
      assert.equal((await awaitFailure(host, ledger.put({ n: 5 }))).code, 'SHARD_RESTARTED')
      assert.equal((await awaitOn(host, ledger.read())).count, 0)
      assert.deepEqual(heard, [])
    },
  },
  {
    name: 'commits that fail now and then under load: every durable call is applied once, in order',
    needs,
    run: async (host) => {
      const { ledger } = await openWatchedLedger(host)
      const { faults } = host
      const counts: number[] = []
      const calls: Promise<unknown>[] = []
      for (let i = 0; i < 60; i++) {
        if (i % 15 === 3) await faults!.injectNext('failed')
        if (i % 15 === 8) await faults!.injectNext('applied')
        if (i % 15 === 13) await faults!.injectNext('dropped')
        calls.push(ledger.add({ n: 1 }).then(({ count }) => counts.push(count)))
        if (i % 7 === 0) await host.sleep(1)
      }
      await awaitAllOn(host, calls)
      assert.deepEqual(
        counts,
        counts.map((_, i) => i + 1),
      )
      assert.equal((await awaitOn(host, ledger.read())).count, 60)
    },
  },
  {
    name: 'effects wait for their commit and keep their order, while the next turns run',
    needs,
    run: async (host) => {
      const { ledger, heard } = await openWatchedLedger(host)
      const release = await host.faults!.holdCommits()
      const order: string[] = []
      const calls = [
        ledger.add({ n: 1 }).then(({ sum }) => order.push(`add ${sum}`)),
        ledger.bump().then(({ n }) => order.push(`bump ${n}`)),
        ledger.read().then(({ sum }) => order.push(`read ${sum}`)),
        ledger.add({ n: 1 }).then(({ sum }) => order.push(`add ${sum}`)),
      ]
      await host.sleep(50)
      assert.deepEqual([order, heard], [[], []])
      await release()
      await awaitAllOn(host, calls)
      assert.deepEqual(order, ['add 1', 'bump 1', 'read 1', 'add 2'])
      await host.waitUntil(() => heard.length === 2, 'both events')
      assert.deepEqual(heard, [1, 2])
    },
  },
  {
    name: 'a call that comes again before its commit is known is told nothing early',
    needs,
    run: async (host) => {
      const speaker = await openRawSession(host, 'ledger', uniqueName())
      const release = await host.faults!.holdCommits()
      speaker.sendCall(1, 1, 400, { n: 5 }).sendCall(1, 1, 400, { n: 5 }).sendCall(1, 1, 400, { n: 5 })
      await host.sleep(50)
      assert.deepEqual([speaker.received.replies, speaker.received.acks], [[], []])
      await release()
      await host.waitUntil(() => speaker.received.replies.length === 1, 'the reply')
      speaker.sendCall(1, 2, 402)
      await host.waitUntil(() => speaker.decodedReply(2) !== undefined, 'the reply behind')
      assert.equal((speaker.decodedReply(2) as { count: number }).count, 1)
    },
  },
  {
    name: 'an activation that ends while its commits are on their way says nothing of them, and the next knows all',
    needs: ['commitFaults', 'abort'],
    run: async (host) => {
      const { ledger, heard, key } = await openWatchedLedger(host)
      const release = await host.faults!.holdCommits()
      const calls = [ledger.add({ n: 1 }), ledger.add({ n: 1 })]
      await host.sleep(20)
      assert.deepEqual(heard, [])
      await host.abortShard('ledger', key)
      await release()
      const counts = (await awaitAllOn(host, calls)).map(({ count }) => count)
      assert.deepEqual(counts, [1, 2])
      assert.equal((await awaitOn(host, ledger.read())).count, 2)
    },
  },
  {
    name: 'an eviction waits for the commits that are on their way',
    needs: ['commitFaults', 'evict'],
    run: async (host) => {
      const { ledger, key } = await openWatchedLedger(host)
      const release = await host.faults!.holdCommits()
      const call = ledger.put({ n: 1 })
      await host.sleep(20)
      const evicted = host.evictShard('ledger', key)
      await host.sleep(20)
      await release()
      assert.equal((await awaitOn(host, call)).count, 1)
      await awaitOn(host, evicted)
      assert.equal((await awaitOn(host, ledger.read())).count, 1)
    },
  },
  {
    name: 'a timer whose commit failed fires again, and takes effect once',
    needs,
    run: async (host) => {
      const key = uniqueName()
      const alarm = (await host.sdkClient()).at(Alarm, key)
      const rang: string[] = []
      alarm.on('rang', ({ text }) => rang.push(text))
      await awaitOn(host, alarm.watch())
      await awaitOn(host, alarm.set({ name: 'ring', ms: 100, text: 'a', durable: true }))
      await host.faults!.injectNext('failed')
      await host.waitUntil(() => rang.length > 0, 'it rings')
      await host.sleep(100)
      assert.deepEqual(rang, ['a'])
      assert.deepEqual((await awaitOn(host, alarm.fired())).rings, ['a'])
    },
  },
  {
    name: 'a shard whose call met a failed commit is told, and does not hang',
    needs,
    run: async (host) => {
      const hop = (await host.sdkClient()).at(Hop, uniqueName())
      await host.faults!.injectNext('failed')
      const { error } = await awaitOn(host, hop.vault({ n: 1 }))
      assert.match(error, /^(DEADLINE|SHARD_RESTARTED|UNAVAILABLE) /)
      assert.deepEqual(await awaitOn(host, hop.vault({ n: 1 })), { left: 99, error: '' })
    },
  },
  {
    name: 'a legacy client whose commit failed hears nothing of it, and is answered afterwards',
    needs,
    run: async (host) => {
      const client = await host.rawClient()
      const desk = (await host.sdkClient()).at(Desk)
      const { sum } = await awaitOn(host, desk.add({ n: 1 }))
      await host.faults!.injectNext('failed')
      client.send(frame(201, { n: 1 }))
      await host.sleep(50)
      assert.deepEqual(jsons(client), [])
      for (let i = 0; i < 600; i++) client.send(frame(202, { n: i }))
      client.send(frame(201, { n: 1 }))
      await host.waitUntil(() => client.frames.length === 601, 'all answers behind')
      assert.deepEqual(jsons(client)[600], [201, { sum: sum + 1 }])
    },
  },
]
