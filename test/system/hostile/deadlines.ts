// Attacks by slowness: frames that do not end, peers that say nothing, and one that neither reads nor speaks. The
// server's deadlines are short here (suites.ts).

import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { MESSAGE } from '../../../core/wire/message.ts'
import { frame, hello, lying } from './frames.ts'
import type { Peer } from './peer.ts'
import { deafened } from './readers.ts'
import { closes, refusals, type Attack, type Stage } from './stage.ts'
import { message, OPCODE, upgrade, type WebSocketPeer } from './websocket.ts'

export const TIMES = { firstFrameMs: 800, frameMs: 700, idleMs: 1_000, heartbeatMs: 600, unreadMs: 2_500 }
/** What a busy machine may add to a deadline. */
const LATE_MS = 1_500
const RAW = 1
const SHOUT = 10
const BIG = 60_000
const MOST_BYTES = 2_000_000

/** Sends these bytes one at a time until the connection is over. */
async function drip(peer: Peer, bytes: Uint8Array, isOver = () => peer.closed): Promise<void> {
  for (const byte of bytes) {
    if (isOver()) return
    await peer.send(Uint8Array.of(byte))
    await pause(5)
  }
  assert.fail(`${bytes.length} bytes were let drip`)
}

/** How long `wait` takes: not before `leastMs`, and soon after `mostMs`. */
async function within(leastMs: number, mostMs: number, wait: Promise<unknown>): Promise<void> {
  const begun = performance.now()
  await wait
  const took = performance.now() - begun
  assert.ok(took > leastMs - 50 && took < mostMs + LATE_MS, `${took} ms, not ${leastMs} to ${mostMs}`)
}

async function closed(web: WebSocketPeer, code: number, reason: string): Promise<void> {
  const close = await web.ends()
  assert.equal(close.code, code)
  assert.ok(close.reason.startsWith(`${reason}: `), close.reason)
}

/** A WebSocket that has said one good frame. */
async function known(stage: Stage): Promise<WebSocketPeer> {
  const web = await stage.web(upgrade(), message(frame(RAW, 'right')))
  await web.peer.hears(1)
  return web
}

/** The answer to these bytes, and more of them one at a time. */
async function asks(stage: Stage, request: string): Promise<number> {
  const peer = await stage.dialHttp()
  let answer = ''
  peer.reads((chunk) => (answer += chunk.toString('latin1')))
  await peer.send(Buffer.from(request, 'latin1'))
  while (!peer.closed) {
    if (request !== '') await peer.send(Buffer.from('a'))
    await pause(20)
  }
  return Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1])
}

const endless = lying(BIG, RAW, 'x'.repeat(1_000))

export const deadlines: readonly Attack[] = [
  {
    name: 'a connection that never says a whole frame is closed',
    verdict: 'close TOO_SLOW',
    counters: closes('TOO_SLOW', 3),
    run: async (stage) => {
      const { firstFrameMs } = TIMES
      const [silent, begun, web] = [await stage.dial(), await stage.dial(), await stage.web()]
      await begun.send(frame(RAW).subarray(0, 16))
      const ends = Promise.all([silent.ends(), begun.ends(), closed(web, 1008, 'TOO_SLOW')])
      await within(firstFrameMs, firstFrameMs * 1.5, ends)
      assert.equal(silent.bytes + begun.bytes, 0)
    },
  },
  {
    name: 'a first frame that comes one byte at a time is closed, however steady it is',
    verdict: 'close TOO_SLOW',
    counters: closes('TOO_SLOW', 2),
    run: async (stage) => {
      const [legacy, session] = [await stage.dial(), await stage.dial()]
      const ticket = new Uint8Array(1_000)
      const both = Promise.all([drip(legacy, endless), drip(session, hello({ ticket }))])
      await within(TIMES.firstFrameMs, TIMES.firstFrameMs * 1.5, both)
      assert.equal(legacy.bytes + session.bytes, 0)
    },
  },
  {
    name: 'a later frame that does not end closes, however steady its bytes are',
    verdict: 'close TOO_SLOW',
    counters: closes('TOO_SLOW', 2),
    run: async (stage) => {
      const [legacy, session] = [await stage.dial(), await stage.session()]
      await legacy.send(frame(RAW, 'right'))
      await legacy.hears(1)
      const both = Promise.all([drip(legacy, endless), drip(session, endless)])
      await within(TIMES.frameMs, TIMES.frameMs * 1.5, both)
      assert.deepEqual(session.errors(), ['0/0 TOO_SLOW'])
    },
  },
  {
    name: 'a stream that is never at the end of a frame is answered as long as its frames end',
    verdict: 'answers',
    counters: { firefly_frames_in_total: 40 },
    run: async (stage) => {
      const peer = await stage.dial()
      const whole = frame(RAW, 'in two halves')
      const [first, second] = [whole.subarray(0, 20), whole.subarray(20)]
      await peer.send(first)
      // Twice the time that a frame has.
      for (let n = 1; n <= 40; n++) {
        await peer.send(second, first)
        await peer.hears(n)
        await pause(TIMES.frameMs / 20)
      }
      assert.equal(peer.closed, false)
    },
  },
  {
    name: 'a WebSocket message that does not end is nothing that was said',
    verdict: 'close IDLE',
    counters: closes('IDLE'),
    run: async (stage) => {
      const web = await known(stage)
      const bytes = message(new Uint8Array(2_000))
      await drip(web.peer, bytes, () => web.close !== null || web.peer.closed)
      await closed(web, 1001, 'IDLE')
    },
  },
  {
    name: 'WebSocket pings keep nobody alive',
    verdict: 'close IDLE',
    counters: closes('IDLE'),
    run: async (stage) => {
      const web = await known(stage)
      for (let n = 0; n < 100 && web.close === null; n++) {
        await web.send(message(undefined, { opcode: OPCODE.PING }))
        await pause(100)
      }
      assert.ok(web.pongs.length > 0)
      await closed(web, 1001, 'IDLE')
    },
  },
  {
    name: 'a request that does not begin or does not end is closed, however steady it is',
    verdict: 'HTTP 408 or 404, close',
    counters: refusals('request', 2),
    run: async (stage) => {
      const body = upgrade({ Upgrade: null, 'Content-Length': '10000' }, 'POST /metrics HTTP/1.1')
      const begun = 'GET /ws HTTP/1.1\r\nA: '
      const answers = Promise.all(['', begun, body].map((bytes) => asks(stage, bytes)))
      // The last is refused for what it asks, before its end.
      await within(TIMES.firstFrameMs, 2 * TIMES.firstFrameMs, answers)
      assert.deepEqual(await answers, [408, 408, 404])
    },
  },
  {
    name: 'a legacy client that says nothing more is closed',
    verdict: 'close IDLE',
    counters: closes('IDLE', 2),
    run: async (stage) => {
      const [tcp, web] = [await stage.dial(), await known(stage)]
      await tcp.send(frame(RAW, 'right'))
      const ends = Promise.all([tcp.ends(), closed(web, 1001, 'IDLE')])
      await within(TIMES.idleMs, TIMES.idleMs + TIMES.firstFrameMs / 2, ends)
      assert.deepEqual(tcp.texts(), [[RAW, 'right']])
    },
  },
  {
    name: 'a session that says nothing is closed after two and a half heartbeats',
    verdict: 'PING, then ERROR IDLE, close',
    counters: { ...closes('IDLE'), firefly_pings_total: 1 },
    run: async (stage) => {
      const session = await stage.session()
      const { heartbeatMs } = TIMES
      await within(2 * heartbeatMs, 2.5 * heartbeatMs, session.ends())
      assert.deepEqual(session.errors(), ['0/0 IDLE'])
      assert.ok(session.heard.some(({ command }) => command === MESSAGE.PING))
    },
  },
  {
    name: 'a session that neither reads nor speaks keeps little waiting until it is let go',
    verdict: 'events wait, then close IDLE',
    counters: { firefly_holds_total: 1, ...closes('IDLE') },
    run: async (stage) => {
      const earlier = await stage.buffers()
      const { mover } = await deafened(stage)
      // What comes now waits beside the shard, and gives way.
      const heard = mover.heard.length
      await mover.send(...Array.from({ length: 100 }, () => frame(SHOUT, { bytes: BIG })))
      await mover.hears(heard + 100)
      mover.reset()
      const most = earlier + MOST_BYTES
      const bytes = await stage.buffers(most)
      assert.ok(bytes <= most, `${bytes - earlier} bytes wait`)
    },
  },
  {
    name: 'a session that speaks and never reads is let go as well',
    verdict: 'events wait, then cut: SLOW_CONSUMER',
    counters: { firefly_holds_total: 1, ...closes('SLOW_CONSUMER') },
    run: async (stage) => {
      const { deaf, mover } = await deafened(stage)
      mover.reset()
      const begun = performance.now()
      while (!deaf.closed && performance.now() - begun < TIMES.unreadMs + LATE_MS) {
        await deaf.send(frame(MESSAGE.PING))
        await pause(50)
      }
    },
  },
]
