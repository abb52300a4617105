// Attacks in the session protocol and in the legacy commands: messages that are cut, out of place, or ask for what is
// not theirs.

import assert from 'node:assert/strict'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { FIRST_RESERVED, MESSAGE } from '../../../core/wire/message.ts'
import { struck } from './bodies.ts'
import { call, frame, hello, hex, open } from './frames.ts'
import { closes, errors, type Attack } from './stage.ts'

const RAW = 1
const SMALL = 7
const VAULT = 20
const FRAMES = 'firefly_frames_in_total'
const HEAD = 17

/** Each closes a session with this reason, told as an ERROR; what was right before it is answered. */
export const ended = (name: string, reason: string, bytes: readonly Uint8Array[]): Attack => ({
  name,
  verdict: `ERROR ${reason}, close`,
  counters: closes(reason, bytes.length),
  run: async (stage) => {
    for (const one of bytes) {
      const peer = await stage.dial()
      await peer.send(hello(), open(1), call(1, 1, RAW, 'right'), one, call(1, 2, RAW, 'behind it'))
      await peer.ends()
      assert.deepEqual(peer.errors(), [`0/0 ${reason}`], Buffer.from(one).toString('hex'))
      assert.deepEqual([...peer.replies().keys()], [1])
    }
  },
})

/** Each is answered by an ERROR, and the session goes on. */
export const told = (
  name: string,
  code: string,
  pairs: readonly (readonly [Uint8Array, string])[],
): Attack => ({
  name,
  verdict: `ERROR ${code}`,
  counters: errors(code, pairs.length),
  run: async (stage) => {
    const peer = await stage.dial()
    const asked = pairs.map(([bytes]) => bytes)
    await peer.send(hello(), open(1), ...asked, call(1, 9_999, RAW, 'still there', 9_998))
    await peer.hears(2 + pairs.length + 1)
    assert.deepEqual(peer.errors().sort(), pairs.map(([, where]) => `${where} ${code}`).sort())
    assert.equal(peer.replies().get(9_999)!.toString(), 'still there')
  },
})

/** A message without its last bytes, for every number of bytes. */
function cuts(message: Buffer, most = message.length - HEAD): Buffer[] {
  const command = message.readUInt32BE(HEAD - 4)
  return Array.from({ length: most }, (_, size) => frame(command, message.subarray(HEAD, HEAD + size)))
}

/** An OPEN of channel 2 whose contract and key are these bytes. */
function opening(contract: string, key: string): Buffer {
  const [name, bytes] = [hex(contract), hex(key)]
  const lengths = Buffer.from([bytes.length >> 8, bytes.length & 0xff])
  return frame(
    MESSAGE.OPEN,
    Buffer.concat([hex('000000020000000000000000'), Buffer.from([name.length]), name, lengths, bytes]),
  )
}

const fromServer = [
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
    counters: closes('BAD_MESSAGE', 24),
    run: async (stage) => {
      for (const bytes of cuts(hello(), 24)) {
        const peer = await stage.dial()
        await peer.send(bytes)
        await peer.ends()
        assert.deepEqual(peer.errors(), ['0/0 BAD_MESSAGE'])
      }
    },
  },
  {
    name: 'a HELLO without a version in common closes',
    verdict: 'ERROR BAD_MESSAGE, close',
    counters: closes('BAD_MESSAGE', 4),
    run: async (stage) => {
      for (const versions of [
        [0, 0],
        [1, 1],
        [3, 255],
        [255, 0],
      ] as const) {
        const peer = await stage.dial()
        await peer.send(hello({ versions }), open(1))
        await peer.ends()
        assert.deepEqual(peer.errors(), ['0/0 BAD_MESSAGE'])
      }
    },
  },
  {
    name: 'a ticket where the server takes none closes',
    verdict: 'ERROR BAD_TICKET, close',
    counters: closes('BAD_TICKET'),
    run: async (stage) => {
      const peer = await stage.dial()
      await peer.send(hello({ ticket: new Uint8Array(100) }), open(1))
      await peer.ends()
      assert.deepEqual(peer.errors(), ['0/0 BAD_TICKET'])
    },
  },
  ended('a second HELLO closes', 'BAD_MESSAGE', [hello()]),
  ended('a session message that is cut closes, wherever it is cut', 'BAD_MESSAGE', [
    ...cuts(open(2)),
    ...cuts(call(1, 2, RAW)),
    ...cuts(ack),
    ...cuts(close),
  ]),
  ended(
    'a message that only servers send closes',
    'BAD_MESSAGE',
    fromServer.map((command) => frame(command, 'x'.repeat(40))),
  ),
  ended('a reserved message and a game command in a session close', 'BAD_MESSAGE', [
    frame(MESSAGE.TOKEN + 1, 'x'),
    frame(0xffff_fffe, 'x'),
    frame(0xffff_ffff),
    frame(RAW, 'x'),
    frame(0),
    frame(FIRST_RESERVED - 1),
  ]),
  ended('channel 0 and a channel that is open cannot be opened', 'BAD_MESSAGE', [open(0), open(1)]),
  ended('call 0 closes', 'BAD_MESSAGE', [call(1, 0, RAW)]),
  ended('names in an OPEN that are not UTF-8, or longer than the message, close', 'BAD_MESSAGE', [
    opening('ff', '61'),
    opening('79617264', 'ff'),
    opening('79617264', 'eda080'),
    opening('79617264', 'c0af'),
    frame(MESSAGE.OPEN, hex('000000020000000000000000ff79617264')),
    frame(MESSAGE.OPEN, hex('0000000200000000000000000479617264ffff61')),
  ]),
  ended('a call far beyond its acknowledgement closes', 'WINDOW', [
    call(1, DEFAULT_LIMITS.maxUnackedReplies + 2, RAW),
    call(1, 0xffff_ffff, RAW),
  ]),
  {
    name: 'acknowledgements of what never was are nothing',
    verdict: 'answer',
    counters: { [FRAMES]: 6 },
    run: async (stage) => {
      const peer = await stage.dial()
      const beyond = frame(MESSAGE.ACK, hex('00000001ffffffffffffffff'))
      const nowhere = frame(MESSAGE.ACK, hex('ffffffff0000000100000001'))
      await peer.send(
        hello(),
        open(1),
        beyond,
        nowhere,
        call(1, 1, RAW, 'a', 0xffff_ffff),
        call(1, 2, RAW, 'b'),
      )
      await peer.hears(4)
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
      const peer = await stage.session()
      const bytes = [hex(''), hex('00'), new Uint8Array(60_000)]
      await peer.send(...bytes.map((one) => frame(MESSAGE.PONG, one)))
      await peer.send(...bytes.map((one) => frame(MESSAGE.PING, one)))
      await peer.hears(5)
      const pongs = peer.heard.slice(2)
      assert.ok(pongs.every(({ command, body }, i) => command === MESSAGE.PONG && body.equals(bytes[i]!)))
    },
  },
  told('a contract that the game has not is told so, whatever its name', 'UNKNOWN_CONTRACT', [
    [open(2, 'nope'), '2/0'],
    [open(2, ''), '2/0'],
    [open(2, '__proto__'), '2/0'],
    [open(2, 'constructor'), '2/0'],
    [open(2, 'toString'), '2/0'],
    [open(2, 'x'.repeat(255)), '2/0'],
  ]),
  told('a shard that is not public is closed to players', 'FORBIDDEN', [[open(2, 'vault'), '2/0']]),
  told('a key that is none is told so', 'BAD_KEY', [
    [open(2, 'yard', ''), '2/0'],
    [open(2, 'yard', 'x'.repeat(DEFAULT_LIMITS.maxKeyBytes + 1)), '2/0'],
    [open(2, 'yard', 'é'.repeat(DEFAULT_LIMITS.maxKeyBytes / 2 + 1)), '2/0'],
    [open(2, 'yard', 'x'.repeat(65_000)), '2/0'],
    [open(2, 'yard', 'a\u0000b'), '2/0'],
    [open(2, 'yard', 'a\nb'), '2/0'],
    [open(2, 'yard', 'a\u007f'), '2/0'],
    [open(2, 'yard', 'a '), '2/0'],
  ]),
  told('a call on a channel that is not open is told so', 'CLOSED', [
    [call(2, 1, RAW), '2/1'],
    [call(0, 1, RAW), '0/1'],
    [call(0xffff_ffff, 7, RAW), '4294967295/7'],
  ]),
  told('a command that the contract has not is told so', 'UNKNOWN_COMMAND', [
    [call(1, 1, 999), '1/1'],
    [call(1, 2, VAULT), '1/2'],
    [call(1, 3, 50), '1/3'],
    [call(1, 4, MESSAGE.CALL), '1/4'],
  ]),
  told('a body above the bound of its command is told so', 'BAD_INPUT', [
    [call(1, 1, SMALL, 'x'.repeat(17)), '1/1'],
    [call(1, 2, SMALL, 'x'.repeat(60_000)), '1/2'],
  ]),
  struck('a legacy client that sends what no contract knows is closed after 10 strikes', [
    frame(999),
    frame(VAULT),
    frame(50),
    frame(FIRST_RESERVED - 1),
  ]),
  struck('a session message before HELLO is a strike', [
    frame(MESSAGE.OPEN, 'x'.repeat(40)),
    call(1, 1, RAW),
    frame(MESSAGE.PING),
    frame(0xffff_ffff),
  ]),
  struck('a legacy body above the bound of its command is a strike', [frame(SMALL, 'x'.repeat(17))]),
  struck('a legacy body that is refused is a strike', [frame(2, '{'), frame(3, hex('c1'))]),
]
