// The envelope between an edge and the core: one internal WebSocket message = u8 version, then records of u8 kind, u32
// length, fields; recordreader.ts decodes it. Edge and core are deployed separately, so versions mix. Invariant: a reader
// skips unknown kinds and ignores bytes after the last known field; fields are only appended to a record.

import { writeU32, EMPTY_BYTES, utf8Encoder } from './bytes.ts'
import { SESSION_BYTES, type ErrorKind } from './message.ts'

export const RECORD_VERSION = 1

export const RECORD = {
  OPEN: 1,
  CALL: 2,
  ACK: 3,
  CLOSE: 4,
  PING: 5,
  PAUSE_EVENTS: 6,
  IDENTIFY: 7,
  OPENED: 129,
  REPLY: 130,
  ERROR: 131,
  EVENT: 132,
  APPLIED: 133,
  MEMBERSHIP_TOKEN: 134,
  CLOSED: 135,
  PONG: 136,
  BIND: 137,
  RESYNC: 138,
  LOGIN: 139,
} as const

/** An `OpenRequest` (core/ports/link.ts) without its shard, which is the target of the link. */
export interface OpenRecord {
  readonly session: Uint8Array
  readonly channel: number
  readonly legacy: boolean
  readonly activation: number
  readonly membershipToken: Uint8Array
  readonly eventAck: number
  readonly uid: string
  readonly epoch: number
  readonly generation: number
}

/**
 * Seven bits of an activation, never 0. A call carries, above RETAIN in its flags, the tag of the activation that its edge
 * last received on this socket; 0 = none yet. Activations that occur on one socket are never 127 apart.
 */
export function activationTag(activation: number): number {
  return 1 + (activation % 127)
}

/** Records from an edge to the core: a `ChannelIn` plus open and ping. Bodies are views into the message. */
export interface ShardRecords {
  open(opening: OpenRecord): void
  call(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): void
  ack(calls: number, events: number): void
  close(isFinal: boolean): void
  pauseEvents(isPaused: boolean): void
  identify(uid: string, epoch: number): void
  ping(): void
}

/** Records from the core to an edge: a `ChannelOut` plus the version of the core's routing table. */
export interface GatewayRecords {
  opened(activation: number, mark: number, lost: boolean, routingVersion: string): void
  reply(sequence: number, command: number, body: Uint8Array): void
  error(sequence: number, command: number, kind: ErrorKind, code: string, message: string): void
  event(sequence: number, event: number, body: Uint8Array): void
  applied(mark: number): void
  membershipToken(token: Uint8Array): void
  bind(contract: string, key: string): void
  resync(events: number): void
  login(uid: string, epoch: number): void
  closed(code: string, reason: string): void
  pong(): void
}

/** u8 kind, u32 length. */
export const RECORD_HEAD = 5
/** Bit 0 of a record's flags: a legacy channel, lost, final, paused. */
export const RECORD_FLAG = 1
const FIRST_BUFFER = 256

/** Collects records of either direction until they are taken as one message. */
export class RecordBatch implements ShardRecords, GatewayRecords {
  #bytes: Uint8Array<ArrayBuffer> = EMPTY_BYTES
  #at = 0

  /** Collected bytes; 0 = nothing to send. */
  get size(): number {
    return this.#at
  }

  /** Returns the message, which the caller then owns: a socket may still read it while the next batch is written. */
  takeMessage(): Uint8Array<ArrayBuffer> {
    const message = this.#bytes.subarray(0, this.#at)
    this.#bytes = EMPTY_BYTES
    this.#at = 0
    return message
  }

  clear(): void {
    this.#at = 0
  }

  open(opening: OpenRecord): void {
    const { session, channel, legacy, activation, membershipToken, eventAck, uid, epoch, generation } = opening
    const uidBytes = utf8Encoder.encode(uid)
    this.#begin(RECORD.OPEN, SESSION_BYTES + 29 + membershipToken.length + uidBytes.length)
    this.#raw(session)
    this.#u32(channel)
    this.#u8(legacy ? RECORD_FLAG : 0)
    this.#u32(activation)
    this.#blob(membershipToken)
    this.#u32(eventAck)
    this.#u32(epoch)
    this.#blob(uidBytes)
    this.#u32(generation)
  }

  call(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): void {
    this.#begin(RECORD.CALL, 17 + body.length)
    this.#u32(sequence)
    this.#u32(command)
    this.#u8(flags)
    this.#u32(replyAck)
    this.#blob(body)
  }

  ack(calls: number, events: number): void {
    this.#begin(RECORD.ACK, 8)
    this.#u32(calls)
    this.#u32(events)
  }

  close(isFinal: boolean): void {
    this.#begin(RECORD.CLOSE, 1)
    this.#u8(isFinal ? RECORD_FLAG : 0)
  }

  pauseEvents(isPaused: boolean): void {
    this.#begin(RECORD.PAUSE_EVENTS, 1)
    this.#u8(isPaused ? RECORD_FLAG : 0)
  }

  identify(uid: string, epoch: number): void {
    this.#identity(RECORD.IDENTIFY, uid, epoch)
  }

  ping(): void {
    this.#begin(RECORD.PING, 0)
  }

  opened(activation: number, mark: number, lost: boolean, routingVersion: string): void {
    const version = utf8Encoder.encode(routingVersion)
    this.#begin(RECORD.OPENED, 13 + version.length)
    this.#u32(activation)
    this.#u32(mark)
    this.#u8(lost ? RECORD_FLAG : 0)
    this.#blob(version)
  }

  reply(sequence: number, command: number, body: Uint8Array): void {
    this.#begin(RECORD.REPLY, 12 + body.length)
    this.#u32(sequence)
    this.#u32(command)
    this.#blob(body)
  }

  error(sequence: number, command: number, kind: ErrorKind, code: string, message: string): void {
    const codeBytes = utf8Encoder.encode(code)
    const messageBytes = utf8Encoder.encode(message.slice(0, 1_000))
    this.#begin(RECORD.ERROR, 17 + codeBytes.length + messageBytes.length)
    this.#u32(sequence)
    this.#u32(command)
    this.#u8(kind === 'refusal' ? 0 : 1)
    this.#blob(codeBytes)
    this.#blob(messageBytes)
  }

  event(sequence: number, event: number, body: Uint8Array): void {
    this.#begin(RECORD.EVENT, 12 + body.length)
    this.#u32(sequence)
    this.#u32(event)
    this.#blob(body)
  }

  applied(mark: number): void {
    this.#begin(RECORD.APPLIED, 4)
    this.#u32(mark)
  }

  membershipToken(token: Uint8Array): void {
    this.#begin(RECORD.MEMBERSHIP_TOKEN, 4 + token.length)
    this.#blob(token)
  }

  bind(contract: string, key: string): void {
    const contractBytes = utf8Encoder.encode(contract)
    const keyBytes = utf8Encoder.encode(key)
    this.#begin(RECORD.BIND, 8 + contractBytes.length + keyBytes.length)
    this.#blob(contractBytes)
    this.#blob(keyBytes)
  }

  resync(events: number): void {
    this.#begin(RECORD.RESYNC, 4)
    this.#u32(events)
  }

  login(uid: string, epoch: number): void {
    this.#identity(RECORD.LOGIN, uid, epoch)
  }

  #identity(kind: number, uid: string, epoch: number): void {
    const bytes = utf8Encoder.encode(uid)
    this.#begin(kind, 8 + bytes.length)
    this.#u32(epoch)
    this.#blob(bytes)
  }

  /** One text: the code, and after a space the reason, if there is one. */
  closed(code: string, reason = ''): void {
    const bytes = utf8Encoder.encode(reason === '' ? code : `${code} ${reason}`)
    this.#begin(RECORD.CLOSED, 4 + bytes.length)
    this.#blob(bytes)
  }

  pong(): void {
    this.#begin(RECORD.PONG, 0)
  }

  /** Reserves space for a record and writes its head; the caller then writes exactly `size` bytes. */
  #begin(kind: number, size: number): void {
    const needed = Math.max(this.#at, 1) + RECORD_HEAD + size
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2, FIRST_BUFFER))
      grown.set(this.#bytes.subarray(0, this.#at), 0)
      this.#bytes = grown
    }
    if (this.#at === 0) this.#bytes[this.#at++] = RECORD_VERSION
    this.#bytes[this.#at++] = kind
    this.#u32(size)
  }
  #u8(value: number): void {
    this.#bytes[this.#at++] = value
  }
  #u32(value: number): void {
    writeU32(this.#bytes, this.#at, value)
    this.#at += 4
  }
  #raw(bytes: Uint8Array): void {
    this.#bytes.set(bytes, this.#at)
    this.#at += bytes.length
  }
  #blob(bytes: Uint8Array): void {
    this.#u32(bytes.length)
    this.#raw(bytes)
  }
}
