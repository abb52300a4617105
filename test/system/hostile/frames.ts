// Frames with the identity of the server under attack, valid or wrong in one chosen place.

import { EMPTY_BYTES, writeU32 } from '../../../core/wire/bytes.ts'
import {
  DEFAULT_FRAME_IDENTITY,
  encodeFrame,
  FrameDecoder,
  frameIdentityBytes,
  type FrameIdentity,
} from '../../../core/wire/frame.ts'
import {
  encodeAck,
  encodeCall,
  encodeHello,
  encodeOpen,
  encodeResume,
  MESSAGE,
  type Open,
} from '../../../core/wire/message.ts'

/** Every byte differs from zero and from the others, so that none is valid by accident. */
export const IDENTITY: FrameIdentity = { head: [78, 37, 38, 48], protoVersion: 9, serverVersion: 0x01020304 }
const IDENTITY_BYTES = frameIdentityBytes(IDENTITY)
const LENGTH_AT = 9

export type Body = Uint8Array | string | object

/** Encodes text as UTF-8 and other values as JSON. */
export function bodyOf(body: Body): Uint8Array {
  if (body instanceof Uint8Array) return body
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
}

export function frame(command: number, body: Body = EMPTY_BYTES): Buffer {
  return Buffer.from(encodeFrame(IDENTITY_BYTES, command, bodyOf(body)))
}

/** A frame with a wrong length field. */
export function frameWithLength(length: number, command: number, body: Body = EMPTY_BYTES): Buffer {
  const bytes = frame(command, body)
  writeU32(bytes, LENGTH_AT, length)
  return bytes
}

/** A frame with one wrong bit in this byte of the identity. */
export function frameWithWrongIdentity(byte: number): Buffer {
  const bytes = frame(1, 'wrong identity')
  bytes[byte]! ^= 0x80
  return bytes
}

/** A frame with the default identity, zeros. */
export function frameWithDefaultIdentity(): Buffer {
  return Buffer.from(encodeFrame(frameIdentityBytes(DEFAULT_FRAME_IDENTITY), 1, EMPTY_BYTES))
}

export function hex(text: string): Buffer {
  return Buffer.from(text, 'hex')
}

export interface ReceivedFrame {
  readonly command: number
  readonly body: Buffer
}

/** Appends the frames of the server to `frames`. */
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

export function openFrame(channel: number, contract = 'room', key = 'main'): Buffer {
  return frame(MESSAGE.OPEN, encodeOpen(openFields(channel, { contract, key })))
}

/** Starts a session with channel 1 open: WELCOME and OPENED answer it. */
export const helloAndOpen = Buffer.concat([helloFrame(), openFrame(1)])

export function resumeFrame(...opens: readonly Open[]): Buffer {
  return frame(MESSAGE.RESUME, encodeResume(opens))
}

export function openFields(channel: number, change: Partial<Open> = {}): Open {
  return { channel, activation: 0, eventAck: 0, contract: 'room', key: 'main', ...change }
}

export function ackFrame(channel: number, calls: number, events: number): Buffer {
  return frame(MESSAGE.ACK, encodeAck({ channel, calls, events }))
}

/** `opening`: of the last OPENED that was received, 0 = none yet. */
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
