// Group commit of one slot file: all jobs that are ready in one event-loop turn share one transaction and one
// asynchronous sync, after which they are settled. Jobs that arrive meanwhile form the next batch. Invariant: a job
// settled as committed is durable, and a failed job changed nothing.
//
//   idle      -> scheduled   a job is queued
//   scheduled -> writing     its deferred batch runs: transaction, sync, then a checkpoint if one is due
//   writing   -> idle        the batch (and its checkpoint) ended; then scheduled again if jobs are queued
//   any       -> closed      drainAndClose, or an error of the disk

import { assertCommitted } from '../outbox/takeover.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import type { Log } from '../ports/log.ts'
import { COMMITTED, type Outcome } from '../ports/store.ts'
import type { Fdatasync, SlotFile } from './slotfile.ts'
import { toStoreError, StoreError } from './storeerror.ts'

/** Bounds of one transaction, which blocks the event loop for about 10 us per write set. */
const MAX_BATCH_JOBS = 1_024
const MAX_BATCH_BYTES = 4_194_304
/** Bounds of the queue: if the disk is too slow, commits fail before memory runs out. */
const MAX_QUEUED = 16_384
const MAX_QUEUED_BYTES = 67_108_864
/** WAL frames (4 KiB each) after which a checkpoint copies them into the database file. */
const CHECKPOINT_FRAMES = 1_000
/** Old channels are pruned one page at a time, in a batch that is written anyway. */
const PRUNE_INTERVAL_MS = 10_000
const PRUNE_ROWS = 500
/** Dropped outbox rows are deleted with the next batch, or after this delay, a bounded number per batch. */
const CLEANUP_DELAY_MS = 1_000
const CLEANUP_ROWS = 2_000

export interface GroupCommitOptions {
  readonly clock: Clock
  readonly log: Log
  readonly fdatasync: Fdatasync
  /** Runs a batch soon, after the current event. */
  readonly defer: (run: () => void) => void
  /** Called when a batch is durable and all its jobs are settled. */
  readonly onSynced: () => void
}

export interface CommitJob {
  /** The shard whose `open` waits for this job; '' = none. */
  readonly shard: string
  /** 0 = accepted even if the queue is full. */
  readonly bytes: number
  /** Its part of the transaction; if it throws, only this part is rolled back. null = a barrier without changes. */
  readonly apply: (() => void) | null
  readonly settle: (outcome: Outcome) => void
}

type CommitState = 'idle' | 'scheduled' | 'writing' | 'closed'

export class GroupCommit {
  readonly #file: SlotFile
  readonly #options: GroupCommitOptions
  readonly #queue: CommitJob[] = []
  #queuedBytes = 0
  /** Jobs that SQLite committed, before their sync has completed. */
  #syncing: CommitJob[] = []
  #state: CommitState = 'idle'
  #checkpointFrames = CHECKPOINT_FRAMES
  #lastPruneMs: number
  #cleanupTimer: Timer | null = null
  #durableSeq: number
  /** Set in state 'closed'. */
  #closedError: StoreError | null = null

  constructor(file: SlotFile, options: GroupCommitOptions) {
    this.#file = file
    this.#options = options
    this.#durableSeq = file.rows.outbox.lastSeq
    this.#lastPruneMs = options.clock.mono()
  }

  /** Why the file is closed, null = it is open. After an error of the disk it can be reopened. */
  get closedError(): StoreError | null {
    return this.#closedError
  }

  /** Jobs that are not settled yet. */
  get pendingJobs(): number {
    return this.#queue.length + this.#syncing.length
  }

  /** The highest outbox sequence that survives a power failure. */
  get durableSeq(): number {
    return this.#durableSeq
  }

  hasPendingCommits(shard: string): boolean {
    return this.#queue.some((job) => job.shard === shard) || this.#syncing.some((job) => job.shard === shard)
  }

  enqueue(job: CommitJob): void {
    if (this.#closedError) return job.settle({ kind: 'failed', cause: this.#closedError })
    if (job.bytes > MAX_QUEUED_BYTES) {
      const cause = `a turn writes ${job.bytes} bytes, which exceeds ${MAX_QUEUED_BYTES}: split it into several`
      return job.settle({ kind: 'failed', cause: new StoreError('TOO_LARGE', cause) })
    }
    const { length } = this.#queue
    if (job.bytes > 0 && (length >= MAX_QUEUED || this.#queuedBytes + job.bytes > MAX_QUEUED_BYTES)) {
      const queue = `${length} write sets of ${this.#queuedBytes} bytes are queued for ${this.#file.path}`
      return job.settle({ kind: 'failed', cause: new StoreError('OVERLOADED', `${queue}: its disk is too slow`) })
    }
    this.#queue.push(job)
    this.#queuedBytes += job.bytes
    this.#schedule()
  }

  /** Queues a change that is not a write set of a turn. */
  enqueueChange(shard: string, bytes: number, apply: () => void): Promise<Outcome> {
    return new Promise((settle) => this.enqueue({ shard, bytes, apply, settle }))
  }

  /** Resolves when all earlier jobs are settled, committed or not. @throws StoreError when the slot is closed */
  async barrier(): Promise<void> {
    assertCommitted(await new Promise((settle) => this.enqueue({ shard: '', bytes: 0, apply: null, settle })))
  }

  /** Deletes dropped outbox rows soon; if no other job is queued, in a transaction of their own without a sync. */
  scheduleCleanup(): void {
    if (this.#cleanupTimer || !this.#file.rows.outbox.hasRowsToDelete) return
    this.#cleanupTimer = this.#options.clock.after(CLEANUP_DELAY_MS, () => {
      this.#cleanupTimer = null
      if (this.#file.rows.outbox.hasRowsToDelete && !this.#closedError) void this.barrier().catch(() => {})
    })
  }

  /** Waits for all earlier jobs, then copies the WAL into the file and closes it. */
  async drainAndClose(): Promise<void> {
    const { outbox } = this.#file.rows
    // Without rows left in the outbox, the next start need not contact MySQL for this file.
    if (outbox.hasRowsToDelete && !this.#closedError) await this.barrier().catch(() => {})
    while ((this.pendingJobs > 0 || this.#state === 'writing') && !this.#closedError)
      await this.barrier().catch(() => {})
    if (this.#closedError) return
    this.#close(new StoreError('CLOSED', `${this.#file.path} is closed`))
    this.#file.closeFile()
  }

  /** Deferred, so that the batch includes all jobs of this event-loop turn. */
  #schedule(): void {
    if (this.#state !== 'idle' || this.#queue.length === 0) return
    this.#state = 'scheduled'
    this.#options.defer(() => {
      if (this.#state === 'scheduled') this.#writeBatch()
    })
  }

  #close(error: StoreError): void {
    this.#state = 'closed'
    this.#closedError = error
    this.#cleanupTimer?.cancel()
  }

  #writeBatch(): void {
    this.#state = 'writing'
    const batch = this.#takeBatch()
    let written: CommitJob[]
    try {
      written = this.#transact(batch)
    } catch (cause) {
      return this.#transactionFailed(batch, cause)
    }
    if (!written.some(({ apply }) => apply !== null)) {
      this.#state = 'idle'
      return this.#settleCommitted(written)
    }
    const { lastSeq: seq } = this.#file.rows.outbox
    this.#syncing = written
    this.#file.sync(this.#options.fdatasync, (error) => {
      this.#syncing = []
      if (error) return this.#syncFailed(written, error)
      this.#durableSeq = seq
      // Deferred, so that the acknowledgements are sent first.
      if (this.#file.walFrames >= this.#checkpointFrames) this.#options.defer(() => this.#checkpoint())
      else this.#state = 'idle'
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

  /** Runs one transaction and returns the jobs in it. A job that fails is rolled back alone. */
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

  #cleanupFailed(message: string, { cause }: { readonly cause: unknown }): void {
    this.#options.log.error(message, { path: this.#file.path, cause })
  }

  #checkpoint(): void {
    const { fdatasync, log } = this.#options
    const { path } = this.#file
    const finish = (): void => {
      this.#state = 'idle'
      this.#schedule()
    }
    try {
      this.#file.checkpoint(fdatasync, (error) => (error ? this.#closeAfterError(toStoreError(error, path)) : finish()))
      this.#checkpointFrames = CHECKPOINT_FRAMES
    } catch (cause) {
      // Nothing is lost. Retried after as many more frames.
      this.#checkpointFrames += CHECKPOINT_FRAMES
      log.error('a checkpoint failed; its rows stay in the -wal file', { path, cause })
      finish()
    }
  }

  #settleCommitted(jobs: readonly CommitJob[]): void {
    for (const { settle } of jobs) settle(COMMITTED)
    this.#schedule()
  }

  /** The kernel may have dropped pages that it could not write, so the outcome of this batch is unknown. */
  #syncFailed(batch: readonly CommitJob[], error: Error): void {
    const cause = toStoreError(error, this.#file.path)
    this.#closeAfterError(cause)
    for (const { settle } of batch) settle({ kind: 'unknown', cause })
  }

  /** The whole transaction did not commit. */
  #transactionFailed(batch: readonly CommitJob[], error: unknown): void {
    const cause = toStoreError(error, this.#file.path)
    // After a failed write the disk may nevertheless hold the whole transaction.
    const isUnknown = cause instanceof StoreError && cause.code === 'DISK'
    let isRolledBack = !isUnknown
    try {
      this.#file.rollback()
    } catch {
      isRolledBack = false
    }
    if (isRolledBack) {
      this.#state = 'idle'
      this.#schedule()
    } else this.#closeAfterError(cause)
    for (const { apply, settle } of batch) {
      // A barrier only requires that all earlier jobs are settled.
      if (apply === null && !this.#closedError) settle(COMMITTED)
      else settle({ kind: isUnknown ? 'unknown' : 'failed', cause })
    }
  }

  /** Reopening syncs the contents of the file before they are read. */
  #closeAfterError(cause: unknown): void {
    const { log } = this.#options
    const { path } = this.#file
    log.error('the disk failed; the slot is closed and will be reopened', { path, cause })
    const closedError = cause instanceof StoreError ? cause : new StoreError('DISK', `${path} failed`, { cause })
    this.#close(closedError)
    for (const { settle } of this.#queue.splice(0)) settle({ kind: 'failed', cause: closedError })
    try {
      this.#file.closeFile()
    } catch (error) {
      log.error('a slot file could not be closed', { path, cause: error })
    }
  }
}
