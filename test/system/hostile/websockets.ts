// Attacks on the WebSocket's own frames (RFC 6455): each rule that a client can break.

import assert from 'node:assert/strict'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { waitUntil } from '../../support/sockets.ts'
import { frame, hex } from './frames.ts'
import { closeCounter, refusalCounter, type Attack, type AttackHarness } from './harness.ts'
import { closeMessage, clientMessage, OPCODE, upgradeRequest } from './websocket.ts'

const RAW = 1
/** The largest message: one body and as much again for other frames (docs/protocol.md). */
const MAX_MESSAGE_BYTES = DEFAULT_LIMITS.maxBodyBytes + 65_536
const right = frame(RAW, 'right')

/** What was right is answered, then the connection is closed with this code; what follows is not read. */
async function assertRefused(stage: AttackHarness, code: number, ...bad: readonly Uint8Array[]): Promise<string> {
  const web = await stage.dialWebSocket()
  await web.send(clientMessage(right), ...bad, clientMessage(frame(RAW, 'behind it')))
  const close = await web.waitForCloseFrame()
  assert.equal(close.code, code)
  assert.deepEqual(web.peer.frameTexts(), [[RAW, 'right']])
  web.peer.sendFin()
  await web.peer.waitForClose()
  return close.reason
}

/** Each of several ways to break one rule. */
const protocolViolation = (name: string, code: number, ...ways: readonly (readonly Uint8Array[])[]): Attack => ({
  name,
  verdict: `close ${code}`,
  counters: refusalCounter('websocket', ways.length),
  run: async (stage) => {
    for (const way of ways) await assertRefused(stage, code, ...way)
  },
})

/** Broken in a way that harms nobody: carried like any other. */
const acceptedVariant = (name: string, ...ways: readonly (readonly Uint8Array[])[]): Attack => ({
  name,
  verdict: 'answer',
  counters: { firefly_frames_in_total: ways.length },
  run: async (stage) => {
    for (const way of ways) {
      const web = await stage.dialWebSocket()
      await web.send(...way)
      await web.peer.waitForFrames(1)
      assert.deepEqual(web.peer.frameTexts(), [[RAW, 'right']])
      assert.equal(web.closeFrame, null)
    }
  },
})

const reserved = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]
const half = right.length >> 1
const continued = { opcode: OPCODE.CONTINUATION }
const firstFragment = clientMessage(right.subarray(0, half), { fin: false })
const lastFragment = clientMessage(right.subarray(half), continued)

export const websockets: readonly Attack[] = [
  protocolViolation('a WebSocket frame without a mask closes', 1002, [clientMessage(right, { masked: false })]),
  protocolViolation(
    'a WebSocket frame with a reserved bit closes, compressed or not',
    1002,
    ...[4, 2, 1, 7].map((rsv) => [clientMessage(right, { rsv })]),
  ),
  protocolViolation(
    'a WebSocket frame with a reserved opcode closes',
    1002,
    ...reserved.map((opcode) => [clientMessage(right, { opcode })]),
  ),
  protocolViolation('a control frame in fragments closes', 1002, [
    clientMessage(hex('00'), { opcode: OPCODE.PING, fin: false }),
  ]),
  protocolViolation(
    'a control frame of more than 125 bytes closes',
    1002,
    [clientMessage(new Uint8Array(126), { opcode: OPCODE.PING })],
    [clientMessage(new Uint8Array(126), { opcode: OPCODE.PONG })],
    [clientMessage(new Uint8Array(126), { opcode: OPCODE.CLOSE })],
    [clientMessage(new Uint8Array(4), { opcode: OPCODE.PING, width: 8 })],
  ),
  protocolViolation('a continuation of nothing closes', 1002, [clientMessage(right, continued)]),
  protocolViolation('a message that begins inside another closes', 1002, [firstFragment, clientMessage(right)]),
  protocolViolation(
    'a close reason that is not UTF-8 closes with 1007',
    1007,
    [closeMessage(1000, hex('ff'))],
    [closeMessage(1000, hex('eda080'))],
    [closeMessage(1000, hex('c0af'))],
  ),
  protocolViolation(
    'a close code that nobody may send closes',
    1002,
    ...[0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535].map((code) => [closeMessage(code)]),
  ),
  protocolViolation('a close frame of one byte closes', 1002, [clientMessage(hex('03'), { opcode: OPCODE.CLOSE })]),
  protocolViolation('a text that is not UTF-8 closes with 1007', 1007, [
    clientMessage(hex('ff'), { opcode: OPCODE.TEXT }),
  ]),
  protocolViolation(
    'a declared length beyond the largest message closes from the head alone',
    1009,
    [clientMessage(undefined, { length: BigInt(MAX_MESSAGE_BYTES + 1), width: 8 })],
    [clientMessage(undefined, { length: 2n ** 32n, width: 8 })],
    [clientMessage(undefined, { length: 2n ** 53n, width: 8 })],
    [clientMessage(undefined, { length: 2n ** 63n, width: 8 })],
    [clientMessage(undefined, { length: 2n ** 64n - 1n, width: 8 })],
  ),
  protocolViolation('fragments that add up to more than the largest message close', 1009, [
    clientMessage(new Uint8Array(60_000), { fin: false }),
    clientMessage(new Uint8Array(60_000), { ...continued, fin: false }),
    clientMessage(new Uint8Array(60_000), { ...continued, fin: false }),
  ]),
  protocolViolation('a message of endless empty fragments closes', 1008, [
    firstFragment,
    ...Array.from({ length: 20_000 }, () => clientMessage(undefined, { ...continued, fin: false })),
  ]),
  {
    name: 'a WebSocket text message closes',
    verdict: 'close TEXT_MESSAGE',
    counters: closeCounter('TEXT_MESSAGE'),
    run: async (stage) => {
      const reason = await assertRefused(
        stage,
        1003,
        clientMessage(new Uint8Array(right.length), { opcode: OPCODE.TEXT }),
      )
      assert.match(reason, /^TEXT_MESSAGE: /)
    },
  },
  {
    name: 'a frame that spans two WebSocket messages closes',
    verdict: 'close PARTIAL_FRAME',
    counters: closeCounter('PARTIAL_FRAME', right.length - 1),
    run: async (stage) => {
      for (let cut = 1; cut < right.length; cut++) {
        const reason = await assertRefused(
          stage,
          1002,
          clientMessage(right.subarray(0, cut)),
          clientMessage(right.subarray(cut)),
        )
        assert.match(reason, /^PARTIAL_FRAME: /)
      }
    },
  },
  {
    name: 'a wrong identity on a WebSocket is told in its Close frame',
    verdict: 'close BAD_IDENTITY',
    counters: closeCounter('BAD_IDENTITY'),
    run: async (stage) => {
      const reason = await assertRefused(stage, 1002, clientMessage(new Uint8Array(right.length)))
      assert.match(reason, /^BAD_IDENTITY: /)
    },
  },
  acceptedVariant(
    'a length in more bytes than it needs is read as it is',
    [clientMessage(right, { width: 2 })],
    [clientMessage(right, { width: 8 })],
  ),
  acceptedVariant('a message in fragments is put together, with a ping between them', [
    firstFragment,
    clientMessage(hex('00'), { opcode: OPCODE.PING }),
    lastFragment,
  ]),
  acceptedVariant('empty fragments and empty messages are nothing', [
    clientMessage(),
    clientMessage(undefined, { fin: false }),
    clientMessage(undefined, { ...continued, fin: false }),
    clientMessage(right, continued),
  ]),
  {
    name: 'a WebSocket that comes one byte at a time is read like any other',
    verdict: 'answer',
    counters: { firefly_frames_in_total: 1 },
    run: async (stage) => {
      const web = await stage.dialWebSocket()
      for (const byte of clientMessage(right)) await web.send(Uint8Array.of(byte))
      await web.peer.waitForFrames(1)
    },
  },
  {
    name: 'frames in the same write as the upgrade are answered',
    verdict: 'answers',
    counters: { firefly_frames_in_total: 2 },
    run: async (stage) => {
      const web = await stage.dialWebSocket(upgradeRequest(), clientMessage(right), clientMessage(right))
      await web.peer.waitForFrames(2)
    },
  },
  {
    name: 'what follows a Close frame is not read',
    verdict: 'close 1000',
    counters: closeCounter('PEER'),
    run: async (stage) => {
      const counted = await stage.controls.readGameCount()
      const web = await stage.dialWebSocket()
      await web.send(closeMessage(1000), clientMessage(frame(5, 'behind it')))
      assert.equal((await web.waitForCloseFrame()).code, 1000)
      await web.peer.waitForClose()
      assert.equal(await stage.controls.readGameCount(), counted)
    },
  },
  {
    name: 'a WebSocket that is cut inside a message leaves nothing behind',
    verdict: 'nothing',
    counters: closeCounter('PEER', 20),
    run: async (stage) => {
      const counted = await stage.controls.readGameCount()
      const bytes = clientMessage(frame(5, 'body'))
      for (let cut = 1; cut <= 20; cut++) {
        const { peer } = await stage.dialWebSocket(upgradeRequest(), bytes.subarray(0, cut))
        if (cut % 2 === 0) peer.sendReset()
        else peer.sendFin()
        await waitUntil(() => peer.isClosed, 'the end of the connection')
      }
      assert.equal(await stage.controls.readGameCount(), counted)
    },
  },
]
