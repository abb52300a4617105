// The cases: what is sent is a function of seed and number alone (of one that resumes, of the session and token that
// the server gave as well). Neighbours of one block go the same way, so that they may share a connection.

import { readU32, writeU32 } from '../../../core/wire/bytes.ts'
import {
  DEFAULT_FRAME_IDENTITY,
  encodeFrame,
  FrameDecoder,
  frameIdentityBytes,
} from '../../../core/wire/frame.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { MESSAGE } from '../../../core/wire/message.ts'
import { Random } from '../../support/random.ts'
import { edge, join, mutateBytes, splice } from './bytes.ts'
import { ask, bodyOf } from './input.ts'
import {
  conversation,
  edged,
  edgedHello,
  hello,
  NOBODY,
  resume,
  strange,
  type Live,
  type Said,
} from './talk.ts'
import { mutateTree } from './tree.ts'
import { readVectors } from './vectors.ts'
import { brokenFrame, webFrame } from './web.ts'

/** `session` and `legacy`: on a connection that said its first frame; `fresh`: on a new one; `resume`: on a session. */
export interface Way {
  readonly on: 'session' | 'legacy' | 'fresh' | 'resume'
  readonly via: 'tcp' | 'ws'
}
export interface Case extends Way {
  readonly number: number
  /** What was done to it. */
  readonly kind: string
  /** What is written to the socket, WebSocket frames and all. */
  readonly bytes: Uint8Array
  /** All of it passes the frame headers, and it ends where a frame ends. */
  readonly isWhole: boolean
  /** Command of its first frame; null = there is none. */
  readonly first: number | null
}

export const BLOCK = 12
export const channelOf = (number: number): number => number + 1
export const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)
const vectors = readVectors()

/** In percent of the blocks. */
const WAYS: readonly (readonly [number, Way])[] = [
  [36, { on: 'session', via: 'tcp' }],
  [22, { on: 'session', via: 'ws' }],
  [19, { on: 'legacy', via: 'tcp' }],
  [13, { on: 'legacy', via: 'ws' }],
  [3, { on: 'fresh', via: 'tcp' }],
  [3, { on: 'fresh', via: 'ws' }],
  [2, { on: 'resume', via: 'tcp' }],
  [2, { on: 'resume', via: 'ws' }],
]

export function wayOf(seed: number, number: number): Way {
  let left = randomOf(seed, Math.floor(number / BLOCK), 1).below(100)
  for (const [share, way] of WAYS) if ((left -= share) < 0) return way
  return WAYS[0]![1]
}

export function makeCase(seed: number, number: number, live: Live = NOBODY): Case {
  const way = wayOf(seed, number)
  const random = randomOf(seed, number, 2)
  const made =
    way.on === 'legacy'
      ? legacyCase(random)
      : way.on === 'session'
        ? sessionCase(random, channelOf(number))
        : way.on === 'resume'
          ? resumeCase(random, channelOf(number), live)
          : freshCase(random, channelOf(number))
  if (way.via === 'ws' && way.on === 'fresh' && random.chance(0.6)) {
    const bytes = brokenFrame(random, join(made.frames))
    return { ...way, number, kind: 'websocket', bytes, isWhole: false, first: null }
  }
  const messages = way.via === 'tcp' ? [join(made.frames)] : grouped(random, made.frames)
  const { isWhole, first } = judge(messages)
  const bytes = way.via === 'tcp' ? messages[0]! : join(messages.map((message) => webFrame(message)))
  return { ...way, number, kind: made.kind, bytes, isWhole, first }
}

interface Made {
  readonly kind: string
  /** Each a frame, or what is left of one. */
  readonly frames: readonly Uint8Array[]
}

function sessionCase(random: Random, channel: number): Made {
  const choice = random.below(100)
  if (choice < 42) return { kind: 'tree', frames: framed(altered(random, channel, true)) }
  if (choice < 62) return { kind: 'body', frames: framed(altered(random, channel, false)) }
  const said = plain(random, channel)
  if (choice < 76) return { kind: 'fields', frames: framed(inserted(random, said, edged(random, channel))) }
  if (choice < 78)
    return { kind: 'strange', frames: framed(inserted(random, said, strange(random, channel))) }
  if (choice < 87) return { kind: 'order', frames: framed(reordered(random, said, channel)) }
  if (choice < 90) return { kind: 'message', frames: framed(replaced(random, said)) }
  return brokenCase(random, framed(said))
}

function legacyCase(random: Random): Made {
  const choice = random.below(100)
  const asked = Array.from({ length: 1 + random.below(3) }, () => ask(random))
  const said = asked.map((one) => ({ command: one.command, body: bodyOf(random, one) }))
  const at = random.below(said.length)
  const { command, body } = said[at]!
  if (choice < 50) {
    const one = asked[at]!
    said[at] = { command, body: bodyOf(random, { ...one, tree: mutateTree(random, one.tree) }) }
    return { kind: 'tree', frames: framed(said) }
  }
  if (choice < 78) {
    said[at] = { command, body: bent(random, body) }
    return { kind: 'body', frames: framed(said) }
  }
  if (choice < 86) {
    said[at] = { command: random.chance(0.5) ? edge(random) : ask(random).command, body }
    return { kind: 'fields', frames: framed(said) }
  }
  if (choice < 90) return { kind: 'strange', frames: framed(inserted(random, said, strange(random, 1))) }
  return brokenCase(random, framed(said))
}

/** Frames that are broken as frames, the vectors, and now and then nothing that is wrong at all. */
function brokenCase(random: Random, frames: Uint8Array[]): Made {
  const at = random.below(frames.length)
  const frame = frames[at]!
  const choice = random.below(11)
  if (choice < 3) {
    frames[at] = mutateBytes(random, frame)
    return { kind: 'frame', frames }
  }
  if (choice < 5) {
    const lie = new Uint8Array(frame)
    const length = readU32(lie, 9)
    writeU32(lie, 9, random.chance(0.5) ? Math.max(0, length + random.below(9) - 4) : edge(random))
    frames[at] = lie
    return { kind: 'length', frames }
  }
  if (choice < 6) {
    frames[at] = splice(random, frame, frames[random.below(frames.length)]!)
    return { kind: 'splice', frames }
  }
  if (choice < 9) {
    const vector = vectors[random.below(vectors.length)]!
    const isPlain = random.chance(0.5)
    return { kind: 'vector', frames: [isPlain ? vector : mutateBytes(random, vector)] }
  }
  return { kind: 'plain', frames }
}

/** The whole conversation of a connection, from its first byte. */
function freshCase(random: Random, channel: number): Made {
  const choice = random.below(10)
  if (choice < 2)
    return { kind: 'vector', frames: [mutateBytes(random, vectors[random.below(vectors.length)]!)] }
  const said = plain(random, channel)
  if (choice < 4) return brokenCase(random, framed([hello(), ...said]))
  if (choice < 6) return { kind: 'hello', frames: framed([edgedHello(random, NOBODY), ...said]) }
  if (choice < 8) return { kind: 'hello', frames: framed(replaced(random, [hello(), ...said])) }
  if (choice < 9) return { kind: 'order', frames: framed(reordered(random, [hello(), ...said], channel)) }
  return { kind: 'strange', frames: framed([strange(random, channel), hello(), ...said]) }
}

function resumeCase(random: Random, channel: number, live: Live): Made {
  const first = random.below(3) === 0 ? edgedHello(random, live) : hello(live)
  const said = [first, resume(random, channel), ...plain(random, channel + 8)]
  if (random.below(4) > 0) return { kind: 'resume', frames: framed(said) }
  return { kind: 'resume', frames: framed(reordered(random, said, channel)) }
}

function plain(random: Random, channel: number): Said[] {
  return conversation(random, channel, (asked) => bodyOf(random, asked))
}

function altered(random: Random, channel: number, asTree: boolean): Said[] {
  return conversation(random, channel, (asked) =>
    asTree
      ? bodyOf(random, { ...asked, tree: mutateTree(random, asked.tree) })
      : bent(random, bodyOf(random, asked)),
  )
}

/** A body bent as bytes, or grown together with another's. */
function bent(random: Random, body: Uint8Array): Uint8Array {
  return random.below(5) === 0 ? splice(random, body, bodyOf(random, ask(random))) : mutateBytes(random, body)
}

function inserted(random: Random, said: readonly Said[], one: Said): Said[] {
  const at = random.below(said.length + 1)
  // It comes in between, or in the place of another.
  return [...said.slice(0, at), one, ...said.slice(at + random.below(2))]
}

function replaced(random: Random, said: Said[]): Said[] {
  const at = random.below(said.length)
  said[at] = { command: said[at]!.command, body: mutateBytes(random, said[at]!.body) }
  return said
}

/** Messages swapped, said twice, left out, or from two conversations in turn. */
function reordered(random: Random, said: Said[], channel: number): Said[] {
  const at = random.below(said.length)
  const choice = random.below(5)
  if (choice === 0) return random.shuffled(said)
  if (choice === 1) return [...said.slice(0, at), ...said.slice(at + 1)]
  if (choice === 2) return plain(random, channel).flatMap((one, i) => [one, ...said.slice(i, i + 1)])
  const times = random.chance(0.02) ? 300 : 1 + random.below(4)
  // Mostly what follows the first, which may come once: a connection that ends at once tells little.
  const twice = said[random.chance(0.8) ? said.length - 1 : at]!
  return said.toSpliced(at + 1, 0, ...Array.from({ length: times }, () => twice))
}

function framed(said: readonly Said[]): Uint8Array[] {
  return said.map(({ command, body }) => encodeFrame(identity, command, body))
}

/** Several frames in a WebSocket message, or one each. */
function grouped(random: Random, frames: readonly Uint8Array[]): readonly Uint8Array[] {
  return random.chance(0.5) ? [join(frames)] : frames
}

function judge(messages: readonly Uint8Array[]): Pick<Case, 'isWhole' | 'first'> {
  let first: number | null = null
  const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, DEFAULT_LIMITS.maxBodyBytes, (command) => {
    first ??= command
  })
  try {
    for (const message of messages) {
      decoder.push(message)
      if (decoder.bufferedBytes > 0) return { isWhole: false, first }
    }
    return { isWhole: true, first }
  } catch {
    return { isWhole: false, first }
  }
}

function randomOf(seed: number, number: number, salt: number): Random {
  return new Random(
    Math.imul(seed ^ (salt * 0x9e37_79b9), 0x85eb_ca6b) ^ Math.imul(number + 1, 0xc2b2_ae35) ^ (number >>> 7),
  )
}

export const isHello = (one: Case): boolean => one.first === MESSAGE.HELLO
