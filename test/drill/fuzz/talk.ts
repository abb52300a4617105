// What a version 2 client says, message by message: a valid conversation on one channel, and messages whose fields
// stand at the edges of what they may be.

import {
  encodeAck,
  encodeCall,
  encodeClose,
  encodeError,
  encodeEvent,
  encodeHello,
  encodeOpen,
  encodeOpened,
  encodeReply,
  encodeResume,
  encodeResync,
  encodeToken,
  encodeWelcome,
  MESSAGE,
  SESSION_BYTES,
  type Open,
} from '../../../core/wire/message.ts'
import type { Random } from '../../support/random.ts'
import { edge } from './bytes.ts'
import { ask, bodyOf, type Asked } from './input.ts'

export interface Said {
  readonly command: number
  readonly body: Uint8Array
}
/** What a session needs to come back. */
export interface Live {
  readonly session: Uint8Array
  readonly token: Uint8Array
}

const CONTRACTS = [
  'opaque',
  'text',
  'pack',
  'desk',
  'own',
  'vault',
  'nothing',
  '',
  '__proto__',
  'a'.repeat(33),
]
const KEYS = [
  '',
  ' ',
  'a ',
  '\u0000',
  '\u007f',
  'é'.repeat(64),
  'x'.repeat(128),
  'x'.repeat(129),
  '💥',
  '\ufeff',
  'constructor',
]
const NOTHING = new Uint8Array(0)
export const NOBODY: Live = { session: new Uint8Array(SESSION_BYTES), token: NOTHING }

export function hello(live: Live = NOBODY): Said {
  const { session, token } = live
  const body = encodeHello({ minVersion: 2, maxVersion: 2, session, ticket: NOTHING, token })
  return { command: MESSAGE.HELLO, body }
}

/** OPEN, a few calls, perhaps an acknowledgement; `alter` may change the body of one of the calls. */
export function conversation(
  random: Random,
  channel: number,
  alter: (asked: Asked, body: Uint8Array | null) => Uint8Array,
): Said[] {
  const first = ask(random)
  const said = [open({ ...plainOpen(random, channel), contract: first.contract })]
  const calls = random.chance(0.3) ? 2 : 1
  const altered = random.below(calls)
  for (let i = 0; i < calls; i++) {
    const asked = i === 0 ? first : ask(random, first.contract)
    const body = i === altered ? alter(asked, null) : bodyOf(random, asked)
    said.push(call(channel, i + 1, asked.command, body))
  }
  if (random.chance(0.1)) said.push(ack(channel, random.below(calls + 1), 0))
  return said
}

function plainOpen(random: Random, channel: number): Open {
  return { channel, activation: 0, eventAck: 0, contract: 'pack', key: `k${random.below(48)}` }
}

function open(fields: Open): Said {
  return { command: MESSAGE.OPEN, body: encodeOpen(fields) }
}

function call(channel: number, sequence: number, command: number, body: Uint8Array): Said {
  const fields = { channel, opening: 0, sequence, replyAck: sequence - 1, command }
  return { command: MESSAGE.CALL, body: encodeCall(fields, body) }
}

function ack(channel: number, calls: number, events: number): Said {
  return { command: MESSAGE.ACK, body: encodeAck({ channel, calls, events }) }
}

/** A value at an edge one time of three, else what it should be. */
function or(random: Random, value: number): number {
  return random.below(3) === 0 ? edge(random) : value
}

/** One message, of those that a client sends, with fields of any value. */
export function edged(random: Random, channel: number): Said {
  const number = or(random, channel)
  switch (random.below(20)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
      return open(edgedOpen(random, number))
    case 5:
      return ack(number, edge(random), edge(random))
    case 6:
      return {
        command: MESSAGE.CLOSE,
        body: encodeClose({ channel: number, code: 'x'.repeat(random.below(200)) }),
      }
    case 7:
      return { command: MESSAGE.PING, body: new Uint8Array(random.chance(0.05) ? 65_536 : random.below(64)) }
    case 8:
      return resume(random, channel)
    case 9:
      return edgedHello(random, NOBODY)
    default: {
      const asked = ask(random)
      const fields = {
        channel: number,
        opening: or(random, 1),
        sequence: or(random, 1 + random.below(3)),
        replyAck: or(random, 0),
        command: or(random, asked.command),
      }
      return { command: MESSAGE.CALL, body: encodeCall(fields, bodyOf(random, asked)) }
    }
  }
}

/** RESUME of 0..4 channels, some of them at the edges. */
export function resume(random: Random, channel: number): Said {
  const opens = Array.from({ length: random.below(5) }, (_, i) => edgedOpen(random, or(random, channel + i)))
  const body = encodeResume(opens.map((one) => (one.channel === 0 ? { ...one, channel: 1 } : one)))
  // The count lies.
  if (random.below(4) === 0) body[random.below(2)] = edge(random)
  return { command: MESSAGE.RESUME, body }
}

function edgedOpen(random: Random, channel: number): Open {
  const odd = random.below(3) === 0
  return {
    channel,
    activation: or(random, random.below(3)),
    eventAck: or(random, random.below(3)),
    contract: CONTRACTS[random.below(odd ? CONTRACTS.length : 4)]!,
    key: odd ? KEYS[random.below(KEYS.length)]! : `k${random.below(48)}`,
  }
}

/** HELLO whose session, token and ticket are changed, missing, or somebody's. */
export function edgedHello(random: Random, live: Live): Said {
  const body = encodeHello({
    minVersion: random.below(3) === 0 ? random.below(256) : 2,
    maxVersion: random.below(3) === 0 ? random.below(256) : 2,
    session: changed(random, live.session),
    ticket: ticket(random),
    token: changed(random, live.token),
  })
  return { command: MESSAGE.HELLO, body }
}

function changed(random: Random, bytes: Uint8Array): Uint8Array {
  const choice = random.below(6)
  if (choice < 3) return bytes
  if (choice === 3) return new Uint8Array(bytes.length).fill(random.below(256))
  const other = new Uint8Array(bytes)
  if (other.length > 0) other[random.below(other.length)]! ^= 1 << random.below(8)
  return other
}

const TICKETS = [
  'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.',
  'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEiLCJleHAiOjk5OTk5OTk5OTl9.AAAA',
  'eyJhbGciOiJIUzI1NiJ9.e30.AAAA',
  '..',
  'a.b.c',
  `${'x'.repeat(9_000)}.y.z`,
].map((text) => new TextEncoder().encode(text))

function ticket(random: Random): Uint8Array {
  const choice = random.below(8)
  if (choice < 6) return choice < 4 ? NOTHING : TICKETS[random.below(TICKETS.length)]!
  return Uint8Array.from({ length: random.below(80) }, () => random.below(256))
}

/** A message that no client sends: those of a server, reserved numbers, a game's own. */
export function strange(random: Random, channel: number): Said {
  const body = Uint8Array.from({ length: random.below(24) }, () => random.below(256))
  switch (random.below(10)) {
    case 0:
      return {
        command: MESSAGE.WELCOME,
        body: encodeWelcome({ ...NOBODY, version: 2, resumed: true, heartbeatMs: 1, maxBodyBytes: 1 }),
      }
    case 1: {
      const fields = {
        channel,
        activation: edge(random),
        mark: edge(random),
        opening: edge(random),
        lost: true,
      }
      return { command: MESSAGE.OPENED, body: encodeOpened(fields) }
    }
    case 2:
      return { command: MESSAGE.REPLY, body: encodeReply({ channel, sequence: edge(random) }, body) }
    case 3: {
      const fields = {
        channel,
        sequence: edge(random),
        kind: 'system',
        code: 'INTERNAL',
        message: 'x',
      } as const
      return { command: MESSAGE.ERROR, body: encodeError(fields) }
    }
    case 4:
      return { command: MESSAGE.EVENT, body: encodeEvent({ channel, sequence: 1, event: 250 }, body) }
    case 5:
      return { command: MESSAGE.TOKEN, body: encodeToken(body) }
    case 6:
      return { command: MESSAGE.RESYNC, body: encodeResync({ channel, events: edge(random) }) }
    case 7:
      return { command: 0xffffff00 + random.below(256), body }
    case 8:
      return { command: ask(random).command, body }
    default:
      return { command: edge(random), body }
  }
}
