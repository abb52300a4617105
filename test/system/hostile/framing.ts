// Attacks on frames: fragmentation, the length field, the identity, and the end of the stream.

import assert from 'node:assert/strict'
import { HEADER_BYTES } from '../../../core/wire/frame.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { waitUntil } from '../../support/sockets.ts'
import { closeCounter, type Attack } from './attack.ts'
import { frame, frameWithDefaultIdentity, frameWithLength, frameWithWrongIdentity } from './frames.ts'
import { COMMAND } from './game.ts'
import type { AttackHarness } from './harness.ts'
import { assertSessionClosed } from './messages.ts'

const { maxBodyBytes } = DEFAULT_LIMITS
const { RAW, COUNT } = COMMAND
const IDENTITY_BYTES = 9
const FRAMES = 'firefly_frames_in_total'

/** The server answers the frames before `bytes`, then closes; a version 2 session receives the reason. */
async function assertRejected(harness: AttackHarness, bytes: Uint8Array, reason: string): Promise<void> {
  const legacy = await harness.sendUntilClosed(frame(RAW, 'valid'), bytes, frame(RAW, 'after it'))
  assert.deepEqual(legacy.frameTexts(), [[RAW, 'valid']])
  await assertSessionClosed(harness, bytes, reason)
}

async function assertClosedWithoutAnswer(harness: AttackHarness, bytes: Uint8Array): Promise<void> {
  assert.equal((await harness.sendUntilClosed(bytes)).receivedBytes, 0)
}

async function assertEchoed(harness: AttackHarness, bytes: number): Promise<void> {
  const peer = await harness.dialTcp()
  await peer.send(frame(RAW, new Uint8Array(bytes).fill(0xaa)))
  await peer.waitForFrames(1)
  assert.equal(peer.frames[0]!.body.length, bytes)
}

const wrongLengthAttack = (length: number, reason: string): Attack => ({
  name: `closes on a length field of ${length} as soon as the header is complete`,
  receives: `close ${reason}`,
  counters: closeCounter(reason, 3),
  run: async (harness) => {
    const bytes = frameWithLength(length, RAW, 'a body')
    await assertRejected(harness, bytes, reason)
    await assertClosedWithoutAnswer(harness, bytes.subarray(0, HEADER_BYTES))
  },
})

export const framing: readonly Attack[] = [
  {
    name: 'reassembles frames that arrive one byte at a time',
    receives: 'answers',
    counters: { [FRAMES]: 3 },
    run: async (harness) => {
      const peer = await harness.dialTcp()
      const bytes = Buffer.concat([frame(RAW, 'slowly'), frame(RAW), frame(RAW, 'x'.repeat(300))])
      for (const byte of bytes) await peer.send(Uint8Array.of(byte))
      await peer.waitForFrames(3)
      const lengths = peer.frameTexts().map(([, text]) => text.length)
      assert.deepEqual(lengths, [6, 0, 300])
    },
  },
  {
    name: 'answers 10,000 frames of one write in order',
    receives: 'answers, in order',
    counters: { [FRAMES]: 10_000 },
    run: async (harness) => {
      const peer = await harness.dialTcp()
      await peer.send(...Array.from({ length: 10_000 }, (_, i) => frame(RAW, String(i))))
      await peer.waitForFrames(10_000)
      assert.ok(peer.frameTexts().every(([command, text], i) => command === RAW && text === String(i)))
    },
  },
  ...[0, 1, 2, 3].map((length) => wrongLengthAttack(length, 'BAD_LENGTH')),
  {
    name: 'reads a length field of 4 as an empty body',
    receives: 'answer',
    counters: { [FRAMES]: 1 },
    run: (harness) => assertEchoed(harness, 0),
  },
  {
    name: 'accepts a body of the maximum size',
    receives: 'answer',
    counters: { [FRAMES]: 1 },
    run: (harness) => assertEchoed(harness, maxBodyBytes),
  },
  ...[maxBodyBytes + 5, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff].map((length) =>
    wrongLengthAttack(length, 'FRAME_TOO_LARGE'),
  ),
  {
    name: 'reserves no memory for the bodies that 200 headers declare',
    receives: 'no answer',
    counters: { firefly_accepted_total: 200 },
    run: async (harness) => {
      const bytesIn = 'firefly_bytes_in_total'
      const [bytesInBefore, bufferedBefore] = [await harness.readMetric(bytesIn), await harness.bufferBytes()]
      const peers = await Promise.all(Array.from({ length: 200 }, () => harness.dialTcp()))
      await Promise.all(peers.map((peer) => peer.send(frameWithLength(maxBodyBytes + 4, RAW))))
      await harness.waitForMetric(bytesIn, (bytes) => bytes >= bytesInBefore + 200 * HEADER_BYTES)
      const reserved = (await harness.bufferBytes()) - bufferedBefore
      assert.ok(reserved < 4_000_000, `${reserved} bytes for 200 headers`)
      assert.ok(peers.every((peer) => peer.receivedBytes === 0 && !peer.isClosed))
    },
  },
  {
    name: 'closes on a wrong bit in any of the 9 identity bytes',
    receives: 'close BAD_IDENTITY',
    counters: closeCounter('BAD_IDENTITY', 2 * IDENTITY_BYTES),
    run: async (harness) => {
      for (let byte = 0; byte < IDENTITY_BYTES; byte++)
        await assertRejected(harness, frameWithWrongIdentity(byte), 'BAD_IDENTITY')
    },
  },
  {
    name: 'closes as soon as a wrong identity byte arrives',
    receives: 'close BAD_IDENTITY, no answer',
    counters: closeCounter('BAD_IDENTITY', IDENTITY_BYTES + 1),
    run: async (harness) => {
      for (let byte = 0; byte < IDENTITY_BYTES; byte++)
        await assertClosedWithoutAnswer(harness, frameWithWrongIdentity(byte).subarray(0, byte + 1))
      await assertClosedWithoutAnswer(harness, frameWithDefaultIdentity())
    },
  },
  {
    name: 'does not run a frame that the end of the stream truncates',
    receives: 'no answer; complete frames before it run',
    counters: closeCounter('PEER', 21),
    run: async (harness) => {
      const complete = frame(COUNT, 'body')
      const countBefore = await harness.controls.readGameCount()
      for (let size = 0; size < complete.length; size++) {
        const peer = await harness.dialTcp()
        await peer.send(complete, complete.subarray(0, size))
        peer.sendFin()
        await peer.waitForClose()
        assert.equal(peer.receivedBytes, 0)
      }
      assert.equal(await harness.controls.readGameCount(), countBefore + complete.length)
    },
  },
  {
    name: 'releases a connection that is reset inside a frame',
    receives: 'nothing',
    counters: closeCounter('PEER', 100),
    run: async (harness) => {
      const countBefore = await harness.controls.readGameCount()
      const openBefore = await harness.readMetric('firefly_connections')
      for (let i = 0; i < 100; i++) {
        const peer = await harness.dialTcp()
        await peer.send(frame(COUNT, 'body').subarray(0, 1 + (i % 20)))
        peer.sendReset()
      }
      await harness.waitForMetric('firefly_connections', (open) => open === openBefore)
      assert.equal(await harness.controls.readGameCount(), countBefore)
    },
  },
  {
    name: 'releases a connection that closes without sending anything',
    receives: 'nothing',
    counters: closeCounter('PEER', 50),
    run: async (harness) => {
      const peers = await Promise.all(Array.from({ length: 50 }, () => harness.dialTcp()))
      for (const peer of peers) peer.sendFin()
      await waitUntil(() => peers.every((peer) => peer.isClosed), 'all connections end')
    },
  },
]
