// The plans of the cases: what to send, drawn by one arbitrary for each route. Invariant: a plan contains nothing that
// depends on its number or on the server.

import fc, { type Arbitrary } from 'fast-check'

import { readU32, writeU32 } from '../../../../core/wire/bytes.ts'
import { Random } from '../../../support/random.ts'
import { webDamage } from '../webframes.ts'
import { boundaryNumber, byteEdits, cuts, editBytes, splice } from './byteedits.ts'
import { anyInput, bodyByteEdit, bodyOf, bodyTreeEdit, plainCall, type BodyEdit, type Call } from './inputs.ts'
import {
  boundaryHello,
  boundaryMessage,
  conversation,
  hello,
  resume,
  serverOnlyMessage,
  type Message,
  type MessageContext,
} from './messages.ts'
import { itemAt, maybe, Step, weighted, type ValueOf } from './step.ts'
import { startingBytes } from './vectors.ts'

export interface Plan {
  /** How it differs from valid bytes. */
  readonly kind: string
  readonly messages: readonly Message[]
  /** Of one of the frames. */
  readonly damage: Damage | null
  /** Sent in place of the messages. */
  readonly vector: ValueOf<typeof vector> | null
  /** All frames in one WebSocket message. */
  readonly isGrouped: boolean
  readonly webDamage: ValueOf<typeof webDamage> | null
}
type Frames = readonly Uint8Array[]
type Messages = Arbitrary<readonly Message[]>
type PlanOfFrames = Pick<Plan, 'kind' | 'messages' | 'damage' | 'vector'>

const damage = fc.record({
  kind: fc.constantFrom('frame', 'frame', 'frame', 'length', 'length', 'splice'),
  at: fc.nat(),
  other: fc.nat(),
  edits: byteEdits,
  lengthDelta: fc.integer({ min: -4, max: 4 }),
  length: maybe(50, boundaryNumber),
  cuts,
})
type Damage = ValueOf<typeof damage>

export function framesOf({ damage: damaged, vector: replacement }: Plan, encoded: Frames): Frames {
  if (replacement) return [editBytes(replacement.bytes, replacement.edits ?? [])]
  if (!damaged) return encoded
  return encoded.with(damaged.at % encoded.length, damagedFrame(damaged, itemAt(encoded, damaged.at), encoded))
}

function damagedFrame({ kind, ...how }: Damage, frame: Uint8Array, frames: Frames): Uint8Array {
  if (kind === 'frame') return editBytes(frame, how.edits)
  if (kind === 'splice') return splice(frame, itemAt(frames, how.other), how.cuts)
  const bytes = new Uint8Array(frame)
  writeU32(bytes, 9, how.length ?? Math.max(0, readU32(bytes, 9) + how.lengthDelta))
  return bytes
}

function planOf(kind: string, messages: Messages): Arbitrary<PlanOfFrames> {
  return messages.map((list) => ({ kind, messages: list, damage: null, vector: null }))
}

const bytes = fc.constantFrom(...startingBytes())
const vector = fc.record({ bytes, edits: maybe(50, byteEdits) })
const vectorPlan = (of: typeof vector): Arbitrary<PlanOfFrames> =>
  of.map((fields) => ({ kind: 'vector', messages: [], damage: null, vector: fields }))

/** Frames that are broken as frames, the vectors, and some frames without any fault. */
function broken(messages: Messages): Arbitrary<PlanOfFrames> {
  return weighted(
    [
      6,
      fc.tuple(messages, damage).map(([list, how]) => {
        return { kind: how.kind, messages: list, damage: how, vector: null }
      }),
    ],
    [3, vectorPlan(vector)],
    [2, planOf('plain', messages)],
  )
}

/** One more message between the others, or in the place of one. */
function inserted(messages: Messages, message: Arbitrary<Message>): Messages {
  return fc
    .tuple(messages, message, fc.nat(), fc.boolean())
    .map(([list, extra, at, replaces]) => list.toSpliced(at % (list.length + 1), replaces ? 1 : 0, extra))
}

/** One message with its body edited as bytes. */
function edited(messages: Messages): Messages {
  return fc.tuple(messages, fc.nat(), byteEdits).map(([list, at, edits]) => {
    const original = itemAt(list, at)
    const message = new Step('edited', { original, edits }, (context: MessageContext) => {
      const { command, body } = original.run(context)
      return { command, body: editBytes(body, edits) }
    })
    return list.with(at % list.length, message)
  })
}

/** Messages shuffled, left out, interleaved with another conversation, or repeated. */
function reordered(messages: Messages): Messages {
  const number = fc.nat()
  const shuffled = fc.tuple(messages, number).map(([list, seed]) => new Random(seed).shuffled(list))
  const shortened = fc.tuple(messages, number).map(([list, at]) => list.toSpliced(at % list.length, 1))
  const interleaved = fc
    .tuple(messages, talk)
    .map(([list, other]) => other.flatMap((message, i) => [message, ...list.slice(i, i + 1)]))
  // Mostly the last: the first is accepted once per connection, and a connection that ends at once tests little.
  const times = weighted([98, fc.integer({ min: 1, max: 4 })], [2, fc.constant(300)])
  const repeated = fc.tuple(messages, maybe(20, number), times).map(([list, at, count]) => {
    const index = (at ?? list.length - 1) % list.length
    return list.toSpliced(index + 1, 0, ...Array.from({ length: count }, () => list[index]!))
  })
  return weighted([1, shuffled], [1, shortened], [1, interleaved], [2, repeated])
}

function starting(first: Arbitrary<Message>, messages: Messages): Messages {
  return fc.tuple(first, messages).map(([message, list]) => [message, ...list])
}

const talk: Messages = conversation()
const talkAfterHello = talk.map((list) => [hello, ...list])

/** One to three legacy commands. `edit`: of the body of one; `command`: in place of its own. */
function legacyTalk(edit: Arbitrary<BodyEdit | null>, command: Arbitrary<number | null>): Messages {
  const others = fc.array(plainCall, { maxLength: 2, size: 'max' })
  return fc.tuple(anyInput, edit, command, others, fc.nat()).map(([input, bodyEdit, other, calls, at]) => {
    const message = legacyMessage({ input, edit: bodyEdit }, other ?? input.command)
    const messages = calls.map((call) => legacyMessage(call, call.input.command))
    return messages.toSpliced(at % (calls.length + 1), 0, message)
  })
}
function legacyMessage(call: Call, command: number): Message {
  return new Step(`command ${command}`, call, () => ({ command, body: bodyOf(call) }))
}
const none = fc.constant(null)
const otherCommand = weighted([1, boundaryNumber], [1, anyInput.map(({ command }) => command)])
const plainLegacyTalk = legacyTalk(none, none)

/** After the channels of RESUME. */
const CHANNEL_OFFSET = 8
const laterTalk = talk.map((list) =>
  list.map((message) => {
    const later = ({ channel, ...rest }: MessageContext) => message.run({ ...rest, channel: channel + CHANNEL_OFFSET })
    return new Step(`channel + ${CHANNEL_OFFSET}`, message, later)
  }),
)
const resumed = starting(weighted([2, fc.constant(hello)], [1, boundaryHello]), starting(resume, laterTalk))

const session = weighted(
  [42, planOf('tree', conversation(bodyTreeEdit))],
  [20, planOf('body', conversation(bodyByteEdit))],
  [14, planOf('fields', inserted(talk, boundaryMessage))],
  [2, planOf('strange', inserted(talk, serverOnlyMessage))],
  [9, planOf('order', reordered(talk))],
  [3, planOf('message', edited(talk))],
  [10, broken(talk)],
)
const legacy = weighted(
  [50, planOf('tree', legacyTalk(bodyTreeEdit, none))],
  [28, planOf('body', legacyTalk(bodyByteEdit, none))],
  [8, planOf('fields', legacyTalk(none, otherCommand))],
  [4, planOf('strange', inserted(plainLegacyTalk, serverOnlyMessage))],
  [10, broken(plainLegacyTalk)],
)
/** The whole conversation of a connection, from its first byte. */
const fresh = weighted(
  [2, vectorPlan(fc.record({ bytes, edits: byteEdits }))],
  [2, broken(talkAfterHello)],
  [2, planOf('hello', starting(boundaryHello, talk))],
  [2, planOf('hello', edited(talkAfterHello))],
  [1, planOf('order', reordered(talkAfterHello))],
  [1, planOf('strange', starting(serverOnlyMessage, talkAfterHello))],
)
const resuming = weighted([3, planOf('resume', resumed)], [1, planOf('resume', reordered(resumed))])

function complete(plan: Arbitrary<PlanOfFrames>, web: Arbitrary<Plan['webDamage']> = none): Arbitrary<Plan> {
  return fc.tuple(plan, fc.boolean(), web).map(([frames, isGrouped, how]) => {
    return { ...frames, ...(how && { kind: 'websocket' }), isGrouped, webDamage: how }
  })
}

export const plans = {
  session: complete(session),
  legacy: complete(legacy),
  resume: complete(resuming),
  freshTcp: complete(fresh),
  freshWeb: complete(fresh, maybe(60, webDamage)),
}
