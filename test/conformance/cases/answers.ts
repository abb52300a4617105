// Every CALL is answered, acknowledged or refused: a table of the states of a channel and the kinds of call. Invariant: a cell
// without an answer has a reason, which docs/protocol.md states.

import assert from 'node:assert/strict'
import { EMPTY_BYTES } from '../../../core/wire/bytes.ts'
import { msgpack } from '../../../core/wire/codec.ts'
import {
  decodeError,
  encodeAck,
  encodeClose,
  encodeHello,
  encodeOpen,
  encodeResume,
  MESSAGE,
} from '../../../core/wire/message.ts'
import type { Host } from '../host.ts'
import { Gate, Ledger } from '../contracts.ts'
import {
  encodeCallBody,
  frame,
  join,
  openRawSession,
  RawSession,
  texts,
  uniqueName,
  waitForTurnsAtGate,
  type Case,
} from './case.ts'

const { add, addNoReply, addVolatile, bump, changeAllThenFail, refuse, addAfterGate } = Ledger.entries
/** Of contract `desk`, on channel 2: JSON bodies. */
const VOLATILE_CAST = 207
const NO_CALL = 0

type Outcome = 'REPLY' | 'ACK' | `ERROR ${string}` | `close ${string}` | `none: ${string}`

interface Call {
  readonly channel: 1 | 2
  readonly command: number
  readonly body: Uint8Array
  readonly sequence: number
  /** Of a call of the same channel that is sent immediately before; 0 = none. */
  readonly previous: number
}

const ledgerCall = (command: number, input: object, sequence = 5, previous = NO_CALL): Call => ({
  channel: 1,
  command,
  body: msgpack.encode(input),
  sequence,
  previous,
})

const CALLS = {
  'a call with output': ledgerCall(bump.number, {}),
  'a call that writes': ledgerCall(addVolatile.number, { n: 1 }),
  'a durable call': ledgerCall(add.number, { n: 1 }),
  'a durable cast': ledgerCall(addNoReply.number, { n: 1 }),
  'a volatile cast': { ...ledgerCall(VOLATILE_CAST, {}), channel: 2, body: Buffer.from('{"n":1}') },
  'a repeated call': ledgerCall(bump.number, {}, 5, 5),
  'an overtaken call': ledgerCall(bump.number, {}, 5, 9),
  'an overtaken durable cast': ledgerCall(addNoReply.number, { n: 1 }, 5, 9),
  'a call of an unknown command': ledgerCall(0xffff, {}),
  'a call with a bad body': ledgerCall(addNoReply.number, { n: -1 }),
  'a call with a damaged body': { ...ledgerCall(addNoReply.number, {}), body: Uint8Array.of(0xc1) },
  'a call that the game refuses': ledgerCall(refuse.number, {}),
  'a call of a handler that throws': ledgerCall(changeAllThenFail.number, { how: 'bug' }),
  'a call of sequence 0': ledgerCall(bump.number, {}, 0),
  'a call beyond the window': ledgerCall(bump.number, {}, 513),
} as const satisfies Record<string, Call>
type CallName = keyof typeof CALLS

const LOST = 'none: an OPENED with LOST followed the call'
const CLOSED = 'ERROR CLOSED'
const INVALID = { 'a call of sequence 0': 'close BAD_MESSAGE', 'a call beyond the window': 'close WINDOW' } as const
const ANSWERS: Readonly<Record<CallName, Outcome>> = {
  'a call with output': 'REPLY',
  'a call that writes': 'REPLY',
  'a durable call': 'REPLY',
  'a durable cast': 'ACK',
  'a volatile cast': 'none: it is volatile and has no output',
  'a repeated call': 'REPLY',
  'an overtaken call': 'ACK',
  'an overtaken durable cast': 'ACK',
  'a call of an unknown command': 'ERROR UNKNOWN_COMMAND',
  'a call with a bad body': 'ERROR BAD_INPUT',
  'a call with a damaged body': 'ERROR BAD_INPUT',
  'a call that the game refuses': 'ERROR NO',
  'a call of a handler that throws': 'ERROR INTERNAL',
  ...INVALID,
}
const answersAll = (outcome: Outcome): Readonly<Record<CallName, Outcome>> => ({
  ...(Object.fromEntries(Object.keys(CALLS).map((name) => [name, outcome])) as Record<CallName, Outcome>),
  'a call of sequence 0': 'close BAD_MESSAGE',
})

interface Channels {
  readonly session: RawSession
  /** The opening of each call; default: of the last OPENED. */
  readonly opening?: number
  /** What lets the call end. */
  release?(): Promise<unknown>
}

interface State {
  enter(host: Host): Promise<Channels>
  readonly answers: Readonly<Record<CallName, Outcome>>
}

async function openChannels(host: Host, key = uniqueName()): Promise<RawSession> {
  return (await openRawSession(host, 'ledger', key)).open(2, 'desk', uniqueName())
}

const STATES: Readonly<Record<string, State>> = {
  'while the channel opens': {
    enter: async (host) => {
      const session = (await RawSession.connect(host)).sendHello()
      return {
        session: session.openChannel(1, 'ledger', uniqueName()).openChannel(2, 'desk', uniqueName()),
        opening: 0,
      }
    },
    answers: ANSWERS,
  },
  'while the channel is open': { enter: async (host) => ({ session: await openChannels(host) }), answers: ANSWERS },
  'while an earlier call runs': {
    enter: async (host) => {
      const session = await openChannels(host)
      const gate = uniqueName('gate')
      const gates = (await host.sdkClient()).at(Gate)
      session.sendCall(1, 1, addAfterGate.number, { n: 1, gate })
      await waitForTurnsAtGate(host, gates, gate)
      return { session, release: () => gates.open({ name: gate }) }
    },
    answers: ANSWERS,
  },
  'on the next connection': {
    enter: async (host) => {
      const key = uniqueName()
      const before = await openChannels(host, key)
      before.client.close()
      return { session: await (await openRawSession(host, 'ledger', key, before.credentials)).open(2, 'desk', key) }
    },
    answers: ANSWERS,
  },
  'when it was sent before a loss of calls': {
    enter: async (host) => {
      const key = uniqueName()
      const session = await (await openRawSession(host, 'ledger', key)).open(2, 'ledger', key)
      await host.abortShard('ledger', key)
      await session.waitFor('opened', 4)
      return { session, opening: 1 }
    },
    answers: { ...answersAll(LOST), ...INVALID },
  },
  'on a channel that was never opened': {
    enter: async (host) => ({ session: (await RawSession.connect(host)).sendHello() }),
    answers: answersAll(CLOSED),
  },
  'on a channel that was closed': {
    enter: async (host) => ({ session: (await openChannels(host)).closeChannel(1).closeChannel(2) }),
    answers: answersAll(CLOSED),
  },
  'on a channel that was refused': {
    enter: async (host) => {
      const session = (await RawSession.connect(host)).sendHello()
      return { session: session.openChannel(1, 'nothing', 'k').openChannel(2, 'playerroom', 'k') }
    },
    answers: answersAll(CLOSED),
  },
}

function findOutcome(session: RawSession, { channel, sequence }: Call): Outcome | null {
  const { replies, errors, acks } = session.received
  const isThis = (answer: { channel: number; sequence: number }): boolean =>
    answer.channel === channel && answer.sequence === sequence && sequence !== 0
  const error = errors.find(isThis)
  if (error) return `ERROR ${error.code}`
  if (replies.some(isThis)) return 'REPLY'
  if (session.client.isClosed) return `close ${errors.at(-1)?.code}`
  const isAck = (ack: { channel: number; calls: number }): boolean => ack.channel === channel && ack.calls >= sequence
  return sequence !== 0 && acks.some(isAck) ? 'ACK' : null
}

/** Sends the call; returns what answered it. Where no answer is `expected`, the wait ends some time after a PONG. */
async function outcomeOf(
  host: Host,
  { session, opening, release }: Channels,
  call: Call,
  expected: Outcome,
): Promise<Outcome | null> {
  const { channel, command, body, sequence, previous } = call
  const current = opening ?? session.received.opened.findLast((opened) => opened.channel === channel)?.opening ?? 0
  const encode = (number: number): Uint8Array =>
    frame(MESSAGE.CALL, encodeCallBody(channel, number, command, body, 0, current))
  if (previous !== NO_CALL) session.client.send(encode(previous))
  session.client.send(encode(sequence))
  session.send(MESSAGE.PING, Uint8Array.of(1))
  await release?.()
  const find = (): Outcome | null => findOutcome(session, call)
  const hasPong = (): boolean => session.client.frames.some((received) => received.command === MESSAGE.PONG)
  const isSilent = expected.startsWith('none: ')
  await host.waitUntil(() => find() !== null || (isSilent && hasPong()), `${expected} for command ${command}`)
  // An answer of the shard would follow PONG: it comes from farther away.
  if (isSilent) await host.sleep(100)
  return find()
}

/** Commands of a legacy client, to contract `desk`: the frame that answers, null = none (docs/protocol.md, legacy client). */
const LEGACY: readonly (readonly [string, Uint8Array, RegExp | null])[] = [
  ['a call with output', frame(201, { n: 1 }), /^{"sum":\d+}$/],
  ['a cast', frame(VOLATILE_CAST, { n: 1 }), null],
  ['a refusal', frame(203, {}), /^{"ok":false,"why":"POOR"}$/],
  ['a handler that throws', frame(205, {}), null],
  ['a bad body', frame(201, { n: -1 }), null],
  ['a body above the limit of its command', frame(206, { text: 'x'.repeat(100) }), null],
  ['an unknown command', frame(299), null],
]

const HELLO = frame(
  MESSAGE.HELLO,
  encodeHello({ minVersion: 2, maxVersion: 2, session: new Uint8Array(16), ticket: EMPTY_BYTES, token: EMPTY_BYTES }),
)
const OPEN = { activation: 0, eventAck: 0, contract: 'ledger', key: 'k' }
const NO_ANSWER = 'none: it needs no answer'
const VIOLATION = 'close BAD_MESSAGE'
/** Every other message, on a session whose channel 1 is open. */
const MESSAGES: readonly (readonly [string, Uint8Array, Outcome | 'PONG' | 'OPENED'])[] = [
  ['PING', frame(MESSAGE.PING, Uint8Array.of(7)), 'PONG'],
  ['PONG', frame(MESSAGE.PONG, new Uint8Array(8)), NO_ANSWER],
  ['ACK', frame(MESSAGE.ACK, encodeAck({ channel: 1, calls: 9, events: 9 })), NO_ANSWER],
  ['ACK of an unknown channel', frame(MESSAGE.ACK, encodeAck({ channel: 9, calls: 1, events: 1 })), NO_ANSWER],
  ['CLOSE', frame(MESSAGE.CLOSE, encodeClose({ channel: 1, code: 'CLOSED' })), NO_ANSWER],
  ['CLOSE of an unknown channel', frame(MESSAGE.CLOSE, encodeClose({ channel: 9, code: 'CLOSED' })), NO_ANSWER],
  ['OPEN', frame(MESSAGE.OPEN, encodeOpen({ ...OPEN, channel: 2 })), 'OPENED'],
  [
    'OPEN of an unknown contract',
    frame(MESSAGE.OPEN, encodeOpen({ ...OPEN, channel: 2, contract: 'x' })),
    'ERROR UNKNOWN_CONTRACT',
  ],
  ['OPEN of an open channel', frame(MESSAGE.OPEN, encodeOpen({ ...OPEN, channel: 1 })), VIOLATION],
  ['OPEN of channel 0', frame(MESSAGE.OPEN, encodeOpen({ ...OPEN, channel: 0 })), VIOLATION],
  ['RESUME', frame(MESSAGE.RESUME, encodeResume([{ ...OPEN, channel: 2 }])), 'OPENED'],
  ['RESUME of nothing', frame(MESSAGE.RESUME, encodeResume([])), NO_ANSWER],
  ['CALL on channel 0', frame(MESSAGE.CALL, encodeCallBody(0, 1, bump.number, {})), CLOSED],
  ['HELLO', HELLO, VIOLATION],
  ['a message of servers', frame(MESSAGE.WELCOME, new Uint8Array(29)), VIOLATION],
  ['a reserved number', frame(0xffffffff), VIOLATION],
  ['a command of a game', frame(201, { n: 1 }), VIOLATION],
  ['a message that is too short', frame(MESSAGE.CALL, new Uint8Array(19)), VIOLATION],
]

/** Returns what answered a message, and closes the connection. */
async function answerTo(host: Host, session: RawSession, message: Uint8Array): Promise<string> {
  const { frames } = session.client
  const before = frames.length
  session.client.send(join(message, frame(MESSAGE.PING, Uint8Array.of(8))))
  const find = (): string | undefined => {
    for (const { command, body } of frames.slice(before)) {
      if (command === MESSAGE.OPENED) return 'OPENED'
      if (command === MESSAGE.PONG && body[0] === 7) return 'PONG'
      if (command === MESSAGE.ERROR) {
        const { channel, sequence, code } = decodeError(body, 0, body.length)
        return `${channel === 0 && sequence === 0 ? 'close' : 'ERROR'} ${code}`
      }
    }
    return undefined
  }
  const isOver = (): boolean => frames.some(({ command, body }) => command === MESSAGE.PONG && body[0] === 8)
  await host.waitUntil(() => find() !== undefined || isOver(), 'an answer or PONG')
  // The answer to OPEN comes from farther away than PONG.
  if (find() === undefined) await host.sleep(100)
  session.client.close()
  return find() ?? 'none'
}

const stateCases: readonly Case[] = Object.entries(STATES).map(([state, { enter, answers }]) => ({
  name: `a call ${state} is answered, acknowledged, refused or has a reason to be silent`,
  run: async (host) => {
    const names = Object.keys(CALLS) as CallName[]
    const outcomes = await Promise.all(
      names.map(async (name) => [name, await outcomeOf(host, await enter(host), CALLS[name], answers[name])] as const),
    )
    const expected = names.map((name) => [name, answers[name].startsWith('none: ') ? null : answers[name]])
    assert.deepEqual(outcomes, expected)
  },
}))

export const cases: readonly Case[] = [
  ...stateCases,
  {
    name: 'a call that a later one has overtaken is acknowledged as soon as that one is committed',
    needs: ['commitFaults'],
    run: async (host) => {
      const session = await openRawSession(host, 'ledger', uniqueName())
      const release = await host.faults!.holdCommits()
      session.sendCall(1, 9, addVolatile.number, { n: 1 }).sendCall(1, 5, bump.number)
      session.send(MESSAGE.PING, Uint8Array.of(1))
      await host.waitUntil(() => session.client.frames.some(({ command }) => command === MESSAGE.PONG), 'PONG')
      await release()
      assert.deepEqual(await session.waitFor('acks'), [{ channel: 1, calls: 9, events: 0 }])
      assert.deepEqual(
        session.received.replies.map(({ sequence }) => sequence),
        [9],
      )
    },
  },
  {
    name: 'every other message is answered, closes the connection, or needs no answer',
    run: async (host) => {
      for (const [what, message, expected] of MESSAGES) {
        const session = await openRawSession(host, 'ledger', uniqueName())
        assert.equal(await answerTo(host, session, message), expected.replace(/^none: .*/, 'none'), what)
      }
    },
  },
  {
    name: 'a command of a legacy client is answered unless it is a cast, invalid or a bug',
    run: async (host) => {
      for (const [what, command, expected] of LEGACY) {
        const client = await host.rawClient()
        client.send(join(command, frame(208, { n: 0 })))
        await host.waitUntil(() => client.frames.length === (expected === null ? 1 : 2), what)
        if (expected !== null) assert.match(texts(client)[0]![1], expected, what)
        assert.equal(client.frames.at(-1)!.command, 208, what)
        client.close()
      }
    },
  },
]
