// The flusher of one owner: sends the entries of its outbox to MySQL, one fenced transaction at a time, until another
// process takes the owner over. Invariant: MySQL has exactly the turns up to `appliedSeq`, complete and in order,
// except for parked turns; a commit is confirmed only after MySQL confirmed it; and entries are read only to be sent.

import type { Awaitable } from '../game/definition.ts'
import type { Outcome, RowChange } from '../ports/store.ts'
import { OutboxBacklog } from './backlog.ts'
import { FlushLog } from './flushlog.ts'
import type { BlockedTurn } from './batch.ts'
import { RefusalTracker } from './refusals.ts'
import { LeaseHolder } from './lease.ts'
import { CatchUpLimiter } from './catchup.ts'
import type { OutboxEntry } from './localstore.ts'
import { RetryBackoff } from './backoff.ts'
import { OwnerStatus } from './ownerstatus.ts'
import { assertCommitted, FencedError, type TakeoverOptions } from './takeover.ts'
import { EntryWaiters } from './waiters.ts'
import { BatchPlanner, type FlushAttempt, type BatchPlannerOptions } from './planner.ts'

export interface FlusherOptions
  extends Omit<BatchPlannerOptions, 'maxBatch' | 'maxBytes'>, Pick<TakeoverOptions, 'owner' | 'database' | 'reject'> {
  /** The store was stale and is empty now: all its activations must end. */
  readonly onStale?: () => void
  /** The flusher has ended: another process serves the owner, or it cannot be served. */
  readonly onFenced?: (cause: Error) => void
  /** Maximum delay of an entry for which no caller waits. */
  readonly flushMs?: number | undefined
  /** Maximum number of rows, and of entries, of one transaction; and of bytes. */
  readonly maxBatch?: number
  readonly maxBytes?: number
  /** Shared by the owners of a process. Default: one of its own. */
  readonly catchUpLimiter?: CatchUpLimiter
}

/** Metrics of one flusher. edge/node/metrics.ts derives the names of the process metrics from these keys. */
export interface FlusherMetrics extends Readonly<typeof NO_FLUSHES> {
  /** Number of waiting entries, and age of the oldest. */
  readonly depth: number
  readonly oldestMs: number
  /** Local turns whose rows MySQL refused, since the start. */
  readonly parked: number
  /** Tables to which nothing is sent for a while, because MySQL refuses every write to them. */
  readonly refusedTables: number
}

/**
 * What a flusher counts since its start. `refused`: critical turns that MySQL refused. `lost`: acknowledged turns of a
 * stale store that MySQL will never have.
 */
const NO_FLUSHES = { flushedRows: 0, flushedTurns: 0, transactions: 0, retries: 0, refused: 0, lost: 0, fenced: 0 }
const FLUSH_MS = 100
const MAX_BATCH = 500
const MAX_BYTES = 1_048_576
/** How long a refused turn waits for the engine of its shard to take it back; the whole owner waits with it. */
const REJECT_WAIT_MS = 5_000

export class Flusher {
  readonly status = new OwnerStatus()
  readonly #counters = { ...NO_FLUSHES }
  readonly #options: FlusherOptions
  readonly #flushMs: number
  readonly #maxBatch: number
  readonly #backlog = new OutboxBacklog()
  readonly #catchUpLimiter: CatchUpLimiter
  readonly #waiters = new EntryWaiters()
  readonly #backoff: RetryBackoff
  readonly #flushLog: FlushLog
  readonly #planner: BatchPlanner
  readonly #leaseHolder: LeaseHolder
  readonly #refusals: RefusalTracker
  /** null = not started. */
  #loop: Promise<void> | null = null
  #isStopping = false
  /** The outbox may have entries that `entryCommitted` did not report. */
  #mustCheckOutbox = false
  /** The parked turns of earlier processes were read. */
  #isParkedLoaded = false
  #appliedSeq = 0
  /** A transaction that is sent until its outcome is known. */
  #attempt: FlushAttempt | null = null
  #drainCallbacks: (() => void)[] = []
  #drops: Promise<void> = Promise.resolve()

  constructor(options: FlusherOptions) {
    const { owner, clock, log, flushMs = FLUSH_MS, maxBatch = MAX_BATCH, maxBytes = MAX_BYTES } = options
    this.#options = options
    this.#flushMs = flushMs
    this.#maxBatch = maxBatch
    this.#catchUpLimiter = options.catchUpLimiter ?? new CatchUpLimiter(clock, () => this.#backlog.depth)
    this.#backoff = new RetryBackoff(clock)
    this.#flushLog = new FlushLog(clock, log, owner)
    this.#refusals = new RefusalTracker(options, this.#flushLog)
    this.#planner = new BatchPlanner({ ...options, maxBatch, maxBytes }, this.#flushLog, this.#refusals)
    this.#leaseHolder = new LeaseHolder({
      ...options,
      onStale: () => {
        this.status.resetStarted()
        this.#waiters.resolveStale(Infinity)
      },
      onEntriesLost: (lostEntries) => this.#storeReset(lostEntries),
    })
  }

  /** MySQL is known to have everything up to this sequence. */
  get appliedSeq(): number {
    return this.#appliedSeq
  }
  get metrics(): FlusherMetrics {
    const oldestMs = this.#backlog.oldestMs(this.#options.clock.mono())
    const { parkedCount: parked } = this.#planner
    return { ...this.#counters, depth: this.#backlog.depth, oldestMs, parked, refusedTables: this.#refusals.tableCount }
  }

  /** Called before a turn is committed; see LeaseHolder. */
  markUnleased(): void {
    this.#leaseHolder.markUnleased()
  }

  /** Starts to acquire the lease and to flush. */
  start(): void {
    if (this.status.state !== 'ended') this.#loop ??= this.#runLoop()
  }

  whenReady(): Promise<void> {
    this.start()
    return this.status.whenReady()
  }

  whenAttempted(): Promise<void> {
    this.start()
    return this.status.whenAttempted()
  }

  /** Called when a turn was committed with this sequence. */
  entryCommitted(seq: number): void {
    const { clock } = this.#options
    this.#backlog.entryAdded(seq, clock.mono())
    if (this.#loop === null) return this.start()
    this.#backoff.wakeWithin('entries', this.#dueMs())
  }

  /** Called when the outbox may have entries that were not reported. */
  checkOutbox(): void {
    this.#mustCheckOutbox = true
    this.start()
    this.#backoff.wakeWithin('entries')
  }

  /** Resolves with the outcome of a critical turn of this shard (`contract/key`). */
  waitForCommit(seq: number, shard: string): Awaitable<Outcome> {
    return this.#waitForEntry(seq, shard, true)
  }

  /** Resolves when MySQL has the turn, or when it was taken back. */
  waitUntilSettled(seq: number, shard: string): Awaitable<Outcome> {
    return this.#waitForEntry(seq, shard, false)
  }

  #waitForEntry(seq: number, shard: string, isCommit: boolean): Awaitable<Outcome> {
    const outcome = this.#waiters.wait(seq, shard, isCommit)
    if (!(outcome instanceof Promise)) return outcome
    this.#backlog.markUrgent(seq)
    this.#catchUpLimiter.admitNow(this)
    this.entryCommitted(seq)
    this.#backoff.expedite()
    return outcome
  }

  /** The parked turn to which one of these rows belongs; null = none. */
  parkedSeqOfRows(rows: readonly Pick<RowChange, 'table' | 'key'>[]): number | null {
    return this.#planner.parkedSeqOfRows(rows)
  }

  /** Called when this turn of the shard and all later ones were taken back. */
  turnsRejected(shard: string, seq: number): void {
    this.#waiters.resolveRejected(shard, seq, this.#options.outbox.lastSeq)
    this.#backoff.wakeWithin('rejection')
  }

  /** Flushes without delay until the outbox is empty or the deadline. Returns the number of entries that are left. */
  async drain(deadlineMs: number): Promise<number> {
    const { outbox, clock } = this.#options
    const isIdle = this.#loop === null && outbox.read(this.#appliedSeq, 1, 1).length === 0
    if (isIdle || this.status.state === 'ended') return this.#backlog.depth
    this.start()
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = clock.after(deadlineMs, resolve)
    this.#drainCallbacks.push(resolve)
    this.#catchUpLimiter.admitNow(this)
    this.#backoff.expedite()
    await promise
    timer.cancel()
    this.#drainCallbacks = this.#drainCallbacks.filter((callback) => callback !== resolve)
    return this.#backlog.depth
  }

  /** Finishes the running transaction and ends. */
  async stop(): Promise<void> {
    this.#isStopping = true
    this.#catchUpLimiter.admitNow(this)
    this.#backoff.disable()
    await this.#loop
    this.#end(new Error(`the flusher of ${this.#options.owner} was stopped`))
    await this.#drops
  }

  async #runLoop(): Promise<void> {
    while (!this.#isStopping) {
      try {
        if (!this.#leaseHolder.hasLease || !this.#isParkedLoaded) await this.#acquireLease()
        else if (this.#isCatchingUp) await this.#catchUpLimiter.run(this, () => this.#flushNext())
        else await this.#flushNext()
      } catch (error) {
        if (error instanceof FencedError) return this.#endFenced(error)
        await this.#backOff(error)
      }
    }
  }

  async #acquireLease(): Promise<void> {
    const { database, outbox, owner } = this.#options
    const applied = await this.#leaseHolder.acquire().finally(() => {
      if (this.status.state === 'resetting') this.#waiters.resolveStale(outbox.lastSeq)
      this.status.resetFinished()
    })
    this.#databaseAnswered()
    this.#advance(applied)
    this.#mustCheckOutbox = true
    if (!this.#isParkedLoaded) this.#planner.restoreParked(await database.parkedTurns(owner))
    this.#isParkedLoaded = true
    this.status.leaseAcquired()
  }

  #storeReset(lostEntries: readonly OutboxEntry[]): void {
    const { owner, outbox, log, onStale } = this.#options
    this.#planner.storeReset(lostEntries)
    this.#counters.lost += lostEntries.length
    const message = 'an acknowledged turn is lost: another store has flushed to MySQL since'
    for (const { shard, seq } of lostEntries) this.#flushLog.logTurn(message, { shard, seq })
    if (outbox.lastSeq > 0) log.warn('the store was stale and has been emptied', { owner, lost: lostEntries.length })
    onStale?.()
  }

  /** True = the backlog exceeds one batch, and no caller waits for it. */
  get #isCatchingUp(): boolean {
    return this.#backlog.depth >= this.#maxBatch && this.#backlog.urgentSeq === 0 && this.#drainCallbacks.length === 0
  }

  async #flushNext(): Promise<void> {
    const { outbox, clock } = this.#options
    if (!this.#attempt) {
      if (this.#mustCheckOutbox) this.#backlog.entryAdded(outbox.lastSeq, clock.mono() - this.#flushMs)
      this.#mustCheckOutbox = false
      const waitMs = this.#dueMs()
      if (waitMs > 0) {
        if (this.#backlog.depth === 0) for (const drained of this.#drainCallbacks) drained()
        return this.#backoff.sleep('entries', waitMs)
      }
      const next = await this.#planner.nextAttempt(this.#appliedSeq)
      if (next === null) return this.#backlog.clear()
      if ('blocked' in next) return this.#rejectTurn(next)
      this.#attempt = next
    }
    await this.#sendAttempt(this.#attempt)
  }

  async #sendAttempt(attempt: FlushAttempt): Promise<void> {
    this.#counters.transactions++
    const result = await this.#leaseHolder.applyBatch(attempt, this.#appliedSeq, (error) =>
      this.#refusals.isRefusal(error),
    )
    this.#attempt = null
    this.#databaseAnswered()
    if (result === 'applied') {
      this.#counters.flushedRows += attempt.contents.rows.length
      this.#counters.flushedTurns += attempt.turnCount
      this.#refusals.applied(attempt.contents.rows.map(({ table }) => table.name))
      attempt.onApplied()
      this.#advance(attempt.hi)
    } else if (result !== null) {
      const blocked = attempt.onRefused(result)
      if (blocked) await this.#rejectTurn(blocked)
    }
  }

  /** MySQL has everything up to this sequence. */
  #advance(upTo: number): void {
    const { outbox, log, owner } = this.#options
    this.#appliedSeq = upTo
    this.#backlog.flushedUpTo(upTo)
    this.#waiters.resolveApplied(upTo)
    // Not awaited: an entry that was not dropped is skipped, and dropped after the next start.
    this.#drops = this.#drops
      .then(() => outbox.drop(upTo))
      .then(assertCommitted)
      .catch((error: unknown) => log.error('flushed entries could not be dropped', { owner, error: String(error) }))
  }

  /** Takes back a critical turn that MySQL refused: the engine of its shard does it, or else this flusher. */
  async #rejectTurn({ blocked: { seq, shard }, cause }: BlockedTurn): Promise<void> {
    this.#counters.refused++
    this.#flushLog.logTurn('MySQL refused a critical turn: it is taken back', { shard, seq, error: cause.message })
    if (this.#waiters.resolveRefused(seq, cause)) {
      await this.#backoff.sleep('rejection', REJECT_WAIT_MS)
      if (this.#waiters.isRejected(seq, shard)) return
    }
    if (this.#isStopping) return
    const { outbox, reject } = this.#options
    assertCommitted(await reject(shard, seq))
    this.turnsRejected(shard, seq)
    if (outbox.read(seq - 1, 1, 1)[0]?.seq === seq) throw new Error(`${shard}: turn ${seq} could not be taken back`)
  }

  #dueMs(): number {
    const now = this.#options.clock.mono()
    const dueMs = this.#backlog.dueMs(now, this.#flushMs, this.#maxBatch)
    return this.#drainCallbacks.length > 0 && dueMs !== Infinity ? 0 : Math.min(dueMs, this.#planner.dueMs(now))
  }

  async #backOff(error: unknown): Promise<void> {
    this.status.attemptFailed()
    this.#counters.retries++
    this.#flushLog.logFlushFailed(error, this.#backlog.depth)
    await this.#backoff.sleepAfterFailure(this.#waiters.size > 0 || this.#drainCallbacks.length > 0)
  }

  #databaseAnswered(): void {
    this.#backoff.resetFailures()
    this.#flushLog.flushSucceeded()
  }

  #endFenced(cause: FencedError): void {
    const { owner, log, onFenced } = this.#options
    this.#counters.fenced++
    log.error('this process no longer serves the owner', { owner, error: cause.message })
    this.#end(cause)
    onFenced?.(cause)
  }

  #end(cause: Error): void {
    this.#attempt = null
    this.status.end(cause)
    this.#waiters.resolveAll(cause)
    for (const drained of this.#drainCallbacks) drained()
  }
}
