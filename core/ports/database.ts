// MySQL, as the flushers and loaders of the Stores use it.

import type { TableDefinition } from '../game/table.ts'
import type { Row, RowChange, RowKey, StoredCast, StoredChannel } from './store.ts'

/** Each owner (a slot, an object) has its own lease, outbox sequence and shards. @throws DatabaseError */
export interface Database {
  /** Raises the owner's epoch: later batches of an earlier epoch are fenced. */
  takeover(owner: string, storeId: string): Promise<Lease>
  lease(owner: string): Promise<Lease | null>
  /** One transaction. 'fenced' = epoch or sequence did not match the lease, and nothing was changed. */
  apply(batch: Batch): Promise<'applied' | 'fenced'>
  /** One page of the rows of a shard, in the order of their keys. `after`: the last key of the previous page. */
  load(table: TableDefinition, shardKey: string, after: RowKey | null, limit: number): Promise<readonly Row[]>
  row(table: TableDefinition, key: RowKey): Promise<Row | null>
  /** Channels and casts that critical turns of a shard stored in MySQL. */
  criticalState(shard: string): Promise<CriticalState>
  parkedTurns(owner: string): Promise<readonly ParkedTurn[]>
  /** Returns a new AUTO_INCREMENT value for a row with these values. */
  nextId(table: TableDefinition, values: Row): Promise<bigint>
  /** Commits a write that changes nothing in the end: resolves when MySQL stores data apart from the game's tables. */
  probe(owner: string): Promise<void>
  close(): Promise<void>
}
export interface Lease {
  readonly epoch: number
  /** The highest outbox sequence of the store `storeId` that was applied. */
  readonly appliedSeq: number
  /** The store (file, object) that `appliedSeq` belongs to. In the result of `takeover`: the previous one. */
  readonly storeId: string
}
export interface Batch {
  readonly owner: string
  readonly epoch: number
  /** The first outbox sequence in the batch. */
  readonly firstSeq: number
  readonly lastSeq: number
  /** At most one change per row, deletes first. */
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
/** A turn whose rows MySQL refused: stored for the operator, so that later turns are not blocked. */
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
