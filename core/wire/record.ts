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

/** How a channel is opened. Without its shard, which is the target of the link: `OpenRequest` (core/ports/link.ts). */
export interface OpenRecord {
  /** 16 bytes. */
  readonly session: Uint8Array
  /** Unique in the session. */
  readonly channel: number
  /** A legacy client: refusals are sent in the contract's legacy form. */
  readonly legacy: boolean
  /** The last activation that the client was introduced to, 0 = none. */
  readonly activation: number
  /** From an earlier `membershipToken`, empty = none. */
  readonly membershipToken: Uint8Array
  /** The last event of `activation` that the client has received. */
  readonly eventAck: number
  /** '' = not logged in. */
  readonly uid: string
  /** Number of the login of that uid. */
  readonly epoch: number
  /** Rises with each connection of a session: the link of an older connection takes over nothing. */
  readonly generation: number
  /** IP address of the client; '' = unknown. */
  readonly remote: string
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
    const { session, channel, legacy, activation, membershipToken, eventAck, uid, epoch, generation, remote } = opening
    const [uidBytes, remoteBytes] = [utf8Encoder.encode(uid), utf8Encoder.encode(remote)]
    this.#begin(RECORD.OPEN, SESSION_BYTES + 33, membershipToken.length + uidBytes.length + remoteBytes.length)
      .#raw(session)
      .#u32(channel)
      .#flag(legacy)
      .#u32(activation)
      .#blob(membershipToken)
      .#u32(eventAck)
      .#u32(epoch)
      .#blob(uidBytes)
      .#u32(generation)
      .#blob(remoteBytes)
  }

  call(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): void {
    this.#begin(RECORD.CALL, 17, body.length).#u32(sequence).#u32(command).#u8(flags).#u32(replyAck).#blob(body)
  }

  ack(calls: number, events: number): void {
    this.#begin(RECORD.ACK, 8).#u32(calls).#u32(events)
  }

  close(isFinal: boolean): void {
    this.#begin(RECORD.CLOSE, 1).#flag(isFinal)
  }

  pauseEvents(isPaused: boolean): void {
    this.#begin(RECORD.PAUSE_EVENTS, 1).#flag(isPaused)
  }

  identify(uid: string, epoch: number): void {
    this.#identity(RECORD.IDENTIFY, uid, epoch)
  }

  ping(): void {
    this.#begin(RECORD.PING, 0)
  }

  opened(activation: number, mark: number, lost: boolean, routingVersion: string): void {
    const version = utf8Encoder.encode(routingVersion)
    this.#begin(RECORD.OPENED, 13, version.length).#u32(activation).#u32(mark).#flag(lost).#blob(version)
  }

  reply(sequence: number, command: number, body: Uint8Array): void {
    this.#begin(RECORD.REPLY, 12, body.length).#u32(sequence).#u32(command).#blob(body)
  }

  error(sequence: number, command: number, kind: ErrorKind, code: string, message: string): void {
    const kindByte = kind === 'refusal' ? 0 : 1
    const [codeBytes, text] = [utf8Encoder.encode(code), utf8Encoder.encode(message.slice(0, 1_000))]
    const textBytes = codeBytes.length + text.length
    this.#begin(RECORD.ERROR, 17, textBytes).#u32(sequence).#u32(command).#u8(kindByte).#blob(codeBytes).#blob(text)
  }

  event(sequence: number, event: number, body: Uint8Array): void {
    this.#begin(RECORD.EVENT, 12, body.length).#u32(sequence).#u32(event).#blob(body)
  }

  applied(mark: number): void {
    this.#begin(RECORD.APPLIED, 4).#u32(mark)
  }

  membershipToken(token: Uint8Array): void {
    this.#begin(RECORD.MEMBERSHIP_TOKEN, 4, token.length).#blob(token)
  }

  bind(contract: string, key: string): void {
    const [contractBytes, keyBytes] = [utf8Encoder.encode(contract), utf8Encoder.encode(key)]
    const textBytes = contractBytes.length + keyBytes.length
    this.#begin(RECORD.BIND, 8, textBytes).#blob(contractBytes).#blob(keyBytes)
  }

  resync(events: number): void {
    this.#begin(RECORD.RESYNC, 4).#u32(events)
  }

  login(uid: string, epoch: number): void {
    this.#identity(RECORD.LOGIN, uid, epoch)
  }

  #identity(kind: number, uid: string, epoch: number): void {
    const bytes = utf8Encoder.encode(uid)
    this.#begin(kind, 8, bytes.length).#u32(epoch).#blob(bytes)
  }

  /** One text: the code, and after a space the reason, if there is one. */
  closed(code: string, reason = ''): void {
    const bytes = utf8Encoder.encode(reason === '' ? code : `${code} ${reason}`)
    this.#begin(RECORD.CLOSED, 4, bytes.length).#blob(bytes)
  }

  pong(): void {
    this.#begin(RECORD.PONG, 0)
  }

  /** Reserves space for a record and writes its head; the caller then writes exactly `fixedBytes + variableBytes`. */
  #begin(kind: number, fixedBytes: number, variableBytes = 0): this {
    const size = fixedBytes + variableBytes
    const needed = Math.max(this.#at, 1) + RECORD_HEAD + size
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2, FIRST_BUFFER))
      grown.set(this.#bytes.subarray(0, this.#at), 0)
      this.#bytes = grown
    }
    if (this.#at === 0) this.#bytes[this.#at++] = RECORD_VERSION
    this.#bytes[this.#at++] = kind
    return this.#u32(size)
  }
  #u8(value: number): this {
    this.#bytes[this.#at++] = value
    return this
  }
  #flag(isSet: boolean): this {
    return this.#u8(isSet ? RECORD_FLAG : 0)
  }
  #u32(value: number): this {
    writeU32(this.#bytes, this.#at, value)
    this.#at += 4
    return this
  }
  #raw(bytes: Uint8Array): this {
    this.#bytes.set(bytes, this.#at)
    this.#at += bytes.length
    return this
  }
  #blob(bytes: Uint8Array): this {
    return this.#u32(bytes.length).#raw(bytes)
  }
}
