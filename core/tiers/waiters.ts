// Who waits for an outbox entry to be in MySQL: critical commits, and those who need a shard's entries out of the way.
// Invariant: 'committed' is said of a turn of this store only, and only when MySQL has it.

import type { Outcome } from '../run/ports.ts'

interface Waiter {
  readonly seq: number
  /** `contract/key` */
  readonly shard: string
  /** A commit, whose engine is told that MySQL refused it; others only wait until it is gone. */
  readonly isCommit: boolean
  readonly resolve: (outcome: Outcome) => void
}

/** Shards of which it is known what was taken back last: commits of those turns may still come to wait. */
const MAX_REJECTED = 1_000

export class Waiters {
  readonly #waiters = new Set<Waiter>()
  readonly #rejected = new Map<string, { readonly from: number; readonly to: number }>()
  #applied = 0
  /** Sequences up to here were used before the store was emptied: nobody knows of their turns. */
  #void = 0
  #over: Error | null = null

  get size(): number {
    return this.#waiters.size
  }

  /** What becomes of a turn; an outcome at once where it is known. */
  wait(seq: number, shard: string, isCommit: boolean): Outcome | Promise<Outcome> {
    if (this.#over) return { kind: 'unknown', cause: this.#over }
    if (seq <= this.#void) return { kind: 'unknown', cause: stale() }
    if (this.isRejected(seq, shard)) return { kind: 'failed', cause: takenBack(shard) }
    if (seq <= this.#applied) return { kind: 'committed', seq }
    return new Promise((resolve) => this.#waiters.add({ seq, shard, isCommit, resolve }))
  }

  /** MySQL has everything up to this sequence. */
  applied(upTo: number): void {
    this.#applied = upTo
    this.#end(
      ({ seq }) => seq <= upTo,
      ({ seq }) => ({ kind: 'committed', seq }),
    )
  }

  /** MySQL will not take this turn. False where no commit waits for it. */
  refused(seq: number, cause: Error): boolean {
    return this.#end(
      (one) => one.seq === seq && one.isCommit,
      () => ({ kind: 'refused', cause, seq }),
    )
  }

  /** These turns of a shard were taken back. */
  rejected(shard: string, from: number, to: number): void {
    this.#rejected.delete(shard)
    this.#rejected.set(shard, { from, to })
    if (this.#rejected.size > MAX_REJECTED) this.#rejected.delete(this.#rejected.keys().next().value!)
    this.#end(
      (one) => one.shard === shard && one.seq >= from,
      () => ({ kind: 'failed', cause: takenBack(shard) }),
    )
  }

  isRejected(seq: number, shard: string): boolean {
    const range = this.#rejected.get(shard)
    return range !== undefined && range.from <= seq && seq <= range.to
  }

  /** The store is being emptied of turns up to this sequence. */
  stale(upTo: number): void {
    this.#void = upTo
    this.#end(
      ({ seq }) => seq <= upTo,
      () => ({ kind: 'unknown', cause: stale() }),
    )
  }

  /** Nobody will ever know from here. */
  end(cause: Error): void {
    this.#over ??= cause
    this.#end(
      () => true,
      () => ({ kind: 'unknown', cause }),
    )
  }

  #end(which: (waiter: Waiter) => boolean, outcome: (waiter: Waiter) => Outcome): boolean {
    let any = false
    for (const waiter of this.#waiters) {
      if (!which(waiter)) continue
      any = true
      this.#waiters.delete(waiter)
      waiter.resolve(outcome(waiter))
    }
    return any
  }
}

function stale(): Error {
  return new Error('the store was stale: MySQL had gone on without it')
}

function takenBack(shard: string): Error {
  return new Error(`${shard}: the turn was taken back together with one that MySQL refused`)
}
