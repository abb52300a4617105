// Limits. Invariant: what exceeds a limit is rejected or delayed, and nothing that was accepted is lost.

import assert from 'node:assert/strict'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { msgpack } from '../../../core/wire/codec.ts'
import { Gate, Ledger, Room } from '../contracts.ts'
import { Hall } from '../sessionshards.ts'
import {
  assertConsecutive,
  awaitOn,
  awaitAllOn,
  frame,
  uniqueName,
  join,
  waitForJsons,
  texts,
  waitForTexts,
  waitForTurnsAtGate,
  type Case,
} from './case.ts'

export const cases: readonly Case[] = [
  {
    name: '2,000 pipelined legacy calls to a slow handler all get replies, in order',
    run: async (host) => {
      const client = await host.rawClient()
      const sent = Array.from({ length: 2_000 }, (_, n) => frame(202, { n }))
      client.send(join(...sent))
      assert.deepEqual(
        await waitForJsons(host, client, 2_000),
        sent.map((_, n) => [202, { n }]),
      )
    },
  },
  {
    name: '2,000 separate legacy frames after a waiting call all get replies, in order',
    run: async (host) => {
      const gate = uniqueName('gate')
      const client = await host.rawClient()
      client.send(frame(210, { gate }))
      for (let i = 0; i < 2_000; i++) client.send(frame(202, { n: i }))
      const gates = (await host.sdkClient()).at(Gate)
      await waitForTurnsAtGate(host, gates, gate)
      await host.sleep(100)
      assert.equal(client.frames.length, 0)
      await awaitOn(host, gates.open({ name: gate }))
      assert.deepEqual(
        (await waitForJsons(host, client, 2_001)).slice(1),
        Array.from({ length: 2_000 }, (_, n) => [202, { n }]),
      )
    },
  },
  {
    name: 'a client above its rate limit is delayed, and all its frames get replies in order',
    run: async (host) => {
      const count = 2 * DEFAULT_LIMITS.maxCostPerSecond + 3_000
      const client = await host.rawClient('messages')
      const startMs = performance.now()
      for (let first = 0; first < count; first += 50)
        client.send(join(...Array.from({ length: 50 }, (_, i) => frame(1, String(first + i)))))
      assert.deepEqual(
        (await waitForTexts(host, client, count)).map(([, text]) => Number(text)),
        Array.from({ length: count }, (_, n) => n),
      )
      // The bucket starts with two seconds' worth; the rest arrives at the rate. The memory host has a manual clock.
      if (host.name !== 'memory') assert.ok(performance.now() - startMs > 1_000)
    },
  },
  {
    name: 'a command with cost 1,000 is delayed as much as 1,000 commands with cost 1',
    run: async (host) => {
      const client = await host.rawClient('messages')
      const { costly } = Hall.entries
      const startMs = performance.now()
      for (let n = 0; n < 8; n++) client.send(frame(costly.number, msgpack.encode({})))
      await host.waitUntil(() => client.frames.length === 8, 'all replies')
      if (host.name !== 'memory') assert.ok(performance.now() - startMs > 1_000)
    },
  },
  {
    name: 'frames that a legacy client sent before a violation get replies, also after a long queue',
    run: async (host) => {
      const client = await host.rawClient()
      const good = Array.from({ length: 100 }, (_, i) => frame(i % 2 === 0 ? 14 : 1, String(i)))
      client.send(join(...good, frame(999_999, 'x'), new Uint8Array(17).fill(9)))
      await host.waitUntil(() => client.isClosed, 'closed')
      assertConsecutive(
        texts(client).map(([, text]) => Number(text)),
        0,
      )
    },
  },
  {
    name: 'the SDK rejects calls above its limit at once, and all others get replies',
    run: async (host) => {
      const [key, gate] = [uniqueName(), uniqueName('gate')]
      const client = await host.sdkClient()
      // A second client, because so many calls wait that the first connection is not read.
      const gates = (await host.sdkClient()).at(Gate)
      const ledger = client.at(Ledger, key)
      const waiting = ledger.addAfterGate({ n: 1, gate })
      const codes: string[] = []
      const calls = Array.from({ length: 400 }, () =>
        ledger.add({ n: 1 }).catch((error: { code: string }) => void codes.push(error.code)),
      )
      await waitForTurnsAtGate(host, gates, gate)
      await awaitOn(host, gates.open({ name: gate }))
      await awaitAllOn(host, [waiting, ...calls])
      assert.ok(codes.length >= 144 && codes.length < 200, `${codes.length} refused`)
      assert.ok(codes.every((code) => code === 'OVERLOADED'))
      assert.equal((await awaitOn(host, ledger.read())).count, 401 - codes.length)
    },
  },
  {
    name: '1,000 durable calls in batches below the window are each applied once and acknowledged',
    run: async (host) => {
      const ledger = (await host.sdkClient()).at(Ledger, uniqueName())
      for (let round = 0; round < 5; round++) {
        const counts = await awaitAllOn(
          host,
          Array.from({ length: 200 }, () => ledger.add({ n: 1 })),
        )
        assert.equal(counts.at(-1)!.count, (round + 1) * 200)
      }
    },
  },
  {
    name: 'large replies of many concurrent calls are bounded and correct',
    run: async (host) => {
      const room = (await host.sdkClient()).at(Room, uniqueName())
      const sizes: number[] = []
      const codes = new Set<string>()
      const calls = Array.from({ length: 24 }, (_, i) =>
        room.echo({ text: String.fromCharCode(65 + i).repeat(50_000) }).then(
          ({ text }) => {
            assert.equal(text, String.fromCharCode(65 + i).repeat(50_000))
            sizes.push(text.length)
          },
          (error: { code: string }) => void codes.add(error.code),
        ),
      )
      await awaitAllOn(host, calls)
      assert.ok(sizes.length >= 10, `${sizes.length} answered`)
      assert.deepEqual(
        [...codes].filter((code) => code !== 'OVERLOADED'),
        [],
      )
    },
  },
  {
    name: 'values above the size limit of a shard are rejected in their turn',
    run: async (host) => {
      const ledger = (await host.sdkClient()).at(Ledger, uniqueName())
      assert.equal((await awaitOn(host, ledger.setText({ size: 100_000 }))).error, '')
      assert.match((await awaitOn(host, ledger.setText({ size: DEFAULT_LIMITS.maxKvBytes }))).error, /exceed/)
      assert.equal((await awaitOn(host, ledger.add({ n: 1 }))).count, 1)
    },
  },
]
