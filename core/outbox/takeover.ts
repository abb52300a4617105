// How a flusher acquires the lease of its owner, and how the lease decides about the owner's store. `applied` counts
// the outbox entries of one store, so it does not apply to the entries of another:
//
//   lease                        | this store                         | action
//   -----------------------------+------------------------------------+------------------------------------------------
//   nothing applied              | any                                | flush all entries
//   this store, applied <= trust | the one that MySQL knows           | drop the entries up to `applied`
//   this store, applied > trust  | an older copy of it (a backup)     | stale: reset, then raise to `applied`
//   another, applied > 0         | new: no sequence was ever used     | raise to `applied`
//   another, applied > 0         | has entry 1: never had the lease   | refuse: an operator joined two games; change
//                                |                                    | neither of them
//   another, applied > 0         | has entries, or rows loaded before | stale: reset, then raise to `applied`
//
// `trust` is the highest sequence that was used before the first turn of a process without the lease, and before a
// reset: a stale store that runs during an outage of MySQL, or ends during a reset, must not look newer than it is.
//
// Entries under another store's lease are never renumbered and flushed: they were computed from rows that the other
// store may have changed since. A reset first takes back the unacknowledged turns of the stale store with their marks,
// or a retry of a client would be answered as done; then it reports the acknowledged turns.
//
// MySQL stores the id of the new store together with the new epoch. If the answer is lost, this must not make the other
// store's `applied` look like this store's. So while the lease belongs to another store, it is acquired with the id of
// that store, and with this store's id only after the reset. The remaining gap: a third store acquires the lease and
// flushes between the read and the takeover of this store, and the answer of that takeover is lost.

import type { Database, Lease } from '../ports/database.ts'
import type { Outcome } from '../ports/store.ts'
import { DatabaseError } from '../sql/client.ts'
import type { Outbox, OutboxEntry } from './localstore.ts'

/** Another process serves this owner, or it cannot be served: its flusher ends, and its shards in this process. */
export class FencedError extends Error {
  override readonly name = 'FencedError'
}

export interface TakeoverOptions {
  readonly owner: string
  readonly database: Database
  readonly outbox: Outbox
  /** Checks the current lease before it is acquired; throws when it must not be. */
  readonly checkLease: (lease: Lease) => void
  /** Takes back this turn of the shard (`contract/key`) and all later ones, without an engine. */
  readonly reject: (shard: string, seq: number) => Promise<Outcome>
  /** Called when the lease is held: later turns are made under the lease. */
  readonly onLeaseAcquired: () => void
  /** Called before the store is emptied: the outcome of waiting turns is unknown, and nothing may be committed. */
  readonly onStale: () => void
  /** Called after the reset with the acknowledged turns that MySQL will not have. */
  readonly onEntriesLost: (entries: readonly OutboxEntry[]) => void
}

const NO_LEASE: Lease = { epoch: 0, appliedSeq: 0, storeId: '' }
const PAGE_ENTRIES = 500
const PAGE_BYTES = 1_048_576
/** Each further attempt means that another store acquired the lease at the same moment. */
const MAX_ATTEMPTS = 3

/** @throws FencedError, DatabaseError, or the error of the store */
export async function takeOver(options: TakeoverOptions): Promise<{ epoch: number; applied: number }> {
  const { owner, database, outbox } = options
  const currentLease = (await database.lease(owner)) ?? NO_LEASE
  options.checkLease(currentLease)
  assertNoConflict(options, currentLease)
  const lease = await raiseEpoch(options, currentLease)
  assertNoConflict(options, lease)
  const { appliedSeq } = lease
  if (isOfOtherStore(outbox, lease)) {
    await resetStore(options)
    assertCommitted(await outbox.raiseSeq(appliedSeq))
    const ownLease = await database.takeover(owner, outbox.storeId)
    if (ownLease.appliedSeq !== appliedSeq)
      throw new DatabaseError('unavailable', `${owner}: another store flushed during the takeover`)
    await leaseAcquired(options)
    return { epoch: ownLease.epoch, applied: appliedSeq }
  }
  if (outbox.leasedSeq >= appliedSeq) {
    assertCommitted(await outbox.drop(appliedSeq))
    // Uses up sequence 1, so that an entry 1 always means that the store never had the lease.
    if (outbox.lastSeq === 0) assertCommitted(await outbox.raiseSeq(1))
  } else {
    await resetStore(options)
    assertCommitted(await outbox.raiseSeq(appliedSeq))
  }
  await leaseAcquired(options)
  return { epoch: lease.epoch, applied: appliedSeq }
}

/** Runs before anything is flushed: the turns that were made without the lease are MySQL's next. */
async function leaseAcquired({ outbox, onLeaseAcquired }: TakeoverOptions): Promise<void> {
  onLeaseAcquired()
  assertCommitted(await outbox.markLeased())
}

/** Rows that were never flushed conflict with rows of another store: neither may be overwritten. @throws FencedError */
function assertNoConflict({ owner, outbox }: TakeoverOptions, lease: Lease): void {
  if (!isOfOtherStore(outbox, lease) || outbox.read(0, 1, 1)[0]?.seq !== 1) return
  throw new FencedError(
    `${owner}: MySQL has ${lease.appliedSeq} turns of another store (${lease.storeId}), and this store ` +
      `(${outbox.storeId}) has rows that were never in MySQL: start with an empty data directory or an empty database`,
  )
}

/** @throws the error of the store, unless the outcome is 'committed' */
export function assertCommitted(outcome: Outcome): void {
  if (outcome.kind === 'committed') return
  throw outcome.cause instanceof Error
    ? outcome.cause
    : new Error(`the store answered ${outcome.kind}`, { cause: outcome.cause })
}

/** Raises the epoch with the id of the store to which `appliedSeq` belongs. The returned lease has that id. */
async function raiseEpoch({ owner, database, outbox }: TakeoverOptions, currentLease: Lease): Promise<Lease> {
  let before = currentLease
  let writtenStoreId = currentLease.storeId
  for (let i = 0; i < MAX_ATTEMPTS; i++) {
    const storeId = storeIdFor(outbox, before)
    const lease = await database.takeover(owner, storeId)
    const actualLease = lease.storeId === writtenStoreId ? { ...lease, storeId: before.storeId } : lease
    if (storeIdFor(outbox, actualLease) === storeId) return actualLease
    before = actualLease
    writtenStoreId = storeId
  }
  throw new DatabaseError('unavailable', `${owner}: other stores took it over ${MAX_ATTEMPTS} times in a row`)
}

function storeIdFor(outbox: Outbox, lease: Lease): string {
  return isOfOtherStore(outbox, lease) ? lease.storeId : outbox.storeId
}

function isOfOtherStore({ storeId }: Outbox, lease: Lease): boolean {
  return lease.storeId !== storeId && lease.appliedSeq > 0
}

/** Empties the store: its copies of MySQL's rows are out of date. */
async function resetStore({ outbox, reject, onStale, onEntriesLost }: TakeoverOptions): Promise<void> {
  onStale()
  // The sequences that a reset uses up must not make the store look newer if the reset fails.
  assertCommitted(await outbox.markUnleased())
  if (outbox.lastSeq > 0) {
    // Completes after every commit that is in progress.
    assertCommitted(await outbox.raiseSeq(outbox.lastSeq + 1))
    for (const [shard, seq] of firstCriticalSeqs(outbox)) assertCommitted(await reject(shard, seq))
  }
  onEntriesLost(await outbox.reset())
}

/** The first critical entry of each shard. */
function firstCriticalSeqs(outbox: Outbox): ReadonlyMap<string, number> {
  const firstSeqs = new Map<string, number>()
  for (let after = 0; ;) {
    const entries = outbox.read(after, PAGE_ENTRIES, PAGE_BYTES)
    for (const { shard, critical, seq } of entries) if (critical && !firstSeqs.has(shard)) firstSeqs.set(shard, seq)
    const last = entries.at(-1)
    if (!last) return firstSeqs
    after = last.seq
  }
}
