// The lease of one owner as its flusher holds it: takes it, sends under it, and knows what a fence means that did not
// match. A batch whose outcome is unknown is sent again as it was. Its `lo` is one above what MySQL is known to have:
// so of all tries that may still be on their way the first that arrives closes the fence to the others.

import type { Batch, Lease } from '../ports/database.ts'
import { DatabaseError } from '../sql/client.ts'
import type { BuiltBatch } from './batch.ts'
import { FencedError, takeOver, type TakeoverOptions } from './takeover.ts'

/** Takeovers in the name of our own store that come between two of our batches. */
const MAX_LATE_TAKEOVERS = 5

export class LeaseHolder {
  readonly #options: Omit<TakeoverOptions, 'check'>
  #hasLease = false
  #epoch = 0
  /** How often a takeover came late that was ours, or of an earlier life of this process. */
  #lateTakeovers = 0
  /** A try of unknown outcome may still be on its way. */
  #hasUnknownOutcome = false

  constructor(options: Omit<TakeoverOptions, 'check'>) {
    this.#options = options
  }

  /** false: it is to be taken, or taken once more. */
  get hasLease(): boolean {
    return this.#hasLease
  }

  /** Returns the highest sequence of this store that MySQL has. @throws FencedError, DatabaseError */
  async acquire(): Promise<number> {
    const check = (lease: Lease): void => {
      if (this.#epoch !== 0 && lease.epoch !== this.#epoch) this.#assertOwnTakeover(lease)
    }
    const { epoch, applied } = await takeOver({ ...this.#options, check })
    this.#epoch = epoch
    this.#hasLease = true
    this.#hasUnknownOutcome = false
    return applied
  }

  /**
   * One transaction: 'applied' once MySQL has it, an error when it refuses the data, null when the lease is to be
   * taken once more before anything is known. @throws FencedError, DatabaseError where the outcome is unknown
   */
  async applyBatch(
    { hi, contents }: { readonly hi: number; readonly contents: BuiltBatch['contents'] },
    applied: number,
  ): Promise<'applied' | DatabaseError | null> {
    const { owner, database } = this.#options
    const batch = { owner, epoch: this.#epoch, firstSeq: applied + 1, lastSeq: hi, ...contents }
    try {
      if ((await database.apply(batch)) === 'fenced' && !(await this.#wasApplied(batch)))
        return this.#dropLease()
    } catch (error) {
      if (!(error instanceof DatabaseError && error.kind === 'refused')) {
        this.#hasUnknownOutcome = true
        throw error
      }
      // An earlier try may still arrive and be taken. A new epoch shuts it out, and says whether it was.
      return this.#hasUnknownOutcome ? this.#dropLease() : error
    }
    this.#hasUnknownOutcome = false
    this.#lateTakeovers = 0
    return 'applied'
  }

  #dropLease(): null {
    this.#hasLease = false
    return null
  }

  /** true = an earlier try is in MySQL; false = a takeover in our name came late. */
  async #wasApplied({ owner, firstSeq: lo, lastSeq: hi }: Batch): Promise<boolean> {
    const lease = await this.#options.database.lease(owner)
    if (!lease) throw new FencedError(`${owner}: its row is gone from firefly_owner`)
    if (lease.epoch !== this.#epoch) {
      this.#assertOwnTakeover(lease)
      return false
    }
    if (lease.appliedSeq >= hi) return true
    const what = `fence ${lo}..${hi} did not match applied_seq ${lease.appliedSeq}`
    throw new FencedError(`${owner}: ${what}, which no try of ours can have left: a bug, or a foreign hand`)
  }

  /** One process at a time has a store open, so a takeover in our store's name is nobody else's: it came late. */
  #assertOwnTakeover({ epoch, storeId }: Lease): void {
    const { owner, outbox } = this.#options
    if (epoch > this.#epoch && storeId === outbox.storeId && this.#lateTakeovers++ < MAX_LATE_TAKEOVERS)
      return
    throw new FencedError(
      `${owner} was taken over by store ${storeId}: its epoch is ${epoch}, ours was ${this.#epoch}`,
    )
  }
}
