// Decodes the envelope between an edge and the core (record.ts). Invariant: a message that is cut anywhere except between
// records is a ProtocolError; a partial record is never delivered.

import { ByteReader, decodeText, EMPTY_BYTES, readU32 } from './bytes.ts'
import { ProtocolError } from './errors.ts'
import { SESSION_BYTES } from './message.ts'
import { RECORD, RECORD_FLAG, RECORD_HEAD, RECORD_VERSION, type GatewayRecords, type ShardRecords } from './record.ts'

/** Passes every record of an edge's message to `to`, in order. @throws ProtocolError BAD_MESSAGE */
export function readShardRecords(message: Uint8Array, to: ShardRecords): void {
  for (let at = firstRecord(message); at < message.length; at = recordEnd(message, at)) {
    const end = recordEnd(message, at)
    const from = at + RECORD_HEAD
    switch (message[at]) {
      case RECORD.CALL: {
        requireBytes(from, 17, end)
        const body = blob(message, from + 13, end)
        to.call(
          readU32(message, from),
          readU32(message, from + 4),
          message[from + 8]!,
          readU32(message, from + 9),
          body,
        )
        break
      }
      case RECORD.ACK:
        requireBytes(from, 8, end)
        to.ack(readU32(message, from), readU32(message, from + 4))
        break
      case RECORD.OPEN: {
        const r = new ByteReader('OPEN record', message, from, end)
        const opening = {
          session: r.raw(SESSION_BYTES),
          channel: r.u32(),
          legacy: (r.u8() & RECORD_FLAG) !== 0,
          activation: r.u32(),
          membershipToken: r.view32().slice(),
        }
        // An edge of an earlier version sends fewer fields.
        const identity = r.isAtEnd
          ? { eventAck: 0, epoch: 0, uid: '', generation: 0 }
          : { eventAck: r.u32(), epoch: r.u32(), uid: text(r.view32()), generation: r.u32() }
        to.open({ ...opening, ...identity, remote: r.isAtEnd ? '' : text(r.view32()) })
        break
      }
      case RECORD.CLOSE:
        requireBytes(from, 1, end)
        to.close((message[from]! & RECORD_FLAG) !== 0)
        break
      case RECORD.PAUSE_EVENTS:
        requireBytes(from, 1, end)
        to.pauseEvents((message[from]! & RECORD_FLAG) !== 0)
        break
      case RECORD.IDENTIFY:
        requireBytes(from, 8, end)
        to.identify(text(blob(message, from + 4, end)), readU32(message, from))
        break
      case RECORD.PING:
        to.ping()
    }
  }
}

/** Passes every record of the core's message to `to`, in order. @throws ProtocolError BAD_MESSAGE */
export function readGatewayRecords(message: Uint8Array, to: GatewayRecords): void {
  for (let at = firstRecord(message); at < message.length; at = recordEnd(message, at)) {
    const end = recordEnd(message, at)
    const from = at + RECORD_HEAD
    switch (message[at]) {
      case RECORD.EVENT:
        requireBytes(from, 12, end)
        to.event(readU32(message, from), readU32(message, from + 4), blob(message, from + 8, end))
        break
      case RECORD.REPLY:
        requireBytes(from, 12, end)
        to.reply(readU32(message, from), readU32(message, from + 4), blob(message, from + 8, end))
        break
      case RECORD.APPLIED:
        requireBytes(from, 4, end)
        to.applied(readU32(message, from))
        break
      case RECORD.OPENED: {
        const r = new ByteReader('OPENED record', message, from, end)
        to.opened(r.u32(), r.u32(), (r.u8() & RECORD_FLAG) !== 0, text(r.view32()))
        break
      }
      case RECORD.ERROR: {
        const r = new ByteReader('ERROR record', message, from, end)
        to.error(r.u32(), r.u32(), r.u8() === 0 ? 'refusal' : 'system', text(r.view32()), text(r.view32()))
        break
      }
      case RECORD.MEMBERSHIP_TOKEN:
        to.membershipToken(blob(message, from, end).slice())
        break
      case RECORD.BIND: {
        const r = new ByteReader('BIND record', message, from, end)
        to.bind(text(r.view32()), text(r.view32()))
        break
      }
      case RECORD.RESYNC:
        requireBytes(from, 4, end)
        to.resync(readU32(message, from))
        break
      case RECORD.LOGIN:
        requireBytes(from, 8, end)
        to.login(text(blob(message, from + 4, end)), readU32(message, from))
        break
      case RECORD.CLOSED: {
        const [code = '', ...reason] = text(blob(message, from, end)).split(' ')
        to.closed(code, reason.join(' '))
        break
      }
      case RECORD.PONG:
        to.pong()
    }
  }
}

/** Position of the first record. An envelope without a record is rejected too: none is ever sent. */
function firstRecord(message: Uint8Array): number {
  if (message.length < 1 + RECORD_HEAD) throw tooShort('envelope', 1 + RECORD_HEAD - message.length)
  if (message[0] !== RECORD_VERSION)
    throw new ProtocolError('BAD_MESSAGE', `envelope version ${message[0]} is not ${RECORD_VERSION}: deploy both ends`)
  return 1
}

function recordEnd(message: Uint8Array, at: number): number {
  if (message.length - at < RECORD_HEAD) throw tooShort('record head', RECORD_HEAD - (message.length - at))
  const end = at + RECORD_HEAD + readU32(message, at + 1)
  if (end > message.length) throw tooShort('record', end - message.length)
  return end
}

function requireBytes(at: number, size: number, end: number): void {
  if (end - at < size) throw tooShort('record', size - (end - at))
}

function blob(message: Uint8Array, at: number, end: number): Uint8Array {
  requireBytes(at, 4, end)
  const size = readU32(message, at)
  if (size === 0) return EMPTY_BYTES
  requireBytes(at + 4, size, end)
  return message.subarray(at + 4, at + 4 + size)
}

function text(bytes: Uint8Array): string {
  return decodeText('record', bytes)
}

function tooShort(what: string, missing: number): ProtocolError {
  return new ProtocolError('BAD_MESSAGE', `${what} ends ${missing} bytes too early`)
}
