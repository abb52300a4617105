// Attacks on the frame itself: how its bytes are cut, what its length field says, whose identity it has, and where it
// ends.

import assert from 'node:assert/strict'
import { HEADER_BYTES } from '../../../core/wire/frame.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { until } from '../../conformance/sockets.ts'
import { call, foreign, frame, hello, lying, nobodys, open } from './frames.ts'
import { closes, type Attack, type Stage } from './stage.ts'

const { maxBodyBytes } = DEFAULT_LIMITS
const RAW = 1
const COUNT = 5
const IDENTITY_BYTES = 9
const FRAMES = 'firefly_frames_in_total'

/** Closed by the server after the answers to what was right; a version 2 session hears why. */
async function refused(stage: Stage, bytes: Uint8Array, reason: string): Promise<void> {
  const legacy = await stage.dial()
  await legacy.send(frame(RAW, 'right'), bytes, frame(RAW, 'behind it'))
  await legacy.ends()
  assert.deepEqual(legacy.texts(), [[RAW, 'right']])
  const session = await stage.dial()
  await session.send(hello(), open(1), call(1, 1, RAW, 'right'), bytes, call(1, 2, RAW, 'behind it'))
  await session.ends()
  assert.deepEqual(session.errors(), [`0/0 ${reason}`])
  assert.deepEqual([...session.replies().keys()], [1])
}

/** The same from the head alone: its body never comes. */
async function refusedAtHead(stage: Stage, bytes: Uint8Array): Promise<void> {
  const peer = await stage.dial()
  await peer.send(bytes.subarray(0, HEADER_BYTES))
  await peer.ends()
  assert.equal(peer.bytes, 0)
}

async function echoed(stage: Stage, bytes: number): Promise<void> {
  const peer = await stage.dial()
  await peer.send(frame(RAW, new Uint8Array(bytes).fill(0xaa)))
  await peer.hears(1)
  assert.equal(peer.heard[0]!.body.length, bytes)
}

const lie = (length: number, reason: string): Attack => ({
  name: `a length field of ${length} closes from the head alone`,
  verdict: `close ${reason}`,
  counters: closes(reason, 3),
  run: async (stage) => {
    await refused(stage, lying(length, RAW, 'a body'), reason)
    await refusedAtHead(stage, lying(length, RAW, 'a body'))
  },
})

export const framing: readonly Attack[] = [
  {
    name: 'frames that come one byte at a time are put together',
    verdict: 'answers',
    counters: { [FRAMES]: 3 },
    run: async (stage) => {
      const peer = await stage.dial()
      const bytes = Buffer.concat([frame(RAW, 'slowly'), frame(RAW), frame(RAW, 'x'.repeat(300))])
      for (const byte of bytes) await peer.send(Uint8Array.of(byte))
      await peer.hears(3)
      assert.deepEqual(
        peer.texts().map(([, text]) => text.length),
        [6, 0, 300],
      )
    },
  },
  {
    name: '10,000 frames in one write are all answered in order',
    verdict: 'answers, in order',
    counters: { [FRAMES]: 10_000 },
    run: async (stage) => {
      const peer = await stage.dial()
      await peer.send(...Array.from({ length: 10_000 }, (_, i) => frame(RAW, String(i))))
      await peer.hears(10_000)
      assert.ok(peer.texts().every(([command, text], i) => command === RAW && text === String(i)))
    },
  },
  ...[0, 1, 2, 3].map((length) => lie(length, 'BAD_LENGTH')),
  {
    name: 'a length field of 4 is an empty body',
    verdict: 'answer',
    counters: { [FRAMES]: 1 },
    run: (stage) => echoed(stage, 0),
  },
  {
    name: 'a body of the largest size is carried',
    verdict: 'answer',
    counters: { [FRAMES]: 1 },
    run: (stage) => echoed(stage, maxBodyBytes),
  },
  ...[maxBodyBytes + 5, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff].map((length) =>
    lie(length, 'FRAME_TOO_LARGE'),
  ),
  {
    name: '200 heads that declare the largest body and send none of it reserve no memory for it',
    verdict: 'silence',
    counters: { firefly_accepted_total: 200 },
    run: async (stage) => {
      const [earlier, before] = [await stage.metrics(), await stage.buffers()]
      const peers = await Promise.all(Array.from({ length: 200 }, () => stage.dial()))
      await Promise.all(peers.map((peer) => peer.send(lying(maxBodyBytes + 4, RAW))))
      const arrived = earlier.get('firefly_bytes_in_total')! + 200 * HEADER_BYTES
      await stage.figure('firefly_bytes_in_total', (bytes) => bytes >= arrived)
      const grown = (await stage.buffers()) - before
      assert.ok(grown < 4_000_000, `${grown} bytes for 200 heads`)
      assert.ok(peers.every((peer) => peer.bytes === 0 && !peer.closed))
    },
  },
  {
    name: 'a wrong identity closes, whichever of its 9 bytes is wrong',
    verdict: 'close BAD_IDENTITY',
    counters: closes('BAD_IDENTITY', 2 * IDENTITY_BYTES),
    run: async (stage) => {
      for (let byte = 0; byte < IDENTITY_BYTES; byte++) await refused(stage, foreign(byte), 'BAD_IDENTITY')
    },
  },
  {
    name: 'a wrong identity byte closes as soon as it has come',
    verdict: 'close BAD_IDENTITY without an answer',
    counters: closes('BAD_IDENTITY', IDENTITY_BYTES + 1),
    run: async (stage) => {
      const prefixes = Array.from({ length: IDENTITY_BYTES }, (_, byte) =>
        foreign(byte).subarray(0, byte + 1),
      )
      for (const bytes of [...prefixes, nobodys()]) {
        const peer = await stage.dial()
        await peer.send(bytes)
        await peer.ends()
        assert.equal(peer.bytes, 0)
      }
    },
  },
  {
    name: 'a frame that is cut off by the end of the stream is never run',
    verdict: 'silence, the whole frames before it are run',
    counters: closes('PEER', 21),
    run: async (stage) => {
      const whole = frame(COUNT, 'body')
      const counted = await stage.neighbours.tally()
      for (let cut = 0; cut < whole.length; cut++) {
        const peer = await stage.dial()
        await peer.send(whole, whole.subarray(0, cut))
        peer.finish()
        await peer.ends()
        assert.equal(peer.bytes, 0)
      }
      assert.equal(await stage.neighbours.tally(), counted + whole.length)
    },
  },
  {
    name: 'a connection that is reset in the middle of a frame leaves nothing behind',
    verdict: 'nothing',
    counters: closes('PEER', 100),
    run: async (stage) => {
      const counted = await stage.neighbours.tally()
      const before = (await stage.metrics()).get('firefly_connections')
      for (let i = 0; i < 100; i++) {
        const peer = await stage.dial()
        await peer.send(frame(COUNT, 'body').subarray(0, 1 + (i % 20)))
        peer.reset()
      }
      const stay = await stage.figure('firefly_connections', (count) => count === before)
      assert.equal(stay, before, 'connections that stay')
      assert.equal(await stage.neighbours.tally(), counted)
    },
  },
  {
    name: 'a connection that says nothing and goes costs nobody anything',
    verdict: 'nothing',
    counters: closes('PEER', 50),
    run: async (stage) => {
      const peers = await Promise.all(Array.from({ length: 50 }, () => stage.dial()))
      for (const peer of peers) peer.finish()
      await until(() => peers.every((peer) => peer.closed), 'all are gone')
    },
  },
]
