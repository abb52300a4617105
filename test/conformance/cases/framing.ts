// Frames as bytes: the vectors made by the original code, split and joined frames, and malformed ones.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { bytesOfHex, hexOf } from '../../../core/wire/bytes.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { Random } from '../../support/random.ts'
import type { Host, RawClient } from '../host.ts'
import { frame, join, texts, waitForTexts, type Case } from './case.ts'

interface VectorIdentity {
  readonly name: string
  readonly head: readonly number[]
  readonly protoVersion: number
  readonly serverVersion: number
}
interface Vectors {
  readonly frames: readonly (VectorIdentity & { command: number; bodyHex: string; frameHex: string })[]
  readonly illegal: readonly {
    name: string
    expectHead: readonly number[]
    expectProtoVersion: number
    headerHex: string
  }[]
  readonly streams: readonly (VectorIdentity & {
    chunksHex: readonly string[]
    expected: { dispatched: readonly [number, string][]; closed: boolean }
  })[]
}
const vectors = JSON.parse(
  readFileSync(new URL('../../../schemas/vectors/frames.json', import.meta.url), 'utf8'),
) as Vectors
const isDefault = (of: VectorIdentity): boolean =>
  of.head.every((part) => part === 0) && of.protoVersion === 0 && of.serverVersion === 0
/** Numbers from here on are session protocol messages. */
const FIRST_RESERVED = 0xffffff00
/** The largest vector, 65,535 bytes, is above the default limit. */
const frames = vectors.frames.filter(
  (vector) =>
    isDefault(vector) && vector.command < FIRST_RESERVED && vector.bodyHex.length / 2 <= DEFAULT_LIMITS.maxBodyBytes,
)
const illegal = vectors.illegal.filter(
  ({ expectHead, expectProtoVersion, headerHex }) =>
    expectHead.every((part) => part === 0) && expectProtoVersion === 0 && headerHex.length === 34,
)

function framesAsHex(client: RawClient): [number, string][] {
  return client.frames.map(({ command, body }) => [command, hexOf(body)])
}

async function waitForClose(host: Host, client: RawClient): Promise<void> {
  await host.waitUntil(() => client.isClosed, 'the connection is closed')
}

/** The connection echoes, and no other frame arrives before the echo. */
async function assertStillAnswers(host: Host, client: RawClient): Promise<void> {
  const before = client.frames.length
  client.send(frame(7, 'echo'))
  await host.waitUntil(() => client.frames.length > before, 'an echo')
  assert.deepEqual(texts(client).slice(before), [[7, 'echo']])
}

export const cases: readonly Case[] = [
  {
    name: 'each frame of the vectors is echoed unchanged',
    run: async (host) => {
      assert.ok(frames.length >= 10)
      const client = await host.rawClient()
      for (const [i, { frameHex, command, bodyHex }] of frames.entries()) {
        client.send(bytesOfHex(frameHex))
        await host.waitUntil(() => client.frames.length > i, 'an echo')
        assert.deepEqual(framesAsHex(client)[i], [command, bodyHex])
      }
    },
  },
  {
    name: 'all frames of the vectors in one send are echoed in order',
    run: async (host) => {
      const client = await host.rawClient()
      client.send(join(...frames.map(({ frameHex }) => bytesOfHex(frameHex))))
      await host.waitUntil(() => client.frames.length === frames.length, 'all echoes')
      assert.deepEqual(
        framesAsHex(client),
        frames.map(({ command, bodyHex }) => [command, bodyHex]),
      )
    },
  },
  {
    name: 'frames that arrive byte by byte are reassembled',
    needs: ['stream'],
    run: async (host) => {
      const small = frames.filter(({ bodyHex }) => bodyHex.length < 600)
      const client = await host.rawClient('stream')
      for (const byte of join(...small.map(({ frameHex }) => bytesOfHex(frameHex)))) client.send(Uint8Array.of(byte))
      await host.waitUntil(() => client.frames.length === small.length, 'all echoes')
      assert.deepEqual(
        framesAsHex(client),
        small.map(({ command, bodyHex }) => [command, bodyHex]),
      )
    },
  },
  {
    name: 'each stream of the vectors is split into the same frames as by the original code',
    needs: ['stream'],
    run: async (host) => {
      const streams = vectors.streams.filter(isDefault)
      assert.ok(streams.length >= 9)
      for (const { name, chunksHex, expected } of streams) {
        const client = await host.rawClient('stream')
        for (const chunk of chunksHex) client.send(bytesOfHex(chunk))
        await host.waitUntil(() => client.frames.length >= expected.dispatched.length, `${name}: all echoes`)
        if (expected.closed) await waitForClose(host, client)
        assert.deepEqual(framesAsHex(client), expected.dispatched, name)
        assert.equal(client.isClosed, expected.closed, name)
        client.close()
      }
    },
  },
  {
    name: 'frames split at any position are reassembled',
    needs: ['stream'],
    run: async (host) => {
      const sent = Array.from({ length: 300 }, (_, i) => frame(i % 8, `${i}:${'x'.repeat((i * 37) % 900)}`))
      const stream = join(...sent)
      const random = new Random(7)
      const client = await host.rawClient('stream')
      for (let at = 0, size = 0; at < stream.length; at += size) {
        size = 1 + random.below(700)
        client.send(stream.slice(at, at + size))
      }
      assert.deepEqual(
        (await waitForTexts(host, client, 300)).map(([command, text]) => [command, text.split(':')[0]]),
        sent.map((_, i) => [i % 8, String(i)]),
      )
    },
  },
  {
    name: 'a header that differs from the identity in one field closes the connection without a reply',
    run: async (host) => {
      assert.ok(illegal.length >= 9)
      for (const { headerHex } of illegal) {
        const client = await host.rawClient()
        client.send(bytesOfHex(headerHex))
        await waitForClose(host, client)
        assert.deepEqual(client.frames, [])
      }
    },
  },
  {
    name: 'a wrong identity byte closes the connection before its header is complete',
    needs: ['stream'],
    run: async (host) => {
      const client = await host.rawClient('stream')
      client.send(bytesOfHex('0001'))
      await waitForClose(host, client)
    },
  },
  {
    name: 'frames before an illegal one get replies, then the connection is closed',
    run: async (host) => {
      const client = await host.rawClient()
      client.send(join(frame(1, 'one'), frame(14, 'two'), bytesOfHex(illegal[0]!.headerHex), frame(3, 'three')))
      await waitForClose(host, client)
      assert.deepEqual(texts(client), [
        [1, 'one'],
        [14, 'two'],
      ])
    },
  },
  {
    name: 'a length field below 4 closes the connection',
    run: async (host) => {
      for (const length of ['00000000', '00000001', '00000003']) {
        const client = await host.rawClient()
        client.send(bytesOfHex(`000000000000000000${length}00000001`))
        await waitForClose(host, client)
        assert.deepEqual(client.frames, [])
      }
    },
  },
  {
    name: 'a length field above the limit closes the connection before its body arrives',
    needs: ['stream'],
    run: async (host) => {
      for (const length of ['00010005', '7fffffff', 'ffffffff']) {
        const client = await host.rawClient('stream')
        client.send(bytesOfHex(`000000000000000000${length}00000001`))
        await waitForClose(host, client)
      }
    },
  },
  {
    name: 'a body of the maximum size is echoed, and one byte more closes the connection',
    run: async (host) => {
      const { maxBodyBytes } = DEFAULT_LIMITS
      const client = await host.rawClient()
      client.send(frame(1, new Uint8Array(maxBodyBytes).fill(65)))
      await host.waitUntil(() => client.frames.length === 1, 'the echo')
      assert.equal(client.frames[0]!.body.length, maxBodyBytes)
      client.send(frame(1, new Uint8Array(maxBodyBytes + 1)))
      await waitForClose(host, client)
      assert.equal(client.frames.length, 1)
    },
  },
  {
    name: 'a WebSocket message that ends inside a frame closes the connection after the replies to its complete frames',
    needs: ['messages'],
    run: async (host) => {
      for (const cut of [1, 16, 17, 19]) {
        const client = await host.rawClient('messages')
        client.send(join(frame(1, 'one'), frame(2, 'two').subarray(0, cut)))
        await waitForClose(host, client)
        assert.deepEqual(texts(client), [[1, 'one']])
      }
    },
  },
  {
    name: 'each frame of a WebSocket message with several frames gets its reply',
    needs: ['messages'],
    run: async (host) => {
      const client = await host.rawClient('messages')
      client.send(join(frame(1, 'a'), frame(2, 'b'), frame(0, '')))
      assert.deepEqual(await waitForTexts(host, client, 3), [
        [1, 'a'],
        [2, 'b'],
        [0, ''],
      ])
    },
  },
  {
    name: 'an empty WebSocket message is ignored',
    needs: ['messages'],
    run: async (host) => {
      const client = await host.rawClient('messages')
      client.send(new Uint8Array(0))
      await assertStillAnswers(host, client)
    },
  },
  {
    name: 'a reserved command before HELLO gets no reply',
    run: async (host) => {
      const client = await host.rawClient()
      client.send(frame(0xffffffff, 'x'))
      client.send(frame(0xffffff05, 'x'))
      await assertStillAnswers(host, client)
    },
  },
  {
    name: 'a connection that sends nothing does not affect another connection',
    run: async (host) => {
      await host.rawClient()
      await assertStillAnswers(host, await host.rawClient())
    },
  },
]
