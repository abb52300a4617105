// Attacks by slowness: frames that do not end, peers that say nothing, and one that neither reads nor speaks. The
// server's deadlines are short here (suites.ts).

import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { MESSAGE } from '../../../core/wire/message.ts'
import { frame, helloFrame, frameWithLength } from './frames.ts'
import type { RawPeer } from './peer.ts'
import { openPausedReader } from './slowreaders.ts'
import { closeCounter, refusalCounter, type Attack, type AttackHarness } from './harness.ts'
import { clientMessage, OPCODE, upgradeRequest, type WebSocketPeer } from './websocket.ts'

export const TIMES = { firstFrameMs: 800, frameMs: 700, idleMs: 1_000, heartbeatMs: 600, unreadMs: 2_500 }
/** What a busy machine may add to a deadline. */
const TOLERANCE_MS = 1_500
const RAW = 1
const SHOUT = 10
const BIG_BYTES = 60_000
const MAX_BUFFER_BYTES = 2_000_000

/** Sends these bytes one at a time until the connection is over. */
async function sendSlowly(peer: RawPeer, bytes: Uint8Array, isOver = () => peer.isClosed): Promise<void> {
  for (const byte of bytes) {
    if (isOver()) return
    await peer.send(Uint8Array.of(byte))
    await pause(5)
  }
  assert.fail(`${bytes.length} bytes were let drip`)
}

/** How long `wait` takes: not before `leastMs`, and soon after `mostMs`. */
async function assertDuration(leastMs: number, mostMs: number, wait: Promise<unknown>): Promise<void> {
  const startedMs = performance.now()
  await wait
  const took = performance.now() - startedMs
  assert.ok(took > leastMs - 50 && took < mostMs + TOLERANCE_MS, `${took} ms, not ${leastMs} to ${mostMs}`)
}

async function assertWebSocketClosed(web: WebSocketPeer, code: number, reason: string): Promise<void> {
  const close = await web.waitForCloseFrame()
  assert.equal(close.code, code)
  assert.ok(close.reason.startsWith(`${reason}: `), close.reason)
}

/** A WebSocket that has said one good frame. */
async function openUsedWebSocket(stage: AttackHarness): Promise<WebSocketPeer> {
  const web = await stage.dialWebSocket(upgradeRequest(), clientMessage(frame(RAW, 'right')))
  await web.peer.waitForFrames(1)
  return web
}

/** The answer to these bytes, and more of them one at a time. */
async function slowRequestStatus(stage: AttackHarness, request: string): Promise<number> {
  const peer = await stage.dialHttp()
  let answer = ''
  peer.replaceReader((chunk) => (answer += chunk.toString('latin1')))
  await peer.send(Buffer.from(request, 'latin1'))
  while (!peer.isClosed) {
    if (request !== '') await peer.send(Buffer.from('a'))
    await pause(20)
  }
  return Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1])
}

const LONG_FRAME = frameWithLength(BIG_BYTES, RAW, 'x'.repeat(1_000))

export const deadlines: readonly Attack[] = [
  {
    name: 'a connection that never says a whole frame is closed',
    verdict: 'close TOO_SLOW',
    counters: closeCounter('TOO_SLOW', 3),
    run: async (stage) => {
      const { firstFrameMs } = TIMES
      const [silent, begun, web] = [await stage.dialTcp(), await stage.dialTcp(), await stage.dialWebSocket()]
      await begun.send(frame(RAW).subarray(0, 16))
      const ends = Promise.all([
        silent.waitForClose(),
        begun.waitForClose(),
        assertWebSocketClosed(web, 1008, 'TOO_SLOW'),
      ])
      await assertDuration(firstFrameMs, firstFrameMs * 1.5, ends)
      assert.equal(silent.receivedBytes + begun.receivedBytes, 0)
    },
  },
  {
    name: 'a first frame that comes one byte at a time is closed, however steady it is',
    verdict: 'close TOO_SLOW',
    counters: closeCounter('TOO_SLOW', 2),
    run: async (stage) => {
      const [legacy, session] = [await stage.dialTcp(), await stage.dialTcp()]
      const ticket = new Uint8Array(1_000)
      const both = Promise.all([sendSlowly(legacy, LONG_FRAME), sendSlowly(session, helloFrame({ ticket }))])
      await assertDuration(TIMES.firstFrameMs, TIMES.firstFrameMs * 1.5, both)
      assert.equal(legacy.receivedBytes + session.receivedBytes, 0)
    },
  },
  {
    name: 'a later frame that does not end closes, however steady its bytes are',
    verdict: 'close TOO_SLOW',
    counters: closeCounter('TOO_SLOW', 2),
    run: async (stage) => {
      const [legacy, session] = [await stage.dialTcp(), await stage.openSession()]
      await legacy.send(frame(RAW, 'right'))
      await legacy.waitForFrames(1)
      const both = Promise.all([sendSlowly(legacy, LONG_FRAME), sendSlowly(session, LONG_FRAME)])
      await assertDuration(TIMES.frameMs, TIMES.frameMs * 1.5, both)
      assert.deepEqual(session.errors(), ['0/0 TOO_SLOW'])
    },
  },
  {
    name: 'a stream that is never at the end of a frame is answered as long as its frames end',
    verdict: 'answers',
    counters: { firefly_frames_in_total: 40 },
    run: async (stage) => {
      const peer = await stage.dialTcp()
      const whole = frame(RAW, 'in two halves')
      const [first, second] = [whole.subarray(0, 20), whole.subarray(20)]
      await peer.send(first)
      // Twice the time that a frame has.
      for (let n = 1; n <= 40; n++) {
        await peer.send(second, first)
        await peer.waitForFrames(n)
        await pause(TIMES.frameMs / 20)
      }
      assert.equal(peer.isClosed, false)
    },
  },
  {
    name: 'a WebSocket message that does not end is nothing that was said',
    verdict: 'close IDLE',
    counters: closeCounter('IDLE'),
    run: async (stage) => {
      const web = await openUsedWebSocket(stage)
      const bytes = clientMessage(new Uint8Array(2_000))
      await sendSlowly(web.peer, bytes, () => web.closeFrame !== null || web.peer.isClosed)
      await assertWebSocketClosed(web, 1001, 'IDLE')
    },
  },
  {
    name: 'WebSocket pings keep nobody alive',
    verdict: 'close IDLE',
    counters: closeCounter('IDLE'),
    run: async (stage) => {
      const web = await openUsedWebSocket(stage)
      for (let n = 0; n < 100 && web.closeFrame === null; n++) {
        await web.send(clientMessage(undefined, { opcode: OPCODE.PING }))
        await pause(100)
      }
      assert.ok(web.pongs.length > 0)
      await assertWebSocketClosed(web, 1001, 'IDLE')
    },
  },
  {
    name: 'a request that does not begin or does not end is closed, however steady it is',
    verdict: 'HTTP 408 or 404, close',
    counters: refusalCounter('request', 2),
    run: async (stage) => {
      const body = upgradeRequest({ Upgrade: null, 'Content-Length': '10000' }, 'POST /metrics HTTP/1.1')
      const begun = 'GET /ws HTTP/1.1\r\nA: '
      const answers = Promise.all(['', begun, body].map((bytes) => slowRequestStatus(stage, bytes)))
      // The last is refused for what it asks, before its end.
      await assertDuration(TIMES.firstFrameMs, 2 * TIMES.firstFrameMs, answers)
      assert.deepEqual(await answers, [408, 408, 404])
    },
  },
  {
    name: 'a legacy client that says nothing more is closed',
    verdict: 'close IDLE',
    counters: closeCounter('IDLE', 2),
    run: async (stage) => {
      const [tcp, web] = [await stage.dialTcp(), await openUsedWebSocket(stage)]
      await tcp.send(frame(RAW, 'right'))
      const ends = Promise.all([tcp.waitForClose(), assertWebSocketClosed(web, 1001, 'IDLE')])
      await assertDuration(TIMES.idleMs, TIMES.idleMs + TIMES.firstFrameMs / 2, ends)
      assert.deepEqual(tcp.frameTexts(), [[RAW, 'right']])
    },
  },
  {
    name: 'a session that says nothing is closed after two and a half heartbeats',
    verdict: 'PING, then ERROR IDLE, close',
    counters: { ...closeCounter('IDLE'), firefly_pings_total: 1 },
    run: async (stage) => {
      const session = await stage.openSession()
      const { heartbeatMs } = TIMES
      await assertDuration(2 * heartbeatMs, 2.5 * heartbeatMs, session.waitForClose())
      assert.deepEqual(session.errors(), ['0/0 IDLE'])
      assert.ok(session.frames.some(({ command }) => command === MESSAGE.PING))
    },
  },
  {
    name: 'a session that neither reads nor speaks keeps little waiting until it is let go',
    verdict: 'events wait, then close IDLE',
    counters: { firefly_holds_total: 1, ...closeCounter('IDLE') },
    run: async (stage) => {
      const earlier = await stage.bufferBytes()
      const { mover } = await openPausedReader(stage)
      // What comes now waits beside the shard, and gives way.
      const heard = mover.frames.length
      await mover.send(...Array.from({ length: 100 }, () => frame(SHOUT, { bytes: BIG_BYTES })))
      await mover.waitForFrames(heard + 100)
      mover.sendReset()
      const most = earlier + MAX_BUFFER_BYTES
      const bytes = await stage.bufferBytes(most)
      assert.ok(bytes <= most, `${bytes - earlier} bytes wait`)
    },
  },
  {
    name: 'a session that speaks and never reads is let go as well',
    verdict: 'events wait, then cut: SLOW_CONSUMER',
    counters: { firefly_holds_total: 1, ...closeCounter('SLOW_CONSUMER') },
    run: async (stage) => {
      const { paused: deaf, mover } = await openPausedReader(stage)
      mover.sendReset()
      const begun = performance.now()
      while (!deaf.isClosed && performance.now() - begun < TIMES.unreadMs + TOLERANCE_MS) {
        await deaf.send(frame(MESSAGE.PING))
        await pause(50)
      }
    },
  },
]
