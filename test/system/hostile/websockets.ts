// Attacks on the WebSocket's own frames (RFC 6455): each rule that a client can break.

import assert from 'node:assert/strict'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { until } from '../../conformance/sockets.ts'
import { frame, hex } from './frames.ts'
import { closes, refusals, type Attack, type Stage } from './stage.ts'
import { closing, message, OPCODE, upgrade } from './websocket.ts'

const RAW = 1
/** The largest message: one body and as much again for other frames (docs/protocol.md). */
const MOST = DEFAULT_LIMITS.maxBodyBytes + 65_536
const right = frame(RAW, 'right')

/** What was right is answered, then the connection is closed with this code; what follows is not read. */
async function refused(stage: Stage, code: number, ...bad: readonly Uint8Array[]): Promise<string> {
  const web = await stage.web()
  await web.send(message(right), ...bad, message(frame(RAW, 'behind it')))
  const close = await web.ends()
  assert.equal(close.code, code)
  assert.deepEqual(web.peer.texts(), [[RAW, 'right']])
  web.peer.finish()
  await web.peer.ends()
  return close.reason
}

/** Each of several ways to break one rule. */
const broken = (name: string, code: number, ...ways: readonly (readonly Uint8Array[])[]): Attack => ({
  name,
  verdict: `close ${code}`,
  counters: refusals('websocket', ways.length),
  run: async (stage) => {
    for (const way of ways) await refused(stage, code, ...way)
  },
})

/** Broken in a way that harms nobody: carried like any other. */
const harmless = (name: string, ...ways: readonly (readonly Uint8Array[])[]): Attack => ({
  name,
  verdict: 'answer',
  counters: { firefly_frames_in_total: ways.length },
  run: async (stage) => {
    for (const way of ways) {
      const web = await stage.web()
      await web.send(...way)
      await web.peer.hears(1)
      assert.deepEqual(web.peer.texts(), [[RAW, 'right']])
      assert.equal(web.close, null)
    }
  },
})

const reserved = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]
const half = right.length >> 1
const continued = { opcode: OPCODE.CONTINUATION }
const begin = message(right.subarray(0, half), { fin: false })
const end = message(right.subarray(half), continued)

export const websockets: readonly Attack[] = [
  broken('a WebSocket frame without a mask closes', 1002, [message(right, { masked: false })]),
  broken(
    'a WebSocket frame with a reserved bit closes, compressed or not',
    1002,
    ...[4, 2, 1, 7].map((rsv) => [message(right, { rsv })]),
  ),
  broken(
    'a WebSocket frame with a reserved opcode closes',
    1002,
    ...reserved.map((opcode) => [message(right, { opcode })]),
  ),
  broken('a control frame in fragments closes', 1002, [
    message(hex('00'), { opcode: OPCODE.PING, fin: false }),
  ]),
  broken(
    'a control frame of more than 125 bytes closes',
    1002,
    [message(new Uint8Array(126), { opcode: OPCODE.PING })],
    [message(new Uint8Array(126), { opcode: OPCODE.PONG })],
    [message(new Uint8Array(126), { opcode: OPCODE.CLOSE })],
    [message(new Uint8Array(4), { opcode: OPCODE.PING, width: 8 })],
  ),
  broken('a continuation of nothing closes', 1002, [message(right, continued)]),
  broken('a message that begins inside another closes', 1002, [begin, message(right)]),
  broken(
    'a close reason that is not UTF-8 closes with 1007',
    1007,
    [closing(1000, hex('ff'))],
    [closing(1000, hex('eda080'))],
    [closing(1000, hex('c0af'))],
  ),
  broken(
    'a close code that nobody may send closes',
    1002,
    ...[0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535].map((code) => [closing(code)]),
  ),
  broken('a close frame of one byte closes', 1002, [message(hex('03'), { opcode: OPCODE.CLOSE })]),
  broken('a text that is not UTF-8 closes with 1007', 1007, [message(hex('ff'), { opcode: OPCODE.TEXT })]),
  broken(
    'a declared length beyond the largest message closes from the head alone',
    1009,
    [message(undefined, { length: BigInt(MOST + 1), width: 8 })],
    [message(undefined, { length: 2n ** 32n, width: 8 })],
    [message(undefined, { length: 2n ** 53n, width: 8 })],
    [message(undefined, { length: 2n ** 63n, width: 8 })],
    [message(undefined, { length: 2n ** 64n - 1n, width: 8 })],
  ),
  broken('fragments that add up to more than the largest message close', 1009, [
    message(new Uint8Array(60_000), { fin: false }),
    message(new Uint8Array(60_000), { ...continued, fin: false }),
    message(new Uint8Array(60_000), { ...continued, fin: false }),
  ]),
  broken('a message of endless empty fragments closes', 1008, [
    begin,
    ...Array.from({ length: 20_000 }, () => message(undefined, { ...continued, fin: false })),
  ]),
  {
    name: 'a WebSocket text message closes',
    verdict: 'close TEXT_MESSAGE',
    counters: closes('TEXT_MESSAGE'),
    run: async (stage) => {
      const reason = await refused(
        stage,
        1003,
        message(new Uint8Array(right.length), { opcode: OPCODE.TEXT }),
      )
      assert.match(reason, /^TEXT_MESSAGE: /)
    },
  },
  {
    name: 'a frame that spans two WebSocket messages closes',
    verdict: 'close PARTIAL_FRAME',
    counters: closes('PARTIAL_FRAME', right.length - 1),
    run: async (stage) => {
      for (let cut = 1; cut < right.length; cut++) {
        const reason = await refused(
          stage,
          1002,
          message(right.subarray(0, cut)),
          message(right.subarray(cut)),
        )
        assert.match(reason, /^PARTIAL_FRAME: /)
      }
    },
  },
  {
    name: 'a wrong identity on a WebSocket is told in its Close frame',
    verdict: 'close BAD_IDENTITY',
    counters: closes('BAD_IDENTITY'),
    run: async (stage) => {
      const reason = await refused(stage, 1002, message(new Uint8Array(right.length)))
      assert.match(reason, /^BAD_IDENTITY: /)
    },
  },
  harmless(
    'a length in more bytes than it needs is read as it is',
    [message(right, { width: 2 })],
    [message(right, { width: 8 })],
  ),
  harmless('a message in fragments is put together, with a ping between them', [
    begin,
    message(hex('00'), { opcode: OPCODE.PING }),
    end,
  ]),
  harmless('empty fragments and empty messages are nothing', [
    message(),
    message(undefined, { fin: false }),
    message(undefined, { ...continued, fin: false }),
    message(right, continued),
  ]),
  {
    name: 'a WebSocket that comes one byte at a time is read like any other',
    verdict: 'answer',
    counters: { firefly_frames_in_total: 1 },
    run: async (stage) => {
      const web = await stage.web()
      for (const byte of message(right)) await web.send(Uint8Array.of(byte))
      await web.peer.hears(1)
    },
  },
  {
    name: 'frames in the same write as the upgrade are answered',
    verdict: 'answers',
    counters: { firefly_frames_in_total: 2 },
    run: async (stage) => {
      const web = await stage.web(upgrade(), message(right), message(right))
      await web.peer.hears(2)
    },
  },
  {
    name: 'what follows a Close frame is not read',
    verdict: 'close 1000',
    counters: closes('PEER'),
    run: async (stage) => {
      const counted = await stage.neighbours.tally()
      const web = await stage.web()
      await web.send(closing(1000), message(frame(5, 'behind it')))
      assert.equal((await web.ends()).code, 1000)
      await web.peer.ends()
      assert.equal(await stage.neighbours.tally(), counted)
    },
  },
  {
    name: 'a WebSocket that is cut inside a message leaves nothing behind',
    verdict: 'nothing',
    counters: closes('PEER', 20),
    run: async (stage) => {
      const counted = await stage.neighbours.tally()
      const bytes = message(frame(5, 'body'))
      for (let cut = 1; cut <= 20; cut++) {
        const { peer } = await stage.web(upgrade(), bytes.subarray(0, cut))
        if (cut % 2 === 0) peer.reset()
        else peer.finish()
        await until(() => peer.closed, 'the end of the connection')
      }
      assert.equal(await stage.neighbours.tally(), counted)
    },
  },
]
