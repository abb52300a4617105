import type { TableDefinition } from '../game/table.ts'
import type { ShardId } from '../wire/shardid.ts'
import type { Awaitable } from '../game/shard.ts'

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
  /** Replies packed by core/channel/retainedreplies.ts. */
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
/** The part of a write set that an undo also has: what is applied to the stored state of a shard. */
export type ShardChange = Pick<WriteSet, 'kv' | 'timers' | 'channel' | 'rows' | 'casts'>
