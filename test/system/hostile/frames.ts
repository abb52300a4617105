// The bytes of an attacker: frames of the attacked game's identity, right or wrong in one chosen place.

import {
  DEFAULT_FRAME_IDENTITY,
  encodeFrame,
  FrameDecoder,
  frameIdentityBytes,
  type FrameIdentity,
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

export const IDENTITY: FrameIdentity = { head: [78, 37, 38, 48], protoVersion: 9, serverVersion: 0x01020304 }
const IDENTITY_BYTES = frameIdentityBytes(IDENTITY)
const LENGTH_AT = 9
const EMPTY_BYTES = new Uint8Array(0)

export type Body = Uint8Array | string | object

/** Text is its UTF-8, any other value its JSON. */
export function bodyOf(body: Body): Uint8Array {
  if (body instanceof Uint8Array) return body
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
}

export function frame(command: number, body: Body = EMPTY_BYTES): Buffer {
  return Buffer.from(encodeFrame(IDENTITY_BYTES, command, bodyOf(body)))
}

/** A frame whose length field says something else. */
export function frameWithLength(length: number, command: number, body: Body = EMPTY_BYTES): Buffer {
  const bytes = frame(command, body)
  writeU32(bytes, LENGTH_AT, length)
  return bytes
}

/** A frame of a stranger: one byte of the identity differs. */
export function frameWithWrongIdentity(byte: number): Buffer {
  const bytes = frame(1, 'stranger')
  bytes[byte]! ^= 0x80
  return bytes
}

/** A frame of a game that never changed its identity. */
export function frameWithDefaultIdentity(): Buffer {
  return Buffer.from(encodeFrame(frameIdentityBytes(DEFAULT_FRAME_IDENTITY), 1, bodyOf('stranger')))
}

export function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex')
}

export interface ReceivedFrame {
  readonly command: number
  readonly body: Buffer
}

/** Cuts what the server says. */
export function createFrameDecoder(frames: ReceivedFrame[]): FrameDecoder {
  return new FrameDecoder(IDENTITY, 1 << 24, (command, source, start, end) => {
    frames.push({ command, body: Buffer.from(source.subarray(start, end)) })
  })
}

export interface HelloFields {
  readonly session?: Uint8Array
  readonly token?: Uint8Array
  readonly ticket?: Uint8Array
  readonly versions?: readonly [number, number]
}

export function helloFrame({
  session = new Uint8Array(16),
  token = EMPTY_BYTES,
  ticket = EMPTY_BYTES,
  versions: [minVersion, maxVersion] = [2, 2],
}: HelloFields = {}): Buffer {
  return frame(MESSAGE.HELLO, encodeHello({ minVersion, maxVersion, session, ticket, token }))
}

export function openFrame(channel: number, contract = 'yard', key = 'main'): Buffer {
  return frame(MESSAGE.OPEN, encodeOpen(openFields(channel, { contract, key })))
}

export function resumeFrame(...opens: readonly Open[]): Buffer {
  return frame(MESSAGE.RESUME, encodeResume(opens))
}

export function openFields(channel: number, what: Partial<Open> = {}): Open {
  return { channel, activation: 0, eventAck: 0, contract: 'yard', key: 'main', ...what }
}

export function ackFrame(channel: number, calls: number, events: number): Buffer {
  return frame(MESSAGE.ACK, encodeAck({ channel, calls, events }))
}

/** A call of a channel; `opening` counts what was lost, 0 = nothing. */
export function callFrame(
  channel: number,
  sequence: number,
  command: number,
  body: Body = EMPTY_BYTES,
  replyAck = 0,
  opening = 0,
): Buffer {
  const header = { channel, opening, sequence, replyAck, command }
  return frame(MESSAGE.CALL, encodeCall(header, bodyOf(body)))
}
