// Session protocol version 2: messages of our SDKs in legacy frames with reserved command ids. docs/protocol.md has the same
// tables, schemas/vectors/messages.json the bytes. Invariant: a message that is shorter than its table, or whose text is not
// UTF-8, is a ProtocolError; bytes after the last field of a fixed table are ignored, so that later versions can add fields.

import { ByteReader, ByteWriter, encodeKnownText, utf8Encoder } from './bytes.ts'
import { ProtocolError } from './errors.ts'

export const PROTOCOL_VERSION = 2
/** The first command id of the protocol; a game's numbers are lower. */
export const FIRST_RESERVED = 0xffffff00
export const SESSION_BYTES = 16

export const MESSAGE = {
  HELLO: 0xffffff00,
  WELCOME: 0xffffff01,
  OPEN: 0xffffff02,
  OPENED: 0xffffff03,
  CLOSE: 0xffffff04,
  CALL: 0xffffff05,
  REPLY: 0xffffff06,
  ERROR: 0xffffff07,
  EVENT: 0xffffff08,
  ACK: 0xffffff09,
  PING: 0xffffff0a,
  PONG: 0xffffff0b,
  RESUME: 0xffffff0c,
  RESYNC: 0xffffff0d,
  TOKEN: 0xffffff0e,
} as const

export interface Hello {
  readonly minVersion: number
  readonly maxVersion: number
  /** 16 bytes of an earlier WELCOME, with its token; zeros for a new session. */
  readonly session: Uint8Array
  /** Login ticket; empty = none. */
  readonly ticket: Uint8Array
  /** The last resume token of that session; empty = none. */
  readonly token: Uint8Array
}

export interface Welcome {
  readonly version: number
  /** The session of HELLO continues. */
  readonly resumed: boolean
  readonly session: Uint8Array
  readonly heartbeatMs: number
  readonly maxBodyBytes: number
  readonly token: Uint8Array
}

export interface Open {
  /** Chosen by the client, 1..4294967295, unique in its session; the same after a reconnect. */
  readonly channel: number
  /** The last activation that the client received, 0 = none. */
  readonly activation: number
  /** The highest event of that activation that was received, 0 = none. */
  readonly eventAck: number
  readonly contract: string
  readonly key: string
}

export interface Opened {
  readonly channel: number
  readonly activation: number
  /** The highest call that has taken effect on this channel. */
  readonly mark: number
  /** Calls above the mark that were sent before this message may be lost. */
  readonly lost: boolean
  /** Number of OPENED messages of this channel on this connection; calls carry the last one that the client received. */
  readonly opening: number
}

/** Header of a CALL; its body is the rest of the frame. */
export interface Call {
  readonly channel: number
  /** The last OPENED received, 0 = none yet. Calls sent before the client was notified of a loss are dropped by it. */
  readonly opening: number
  readonly sequence: number
  /** Replies up to this sequence were received: the server may discard them. */
  readonly replyAck: number
  readonly command: number
}
export const CALL_BYTES = 20

export interface Reply {
  readonly channel: number
  readonly sequence: number
}
export const REPLY_BYTES = 8

/** `sequence` 0 concerns the channel, `channel` 0 the session. */
export interface ErrorMessage {
  readonly channel: number
  readonly sequence: number
  /** 'refusal': a code of the contract; 'system': one of SYSTEM_CODES or a close reason. */
  readonly kind: ErrorKind
  readonly code: string
  readonly message: string
  /** OVERLOADED: not before this time does a retry have a chance. Absent: the sender does not say. */
  readonly retryAfterMs?: number
}
export type ErrorKind = 'refusal' | 'system'

export interface EventHeader {
  readonly channel: number
  /** 1, 2, 3 … per channel and activation. */
  readonly sequence: number
  readonly event: number
}
export const EVENT_BYTES = 12

export interface Ack {
  readonly channel: number
  /** From the client: replies received up to here. From the server: the mark. */
  readonly calls: number
  /** From the client: events received up to here. From the server: 0. */
  readonly events: number
}

export interface Close {
  readonly channel: number
  readonly code: string
}

/** Events of the channel up to `events` are lost: the client must rebuild what it shows. */
export interface Resync {
  readonly channel: number
  readonly events: number
}

const FLAG_LOST = 1
const FLAG_RESUMED = 1

export function encodeHello({ minVersion, maxVersion, session, ticket, token }: Hello): Uint8Array {
  const writer = new ByteWriter(4 + SESSION_BYTES + 4 + ticket.length + token.length)
  return writer.u8(minVersion).u8(maxVersion).u16(0).raw(session).blob(ticket).blob(token).bytes
}

export function decodeHello(source: Uint8Array, start: number, end: number): Hello {
  const r = new ByteReader('HELLO', source, start, end)
  const minVersion = r.u8()
  const maxVersion = r.u8()
  r.u16()
  return { minVersion, maxVersion, session: r.raw(SESSION_BYTES), ticket: r.blob(), token: r.blob() }
}

export function encodeWelcome({ version, resumed, session, heartbeatMs, maxBodyBytes, token }: Welcome): Uint8Array {
  const flags = resumed ? FLAG_RESUMED : 0
  const writer = new ByteWriter(1 + 2 + SESSION_BYTES + 8 + 2 + token.length)
  return writer.u8(version).u16(flags).raw(session).u32(heartbeatMs).u32(maxBodyBytes).blob(token).bytes
}

export function decodeWelcome(source: Uint8Array, start: number, end: number): Welcome {
  const r = new ByteReader('WELCOME', source, start, end)
  return {
    version: r.u8(),
    resumed: (r.u16() & FLAG_RESUMED) !== 0,
    session: r.raw(SESSION_BYTES),
    heartbeatMs: r.u32(),
    maxBodyBytes: r.u32(),
    token: r.blob(),
  }
}

export function encodeOpen({ channel, activation, eventAck, ...open }: Open): Uint8Array {
  const contract = utf8Encoder.encode(open.contract)
  const key = utf8Encoder.encode(open.key)
  const writer = new ByteWriter(15 + contract.length + key.length)
  return writer.u32(channel).u32(activation).u32(eventAck).u8(contract.length).raw(contract).blob(key).bytes
}

export function decodeOpen(source: Uint8Array, start: number, end: number): Open {
  return readOpen('OPEN', new ByteReader('OPEN', source, start, end))
}

/** The channels of a resumed session, as concatenated OPEN bodies. */
export function encodeResume(opens: readonly Open[]): Uint8Array {
  const parts = opens.map(encodeOpen)
  const writer = new ByteWriter(2 + parts.reduce((sum, part) => sum + part.length, 0)).u16(opens.length)
  for (const part of parts) writer.raw(part)
  return writer.bytes
}

export function decodeResume(source: Uint8Array, start: number, end: number): { readonly opens: readonly Open[] } {
  const r = new ByteReader('RESUME', source, start, end)
  const opens: Open[] = []
  for (let left = r.u16(); left > 0; left--) opens.push(readOpen('RESUME', r))
  return { opens }
}

function readOpen(what: string, r: ByteReader): Open {
  const channel = r.u32()
  if (channel === 0) throw new ProtocolError('BAD_MESSAGE', `${what} channel 0 is the session itself`)
  return { channel, activation: r.u32(), eventAck: r.u32(), contract: r.text8(), key: r.text16() }
}

export function encodeOpened({ channel, activation, mark, opening, lost }: Opened): Uint8Array {
  const flags = lost ? FLAG_LOST : 0
  return new ByteWriter(17).u32(channel).u32(activation).u32(mark).u32(opening).u8(flags).bytes
}

export function decodeOpened(source: Uint8Array, start: number, end: number): Opened {
  const r = new ByteReader('OPENED', source, start, end)
  return { channel: r.u32(), activation: r.u32(), mark: r.u32(), opening: r.u32(), lost: (r.u8() & FLAG_LOST) !== 0 }
}

export function encodeCall({ channel, opening, sequence, replyAck, command }: Call, body: Uint8Array): Uint8Array {
  const writer = new ByteWriter(CALL_BYTES + body.length)
  return writer.u32(channel).u32(opening).u32(sequence).u32(replyAck).u32(command).raw(body).bytes
}

export function decodeCall(source: Uint8Array, start: number, end: number): Call {
  const r = new ByteReader('CALL', source, start, end)
  const call = { channel: r.u32(), opening: r.u32(), sequence: r.u32(), replyAck: r.u32(), command: r.u32() }
  if (call.sequence === 0) throw new ProtocolError('BAD_MESSAGE', 'CALL sequence 0 is reserved')
  return call
}

export function encodeReply(reply: Reply, body: Uint8Array): Uint8Array {
  return new ByteWriter(REPLY_BYTES + body.length).u32(reply.channel).u32(reply.sequence).raw(body).bytes
}

export function decodeReply(source: Uint8Array, start: number, end: number): Reply {
  const r = new ByteReader('REPLY', source, start, end)
  return { channel: r.u32(), sequence: r.u32() }
}

export function encodeError({ channel, sequence, kind, ...error }: ErrorMessage): Uint8Array {
  const kindByte = kind === 'refusal' ? 0 : 1
  const code = encodeKnownText(error.code)
  const message = encodeKnownText(error.message.slice(0, 1_000))
  const { retryAfterMs } = error
  const writer = new ByteWriter(9 + 1 + code.length + 2 + message.length + (retryAfterMs === undefined ? 0 : 4))
  writer.u32(channel).u32(sequence).u8(kindByte).u8(code.length).raw(code).blob(message)
  if (retryAfterMs !== undefined) writer.u32(retryAfterMs)
  return writer.bytes
}

export function decodeError(source: Uint8Array, start: number, end: number): ErrorMessage {
  const r = new ByteReader('ERROR', source, start, end)
  const error = {
    channel: r.u32(),
    sequence: r.u32(),
    kind: r.u8() === 0 ? 'refusal' : 'system',
    code: r.text8(),
    message: r.text16(),
  } as const
  // Added after the first release: an older server ends the message here.
  return end - r.at < 4 ? error : { ...error, retryAfterMs: r.u32() }
}

export function encodeEvent({ channel, sequence, event }: EventHeader, body: Uint8Array): Uint8Array {
  return new ByteWriter(EVENT_BYTES + body.length).u32(channel).u32(sequence).u32(event).raw(body).bytes
}

export function decodeEvent(source: Uint8Array, start: number, end: number): EventHeader {
  const r = new ByteReader('EVENT', source, start, end)
  return { channel: r.u32(), sequence: r.u32(), event: r.u32() }
}

export function encodeAck(ack: Ack): Uint8Array {
  return new ByteWriter(12).u32(ack.channel).u32(ack.calls).u32(ack.events).bytes
}

export function decodeAck(source: Uint8Array, start: number, end: number): Ack {
  const r = new ByteReader('ACK', source, start, end)
  return { channel: r.u32(), calls: r.u32(), events: r.u32() }
}

export function encodeClose(close: Close): Uint8Array {
  const code = utf8Encoder.encode(close.code)
  return new ByteWriter(5 + code.length).u32(close.channel).u8(code.length).raw(code).bytes
}

export function decodeClose(source: Uint8Array, start: number, end: number): Close {
  const r = new ByteReader('CLOSE', source, start, end)
  return { channel: r.u32(), code: r.text8() }
}

export function encodeResync(resync: Resync): Uint8Array {
  return new ByteWriter(8).u32(resync.channel).u32(resync.events).bytes
}

export function decodeResync(source: Uint8Array, start: number, end: number): Resync {
  const r = new ByteReader('RESYNC', source, start, end)
  return { channel: r.u32(), events: r.u32() }
}

/** The resume token that replaces the previous one. */
export function encodeToken(token: Uint8Array): Uint8Array {
  return new ByteWriter(2 + token.length).blob(token).bytes
}

export function decodeToken(source: Uint8Array, start: number, end: number): { readonly token: Uint8Array } {
  return { token: new ByteReader('TOKEN', source, start, end).blob() }
}
