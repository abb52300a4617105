// The only seam between the engine and its hosts. The engine never asks the platform for anything else:
// no Date.now, no timers, no randomness, no I/O. Every port has a memory implementation (memory.ts).

import type { TableDefinition } from '../game/table.ts'
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

/** 1..maxBytes bytes of text without control characters, not ending in a space, which MySQL would not see. */
export function isKey(key: string, maxBytes: number): boolean {
  if (key.length === 0 || key.endsWith(' ') || key.length > maxBytes || utf8.encode(key).length > maxBytes)
    return false
  for (let i = 0; i < key.length; i++)
    if (key.charCodeAt(i) < 0x20 || key.charCodeAt(i) === 0x7f) return false
  return true
}
const utf8 = new TextEncoder()

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
  open(shard: ShardId): Awaitable<StoredShard>
  /** The durable mark and the unacknowledged replies of a channel; null = never heard of. */
  channel(shard: ShardId, channel: string): Awaitable<StoredChannel | null>
  /**
   * One transaction, all or nothing, in the order of the calls. 'unknown': it may or may not be there, and only
   * a later `open` tells. After a write set that is not known to be committed, later ones of the same activation
   * fail as well: they were computed from it. Never rejects.
   */
  commit(write: WriteSet): Awaitable<Outcome>
  /** A row as it was last committed; null = there is none. Synchronous, because handlers are. */
  row(shard: ShardId, table: TableDefinition, key: RowKey): Row | null
  /** Rows of the shard as they were last committed, in the order of their keys. */
  list(shard: ShardId, table: TableDefinition, query: RowQuery): readonly Row[]
  /**
   * What MySQL holds of a row now, once it has all that this shard committed; its shardKey may be another shard's by
   * now. Absent without MySQL behind. @throws RowError when the row stands parked
   */
  reload?(shard: ShardId, table: TableDefinition, key: RowKey): Promise<Row | null>
  /** A new AUTO_INCREMENT value, never given out again. Absent without MySQL behind. */
  nextId?(shard: ShardId, table: TableDefinition, values: Row): Promise<bigint>
  /**
   * After a 'refused' commit: takes back that turn and all later ones of the shard, of which nothing was told, and
   * stores the channel as it is to be found by the next activation, in one transaction.
   */
  reject?(shard: ShardId, seq: number, channel: WriteSet['channel']): Awaitable<Outcome>
}
export type Outcome =
  /** `seq`: its place in the outbox, if it has one. */
  | { readonly kind: 'committed'; readonly seq?: number }
  /** MySQL will never take the data of this critical turn; the Store still has it, see `reject`. */
  | { readonly kind: 'refused'; readonly cause: Error; readonly seq: number }
  | { readonly kind: 'failed'; readonly cause: unknown }
  | { readonly kind: 'unknown'; readonly cause: unknown }
export const COMMITTED: Outcome = { kind: 'committed' }

export interface StoredShard {
  /** 1..4294967295 */
  readonly activation: number
  readonly kv: ReadonlyMap<string, Uint8Array>
  readonly timers: readonly StoredTimer[]
  readonly snapshot: Uint8Array | null
  /** Durable casts without an answer yet, oldest first. */
  readonly casts: readonly StoredCast[]
}
export interface StoredTimer {
  readonly name: string
  /** Wall clock, milliseconds. */
  readonly dueMs: number
  readonly data: Uint8Array
}
/** A durable cast that left with its turn's commit and waits for its answer. */
export interface StoredCast {
  /** Ascending, unique for its sender. */
  readonly sequence: number
  readonly target: ShardId
  readonly command: number
  readonly body: Uint8Array
  /** The sender's hook that is told the answer, '' = none, and what it is given besides. */
  readonly answer: string
  readonly data: Uint8Array
}
/** A row as the game sees it: frozen, with every column of its table. */
export type Row = Readonly<Record<string, unknown>>
/** All values of the primary key, in the order of `table.key`. */
export type RowKey = readonly unknown[]
export interface RowQuery {
  /** Columns that must be equal; empty = every row of the shard. */
  readonly by: Row
  readonly descending: boolean
  /** 0 = all. */
  readonly limit: number
}
/** What a turn did to one row; at most one change a row in a write set. */
export interface RowChange {
  readonly table: TableDefinition
  /** 'fill' and 'drop' change the Store alone: MySQL has it already, or never heard of it. */
  readonly op: 'insert' | 'update' | 'delete' | 'fill' | 'drop'
  readonly key: RowKey
  /** insert, fill: every column; update: the changed ones; drop: none; delete: what the row must have to be deleted. */
  readonly values: Row
}
export interface StoredChannel {
  /** A client's sequence, or that of a shard's durable cast (channel id `@contract/key`). */
  readonly mark: number
  /** Replies packed by core/run/channel.ts. */
  readonly replies: Uint8Array
}

/** A channel as a turn leaves it. Its replies may be packed only when they are asked for. */
export interface ChannelWrite extends StoredChannel {
  readonly id: string
  readonly nowMs: number
  /** Bytes of the replies, nearly. */
  readonly weight: number
}

export function channelWrite(id: string, nowMs: number, { mark, replies }: StoredChannel): ChannelWrite {
  return { id, nowMs, mark, replies, weight: replies.length }
}

/** What one turn changed. Absent parts did not change; null deletes. */
export interface WriteSet {
  readonly shard: ShardId
  readonly activation: number
  readonly kv: ReadonlyMap<string, Uint8Array | null> | null
  readonly timers: ReadonlyMap<string, StoredTimer | null> | null
  readonly channel: ChannelWrite | null
  readonly snapshot: Uint8Array | null
  readonly rows: readonly RowChange[] | null
  /** By sequence; null = it was answered. */
  readonly casts: ReadonlyMap<number, StoredCast | null> | null
  /** Committed only when MySQL has it, and everything that this shard committed before. */
  readonly critical: boolean
  /** Critical also for what was written before: refused while MySQL will not take a turn of this shard. */
  readonly requiresFlush?: boolean
  /** What takes this write set back; given where a later 'refused' may ask for it. */
  readonly undo: WriteSet | null
  /** When the shard must be awake for its next durable timer, wall clock; null = no durable timer is left. */
  readonly wakeMs: number | null
}

/** The gateway's side of a channel: what a shard tells it. */
export interface ChannelOut {
  /** The channel stands (again). `lost`: calls above the mark that were sent before are gone. */
  channelOpened(activation: number, mark: number, callsLost: boolean): void
  reply(sequence: number, command: number, body: Uint8Array): void
  error(sequence: number, command: number, kind: ErrorKind, code: string, message: string): void
  /** `body` is the same object for all receivers of a broadcast. */
  event(sequence: number, event: number, body: Uint8Array): void
  /** Every call up to `mark` has taken effect; said where no reply says it. */
  callsApplied(mark: number): void
  /** What the shard must be told when the gateway opens this channel again: the membership. */
  membershipToken(token: Uint8Array): void
  /** From now on this session means `key` when it speaks to that contract. */
  keyBound(contract: string, key: string): void
  /** This session is that of `uid` from now on, since its `epoch`-th login. */
  loggedIn(uid: string, epoch: number): void
  /** Events up to this number do not come (any more): fresh state follows, if the game sends it. */
  resyncRequired(events: number): void
  /** The shard ends the channel. */
  channelClosed(code: string): void
}

/** The shard's side of a channel: what a gateway tells it. */
export interface ChannelIn {
  /** `body` is only borrowed for the call's turn. */
  submitCall(sequence: number, command: number, flags: number, replyAck: number, body: Uint8Array): void
  ack(calls: number, events: number): void
  /** The client reads too slowly: events are kept here, or (false) flow again. */
  pauseEvents(isPaused: boolean): void
  /** The session has logged in. */
  identify(uid: string, epoch: number): void
  /** The connection is gone, or (`forget`) the client will not come back to this channel. */
  closeChannel(forget: boolean): void
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
  readonly membershipToken: Uint8Array
  /** The last event of `activation` that the client has. */
  readonly eventAck: number
  /** Who has logged in, '' = nobody; and with which login of that uid. */
  readonly uid: string
  readonly epoch: number
  /** Rises with each connection of a session: what a link of an older one brings late takes nothing over. */
  readonly generation: number
  /** It was admitted before, and comes back from sleep. */
  readonly admitted?: boolean
}

/** A channel that is opened for the first time, of a session that nobody has logged in. */
export const NEW_CHANNEL_DEFAULTS = {
  legacy: false,
  activation: 0,
  membershipToken: new Uint8Array(0),
  eventAck: 0,
  uid: '',
  epoch: 0,
  generation: 0,
} as const satisfies Partial<OpenRequest>

/** Why a channel is closed: its session came on another connection, where it goes on; or its uid logged in elsewhere. */
export const REPLACED = 'REPLACED'
export const SUPERSEDED = 'SUPERSEDED'
/** Stands before the reason of a kick. */
export const KICKED_PREFIX = 'KICKED '

/** A channel that is not to be: its gateway hears why, and what it still says is for nobody. */
export function refuseChannel(out: ChannelOut, code: string): ChannelIn {
  out.channelClosed(code)
  return CLOSED_CHANNEL
}

const ignore = (): void => {}
/** A channel that leads nowhere. */
export const CLOSED_CHANNEL: ChannelIn = {
  submitCall: ignore,
  ack: ignore,
  pauseEvents: ignore,
  identify: ignore,
  closeChannel: ignore,
}

/** The path from a gateway to the shards. */
export interface ShardLink {
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
  /** A durable cast of the shard `sender`, as often as it takes; the receiver does it once. Resolves always. */
  deliver(sender: string, cast: StoredCast): Promise<PeerAnswer>
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

/** MySQL behind the stores, one owner (a slot, an object) of many shards at a time. @throws DatabaseError */
export interface Database {
  /** Raises the owner's epoch: whoever held it before is fenced off from here on. */
  takeover(owner: string, storeId: string): Promise<Lease>
  lease(owner: string): Promise<Lease | null>
  /** One transaction behind the fence; 'fenced' = the fence did not match and nothing was done. */
  apply(batch: Batch): Promise<'applied' | 'fenced'>
  /** The rows of one shard in the order of their keys, a page at a time; `after` = the last key of the page before. */
  load(table: TableDefinition, shardKey: string, after: RowKey | null, limit: number): Promise<readonly Row[]>
  row(table: TableDefinition, key: RowKey): Promise<Row | null>
  /** What critical turns of a shard left beside their rows. */
  criticalState(shard: string): Promise<CriticalState>
  /** The turns of an owner that stand parked. */
  parkedTurns(owner: string): Promise<readonly ParkedTurn[]>
  /** A new AUTO_INCREMENT value for a row with these values. */
  nextId(table: TableDefinition, values: Row): Promise<bigint>
  close(): Promise<void>
}
export interface Lease {
  readonly epoch: number
  /** The highest outbox sequence of the store `storeId` that MySQL has. */
  readonly appliedSeq: number
  /** The store (file, object) that `appliedSeq` belongs to. From `takeover`: the one before it. */
  readonly storeId: string
}
export interface Batch {
  readonly owner: string
  readonly epoch: number
  /** First and last outbox sequence in it. */
  readonly firstSeq: number
  readonly lastSeq: number
  /** At most one a row, deletes first. */
  readonly rows: readonly RowChange[]
  readonly channels: readonly (StoredChannel & { readonly shard: string; readonly id: string })[]
  readonly casts: readonly {
    readonly shard: string
    readonly sequence: number
    readonly cast: StoredCast | null
  }[]
  readonly parked: readonly ParkedTurn[]
  /** Sequences of parked turns whose rows are in this batch. */
  readonly unparkedSeqs?: readonly number[]
}
/** A turn whose rows MySQL refused: kept for the operator, out of the way of the others. */
export interface ParkedTurn {
  readonly seq: number
  readonly shard: string
  readonly error: string
  readonly data: Uint8Array
}
export interface CriticalState {
  readonly channels: readonly (StoredChannel & { readonly id: string })[]
  readonly casts: readonly StoredCast[]
}

export interface Ports {
  readonly clock: Clock
  readonly store: Store
  readonly log: Log
  /** Left out where every shard lives in this engine. */
  readonly directory?: Directory
}
