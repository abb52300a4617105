// Events: which sessions receive them, in what order, and which seats members get.

import assert from 'node:assert/strict'
import type { Remote } from '../../../client/index.ts'
import { MESSAGE } from '../../../core/wire/message.ts'
import { Gate, Room } from '../contracts.ts'
import type { Host } from '../host.ts'
import {
  awaitOn,
  awaitFailure,
  frame,
  uniqueName,
  waitForJsons,
  openRawSession,
  waitForTexts,
  waitForTurnsAtGate,
  type Case,
} from './case.ts'

interface RoomClient {
  readonly room: Remote<(typeof Room)['entries']>
  readonly texts: string[]
  readonly leftSeats: number[]
  readonly seat: number
  close(): void
}

/** A client in the room; `groups` null = not a member. */
async function joinRoom(host: Host, key: string, groups: string[] | null = []): Promise<RoomClient> {
  const client = await host.sdkClient()
  const room = client.at(Room, key)
  const received: string[] = []
  const leftSeats: number[] = []
  room.on('message', ({ text }) => received.push(text))
  room.on('left', ({ seat }) => leftSeats.push(seat))
  const seat = groups ? (await awaitOn(host, room.join({ groups }))).seat : -1
  if (!groups) await awaitOn(host, room.info())
  return { room, texts: received, leftSeats, seat, close: () => void client.close() }
}

/** Waits until every client has received all events sent before; returns the texts of each. */
async function receivedTexts(host: Host, ...clients: readonly RoomClient[]): Promise<string[][]> {
  for (const { room } of clients) await awaitOn(host, room.pushTexts({ texts: ['|'] }))
  await host.waitUntil(() => clients.every(({ texts }) => texts.at(-1) === '|'), 'the last push')
  return clients.map(({ texts }) => texts.filter((text) => text !== '|'))
}

export const cases: readonly Case[] = [
  {
    name: 'a broadcast reaches every member, including the sender, and no other session',
    run: async (host) => {
      const key = uniqueName()
      const all = [await joinRoom(host, key), await joinRoom(host, key), await joinRoom(host, key, null)]
      await awaitOn(host, all[0]!.room.say({ text: 'hello' }))
      await awaitOn(host, all[2]!.room.say({ text: 'from no member' }))
      assert.deepEqual(await receivedTexts(host, ...all), [
        ['hello', 'from no member'],
        ['hello', 'from no member'],
        [],
      ])
    },
  },
  {
    name: 'an event to others reaches all members except the sender',
    run: async (host) => {
      const key = uniqueName()
      const all = [await joinRoom(host, key), await joinRoom(host, key), await joinRoom(host, key)]
      await awaitOn(host, all[1]!.room.sayToOthers({ text: 'to others' }))
      assert.deepEqual(await receivedTexts(host, ...all), [['to others'], [], ['to others']])
    },
  },
  {
    name: 'an event to a seat reaches its member; an event to an empty seat reaches no session',
    run: async (host) => {
      const key = uniqueName()
      const all = [await joinRoom(host, key), await joinRoom(host, key)]
      await awaitOn(host, all[0]!.room.sayToSeat({ seat: all[1]!.seat, text: 'you' }))
      await awaitOn(host, all[0]!.room.sayToSeat({ seat: 99, text: 'empty seat' }))
      assert.deepEqual(await receivedTexts(host, ...all), [[], ['you']])
    },
  },
  {
    name: 'an event to a group reaches only its members; an event to an unknown group reaches no session',
    run: async (host) => {
      const key = uniqueName()
      const all = [
        await joinRoom(host, key, ['red']),
        await joinRoom(host, key, ['blue']),
        await joinRoom(host, key, ['red', 'blue']),
      ]
      await awaitOn(host, all[0]!.room.sayToGroup({ group: 'red', text: 'red' }))
      await awaitOn(host, all[0]!.room.sayToGroup({ group: 'blue', text: 'blue' }))
      await awaitOn(host, all[0]!.room.sayToGroup({ group: 'green', text: 'green' }))
      assert.deepEqual(await receivedTexts(host, ...all), [['red'], ['blue'], ['red', 'blue']])
    },
  },
  {
    name: 'a member can join and leave groups and stays a member',
    run: async (host) => {
      const key = uniqueName()
      const member = await joinRoom(host, key, ['red'])
      assert.deepEqual(await awaitOn(host, member.room.join({ groups: ['blue'] })), { seat: 0, size: 1 })
      assert.deepEqual(await awaitOn(host, member.room.leave({ groups: ['red'] })), { size: 1 })
      await awaitOn(host, member.room.sayToGroup({ group: 'red', text: 'red' }))
      await awaitOn(host, member.room.sayToGroup({ group: 'blue', text: 'blue' }))
      await awaitOn(host, member.room.say({ text: 'all' }))
      assert.deepEqual(await receivedTexts(host, member), [['blue', 'all']])
    },
  },
  {
    name: 'a client that left receives no events, and joins again without its old groups',
    run: async (host) => {
      const key = uniqueName()
      const [first, second] = [await joinRoom(host, key, ['red']), await joinRoom(host, key)]
      assert.deepEqual(await awaitOn(host, first.room.leave({ groups: [] })), { size: 1 })
      await awaitOn(host, second.room.say({ text: 'missed' }))
      await awaitOn(host, first.room.join({ groups: [] }))
      await awaitOn(host, second.room.sayToGroup({ group: 'red', text: 'red' }))
      await awaitOn(host, second.room.say({ text: 'received' }))
      assert.deepEqual((await receivedTexts(host, first, second))[0], ['received'])
    },
  },
  {
    name: 'a push reaches only its session, member or not, in order and before the reply',
    run: async (host) => {
      const key = uniqueName()
      const other = await joinRoom(host, key)
      const session = await openRawSession(host, 'room', key)
      await session.call(1, 1, 307, { texts: ['a', 'b', 'c'] })
      const order = session.client.frames.map(({ command }) => command).slice(-4)
      assert.deepEqual(order, [MESSAGE.EVENT, MESSAGE.EVENT, MESSAGE.EVENT, MESSAGE.REPLY])
      assert.deepEqual(
        session.received.events.map(({ sequence, event }) => [sequence, event]),
        [
          [1, 340],
          [2, 340],
          [3, 340],
        ],
      )
      assert.deepEqual(await receivedTexts(host, other), [[]])
    },
  },
  {
    name: 'a new member gets the smallest free seat',
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
    name: 'the leave hook of a disconnected member still has its seat',
    run: async (host) => {
      const key = uniqueName()
      const [first, second] = [await joinRoom(host, key), await joinRoom(host, key)]
      second.close()
      await host.waitUntil(() => first.leftSeats.length === 1, 'the event of the leave hook')
      assert.deepEqual(first.leftSeats, [1])
      const { size, lines } = await awaitOn(host, first.room.info())
      assert.deepEqual({ size, lines }, { size: 1, lines: ['left 1'] })
    },
  },
  {
    name: 'a client that closes its channel leaves the shard, and can join again',
    run: async (host) => {
      const key = uniqueName()
      const member = await joinRoom(host, key)
      const client = await host.sdkClient()
      const room = client.at(Room, key)
      await awaitOn(host, room.join({ groups: [] }))
      room.close()
      await host.waitUntil(() => member.leftSeats.length === 1, 'the event of the leave hook')
      const again = client.at(Room, key)
      assert.deepEqual(await awaitOn(host, again.join({ groups: [] })), { seat: 1, size: 2 })
    },
  },
  {
    name: 'a join and a leave are rolled back when their turn throws',
    run: async (host) => {
      const key = uniqueName()
      const [first, second] = [await joinRoom(host, key, ['blue']), await joinRoom(host, key, null)]
      await awaitFailure(host, second.room.joinThenThrow())
      await awaitFailure(host, first.room.leaveThenThrow())
      assert.equal((await awaitOn(host, second.room.info())).size, 1)
      await awaitOn(host, second.room.say({ text: 'all' }))
      await awaitOn(host, second.room.sayToGroup({ group: 'red', text: 'red' }))
      await awaitOn(host, second.room.sayToGroup({ group: 'blue', text: 'blue' }))
      assert.deepEqual(await receivedTexts(host, first, second), [['all', 'blue'], []])
      assert.equal((await joinRoom(host, key)).seat, 1)
    },
  },
  {
    name: 'events of a waiting turn are sent after its end, and never when it throws',
    run: async (host) => {
      const [key, gate] = [uniqueName(), uniqueName('gate')]
      const [first, second] = [await joinRoom(host, key), await joinRoom(host, key, null)]
      const gates = (await host.sdkClient()).at(Gate)
      const failure = awaitFailure(host, second.room.joinThenThrowLater({ gate }))
      await waitForTurnsAtGate(host, gates, gate)
      await host.sleep(20)
      assert.deepEqual(first.texts, [])
      await awaitOn(host, gates.open({ name: gate }))
      assert.equal((await failure).code, 'INTERNAL')
      assert.equal((await awaitOn(host, first.room.info())).size, 1)
      assert.deepEqual(await receivedTexts(host, first, second), [[], []])
    },
  },
  {
    name: 'a legacy client receives events as frames with the number of the event, before its reply',
    run: async (host) => {
      const client = await host.rawClient()
      client.send(frame(209, {}))
      await host.waitUntil(() => client.frames.length === 1, 'the seat')
      client.send(frame(201, { n: 1 }))
      const [, [event], [reply]] = (await waitForJsons(host, client, 3)) as [unknown, [number], [number]]
      assert.deepEqual([event, reply], [250, 201])
    },
  },
  {
    name: 'an event keeps its bytes when the handler changes the buffer later',
    run: async (host) => {
      const client = await host.rawClient()
      client.send(frame(15, 'go'))
      assert.deepEqual(await waitForTexts(host, client, 3), [
        [50, '\u0001'],
        [50, '\u0002'],
        [15, '\u0003'],
      ])
    },
  },
  {
    name: 'event sequences are consecutive within each channel',
    run: async (host) => {
      const key = uniqueName()
      const [first, second] = [await openRawSession(host, 'room', key), await openRawSession(host, 'room', key)]
      await first.call(1, 1, 300, { groups: [] })
      second.sendCall(1, 1, 307, { texts: ['x'] })
      await second.call(1, 2, 300, { groups: [] })
      for (let i = 3; i < 6; i++) second.sendCall(1, i, 303, { text: 'y' })
      const events = [await first.waitFor('events', 3), await second.waitFor('events', 4)]
      assert.deepEqual(
        events.map((received) => received.map(({ sequence }) => sequence)),
        [
          [1, 2, 3],
          [1, 2, 3, 4],
        ],
      )
    },
  },
]
