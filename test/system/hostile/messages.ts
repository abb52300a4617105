// Attacks with session messages and legacy commands: truncated, unexpected, and not permitted.

import assert from 'node:assert/strict'
import { HEADER_BYTES } from '../../../core/wire/frame.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { FIRST_RESERVED, MESSAGE } from '../../../core/wire/message.ts'
import { closeCounter, errorCounter, type Attack } from './attack.ts'
import { closedByStrikes } from './bodies.ts'
import { callFrame, frame, helloAndOpen, helloFrame, hex, openFrame } from './frames.ts'
import { COMMAND, EVENT } from './game.ts'
import type { AttackHarness } from './harness.ts'

const { INTERNAL, RAW, SMALL } = COMMAND
const FRAMES = 'firefly_frames_in_total'

/** A session receives the reply to the call before `bytes`, then this reason. */
export async function assertSessionClosed(harness: AttackHarness, bytes: Uint8Array, reason: string): Promise<void> {
  const calls = [callFrame(1, 1, RAW, 'valid'), bytes, callFrame(1, 2, RAW, 'after it')]
  const peer = await harness.sendUntilClosed(helloAndOpen, ...calls)
  assert.deepEqual(peer.errors(), [`0/0 ${reason}`], Buffer.from(bytes).toString('hex'))
  assert.deepEqual([...peer.replies().keys()], [1])
}

/** Each frame closes a session with this reason; calls before the frame are answered. */
export const closedSession = (name: string, reason: string, frames: readonly Uint8Array[]): Attack => ({
  name,
  receives: `ERROR ${reason}, close`,
  counters: closeCounter(reason, frames.length),
  run: async (harness) => {
    for (const bytes of frames) await assertSessionClosed(harness, bytes, reason)
  },
})

/** Each HELLO closes the connection with this reason. */
const closedHello = (name: string, reason: string, hellos: readonly Uint8Array[]): Attack => ({
  name,
  receives: `ERROR ${reason}, close`,
  counters: closeCounter(reason, hellos.length),
  run: async (harness) => {
    for (const hello of hellos) assert.deepEqual((await harness.sendUntilClosed(hello)).errors(), [`0/0 ${reason}`])
  },
})

/** Each frame is answered by an ERROR, and the session continues. */
export const answeredByError = (
  name: string,
  code: string,
  pairs: readonly (readonly [frame: Uint8Array, channelAndSequence: string])[],
): Attack => ({
  name,
  receives: `ERROR ${code}`,
  counters: errorCounter(code, pairs.length),
  run: async (harness) => {
    const peer = await harness.dialTcp()
    const frames = pairs.map(([bytes]) => bytes)
    await peer.send(helloAndOpen, ...frames, callFrame(1, 9_999, RAW, 'alive', 9_998))
    await peer.waitForFrames(2 + pairs.length + 1)
    assert.deepEqual(peer.errors().sort(), pairs.map(([, source]) => `${source} ${code}`).sort())
    assert.equal(peer.replyText(9_999), 'alive')
  },
})

/** The message with each shorter body, below `bodyBytes`. */
function truncations(message: Buffer, bodyBytes = message.length - HEADER_BYTES): Buffer[] {
  const command = message.readUInt32BE(HEADER_BYTES - 4)
  const body = message.subarray(HEADER_BYTES)
  return Array.from({ length: bodyBytes }, (_, size) => frame(command, body.subarray(0, size)))
}

/** An OPEN of channel 2 with these bytes as contract and key, in hex. */
function rawOpenFrame(contract: string, key: string): Buffer {
  const [name, bytes] = [hex(contract), hex(key)]
  const lengths = Buffer.from([bytes.length >> 8, bytes.length & 0xff])
  return frame(
    MESSAGE.OPEN,
    Buffer.concat([hex('000000020000000000000000'), Buffer.from([name.length]), name, lengths, bytes]),
  )
}

const SERVER_MESSAGES = [
  MESSAGE.WELCOME,
  MESSAGE.OPENED,
  MESSAGE.REPLY,
  MESSAGE.ERROR,
  MESSAGE.EVENT,
  MESSAGE.RESYNC,
  MESSAGE.TOKEN,
]
const ack = frame(MESSAGE.ACK, hex('000000010000000100000000'))
const close = frame(MESSAGE.CLOSE, hex('0000000106434c4f534544'))

export const messages: readonly Attack[] = [
  closedHello('closes on a HELLO that is truncated at any byte', 'BAD_MESSAGE', truncations(helloFrame(), 24)),
  closedHello('closes on a HELLO without a common version', 'BAD_MESSAGE', [
    Buffer.concat([helloFrame({ versions: [0, 0] }), openFrame(1)]),
    Buffer.concat([helloFrame({ versions: [1, 1] }), openFrame(1)]),
    Buffer.concat([helloFrame({ versions: [3, 255] }), openFrame(1)]),
    Buffer.concat([helloFrame({ versions: [255, 0] }), openFrame(1)]),
  ]),
  closedHello('closes on a ticket when the server accepts none', 'BAD_TICKET', [
    Buffer.concat([helloFrame({ ticket: new Uint8Array(100) }), openFrame(1)]),
  ]),
  closedSession('closes on a second HELLO', 'BAD_MESSAGE', [helloFrame()]),
  closedSession('closes on a session message that is truncated at any byte', 'BAD_MESSAGE', [
    ...truncations(openFrame(2)),
    ...truncations(callFrame(1, 2, RAW)),
    ...truncations(ack),
    ...truncations(close),
  ]),
  closedSession(
    'closes on a message that only servers send',
    'BAD_MESSAGE',
    SERVER_MESSAGES.map((command) => frame(command, 'x'.repeat(40))),
  ),
  closedSession('closes a session on a reserved message or a game command', 'BAD_MESSAGE', [
    frame(MESSAGE.TOKEN + 1, 'x'),
    frame(0xffff_fffe, 'x'),
    frame(0xffff_ffff),
    frame(RAW, 'x'),
    frame(0),
    frame(FIRST_RESERVED - 1),
  ]),
  closedSession('closes on an OPEN of channel 0 or of an open channel', 'BAD_MESSAGE', [openFrame(0), openFrame(1)]),
  closedSession('closes on a CALL with sequence 0', 'BAD_MESSAGE', [callFrame(1, 0, RAW)]),
  closedSession('closes on an OPEN with names that are not UTF-8 or exceed the message', 'BAD_MESSAGE', [
    rawOpenFrame('ff', '61'),
    rawOpenFrame('726f6f6d', 'ff'),
    rawOpenFrame('726f6f6d', 'eda080'),
    rawOpenFrame('726f6f6d', 'c0af'),
    frame(MESSAGE.OPEN, hex('000000020000000000000000ff726f6f6d')),
    frame(MESSAGE.OPEN, hex('00000002000000000000000004726f6f6dffff61')),
  ]),
  closedSession('closes on a call too far above its acknowledgement', 'WINDOW', [
    callFrame(1, DEFAULT_LIMITS.maxUnackedReplies + 2, RAW),
    callFrame(1, 0xffff_ffff, RAW),
  ]),
  {
    name: 'ignores acknowledgements of calls and events that do not exist',
    receives: 'answer',
    counters: { [FRAMES]: 6 },
    run: async (harness) => {
      const peer = await harness.dialTcp()
      const beyond = frame(MESSAGE.ACK, hex('00000001ffffffffffffffff'))
      const unknownChannel = frame(MESSAGE.ACK, hex('ffffffff0000000100000001'))
      await peer.send(
        helloAndOpen,
        beyond,
        unknownChannel,
        callFrame(1, 1, RAW, 'a', 0xffff_ffff),
        callFrame(1, 2, RAW, 'b'),
      )
      await peer.waitForFrames(4)
      const replies = [...peer.replies()].map(([sequence, body]) => `${sequence}${body.toString()}`)
      assert.deepEqual(replies, ['1a', '2b'])
    },
  },
  {
    name: 'ignores a PONG without a PING, and returns any bytes of a PING',
    receives: 'PONG of the same bytes',
    counters: { [FRAMES]: 6 },
    run: async (harness) => {
      const peer = await harness.openSession()
      const bodies = [hex(''), hex('00'), new Uint8Array(60_000)]
      for (const message of [MESSAGE.PONG, MESSAGE.PING]) await peer.send(...bodies.map((body) => frame(message, body)))
      await peer.waitForFrames(5)
      const pongs = peer.frames.slice(2)
      assert.ok(pongs.every(({ command, body }, i) => command === MESSAGE.PONG && body.equals(bodies[i]!)))
    },
  },
  answeredByError('rejects an unknown contract, whatever its name', 'UNKNOWN_CONTRACT', [
    [openFrame(2, 'nope'), '2/0'],
    [openFrame(2, ''), '2/0'],
    [openFrame(2, '__proto__'), '2/0'],
    [openFrame(2, 'constructor'), '2/0'],
    [openFrame(2, 'toString'), '2/0'],
    [openFrame(2, 'x'.repeat(255)), '2/0'],
  ]),
  answeredByError('rejects an OPEN of a shard that is not public', 'FORBIDDEN', [[openFrame(2, 'internal'), '2/0']]),
  answeredByError('rejects an invalid key', 'BAD_KEY', [
    [openFrame(2, 'room', ''), '2/0'],
    [openFrame(2, 'room', 'x'.repeat(DEFAULT_LIMITS.maxKeyBytes + 1)), '2/0'],
    [openFrame(2, 'room', 'é'.repeat(DEFAULT_LIMITS.maxKeyBytes / 2 + 1)), '2/0'],
    [openFrame(2, 'room', 'x'.repeat(65_000)), '2/0'],
    [openFrame(2, 'room', 'a\u0000b'), '2/0'],
    [openFrame(2, 'room', 'a\nb'), '2/0'],
    [openFrame(2, 'room', 'a\u007f'), '2/0'],
    [openFrame(2, 'room', 'a '), '2/0'],
  ]),
  answeredByError('rejects a call on a channel that is not open', 'CLOSED', [
    [callFrame(2, 1, RAW), '2/1'],
    [callFrame(0, 1, RAW), '0/1'],
    [callFrame(0xffff_ffff, 7, RAW), '4294967295/7'],
  ]),
  answeredByError('rejects a command that the contract does not declare', 'UNKNOWN_COMMAND', [
    [callFrame(1, 1, 999), '1/1'],
    [callFrame(1, 2, INTERNAL), '1/2'],
    [callFrame(1, 3, EVENT.SHOUTED), '1/3'],
    [callFrame(1, 4, MESSAGE.CALL), '1/4'],
  ]),
  answeredByError('rejects a body above the limit of its command', 'BAD_INPUT', [
    [callFrame(1, 1, SMALL, 'x'.repeat(17)), '1/1'],
    [callFrame(1, 2, SMALL, 'x'.repeat(60_000)), '1/2'],
  ]),
  closedByStrikes('closes a legacy client after 10 unknown commands', [
    frame(999),
    frame(INTERNAL),
    frame(EVENT.SHOUTED),
    frame(FIRST_RESERVED - 1),
  ]),
  closedByStrikes('counts a session message before HELLO as a strike', [
    frame(MESSAGE.OPEN, 'x'.repeat(40)),
    callFrame(1, 1, RAW),
    frame(MESSAGE.PING),
    frame(0xffff_ffff),
  ]),
  closedByStrikes('counts a legacy body above the limit of its command as a strike', [frame(SMALL, 'x'.repeat(17))]),
  closedByStrikes('counts a rejected legacy body as a strike', [
    frame(COMMAND.JSON, '{'),
    frame(COMMAND.PACK, hex('c1')),
  ]),
]
