// A host's own Store as the tiers above it see it: complete rows of the shards that live here, and for each owner (a
// slot file, an object) an outbox of what MySQL has still to hear. Invariant: a turn's rows, mark and outbox entry
// stand in one transaction, and an outbox sequence is used once in the life of its store.

import type { Awaitable } from '../game/shard.ts'
import type { Outcome, RowChange, Store } from '../ports/store.ts'
import type { CriticalState } from '../ports/database.ts'
import type { ShardId } from '../wire/shardid.ts'

export interface LocalStore extends Store {
  /** Who writes this shard's rows to MySQL: the name of a slot, of an object. */
  ownerOf(shard: ShardId): string
  /** Owners whose outbox holds something. */
  ownersWithEntries(): readonly string[]
  outboxOf(owner: string): Outbox
  /** Every row of the shard is in this store. */
  isLoaded(shard: ShardId): boolean
  /**
   * Takes rows that MySQL has ('store-put'), and forgets what an unfinished load left ('store-delete'); `done` = that was the last
   * of them. A mark in `remains` counts only where it is above the one that stands here.
   */
  fill(
    shard: ShardId,
    rows: readonly RowChange[],
    remains: CriticalState | null,
    isLast: boolean,
  ): Awaitable<Outcome>
}

export interface Outbox {
  /** Made with the store and never changed: 32 hex digits. */
  readonly storeId: string
  /** The highest sequence that was ever used. */
  readonly lastSeq: number
  /** The same without the turns since `doubt`: what a stale store adds must not make it look newer than it is. */
  readonly leasedSeq: number
  /** What is committed after this call is made before the lease is held. Kept over restarts until `trust`. */
  markUnleased(): Awaitable<Outcome>
  /** The lease is held: the turns so far are MySQL's next. */
  markLeased(): Awaitable<Outcome>
  /** Durable entries above `after`, in order; at least one if there is any, else as many as the bounds allow. */
  read(after: number, maxEntries: number, maxBytes: number): readonly OutboxEntry[]
  /** Forgets entries up to this one; the counter stays. */
  drop(upTo: number): Awaitable<Outcome>
  /** Every later sequence is above this one. Answers after every commit that was asked for before. */
  raiseSeq(seq: number): Awaitable<Outcome>
  /** The highest sequence of this shard that waits here, durable or not, 0 = none; `critical`: of critical entries. */
  lastSeqOf(shard: ShardId, critical: boolean): number
  /**
   * MySQL went on without this store: forgets every row and which shards are loaded, takes every waiting entry out,
   * and from then on refuses the commits of activations that are open. The entries are returned: their
   * acknowledgements are lost, and somebody must hear of it.
   */
  reset(): Promise<readonly OutboxEntry[]>
}

export interface OutboxEntry {
  readonly seq: number
  /** `contract/key` */
  readonly shard: string
  readonly critical: boolean
  /** See entry.ts. */
  readonly data: Uint8Array
}
