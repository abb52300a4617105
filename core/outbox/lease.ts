// The lease of one owner: acquires it, sends batches under it, and decides what a rejected fence means. A batch whose
// outcome is unknown is sent again unchanged. Its `firstSeq` is one above the sequence that MySQL is known to have, so
// of all attempts that may still arrive, the first one that is applied fences off the others.

import type { Batch, Lease } from '../ports/database.ts'
import type { Log } from '../ports/log.ts'
import { DatabaseError } from '../sql/client.ts'
import type { BuiltBatch } from './batch.ts'
import { FencedError, takeOver, type TakeoverOptions } from './takeover.ts'

export interface LeaseHolderOptions extends Omit<TakeoverOptions, 'checkLease' | 'onLeaseAcquired'> {
  readonly log: Log
}

/**
 * 'never': not held in this process yet. 'marked': the same, and the outbox has recorded it. 'held': batches may be
 * applied. 'lost': held before; it must be acquired again.
 */
type LeaseState = 'never' | 'marked' | 'held' | 'lost'

/** Maximum number of takeovers of this store that may arrive late between two batches. */
const MAX_LATE_TAKEOVERS = 5

export class LeaseHolder {
  readonly #options: LeaseHolderOptions
  #state: LeaseState = 'never'
  #epoch = 0
  /** Takeovers that arrived late: of this process, or of an earlier one with the same store. */
  #lateTakeovers = 0
  /** An attempt with an unknown outcome may still arrive. */
  #hasUnknownOutcome = false

  constructor(options: LeaseHolderOptions) {
    this.#options = options
  }

  /** false = it must be acquired, or acquired again. */
  get hasLease(): boolean {
    return this.#state === 'held'
  }

  /** Called before a turn is committed. Without the lease it is unknown whether this store is the newest. */
  markUnleased(): void {
    if (this.#state !== 'never') return
    this.#state = 'marked'
    const { outbox, log, owner } = this.#options
    void Promise.resolve(outbox.markUnleased()).then((outcome) => {
      if (outcome.kind === 'committed') return
      log.error('the outbox could not record turns without a lease', { owner, cause: String(outcome.cause) })
    })
  }

  /** Returns the highest sequence of this store that MySQL has. @throws FencedError, DatabaseError */
  async acquire(): Promise<number> {
    const { epoch, applied } = await takeOver({
      ...this.#options,
      checkLease: (lease) => {
        if (this.#epoch !== 0 && lease.epoch !== this.#epoch) this.#assertOwnTakeover(lease)
      },
      onLeaseAcquired: () => (this.#state = 'lost'),
    })
    this.#epoch = epoch
    this.#state = 'held'
    this.#hasUnknownOutcome = false
    return applied
  }

  /**
   * Applies one transaction. Returns 'applied', the error with which MySQL refused the data, or null when the lease
   * must be acquired again first. `isRefusal` decides whether an error is a refusal.
   * @throws FencedError, DatabaseError when the outcome is unknown
   */
  async applyBatch(
    { hi, contents }: { readonly hi: number; readonly contents: BuiltBatch['contents'] },
    applied: number,
    isRefusal: (error: DatabaseError) => Promise<boolean>,
  ): Promise<'applied' | DatabaseError | null> {
    const { owner, database } = this.#options
    const batch = { owner, epoch: this.#epoch, firstSeq: applied + 1, lastSeq: hi, ...contents }
    try {
      if ((await database.apply(batch)) === 'fenced' && !(await this.#wasApplied(batch))) return this.#dropLease()
    } catch (error) {
      if (!(error instanceof DatabaseError && (await isRefusal(error)))) {
        this.#hasUnknownOutcome = true
        throw error
      }
      // An earlier attempt may still arrive and be applied. A new epoch excludes it, and shows whether it was.
      return this.#hasUnknownOutcome ? this.#dropLease() : error
    }
    this.#hasUnknownOutcome = false
    this.#lateTakeovers = 0
    return 'applied'
  }

  #dropLease(): null {
    this.#state = 'lost'
    return null
  }

  /** true = MySQL has an earlier attempt; false = a takeover of this store arrived late. */
  async #wasApplied({ owner, firstSeq, lastSeq }: Batch): Promise<boolean> {
    const lease = await this.#options.database.lease(owner)
    if (!lease) throw new FencedError(`${owner}: its row is missing in firefly_owner`)
    if (lease.epoch !== this.#epoch) {
      this.#assertOwnTakeover(lease)
      return false
    }
    if (lease.appliedSeq >= lastSeq) return true
    throw new FencedError(
      `${owner}: fence ${firstSeq}..${lastSeq} did not match applied_seq ${lease.appliedSeq}, which no attempt of ` +
        'this process can have set: a bug, or another program changed firefly_owner',
    )
  }

  /** One process at a time opens a store, so a takeover with the id of this store can only be a late one of its own. */
  #assertOwnTakeover({ epoch, storeId }: Lease): void {
    const { owner, outbox } = this.#options
    if (epoch > this.#epoch && storeId === outbox.storeId && this.#lateTakeovers++ < MAX_LATE_TAKEOVERS) return
    throw new FencedError(
      `${owner} was taken over by store ${storeId}: its epoch is ${epoch}, the epoch of this process was ${this.#epoch}`,
    )
  }
}
