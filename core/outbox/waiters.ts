// The callers that wait until MySQL has an outbox entry: critical commits, and openings and reloads that need the
// earlier entries of a shard flushed. Invariant: 'committed' is returned only for a turn of this store that MySQL has.

import type { Outcome } from '../ports/store.ts'

interface EntryWaiter {
  readonly seq: number
  /** `contract/key` */
  readonly shard: string
  /** True = a commit, which receives 'refused' when MySQL refuses it; others wait until the turn was taken back. */
  readonly isCommit: boolean
  readonly resolve: (outcome: Outcome) => void
}

/** Maximum number of shards whose last rejection is recorded for commits that start to wait later. */
const MAX_REJECTED_SHARDS = 1_000

export class EntryWaiters {
  readonly #waiters = new Set<EntryWaiter>()
  readonly #rejected = new Map<string, { readonly from: number; readonly to: number }>()
  #appliedSeq = 0
  /** Sequences up to here were used before a reset of the store: the outcome of their turns is unknown. */
  #staleSeq = 0
  #endCause: Error | null = null

  get size(): number {
    return this.#waiters.size
  }

  /** Returns the outcome of a turn, without a promise when it is known. */
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

  /** MySQL refused this turn. Returns false when no commit waits for it. */
  resolveRefused(seq: number, cause: Error): boolean {
    return this.#resolveMatching(
      (waiter) => waiter.seq === seq && waiter.isCommit,
      () => ({ kind: 'refused', cause, seq }),
    )
  }

  /** The turns `from`..`to` of a shard were taken back. */
  resolveRejected(shard: string, from: number, to: number): void {
    this.#rejected.delete(shard)
    this.#rejected.set(shard, { from, to })
    if (this.#rejected.size > MAX_REJECTED_SHARDS) this.#rejected.delete(this.#rejected.keys().next().value!)
    this.#resolveMatching(
      (waiter) => waiter.shard === shard && waiter.seq >= from,
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

  /** The flusher has ended: every outcome stays unknown. */
  resolveAll(cause: Error): void {
    this.#endCause ??= cause
    this.#resolveMatching(
      () => true,
      () => ({ kind: 'unknown', cause }),
    )
  }

  #resolveMatching(isMatch: (waiter: EntryWaiter) => boolean, outcome: (waiter: EntryWaiter) => Outcome): boolean {
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
  return new Error('the store was stale: another store has flushed to MySQL since')
}

function rejectedError(shard: string): Error {
  return new Error(`${shard}: the turn was taken back together with one that MySQL refused`)
}
