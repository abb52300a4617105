// Who waits for an outbox entry to be in MySQL: critical commits, and those who need a shard's entries out of the way.
// Invariant: 'committed' is said of a turn of this store only, and only when MySQL has it.

import type { Outcome } from '../ports/store.ts'

interface EntryWaiter {
  readonly seq: number
  /** `contract/key` */
  readonly shard: string
  /** A commit, whose engine is told that MySQL refused it; others only wait until it is gone. */
  readonly isCommit: boolean
  readonly resolve: (outcome: Outcome) => void
}

/** Shards of which it is known what was taken back last: commits of those turns may still come to wait. */
const MAX_REJECTED_SHARDS = 1_000

export class EntryWaiters {
  readonly #waiters = new Set<EntryWaiter>()
  readonly #rejected = new Map<string, { readonly from: number; readonly to: number }>()
  #appliedSeq = 0
  /** Sequences up to here were used before the store was emptied: nobody knows of their turns. */
  #staleSeq = 0
  #endCause: Error | null = null

  get size(): number {
    return this.#waiters.size
  }

  /** What becomes of a turn; an outcome at once where it is known. */
  wait(seq: number, shard: string, isCommit: boolean): Outcome | Promise<Outcome> {
    if (this.#endCause) return { kind: 'unknown', cause: this.#endCause }
    if (seq <= this.#staleSeq) return { kind: 'unknown', cause: staleStoreError() }
    if (this.isRejected(seq, shard)) return { kind: 'failed', cause: rejectedError(shard) }
    if (seq <= this.#appliedSeq) return { kind: 'committed', seq }
    return new Promise((resolve) => this.#waiters.add({ seq, shard, isCommit, resolve }))
  }

  /** MySQL has everything up to this sequence. */
  resolveApplied(upTo: number): void {
    this.#appliedSeq = upTo
    this.#resolveMatching(
      ({ seq }) => seq <= upTo,
      ({ seq }) => ({ kind: 'committed', seq }),
    )
  }

  /** MySQL will not take this turn. False where no commit waits for it. */
  resolveRefused(seq: number, cause: Error): boolean {
    return this.#resolveMatching(
      (one) => one.seq === seq && one.isCommit,
      () => ({ kind: 'refused', cause, seq }),
    )
  }

  /** These turns of a shard were taken back. */
  resolveRejected(shard: string, from: number, to: number): void {
    this.#rejected.delete(shard)
    this.#rejected.set(shard, { from, to })
    if (this.#rejected.size > MAX_REJECTED_SHARDS) this.#rejected.delete(this.#rejected.keys().next().value!)
    this.#resolveMatching(
      (one) => one.shard === shard && one.seq >= from,
      () => ({ kind: 'failed', cause: rejectedError(shard) }),
    )
  }

  isRejected(seq: number, shard: string): boolean {
    const range = this.#rejected.get(shard)
    return range !== undefined && range.from <= seq && seq <= range.to
  }

  /** The store is being emptied of turns up to this sequence. */
  resolveStale(upTo: number): void {
    this.#staleSeq = upTo
    this.#resolveMatching(
      ({ seq }) => seq <= upTo,
      () => ({ kind: 'unknown', cause: staleStoreError() }),
    )
  }

  /** Nobody will ever know from here. */
  resolveAll(cause: Error): void {
    this.#endCause ??= cause
    this.#resolveMatching(
      () => true,
      () => ({ kind: 'unknown', cause }),
    )
  }

  #resolveMatching(
    isMatch: (waiter: EntryWaiter) => boolean,
    outcome: (waiter: EntryWaiter) => Outcome,
  ): boolean {
    let isAnyResolved = false
    for (const waiter of this.#waiters) {
      if (!isMatch(waiter)) continue
      isAnyResolved = true
      this.#waiters.delete(waiter)
      waiter.resolve(outcome(waiter))
    }
    return isAnyResolved
  }
}

function staleStoreError(): Error {
  return new Error('the store was stale: MySQL had gone on without it')
}

function rejectedError(shard: string): Error {
  return new Error(`${shard}: the turn was taken back together with one that MySQL refused`)
}
