// What survives: an eviction (all but unsaved state), a reset of the shard and the death of its process (what was
// committed). And what a client notices of it: nothing that it was told before becomes untrue.

import assert from 'node:assert/strict'
import { Album, Gate, Ledger, Room } from '../contracts.ts'
import {
  awaitOn,
  awaitAllOn,
  pollUntil,
  awaitFailure,
  frame,
  uniqueName,
  callWithRetry,
  jsons,
  abortAndWaitForRestart,
  openRawSession,
  waitForTurnsAtGate,
  type Case,
} from './case.ts'

export const cases: readonly Case[] = [
  {
    name: 'rows are there after an eviction, and a deleted one is not',
    needs: ['evict'],
    run: async (host) => {
      const key = uniqueName()
      const ledger = (await host.sdkClient()).at(Ledger, key)
      const before = await awaitOn(host, ledger.add({ n: 5 }))
      await awaitOn(host, ledger.bump())
      await host.evictShard('ledger', key)
      assert.deepEqual(await awaitOn(host, ledger.read()), { ...before, bumps: 0, size: 0 })
      await awaitOn(host, ledger.forget())
      await host.evictShard('ledger', key)
      assert.equal((await awaitOn(host, ledger.read())).sum, 0)
    },
  },
  {
    name: 'state with a snapshot is there after an eviction',
    needs: ['evict'],
    run: async (host) => {
      const key = uniqueName()
      const album = (await host.sdkClient()).at(Album, key)
      for (let i = 0; i < 5; i++) await awaitOn(host, album.bump())
      await host.sleep(400)
      await host.evictShard('album', key)
      assert.deepEqual(await awaitOn(host, album.read()), { n: 5 })
    },
  },
  {
    name: 'state of its last snapshot is there after an abort',
    needs: ['abort'],
    run: async (host) => {
      const key = uniqueName()
      const album = (await host.sdkClient()).at(Album, key)
      for (let i = 0; i < 5; i++) await awaitOn(host, album.bump())
      await host.sleep(400)
      await abortAndWaitForRestart(host, 'album', key, album)
      assert.deepEqual(await awaitOn(host, album.read()), { n: 5 })
    },
  },
  {
    name: 'members are back after an eviction on the seats and in the groups they had, undisturbed',
    needs: ['evict'],
    run: async (host) => {
      const key = uniqueName()
      const clients = [await host.sdkClient(), await host.sdkClient(), await host.sdkClient()]
      const states: string[] = []
      const heard: string[][] = [[], [], []]
      for (const [i, client] of clients.entries()) {
        client.on('state', (state) => states.push(state))
        client.at(Room, key).on('said', ({ text }) => heard[i]!.push(text))
        await awaitOn(host, client.at(Room, key).join({ groups: i === 1 ? ['red'] : [] }))
      }
      await awaitOn(host, clients[0]!.at(Room, key).leave({ groups: [] }))
      await host.evictShard('room', key)
      await awaitOn(host, clients[2]!.at(Room, key).say({ text: 'all' }))
      await awaitOn(host, clients[2]!.at(Room, key).group({ group: 'red', text: 'red' }))
      await host.waitUntil(() => heard[1]!.length === 2 && heard[2]!.length === 1, 'events go on')
      const seats = []
      for (const client of clients) seats.push((await awaitOn(host, client.at(Room, key).who())).seat)
      assert.deepEqual(seats, [-1, 1, 2])
      assert.deepEqual(heard, [[], ['all', 'red'], ['all']])
      const { size, lines } = await awaitOn(host, clients[0]!.at(Room, key).who())
      assert.equal(size, 2)
      assert.deepEqual([...lines].sort(), ['back 1', 'back 2'])
      assert.deepEqual(states, [])
      assert.equal((await awaitOn(host, clients[0]!.at(Room, key).join({ groups: [] }))).seat, 0)
    },
  },
  {
    name: 'events go on after several evictions, also to a member that never speaks',
    needs: ['evict'],
    run: async (host) => {
      const key = uniqueName()
      const [quiet, loud] = [await host.sdkClient(), await host.sdkClient()]
      const heard: string[] = []
      quiet.at(Room, key).on('said', ({ text }) => heard.push(text))
      await awaitOn(host, quiet.at(Room, key).join({ groups: [] }))
      for (let i = 0; i < 3; i++) {
        await host.evictShard('room', key)
        await awaitOn(host, loud.at(Room, key).say({ text: String(i) }))
      }
      await host.waitUntil(() => heard.length === 3, 'all events')
      assert.deepEqual(heard, ['0', '1', '2'])
    },
  },
  {
    name: 'an eviction while a turn waits loses no answer',
    needs: ['evict'],
    run: async (host) => {
      const [key, gate] = [uniqueName(), uniqueName('gate')]
      const client = await host.sdkClient()
      const held = client.at(Ledger, key).slowAdd({ n: 3, gate })
      const behind = client.at(Ledger, key).add({ n: 4 })
      await waitForTurnsAtGate(host, client.at(Gate), gate)
      const evicted = host.evictShard('ledger', key).catch(() => {})
      await awaitOn(host, client.at(Gate).open({ name: gate }))
      const [first, second] = await awaitAllOn(host, [held, behind])
      await awaitOn(host, evicted)
      assert.deepEqual([first!.sum, second!.sum], [3, 7])
      assert.equal((await awaitOn(host, client.at(Ledger, key).read())).count, 2)
    },
  },
  {
    name: 'rows are there after an abort, and state is new',
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
    name: 'the number of the activation rises with every life',
    needs: ['abort'],
    run: async (host) => {
      const key = uniqueName()
      const speaker = await openRawSession(host, 'room', key)
      for (let i = 1; i <= 3; i++) {
        await host.abortShard('room', key)
        await host.waitUntil(() => speaker.received.opened.length === i + 1, 'OPENED again')
      }
      const numbers = speaker.received.opened.map(({ activation }) => activation)
      assert.deepEqual(
        numbers,
        [...new Set(numbers)].sort((a, b) => a - b),
      )
    },
  },
  {
    name: 'a volatile call that an abort met fails with SHARD_RESTARTED',
    needs: ['abort'],
    run: async (host) => {
      const [key, gate] = [uniqueName(), uniqueName('gate')]
      const client = await host.sdkClient()
      const held = client.at(Room, key).slow({ tag: 'held', gate })
      const behind = client.at(Room, key).echo({ text: 'behind' })
      const codes = Promise.all([awaitFailure(host, held), awaitFailure(host, behind)])
      await waitForTurnsAtGate(host, client.at(Gate), gate)
      await host.abortShard('room', key)
      assert.deepEqual(
        (await codes).map(({ code }) => code),
        ['SHARD_RESTARTED', 'SHARD_RESTARTED'],
      )
      await awaitOn(host, client.at(Gate).open({ name: gate }))
      assert.deepEqual((await awaitOn(host, client.at(Room, key).who())).lines, [])
    },
  },
  {
    name: 'a service whose activation ended goes on answering those who are connected',
    needs: ['abort'],
    run: async (host) => {
      const gates = (await host.sdkClient()).at(Gate)
      assert.deepEqual(await awaitOn(host, gates.ping({ n: 1 })), { n: 1 })
      await host.abortShard('gate', '')
      // A call that comes before the client knows of it may be lost, as any volatile one.
      const ping = (): Promise<{ n: number }> => gates.ping({ n: 2 })
      assert.deepEqual(await awaitOn(host, ping().catch(ping)), { n: 2 })
    },
  },
  {
    name: 'a durable call that an abort met is sent again and applied once, and what is behind it after it',
    needs: ['abort'],
    run: async (host) => {
      const [key, gate] = [uniqueName(), uniqueName('gate')]
      const client = await host.sdkClient()
      const ledger = client.at(Ledger, key)
      const calls = [ledger.add({ n: 1 }), ledger.slowAdd({ n: 2, gate }), ledger.add({ n: 4 })]
      const resent = ledger.again()
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
    name: 'durable calls and casts under repeated aborts are each applied once',
    needs: ['abort'],
    run: async (host) => {
      const key = uniqueName()
      const ledger = (await host.sdkClient()).at(Ledger, key)
      const calls = []
      for (let i = 0; i < 100; i++) {
        if (i % 4 === 3) ledger.quiet({ n: 1 })
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
    name: 'a legacy connection outlives an abort',
    needs: ['abort'],
    run: async (host) => {
      const client = await host.rawClient()
      client.send(frame(202, { n: 1 }))
      await host.waitUntil(() => client.frames.length === 1, 'a reply')
      await host.abortShard('desk', 'main')
      client.send(frame(202, { n: 2 }))
      await host.waitUntil(() => client.frames.length === 2, 'a reply of the next life')
      assert.deepEqual(jsons(client)[1], [202, { n: 2 }])
      assert.equal(client.isClosed, false)
    },
  },
  {
    name: 'members are back after an abort, and hear events',
    needs: ['abort'],
    run: async (host) => {
      const key = uniqueName()
      const clients = [await host.sdkClient(), await host.sdkClient()]
      const heard: string[] = []
      for (const client of clients) await awaitOn(host, client.at(Room, key).join({ groups: ['red'] }))
      clients[1]!.at(Room, key).on('said', ({ text }) => heard.push(text))
      await abortAndWaitForRestart(host, 'room', key, clients[0]!.at(Room, key))
      // A link is opened again by itself; until then its member is not there.
      const ask = (): Promise<{ size: number }> => clients[0]!.at(Room, key).who()
      await pollUntil(host, ask, ({ size }) => size === 2, 'both members are back')
      await awaitOn(host, clients[0]!.at(Room, key).group({ group: 'red', text: 'again' }))
      await host.waitUntil(() => heard.length === 1, 'the event')
      assert.equal((await awaitOn(host, clients[1]!.at(Room, key).who())).seat, 1)
    },
  },
  {
    name: 'a death between commit and reply is one effect, and the reply is the committed one',
    needs: ['doom'],
    run: async (host) => {
      const key = uniqueName()
      const ledger = (await host.sdkClient()).at(Ledger, key)
      await awaitOn(host, ledger.add({ n: 1 }))
      const reply = await awaitOn(host, ledger.doom({ n: 10 }), 'the committed reply')
      assert.deepEqual([reply.sum, reply.count], [11, 2])
      assert.deepEqual(await callWithRetry(host, () => ledger.read()), { ...reply, bumps: 0, size: 0 })
      assert.equal((await awaitOn(host, ledger.add({ n: 1 }))).count, 3)
    },
  },
  {
    name: 'what was acknowledged is there after the death of the process',
    needs: ['kill'],
    run: async (host) => {
      const client = await host.sdkClient()
      const ledgers = Array.from({ length: 8 }, () => client.at(Ledger, uniqueName()))
      const told = await awaitAllOn(
        host,
        ledgers.map((ledger) => ledger.add({ n: 9 })),
      )
      await host.killProcess!()
      const found = []
      for (const ledger of ledgers) found.push(await callWithRetry(host, () => ledger.read()))
      assert.deepEqual(
        found.map(({ sum, luck, count }) => ({ sum, luck, count })),
        told,
      )
    },
  },
  {
    name: 'durable calls on their way while the process dies are each applied once',
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
      assert.deepEqual(
        counts,
        counts.map((_, i) => i + 1),
      )
      assert.equal((await callWithRetry(host, () => ledger.read())).sum, 240)
    },
  },
]
