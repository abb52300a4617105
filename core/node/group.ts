// Group commit of one slot file. All jobs that are ready in one turn of the event loop go into one transaction, then
// one asynchronous sync, and only then they are settled; while it is under way the next batch gathers. Invariant: a
// job that is settled as committed is durable, and one that failed left no trace.

import type { Clock, Log, Outcome, Timer } from '../run/ports.ts'
import { COMMITTED } from '../run/ports.ts'
import { explain, StoreError } from './fault.ts'
import type { Fdatasync, SlotFile } from './slotfile.ts'

/** Jobs and bytes of one transaction: it runs inside the event loop, some 10 us a write set. */
const BATCH = 1_024
const BATCH_BYTES = 4_194_304
/** What may wait for a slow disk; beyond it commits fail, so that memory does not. */
const MAX_QUEUED = 16_384
const MAX_QUEUED_BYTES = 67_108_864
/** Frames in the WAL (4 KiB each) after which they are copied into the database file. */
const CHECKPOINT_FRAMES = 1_000
/** Old channels are looked for a page at a time, in a batch that is written anyway. */
const PRUNE_MS = 10_000
const PRUNE_ROWS = 500
/** Dropped outbox rows leave with a batch that is written anyway, or after this; and so many at a time. */
const CLEAR_MS = 1_000
const CLEAR_ROWS = 2_000

export interface GroupOptions {
  readonly clock: Clock
  readonly log: Log
  readonly fdatasync: Fdatasync
  /** Runs a batch soon, once the event in hand is done. */
  readonly defer: (run: () => void) => void
  /** A batch is durable, and all of it is settled. */
  readonly onSynced: () => void
}

export interface Job {
  /** Whose opening waits for it; '' = nobody's. */
  readonly shard: string
  /** 0 = taken however much waits. */
  readonly bytes: number
  /** Its part of the transaction: what it throws takes back this part alone. null = it waits for all before it. */
  readonly apply: (() => void) | null
  readonly settle: (outcome: Outcome) => void
}

export class Group {
  readonly #file: SlotFile
  readonly #options: GroupOptions
  readonly #queue: Job[] = []
  #queuedBytes = 0
  /** Committed in SQLite, not yet known to be on disk. */
  #syncing: Job[] = []
  /** A sync or a checkpoint is under way: nothing may be written. */
  #busy = false
  #scheduled = false
  #checkpointAt = CHECKPOINT_FRAMES
  #pruneMs: number
  #clearing: Timer | null = null
  #durableSeq: number
  #over: StoreError | null = null

  constructor(file: SlotFile, options: GroupOptions) {
    this.#file = file
    this.#options = options
    this.#durableSeq = file.rows.outbox.seq
    this.#pruneMs = options.clock.mono()
  }

  /** Why the file is closed; after an error of the disk it can be opened anew. */
  get over(): StoreError | null {
    return this.#over
  }

  /** Jobs that wait for their end. */
  get backlog(): number {
    return this.#queue.length + this.#syncing.length
  }

  /** Outbox entries above it may be lost with the power. */
  get durableSeq(): number {
    return this.#durableSeq
  }

  isUnsettled(shard: string): boolean {
    return this.#queue.some((job) => job.shard === shard) || this.#syncing.some((job) => job.shard === shard)
  }

  push(job: Job): void {
    if (this.#over) return job.settle({ kind: 'failed', cause: this.#over })
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
  run(shard: string, bytes: number, apply: () => void): Promise<Outcome> {
    return new Promise((settle) => this.push({ shard, bytes, apply, settle }))
  }

  /** Resolves when everything before it is settled, well or not. @throws StoreError when the slot is over */
  async barrier(): Promise<void> {
    confirm(await new Promise((settle) => this.push({ shard: '', bytes: 0, apply: null, settle })))
  }

  /** Dropped outbox rows leave soon: if nothing else is written, in a transaction of their own without a sync. */
  clearLater(): void {
    if (this.#clearing || !this.#file.rows.outbox.littered) return
    this.#clearing = this.#options.clock.after(CLEAR_MS, () => {
      this.#clearing = null
      if (this.#file.rows.outbox.littered && !this.#over) void this.barrier().catch(() => {})
    })
  }

  /** Waits for everything that was asked before, then copies the WAL into the file and closes it. */
  async close(): Promise<void> {
    const { outbox } = this.#file.rows
    // A file that says that nothing waits for MySQL spares the next start a look there.
    if (outbox.littered && !this.#over) await this.barrier().catch(() => {})
    while ((this.backlog > 0 || this.#busy) && !this.#over) await this.barrier().catch(() => {})
    if (this.#over) return
    this.#over = new StoreError('CLOSED', `${this.#file.path} is closed`)
    this.#clearing?.cancel()
    this.#file.close()
  }

  /** Once whatever else is ready in this turn of the event loop has come too. */
  #schedule(): void {
    if (this.#scheduled || this.#busy || this.#queue.length === 0) return
    this.#scheduled = true
    this.#options.defer(() => {
      this.#scheduled = false
      if (!this.#over) this.#flush()
    })
  }

  #flush(): void {
    const batch = this.#take()
    let written: Job[]
    try {
      written = this.#transact(batch)
    } catch (cause) {
      return this.#failed(batch, cause)
    }
    if (!written.some(({ apply }) => apply !== null)) return this.#settle(written)
    const { seq } = this.#file.rows.outbox
    this.#syncing = written
    this.#busy = true
    this.#file.sync(this.#options.fdatasync, (error) => {
      this.#syncing = []
      this.#busy = false
      if (error) return this.#lost(written, error)
      this.#durableSeq = seq
      this.#mayCheckpoint()
      this.#settle(written)
      this.#options.onSynced()
    })
  }

  #take(): Job[] {
    let count = 0
    let bytes = 0
    while (count < this.#queue.length && count < BATCH && bytes < BATCH_BYTES)
      bytes += this.#queue[count++]!.bytes
    this.#queuedBytes -= bytes
    return this.#queue.splice(0, count)
  }

  /** One transaction; returns the jobs that are in it. A job that fails is taken back by itself. */
  #transact(batch: readonly Job[]): Job[] {
    const written: Job[] = []
    this.#file.begin()
    for (const job of batch) {
      const failure = job.apply && this.#file.isolate(job.apply)
      if (failure) job.settle({ kind: 'failed', cause: failure.cause })
      else written.push(job)
    }
    this.#prune()
    this.#clear()
    this.#file.commit()
    return written
  }

  #prune(): void {
    const { clock } = this.#options
    if (clock.mono() - this.#pruneMs < PRUNE_MS) return
    this.#pruneMs = clock.mono()
    const failure = this.#file.isolate(() => this.#file.prune(clock.now(), PRUNE_ROWS))
    if (failure) this.#untidy('old channels could not be pruned', failure)
  }

  #clear(): void {
    const { outbox } = this.#file.rows
    if (!outbox.littered) return
    const failure = this.#file.single(() => outbox.clear(CLEAR_ROWS, true))
    if (failure) this.#untidy('dropped outbox entries could not be deleted', failure)
    this.clearLater()
  }

  #untidy(what: string, { cause }: { readonly cause: unknown }): void {
    this.#options.log.error(what, { path: this.#file.path, cause })
  }

  /** After a batch that was synced, when the WAL has grown long; the acknowledgements go first. */
  #mayCheckpoint(): void {
    const { defer, fdatasync, log } = this.#options
    const { path } = this.#file
    if (this.#file.frames < this.#checkpointAt) return
    this.#busy = true
    const end = (): void => {
      this.#busy = false
      this.#schedule()
    }
    defer(() => {
      try {
        this.#file.checkpoint(fdatasync, (error) => (error ? this.#end(explain(error, path)) : end()))
        this.#checkpointAt = CHECKPOINT_FRAMES
      } catch (cause) {
        // Nothing is lost: it is tried again when the WAL has grown by as much again.
        this.#checkpointAt += CHECKPOINT_FRAMES
        log.error('a checkpoint failed; the -wal file keeps its rows', { path, cause })
        end()
      }
    })
  }

  #settle(done: readonly Job[]): void {
    for (const { settle } of done) settle(COMMITTED)
    this.#schedule()
  }

  /** The kernel may have dropped what it could not write: nobody knows how much of this batch will be there. */
  #lost(batch: readonly Job[], error: Error): void {
    const cause = explain(error, this.#file.path)
    this.#end(cause)
    for (const { settle } of batch) settle({ kind: 'unknown', cause })
  }

  /** The transaction as a whole did not commit. */
  #failed(batch: readonly Job[], error: unknown): void {
    const cause = explain(error, this.#file.path)
    // After a failed write the disk may hold the whole transaction nevertheless.
    const unknown = cause instanceof StoreError && cause.code === 'DISK'
    let clean = !unknown
    try {
      this.#file.rollback()
    } catch {
      clean = false
    }
    if (clean) this.#schedule()
    else this.#end(cause)
    for (const { apply, settle } of batch) {
      // One that only waits asks that everything before it is settled, well or not.
      if (apply === null && !this.#over) settle(COMMITTED)
      else settle({ kind: unknown ? 'unknown' : 'failed', cause })
    }
  }

  /** Opening the file anew syncs whatever is in it, before anyone reads it. */
  #end(cause: unknown): void {
    const { log } = this.#options
    const { path } = this.#file
    log.error('the disk failed; the slot is closed and will be opened anew', { path, cause })
    const over = cause instanceof StoreError ? cause : new StoreError('DISK', `${path} failed`, { cause })
    this.#over = over
    this.#clearing?.cancel()
    for (const { settle } of this.#queue.splice(0)) settle({ kind: 'failed', cause: over })
    try {
      this.#file.close()
    } catch (error) {
      log.error('a slot file could not be closed', { path, cause: error })
    }
  }
}

/** @throws what kept it from being committed */
export function confirm(outcome: Outcome): void {
  if (outcome.kind !== 'committed') throw outcome.cause
}
