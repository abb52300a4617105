// The only seam between the engine and its hosts. The engine never asks the platform for anything else:
// no Date.now, no timers, no randomness, no I/O. Every port has a memory implementation (memory.ts).

import type { ErrorKind } from '../wire/message.ts'

/** Where a shard lives in the game: which contract, which key. */
export interface ShardId {
  readonly contract: string
  readonly key: string
}
/** One string for one shard: `contract/key`. Contract names hold no slash. */
export function shardName(id: ShardId): string {
  return `${id.contract}/${id.key}`
}

export type Awaitable<T> = T | Promise<T>

export interface Clock {
  /** Wall clock, milliseconds since 1970. */
  now(): number
  /** Monotonic, milliseconds. */
  mono(): number
  /** Runs once after `ms`. */
  after(ms: number, run: () => void): Timer
  /** Runs soon, once the event in hand is done, in order. */
  defer(run: () => void): void
  /** 0 <= x < 1 */
  random(): number
  /** 16 unguessable bytes. */
  id(): Uint8Array
}
export interface Timer {
  cancel(): void
}

export interface Log {
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}
export type LogFields = Record<string, unknown>

/** A shard's transactional storage. */
export interface Store {
  /** Begins an activation: numbers it, higher than every earlier one of this shard, and reads what it needs. */
  open(shard: ShardId): Awaitable<Stored>
  /** The durable mark and the unacknowledged replies of a channel; null = never heard of. */
  channel(shard: ShardId, channel: string): Awaitable<StoredChannel | null>
  /**
   * One transaction, all or nothing, in the order of the calls. 'unknown': it may or may not be there, and only
   * a later `open` tells. After a write set that is not known to be committed, later ones of the same activation
   * fail as well: they were computed from it. Never rejects.
   */
  commit(write: WriteSet): Awaitable<Outcome>
}
export type Outcome =
  | { readonly kind: 'committed' }
  | { readonly kind: 'failed'; readonly cause: unknown }
  | { readonly kind: 'unknown'; readonly cause: unknown }
export const COMMITTED: Outcome = { kind: 'committed' }

export interface Stored {
  /** 1..4294967295 */
  readonly activation: number
  readonly kv: ReadonlyMap<string, Uint8Array>
  readonly timers: readonly StoredTimer[]
  readonly snapshot: Uint8Array | null
}
export interface StoredTimer {
  readonly name: string
  /** Wall clock, milliseconds. */
  readonly dueMs: number
  readonly data: Uint8Array
}
export interface StoredChannel {
  readonly mark: number
  /** Replies packed by core/run/channel.ts. */
  readonly replies: Uint8Array
}

/** What one turn changed. Absent parts did not change; null deletes. */
export interface WriteSet {
  readonly shard: ShardId
  readonly activation: number
  readonly kv: ReadonlyMap<string, Uint8Array | null> | null
  readonly timers: ReadonlyMap<string, StoredTimer | null> | null
  readonly channel: (StoredChannel & { readonly id: string; readonly nowMs: number }) | null
  readonly snapshot: Uint8Array | null
  /** When the shard must be awake for its next durable timer, wall clock; null = no durable timer is left. */
  readonly wakeMs: number | null
}

/** The gateway's side of a channel: what a shard tells it. */
export interface ChannelOut {
  /** The channel stands (again). `lost`: calls above the mark that were sent before are gone. */
  opened(activation: number, mark: number, lost: boolean): void
  reply(sequence: number, command: number, body: Uint8Array): void
  error(sequence: number, command: number, kind: ErrorKind, code: string, message: string): void
  /** `body` is the same object for all receivers of a broadcast. */
  event(sequence: number, event: number, body: Uint8Array): void
  /** Every call up to `mark` has taken effect; said where no reply says it. */
  applied(mark: number): void
  /** What the shard must be told when the gateway opens this channel again: the membership. */
  memo(memo: Uint8Array): void
  /** The shard ends the channel. */
  closed(code: string): void
}

/** The shard's side of a channel: what a gateway tells it. */
export interface ChannelIn {
  /** `body` is only borrowed for the call's turn. */
  call(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): void
  ack(calls: number, events: number): void
  /** The connection is gone, or (`forget`) the client will not come back to this channel. */
  close(forget: boolean): void
}
/** Call flag: the reply is kept until it is acknowledged, because the caller can send the call again. */
export const RETAIN = 1

export interface OpenRequest {
  readonly shard: ShardId
  /** 16 bytes. */
  readonly session: Uint8Array
  /** Unique in the session. */
  readonly channel: number
  /** A legacy client: refusals are answered by the contract's legacy body. */
  readonly legacy: boolean
  /** The activation the client last knew, 0 = none. */
  readonly activation: number
  /** From an earlier `memo`, empty = none. */
  readonly memo: Uint8Array
}

/** The path from a gateway to the shards. */
export interface Link {
  open(request: OpenRequest, out: ChannelOut): ChannelIn
}

/** Where shards live, as other shards see it. */
export interface Directory {
  peer(shard: ShardId): Peer
}
export interface Peer {
  /** Resolves always, with a system error at the worst. */
  call(call: PeerCall): Promise<PeerAnswer>
  cast(call: PeerCall): void
}
export interface PeerCall {
  readonly command: number
  readonly body: Uint8Array
  /** The shards that wait for this call, first caller first. */
  readonly chain: readonly string[]
  /** Wall clock; 0 for a cast. */
  readonly deadlineMs: number
}
export type PeerAnswer =
  | { readonly kind: 'reply'; readonly body: Uint8Array | null }
  | { readonly kind: ErrorKind; readonly code: string; readonly message: string }

export interface Ports {
  readonly clock: Clock
  readonly store: Store
  readonly log: Log
  /** Left out where every shard lives in this engine. */
  readonly directory?: Directory
}
