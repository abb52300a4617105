// Events: who hears them, in what order, and who sits where.

import assert from 'node:assert/strict'
import { Gate, Room } from '../contracts.ts'
import type { Host } from '../host.ts'
import { answer, failure, frame, fresh, jsons, speak, texts, waiting, type Case } from './probe.ts'

interface Guest {
  readonly room: ReturnType<typeof roomOf>
  readonly heard: string[]
  readonly left: number[]
  readonly seat: number
  leave(): void
}
function roomOf(client: Awaited<ReturnType<Host['client']>>, key: string) {
  return client.at(Room, key)
}

/** A client in the room; `groups` null = it listens without being a member. */
async function guest(host: Host, key: string, groups: string[] | null = []): Promise<Guest> {
  const client = await host.client()
  const room = roomOf(client, key)
  const heard: string[] = []
  const left: number[] = []
  room.on('said', ({ text }) => heard.push(text))
  room.on('left', ({ seat }) => left.push(seat))
  const seat = groups ? (await answer(host, room.join({ groups }))).seat : -1
  if (!groups) await answer(host, room.who())
  return { room, heard, left, seat, leave: () => void client.close() }
}

/** Everybody has heard whatever was sent before. */
async function flush(host: Host, guests: readonly Guest[]): Promise<void> {
  for (const { room } of guests) await answer(host, room.push({ texts: ['|'] }))
  await host.until(() => guests.every(({ heard }) => heard.at(-1) === '|'), 'everybody hears the mark')
  for (const { heard } of guests) heard.pop()
}

export const cases: readonly Case[] = [
  {
    name: 'a broadcast reaches every member, the sender too, and nobody else',
    run: async (host) => {
      const key = fresh()
      const all = [await guest(host, key), await guest(host, key), await guest(host, key, null)]
      await answer(host, all[0]!.room.say({ text: 'hello' }))
      await answer(host, all[2]!.room.say({ text: 'from outside' }))
      await flush(host, all)
      assert.deepEqual(
        all.map(({ heard }) => heard),
        [['hello', 'from outside'], ['hello', 'from outside'], []],
      )
    },
  },
  {
    name: 'others are all members but the sender',
    run: async (host) => {
      const key = fresh()
      const all = [await guest(host, key), await guest(host, key), await guest(host, key)]
      await answer(host, all[1]!.room.others({ text: 'psst' }))
      await flush(host, all)
      assert.deepEqual(
        all.map(({ heard }) => heard),
        [['psst'], [], ['psst']],
      )
    },
  },
  {
    name: 'an event to a seat reaches who sits there, and to an empty seat nobody',
    run: async (host) => {
      const key = fresh()
      const all = [await guest(host, key), await guest(host, key)]
      await answer(host, all[0]!.room.seat({ seat: all[1]!.seat, text: 'you' }))
      await answer(host, all[0]!.room.seat({ seat: 99, text: 'nobody' }))
      await flush(host, all)
      assert.deepEqual(
        all.map(({ heard }) => heard),
        [[], ['you']],
      )
    },
  },
  {
    name: 'an event to a group reaches its members only, and an unknown group nobody',
    run: async (host) => {
      const key = fresh()
      const all = [
        await guest(host, key, ['red']),
        await guest(host, key, ['blue']),
        await guest(host, key, ['red', 'blue']),
      ]
      await answer(host, all[0]!.room.group({ group: 'red', text: 'red' }))
      await answer(host, all[0]!.room.group({ group: 'blue', text: 'blue' }))
      await answer(host, all[0]!.room.group({ group: 'green', text: 'green' }))
      await flush(host, all)
      assert.deepEqual(
        all.map(({ heard }) => heard),
        [['red'], ['blue'], ['red', 'blue']],
      )
    },
  },
  {
    name: 'a member may add groups and leave some, and is a member still',
    run: async (host) => {
      const key = fresh()
      const one = await guest(host, key, ['red'])
      assert.deepEqual(await answer(host, one.room.join({ groups: ['blue'] })), { seat: 0, size: 1 })
      assert.deepEqual(await answer(host, one.room.leave({ groups: ['red'] })), { size: 1 })
      await answer(host, one.room.group({ group: 'red', text: 'red' }))
      await answer(host, one.room.group({ group: 'blue', text: 'blue' }))
      await answer(host, one.room.say({ text: 'all' }))
      await flush(host, [one])
      assert.deepEqual(one.heard, ['blue', 'all'])
    },
  },
  {
    name: 'who left hears no more, and comes back without its old groups',
    run: async (host) => {
      const key = fresh()
      const [one, two] = [await guest(host, key, ['red']), await guest(host, key)]
      assert.deepEqual(await answer(host, one.room.leave({ groups: [] })), { size: 1 })
      await answer(host, two.room.say({ text: 'missed' }))
      await answer(host, one.room.join({ groups: [] }))
      await answer(host, two.room.group({ group: 'red', text: 'red' }))
      await answer(host, two.room.say({ text: 'heard' }))
      await flush(host, [one, two])
      assert.deepEqual(one.heard, ['heard'])
    },
  },
  {
    name: 'a push reaches its session alone, member or not, in order and before the reply',
    run: async (host) => {
      const key = fresh()
      const other = await guest(host, key)
      const one = await speak(host, 'room', key)
      one.call(1, 1, 307, { texts: ['a', 'b', 'c'] })
      await host.until(() => one.said.replies.length === 1, 'the reply')
      const order = one.client.frames.map(({ command }) => command).slice(-4)
      assert.deepEqual(order, [0xffffff08, 0xffffff08, 0xffffff08, 0xffffff06])
      assert.deepEqual(
        one.said.events.map(({ sequence, event }) => [sequence, event]),
        [
          [1, 340],
          [2, 340],
          [3, 340],
        ],
      )
      await flush(host, [other])
      assert.deepEqual(other.heard, [])
    },
  },
  {
    name: 'a seat is the smallest free number',
    run: async (host) => {
      const key = fresh()
      const all = [await guest(host, key), await guest(host, key), await guest(host, key)]
      assert.deepEqual(
        all.map(({ seat }) => seat),
        [0, 1, 2],
      )
      await answer(host, all[1]!.room.leave({ groups: [] }))
      await answer(host, all[0]!.room.leave({ groups: [] }))
      assert.equal((await guest(host, key)).seat, 0)
      assert.equal((await answer(host, all[0]!.room.join({ groups: [] }))).seat, 1)
      assert.equal((await guest(host, key)).seat, 3)
    },
  },
  {
    name: 'a member whose connection is gone leaves, with its seat still in hand',
    run: async (host) => {
      const key = fresh()
      const [one, two] = [await guest(host, key), await guest(host, key)]
      two.leave()
      await host.until(() => one.left.length === 1, 'the others hear it')
      assert.deepEqual(one.left, [1])
      const { size, lines } = await answer(host, one.room.who())
      assert.deepEqual({ size, lines }, { size: 1, lines: ['left 1'] })
    },
  },
  {
    name: 'a client that closes a channel leaves its shard, and may come back',
    run: async (host) => {
      const key = fresh()
      const one = await guest(host, key)
      const client = await host.client()
      const first = client.at(Room, key)
      await answer(host, first.join({ groups: [] }))
      first.close()
      await host.until(() => one.left.length === 1, 'the others hear it')
      const again = client.at(Room, key)
      assert.deepEqual(await answer(host, again.join({ groups: [] })), { seat: 1, size: 2 })
    },
  },
  {
    name: 'a join and a leave of a turn that threw did not happen',
    run: async (host) => {
      const key = fresh()
      const [one, two] = [await guest(host, key, ['blue']), await guest(host, key, null)]
      await answer(
        host,
        two.room.joinThenThrow().catch(() => null),
      )
      await answer(
        host,
        one.room.leaveThenThrow().catch(() => null),
      )
      assert.equal((await answer(host, two.room.who())).size, 1)
      await answer(host, two.room.say({ text: 'all' }))
      await answer(host, two.room.group({ group: 'red', text: 'red' }))
      await answer(host, two.room.group({ group: 'blue', text: 'blue' }))
      await flush(host, [one, two])
      assert.deepEqual([one.heard, two.heard], [['all', 'blue'], []])
      assert.equal((await guest(host, key)).seat, 1)
    },
  },
  {
    name: 'what a waiting turn did is not heard before its end, and never if it throws',
    run: async (host) => {
      const [key, gate] = [fresh(), fresh('gate')]
      const [one, two] = [await guest(host, key), await guest(host, key, null)]
      const opener = (await host.client()).at(Gate)
      const sneaked = failure(host, two.room.sneak({ gate }))
      await waiting(host, opener, gate)
      await host.pass(20)
      assert.deepEqual(one.heard, [])
      await answer(host, opener.open({ name: gate }))
      assert.equal((await sneaked).code, 'INTERNAL')
      assert.equal((await answer(host, one.room.who())).size, 1)
      await flush(host, [one, two])
      assert.deepEqual([one.heard, two.heard], [[], []])
    },
  },
  {
    name: 'a legacy client hears events as frames with the id of the event, before its reply',
    run: async (host) => {
      const client = await host.raw()
      client.send(frame(209, {}))
      await host.until(() => client.frames.length === 1, 'the seat')
      client.send(frame(201, { n: 1 }))
      await host.until(() => client.frames.length === 3, 'event and reply')
      const [, [event], [reply]] = jsons(client) as [unknown, [number], [number]]
      assert.deepEqual([event, reply], [250, 201])
    },
  },
  {
    name: 'an event carries what the handler gave at that moment, also if it changes its buffer later',
    run: async (host) => {
      const client = await host.raw()
      client.send(frame(15, 'go'))
      await host.until(() => client.frames.length === 3, 'two events and a reply')
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
      const key = fresh()
      const [one, two] = [await speak(host, 'room', key), await speak(host, 'room', key)]
      one.call(1, 1, 300, { groups: [] })
      await host.until(() => one.said.replies.length === 1, 'joined')
      two.call(1, 1, 307, { texts: ['x'] })
      two.call(1, 2, 300, { groups: [] })
      await host.until(() => two.said.replies.length === 2, 'joined')
      for (let i = 3; i < 6; i++) two.call(1, i, 303, { text: 'y' })
      await host.until(() => one.said.events.length === 3 && two.said.events.length === 4, 'all events')
      const numbers = [one, two].map(({ said }) => said.events.map(({ sequence }) => sequence))
      assert.deepEqual(numbers, [
        [1, 2, 3],
        [1, 2, 3, 4],
      ])
    },
  },
]
