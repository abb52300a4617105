// Commits that fail, whose outcome is unknown, or that are slow. Invariant: no effect leaves a turn before its commit
// is known to have succeeded.

import assert from 'node:assert/strict'
import { Alarm, Desk, Hop, Ledger } from '../contracts.ts'
import { FAULTS, type Fault, type Host, type HostFeature } from '../host.ts'
import {
  assertConsecutive,
  awaitOn,
  awaitAllOn,
  awaitFailure,
  frame,
  uniqueName,
  jsons,
  waitForJsons,
  openRawSession,
  type Case,
} from './case.ts'

const needs: readonly HostFeature[] = ['commitFaults']

/** A ledger, and the events that a second client received from it. */
async function openWatchedLedger(host: Host, key = uniqueName()) {
  const [client, watcher] = [await host.sdkClient(), await host.sdkClient()]
  const events: number[] = []
  watcher.at(Ledger, key).on('changed', ({ sum }) => events.push(sum))
  await awaitOn(host, watcher.at(Ledger, key).watch())
  let restarts = 0
  const ledger = client.at(Ledger, key)
  ledger.onRestart(() => restarts++)
  await awaitOn(host, ledger.read())
  return { client, ledger, events, key, restarts: () => restarts }
}

async function assertAppliedOnce(host: Host, fault: Fault): Promise<void> {
  const { ledger, events, restarts } = await openWatchedLedger(host)
  await host.faults!.injectNext(fault)
  const reply = await awaitOn(host, ledger.add({ n: 5 }))
  assert.deepEqual([reply.sum, reply.count], [5, 1])
  await host.waitUntil(() => restarts() === 1, 'the activation ended')
  assert.deepEqual(await awaitOn(host, ledger.read()), { ...reply, bumps: 0, size: 1 })
  await host.sleep(20)
  // A turn with an unknown outcome sends no events. When the call runs again, its events are sent.
  assert.deepEqual(events, fault === 'applied' ? [] : [5])
}

export const cases: readonly Case[] = [
  ...FAULTS.map((fault): Case => ({
    name: `a durable call takes effect once and gets the committed reply when its commit is ${fault}`,
    needs,
    run: (host) => assertAppliedOnce(host, fault),
  })),
  {
    name: 'a volatile call whose commit failed changes nothing and fails with SHARD_RESTARTED',
    needs,
    run: async (host) => {
      const { ledger, events } = await openWatchedLedger(host)
      await host.faults!.injectNext('failed')
      assert.equal((await awaitFailure(host, ledger.addVolatile({ n: 5 }))).code, 'SHARD_RESTARTED')
      assert.equal((await awaitOn(host, ledger.read())).count, 0)
      assert.deepEqual(events, [])
    },
  },
  {
    name: 'when commits fail under load, every durable call is applied once, in order',
    needs,
    run: async (host) => {
      const { ledger } = await openWatchedLedger(host)
      const counts: number[] = []
      const calls: Promise<unknown>[] = []
      for (let i = 0; i < 60; i++) {
        if (i % 5 === 3) await host.faults!.injectNext(FAULTS[Math.floor(i / 5) % 3]!)
        calls.push(ledger.add({ n: 1 }).then(({ count }) => counts.push(count)))
        if (i % 7 === 0) await host.sleep(1)
      }
      await awaitAllOn(host, calls)
      assertConsecutive(counts)
      assert.equal((await awaitOn(host, ledger.read())).count, 60)
    },
  },
  {
    name: 'effects wait for their commit and stay in order, while the next turns run',
    needs,
    run: async (host) => {
      const { ledger, events } = await openWatchedLedger(host)
      const release = await host.faults!.holdCommits()
      const order: string[] = []
      const calls = [
        ledger.add({ n: 1 }).then(({ sum }) => order.push(`add ${sum}`)),
        ledger.bump().then(({ n }) => order.push(`bump ${n}`)),
        ledger.read().then(({ sum }) => order.push(`read ${sum}`)),
        ledger.add({ n: 1 }).then(({ sum }) => order.push(`add ${sum}`)),
      ]
      await host.sleep(50)
      assert.deepEqual([order, events], [[], []])
      await release()
      await awaitAllOn(host, calls)
      assert.deepEqual(order, ['add 1', 'bump 1', 'read 1', 'add 2'])
      await host.waitUntil(() => events.length === 2, 'both events')
      assert.deepEqual(events, [1, 2])
    },
  },
  {
    name: 'a call that is resent before its commit gets no early reply',
    needs,
    run: async (host) => {
      const session = await openRawSession(host, 'ledger', uniqueName())
      const release = await host.faults!.holdCommits()
      session.sendCall(1, 1, 400, { n: 5 }).sendCall(1, 1, 400, { n: 5 }).sendCall(1, 1, 400, { n: 5 })
      await host.sleep(50)
      assert.deepEqual([session.received.replies, session.received.acks], [[], []])
      await release()
      await session.waitFor('replies')
      session.sendCall(1, 2, 402)
      assert.equal((await session.reply<{ count: number }>(2)).count, 1)
    },
  },
  {
    name: 'an activation that ends with pending commits sends no effects of them, and the next one has their results',
    needs: ['commitFaults', 'abort'],
    run: async (host) => {
      const { ledger, events, key } = await openWatchedLedger(host)
      const release = await host.faults!.holdCommits()
      const calls = [ledger.add({ n: 1 }), ledger.add({ n: 1 })]
      await host.sleep(20)
      assert.deepEqual(events, [])
      await host.abortShard('ledger', key)
      await release()
      const counts = (await awaitAllOn(host, calls)).map(({ count }) => count)
      assert.deepEqual(counts, [1, 2])
      assert.equal((await awaitOn(host, ledger.read())).count, 2)
    },
  },
  {
    name: 'an eviction waits for pending commits',
    needs: ['commitFaults', 'evict'],
    run: async (host) => {
      const { ledger, key } = await openWatchedLedger(host)
      const release = await host.faults!.holdCommits()
      const call = ledger.addVolatile({ n: 1 })
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
    name: 'a timer whose commit failed fires again and takes effect once',
    needs,
    run: async (host) => {
      const key = uniqueName()
      const alarm = (await host.sdkClient()).at(Alarm, key)
      const fired: string[] = []
      alarm.on('fired', ({ text }) => fired.push(text))
      await awaitOn(host, alarm.watch())
      await awaitOn(host, alarm.set({ name: 'ring', ms: 100, text: 'a', durable: true }))
      await host.faults!.injectNext('failed')
      await host.waitUntil(() => fired.length > 0, 'the timer fires')
      await host.sleep(100)
      assert.deepEqual(fired, ['a'])
      assert.deepEqual((await awaitOn(host, alarm.read())).fired, ['a'])
    },
  },
  {
    name: 'a call between shards fails, and does not hang, when the commit of the callee fails',
    needs,
    run: async (host) => {
      const hop = (await host.sdkClient()).at(Hop, uniqueName())
      await host.faults!.injectNext('failed')
      const { error } = await awaitOn(host, hop.takeFromVault({ n: 1 }))
      assert.match(error, /^(DEADLINE|SHARD_RESTARTED|UNAVAILABLE) /)
      // A busy machine may need longer than a call's deadline to restart the vault; such a call may take effect later.
      let answer = await awaitOn(host, hop.takeFromVault({ n: 1 }))
      let late = 0
      for (; answer.error.startsWith('DEADLINE '); late++) answer = await awaitOn(host, hop.takeFromVault({ n: 1 }))
      assert.equal(answer.error, '')
      assert.ok(answer.left <= 99 && answer.left >= 99 - late, `${answer.left} left, ${late} calls were late`)
    },
  },
  {
    name: 'a legacy client gets no reply when the commit fails, and replies to later commands',
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
      assert.deepEqual((await waitForJsons(host, client, 601))[600], [201, { sum: sum + 1 }])
    },
  },
]
