// WebSocket messages from the server. Invariant: a message of several frames is not larger than the limit of common clients; a
// larger frame is a message of its own.

import assert from 'node:assert/strict'

import { msgpack } from '../../../core/wire/codec.ts'
import { HEADER_BYTES } from '../../../core/wire/frame.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import type { Host, RawClient } from '../host.ts'
import { Hall } from '../sessionshards.ts'
import { awaitOn, frame, join, RawSession, uniqueName, type Case } from './case.ts'

const { enter, broadcastBeats, pad } = Hall.entries
const { maxMessageBytes, maxBodyBytes } = DEFAULT_LIMITS

/** Asserts that the messages are cut at frames, and that only a frame without others is larger than the limit. */
function assertMessages(client: RawClient): void {
  let next = 0
  for (const bytes of client.readBytes) {
    let frames = 0
    let end = 0
    for (; end < bytes; frames++) end += HEADER_BYTES + client.frames[next++]!.body.length
    assert.equal(end, bytes, 'a message ends with a frame')
    assert.ok(bytes <= maxMessageBytes || frames === 1, `${bytes} bytes in ${frames} frames`)
  }
}

async function openHalls(host: Host, keys: readonly string[], earlier?: RawSession): Promise<RawSession> {
  const session = (await RawSession.connect(host, 'messages')).sendHello(earlier?.credentials)
  await session.waitFor('welcome')
  keys.forEach((key, i) => {
    const activation = earlier?.received.opened.find(({ channel }) => channel === i + 1)?.activation
    session.openChannel(i + 1, Hall.name, key, activation)
  })
  await session.waitFor('opened', keys.length)
  return session
}

export const cases: readonly Case[] = [
  {
    name: 'events and answers of one turn are cut into messages at frames, and a larger frame is sent alone',
    needs: ['messages'],
    run: async (host) => {
      const client = await host.rawClient('messages')
      const calls = [300, 70_000, 300].map((bytes) => frame(pad.number, msgpack.encode({ bytes })))
      const burst = frame(broadcastBeats.number, msgpack.encode({ count: 280, pad: 1_000 }))
      client.send(join(frame(enter.number, msgpack.encode({})), burst, ...calls, burst))
      await host.waitUntil(() => client.frames.length === 2 * 281 + 4, 'all events and replies')
      assertMessages(client)
      const largest = Math.max(...client.readBytes)
      assert.ok(largest > 70_000 && client.readBytes.length >= 10, `${client.readBytes.length} messages`)
    },
  },
  {
    name: 'the answer to the largest ordinary body is a message below 65,536 bytes',
    needs: ['messages'],
    run: async (host) => {
      const client = await host.rawClient('messages')
      client.send(frame(1, new Uint8Array(maxBodyBytes)))
      await host.waitUntil(() => client.frames.length === 1, 'a reply')
      assert.deepEqual(client.readBytes, [HEADER_BYTES + maxBodyBytes])
      assert.ok(client.readBytes[0]! < 65_536)
    },
  },
  {
    name: 'the missed events of several channels are cut into messages after a resume',
    needs: ['messages'],
    run: async (host) => {
      const keys = [uniqueName('hall'), uniqueName('hall'), uniqueName('hall')]
      const session = await openHalls(host, keys)
      for (const [i] of keys.entries()) await session.call(i + 1, 1, enter.number)
      session.client.close()
      const game = await host.sdkClient()
      for (const key of keys) await awaitOn(host, game.at(Hall, key).broadcastBeats({ count: 100, pad: 1_000 }))
      const resumed = await openHalls(host, keys, session)
      await resumed.waitFor('events', 300)
      assertMessages(resumed.client)
    },
  },
]
