// One turn at a time, in the order of arrival, whatever the handlers wait for.

import assert from 'node:assert/strict'
import { Gate, Hop, Ledger, Room } from '../contracts.ts'
import {
  awaitOn,
  awaitAllOn,
  pollUntil,
  frame,
  uniqueName,
  jsons,
  join,
  texts,
  waitForTurnsAtGate,
  type Case,
} from './case.ts'

export const cases: readonly Case[] = [
  {
    name: '200 calls of one channel are answered in order, waiting handlers in between',
    run: async (host) => {
      const room = (await host.sdkClient()).at(Room, uniqueName())
      const order: number[] = []
      const calls = Array.from({ length: 200 }, async (_, i) => {
        if (i % 3 === 0) await room.slow({ tag: String(i) })
        else await room.echo({ text: String(i) })
        order.push(i)
      })
      await awaitAllOn(host, calls)
      assert.deepEqual(
        order,
        order.map((_, i) => i),
      )
    },
  },
  {
    name: '200 frames of a legacy client are answered in order, waiting handlers in between',
    run: async (host) => {
      const client = await host.rawClient()
      const sent = Array.from({ length: 200 }, (_, i): [number, string] => [i % 3 === 0 ? 14 : 1, String(i)])
      client.send(join(...sent.map(([command, body]) => frame(command, body))))
      await host.waitUntil(() => client.frames.length === 200, 'all answers')
      assert.deepEqual(texts(client), sent)
    },
  },
  {
    name: 'a turn that waits is not interleaved with another',
    run: async (host) => {
      const key = uniqueName()
      const [one, two] = [await host.sdkClient(), await host.sdkClient()]
      const tags = Array.from({ length: 20 }, (_, i) => String(i))
      await awaitAllOn(
        host,
        tags.map((tag, i) => (i % 2 === 0 ? one : two).at(Room, key).slow({ tag })),
      )
      const { lines } = await awaitOn(host, one.at(Room, key).who())
      assert.equal(lines.length, 40)
      for (let i = 0; i < 40; i += 2) assert.equal(lines[i]!.slice(0, -1), lines[i + 1]!.slice(0, -1))
    },
  },
  {
    name: 'no update of a waiting turn is lost under load',
    run: async (host) => {
      const key = uniqueName()
      const clients = [await host.sdkClient(), await host.sdkClient(), await host.sdkClient()]
      const calls = clients.flatMap((client) => Array.from({ length: 30 }, () => client.at(Room, key).grow()))
      const grown = await awaitAllOn(host, calls)
      assert.deepEqual(
        grown.map(({ n }) => n).sort((a, b) => a - b),
        grown.map((_, i) => i + 1),
      )
    },
  },
  {
    name: 'what arrives while a turn waits runs after it',
    run: async (host) => {
      const [key, gate] = [uniqueName(), uniqueName('gate')]
      const [one, two] = [await host.sdkClient(), await host.sdkClient()]
      const held = one.at(Room, key).slow({ tag: 'held', gate })
      await host.waitUntil(() => true, 'sent')
      await waitForTurnsAtGate(host, two.at(Gate), gate)
      const room = two.at(Room, key)
      room.line({ text: 'first' })
      const second = room.slow({ tag: 'second' })
      room.line({ text: 'third' })
      await awaitOn(host, two.at(Gate).open({ name: gate }))
      await awaitAllOn(host, [held, second])
      const { lines } = await awaitOn(host, room.who())
      assert.deepEqual(lines, ['held<', 'held>', 'first', 'second<', 'second>', 'third'])
    },
  },
  {
    name: 'a shard whose turn waits holds up no other shard',
    run: async (host) => {
      const gate = uniqueName('gate')
      const client = await host.sdkClient()
      const held = client.at(Room, uniqueName()).slow({ tag: 'held', gate })
      const { text } = await awaitOn(host, client.at(Room, uniqueName()).echo({ text: 'free' }))
      assert.equal(text, 'free')
      await awaitOn(host, client.at(Gate).open({ name: gate }))
      assert.deepEqual(await awaitOn(host, held), { tag: 'held' })
    },
  },
  {
    name: 'casts and calls of one channel run in the order in which they were sent',
    run: async (host) => {
      const room = (await host.sdkClient()).at(Room, uniqueName())
      const calls: Promise<unknown>[] = []
      for (let i = 0; i < 30; i++) {
        room.line({ text: `line ${i}` })
        if (i % 5 === 0) calls.push(room.slow({ tag: String(i) }))
      }
      await awaitAllOn(host, calls)
      const { lines } = await awaitOn(host, room.who())
      const expected = Array.from({ length: 30 }, (_, i) =>
        i % 5 === 0 ? [`line ${i}`, `${i}<`, `${i}>`] : [`line ${i}`],
      )
      assert.deepEqual(lines, expected.flat())
    },
  },
  {
    name: 'calls that were sent before the shard was open come first',
    run: async (host) => {
      const ledger = (await host.sdkClient()).at(Ledger, uniqueName())
      const counts = await awaitAllOn(
        host,
        Array.from({ length: 20 }, () => ledger.add({ n: 1 })),
      )
      assert.deepEqual(
        counts.map(({ count }) => count),
        counts.map((_, i) => i + 1),
      )
    },
  },
  {
    name: 'durable and volatile turns of one shard are answered in the order of their calls',
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
      await awaitOn(host, client.at(Hop, from).tell({ to, texts: lines }))
      const ask = (): Promise<{ notes: string[] }> => client.at(Hop, to).notes()
      const { notes } = await pollUntil(host, ask, (got) => got.notes.length >= 50, 'all casts')
      assert.deepEqual(notes, lines)
    },
  },
  {
    name: 'answers of a legacy client from two shards come in order within each',
    run: async (host) => {
      const client = await host.rawClient()
      const sent: Uint8Array[] = []
      for (let i = 0; i < 40; i++) sent.push(frame(14, String(i)), frame(202, { n: i }))
      client.send(join(...sent))
      await host.waitUntil(() => client.frames.length === 80, 'all answers')
      const bytes = texts(client).filter(([command]) => command === 14)
      const desk = jsons({ ...client, frames: client.frames.filter(({ command }) => command === 202) })
      assert.deepEqual(
        bytes.map(([, text]) => Number(text)),
        bytes.map((_, i) => i),
      )
      assert.deepEqual(
        desk,
        desk.map((_, i) => [202, { n: i }]),
      )
    },
  },
]
