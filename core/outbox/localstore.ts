// The interface of a host's own Store to TieredStore: complete rows of loaded shards, and one outbox per owner (a slot
// file, an object) with the changes that MySQL does not have yet. Invariant: a turn's rows, mark and outbox entry are
// one transaction, and a store uses an outbox sequence only once.

import type { Awaitable } from '../game/definition.ts'
import type { Outcome, RowChange, Store } from '../ports/store.ts'
import type { CriticalState } from '../ports/database.ts'
import type { ShardId } from '../wire/shardid.ts'

export interface LocalStore extends Store {
  /** The owner that writes this shard's rows to MySQL: the name of a slot or of an object. */
  ownerOf(shard: ShardId): string
  /** Owners whose outbox has entries. */
  ownersWithEntries(): readonly string[]
  outboxOf(owner: string): Outbox
  /** True = this store has every row of the shard. */
  isLoaded(shard: ShardId): boolean
  /**
   * Stores rows of MySQL ('store-put'), and removes rows of an unfinished load ('store-delete'). `isLast`: the shard is
   * loaded with these rows. A mark of `criticalState` replaces only a lower one.
   */
  fill(
    shard: ShardId,
    rows: readonly RowChange[],
    criticalState: CriticalState | null,
    isLast: boolean,
  ): Awaitable<Outcome>
}

export interface Outbox {
  /** Random id of the store, which never changes: 32 hex digits. */
  readonly storeId: string
  /** The highest sequence that was ever used. */
  readonly lastSeq: number
  /** The same without the turns since `markUnleased`, which must not make a stale store look newer than it is. */
  readonly leasedSeq: number
  /** Records that later commits are made without the lease. A restart keeps the record, `markLeased` removes it. */
  markUnleased(): Awaitable<Outcome>
  /** Records that the lease is held: the turns so far are MySQL's next. */
  markLeased(): Awaitable<Outcome>
  /** Durable entries above `after`, in order, within the bounds; at least one if there is any. */
  read(after: number, maxEntries: number, maxBytes: number): readonly OutboxEntry[]
  /** Removes entries up to this sequence; the counter stays. */
  drop(upTo: number): Awaitable<Outcome>
  /** Makes every later sequence higher than this one. Completes after all commits that were started before. */
  raiseSeq(seq: number): Awaitable<Outcome>
  /** The highest waiting sequence of this shard, durable or not; 0 = none. `critical`: only of critical entries. */
  lastSeqOf(shard: ShardId, critical: boolean): number
  /**
   * Empties a stale store: removes every row, the record of loaded shards, and every waiting entry; later commits of
   * open activations fail. Returns the entries, whose acknowledgements are lost, so that the caller reports them.
   */
  reset(): Promise<readonly OutboxEntry[]>
}

export interface OutboxEntry {
  readonly seq: number
  /** `contract/key` */
  readonly shard: string
  readonly critical: boolean
  /** Encoded by entry.ts. */
  readonly data: Uint8Array
}
