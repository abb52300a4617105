import type { TableDefinition } from '../game/table.ts'
import type { Row, RowChange, RowKey, StoredCast, StoredChannel } from './store.ts'

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
