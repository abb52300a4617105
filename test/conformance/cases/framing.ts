// Frames as bytes: the vectors made by the original code, and what a peer may do to a stream.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import type { Host, RawClient } from '../host.ts'
import { frame, hex, join, texts, type Case } from './case.ts'

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
/** Command ids from here on are the protocol's own. */
const FIRST_RESERVED = 0xffffff00
const frames = vectors.frames.filter((one) => isDefault(one) && one.command < FIRST_RESERVED)
const illegal = vectors.illegal.filter(
  ({ expectHead, expectProtoVersion, headerHex }) =>
    expectHead.every((part) => part === 0) && expectProtoVersion === 0 && headerHex.length === 34,
)

function framesAsHex(client: RawClient): [number, string][] {
  return client.frames.map(({ command, body }) => [command, Buffer.from(body).toString('hex')])
}

async function waitForClose(host: Host, client: RawClient): Promise<void> {
  await host.waitUntil(() => client.isClosed, 'the connection is closed')
}

/** The connection is alive, and nothing else is on its way. */
async function assertStillAnswers(host: Host, client: RawClient): Promise<void> {
  const before = client.frames.length
  client.send(frame(7, 'still there'))
  await host.waitUntil(() => client.frames.length > before, 'an echo')
  assert.deepEqual(texts(client).slice(before), [[7, 'still there']])
}

export const cases: readonly Case[] = [
  {
    name: 'every frame of the vectors comes back byte for byte',
    run: async (host) => {
      assert.ok(frames.length >= 11)
      const client = await host.rawClient()
      for (const [i, { frameHex, command, bodyHex }] of frames.entries()) {
        client.send(hex(frameHex))
        await host.waitUntil(() => client.frames.length > i, 'an echo')
        assert.deepEqual(framesAsHex(client)[i], [command, bodyHex])
      }
    },
  },
  {
    name: 'all frames of the vectors stuck together are answered in order',
    run: async (host) => {
      const client = await host.rawClient()
      client.send(join(...frames.map(({ frameHex }) => hex(frameHex))))
      await host.waitUntil(() => client.frames.length === frames.length, 'all echoes')
      assert.deepEqual(
        framesAsHex(client),
        frames.map(({ command, bodyHex }) => [command, bodyHex]),
      )
    },
  },
  {
    name: 'frames that arrive byte by byte are put together',
    needs: ['stream'],
    run: async (host) => {
      const small = frames.filter(({ bodyHex }) => bodyHex.length < 600)
      const client = await host.rawClient('stream')
      for (const byte of join(...small.map(({ frameHex }) => hex(frameHex)))) client.send(Uint8Array.of(byte))
      await host.waitUntil(() => client.frames.length === small.length, 'all echoes')
      assert.deepEqual(
        framesAsHex(client),
        small.map(({ command, bodyHex }) => [command, bodyHex]),
      )
    },
  },
  {
    name: 'every stream of the vectors is cut as the original cuts it',
    needs: ['stream'],
    run: async (host) => {
      const streams = vectors.streams.filter(isDefault)
      assert.ok(streams.length >= 9)
      for (const { name, chunksHex, expected } of streams) {
        const client = await host.rawClient('stream')
        for (const chunk of chunksHex) client.send(hex(chunk))
        await host.waitUntil(() => client.frames.length >= expected.dispatched.length, `${name}: all echoes`)
        if (expected.closed) await waitForClose(host, client)
        assert.deepEqual(framesAsHex(client), expected.dispatched, name)
        assert.equal(client.isClosed, expected.closed, name)
        client.close()
      }
    },
  },
  {
    name: 'frames cut at any place are put together',
    needs: ['stream'],
    run: async (host) => {
      const sent = Array.from({ length: 300 }, (_, i) => frame(i % 8, `${i}:${'x'.repeat((i * 37) % 900)}`))
      const whole = join(...sent)
      const client = await host.rawClient('stream')
      for (let at = 0, seed = 7; at < whole.length;) {
        seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
        const size = 1 + (seed % 700)
        client.send(whole.slice(at, at + size))
        at += size
      }
      await host.waitUntil(() => client.frames.length === 300, 'all echoes')
      assert.deepEqual(
        texts(client).map(([command, text]) => [command, text.split(':')[0]]),
        sent.map((_, i) => [i % 8, String(i)]),
      )
    },
  },
  {
    name: 'each identity that differs in one field closes the connection without an answer',
    run: async (host) => {
      assert.ok(illegal.length >= 9)
      for (const { headerHex } of illegal) {
        const client = await host.rawClient()
        client.send(hex(headerHex))
        await waitForClose(host, client)
        assert.deepEqual(client.frames, [])
      }
    },
  },
  {
    name: 'a wrong identity byte closes before its header is complete',
    needs: ['stream'],
    run: async (host) => {
      const client = await host.rawClient('stream')
      client.send(hex('0001'))
      await waitForClose(host, client)
    },
  },
  {
    name: 'frames before an illegal one are answered, then the connection is closed',
    run: async (host) => {
      const client = await host.rawClient()
      client.send(join(frame(1, 'one'), frame(14, 'two'), hex(illegal[0]!.headerHex), frame(3, 'three')))
      await waitForClose(host, client)
      assert.deepEqual(texts(client), [
        [1, 'one'],
        [14, 'two'],
      ])
    },
  },
  {
    name: 'a length field below 4 closes',
    run: async (host) => {
      for (const length of ['00000000', '00000001', '00000003']) {
        const client = await host.rawClient()
        client.send(hex(`000000000000000000${length}00000001`))
        await waitForClose(host, client)
        assert.deepEqual(client.frames, [])
      }
    },
  },
  {
    name: 'a length field over the limit closes from the header alone',
    needs: ['stream'],
    run: async (host) => {
      for (const length of ['00010005', '7fffffff', 'ffffffff']) {
        const client = await host.rawClient('stream')
        client.send(hex(`000000000000000000${length}00000001`))
        await waitForClose(host, client)
      }
    },
  },
  {
    name: 'the largest body is carried and one byte more closes',
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
    name: 'a WebSocket message that ends inside a frame closes, after the answers to its whole frames',
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
    name: 'a WebSocket message with several frames is answered frame by frame',
    needs: ['messages'],
    run: async (host) => {
      const client = await host.rawClient('messages')
      client.send(join(frame(1, 'a'), frame(2, 'b'), frame(0, '')))
      await host.waitUntil(() => client.frames.length === 3, 'three echoes')
      assert.deepEqual(texts(client), [
        [1, 'a'],
        [2, 'b'],
        [0, ''],
      ])
    },
  },
  {
    name: 'an empty WebSocket message is nothing',
    needs: ['messages'],
    run: async (host) => {
      const client = await host.rawClient('messages')
      client.send(new Uint8Array(0))
      await assertStillAnswers(host, client)
    },
  },
  {
    name: 'a reserved command before HELLO is refused in silence',
    run: async (host) => {
      const client = await host.rawClient()
      client.send(frame(0xffffffff, 'x'))
      client.send(frame(0xffffff05, 'x'))
      await assertStillAnswers(host, client)
    },
  },
  {
    name: 'a connection that says nothing disturbs nobody',
    run: async (host) => {
      await host.rawClient()
      await assertStillAnswers(host, await host.rawClient())
    },
  },
]
