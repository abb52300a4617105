// Attacks on the frame itself: how its bytes are cut, what its length field says, whose identity it has, and where it
// ends.

import assert from 'node:assert/strict'
import { HEADER_BYTES } from '../../../core/wire/frame.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { waitUntil } from '../../support/sockets.ts'
import {
  callFrame,
  frameWithWrongIdentity,
  frame,
  helloFrame,
  frameWithLength,
  frameWithDefaultIdentity,
  openFrame,
} from './frames.ts'
import { closeCounter, type Attack, type AttackHarness } from './harness.ts'

const { maxBodyBytes } = DEFAULT_LIMITS
const RAW = 1
const COUNT = 5
const IDENTITY_BYTES = 9
const FRAMES = 'firefly_frames_in_total'

/** Closed by the server after the answers to what was right; a version 2 session hears why. */
async function assertRefused(stage: AttackHarness, bytes: Uint8Array, reason: string): Promise<void> {
  const legacy = await stage.dialTcp()
  await legacy.send(frame(RAW, 'right'), bytes, frame(RAW, 'behind it'))
  await legacy.waitForClose()
  assert.deepEqual(legacy.frameTexts(), [[RAW, 'right']])
  const session = await stage.dialTcp()
  await session.send(
    helloFrame(),
    openFrame(1),
    callFrame(1, 1, RAW, 'right'),
    bytes,
    callFrame(1, 2, RAW, 'behind it'),
  )
  await session.waitForClose()
  assert.deepEqual(session.errors(), [`0/0 ${reason}`])
  assert.deepEqual([...session.replies().keys()], [1])
}

/** The same from the head alone: its body never comes. */
async function assertRefusedAtHeader(stage: AttackHarness, bytes: Uint8Array): Promise<void> {
  const peer = await stage.dialTcp()
  await peer.send(bytes.subarray(0, HEADER_BYTES))
  await peer.waitForClose()
  assert.equal(peer.receivedBytes, 0)
}

async function assertEchoed(stage: AttackHarness, bytes: number): Promise<void> {
  const peer = await stage.dialTcp()
  await peer.send(frame(RAW, new Uint8Array(bytes).fill(0xaa)))
  await peer.waitForFrames(1)
  assert.equal(peer.frames[0]!.body.length, bytes)
}

const wrongLengthAttack = (length: number, reason: string): Attack => ({
  name: `a length field of ${length} closes from the head alone`,
  verdict: `close ${reason}`,
  counters: closeCounter(reason, 3),
  run: async (stage) => {
    await assertRefused(stage, frameWithLength(length, RAW, 'a body'), reason)
    await assertRefusedAtHeader(stage, frameWithLength(length, RAW, 'a body'))
  },
})

export const framing: readonly Attack[] = [
  {
    name: 'frames that come one byte at a time are put together',
    verdict: 'answers',
    counters: { [FRAMES]: 3 },
    run: async (stage) => {
      const peer = await stage.dialTcp()
      const bytes = Buffer.concat([frame(RAW, 'slowly'), frame(RAW), frame(RAW, 'x'.repeat(300))])
      for (const byte of bytes) await peer.send(Uint8Array.of(byte))
      await peer.waitForFrames(3)
      assert.deepEqual(
        peer.frameTexts().map(([, text]) => text.length),
        [6, 0, 300],
      )
    },
  },
  {
    name: '10,000 frames in one write are all answered in order',
    verdict: 'answers, in order',
    counters: { [FRAMES]: 10_000 },
    run: async (stage) => {
      const peer = await stage.dialTcp()
      await peer.send(...Array.from({ length: 10_000 }, (_, i) => frame(RAW, String(i))))
      await peer.waitForFrames(10_000)
      assert.ok(peer.frameTexts().every(([command, text], i) => command === RAW && text === String(i)))
    },
  },
  ...[0, 1, 2, 3].map((length) => wrongLengthAttack(length, 'BAD_LENGTH')),
  {
    name: 'a length field of 4 is an empty body',
    verdict: 'answer',
    counters: { [FRAMES]: 1 },
    run: (stage) => assertEchoed(stage, 0),
  },
  {
    name: 'a body of the largest size is carried',
    verdict: 'answer',
    counters: { [FRAMES]: 1 },
    run: (stage) => assertEchoed(stage, maxBodyBytes),
  },
  ...[maxBodyBytes + 5, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff].map((length) =>
    wrongLengthAttack(length, 'FRAME_TOO_LARGE'),
  ),
  {
    name: '200 heads that declare the largest body and send none of it reserve no memory for it',
    verdict: 'silence',
    counters: { firefly_accepted_total: 200 },
    run: async (stage) => {
      const [earlier, before] = [await stage.readMetrics(), await stage.bufferBytes()]
      const peers = await Promise.all(Array.from({ length: 200 }, () => stage.dialTcp()))
      await Promise.all(peers.map((peer) => peer.send(frameWithLength(maxBodyBytes + 4, RAW))))
      const arrived = earlier.get('firefly_bytes_in_total')! + 200 * HEADER_BYTES
      await stage.waitForMetric('firefly_bytes_in_total', (bytes) => bytes >= arrived)
      const grown = (await stage.bufferBytes()) - before
      assert.ok(grown < 4_000_000, `${grown} bytes for 200 heads`)
      assert.ok(peers.every((peer) => peer.receivedBytes === 0 && !peer.isClosed))
    },
  },
  {
    name: 'a wrong identity closes, whichever of its 9 bytes is wrong',
    verdict: 'close BAD_IDENTITY',
    counters: closeCounter('BAD_IDENTITY', 2 * IDENTITY_BYTES),
    run: async (stage) => {
      for (let byte = 0; byte < IDENTITY_BYTES; byte++)
        await assertRefused(stage, frameWithWrongIdentity(byte), 'BAD_IDENTITY')
    },
  },
  {
    name: 'a wrong identity byte closes as soon as it has come',
    verdict: 'close BAD_IDENTITY without an answer',
    counters: closeCounter('BAD_IDENTITY', IDENTITY_BYTES + 1),
    run: async (stage) => {
      const prefixes = Array.from({ length: IDENTITY_BYTES }, (_, byte) =>
        frameWithWrongIdentity(byte).subarray(0, byte + 1),
      )
      for (const bytes of [...prefixes, frameWithDefaultIdentity()]) {
        const peer = await stage.dialTcp()
        await peer.send(bytes)
        await peer.waitForClose()
        assert.equal(peer.receivedBytes, 0)
      }
    },
  },
  {
    name: 'a frame that is cut off by the end of the stream is never run',
    verdict: 'silence, the whole frames before it are run',
    counters: closeCounter('PEER', 21),
    run: async (stage) => {
      const whole = frame(COUNT, 'body')
      const counted = await stage.controls.readGameCount()
      for (let cut = 0; cut < whole.length; cut++) {
        const peer = await stage.dialTcp()
        await peer.send(whole, whole.subarray(0, cut))
        peer.sendFin()
        await peer.waitForClose()
        assert.equal(peer.receivedBytes, 0)
      }
      assert.equal(await stage.controls.readGameCount(), counted + whole.length)
    },
  },
  {
    name: 'a connection that is reset in the middle of a frame leaves nothing behind',
    verdict: 'nothing',
    counters: closeCounter('PEER', 100),
    run: async (stage) => {
      const counted = await stage.controls.readGameCount()
      const before = (await stage.readMetrics()).get('firefly_connections')
      for (let i = 0; i < 100; i++) {
        const peer = await stage.dialTcp()
        await peer.send(frame(COUNT, 'body').subarray(0, 1 + (i % 20)))
        peer.sendReset()
      }
      const stay = await stage.waitForMetric('firefly_connections', (count) => count === before)
      assert.equal(stay, before, 'connections that stay')
      assert.equal(await stage.controls.readGameCount(), counted)
    },
  },
  {
    name: 'a connection that says nothing and goes costs nobody anything',
    verdict: 'nothing',
    counters: closeCounter('PEER', 50),
    run: async (stage) => {
      const peers = await Promise.all(Array.from({ length: 50 }, () => stage.dialTcp()))
      for (const peer of peers) peer.sendFin()
      await waitUntil(() => peers.every((peer) => peer.isClosed), 'all are gone')
    },
  },
]
