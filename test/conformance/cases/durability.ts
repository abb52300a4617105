// What survives: an eviction (all but unsaved state), a reset of the shard and the death of its process (what was
// committed). And what a client notices of it: nothing that it was told before becomes untrue.

import assert from 'node:assert/strict'
import { Album, Gate, Ledger, Room } from '../contracts.ts'
import {
  answer,
  answers,
  eventually,
  failure,
  frame,
  fresh,
  insist,
  jsons,
  reset,
  speak,
  waiting,
  type Case,
} from './probe.ts'

export const cases: readonly Case[] = [
  {
    name: 'rows are there after an eviction, and a deleted one is not',
    needs: ['evict'],
    run: async (host) => {
      const key = fresh()
      const ledger = (await host.client()).at(Ledger, key)
      const before = await answer(host, ledger.add({ n: 5 }))
      await answer(host, ledger.bump())
      await host.evict('ledger', key)
      assert.deepEqual(await answer(host, ledger.read()), { ...before, bumps: 0, size: 0 })
      await answer(host, ledger.forget())
      await host.evict('ledger', key)
      assert.equal((await answer(host, ledger.read())).sum, 0)
    },
  },
  {
    name: 'state with a snapshot is there after an eviction',
    needs: ['evict'],
    run: async (host) => {
      const key = fresh()
      const album = (await host.client()).at(Album, key)
      for (let i = 0; i < 5; i++) await answer(host, album.bump())
      await host.pass(400)
      await host.evict('album', key)
      assert.deepEqual(await answer(host, album.read()), { n: 5 })
    },
  },
  {
    name: 'state of its last snapshot is there after an abort',
    needs: ['abort'],
    run: async (host) => {
      const key = fresh()
      const album = (await host.client()).at(Album, key)
      for (let i = 0; i < 5; i++) await answer(host, album.bump())
      await host.pass(400)
      await reset(host, 'album', key, album)
      assert.deepEqual(await answer(host, album.read()), { n: 5 })
    },
  },
  {
    name: 'members are back after an eviction on the seats and in the groups they had, undisturbed',
    needs: ['evict'],
    run: async (host) => {
      const key = fresh()
      const clients = [await host.client(), await host.client(), await host.client()]
      const states: string[] = []
      const heard: string[][] = [[], [], []]
      for (const [i, client] of clients.entries()) {
        client.on('state', (state) => states.push(state))
        client.at(Room, key).on('said', ({ text }) => heard[i]!.push(text))
        await answer(host, client.at(Room, key).join({ groups: i === 1 ? ['red'] : [] }))
      }
      await answer(host, clients[0]!.at(Room, key).leave({ groups: [] }))
      await host.evict('room', key)
      await answer(host, clients[2]!.at(Room, key).say({ text: 'all' }))
      await answer(host, clients[2]!.at(Room, key).group({ group: 'red', text: 'red' }))
      await host.until(() => heard[1]!.length === 2 && heard[2]!.length === 1, 'events go on')
      const seats = []
      for (const client of clients) seats.push((await answer(host, client.at(Room, key).who())).seat)
      assert.deepEqual(seats, [-1, 1, 2])
      assert.deepEqual(heard, [[], ['all', 'red'], ['all']])
      const { size, lines } = await answer(host, clients[0]!.at(Room, key).who())
      assert.equal(size, 2)
      assert.deepEqual([...lines].sort(), ['back 1', 'back 2'])
      assert.deepEqual(states, [])
      assert.equal((await answer(host, clients[0]!.at(Room, key).join({ groups: [] }))).seat, 0)
    },
  },
  {
    name: 'events go on after several evictions, also to a member that never speaks',
    needs: ['evict'],
    run: async (host) => {
      const key = fresh()
      const [quiet, loud] = [await host.client(), await host.client()]
      const heard: string[] = []
      quiet.at(Room, key).on('said', ({ text }) => heard.push(text))
      await answer(host, quiet.at(Room, key).join({ groups: [] }))
      for (let i = 0; i < 3; i++) {
        await host.evict('room', key)
        await answer(host, loud.at(Room, key).say({ text: String(i) }))
      }
      await host.until(() => heard.length === 3, 'all events')
      assert.deepEqual(heard, ['0', '1', '2'])
    },
  },
  {
    name: 'an eviction while a turn waits loses no answer',
    needs: ['evict'],
    run: async (host) => {
      const [key, gate] = [fresh(), fresh('gate')]
      const client = await host.client()
      const held = client.at(Ledger, key).slowAdd({ n: 3, gate })
      const behind = client.at(Ledger, key).add({ n: 4 })
      await waiting(host, client.at(Gate), gate)
      const evicted = host.evict('ledger', key).catch(() => {})
      await answer(host, client.at(Gate).open({ name: gate }))
      const [first, second] = await answers(host, [held, behind])
      await answer(host, evicted)
      assert.deepEqual([first!.sum, second!.sum], [3, 7])
      assert.equal((await answer(host, client.at(Ledger, key).read())).count, 2)
    },
  },
  {
    name: 'rows are there after an abort, and state is new',
    needs: ['abort'],
    run: async (host) => {
      const key = fresh()
      const ledger = (await host.client()).at(Ledger, key)
      const before = await answer(host, ledger.add({ n: 5 }))
      await answer(host, ledger.bump())
      await reset(host, 'ledger', key, ledger)
      assert.deepEqual(await answer(host, ledger.read()), { ...before, bumps: 0, size: 0 })
    },
  },
  {
    name: 'the number of the activation rises with every life',
    needs: ['abort'],
    run: async (host) => {
      const key = fresh()
      const speaker = await speak(host, 'room', key)
      for (let i = 1; i <= 3; i++) {
        await host.abort('room', key)
        await host.until(() => speaker.said.opened.length === i + 1, 'OPENED again')
      }
      const numbers = speaker.said.opened.map(({ activation }) => activation)
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
      const [key, gate] = [fresh(), fresh('gate')]
      const client = await host.client()
      const held = client.at(Room, key).slow({ tag: 'held', gate })
      const behind = client.at(Room, key).echo({ text: 'behind' })
      const codes = Promise.all([failure(host, held), failure(host, behind)])
      await waiting(host, client.at(Gate), gate)
      await host.abort('room', key)
      assert.deepEqual(
        (await codes).map(({ code }) => code),
        ['SHARD_RESTARTED', 'SHARD_RESTARTED'],
      )
      await answer(host, client.at(Gate).open({ name: gate }))
      assert.deepEqual((await answer(host, client.at(Room, key).who())).lines, [])
    },
  },
  {
    name: 'a service whose activation ended goes on answering those who are connected',
    needs: ['abort'],
    run: async (host) => {
      const gates = (await host.client()).at(Gate)
      assert.deepEqual(await answer(host, gates.ping({ n: 1 })), { n: 1 })
      await host.abort('gate', '')
      // A call that comes before the client knows of it may be lost, as any volatile one.
      const ping = (): Promise<{ n: number }> => gates.ping({ n: 2 })
      assert.deepEqual(await answer(host, ping().catch(ping)), { n: 2 })
    },
  },
  {
    name: 'a durable call that an abort met is sent again and applied once, and what is behind it after it',
    needs: ['abort'],
    run: async (host) => {
      const [key, gate] = [fresh(), fresh('gate')]
      const client = await host.client()
      const ledger = client.at(Ledger, key)
      const calls = [ledger.add({ n: 1 }), ledger.slowAdd({ n: 2, gate }), ledger.add({ n: 4 })]
      const resent = ledger.again()
      await waiting(host, client.at(Gate), gate)
      await host.abort('ledger', key)
      await answer(host, client.at(Gate).open({ name: gate }))
      const sums = (await answers(host, calls)).map(({ sum }) => sum)
      assert.deepEqual(sums, [1, 3, 7])
      assert.deepEqual(await answer(host, resent), { n: 1 })
      assert.equal((await answer(host, ledger.read())).count, 3)
    },
  },
  {
    name: 'durable calls and casts under repeated aborts are each applied once',
    needs: ['abort'],
    run: async (host) => {
      const key = fresh()
      const ledger = (await host.client()).at(Ledger, key)
      const calls = []
      for (let i = 0; i < 100; i++) {
        if (i % 4 === 3) ledger.quiet({ n: 1 })
        else calls.push(ledger.add({ n: 1 }))
        if (i % 20 === 10) await host.abort('ledger', key)
      }
      const replies = await answers(host, calls)
      assert.equal(new Set(replies.map(({ count }) => count)).size, 75)
      const { sum, count } = await answer(host, ledger.read())
      assert.deepEqual({ sum, count }, { sum: 100, count: 100 })
    },
  },
  {
    name: 'a legacy connection outlives an abort',
    needs: ['abort'],
    run: async (host) => {
      const client = await host.raw()
      client.send(frame(202, { n: 1 }))
      await host.until(() => client.frames.length === 1, 'a reply')
      await host.abort('desk', 'main')
      client.send(frame(202, { n: 2 }))
      await host.until(() => client.frames.length === 2, 'a reply of the next life')
      assert.deepEqual(jsons(client)[1], [202, { n: 2 }])
      assert.equal(client.closed, false)
    },
  },
  {
    name: 'members are back after an abort, and hear events',
    needs: ['abort'],
    run: async (host) => {
      const key = fresh()
      const clients = [await host.client(), await host.client()]
      const heard: string[] = []
      for (const client of clients) await answer(host, client.at(Room, key).join({ groups: ['red'] }))
      clients[1]!.at(Room, key).on('said', ({ text }) => heard.push(text))
      await reset(host, 'room', key, clients[0]!.at(Room, key))
      // A link is opened again by itself; until then its member is not there.
      const ask = (): Promise<{ size: number }> => clients[0]!.at(Room, key).who()
      await eventually(host, ask, ({ size }) => size === 2, 'both members are back')
      await answer(host, clients[0]!.at(Room, key).group({ group: 'red', text: 'again' }))
      await host.until(() => heard.length === 1, 'the event')
      assert.equal((await answer(host, clients[1]!.at(Room, key).who())).seat, 1)
    },
  },
  {
    name: 'a death between commit and reply is one effect, and the reply is the committed one',
    needs: ['doom'],
    run: async (host) => {
      const key = fresh()
      const ledger = (await host.client()).at(Ledger, key)
      await answer(host, ledger.add({ n: 1 }))
      const reply = await answer(host, ledger.doom({ n: 10 }), 'the committed reply')
      assert.deepEqual([reply.sum, reply.count], [11, 2])
      assert.deepEqual(await insist(host, () => ledger.read()), { ...reply, bumps: 0, size: 0 })
      assert.equal((await answer(host, ledger.add({ n: 1 }))).count, 3)
    },
  },
  {
    name: 'what was acknowledged is there after the death of the process',
    needs: ['kill'],
    run: async (host) => {
      const client = await host.client()
      const ledgers = Array.from({ length: 8 }, () => client.at(Ledger, fresh()))
      const told = await answers(
        host,
        ledgers.map((ledger) => ledger.add({ n: 9 })),
      )
      await host.kill!()
      const found = []
      for (const ledger of ledgers) found.push(await insist(host, () => ledger.read()))
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
      const client = await host.client()
      const ledger = client.at(Ledger, fresh())
      const counts: number[] = []
      const calls: Promise<unknown>[] = []
      for (let i = 0; i < 240; i++) {
        calls.push(ledger.add({ n: 1 }).then(({ count }) => counts.push(count)))
        if (i % 60 === 0) await host.pass(1)
        if (i === 100) await host.kill!()
      }
      await answers(host, calls)
      assert.deepEqual(
        counts,
        counts.map((_, i) => i + 1),
      )
      assert.equal((await insist(host, () => ledger.read())).sum, 240)
    },
  },
]
