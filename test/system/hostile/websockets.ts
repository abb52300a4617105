// Attacks with WebSocket frames: each rule of RFC 6455 that a client can violate.

import assert from 'node:assert/strict'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { closeCounter, refusalCounter, type Attack } from './attack.ts'
import { frame, helloFrame, hex } from './frames.ts'
import { COMMAND } from './game.ts'
import type { AttackHarness } from './harness.ts'
import { closeMessage, clientMessage, OPCODE, upgradeRequest } from './websocket.ts'

const { COUNT, RAW } = COMMAND
/** The body limit + 65,536 bytes for other frames (docs/protocol.md). */
const MAX_MESSAGE_BYTES = DEFAULT_LIMITS.maxBodyBytes + 65_536
const valid = frame(RAW, 'valid')

/** The server answers messages before `invalid`, closes with this code, and does not read what follows. */
async function assertRejected(
  harness: AttackHarness,
  code: number,
  reason: string | undefined,
  ...invalid: readonly Uint8Array[]
): Promise<void> {
  const web = await harness.dialWebSocket()
  await web.send(clientMessage(valid), ...invalid, clientMessage(frame(RAW, 'after it')))
  await web.assertClosed(code, reason)
  assert.deepEqual(web.peer.frameTexts(), [[RAW, 'valid']])
  web.peer.sendFin()
  await web.peer.waitForClose()
}

/** Each message list violates the same rule. */
const protocolViolation = (name: string, code: number, ...violations: readonly (readonly Uint8Array[])[]): Attack => ({
  name,
  receives: `close ${REASONS[code]} (${code})`,
  counters: { ...refusalCounter('websocket', violations.length), ...closeCounter(REASONS[code]!, violations.length) },
  run: async (harness) => {
    for (const messages of violations) await assertRejected(harness, code, REASONS[code], ...messages)
  },
})
/** What the Close frame names, by its code. */
const REASONS: Readonly<Record<number, string>> = {
  1002: 'BAD_MESSAGE',
  1007: 'TEXT_MESSAGE',
  1008: 'FLOOD',
  1009: 'FRAME_TOO_LARGE',
}

/** Unusual messages that are accepted. */
const acceptedVariant = (name: string, ...variants: readonly (readonly Uint8Array[])[]): Attack => ({
  name,
  receives: 'answer',
  counters: { firefly_frames_in_total: variants.length },
  run: async (harness) => {
    for (const messages of variants) {
      const web = await harness.dialWebSocket()
      await web.send(...messages)
      await web.peer.waitForFrames(1)
      assert.deepEqual(web.peer.frameTexts(), [[RAW, 'valid']])
      assert.equal(web.closeFrame, null)
    }
  },
})

const reservedOpcodes = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]
const half = valid.length >> 1
const continued = { opcode: OPCODE.CONTINUATION }
const firstFragment = clientMessage(valid.subarray(0, half), { fin: false })
const lastFragment = clientMessage(valid.subarray(half), continued)

export const websockets: readonly Attack[] = [
  protocolViolation('closes on a WebSocket frame without a mask', 1002, [clientMessage(valid, { masked: false })]),
  protocolViolation(
    'closes on a WebSocket frame with any reserved bit',
    1002,
    ...[4, 2, 1, 7].map((rsv) => [clientMessage(valid, { rsv })]),
  ),
  protocolViolation(
    'closes on a WebSocket frame with a reserved opcode',
    1002,
    ...reservedOpcodes.map((opcode) => [clientMessage(valid, { opcode })]),
  ),
  protocolViolation('closes on a fragmented control frame', 1002, [
    clientMessage(hex('00'), { opcode: OPCODE.PING, fin: false }),
  ]),
  protocolViolation(
    'closes on a control frame of more than 125 bytes',
    1002,
    [clientMessage(new Uint8Array(126), { opcode: OPCODE.PING })],
    [clientMessage(new Uint8Array(126), { opcode: OPCODE.PONG })],
    [clientMessage(new Uint8Array(126), { opcode: OPCODE.CLOSE })],
    [clientMessage(new Uint8Array(4), { opcode: OPCODE.PING, width: 8 })],
  ),
  protocolViolation('closes on a continuation frame without a message to continue', 1002, [
    clientMessage(valid, continued),
  ]),
  protocolViolation('closes on a message that begins inside another message', 1002, [
    firstFragment,
    clientMessage(valid),
  ]),
  protocolViolation(
    'closes with 1007 on a close reason that is not UTF-8',
    1007,
    [closeMessage(1000, hex('ff'))],
    [closeMessage(1000, hex('eda080'))],
    [closeMessage(1000, hex('c0af'))],
  ),
  protocolViolation(
    'closes on a close code that must not be sent',
    1002,
    ...[0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535].map((code) => [closeMessage(code)]),
  ),
  protocolViolation('closes on a Close frame of one byte', 1002, [clientMessage(hex('03'), { opcode: OPCODE.CLOSE })]),
  protocolViolation('closes with 1007 on a text message that is not UTF-8', 1007, [
    clientMessage(hex('ff'), { opcode: OPCODE.TEXT }),
  ]),
  protocolViolation(
    'closes on a length above the largest message as soon as the header is complete',
    1009,
    [clientMessage(undefined, { length: BigInt(MAX_MESSAGE_BYTES + 1), width: 8 })],
    [clientMessage(undefined, { length: 2n ** 32n, width: 8 })],
    [clientMessage(undefined, { length: 2n ** 53n, width: 8 })],
    [clientMessage(undefined, { length: 2n ** 63n, width: 8 })],
    [clientMessage(undefined, { length: 2n ** 64n - 1n, width: 8 })],
  ),
  protocolViolation('closes on fragments that exceed the largest message in total', 1009, [
    clientMessage(new Uint8Array(60_000), { fin: false }),
    clientMessage(new Uint8Array(60_000), { ...continued, fin: false }),
    clientMessage(new Uint8Array(60_000), { ...continued, fin: false }),
  ]),
  protocolViolation('closes on a message of endless empty fragments', 1008, [
    firstFragment,
    ...Array.from({ length: 20_000 }, () => clientMessage(undefined, { ...continued, fin: false })),
  ]),
  {
    name: 'closes on a WebSocket text message',
    receives: 'close TEXT_MESSAGE',
    counters: closeCounter('TEXT_MESSAGE'),
    run: async (harness) => {
      const text = clientMessage(new Uint8Array(valid.length), { opcode: OPCODE.TEXT })
      await assertRejected(harness, 1003, 'TEXT_MESSAGE', text)
    },
  },
  {
    name: 'sends ERROR before the Close frame of a violation',
    receives: 'ERROR, then close BAD_MESSAGE, TEXT_MESSAGE, FRAME_TOO_LARGE',
    counters: {
      ...refusalCounter('websocket', 3),
      ...closeCounter('BAD_MESSAGE'),
      ...closeCounter('TEXT_MESSAGE'),
      ...closeCounter('FRAME_TOO_LARGE'),
    },
    run: async (harness) => {
      const violations = [
        [1002, 'BAD_MESSAGE', clientMessage(valid, { masked: false })],
        [1007, 'TEXT_MESSAGE', clientMessage(hex('ff'), { opcode: OPCODE.TEXT })],
        [1009, 'FRAME_TOO_LARGE', clientMessage(undefined, { length: 2n ** 32n, width: 8 })],
      ] as const
      for (const [code, reason, violation] of violations) {
        const web = await harness.dialWebSocket()
        await web.send(clientMessage(helloFrame()), violation)
        await web.assertClosed(code, reason)
        assert.deepEqual(web.peer.errors(), [`0/0 ${reason}`])
      }
    },
  },
  {
    name: 'closes on a frame that spans two WebSocket messages',
    receives: 'close PARTIAL_FRAME',
    counters: closeCounter('PARTIAL_FRAME', valid.length - 1),
    run: async (harness) => {
      for (let at = 1; at < valid.length; at++) {
        const parts = [clientMessage(valid.subarray(0, at)), clientMessage(valid.subarray(at))]
        await assertRejected(harness, 1002, 'PARTIAL_FRAME', ...parts)
      }
    },
  },
  {
    name: 'reports a wrong identity on a WebSocket in the Close frame',
    receives: 'close BAD_IDENTITY',
    counters: closeCounter('BAD_IDENTITY'),
    run: async (harness) => {
      const zeros = clientMessage(new Uint8Array(valid.length))
      await assertRejected(harness, 1002, 'BAD_IDENTITY', zeros)
    },
  },
  acceptedVariant(
    'accepts a length in more bytes than necessary',
    [clientMessage(valid, { width: 2 })],
    [clientMessage(valid, { width: 8 })],
  ),
  acceptedVariant('reassembles a fragmented message with a ping between the fragments', [
    firstFragment,
    clientMessage(hex('00'), { opcode: OPCODE.PING }),
    lastFragment,
  ]),
  acceptedVariant('ignores empty fragments and empty messages', [
    clientMessage(),
    clientMessage(undefined, { fin: false }),
    clientMessage(undefined, { ...continued, fin: false }),
    clientMessage(valid, continued),
  ]),
  {
    name: 'reassembles a WebSocket message that arrives one byte at a time',
    receives: 'answer',
    counters: { firefly_frames_in_total: 1 },
    run: async (harness) => {
      const web = await harness.dialWebSocket()
      for (const byte of clientMessage(valid)) await web.send(Uint8Array.of(byte))
      await web.peer.waitForFrames(1)
    },
  },
  {
    name: 'answers frames in the same write as the upgrade',
    receives: 'answers',
    counters: { firefly_frames_in_total: 2 },
    run: async (harness) => {
      const web = await harness.dialWebSocket(upgradeRequest(), clientMessage(valid), clientMessage(valid))
      await web.peer.waitForFrames(2)
    },
  },
  {
    name: 'does not read frames after a Close frame',
    receives: 'close 1000',
    counters: closeCounter('PEER'),
    run: async (harness) => {
      const countBefore = await harness.controls.readGameCount()
      const web = await harness.dialWebSocket()
      await web.send(closeMessage(1000), clientMessage(frame(COUNT, 'after it')))
      await web.assertClosed(1000)
      await web.peer.waitForClose()
      assert.equal(await harness.controls.readGameCount(), countBefore)
    },
  },
  {
    name: 'releases a WebSocket that ends inside a message',
    receives: 'nothing',
    counters: closeCounter('PEER', 20),
    run: async (harness) => {
      const countBefore = await harness.controls.readGameCount()
      const bytes = clientMessage(frame(COUNT, 'body'))
      for (let size = 1; size <= 20; size++) {
        const { peer } = await harness.dialWebSocket(upgradeRequest(), bytes.subarray(0, size))
        if (size % 2 === 0) peer.sendReset()
        else peer.sendFin()
        await peer.waitForClose()
      }
      assert.equal(await harness.controls.readGameCount(), countBefore)
    },
  },
]
