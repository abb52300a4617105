// One slot's group commit. All write sets that are ready in one turn of the event loop go into one transaction, then
// one asynchronous sync, and only then their promises resolve; while it is under way the next batch gathers.
// Invariant: what was acknowledged is durable, what failed left no trace, and nothing that was computed from a failed
// write set is ever stored.

import type { Awaitable, Clock, Log, Outcome, Stored, StoredChannel, WriteSet } from '../run/ports.ts'
import { COMMITTED } from '../run/ports.ts'
import { TIMES } from '../wire/limits.ts'
import { explain, StoreError } from './fault.ts'
import { SlotFile, type Fdatasync } from './slotfile.ts'

/** Write sets and bytes of one transaction: it runs inside the event loop, some 10 us a write set. */
const BATCH = 1_024
const BATCH_BYTES = 4_194_304
/** What may wait for a slow disk; beyond it commits fail, so that memory does not. */
const MAX_QUEUED = 16_384
const MAX_QUEUED_BYTES = 67_108_864
/** Frames in the WAL (4 KiB each) after which they are copied into the database file. */
const CHECKPOINT_FRAMES = 1_000
/** Activation numbers reserved by one durable write, and how few are left when the next block is fetched. */
const NUMBERS = 1_000
const FEW_NUMBERS = 250
const LAST_NUMBER = 4_294_967_295
/** Old channels are looked for a page at a time, in a batch that is written anyway. */
const PRUNE_MS = 10_000
const PRUNE_ROWS = 500

export interface SlotOptions {
  readonly path: string
  readonly clock: Clock
  readonly log: Log
  readonly fdatasync: Fdatasync
  /** Runs a batch soon, once the event in hand is done. */
  readonly defer: (run: () => void) => void
  /** Shard to activation: its commits fail, because one before them did. Outlives a slot that must be reopened. */
  readonly fences: Map<string, number>
  /** A commit that changed durable timers is durable. */
  readonly onTimers: (write: WriteSet) => void
}

interface Job {
  /** 'barrier' writes nothing and ends after everything before it; 'numbers' reserves a block. */
  readonly write: WriteSet | 'barrier' | 'numbers'
  readonly shard: string
  readonly bytes: number
  readonly settle: (outcome: Outcome) => void
}

export class Slot {
  readonly #options: SlotOptions
  readonly #file: SlotFile
  readonly #queue: Job[] = []
  #queuedBytes = 0
  /** Committed in SQLite, not yet known to be on disk. */
  #syncing: Job[] = []
  /** A sync or a checkpoint is under way: nothing may be written. */
  #busy = false
  #scheduled = false
  #checkpointAt = CHECKPOINT_FRAMES
  #pruneMs: number
  /** Why this object is of no more use. */
  #over: StoreError | null = null
  /** The last activation number handed out, and the last that may be. */
  #number: number
  #reserved: number
  #reserving: Promise<void> | null = null

  /** @throws StoreError */
  constructor(options: SlotOptions) {
    this.#options = options
    this.#file = new SlotFile(options.path)
    this.#reserved = this.#number = this.#read(() => this.#file.reserved())
    this.#pruneMs = options.clock.mono()
  }

  /** The file was closed after an error of the disk and can be opened anew. */
  get over(): boolean {
    return this.#over !== null
  }

  /** Write sets that wait for their commit. */
  get backlog(): number {
    return this.#queue.length + this.#syncing.length
  }

  /** The next durable timer of each shard that has one. */
  wakes(): { readonly shard: string; readonly dueMs: number }[] {
    return this.#read(() => this.#file.wakes())
  }

  /** Waits for the commits of this shard only. @throws StoreError, at once or by its promise */
  open(shard: string): Awaitable<Stored> {
    if (this.#isUnsettled(shard)) return this.#ask('barrier').then(() => this.open(shard))
    if (this.#number >= this.#reserved) return this.#reserve().then(() => this.open(shard))
    return this.#read(() => {
      const rows = this.#file.load(shard)
      const activation = ++this.#number
      // The next block in good time; when that fails, the activation that finds none left says so.
      if (this.#reserved - activation < FEW_NUMBERS) this.#reserve().catch(() => {})
      this.#options.fences.delete(shard)
      return { activation, ...rows }
    })
  }

  /** @throws StoreError, at once or by its promise */
  channel(shard: string, id: string): Awaitable<StoredChannel | null> {
    if (this.#isUnsettled(shard)) return this.#ask('barrier').then(() => this.channel(shard, id))
    return this.#read(() => this.#file.channel(shard, id))
  }

  commit(shard: string, write: WriteSet): Promise<Outcome> {
    return new Promise((settle) => this.#push({ write, shard, bytes: weigh(write), settle }))
  }

  /** Waits for everything that was asked before, then copies the WAL into the file and closes it. */
  async close(): Promise<void> {
    while ((this.backlog > 0 || this.#busy) && !this.#over) await this.#ask('barrier').catch(() => {})
    if (this.#over) return
    this.#over = new StoreError('CLOSED', `${this.#options.path} is closed`)
    this.#file.close()
  }

  #read<T>(run: () => T): T {
    if (this.#over) throw this.#over
    try {
      return run()
    } catch (cause) {
      throw explain(cause, this.#options.path)
    }
  }

  #isUnsettled(shard: string): boolean {
    return this.#queue.some((job) => job.shard === shard) || this.#syncing.some((job) => job.shard === shard)
  }

  #reserve(): Promise<void> {
    this.#reserving ??= this.#ask('numbers').finally(() => (this.#reserving = null))
    return this.#reserving
  }

  #ask(write: 'barrier' | 'numbers'): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (outcome: Outcome): void =>
        outcome.kind === 'committed' ? resolve() : reject(outcome.cause)
      this.#push({ write, shard: '', bytes: 0, settle })
    })
  }

  #push(job: Job): void {
    if (this.#over) return this.#refuse(job, 'failed', this.#over)
    const { length } = this.#queue
    if (
      typeof job.write === 'object' &&
      (length >= MAX_QUEUED || this.#queuedBytes + job.bytes > MAX_QUEUED_BYTES)
    ) {
      const waiting = `${length} write sets of ${this.#queuedBytes} bytes wait for ${this.#options.path}`
      return this.#refuse(job, 'failed', new StoreError('OVERLOADED', `${waiting}: its disk is too slow`))
    }
    this.#queue.push(job)
    this.#queuedBytes += job.bytes
    this.#schedule()
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
    if (!written.some(({ write }) => write !== 'barrier')) return this.#synced(written)
    this.#syncing = written
    this.#busy = true
    this.#file.sync(this.#options.fdatasync, (error) => {
      this.#syncing = []
      this.#busy = false
      if (error) return this.#lost(written, error)
      this.#mayCheckpoint()
      this.#synced(written)
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
      const failure = job.write === 'barrier' ? null : this.#file.isolate(() => this.#apply(job))
      if (failure) this.#refuse(job, 'failed', failure.cause)
      else written.push(job)
    }
    this.#prune()
    this.#file.commit()
    return written
  }

  #apply({ write, shard }: Job): void {
    if (write === 'barrier') return
    if (write === 'numbers') {
      if (this.#reserved < LAST_NUMBER)
        return this.#file.reserve(Math.min(this.#reserved + NUMBERS, LAST_NUMBER))
      throw new StoreError('NUMBERS', `${this.#options.path} has used all ${LAST_NUMBER} activation numbers`)
    }
    if (write.activation <= (this.#options.fences.get(shard) ?? 0)) {
      throw new StoreError(
        'SUPERSEDED',
        `${shard}: an earlier commit of activation ${write.activation} failed`,
      )
    }
    this.#file.apply(shard, write)
  }

  #prune(): void {
    const { clock, log, path } = this.#options
    if (clock.mono() - this.#pruneMs < PRUNE_MS) return
    this.#pruneMs = clock.mono()
    const failure = this.#file.isolate(() => this.#file.prune(clock.now() - TIMES.keepMarksMs, PRUNE_ROWS))
    if (failure) log.error('old channels could not be pruned', { path, cause: failure.cause })
  }

  /** After a batch that was synced, when the WAL has grown long; the acknowledgements go first. */
  #mayCheckpoint(): void {
    const { defer, fdatasync, log, path } = this.#options
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

  #synced(done: readonly Job[]): void {
    for (const { write, settle } of done) {
      if (write === 'numbers') this.#reserved = Math.min(this.#reserved + NUMBERS, LAST_NUMBER)
      settle(COMMITTED)
      if (typeof write === 'object' && write.timers) this.#options.onTimers(write)
    }
    this.#schedule()
  }

  /** The kernel may have dropped what it could not write: nobody knows how much of this batch will be there. */
  #lost(batch: readonly Job[], error: Error): void {
    const cause = explain(error, this.#options.path)
    this.#end(cause)
    for (const job of batch) this.#refuse(job, 'unknown', cause)
  }

  /** The transaction as a whole did not commit. */
  #failed(batch: readonly Job[], error: unknown): void {
    const cause = explain(error, this.#options.path)
    // After a failed write the disk may hold the whole transaction nevertheless.
    const unknown = cause instanceof StoreError && cause.code === 'DISK'
    let clean = !unknown
    try {
      if (this.#file.inTransaction) this.#file.rollback()
    } catch {
      clean = false
    }
    if (clean) this.#schedule()
    else this.#end(cause)
    for (const job of batch) this.#refuse(job, unknown ? 'unknown' : 'failed', cause)
  }

  #refuse({ write, shard, settle }: Job, kind: 'failed' | 'unknown', cause: unknown): void {
    // A barrier asks only that everything before it is settled, well or not.
    if (write === 'barrier' && !this.#over) return settle(COMMITTED)
    if (typeof write === 'object') {
      const { fences } = this.#options
      fences.set(shard, Math.max(fences.get(shard) ?? 0, write.activation))
    }
    settle({ kind, cause })
  }

  /** Opening the file anew syncs whatever is in it, before anyone reads it. */
  #end(cause: unknown): void {
    const { path, log } = this.#options
    log.error('the disk failed; the slot is closed and will be opened anew', { path, cause })
    this.#over = cause instanceof StoreError ? cause : new StoreError('DISK', `${path} failed`, { cause })
    for (const job of this.#queue.splice(0)) this.#refuse(job, 'failed', this.#over)
    try {
      this.#file.close()
    } catch (error) {
      log.error('a slot file could not be closed', { path, cause: error })
    }
  }
}

/** What a write set weighs in memory and in a transaction, nearly. */
function weigh({ kv, timers, channel, snapshot }: WriteSet): number {
  let bytes = (channel?.replies.length ?? 0) + (snapshot?.length ?? 0)
  if (kv) for (const value of kv.values()) bytes += value?.length ?? 0
  if (timers) for (const timer of timers.values()) bytes += timer?.data.length ?? 0
  return bytes
}
