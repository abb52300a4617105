// Group commit of one slot file. All jobs that are ready in one turn of the event loop go into one transaction, then
// one asynchronous sync, and only then they are settled; while it is under way the next batch gathers. Invariant: a
// job that is settled as committed is durable, and one that failed left no trace.

import type { Clock, Timer } from '../ports/clock.ts'
import type { Log } from '../ports/log.ts'
import type { Outcome } from '../ports/store.ts'
import { COMMITTED } from '../ports/store.ts'
import { toStoreError, StoreError } from './storeerror.ts'
import type { Fdatasync, SlotFile } from './slotfile.ts'

/** Jobs and bytes of one transaction: it runs inside the event loop, some 10 us a write set. */
const MAX_BATCH_JOBS = 1_024
const MAX_BATCH_BYTES = 4_194_304
/** What may wait for a slow disk; beyond it commits fail, so that memory does not. */
const MAX_QUEUED = 16_384
const MAX_QUEUED_BYTES = 67_108_864
/** Frames in the WAL (4 KiB each) after which they are copied into the database file. */
const CHECKPOINT_FRAMES = 1_000
/** Old channels are looked for a page at a time, in a batch that is written anyway. */
const PRUNE_INTERVAL_MS = 10_000
const PRUNE_ROWS = 500
/** Dropped outbox rows leave with a batch that is written anyway, or after this; and so many at a time. */
const CLEANUP_DELAY_MS = 1_000
const CLEANUP_ROWS = 2_000

export interface GroupCommitOptions {
  readonly clock: Clock
  readonly log: Log
  readonly fdatasync: Fdatasync
  /** Runs a batch soon, once the event in hand is done. */
  readonly defer: (run: () => void) => void
  /** A batch is durable, and all of it is settled. */
  readonly onSynced: () => void
}

export interface CommitJob {
  /** Whose opening waits for it; '' = nobody's. */
  readonly shard: string
  /** 0 = taken however much waits. */
  readonly bytes: number
  /** Its part of the transaction: what it throws takes back this part alone. null = it waits for all before it. */
  readonly apply: (() => void) | null
  readonly settle: (outcome: Outcome) => void
}

export class GroupCommit {
  readonly #file: SlotFile
  readonly #options: GroupCommitOptions
  readonly #queue: CommitJob[] = []
  #queuedBytes = 0
  /** Committed in SQLite, not yet known to be on disk. */
  #syncing: CommitJob[] = []
  /** A sync or a checkpoint is under way: nothing may be written. */
  #isSyncing = false
  #isScheduled = false
  #checkpointFrames = CHECKPOINT_FRAMES
  #lastPruneMs: number
  #cleanupTimer: Timer | null = null
  #durableSeq: number
  #closedError: StoreError | null = null

  constructor(file: SlotFile, options: GroupCommitOptions) {
    this.#file = file
    this.#options = options
    this.#durableSeq = file.rows.outbox.lastSeq
    this.#lastPruneMs = options.clock.mono()
  }

  /** Why the file is closed; after an error of the disk it can be opened anew. */
  get closedError(): StoreError | null {
    return this.#closedError
  }

  /** Jobs that wait for their end. */
  get pendingJobs(): number {
    return this.#queue.length + this.#syncing.length
  }

  /** Outbox entries above it may be lost with the power. */
  get durableSeq(): number {
    return this.#durableSeq
  }

  hasPendingCommits(shard: string): boolean {
    return this.#queue.some((job) => job.shard === shard) || this.#syncing.some((job) => job.shard === shard)
  }

  enqueue(job: CommitJob): void {
    if (this.#closedError) return job.settle({ kind: 'failed', cause: this.#closedError })
    if (job.bytes > MAX_QUEUED_BYTES) {
      const cause = `one turn writes ${job.bytes} bytes, more than ${MAX_QUEUED_BYTES}: split it into several`
      return job.settle({ kind: 'failed', cause: new StoreError('TOO_LARGE', cause) })
    }
    const { length } = this.#queue
    if (job.bytes > 0 && (length >= MAX_QUEUED || this.#queuedBytes + job.bytes > MAX_QUEUED_BYTES)) {
      const waiting = `${length} write sets of ${this.#queuedBytes} bytes wait for ${this.#file.path}`
      const cause = new StoreError('OVERLOADED', `${waiting}: its disk is too slow`)
      return job.settle({ kind: 'failed', cause })
    }
    this.#queue.push(job)
    this.#queuedBytes += job.bytes
    this.#schedule()
  }

  /** A part of the next transaction that no write set is. */
  enqueueChange(shard: string, bytes: number, apply: () => void): Promise<Outcome> {
    return new Promise((settle) => this.enqueue({ shard, bytes, apply, settle }))
  }

  /** Resolves when everything before it is settled, well or not. @throws StoreError when the slot is over */
  async barrier(): Promise<void> {
    assertCommitted(await new Promise((settle) => this.enqueue({ shard: '', bytes: 0, apply: null, settle })))
  }

  /** Dropped outbox rows leave soon: if nothing else is written, in a transaction of their own without a sync. */
  scheduleCleanup(): void {
    if (this.#cleanupTimer || !this.#file.rows.outbox.hasRowsToDelete) return
    this.#cleanupTimer = this.#options.clock.after(CLEANUP_DELAY_MS, () => {
      this.#cleanupTimer = null
      if (this.#file.rows.outbox.hasRowsToDelete && !this.#closedError) void this.barrier().catch(() => {})
    })
  }

  /** Waits for everything that was asked before, then copies the WAL into the file and closes it. */
  async drainAndClose(): Promise<void> {
    const { outbox } = this.#file.rows
    // A file that says that nothing waits for MySQL spares the next start a look there.
    if (outbox.hasRowsToDelete && !this.#closedError) await this.barrier().catch(() => {})
    while ((this.pendingJobs > 0 || this.#isSyncing) && !this.#closedError)
      await this.barrier().catch(() => {})
    if (this.#closedError) return
    this.#closedError = new StoreError('CLOSED', `${this.#file.path} is closed`)
    this.#cleanupTimer?.cancel()
    this.#file.closeFile()
  }

  /** Once whatever else is ready in this turn of the event loop has come too. */
  #schedule(): void {
    if (this.#isScheduled || this.#isSyncing || this.#queue.length === 0) return
    this.#isScheduled = true
    this.#options.defer(() => {
      this.#isScheduled = false
      if (!this.#closedError) this.#flush()
    })
  }

  #flush(): void {
    const batch = this.#takeBatch()
    let written: CommitJob[]
    try {
      written = this.#transact(batch)
    } catch (cause) {
      return this.#transactionFailed(batch, cause)
    }
    if (!written.some(({ apply }) => apply !== null)) return this.#settleCommitted(written)
    const { lastSeq: seq } = this.#file.rows.outbox
    this.#syncing = written
    this.#isSyncing = true
    this.#file.sync(this.#options.fdatasync, (error) => {
      this.#syncing = []
      this.#isSyncing = false
      if (error) return this.#syncFailed(written, error)
      this.#durableSeq = seq
      this.#checkpointIfDue()
      this.#settleCommitted(written)
      this.#options.onSynced()
    })
  }

  #takeBatch(): CommitJob[] {
    let count = 0
    let bytes = 0
    while (count < this.#queue.length && count < MAX_BATCH_JOBS && bytes < MAX_BATCH_BYTES)
      bytes += this.#queue[count++]!.bytes
    this.#queuedBytes -= bytes
    return this.#queue.splice(0, count)
  }

  /** One transaction; returns the jobs that are in it. A job that fails is taken back by itself. */
  #transact(batch: readonly CommitJob[]): CommitJob[] {
    const written: CommitJob[] = []
    this.#file.begin()
    for (const job of batch) {
      const failure = job.apply && this.#file.runInSavepoint(job.apply)
      if (failure) job.settle({ kind: 'failed', cause: failure.cause })
      else written.push(job)
    }
    this.#pruneIfDue()
    this.#deleteDroppedEntries()
    this.#file.commit()
    return written
  }

  #pruneIfDue(): void {
    const { clock } = this.#options
    if (clock.mono() - this.#lastPruneMs < PRUNE_INTERVAL_MS) return
    this.#lastPruneMs = clock.mono()
    const failure = this.#file.runInSavepoint(() => this.#file.pruneChannels(clock.now(), PRUNE_ROWS))
    if (failure) this.#cleanupFailed('old channels could not be pruned', failure)
  }

  #deleteDroppedEntries(): void {
    const { outbox } = this.#file.rows
    if (!outbox.hasRowsToDelete) return
    const failure = this.#file.runStatement(() => outbox.deleteDropped(CLEANUP_ROWS, true))
    if (failure) this.#cleanupFailed('dropped outbox entries could not be deleted', failure)
    this.scheduleCleanup()
  }

  #cleanupFailed(what: string, { cause }: { readonly cause: unknown }): void {
    this.#options.log.error(what, { path: this.#file.path, cause })
  }

  /** After a batch that was synced, when the WAL has grown long; the acknowledgements go first. */
  #checkpointIfDue(): void {
    const { defer, fdatasync, log } = this.#options
    const { path } = this.#file
    if (this.#file.walFrames < this.#checkpointFrames) return
    this.#isSyncing = true
    const finish = (): void => {
      this.#isSyncing = false
      this.#schedule()
    }
    defer(() => {
      try {
        this.#file.checkpoint(fdatasync, (error) =>
          error ? this.#closeAfterError(toStoreError(error, path)) : finish(),
        )
        this.#checkpointFrames = CHECKPOINT_FRAMES
      } catch (cause) {
        // Nothing is lost: it is tried again when the WAL has grown by as much again.
        this.#checkpointFrames += CHECKPOINT_FRAMES
        log.error('a checkpoint failed; the -wal file keeps its rows', { path, cause })
        finish()
      }
    })
  }

  #settleCommitted(jobs: readonly CommitJob[]): void {
    for (const { settle } of jobs) settle(COMMITTED)
    this.#schedule()
  }

  /** The kernel may have dropped what it could not write: nobody knows how much of this batch will be there. */
  #syncFailed(batch: readonly CommitJob[], error: Error): void {
    const cause = toStoreError(error, this.#file.path)
    this.#closeAfterError(cause)
    for (const { settle } of batch) settle({ kind: 'unknown', cause })
  }

  /** The transaction as a whole did not commit. */
  #transactionFailed(batch: readonly CommitJob[], error: unknown): void {
    const cause = toStoreError(error, this.#file.path)
    // After a failed write the disk may hold the whole transaction nevertheless.
    const isUnknown = cause instanceof StoreError && cause.code === 'DISK'
    let isRolledBack = !isUnknown
    try {
      this.#file.rollback()
    } catch {
      isRolledBack = false
    }
    if (isRolledBack) this.#schedule()
    else this.#closeAfterError(cause)
    for (const { apply, settle } of batch) {
      // One that only waits asks that everything before it is settled, well or not.
      if (apply === null && !this.#closedError) settle(COMMITTED)
      else settle({ kind: isUnknown ? 'unknown' : 'failed', cause })
    }
  }

  /** Opening the file anew syncs whatever is in it, before anyone reads it. */
  #closeAfterError(cause: unknown): void {
    const { log } = this.#options
    const { path } = this.#file
    log.error('the disk failed; the slot is closed and will be opened anew', { path, cause })
    const closedError =
      cause instanceof StoreError ? cause : new StoreError('DISK', `${path} failed`, { cause })
    this.#closedError = closedError
    this.#cleanupTimer?.cancel()
    for (const { settle } of this.#queue.splice(0)) settle({ kind: 'failed', cause: closedError })
    try {
      this.#file.closeFile()
    } catch (error) {
      log.error('a slot file could not be closed', { path, cause: error })
    }
  }
}

/** @throws what kept it from being committed */
export function assertCommitted(outcome: Outcome): void {
  if (outcome.kind !== 'committed') throw outcome.cause
}
