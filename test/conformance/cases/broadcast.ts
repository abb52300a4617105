// Events: who hears them, in what order, and who sits where.

import assert from 'node:assert/strict'
import { Gate, Room } from '../contracts.ts'
import type { Host } from '../host.ts'
import {
  awaitOn,
  awaitFailure,
  frame,
  uniqueName,
  jsons,
  openRawSession,
  texts,
  waitForTurnsAtGate,
  type Case,
} from './case.ts'

interface RoomClient {
  readonly room: ReturnType<typeof roomOf>
  readonly texts: string[]
  readonly leftSeats: number[]
  readonly seat: number
  leave(): void
}
function roomOf(client: Awaited<ReturnType<Host['sdkClient']>>, key: string) {
  return client.at(Room, key)
}

/** A client in the room; `groups` null = it listens without being a member. */
async function joinRoom(host: Host, key: string, groups: string[] | null = []): Promise<RoomClient> {
  const client = await host.sdkClient()
  const room = roomOf(client, key)
  const heard: string[] = []
  const left: number[] = []
  room.on('said', ({ text }) => heard.push(text))
  room.on('left', ({ seat }) => left.push(seat))
  const seat = groups ? (await awaitOn(host, room.join({ groups }))).seat : -1
  if (!groups) await awaitOn(host, room.who())
  return { room, texts: heard, leftSeats: left, seat, leave: () => void client.close() }
}

/** Everybody has heard whatever was sent before. */
async function waitForAllEvents(host: Host, clients: readonly RoomClient[]): Promise<void> {
  for (const { room } of clients) await awaitOn(host, room.push({ texts: ['|'] }))
  await host.waitUntil(() => clients.every(({ texts: heard }) => heard.at(-1) === '|'), 'everybody hears the mark')
  for (const { texts: heard } of clients) heard.pop()
}

export const cases: readonly Case[] = [
  {
    name: 'a broadcast reaches every member, the sender too, and nobody else',
    run: async (host) => {
      const key = uniqueName()
      const all = [await joinRoom(host, key), await joinRoom(host, key), await joinRoom(host, key, null)]
      await awaitOn(host, all[0]!.room.say({ text: 'hello' }))
      await awaitOn(host, all[2]!.room.say({ text: 'from outside' }))
      await waitForAllEvents(host, all)
      assert.deepEqual(
        all.map(({ texts: heard }) => heard),
        [['hello', 'from outside'], ['hello', 'from outside'], []],
      )
    },
  },
  {
    name: 'others are all members but the sender',
    run: async (host) => {
      const key = uniqueName()
      const all = [await joinRoom(host, key), await joinRoom(host, key), await joinRoom(host, key)]
      await awaitOn(host, all[1]!.room.others({ text: 'psst' }))
      await waitForAllEvents(host, all)
      assert.deepEqual(
        all.map(({ texts: heard }) => heard),
        [['psst'], [], ['psst']],
      )
    },
  },
  {
    name: 'an event to a seat reaches who sits there, and to an empty seat nobody',
    run: async (host) => {
      const key = uniqueName()
      const all = [await joinRoom(host, key), await joinRoom(host, key)]
      await awaitOn(host, all[0]!.room.seat({ seat: all[1]!.seat, text: 'you' }))
      await awaitOn(host, all[0]!.room.seat({ seat: 99, text: 'nobody' }))
      await waitForAllEvents(host, all)
      assert.deepEqual(
        all.map(({ texts: heard }) => heard),
        [[], ['you']],
      )
    },
  },
  {
    name: 'an event to a group reaches its members only, and an unknown group nobody',
    run: async (host) => {
      const key = uniqueName()
      const all = [
        await joinRoom(host, key, ['red']),
        await joinRoom(host, key, ['blue']),
        await joinRoom(host, key, ['red', 'blue']),
      ]
      await awaitOn(host, all[0]!.room.group({ group: 'red', text: 'red' }))
      await awaitOn(host, all[0]!.room.group({ group: 'blue', text: 'blue' }))
      await awaitOn(host, all[0]!.room.group({ group: 'green', text: 'green' }))
      await waitForAllEvents(host, all)
      assert.deepEqual(
        all.map(({ texts: heard }) => heard),
        [['red'], ['blue'], ['red', 'blue']],
      )
    },
  },
  {
    name: 'a member may add groups and leave some, and is a member still',
    run: async (host) => {
      const key = uniqueName()
      const one = await joinRoom(host, key, ['red'])
      assert.deepEqual(await awaitOn(host, one.room.join({ groups: ['blue'] })), { seat: 0, size: 1 })
      assert.deepEqual(await awaitOn(host, one.room.leave({ groups: ['red'] })), { size: 1 })
      await awaitOn(host, one.room.group({ group: 'red', text: 'red' }))
      await awaitOn(host, one.room.group({ group: 'blue', text: 'blue' }))
      await awaitOn(host, one.room.say({ text: 'all' }))
      await waitForAllEvents(host, [one])
      assert.deepEqual(one.texts, ['blue', 'all'])
    },
  },
  {
    name: 'who left hears no more, and comes back without its old groups',
    run: async (host) => {
      const key = uniqueName()
      const [one, two] = [await joinRoom(host, key, ['red']), await joinRoom(host, key)]
      assert.deepEqual(await awaitOn(host, one.room.leave({ groups: [] })), { size: 1 })
      await awaitOn(host, two.room.say({ text: 'missed' }))
      await awaitOn(host, one.room.join({ groups: [] }))
      await awaitOn(host, two.room.group({ group: 'red', text: 'red' }))
      await awaitOn(host, two.room.say({ text: 'heard' }))
      await waitForAllEvents(host, [one, two])
      assert.deepEqual(one.texts, ['heard'])
    },
  },
  {
    name: 'a push reaches its session alone, member or not, in order and before the reply',
    run: async (host) => {
      const key = uniqueName()
      const other = await joinRoom(host, key)
      const one = await openRawSession(host, 'room', key)
      one.sendCall(1, 1, 307, { texts: ['a', 'b', 'c'] })
      await host.waitUntil(() => one.received.replies.length === 1, 'the reply')
      const order = one.client.frames.map(({ command }) => command).slice(-4)
      assert.deepEqual(order, [0xffffff08, 0xffffff08, 0xffffff08, 0xffffff06])
      assert.deepEqual(
        one.received.events.map(({ sequence, event }) => [sequence, event]),
        [
          [1, 340],
          [2, 340],
          [3, 340],
        ],
      )
      await waitForAllEvents(host, [other])
      assert.deepEqual(other.texts, [])
    },
  },
  {
    name: 'a seat is the smallest free number',
    run: async (host) => {
      const key = uniqueName()
      const all = [await joinRoom(host, key), await joinRoom(host, key), await joinRoom(host, key)]
      assert.deepEqual(
        all.map(({ seat }) => seat),
        [0, 1, 2],
      )
      await awaitOn(host, all[1]!.room.leave({ groups: [] }))
      await awaitOn(host, all[0]!.room.leave({ groups: [] }))
      assert.equal((await joinRoom(host, key)).seat, 0)
      assert.equal((await awaitOn(host, all[0]!.room.join({ groups: [] }))).seat, 1)
      assert.equal((await joinRoom(host, key)).seat, 3)
    },
  },
  {
    name: 'a member whose connection is gone leaves, with its seat still in hand',
    run: async (host) => {
      const key = uniqueName()
      const [one, two] = [await joinRoom(host, key), await joinRoom(host, key)]
      two.leave()
      await host.waitUntil(() => one.leftSeats.length === 1, 'the others hear it')
      assert.deepEqual(one.leftSeats, [1])
      const { size, lines } = await awaitOn(host, one.room.who())
      assert.deepEqual({ size, lines }, { size: 1, lines: ['left 1'] })
    },
  },
  {
    name: 'a client that closes a channel leaves its shard, and may come back',
    run: async (host) => {
      const key = uniqueName()
      const one = await joinRoom(host, key)
      const client = await host.sdkClient()
      const first = client.at(Room, key)
      await awaitOn(host, first.join({ groups: [] }))
      first.close()
      await host.waitUntil(() => one.leftSeats.length === 1, 'the others hear it')
      const again = client.at(Room, key)
      assert.deepEqual(await awaitOn(host, again.join({ groups: [] })), { seat: 1, size: 2 })
    },
  },
  {
    name: 'a join and a leave of a turn that threw did not happen',
    run: async (host) => {
      const key = uniqueName()
      const [one, two] = [await joinRoom(host, key, ['blue']), await joinRoom(host, key, null)]
      await awaitOn(
        host,
        two.room.joinThenThrow().catch(() => null),
      )
      await awaitOn(
        host,
        one.room.leaveThenThrow().catch(() => null),
      )
      assert.equal((await awaitOn(host, two.room.who())).size, 1)
      await awaitOn(host, two.room.say({ text: 'all' }))
      await awaitOn(host, two.room.group({ group: 'red', text: 'red' }))
      await awaitOn(host, two.room.group({ group: 'blue', text: 'blue' }))
      await waitForAllEvents(host, [one, two])
      assert.deepEqual([one.texts, two.texts], [['all', 'blue'], []])
      assert.equal((await joinRoom(host, key)).seat, 1)
    },
  },
  {
    name: 'what a waiting turn did is not heard before its end, and never if it throws',
    run: async (host) => {
      const [key, gate] = [uniqueName(), uniqueName('gate')]
      const [one, two] = [await joinRoom(host, key), await joinRoom(host, key, null)]
      const opener = (await host.sdkClient()).at(Gate)
      const sneaked = awaitFailure(host, two.room.sneak({ gate }))
      await waitForTurnsAtGate(host, opener, gate)
      await host.sleep(20)
      assert.deepEqual(one.texts, [])
      await awaitOn(host, opener.open({ name: gate }))
      assert.equal((await sneaked).code, 'INTERNAL')
      assert.equal((await awaitOn(host, one.room.who())).size, 1)
      await waitForAllEvents(host, [one, two])
      assert.deepEqual([one.texts, two.texts], [[], []])
    },
  },
  {
    name: 'a legacy client hears events as frames with the id of the event, before its reply',
    run: async (host) => {
      const client = await host.rawClient()
      client.send(frame(209, {}))
      await host.waitUntil(() => client.frames.length === 1, 'the seat')
      client.send(frame(201, { n: 1 }))
      await host.waitUntil(() => client.frames.length === 3, 'event and reply')
      const [, [event], [reply]] = jsons(client) as [unknown, [number], [number]]
      assert.deepEqual([event, reply], [250, 201])
    },
  },
  {
    name: 'an event carries what the handler gave at that moment, also if it changes its buffer later',
    run: async (host) => {
      const client = await host.rawClient()
      client.send(frame(15, 'go'))
      await host.waitUntil(() => client.frames.length === 3, 'two events and a reply')
      assert.deepEqual(texts(client), [
        [50, '\u0001'],
        [50, '\u0002'],
        [15, '\u0003'],
      ])
    },
  },
  {
    name: 'the numbers of events count on, one channel at a time',
    run: async (host) => {
      const key = uniqueName()
      const [one, two] = [await openRawSession(host, 'room', key), await openRawSession(host, 'room', key)]
      one.sendCall(1, 1, 300, { groups: [] })
      await host.waitUntil(() => one.received.replies.length === 1, 'joined')
      two.sendCall(1, 1, 307, { texts: ['x'] })
      two.sendCall(1, 2, 300, { groups: [] })
      await host.waitUntil(() => two.received.replies.length === 2, 'joined')
      for (let i = 3; i < 6; i++) two.sendCall(1, i, 303, { text: 'y' })
      await host.waitUntil(() => one.received.events.length === 3 && two.received.events.length === 4, 'all events')
      const numbers = [one, two].map(({ received: said }) => said.events.map(({ sequence }) => sequence))
      assert.deepEqual(numbers, [
        [1, 2, 3],
        [1, 2, 3, 4],
      ])
    },
  },
]
