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

import type { Database, Lease, Outcome } from '../run/ports.ts'
import { DatabaseError } from './client.ts'
import type { Outbox, OutboxEntry } from './local.ts'

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
  readonly onHeld: () => void
  /** Told before the store is emptied: what waits will not be known, and nothing may be committed. */
  readonly onStale: () => void
  /** Told at once, with what was acknowledged and will not be in MySQL. */
  readonly onLost: (entries: readonly OutboxEntry[]) => void
}

const NOBODY: Lease = { epoch: 0, appliedSeq: 0, storeId: '' }
const PAGE = 500
const PAGE_BYTES = 1_048_576
/** Each try needs another store that takes the lease at the same moment. */
const TRIES = 3
/** @throws FencedError, DatabaseError, or what the store says */
export async function takeOver(options: TakeoverOptions): Promise<{ epoch: number; applied: number }> {
  const { owner, database, outbox } = options
  const seen = (await database.lease(owner)) ?? NOBODY
  options.check(seen)
  refuse(options, seen)
  const lease = await claim(options, seen)
  refuse(options, lease)
  const { appliedSeq } = lease
  if (!isForeign(outbox, lease)) {
    if (outbox.trusted >= appliedSeq) {
      confirm(await outbox.drop(appliedSeq))
      // So that entry 1 tells what was written before there was ever a lease.
      if (outbox.seq === 0) confirm(await outbox.raise(1))
      await held(options)
      return { epoch: lease.epoch, applied: appliedSeq }
    }
    await empty(options)
    confirm(await outbox.raise(appliedSeq))
    await held(options)
    return { epoch: lease.epoch, applied: appliedSeq }
  }
  await empty(options)
  confirm(await outbox.raise(appliedSeq))
  const own = await database.takeover(owner, outbox.storeId)
  if (own.appliedSeq === appliedSeq) {
    await held(options)
    return { epoch: own.epoch, applied: appliedSeq }
  }
  throw new DatabaseError('unavailable', `${owner}: another store flushed during the takeover`)
}

/** Turns that were made in doubt are the next; none is from here on. Before anything is flushed. */
async function held({ outbox, onHeld }: TakeoverOptions): Promise<void> {
  onHeld()
  confirm(await outbox.trust())
}

/** What was never flushed has met what another store flushed: neither may be overwritten. @throws FencedError */
function refuse({ owner, outbox }: TakeoverOptions, lease: Lease): void {
  if (!isForeign(outbox, lease) || outbox.read(0, 1, 1)[0]?.seq !== 1) return
  const theirs = `MySQL holds ${lease.appliedSeq} turns of another store (${lease.storeId})`
  throw new FencedError(
    `${owner}: ${theirs}, and this one (${outbox.storeId}) has rows that MySQL never saw: ` +
      'start with an empty data directory or an empty database',
  )
}

/** @throws what the store says */
export function confirm(outcome: Outcome): void {
  if (outcome.kind === 'committed') return
  throw outcome.cause instanceof Error
    ? outcome.cause
    : new Error(`the store answered ${outcome.kind}`, { cause: outcome.cause })
}

/** Raises the epoch in the name of the store to which `appliedSeq` belongs, which the returned lease says. */
async function claim({ owner, database, outbox }: TakeoverOptions, seen: Lease): Promise<Lease> {
  let before = seen
  let written = seen.storeId
  for (let i = 0; i < TRIES; i++) {
    const name = nameFor(outbox, before)
    const lease = await database.takeover(owner, name)
    const truth = lease.storeId === written ? { ...lease, storeId: before.storeId } : lease
    if (nameFor(outbox, truth) === name) return truth
    before = truth
    written = name
  }
  throw new DatabaseError('unavailable', `${owner}: other stores take it over all the time`)
}

function nameFor(outbox: Outbox, lease: Lease): string {
  return isForeign(outbox, lease) ? lease.storeId : outbox.storeId
}

function isForeign({ storeId }: Outbox, lease: Lease): boolean {
  return lease.storeId !== storeId && lease.appliedSeq > 0
}

/** Nothing is left of what this store believed to know of MySQL's rows. */
async function empty({ outbox, reject, onStale, onLost }: TakeoverOptions): Promise<void> {
  onStale()
  // What is used up here must not make it look newer, should it end before it is empty.
  confirm(await outbox.doubt())
  if (outbox.seq > 0) {
    // Behind every commit that is on its way.
    confirm(await outbox.raise(outbox.seq + 1))
    const unacknowledged = new Map<string, number>()
    for (let after = 0; ;) {
      const entries = outbox.read(after, PAGE, PAGE_BYTES)
      for (const { shard, critical, seq } of entries)
        if (critical && !unacknowledged.has(shard)) unacknowledged.set(shard, seq)
      const last = entries.at(-1)
      if (!last) break
      after = last.seq
    }
    for (const [shard, seq] of unacknowledged) confirm(await reject(shard, seq))
  }
  onLost(await outbox.reset())
}
