// Order. Invariant: a shard runs one turn at a time, in arrival order, even when a handler waits.

import assert from 'node:assert/strict'
import { Gate, Hop, Ledger, Room } from '../contracts.ts'
import {
  assertConsecutive,
  awaitOn,
  awaitAllOn,
  frame,
  uniqueName,
  jsons,
  join,
  waitForTexts,
  waitForTurnsAtGate,
  type Case,
} from './case.ts'
import { waitForNotes } from './calls.ts'

export const cases: readonly Case[] = [
  {
    name: '200 calls of one channel get replies in order, some with waiting handlers',
    run: async (host) => {
      const room = (await host.sdkClient()).at(Room, uniqueName())
      const order: number[] = []
      const calls = Array.from({ length: 200 }, async (_, i) => {
        if (i % 3 === 0) await room.slow({ tag: String(i) })
        else await room.echo({ text: String(i) })
        order.push(i)
      })
      await awaitAllOn(host, calls)
      assertConsecutive(order, 0)
    },
  },
  {
    name: '200 frames of a legacy client get replies in order, some with waiting handlers',
    run: async (host) => {
      const client = await host.rawClient()
      const sent = Array.from({ length: 200 }, (_, i): [number, string] => [i % 3 === 0 ? 14 : 1, String(i)])
      client.send(join(...sent.map(([command, body]) => frame(command, body))))
      assert.deepEqual(await waitForTexts(host, client, 200), sent)
    },
  },
  {
    name: 'a waiting turn is not interleaved with another turn',
    run: async (host) => {
      const key = uniqueName()
      const rooms = [(await host.sdkClient()).at(Room, key), (await host.sdkClient()).at(Room, key)]
      const calls = Array.from({ length: 20 }, (_, i) => rooms[i % 2]!.slow({ tag: String(i) }))
      await awaitAllOn(host, calls)
      const { lines } = await awaitOn(host, rooms[0]!.info())
      assert.equal(lines.length, 40)
      for (let i = 0; i < 40; i += 2) assert.equal(lines[i]!.slice(0, -1), lines[i + 1]!.slice(0, -1))
    },
  },
  {
    name: 'updates of waiting turns are not lost under load',
    run: async (host) => {
      const key = uniqueName()
      const clients = [await host.sdkClient(), await host.sdkClient(), await host.sdkClient()]
      const calls = clients.flatMap((client) => Array.from({ length: 30 }, () => client.at(Room, key).grow()))
      const grown = await awaitAllOn(host, calls)
      assertConsecutive(grown.map(({ n }) => n).sort((a, b) => a - b))
    },
  },
  {
    name: 'calls that arrive while a turn waits run after it',
    run: async (host) => {
      const [key, gate] = [uniqueName(), uniqueName('gate')]
      const [client, other] = [await host.sdkClient(), await host.sdkClient()]
      const waiting = client.at(Room, key).slow({ tag: 'waiting', gate })
      await waitForTurnsAtGate(host, other.at(Gate), gate)
      const room = other.at(Room, key)
      room.appendLine({ text: 'first' })
      const second = room.slow({ tag: 'second' })
      room.appendLine({ text: 'third' })
      await awaitOn(host, other.at(Gate).open({ name: gate }))
      await awaitAllOn(host, [waiting, second])
      const { lines } = await awaitOn(host, room.info())
      assert.deepEqual(lines, ['waiting<', 'waiting>', 'first', 'second<', 'second>', 'third'])
    },
  },
  {
    name: 'a waiting turn does not block other shards',
    run: async (host) => {
      const gate = uniqueName('gate')
      const client = await host.sdkClient()
      const waiting = client.at(Room, uniqueName()).slow({ tag: 'waiting', gate })
      const { text } = await awaitOn(host, client.at(Room, uniqueName()).echo({ text: 'free' }))
      assert.equal(text, 'free')
      await awaitOn(host, client.at(Gate).open({ name: gate }))
      assert.deepEqual(await awaitOn(host, waiting), { tag: 'waiting' })
    },
  },
  {
    name: 'casts and calls of one channel run in the order in which they were sent',
    run: async (host) => {
      const room = (await host.sdkClient()).at(Room, uniqueName())
      const calls: Promise<unknown>[] = []
      for (let i = 0; i < 30; i++) {
        room.appendLine({ text: `line ${i}` })
        if (i % 5 === 0) calls.push(room.slow({ tag: String(i) }))
      }
      await awaitAllOn(host, calls)
      const { lines } = await awaitOn(host, room.info())
      const expected = Array.from({ length: 30 }, (_, i) =>
        i % 5 === 0 ? [`line ${i}`, `${i}<`, `${i}>`] : [`line ${i}`],
      )
      assert.deepEqual(lines, expected.flat())
    },
  },
  {
    name: 'calls sent before the channel is open run in order',
    run: async (host) => {
      const ledger = (await host.sdkClient()).at(Ledger, uniqueName())
      const counts = await awaitAllOn(
        host,
        Array.from({ length: 20 }, () => ledger.add({ n: 1 })),
      )
      assertConsecutive(counts.map(({ count }) => count))
    },
  },
  {
    name: 'durable and volatile calls of one channel get replies in order',
    run: async (host) => {
      const ledger = (await host.sdkClient()).at(Ledger, uniqueName())
      const order: string[] = []
      const calls = Array.from({ length: 40 }, async (_, i) => {
        if (i % 2 === 0) order.push(`sum ${(await ledger.add({ n: 1 })).sum}`)
        else order.push(`read ${(await ledger.read()).sum}`)
      })
      await awaitAllOn(host, calls)
      const expected = Array.from({ length: 40 }, (_, i) => `${i % 2 === 0 ? 'sum' : 'read'} ${(i >> 1) + 1}`)
      assert.deepEqual(order, expected)
    },
  },
  {
    name: 'casts between shards arrive in the order in which they were sent',
    run: async (host) => {
      const [from, to] = [uniqueName(), uniqueName()]
      const client = await host.sdkClient()
      const lines = Array.from({ length: 50 }, (_, i) => String(i))
      await awaitOn(host, client.at(Hop, from).castNotes({ to, texts: lines }))
      assert.deepEqual(await waitForNotes(host, client.at(Hop, to), 50), lines)
    },
  },
  {
    name: 'replies of two shards to a legacy client are in order within each shard',
    run: async (host) => {
      const client = await host.rawClient()
      const sent: Uint8Array[] = []
      for (let i = 0; i < 40; i++) sent.push(frame(14, String(i)), frame(202, { n: i }))
      client.send(join(...sent))
      const bytes = (await waitForTexts(host, client, 80)).filter(([command]) => command === 14)
      const desk = jsons({ frames: client.frames.filter(({ command }) => command === 202) })
      assertConsecutive(
        bytes.map(([, text]) => Number(text)),
        0,
      )
      assert.deepEqual(
        desk,
        desk.map((_, i) => [202, { n: i }]),
      )
    },
  },
]
