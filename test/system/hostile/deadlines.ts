// Attacks by slowness: incomplete frames, silent peers, and peers that do not read. The server has short deadlines
// (suites.ts).

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { MESSAGE } from '../../../core/wire/message.ts'
import { closeCounter, refusalCounter, type Attack } from './attack.ts'
import { frame, frameWithLength, helloFrame } from './frames.ts'
import { COMMAND } from './game.ts'
import type { AttackHarness } from './harness.ts'
import type { RawPeer } from './peer.ts'
import { openPausedReader } from './slowreaders.ts'
import { clientMessage, OPCODE, upgradeRequest, type WebSocketPeer } from './websocket.ts'
import { TOLERANCE_MS } from '../../support/wait.ts'

export const TIMES = { firstFrameMs: 800, frameMs: 700, idleMs: 1_000, heartbeatMs: 600, unreadMs: 2_500 }
const { RAW, SHOUT } = COMMAND
const BIG_BYTES = 60_000
const MAX_BUFFER_BYTES = 2_000_000

/** Sends these bytes one at a time until the connection has ended. */
async function sendSlowly(peer: RawPeer, bytes: Uint8Array, hasEnded = () => peer.isClosed): Promise<void> {
  for (const byte of bytes) {
    if (hasEnded()) return
    await peer.send(Uint8Array.of(byte))
    await sleep(5)
  }
  assert.fail(`the server read ${bytes.length} bytes`)
}

/** Asserts that `wait` takes at least `minMs`, and at most `maxMs` plus tolerance. */
async function assertDuration(minMs: number, maxMs: number, wait: Promise<unknown>): Promise<void> {
  const startedMs = performance.now()
  await wait
  const elapsedMs = performance.now() - startedMs
  const isInRange = elapsedMs > minMs - 50 && elapsedMs < maxMs + TOLERANCE_MS
  assert.ok(isInRange, `${elapsedMs} ms, not ${minMs} to ${maxMs}`)
}

/** A WebSocket that has sent one valid frame. */
async function openUsedWebSocket(harness: AttackHarness): Promise<WebSocketPeer> {
  const web = await harness.dialWebSocket(upgradeRequest(), clientMessage(frame(RAW, 'valid')))
  await web.peer.waitForFrames(1)
  return web
}

/** Sends a request and then one byte at a time; returns the status of the response. */
async function slowRequestStatus(harness: AttackHarness, request: string): Promise<number> {
  const peer = await harness.dialHttp()
  let response = ''
  peer.replaceReader((chunk) => (response += chunk.toString('latin1')))
  await peer.send(Buffer.from(request, 'latin1'))
  while (!peer.isClosed) {
    if (request !== '') await peer.send(Buffer.from('a'))
    await sleep(20)
  }
  return Number(/^HTTP\/1\.1 (\d{3}) /.exec(response)?.[1])
}

const LONG_FRAME = frameWithLength(BIG_BYTES, RAW, 'x'.repeat(1_000))

export const deadlines: readonly Attack[] = [
  {
    name: 'closes a connection that never completes a frame',
    receives: 'close TOO_SLOW',
    counters: closeCounter('TOO_SLOW', 3),
    run: async (harness) => {
      const { firstFrameMs } = TIMES
      const [silent, partial, web] = [await harness.dialTcp(), await harness.dialTcp(), await harness.dialWebSocket()]
      await partial.send(frame(RAW).subarray(0, 16))
      const ends = Promise.all([silent.waitForClose(), partial.waitForClose(), web.assertClosed(1008, 'TOO_SLOW')])
      await assertDuration(firstFrameMs, firstFrameMs * 1.5, ends)
      assert.equal(silent.receivedBytes + partial.receivedBytes, 0)
    },
  },
  {
    name: 'closes on a first frame that arrives one byte at a time',
    receives: 'close TOO_SLOW',
    counters: closeCounter('TOO_SLOW', 2),
    run: async (harness) => {
      const [legacy, session] = [await harness.dialTcp(), await harness.dialTcp()]
      const ticket = new Uint8Array(1_000)
      const both = Promise.all([sendSlowly(legacy, LONG_FRAME), sendSlowly(session, helloFrame({ ticket }))])
      await assertDuration(TIMES.firstFrameMs, TIMES.firstFrameMs * 1.5, both)
      assert.equal(legacy.receivedBytes + session.receivedBytes, 0)
    },
  },
  {
    name: 'closes on a later frame that arrives one byte at a time',
    receives: 'close TOO_SLOW',
    counters: closeCounter('TOO_SLOW', 2),
    run: async (harness) => {
      const [legacy, session] = [await harness.dialTcp(), await harness.openSession()]
      await legacy.send(frame(RAW, 'valid'))
      await legacy.waitForFrames(1)
      const both = Promise.all([sendSlowly(legacy, LONG_FRAME), sendSlowly(session, LONG_FRAME)])
      await assertDuration(TIMES.frameMs, TIMES.frameMs * 1.5, both)
      assert.deepEqual(session.errors(), ['0/0 TOO_SLOW'])
    },
  },
  {
    name: 'answers a stream that always ends inside a frame while each frame completes in time',
    receives: 'answers',
    counters: { firefly_frames_in_total: 40 },
    run: async (harness) => {
      const peer = await harness.dialTcp()
      const complete = frame(RAW, 'in two halves')
      const [first, second] = [complete.subarray(0, 20), complete.subarray(20)]
      await peer.send(first)
      // For twice the time that one frame may take.
      for (let n = 1; n <= 40; n++) {
        await peer.send(second, first)
        await peer.waitForFrames(n)
        await sleep(TIMES.frameMs / 20)
      }
      assert.equal(peer.isClosed, false)
    },
  },
  {
    name: 'does not count an incomplete WebSocket message as activity',
    receives: 'close IDLE',
    counters: closeCounter('IDLE'),
    run: async (harness) => {
      const web = await openUsedWebSocket(harness)
      const bytes = clientMessage(new Uint8Array(2_000))
      await sendSlowly(web.peer, bytes, () => web.closeFrame !== null || web.peer.isClosed)
      await web.assertClosed(1001, 'IDLE')
    },
  },
  {
    name: 'does not count WebSocket pings as activity',
    receives: 'close IDLE',
    counters: closeCounter('IDLE'),
    run: async (harness) => {
      const web = await openUsedWebSocket(harness)
      for (let n = 0; n < 100 && web.closeFrame === null; n++) {
        await web.send(clientMessage(undefined, { opcode: OPCODE.PING }))
        await sleep(100)
      }
      assert.ok(web.pongs > 0)
      await web.assertClosed(1001, 'IDLE')
    },
  },
  {
    name: 'closes an HTTP request that does not begin or complete in time',
    receives: 'HTTP 408 or 404, close',
    counters: refusalCounter('request', 2),
    run: async (harness) => {
      const body = upgradeRequest({ Upgrade: null, 'Content-Length': '10000' }, 'POST /metrics HTTP/1.1')
      const headers = 'GET /ws HTTP/1.1\r\nA: '
      const statuses = Promise.all(['', headers, body].map((bytes) => slowRequestStatus(harness, bytes)))
      // The path of the last one is rejected before its body is complete.
      await assertDuration(TIMES.firstFrameMs, 2 * TIMES.firstFrameMs, statuses)
      assert.deepEqual(await statuses, [408, 408, 404])
    },
  },
  {
    name: 'closes an idle legacy client',
    receives: 'close IDLE',
    counters: closeCounter('IDLE', 2),
    run: async (harness) => {
      const [tcp, web] = [await harness.dialTcp(), await openUsedWebSocket(harness)]
      await tcp.send(frame(RAW, 'valid'))
      const ends = Promise.all([tcp.waitForClose(), web.assertClosed(1001, 'IDLE')])
      await assertDuration(TIMES.idleMs, TIMES.idleMs + TIMES.firstFrameMs / 2, ends)
      assert.deepEqual(tcp.frameTexts(), [[RAW, 'valid']])
    },
  },
  {
    name: 'closes a silent session after 2.5 heartbeats',
    receives: 'PING, then ERROR IDLE, close',
    counters: { ...closeCounter('IDLE'), firefly_pings_total: 1 },
    run: async (harness) => {
      const session = await harness.openSession()
      const { heartbeatMs } = TIMES
      await assertDuration(2 * heartbeatMs, 2.5 * heartbeatMs, session.waitForClose())
      assert.deepEqual(session.errors(), ['0/0 IDLE'])
      assert.ok(session.frames.some(({ command }) => command === MESSAGE.PING))
    },
  },
  {
    name: 'bounds the events of a session that neither reads nor sends, then closes it',
    receives: 'delayed events, then close IDLE',
    counters: { firefly_holds_total: 1, ...closeCounter('IDLE') },
    run: async (harness) => {
      const bytesBefore = await harness.bufferBytes()
      const { mover } = await openPausedReader(harness)
      // These events are queued at the shard, and the oldest are discarded.
      const framesBefore = mover.frames.length
      await mover.send(...Array.from({ length: 100 }, () => frame(SHOUT, { bytes: BIG_BYTES })))
      await mover.waitForFrames(framesBefore + 100)
      mover.sendReset()
      await harness.waitForBufferBytes(bytesBefore + MAX_BUFFER_BYTES)
    },
  },
  {
    name: 'cuts a session that sends and never reads',
    receives: 'delayed events, then cut SLOW_CONSUMER',
    counters: { firefly_holds_total: 1, ...closeCounter('SLOW_CONSUMER') },
    run: async (harness) => {
      const { paused, mover } = await openPausedReader(harness)
      mover.sendReset()
      const endMs = performance.now() + TIMES.unreadMs + TOLERANCE_MS
      while (!paused.isClosed && performance.now() < endMs) {
        await paused.send(frame(MESSAGE.PING))
        await sleep(50)
      }
    },
  },
]
