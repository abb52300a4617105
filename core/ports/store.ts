// The transactional storage of shards, and what it stores. Invariant: one write set is one transaction.

import type { TableDefinition } from '../game/table.ts'
import type { ShardId } from '../wire/shardid.ts'
import type { Awaitable } from '../game/definition.ts'

export interface Store {
  /** Begins an activation: numbers it, above all earlier activations of this shard, and reads its state. */
  open(shard: ShardId): Awaitable<StoredShard>
  /** The mark and the unacknowledged replies of a channel; null = nothing is stored. */
  channel(shard: ShardId, channel: string): Awaitable<StoredChannel | null>
  /**
   * Commits in the order of the calls. Never rejects. 'unknown' = it may be committed; the next `open` reads the result.
   * After a write set that failed or is unknown, later ones of the same activation fail, because they are based on it.
   */
  commit(write: WriteSet): Awaitable<Outcome>
  /** A row as last committed; null = it does not exist. Synchronous, because handlers are. */
  row(shard: ShardId, table: TableDefinition, key: RowKey): Row | null
  /** Rows of the shard as last committed, in the order of their keys. */
  list(shard: ShardId, table: TableDefinition, query: RowQuery): readonly Row[]
  /**
   * Reads a row from MySQL after all commits of this shard were applied there. The row may belong to another shard by
   * now. Absent without MySQL. @throws RowError when the row is in a parked turn
   */
  reload?(shard: ShardId, table: TableDefinition, key: RowKey): Promise<Row | null>
  /** Returns a new AUTO_INCREMENT value, which is never returned again. Absent without MySQL. */
  nextId?(shard: ShardId, table: TableDefinition, values: Row): Promise<bigint>
  /**
   * After a 'refused' commit: undoes that turn and all later turns of the shard, none of which was answered, and stores
   * the channel for the next activation, in one transaction.
   */
  reject?(shard: ShardId, seq: number, channel: WriteSet['channel']): Awaitable<Outcome>
}
export type Outcome =
  /** `seq`: its outbox sequence, if it has one. */
  | { readonly kind: 'committed'; readonly seq?: number }
  /** MySQL permanently refuses the rows of this critical turn; the Store still has it, see `reject`. */
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
  /** Unanswered durable casts, oldest first. */
  readonly casts: readonly StoredCast[]
}
export interface StoredTimer {
  readonly name: string
  /** Wall clock, milliseconds. */
  readonly dueMs: number
  readonly data: Uint8Array
}
/** A durable cast that its turn has committed and that is not answered. */
export interface StoredCast {
  /** Ascending and unique per sender. */
  readonly sequence: number
  readonly target: ShardId
  readonly command: number
  readonly body: Uint8Array
  /** The sender's hook that handles the answer, '' = none. */
  readonly answer: string
  /** For the hook. */
  readonly data: Uint8Array
}
/** A row: frozen, with every column of its table. */
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
/** The change of one row. A write set has at most one per row. */
export interface RowChange {
  readonly table: TableDefinition
  /** 'store-put' and 'store-delete' change the Store alone, not MySQL. */
  readonly op: 'insert' | 'update' | 'delete' | 'store-put' | 'store-delete'
  readonly key: RowKey
  /** insert, store-put: all columns; update: the changed ones; delete: a condition on the row; store-delete: none. */
  readonly values: Row
}
export interface StoredChannel {
  /** The sequence of a client's call, or of a shard's durable cast (channel id `@contract/key`). */
  readonly mark: number
  /** Replies packed by core/channel/retainedreplies.ts. */
  readonly replies: Uint8Array
}

/** A channel after a turn. `replies` may be packed when it is first read. */
export interface ChannelWrite extends StoredChannel {
  readonly id: string
  readonly nowMs: number
  /** Approximate bytes of the replies. */
  readonly weight: number
}

export function channelWrite(id: string, nowMs: number, { mark, replies }: StoredChannel): ChannelWrite {
  return { id, nowMs, mark, replies, weight: replies.length }
}

/** The changes of one turn. null parts did not change; null values delete. */
export interface WriteSet {
  readonly shard: ShardId
  readonly activation: number
  readonly kv: ReadonlyMap<string, Uint8Array | null> | null
  readonly timers: ReadonlyMap<string, StoredTimer | null> | null
  readonly channel: ChannelWrite | null
  readonly snapshot: Uint8Array | null
  readonly rows: readonly RowChange[] | null
  /** By sequence; null = the cast was answered. */
  readonly casts: ReadonlyMap<number, StoredCast | null> | null
  /** Committed only when it and all earlier commits of this shard are applied in MySQL. */
  readonly critical: boolean
  /** Refused while an earlier turn of this shard is parked. */
  readonly requiresFlush?: boolean
  /** The write set that undoes this one; set where a 'refused' outcome may need it. */
  readonly undo: WriteSet | null
  /** Wall clock; when the shard must be active for a durable timer or cast; null = none is pending. */
  readonly wakeMs: number | null
}
/** The part of a write set that an undo also has: what is applied to the stored state of a shard. */
export type ShardChange = Pick<WriteSet, 'kv' | 'timers' | 'channel' | 'rows' | 'casts'>
