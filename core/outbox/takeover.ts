// How an owner's flusher gets its lease, and what it then believes of its own store. `applied` belongs to the outbox
// of one store, so it says nothing about the entries of another:
//
//   the lease says          | this store                         | so
//   ------------------------+------------------------------------+-----------------------------------------------
//   nothing was applied     | any                                | all entries are still to be flushed
//   ours, applied <= trust  | the one that MySQL knows           | entries up to `applied` are there: dropped
//   ours, applied > trust   | an older copy of it (a backup)     | stale: reset, then raised to `applied`
//   another's, applied > 0  | fresh: no sequence was ever used   | raised to `applied`
//   another's, applied > 0  | entry 1 waits: it had no lease yet | refused: an operator joined two games; nothing
//                           |                                    | is touched here or there
//   another's, applied > 0  | entries, or rows loaded earlier    | stale: reset, then raised to `applied`
//
// `trust` is the highest sequence that was used before the first turn of a life without the lease, and before a reset was
// begun: a stale store that runs on while MySQL is away, or dies half emptied, must not pass for the newer one.
//
// Entries under another's lease are never given new numbers and flushed: they were computed from rows that the other
// store has been free to change since. A stale store's unacknowledged turns are taken back first, with their marks,
// or a client that asks again would be told that they are done; then come the acknowledged ones, which are reported.
//
// MySQL notes the new store together with the new epoch, so an answer that is lost must not make another's `applied`
// ours: while the lease is another's it is taken in that one's name, and in ours only once this store holds nothing
// that could be mistaken. What is left: a third store that takes the lease and flushes between our reading and
// our taking it, of which the answer is then lost.

import type { Database, Lease } from '../ports/database.ts'
import type { Outcome } from '../ports/store.ts'
import { DatabaseError } from '../sql/client.ts'
import type { Outbox, OutboxEntry } from './localstore.ts'

/** This owner is served elsewhere, or cannot be served: its flusher is over, and so are its shards here. */
export class FencedError extends Error {
  override readonly name = 'FencedError'
}

export interface TakeoverOptions {
  readonly owner: string
  readonly database: Database
  readonly outbox: Outbox
  /** Looks at the lease as it is before it is taken; throws where it must not be. */
  readonly check: (lease: Lease) => void
  /** Takes back this turn of the shard (`contract/key`) and all later ones, where no engine does. */
  readonly reject: (shard: string, seq: number) => Promise<Outcome>
  /** The lease is held: no turn is made in doubt any more. */
  readonly onLeaseAcquired: () => void
  /** Told before the store is emptied: what waits will not be known, and nothing may be committed. */
  readonly onStale: () => void
  /** Told at once, with what was acknowledged and will not be in MySQL. */
  readonly onEntriesLost: (entries: readonly OutboxEntry[]) => void
}

const NO_LEASE: Lease = { epoch: 0, appliedSeq: 0, storeId: '' }
const PAGE_ENTRIES = 500
const PAGE_BYTES = 1_048_576
/** Each try needs another store that takes the lease at the same moment. */
const MAX_TRIES = 3
/** @throws FencedError, DatabaseError, or what the store says */
export async function takeOver(options: TakeoverOptions): Promise<{ epoch: number; applied: number }> {
  const { owner, database, outbox } = options
  const currentLease = (await database.lease(owner)) ?? NO_LEASE
  options.check(currentLease)
  assertNoConflict(options, currentLease)
  const lease = await raiseEpoch(options, currentLease)
  assertNoConflict(options, lease)
  const { appliedSeq } = lease
  if (!isOfOtherStore(outbox, lease)) {
    if (outbox.leasedSeq >= appliedSeq) {
      assertCommitted(await outbox.drop(appliedSeq))
      // So that entry 1 tells what was written before there was ever a lease.
      if (outbox.lastSeq === 0) assertCommitted(await outbox.raiseSeq(1))
      await leaseAcquired(options)
      return { epoch: lease.epoch, applied: appliedSeq }
    }
    await resetStore(options)
    assertCommitted(await outbox.raiseSeq(appliedSeq))
    await leaseAcquired(options)
    return { epoch: lease.epoch, applied: appliedSeq }
  }
  await resetStore(options)
  assertCommitted(await outbox.raiseSeq(appliedSeq))
  const ownLease = await database.takeover(owner, outbox.storeId)
  if (ownLease.appliedSeq === appliedSeq) {
    await leaseAcquired(options)
    return { epoch: ownLease.epoch, applied: appliedSeq }
  }
  throw new DatabaseError('unavailable', `${owner}: another store flushed during the takeover`)
}

/** Turns that were made in doubt are the next; none is from here on. Before anything is flushed. */
async function leaseAcquired({ outbox, onLeaseAcquired: onHeld }: TakeoverOptions): Promise<void> {
  onHeld()
  assertCommitted(await outbox.markLeased())
}

/** What was never flushed has met what another store flushed: neither may be overwritten. @throws FencedError */
function assertNoConflict({ owner, outbox }: TakeoverOptions, lease: Lease): void {
  if (!isOfOtherStore(outbox, lease) || outbox.read(0, 1, 1)[0]?.seq !== 1) return
  const conflict = `MySQL holds ${lease.appliedSeq} turns of another store (${lease.storeId})`
  throw new FencedError(
    `${owner}: ${conflict}, and this one (${outbox.storeId}) has rows that MySQL never saw: ` +
      'start with an empty data directory or an empty database',
  )
}

/** @throws what the store says */
export function assertCommitted(outcome: Outcome): void {
  if (outcome.kind === 'committed') return
  throw outcome.cause instanceof Error
    ? outcome.cause
    : new Error(`the store answered ${outcome.kind}`, { cause: outcome.cause })
}

/** Raises the epoch in the name of the store to which `appliedSeq` belongs, which the returned lease says. */
async function raiseEpoch({ owner, database, outbox }: TakeoverOptions, currentLease: Lease): Promise<Lease> {
  let before = currentLease
  let writtenStoreId = currentLease.storeId
  for (let i = 0; i < MAX_TRIES; i++) {
    const name = storeIdFor(outbox, before)
    const lease = await database.takeover(owner, name)
    const actualLease = lease.storeId === writtenStoreId ? { ...lease, storeId: before.storeId } : lease
    if (storeIdFor(outbox, actualLease) === name) return actualLease
    before = actualLease
    writtenStoreId = name
  }
  throw new DatabaseError('unavailable', `${owner}: other stores take it over all the time`)
}

function storeIdFor(outbox: Outbox, lease: Lease): string {
  return isOfOtherStore(outbox, lease) ? lease.storeId : outbox.storeId
}

function isOfOtherStore({ storeId }: Outbox, lease: Lease): boolean {
  return lease.storeId !== storeId && lease.appliedSeq > 0
}

/** Nothing is left of what this store believed to know of MySQL's rows. */
async function resetStore({
  outbox,
  reject,
  onStale,
  onEntriesLost: onLost,
}: TakeoverOptions): Promise<void> {
  onStale()
  // What is used up here must not make it look newer, should it end before it is empty.
  assertCommitted(await outbox.markUnleased())
  if (outbox.lastSeq > 0) {
    // Behind every commit that is on its way.
    assertCommitted(await outbox.raiseSeq(outbox.lastSeq + 1))
    const firstCriticalSeqs = new Map<string, number>()
    for (let after = 0; ;) {
      const entries = outbox.read(after, PAGE_ENTRIES, PAGE_BYTES)
      for (const { shard, critical, seq } of entries)
        if (critical && !firstCriticalSeqs.has(shard)) firstCriticalSeqs.set(shard, seq)
      const last = entries.at(-1)
      if (!last) break
      after = last.seq
    }
    for (const [shard, seq] of firstCriticalSeqs) assertCommitted(await reject(shard, seq))
  }
  onLost(await outbox.reset())
}
