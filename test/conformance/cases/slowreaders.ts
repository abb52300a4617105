// Clients that read slowly or not at all. Invariant: who reads is served, however large a reply is; who has stopped reading
// first receives no events, and is closed.

import assert from 'node:assert/strict'

import { msgpack } from '../../../core/wire/codec.ts'
import { MESSAGE } from '../../../core/wire/message.ts'
import type { Host, RawClient } from '../host.ts'
import { Hall } from '../sessionshards.ts'
import { awaitOn, frame, openRawSession, uniqueName, type Case } from './case.ts'

const { enter, pad } = Hall.entries
const LARGE_BYTES = 3_000_000
/** Far more than the kernel buffers for both ends of a loopback connection. */
const MAX_ROUNDS = 400
const padFrame = (bytes: number): Uint8Array => frame(pad.number, msgpack.encode({ bytes }))

async function waitForFrames(host: Host, client: RawClient, count: number, minBytes: number): Promise<void> {
  await host.waitUntil(() => client.frames.length === count || client.isClosed, `${count} replies`)
  assert.equal(client.isClosed, false)
  for (const { body } of client.frames) assert.ok(body.length > minBytes, `${body.length} bytes`)
}

export const cases: readonly Case[] = [
  ...(['stream', 'messages'] as const).map((kind): Case => ({
    name: `replies of 3 MB, and 100 replies of 60 KB at once, reach a client that reads (${kind})`,
    needs: [kind],
    run: async (host) => {
      const client = await host.rawClient(kind)
      client.send(padFrame(LARGE_BYTES))
      client.send(padFrame(LARGE_BYTES))
      await waitForFrames(host, client, 2, LARGE_BYTES)
      client.frames.length = 0
      const call = padFrame(60_000)
      const calls = new Uint8Array(100 * call.length)
      for (let i = 0; i < 100; i++) calls.set(call, i * call.length)
      client.send(calls)
      await waitForFrames(host, client, 100, 60_000)
    },
  })),
  {
    name: 'replies of 3 MB reach a client of the SDK',
    run: async (host) => {
      const game = await host.sdkClient()
      const hall = game.at(Hall, uniqueName('hall'))
      for (let i = 0; i < 3; i++)
        assert.equal((await awaitOn(host, hall.pad({ bytes: LARGE_BYTES }))).pad.length, LARGE_BYTES)
    },
  },
  {
    name: 'replies of 3 MB reach a client that reads again after a second',
    needs: ['unread'],
    run: async (host) => {
      const client = await host.rawClient()
      client.setReading(false)
      for (let i = 0; i < 4; i++) client.send(padFrame(LARGE_BYTES))
      await host.sleep(1_000)
      client.setReading(true)
      await waitForFrames(host, client, 4, LARGE_BYTES)
    },
  },
  {
    name: 'events of a client that does not read are paused, and it is not closed',
    needs: ['unread'],
    run: async (host) => {
      const key = uniqueName('hall')
      const session = await openRawSession(host, Hall.name, key)
      await session.call(1, 1, enter.number)
      const hall = (await host.sdkClient()).at(Hall, key)
      session.client.setReading(false)
      for (let round = 0; round < 120; round++) await awaitOn(host, hall.broadcastBeats({ count: 4, pad: 50_000 }))
      session.client.setReading(true)
      await session.waitFor('resyncs')
      assert.equal(session.client.isClosed, false)
      session.send(MESSAGE.PING, Uint8Array.of(0, 0, 0, 1))
      const hasPong = (): boolean => session.client.frames.some(({ command }) => command === MESSAGE.PONG)
      await host.waitUntil(hasPong, 'a PONG')
    },
  },
  {
    name: 'a client that has stopped reading is closed, while another one is answered',
    needs: ['unread'],
    run: async (host) => {
      const key = uniqueName('hall')
      const session = await openRawSession(host, Hall.name, key)
      await session.call(1, 1, enter.number)
      session.client.setReading(false)
      const hall = (await host.sdkClient()).at(Hall, key)
      for (let round = 0, sequence = 1; ; round++) {
        assert.ok(round < MAX_ROUNDS, `not closed after ${round} rounds`)
        for (let i = 0; i < 8; i++, sequence++)
          session.sendCall(1, sequence + 1, pad.number, { bytes: 60_000 }, sequence)
        if ((await awaitOn(host, hall.log({}))).lines.some((line) => line.startsWith('away'))) break
        await host.sleep(20)
      }
      session.client.setReading(true)
      await session.waitForClose()
      assert.equal((await awaitOn(host, hall.pad({ bytes: 1 }))).pad, 'x')
    },
  },
]
