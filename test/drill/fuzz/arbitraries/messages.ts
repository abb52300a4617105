// Messages of version 2 as steps from the context of a case: a valid conversation on one channel, messages whose fields
// are at the limits of what they may be, and messages that only a server sends.

import fc, { type Arbitrary } from 'fast-check'

import { EMPTY_BYTES, utf8Encoder } from '../../../../core/wire/bytes.ts'
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
} from '../../../../core/wire/message.ts'
import { boundaryNumber } from './byteedits.ts'
import { bodyOf, contractInputs, plainCall, type BodyEdit, type Call } from './inputs.ts'
import { bytesOf, maybe, step, Step, weighted, type ValueOf } from './step.ts'

export interface EncodedMessage {
  readonly command: number
  readonly body: Uint8Array
}
/** What a session needs to resume. */
export interface ResumeState {
  readonly session: Uint8Array
  readonly token: Uint8Array
}
/** What a plan does not contain. */
export interface MessageContext {
  readonly channel: number
  readonly resume: ResumeState
}
export type Message = Step<MessageContext, EncodedMessage>

export const NO_SESSION: ResumeState = { session: new Uint8Array(SESSION_BYTES), token: EMPTY_BYTES }

export const hello: Message = new Step('HELLO', null, ({ resume }) => helloOf(resume))

export function helloOf({ session, token }: ResumeState): EncodedMessage {
  const body = encodeHello({ minVersion: 2, maxVersion: 2, session, ticket: EMPTY_BYTES, token })
  return { command: MESSAGE.HELLO, body }
}

/** OPEN, one or two calls, perhaps an acknowledgement. `edit`: of the body of one call. */
export function conversation(edit: Arbitrary<BodyEdit | null> = fc.constant(null)): Arbitrary<Message[]> {
  const conversations = contractInputs.map(([weight, input]) => {
    const other = fc.record({ input, isFirst: fc.boolean() })
    const call = fc.record({ input, edit })
    const fields = fc.record({ key: fc.nat(47), call, other: maybe(30, other), ack: maybe(10, fc.nat(2)) })
    return [weight, fields.map(messagesOf)] as const
  })
  return weighted(...conversations)
}

interface Conversation {
  readonly key: number
  readonly call: Call
  readonly other: { readonly input: Call['input']; readonly isFirst: boolean } | null
  readonly ack: number | null
}

function messagesOf({ key, call, other, ack }: Conversation): Message[] {
  const calls = other ? [call, { input: other.input, edit: null }] : [call]
  if (other?.isFirst) calls.reverse()
  const open = { activation: 0, eventAck: 0, contract: call.input.contract, key: `k${key}` }
  const messages = [messageOf('OPEN', open, ({ channel }) => encodeOpen({ ...open, channel }))]
  for (const [i, one] of calls.entries()) {
    const fields = { opening: 0, sequence: i + 1, replyAck: i, command: one.input.command }
    messages.push(messageOf('CALL', one, ({ channel }) => encodeCall({ ...fields, channel }, bodyOf(one))))
  }
  if (ack === null) return messages
  const fields = { calls: Math.min(ack, calls.length), events: 0 }
  return [...messages, messageOf('ACK', fields, ({ channel }) => encodeAck({ ...fields, channel }))]
}

type MessageType = keyof typeof MESSAGE

function messageOf(type: MessageType, fields: unknown, encode: (context: MessageContext) => Uint8Array): Message {
  return new Step(type, fields, (context) => ({ command: MESSAGE[type], body: encode(context) }))
}

/** A number at a limit in one of three; else null, the expected number. */
const boundary = weighted<number | null>([2, fc.constant(null)], [1, boundaryNumber])
/** The same, where one of several numbers is expected. */
const boundaryOr = (...expected: number[]) => weighted([2, fc.constantFrom(...expected)], [1, boundaryNumber])

/** A message with these fields, on the channel of the case or any other. */
function message<Fields extends object>(
  type: MessageType,
  fields: Arbitrary<Fields>,
  encode: (fields: Fields & { readonly channel: number }, context: MessageContext) => Uint8Array,
): Arbitrary<Message> {
  return fc
    .tuple(fields, boundary)
    .map(([values, channel]) =>
      messageOf(type, { ...values, channel }, (context) =>
        encode({ ...values, channel: channel ?? context.channel }, context),
      ),
    )
}

const CONTRACTS = [...'opaque text pack login bound private nothing __proto__'.split(' '), '', 'a'.repeat(33)]
const KEYS = [
  ...['', ' ', 'a ', '\u0000', '\u007f', 'é'.repeat(64), 'x'.repeat(128), 'x'.repeat(129)],
  ...['💥', '\ufeff', 'constructor'],
]
const key = fc.nat(47).map((n) => `k${n}`)
const shard = weighted(
  [2, fc.record({ contract: fc.constantFrom(...CONTRACTS.slice(0, 4)), key })],
  [1, fc.record({ contract: fc.constantFrom(...CONTRACTS), key: fc.constantFrom(...KEYS) })],
)
const open = fc
  .tuple(shard, boundaryOr(0, 1, 2), boundaryOr(0, 1, 2))
  .map(([fields, activation, eventAck]) => ({ ...fields, activation, eventAck }))

/** RESUME of 0..4 channels. `lie` overwrites a byte of the count. */
export const resume: Arbitrary<Message> = step(
  'RESUME',
  fc.record({
    opens: fc.array(fc.tuple(open, boundary), { maxLength: 4, size: 'max' }),
    lie: maybe(25, fc.record({ at: fc.nat(1), value: boundaryNumber })),
  }),
  ({ opens, lie }, { channel }) => {
    const body = encodeResume(opens.map(([fields, other], i) => ({ ...fields, channel: (other ?? channel + i) || 1 })))
    if (lie) body[lie.at] = lie.value
    return { command: MESSAGE.RESUME, body }
  },
)

/** How a session or token is changed; null = not at all. */
const change = maybe(50, fc.record({ isFilled: fc.nat(2).map((n) => n === 0), at: fc.nat(), byte: fc.nat(255) }))
function changed(bytes: Uint8Array, how: ValueOf<typeof change>): Uint8Array {
  if (how === null || bytes.length === 0) return bytes
  if (how.isFilled) return new Uint8Array(bytes.length).fill(how.byte)
  const at = how.at % bytes.length
  return bytes.with(at, bytes[at]! ^ (1 << (how.byte & 7)))
}

const TICKETS = [
  'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.',
  'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEiLCJleHAiOjk5OTk5OTk5OTl9.AAAA',
  ...['eyJhbGciOiJIUzI1NiJ9.e30.AAAA', '..', 'a.b.c', `${'x'.repeat(9_000)}.y.z`],
].map((text) => utf8Encoder.encode(text))
const ticket = weighted<Uint8Array>(
  [4, fc.constant(EMPTY_BYTES)],
  [2, fc.constantFrom(...TICKETS)],
  [2, bytesOf(0, 79)],
)
const version = weighted([2, fc.constant(2)], [1, fc.nat(255)])

/** HELLO with any version, a changed session or token, or a ticket that is not valid. */
export const boundaryHello = message(
  'HELLO',
  fc.record({ minVersion: version, maxVersion: version, session: change, ticket, token: change }),
  ({ session, token, ...fields }, { resume: state }) =>
    encodeHello({ ...fields, session: changed(state.session, session), token: changed(state.token, token) }),
)

const callFields = { opening: boundaryOr(1), sequence: boundaryOr(1, 2, 3), replyAck: boundaryOr(0) }
const pingBytes = weighted([19, fc.nat(63)], [1, fc.constant(65_536)])

/** A message that a client sends, with fields of any value. */
export const boundaryMessage: Arbitrary<Message> = weighted(
  [
    10,
    message('CALL', fc.record({ ...callFields, command: boundary, call: plainCall }), ({ call, command, ...fields }) =>
      encodeCall({ ...fields, command: command ?? call.input.command }, bodyOf(call)),
    ),
  ],
  [5, message('OPEN', open, encodeOpen)],
  [1, message('ACK', fc.record({ calls: boundaryNumber, events: boundaryNumber }), encodeAck)],
  [
    1,
    message('CLOSE', fc.record({ chars: fc.nat(199) }), ({ channel, chars }) =>
      encodeClose({ channel, code: 'x'.repeat(chars) }),
    ),
  ],
  [1, message('PING', fc.record({ length: pingBytes }), ({ length }) => new Uint8Array(length))],
  [1, resume],
  [1, boundaryHello],
)

const junk = fc.record({ body: bytesOf(0, 23), number: boundaryNumber, byte: fc.nat(255), call: plainCall })
const WELCOME = { ...NO_SESSION, version: 2, resumed: true, heartbeatMs: 1, maxBodyBytes: 1 }

/** A message that no client sends: those of a server, reserved numbers, a game's own. */
export const serverOnlyMessage: Arbitrary<Message> = fc.oneof(
  message('WELCOME', junk, () => encodeWelcome(WELCOME)),
  message(
    'OPENED',
    fc.record({ activation: boundaryNumber, mark: boundaryNumber, opening: boundaryNumber }),
    (fields) => encodeOpened({ ...fields, lost: true }),
  ),
  message('REPLY', junk, ({ channel, number, body }) => encodeReply({ channel, sequence: number }, body)),
  message('ERROR', junk, ({ channel, number }) =>
    encodeError({ channel, sequence: number, kind: 'system', code: 'INTERNAL', message: 'x' }),
  ),
  message('EVENT', junk, ({ channel, body }) => encodeEvent({ channel, sequence: 1, event: 250 }, body)),
  message('TOKEN', junk, ({ body }) => encodeToken(body)),
  message('RESYNC', junk, ({ channel, number }) => encodeResync({ channel, events: number })),
  step('reserved command', junk, ({ byte, body }) => ({ command: 0xffffff00 + byte, body })),
  step('game command', junk, ({ call, body }) => ({ command: call.input.command, body })),
  step('any command', junk, ({ number, body }) => ({ command: number, body })),
)
