// The bytes of an attacker: frames of the attacked game's identity, right or wrong in one chosen place.

import {
  DEFAULT_IDENTITY,
  encodeFrame,
  FrameDecoder,
  identityBytes,
  type Identity,
} from '../../../core/wire/frame.ts'
import { writeU32 } from '../../../core/wire/bytes.ts'
import {
  encodeAck,
  encodeCall,
  encodeHello,
  encodeOpen,
  encodeResume,
  MESSAGE,
  type Open,
} from '../../../core/wire/message.ts'

export const IDENTITY: Identity = { head: [78, 37, 38, 48], protoVersion: 9, serverVersion: 0x01020304 }
const mine = identityBytes(IDENTITY)
const LENGTH_AT = 9
const NONE = new Uint8Array(0)

export type Body = Uint8Array | string | object

/** Text is its UTF-8, any other value its JSON. */
export function bodyOf(body: Body): Uint8Array {
  if (body instanceof Uint8Array) return body
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
}

export function frame(command: number, body: Body = NONE): Buffer {
  return Buffer.from(encodeFrame(mine, command, bodyOf(body)))
}

/** A frame whose length field says something else. */
export function lying(length: number, command: number, body: Body = NONE): Buffer {
  const bytes = frame(command, body)
  writeU32(bytes, LENGTH_AT, length)
  return bytes
}

/** A frame of a stranger: one byte of the identity differs. */
export function foreign(byte: number): Buffer {
  const bytes = frame(1, 'stranger')
  bytes[byte]! ^= 0x80
  return bytes
}

/** A frame of a game that never changed its identity. */
export function nobodys(): Buffer {
  return Buffer.from(encodeFrame(identityBytes(DEFAULT_IDENTITY), 1, bodyOf('stranger')))
}

export function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex')
}

export interface Heard {
  readonly command: number
  readonly body: Buffer
}

/** Cuts what the server says. */
export function hearing(heard: Heard[]): FrameDecoder {
  return new FrameDecoder(IDENTITY, 1 << 24, (command, source, start, end) => {
    heard.push({ command, body: Buffer.from(source.subarray(start, end)) })
  })
}

export interface Greeting {
  readonly session?: Uint8Array
  readonly token?: Uint8Array
  readonly ticket?: Uint8Array
  readonly versions?: readonly [number, number]
}

export function hello({
  session = new Uint8Array(16),
  token = NONE,
  ticket = NONE,
  versions: [minVersion, maxVersion] = [2, 2],
}: Greeting = {}): Buffer {
  return frame(MESSAGE.HELLO, encodeHello({ minVersion, maxVersion, session, ticket, token }))
}

export function open(channel: number, contract = 'yard', key = 'main'): Buffer {
  return frame(MESSAGE.OPEN, encodeOpen(opening(channel, { contract, key })))
}

export function resume(...opens: readonly Open[]): Buffer {
  return frame(MESSAGE.RESUME, encodeResume(opens))
}

export function opening(channel: number, what: Partial<Open> = {}): Open {
  return { channel, activation: 0, eventAck: 0, contract: 'yard', key: 'main', ...what }
}

export function ack(channel: number, calls: number, events: number): Buffer {
  return frame(MESSAGE.ACK, encodeAck({ channel, calls, events }))
}

/** A call of a channel; `opening` counts what was lost, 0 = nothing. */
export function call(
  channel: number,
  sequence: number,
  command: number,
  body: Body = NONE,
  replyAck = 0,
  opening = 0,
): Buffer {
  const header = { channel, opening, sequence, replyAck, command }
  return frame(MESSAGE.CALL, encodeCall(header, bodyOf(body)))
}
