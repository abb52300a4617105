// Commits that fail, that may or may not have happened, and that take their time: nothing that is not known to be
// committed is ever said, and the truth is what the store has.

import assert from 'node:assert/strict'
import { Alarm, Desk, Hop, Ledger } from '../contracts.ts'
import type { Host, Need } from '../host.ts'
import { answer, answers, failure, frame, fresh, jsons, speak, type Case } from './probe.ts'

const needs: readonly Need[] = ['commitFaults']

/** A ledger, somebody who listens there, and what was heard. */
async function watched(host: Host, key = fresh()) {
  const [client, watcher] = [await host.client(), await host.client()]
  const heard: number[] = []
  watcher.at(Ledger, key).on('changed', ({ sum }) => heard.push(sum))
  await answer(host, watcher.at(Ledger, key).watch())
  let restarts = 0
  const ledger = client.at(Ledger, key)
  ledger.onRestart(() => restarts++)
  await answer(host, ledger.read())
  return { client, ledger, heard, key, restarts: () => restarts }
}

async function oneEffect(host: Host, fault: 'failed' | 'applied' | 'dropped'): Promise<void> {
  const { ledger, heard, restarts } = await watched(host)
  await host.faults!.next(fault)
  const reply = await answer(host, ledger.add({ n: 5 }))
  assert.deepEqual([reply.sum, reply.count], [5, 1])
  await host.until(() => restarts() === 1, 'the activation ended')
  assert.deepEqual(await answer(host, ledger.read()), { ...reply, bumps: 0, size: 1 })
  await host.pass(20)
  // The event of a turn whose commit was not known left with nobody; run again, it is sent again.
  assert.deepEqual(heard, fault === 'applied' ? [] : [5])
}

export const cases: readonly Case[] = [
  {
    name: 'a failed commit says nothing, ends the activation, and the call that is sent again is the truth',
    needs,
    run: (host) => oneEffect(host, 'failed'),
  },
  {
    name: 'a commit of unknown outcome that was applied is one effect, with the committed reply',
    needs,
    run: (host) => oneEffect(host, 'applied'),
  },
  {
    name: 'a commit of unknown outcome that was not applied is one effect',
    needs,
    run: (host) => oneEffect(host, 'dropped'),
  },
  {
    name: 'a volatile call whose commit failed hears SHARD_RESTARTED, and left nothing',
    needs,
    run: async (host) => {
      const { ledger, heard } = await watched(host)
      await host.faults!.next('failed')
      assert.equal((await failure(host, ledger.put({ n: 5 }))).code, 'SHARD_RESTARTED')
      assert.equal((await answer(host, ledger.read())).count, 0)
      assert.deepEqual(heard, [])
    },
  },
  {
    name: 'commits that fail now and then under load: every durable call is applied once, in order',
    needs,
    run: async (host) => {
      const { ledger } = await watched(host)
      const { faults } = host
      const counts: number[] = []
      const calls: Promise<unknown>[] = []
      for (let i = 0; i < 60; i++) {
        if (i % 15 === 3) await faults!.next('failed')
        if (i % 15 === 8) await faults!.next('applied')
        if (i % 15 === 13) await faults!.next('dropped')
        calls.push(ledger.add({ n: 1 }).then(({ count }) => counts.push(count)))
        if (i % 7 === 0) await host.pass(1)
      }
      await answers(host, calls)
      assert.deepEqual(
        counts,
        counts.map((_, i) => i + 1),
      )
      assert.equal((await answer(host, ledger.read())).count, 60)
    },
  },
  {
    name: 'effects wait for their commit and keep their order, while the next turns run',
    needs,
    run: async (host) => {
      const { ledger, heard } = await watched(host)
      const release = await host.faults!.hold()
      const order: string[] = []
      const calls = [
        ledger.add({ n: 1 }).then(({ sum }) => order.push(`add ${sum}`)),
        ledger.bump().then(({ n }) => order.push(`bump ${n}`)),
        ledger.read().then(({ sum }) => order.push(`read ${sum}`)),
        ledger.add({ n: 1 }).then(({ sum }) => order.push(`add ${sum}`)),
      ]
      await host.pass(50)
      assert.deepEqual([order, heard], [[], []])
      await release()
      await answers(host, calls)
      assert.deepEqual(order, ['add 1', 'bump 1', 'read 1', 'add 2'])
      await host.until(() => heard.length === 2, 'both events')
      assert.deepEqual(heard, [1, 2])
    },
  },
  {
    name: 'a call that comes again before its commit is known is told nothing early',
    needs,
    run: async (host) => {
      const speaker = await speak(host, 'ledger', fresh())
      const release = await host.faults!.hold()
      speaker.call(1, 1, 400, { n: 5 }).call(1, 1, 400, { n: 5 }).call(1, 1, 400, { n: 5 })
      await host.pass(50)
      assert.deepEqual([speaker.said.replies, speaker.said.acks], [[], []])
      await release()
      await host.until(() => speaker.said.replies.length === 1, 'the reply')
      speaker.call(1, 2, 402)
      await host.until(() => speaker.reply(2) !== undefined, 'the reply behind')
      assert.equal((speaker.reply(2) as { count: number }).count, 1)
    },
  },
  {
    name: 'an activation that ends while its commits are on their way says nothing of them, and the next knows all',
    needs: ['commitFaults', 'abort'],
    run: async (host) => {
      const { ledger, heard, key } = await watched(host)
      const release = await host.faults!.hold()
      const calls = [ledger.add({ n: 1 }), ledger.add({ n: 1 })]
      await host.pass(20)
      assert.deepEqual(heard, [])
      await host.abort('ledger', key)
      await release()
      const counts = (await answers(host, calls)).map(({ count }) => count)
      assert.deepEqual(counts, [1, 2])
      assert.equal((await answer(host, ledger.read())).count, 2)
    },
  },
  {
    name: 'an eviction waits for the commits that are on their way',
    needs: ['commitFaults', 'evict'],
    run: async (host) => {
      const { ledger, key } = await watched(host)
      const release = await host.faults!.hold()
      const call = ledger.put({ n: 1 })
      await host.pass(20)
      const evicted = host.evict('ledger', key)
      await host.pass(20)
      await release()
      assert.equal((await answer(host, call)).count, 1)
      await answer(host, evicted)
      assert.equal((await answer(host, ledger.read())).count, 1)
    },
  },
  {
    name: 'a timer whose commit failed fires again, and takes effect once',
    needs,
    run: async (host) => {
      const key = fresh()
      const alarm = (await host.client()).at(Alarm, key)
      const rang: string[] = []
      alarm.on('rang', ({ text }) => rang.push(text))
      await answer(host, alarm.watch())
      await answer(host, alarm.set({ name: 'ring', ms: 100, text: 'a', durable: true }))
      await host.faults!.next('failed')
      await host.until(() => rang.length > 0, 'it rings')
      await host.pass(100)
      assert.deepEqual(rang, ['a'])
      assert.deepEqual((await answer(host, alarm.fired())).rings, ['a'])
    },
  },
  {
    name: 'a shard whose call met a failed commit is told, and does not hang',
    needs,
    run: async (host) => {
      const hop = (await host.client()).at(Hop, fresh())
      await host.faults!.next('failed')
      const { error } = await answer(host, hop.vault({ n: 1 }))
      assert.match(error, /^(DEADLINE|SHARD_RESTARTED|UNAVAILABLE) /)
      assert.deepEqual(await answer(host, hop.vault({ n: 1 })), { left: 99, error: '' })
    },
  },
  {
    name: 'a legacy client whose commit failed hears nothing of it, and is answered afterwards',
    needs,
    run: async (host) => {
      const client = await host.raw()
      const desk = (await host.client()).at(Desk)
      const { sum } = await answer(host, desk.add({ n: 1 }))
      await host.faults!.next('failed')
      client.send(frame(201, { n: 1 }))
      await host.pass(50)
      assert.deepEqual(jsons(client), [])
      for (let i = 0; i < 600; i++) client.send(frame(202, { n: i }))
      client.send(frame(201, { n: 1 }))
      await host.until(() => client.frames.length === 601, 'all answers behind')
      assert.deepEqual(jsons(client)[600], [201, { sum: sum + 1 }])
    },
  },
]
