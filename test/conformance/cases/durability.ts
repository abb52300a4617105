// What survives an eviction (everything except unsaved state), and a reset of the shard or the end of its process (what
// was committed). Invariant: nothing that a client received before becomes wrong.

import assert from 'node:assert/strict'
import { Snapshots, Gate, Ledger, Room } from '../contracts.ts'
import {
  assertConsecutive,
  awaitOn,
  awaitAllOn,
  pollUntil,
  awaitFailure,
  frame,
  uniqueName,
  callWithRetry,
  waitForJsons,
  abortAndWaitForRestart,
  openRawSession,
  waitForTurnsAtGate,
  type Case,
} from './case.ts'

export const cases: readonly Case[] = [
  {
    name: 'stored values survive an eviction, and a deleted value stays deleted',
    needs: ['evict'],
    run: async (host) => {
      const key = uniqueName()
      const ledger = (await host.sdkClient()).at(Ledger, key)
      const before = await awaitOn(host, ledger.add({ n: 5 }))
      await awaitOn(host, ledger.bump())
      await host.evictShard('ledger', key)
      assert.deepEqual(await awaitOn(host, ledger.read()), { ...before, bumps: 0, size: 0 })
      await awaitOn(host, ledger.deleteSum())
      await host.evictShard('ledger', key)
      assert.equal((await awaitOn(host, ledger.read())).sum, 0)
    },
  },
  {
    name: 'state with a snapshot survives an eviction',
    needs: ['evict'],
    run: async (host) => {
      const key = uniqueName()
      const snapshots = (await host.sdkClient()).at(Snapshots, key)
      for (let i = 0; i < 5; i++) await awaitOn(host, snapshots.bump())
      await host.sleep(400)
      await host.evictShard('snapshots', key)
      assert.deepEqual(await awaitOn(host, snapshots.read()), { n: 5 })
    },
  },
  {
    name: 'the state of the last snapshot survives an abort',
    needs: ['abort'],
    run: async (host) => {
      const key = uniqueName()
      const snapshots = (await host.sdkClient()).at(Snapshots, key)
      for (let i = 0; i < 5; i++) await awaitOn(host, snapshots.bump())
      await host.sleep(400)
      await abortAndWaitForRestart(host, 'snapshots', key, snapshots)
      assert.deepEqual(await awaitOn(host, snapshots.read()), { n: 5 })
    },
  },
  {
    name: 'after an eviction members have their seats and groups again, without a state change of their clients',
    needs: ['evict'],
    run: async (host) => {
      const key = uniqueName()
      const clients = [await host.sdkClient(), await host.sdkClient(), await host.sdkClient()]
      const states: string[] = []
      const received: string[][] = [[], [], []]
      for (const [i, client] of clients.entries()) {
        client.on('state', (state) => states.push(state))
        client.at(Room, key).on('message', ({ text }) => received[i]!.push(text))
        await awaitOn(host, client.at(Room, key).join({ groups: i === 1 ? ['red'] : [] }))
      }
      await awaitOn(host, clients[0]!.at(Room, key).leave({ groups: [] }))
      await host.evictShard('room', key)
      await awaitOn(host, clients[2]!.at(Room, key).say({ text: 'all' }))
      await awaitOn(host, clients[2]!.at(Room, key).sayToGroup({ group: 'red', text: 'red' }))
      await host.waitUntil(() => received[1]!.length === 2 && received[2]!.length === 1, 'the events')
      const seats = []
      for (const client of clients) seats.push((await awaitOn(host, client.at(Room, key).info())).seat)
      assert.deepEqual(seats, [-1, 1, 2])
      assert.deepEqual(received, [[], ['all', 'red'], ['all']])
      const { size, lines } = await awaitOn(host, clients[0]!.at(Room, key).info())
      assert.equal(size, 2)
      assert.deepEqual([...lines].sort(), ['back 1', 'back 2'])
      assert.deepEqual(states, [])
      assert.equal((await awaitOn(host, clients[0]!.at(Room, key).join({ groups: [] }))).seat, 0)
    },
  },
  {
    name: 'a member that sends nothing receives events after several evictions',
    needs: ['evict'],
    run: async (host) => {
      const key = uniqueName()
      const [quiet, sender] = [await host.sdkClient(), await host.sdkClient()]
      const received: string[] = []
      quiet.at(Room, key).on('message', ({ text }) => received.push(text))
      await awaitOn(host, quiet.at(Room, key).join({ groups: [] }))
      for (let i = 0; i < 3; i++) {
        await host.evictShard('room', key)
        await awaitOn(host, sender.at(Room, key).say({ text: String(i) }))
      }
      await host.waitUntil(() => received.length === 3, 'all events')
      assert.deepEqual(received, ['0', '1', '2'])
    },
  },
  {
    name: 'an eviction during a waiting turn loses no reply',
    needs: ['evict'],
    run: async (host) => {
      const [key, gate] = [uniqueName(), uniqueName('gate')]
      const client = await host.sdkClient()
      const calls = [client.at(Ledger, key).addAfterGate({ n: 3, gate }), client.at(Ledger, key).add({ n: 4 })]
      await waitForTurnsAtGate(host, client.at(Gate), gate)
      const evicted = host.evictShard('ledger', key).catch(() => {})
      await awaitOn(host, client.at(Gate).open({ name: gate }))
      const [first, second] = await awaitAllOn(host, calls)
      await awaitOn(host, evicted)
      assert.deepEqual([first!.sum, second!.sum], [3, 7])
      assert.equal((await awaitOn(host, client.at(Ledger, key).read())).count, 2)
    },
  },
  {
    name: 'stored values survive an abort, and volatile state is reset',
    needs: ['abort'],
    run: async (host) => {
      const key = uniqueName()
      const ledger = (await host.sdkClient()).at(Ledger, key)
      const before = await awaitOn(host, ledger.add({ n: 5 }))
      await awaitOn(host, ledger.bump())
      await abortAndWaitForRestart(host, 'ledger', key, ledger)
      assert.deepEqual(await awaitOn(host, ledger.read()), { ...before, bumps: 0, size: 0 })
    },
  },
  {
    name: 'activation numbers rise',
    needs: ['abort'],
    run: async (host) => {
      const key = uniqueName()
      const session = await openRawSession(host, 'room', key)
      for (let i = 1; i <= 3; i++) {
        await host.abortShard('room', key)
        await session.waitFor('opened', i + 1)
      }
      const numbers = session.received.opened.map(({ activation }) => activation)
      assert.deepEqual(
        numbers,
        [...new Set(numbers)].sort((a, b) => a - b),
      )
    },
  },
  {
    name: 'volatile calls that an abort interrupts fail with SHARD_RESTARTED',
    needs: ['abort'],
    run: async (host) => {
      const [key, gate] = [uniqueName(), uniqueName('gate')]
      const client = await host.sdkClient()
      const running = client.at(Room, key).slow({ tag: 'running', gate })
      const queued = client.at(Room, key).echo({ text: 'queued' })
      const failures = Promise.all([awaitFailure(host, running), awaitFailure(host, queued)])
      await waitForTurnsAtGate(host, client.at(Gate), gate)
      await host.abortShard('room', key)
      assert.deepEqual(
        (await failures).map(({ code }) => code),
        ['SHARD_RESTARTED', 'SHARD_RESTARTED'],
      )
      await awaitOn(host, client.at(Gate).open({ name: gate }))
      assert.deepEqual((await awaitOn(host, client.at(Room, key).info())).lines, [])
    },
  },
  {
    name: 'a service replies to connected clients after its activation ended',
    needs: ['abort'],
    run: async (host) => {
      const gates = (await host.sdkClient()).at(Gate)
      assert.deepEqual(await awaitOn(host, gates.ping({ n: 1 })), { n: 1 })
      await host.abortShard('gate', '')
      // A volatile call that is sent before the client receives the new activation may be lost.
      const ping = (): Promise<{ n: number }> => gates.ping({ n: 2 })
      assert.deepEqual(await awaitOn(host, ping().catch(ping)), { n: 2 })
    },
  },
  {
    name: 'a durable call that an abort interrupts is resent and applied once, and later calls run after it',
    needs: ['abort'],
    run: async (host) => {
      const [key, gate] = [uniqueName(), uniqueName('gate')]
      const client = await host.sdkClient()
      const ledger = client.at(Ledger, key)
      const calls = [ledger.add({ n: 1 }), ledger.addAfterGate({ n: 2, gate }), ledger.add({ n: 4 })]
      const resent = ledger.bumpWithResend()
      await waitForTurnsAtGate(host, client.at(Gate), gate)
      await host.abortShard('ledger', key)
      await awaitOn(host, client.at(Gate).open({ name: gate }))
      const sums = (await awaitAllOn(host, calls)).map(({ sum }) => sum)
      assert.deepEqual(sums, [1, 3, 7])
      assert.deepEqual(await awaitOn(host, resent), { n: 1 })
      assert.equal((await awaitOn(host, ledger.read())).count, 3)
    },
  },
  {
    name: 'durable calls and casts are each applied once despite repeated aborts',
    needs: ['abort'],
    run: async (host) => {
      const key = uniqueName()
      const ledger = (await host.sdkClient()).at(Ledger, key)
      const calls = []
      for (let i = 0; i < 100; i++) {
        if (i % 4 === 3) ledger.addNoReply({ n: 1 })
        else calls.push(ledger.add({ n: 1 }))
        if (i % 20 === 10) await host.abortShard('ledger', key)
      }
      const replies = await awaitAllOn(host, calls)
      assert.equal(new Set(replies.map(({ count }) => count)).size, 75)
      const { sum, count } = await awaitOn(host, ledger.read())
      assert.deepEqual({ sum, count }, { sum: 100, count: 100 })
    },
  },
  {
    name: 'a legacy connection stays open during an abort',
    needs: ['abort'],
    run: async (host) => {
      const client = await host.rawClient()
      client.send(frame(202, { n: 1 }))
      await host.waitUntil(() => client.frames.length === 1, 'a reply')
      await host.abortShard('desk', 'main')
      client.send(frame(202, { n: 2 }))
      assert.deepEqual((await waitForJsons(host, client, 2))[1], [202, { n: 2 }])
      assert.equal(client.isClosed, false)
    },
  },
  {
    name: 'after an abort members are members again and receive events',
    needs: ['abort'],
    run: async (host) => {
      const key = uniqueName()
      const clients = [await host.sdkClient(), await host.sdkClient()]
      const received: string[] = []
      for (const client of clients) await awaitOn(host, client.at(Room, key).join({ groups: ['red'] }))
      clients[1]!.at(Room, key).on('message', ({ text }) => received.push(text))
      await abortAndWaitForRestart(host, 'room', key, clients[0]!.at(Room, key))
      // A member joins again when its link reopens.
      const info = (): Promise<{ size: number }> => clients[0]!.at(Room, key).info()
      await pollUntil(host, info, ({ size }) => size === 2, 'both members are back')
      await awaitOn(host, clients[0]!.at(Room, key).sayToGroup({ group: 'red', text: 'again' }))
      await host.waitUntil(() => received.length === 1, 'the event')
      assert.equal((await awaitOn(host, clients[1]!.at(Room, key).info())).seat, 1)
    },
  },
  {
    name: 'a crash between commit and reply gives one effect and the committed reply',
    needs: ['crashAfterCommit'],
    run: async (host) => {
      const key = uniqueName()
      const ledger = (await host.sdkClient()).at(Ledger, key)
      await awaitOn(host, ledger.add({ n: 1 }))
      const reply = await awaitOn(host, ledger.addThenCrash({ n: 10 }), 'the committed reply')
      assert.deepEqual([reply.sum, reply.count], [11, 2])
      assert.deepEqual(await callWithRetry(host, () => ledger.read()), { ...reply, bumps: 0, size: 0 })
      assert.equal((await awaitOn(host, ledger.add({ n: 1 }))).count, 3)
    },
  },
  {
    name: 'acknowledged calls survive a killed process',
    needs: ['kill'],
    run: async (host) => {
      const client = await host.sdkClient()
      const ledgers = Array.from({ length: 8 }, () => client.at(Ledger, uniqueName()))
      const replies = await awaitAllOn(
        host,
        ledgers.map((ledger) => ledger.add({ n: 9 })),
      )
      await host.killProcess!()
      const stored = []
      for (const ledger of ledgers) stored.push(await callWithRetry(host, () => ledger.read()))
      assert.deepEqual(
        stored.map(({ sum, luck, count }) => ({ sum, luck, count })),
        replies,
      )
    },
  },
  {
    name: 'durable calls in flight while the process is killed are each applied once',
    needs: ['kill'],
    run: async (host) => {
      const client = await host.sdkClient()
      const ledger = client.at(Ledger, uniqueName())
      const counts: number[] = []
      const calls: Promise<unknown>[] = []
      for (let i = 0; i < 240; i++) {
        calls.push(ledger.add({ n: 1 }).then(({ count }) => counts.push(count)))
        if (i % 60 === 0) await host.sleep(1)
        if (i === 100) await host.killProcess!()
      }
      await awaitAllOn(host, calls)
      assertConsecutive(counts)
      assert.equal((await callWithRetry(host, () => ledger.read())).sum, 240)
    },
  },
]
