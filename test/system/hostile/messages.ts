// Attacks in the session protocol and in the legacy commands: messages that are cut, out of place, or ask for what is
// not theirs.

import assert from 'node:assert/strict'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { FIRST_RESERVED, MESSAGE } from '../../../core/wire/message.ts'
import { closedByStrikes } from './bodies.ts'
import { callFrame, frame, helloFrame, hex, openFrame } from './frames.ts'
import { closeCounter, errorCounter, type Attack } from './harness.ts'

const RAW = 1
const SMALL = 7
const VAULT = 20
const FRAMES = 'firefly_frames_in_total'
const HEAD = 17

/** Each closes a session with this reason, told as an ERROR; what was right before it is answered. */
export const closedSession = (name: string, reason: string, bytes: readonly Uint8Array[]): Attack => ({
  name,
  verdict: `ERROR ${reason}, close`,
  counters: closeCounter(reason, bytes.length),
  run: async (stage) => {
    for (const one of bytes) {
      const peer = await stage.dialTcp()
      await peer.send(helloFrame(), openFrame(1), callFrame(1, 1, RAW, 'right'), one, callFrame(1, 2, RAW, 'behind it'))
      await peer.waitForClose()
      assert.deepEqual(peer.errors(), [`0/0 ${reason}`], Buffer.from(one).toString('hex'))
      assert.deepEqual([...peer.replies().keys()], [1])
    }
  },
})

/** Each is answered by an ERROR, and the session goes on. */
export const answeredByError = (
  name: string,
  code: string,
  pairs: readonly (readonly [Uint8Array, string])[],
): Attack => ({
  name,
  verdict: `ERROR ${code}`,
  counters: errorCounter(code, pairs.length),
  run: async (stage) => {
    const peer = await stage.dialTcp()
    const asked = pairs.map(([bytes]) => bytes)
    await peer.send(helloFrame(), openFrame(1), ...asked, callFrame(1, 9_999, RAW, 'still there', 9_998))
    await peer.waitForFrames(2 + pairs.length + 1)
    assert.deepEqual(peer.errors().sort(), pairs.map(([, where]) => `${where} ${code}`).sort())
    assert.equal(peer.replies().get(9_999)!.toString(), 'still there')
  },
})

/** A message without its last bytes, for every number of bytes. */
function truncations(message: Buffer, most = message.length - HEAD): Buffer[] {
  const command = message.readUInt32BE(HEAD - 4)
  return Array.from({ length: most }, (_, size) => frame(command, message.subarray(HEAD, HEAD + size)))
}

/** An OPEN of channel 2 whose contract and key are these bytes. */
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
  {
    name: 'a HELLO that is cut closes, wherever it is cut',
    verdict: 'ERROR BAD_MESSAGE, close',
    counters: closeCounter('BAD_MESSAGE', 24),
    run: async (stage) => {
      for (const bytes of truncations(helloFrame(), 24)) {
        const peer = await stage.dialTcp()
        await peer.send(bytes)
        await peer.waitForClose()
        assert.deepEqual(peer.errors(), ['0/0 BAD_MESSAGE'])
      }
    },
  },
  {
    name: 'a HELLO without a version in common closes',
    verdict: 'ERROR BAD_MESSAGE, close',
    counters: closeCounter('BAD_MESSAGE', 4),
    run: async (stage) => {
      for (const versions of [
        [0, 0],
        [1, 1],
        [3, 255],
        [255, 0],
      ] as const) {
        const peer = await stage.dialTcp()
        await peer.send(helloFrame({ versions }), openFrame(1))
        await peer.waitForClose()
        assert.deepEqual(peer.errors(), ['0/0 BAD_MESSAGE'])
      }
    },
  },
  {
    name: 'a ticket where the server takes none closes',
    verdict: 'ERROR BAD_TICKET, close',
    counters: closeCounter('BAD_TICKET'),
    run: async (stage) => {
      const peer = await stage.dialTcp()
      await peer.send(helloFrame({ ticket: new Uint8Array(100) }), openFrame(1))
      await peer.waitForClose()
      assert.deepEqual(peer.errors(), ['0/0 BAD_TICKET'])
    },
  },
  closedSession('a second HELLO closes', 'BAD_MESSAGE', [helloFrame()]),
  closedSession('a session message that is cut closes, wherever it is cut', 'BAD_MESSAGE', [
    ...truncations(openFrame(2)),
    ...truncations(callFrame(1, 2, RAW)),
    ...truncations(ack),
    ...truncations(close),
  ]),
  closedSession(
    'a message that only servers send closes',
    'BAD_MESSAGE',
    SERVER_MESSAGES.map((command) => frame(command, 'x'.repeat(40))),
  ),
  closedSession('a reserved message and a game command in a session close', 'BAD_MESSAGE', [
    frame(MESSAGE.TOKEN + 1, 'x'),
    frame(0xffff_fffe, 'x'),
    frame(0xffff_ffff),
    frame(RAW, 'x'),
    frame(0),
    frame(FIRST_RESERVED - 1),
  ]),
  closedSession('channel 0 and a channel that is open cannot be opened', 'BAD_MESSAGE', [openFrame(0), openFrame(1)]),
  closedSession('call 0 closes', 'BAD_MESSAGE', [callFrame(1, 0, RAW)]),
  closedSession('names in an OPEN that are not UTF-8, or longer than the message, close', 'BAD_MESSAGE', [
    rawOpenFrame('ff', '61'),
    rawOpenFrame('79617264', 'ff'),
    rawOpenFrame('79617264', 'eda080'),
    rawOpenFrame('79617264', 'c0af'),
    frame(MESSAGE.OPEN, hex('000000020000000000000000ff79617264')),
    frame(MESSAGE.OPEN, hex('0000000200000000000000000479617264ffff61')),
  ]),
  closedSession('a call far beyond its acknowledgement closes', 'WINDOW', [
    callFrame(1, DEFAULT_LIMITS.maxUnackedReplies + 2, RAW),
    callFrame(1, 0xffff_ffff, RAW),
  ]),
  {
    name: 'acknowledgements of what never was are nothing',
    verdict: 'answer',
    counters: { [FRAMES]: 6 },
    run: async (stage) => {
      const peer = await stage.dialTcp()
      const beyond = frame(MESSAGE.ACK, hex('00000001ffffffffffffffff'))
      const nowhere = frame(MESSAGE.ACK, hex('ffffffff0000000100000001'))
      await peer.send(
        helloFrame(),
        openFrame(1),
        beyond,
        nowhere,
        callFrame(1, 1, RAW, 'a', 0xffff_ffff),
        callFrame(1, 2, RAW, 'b'),
      )
      await peer.waitForFrames(4)
      assert.deepEqual(
        [...peer.replies()].map(([sequence, body]) => `${sequence}${body.toString()}`),
        ['1a', '2b'],
      )
    },
  },
  {
    name: 'a PONG to no PING, and a PING of any bytes, are nothing',
    verdict: 'PONG of the same bytes',
    counters: { [FRAMES]: 6 },
    run: async (stage) => {
      const peer = await stage.openSession()
      const bytes = [hex(''), hex('00'), new Uint8Array(60_000)]
      await peer.send(...bytes.map((one) => frame(MESSAGE.PONG, one)))
      await peer.send(...bytes.map((one) => frame(MESSAGE.PING, one)))
      await peer.waitForFrames(5)
      const pongs = peer.frames.slice(2)
      assert.ok(pongs.every(({ command, body }, i) => command === MESSAGE.PONG && body.equals(bytes[i]!)))
    },
  },
  answeredByError('a contract that the game has not is told so, whatever its name', 'UNKNOWN_CONTRACT', [
    [openFrame(2, 'nope'), '2/0'],
    [openFrame(2, ''), '2/0'],
    [openFrame(2, '__proto__'), '2/0'],
    [openFrame(2, 'constructor'), '2/0'],
    [openFrame(2, 'toString'), '2/0'],
    [openFrame(2, 'x'.repeat(255)), '2/0'],
  ]),
  answeredByError('a shard that is not public is closed to players', 'FORBIDDEN', [[openFrame(2, 'vault'), '2/0']]),
  answeredByError('a key that is none is told so', 'BAD_KEY', [
    [openFrame(2, 'yard', ''), '2/0'],
    [openFrame(2, 'yard', 'x'.repeat(DEFAULT_LIMITS.maxKeyBytes + 1)), '2/0'],
    [openFrame(2, 'yard', 'é'.repeat(DEFAULT_LIMITS.maxKeyBytes / 2 + 1)), '2/0'],
    [openFrame(2, 'yard', 'x'.repeat(65_000)), '2/0'],
    [openFrame(2, 'yard', 'a\u0000b'), '2/0'],
    [openFrame(2, 'yard', 'a\nb'), '2/0'],
    [openFrame(2, 'yard', 'a\u007f'), '2/0'],
    [openFrame(2, 'yard', 'a '), '2/0'],
  ]),
  answeredByError('a call on a channel that is not open is told so', 'CLOSED', [
    [callFrame(2, 1, RAW), '2/1'],
    [callFrame(0, 1, RAW), '0/1'],
    [callFrame(0xffff_ffff, 7, RAW), '4294967295/7'],
  ]),
  answeredByError('a command that the contract has not is told so', 'UNKNOWN_COMMAND', [
    [callFrame(1, 1, 999), '1/1'],
    [callFrame(1, 2, VAULT), '1/2'],
    [callFrame(1, 3, 50), '1/3'],
    [callFrame(1, 4, MESSAGE.CALL), '1/4'],
  ]),
  answeredByError('a body above the bound of its command is told so', 'BAD_INPUT', [
    [callFrame(1, 1, SMALL, 'x'.repeat(17)), '1/1'],
    [callFrame(1, 2, SMALL, 'x'.repeat(60_000)), '1/2'],
  ]),
  closedByStrikes('a legacy client that sends what no contract knows is closed after 10 strikes', [
    frame(999),
    frame(VAULT),
    frame(50),
    frame(FIRST_RESERVED - 1),
  ]),
  closedByStrikes('a session message before HELLO is a strike', [
    frame(MESSAGE.OPEN, 'x'.repeat(40)),
    callFrame(1, 1, RAW),
    frame(MESSAGE.PING),
    frame(0xffff_ffff),
  ]),
  closedByStrikes('a legacy body above the bound of its command is a strike', [frame(SMALL, 'x'.repeat(17))]),
  closedByStrikes('a legacy body that is refused is a strike', [frame(2, '{'), frame(3, hex('c1'))]),
]
