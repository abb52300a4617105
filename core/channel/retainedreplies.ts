// The replies of one channel that its client has not acknowledged, and the grants of their turns: a resent call gets the
// reply that was committed. Invariant: the grants of a call are stored before its reply.

import { ByteReader, ByteWriter, encodeKnownText, utf8Decoder, utf8Encoder } from '../wire/bytes.ts'
import { MAX_STORED_BYTES } from '../wire/limits.ts'
import type { ErrorKind } from '../wire/message.ts'
import type { ChannelOut } from '../ports/link.ts'
import type { ChannelWrite, StoredChannel } from '../ports/store.ts'

/**
 * What a turn grants the session that caused it: a login, or a key of a contract. A grant is retained and resent like the
 * reply of its call, because the client must not get the reply without it.
 */
export type SessionGrant =
  | { readonly kind: 'login'; readonly uid: string; readonly epoch: number }
  | { readonly kind: 'bind'; readonly contract: string; readonly key: string }

interface RetainedReply {
  readonly sequence: number
  readonly command: number
  readonly kind: 'reply' | ErrorKind | SessionGrant['kind']
  /** Empty unless it is an error. */
  readonly code: string
  /** The body of a reply, an encoded grant, or the message of an error. */
  readonly body: Uint8Array
}

export class RetainedReplies {
  #retained: RetainedReply[] = []
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }

  /** Returns true when another reply may be retained. The gateway closes a client that never acknowledges. */
  hasRoom(maxReplies: number, maxBytes: number): boolean {
    return this.#retained.length < maxReplies && this.#bytes < maxBytes
  }

  addReply(sequence: number, command: number, body: Uint8Array): void {
    this.#add({ sequence, command, kind: 'reply', code: '', body })
  }
  addError(sequence: number, command: number, kind: ErrorKind, code: string, message: string): void {
    this.#add({ sequence, command, kind, code, body: encodeKnownText(message) })
  }
  addGrant(sequence: number, command: number, grant: SessionGrant): void {
    this.#add({ sequence, command, kind: grant.kind, code: '', body: encodeGrant(grant) })
  }
  #add(reply: RetainedReply): void {
    this.#retained.push(reply)
    this.#bytes += retainedBytesOf(reply)
  }

  /** Drops the replies of all calls up to `calls`. */
  ack(calls: number): void {
    let count = 0
    while (count < this.#retained.length && this.#retained[count]!.sequence <= calls)
      this.#bytes -= retainedBytesOf(this.#retained[count++]!)
    if (count > 0) this.#retained.splice(0, count)
  }

  /** Sends the grants of committed calls again: of one call, or (0) of all. */
  sendGrants(out: ChannelOut | null, committedMark: number, sequence = 0): void {
    for (const { kind, body, sequence: call } of this.#retained)
      if ((kind === 'login' || kind === 'bind') && call <= committedMark && (sequence === 0 || call === sequence))
        sendGrant(out, kind, body)
  }

  /** Sends the reply of a committed call again; without a retained reply, sends the mark. */
  resend(out: ChannelOut | null, committedMark: number, sequence: number): void {
    this.sendGrants(out, committedMark, sequence)
    const reply = this.#retained.findLast((retained) => retained.sequence === sequence)
    if (!reply || reply.kind === 'login' || reply.kind === 'bind') out?.callsApplied(committedMark)
    else if (reply.kind === 'reply') out?.reply(sequence, reply.command, reply.body)
    else out?.error(sequence, reply.command, reply.kind, reply.code, utf8Decoder.decode(reply.body))
  }

  /** Returns what a commit stores of the channel. */
  createWrite(id: string, nowMs: number, mark: number): ChannelWrite {
    return new LazyChannelWrite(id, nowMs, mark, this.#retained, this.#bytes)
  }

  /** Returns the state to store when this call is refused and no later call has begun. */
  refusedState(sequence: number, command: number, code: string, message: string): StoredChannel {
    const retained = this.#retained.filter((reply) => reply.sequence < sequence)
    const refused = { sequence, command, kind: 'system', code, body: utf8Encoder.encode(message) } as const
    return { mark: sequence, replies: packReplies([...retained, refused], sequence) }
  }

  restore(stored: StoredChannel): void {
    const reader = new ByteReader('stored replies', stored.replies, 0, stored.replies.length)
    while (!reader.isAtEnd) {
      const sequence = reader.u32()
      const command = reader.u32()
      const kind = KINDS[reader.u8()] ?? 'system'
      const code = reader.text8()
      const body = reader.view32().slice()
      this.#add({ sequence, command, kind, code, body })
    }
  }

  /** Starts a new array, because pending writes still pack the old one. */
  clear(): void {
    this.#retained = []
    this.#bytes = 0
  }
}

/**
 * A channel as one turn left it. Of several writes in one transaction only the last is stored, so the replies are packed
 * when they are read: without those acknowledged since, and without those added since.
 */
class LazyChannelWrite implements ChannelWrite {
  readonly id: string
  readonly nowMs: number
  readonly mark: number
  readonly weight: number
  readonly #retained: readonly RetainedReply[]
  #packed: Uint8Array | null = null

  constructor(id: string, nowMs: number, mark: number, retained: readonly RetainedReply[], weight: number) {
    this.id = id
    this.nowMs = nowMs
    this.mark = mark
    this.weight = weight
    this.#retained = retained
  }

  get replies(): Uint8Array {
    return (this.#packed ??= packReplies(this.#retained, this.mark))
  }
}

/** Stored as indexes: never reorder. */
const KINDS = ['reply', 'refusal', 'system', 'login', 'bind'] as const

function retainedBytesOf({ code, body }: RetainedReply): number {
  return 32 + code.length + body.length
}

/** Packs the replies up to a mark. Codes are ASCII names. */
function packReplies(retained: readonly RetainedReply[], mark: number): Uint8Array {
  let size = 0
  const stored = retained.filter(({ sequence }) => sequence <= mark).map(withStorableBody)
  for (const { code, body } of stored) size += 14 + code.length + body.length
  const writer = new ByteWriter(size)
  for (const { sequence, command, kind, code, body } of stored) {
    writer.u32(sequence).u32(command).u8(KINDS.indexOf(kind)).u8(code.length)
    if (code !== '') writer.raw(utf8Encoder.encode(code))
    writer.u32(body.length).raw(body)
  }
  return writer.bytes
}

/** A large reply of a turn that wrote nothing is retained in memory only: after a restart its call is answered by an error. */
function withStorableBody(reply: RetainedReply): RetainedReply {
  const { length } = reply.body
  if (length <= MAX_STORED_BYTES) return reply
  const body = utf8Encoder.encode(`the reply of ${length} bytes was not stored`)
  return { ...reply, kind: 'system', code: 'SHARD_RESTARTED', body }
}

export function encodeGrant(grant: SessionGrant): Uint8Array {
  if (grant.kind === 'login') {
    const uid = utf8Encoder.encode(grant.uid)
    return new ByteWriter(6 + uid.length).u32(grant.epoch).blob(uid).bytes
  }
  const [contract, key] = [utf8Encoder.encode(grant.contract), utf8Encoder.encode(grant.key)]
  return new ByteWriter(4 + contract.length + key.length).blob(contract).blob(key).bytes
}

export function sendGrant(out: ChannelOut | null, kind: SessionGrant['kind'], body: Uint8Array): void {
  const reader = new ByteReader('a grant', body, 0, body.length)
  if (kind === 'bind') return out?.keyBound(reader.text16(), reader.text16())
  const epoch = reader.u32()
  out?.loggedIn(reader.text16(), epoch)
}
