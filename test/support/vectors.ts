// The vectors of schemas/vectors: bytes made by the original code, the messages of the session protocol, and bodies.

import { readFileSync } from 'node:fs'

import { bytesOfHex as bytes, hexOf as hex } from '../../core/wire/bytes.ts'
import type { FrameIdentity } from '../../core/wire/frame.ts'
import {
  CALL_BYTES,
  decodeAck,
  decodeCall,
  decodeClose,
  decodeError,
  decodeEvent,
  decodeHello,
  decodeOpen,
  decodeOpened,
  decodeReply,
  decodeResume,
  decodeResync,
  decodeToken,
  decodeWelcome,
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
  EVENT_BYTES,
  REPLY_BYTES,
  type MESSAGE,
  type Open,
} from '../../core/wire/message.ts'
import type { TypeSpec } from '../../core/wire/schema.ts'

export type MessageName = keyof typeof MESSAGE
export type MessageFields = Record<string, unknown>

interface FrameVectors {
  readonly frames: readonly (FrameIdentity & {
    readonly name: string
    readonly command: number
    readonly bodyHex: string
    readonly frameHex: string
  })[]
  readonly illegal: readonly {
    readonly name: string
    readonly expectHead: FrameIdentity['head']
    readonly expectProtoVersion: number
    readonly expectServerVersion: number
    readonly headerHex: string
  }[]
  readonly streams: readonly (FrameIdentity & {
    readonly name: string
    readonly chunksHex: readonly string[]
    readonly expected: { dispatched: [number, string][]; closed: boolean; bufferedBytes: number }
  })[]
}

interface MessageVectors {
  readonly numbers: Readonly<Record<MessageName, number>>
  readonly messages: readonly {
    readonly name: string
    readonly message: MessageName
    readonly fields: MessageFields
    readonly bodyHex: string
    readonly frameHex: string
    readonly decodeOnly?: true
  }[]
  readonly refused: readonly {
    readonly name: string
    readonly message: MessageName
    readonly bodyHex: string
    readonly reason: string
  }[]
  readonly refusedFrames: readonly { readonly name: string; readonly frameHex: string; readonly reason: string }[]
}

interface BodyVectors {
  readonly types: readonly {
    readonly type: string
    readonly spec: TypeSpec
    readonly vectors: readonly { readonly value: unknown; readonly msgpackHex: string; readonly json?: string }[]
    readonly alsoAccepted: readonly { readonly value: unknown; readonly msgpackHex: string; readonly form: string }[]
    readonly refused: readonly { readonly msgpackHex: string; readonly why: string }[]
  }[]
  readonly refusedBodies: readonly { readonly msgpackHex: string; readonly why: string }[]
}

export function readVectors(name: 'bodies'): BodyVectors
export function readVectors(name: 'frames'): FrameVectors
export function readVectors(name: 'messages'): MessageVectors
export function readVectors(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`../../schemas/vectors/${name}.json`, import.meta.url), 'utf8'))
}

type Encode = (fields: never, payload: Uint8Array) => Uint8Array
type Decode = (source: Uint8Array, start: number, end: number) => object
const decodeNothing: Decode = () => ({})
/** Encoder, decoder, and start of the payload: null = a fixed message without payload. */
export const MESSAGE_CODECS: Record<MessageName, readonly [Encode, Decode, number | null]> = {
  HELLO: [encodeHello, decodeHello, null],
  WELCOME: [encodeWelcome, decodeWelcome, null],
  OPEN: [encodeOpen, decodeOpen, null],
  OPENED: [encodeOpened, decodeOpened, null],
  CLOSE: [encodeClose, decodeClose, null],
  CALL: [encodeCall, decodeCall, CALL_BYTES],
  REPLY: [encodeReply, decodeReply, REPLY_BYTES],
  ERROR: [encodeError, decodeError, null],
  EVENT: [encodeEvent, decodeEvent, EVENT_BYTES],
  ACK: [encodeAck, decodeAck, null],
  PING: [(_fields, payload) => payload, decodeNothing, 0],
  PONG: [(_fields, payload) => payload, decodeNothing, 0],
  RESUME: [({ opens }: { readonly opens: readonly Open[] }) => encodeResume(opens), decodeResume, null],
  RESYNC: [encodeResync, decodeResync, null],
  TOKEN: [({ token }: { readonly token: Uint8Array }) => encodeToken(token), decodeToken, null],
}

/** Decodes a body to the vectors' fields. The body is part of a larger buffer, as in a received chunk. */
export function decodeMessage(message: MessageName, body: Uint8Array): MessageFields {
  const [, read, payloadAt] = MESSAGE_CODECS[message]
  const chunk = new Uint8Array(body.length + 12).fill(0xee)
  chunk.set(body, 5)
  const fields: MessageFields = { ...read(chunk, 5, 5 + body.length) }
  for (const [name, value] of Object.entries(fields)) if (value instanceof Uint8Array) fields[name] = hex(value)
  return payloadAt === null ? fields : { ...fields, payload: hex(body.subarray(payloadAt)) }
}

/** The inverse of `decodeMessage`. */
export function encodeMessage(message: MessageName, fields: MessageFields): Uint8Array {
  const decoded: MessageFields = { ...fields }
  for (const name of ['session', 'ticket', 'token']) if (name in decoded) decoded[name] = bytes(decoded[name] as string)
  return MESSAGE_CODECS[message][0](decoded as never, bytes((fields['payload'] as string | undefined) ?? ''))
}
