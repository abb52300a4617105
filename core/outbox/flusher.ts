// One owner's flusher: drains its outbox into MySQL, one fenced transaction at a time, for as long as nobody else has
// taken the owner over. Invariant: MySQL holds exactly the turns up to `applied`, whole and in order, but for those
// that stand parked beside them; a commit is confirmed by MySQL's own word only; and nothing is read ahead, however
// long MySQL is away.

import type { Awaitable } from '../game/shard.ts'
import type { Outcome, RowChange } from '../ports/store.ts'
import { OutboxBacklog } from './backlog.ts'
import { FlushLog } from './flushlog.ts'
import type { BlockedTurn } from './batch.ts'
import { LeaseHolder } from './lease.ts'
import { CatchUpLimiter } from './catchup.ts'
import type { OutboxEntry } from './localstore.ts'
import { RetryBackoff } from './backoff.ts'
import { OwnerStatus } from './ownerstatus.ts'
import { assertCommitted, FencedError, type TakeoverOptions } from './takeover.ts'
import { EntryWaiters } from './waiters.ts'
import { BatchPlanner, type FlushAttempt, type BatchPlannerOptions } from './planner.ts'

export interface FlusherOptions
  extends
    Omit<BatchPlannerOptions, 'maxBatch' | 'maxBytes'>,
    Pick<TakeoverOptions, 'owner' | 'database' | 'reject'> {
  /** The store was found stale and is empty now: whatever lives of it must end. */
  readonly onStale?: () => void
  /** The flusher is over: the owner is served elsewhere, or cannot be served. */
  readonly onFenced?: (cause: Error) => void
  /** How long an entry that nobody waits for may wait for others. */
  readonly flushMs?: number
  /** Rows, and entries, of one transaction; and bytes. */
  readonly maxBatch?: number
  readonly maxBytes?: number
  /** Shared by the owners of a process. Default: its own. */
  readonly catchUpLimiter?: CatchUpLimiter
}

export interface FlusherMetrics {
  /** Entries that wait, and the age of the oldest since it was noticed. */
  readonly depth: number
  readonly oldestMs: number
  /** These count since the start. */
  readonly flushedRows: number
  readonly flushedTurns: number
  readonly transactions: number
  readonly retries: number
  /** Local turns of which MySQL refused the rows. */
  readonly parked: number
  /** Critical turns that MySQL will not take. */
  readonly refused: number
  /** Turns that a stale store had acknowledged and that MySQL will not have. */
  readonly lost: number
  readonly fenced: number
}

const FLUSH_MS = 100
const MAX_BATCH = 500
const MAX_BYTES = 1_048_576
/** How long a refused turn may wait for the engine that runs its shard; the whole owner waits with it. */
const REJECT_WAIT_MS = 5_000

export class Flusher {
  readonly status = new OwnerStatus()
  readonly #counters = {
    flushedRows: 0,
    flushedTurns: 0,
    transactions: 0,
    retries: 0,
    refused: 0,
    lost: 0,
    fenced: 0,
  }
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
  #loop: Promise<void> | null = null
  #isStopping = false
  #mustCheckOutbox = false
  /** The lease was held once in this life. */
  #wasLeased = false
  #isMarkedUnleased = false
  /** What stands parked from before is known. */
  #isParkedLoaded = false
  #appliedSeq = 0
  #attempt: FlushAttempt | null = null
  #drainCallbacks: (() => void)[] = []
  #drops: Promise<void> = Promise.resolve()

  constructor(options: FlusherOptions) {
    const { clock, log, owner, flushMs = FLUSH_MS, maxBatch = MAX_BATCH, maxBytes = MAX_BYTES } = options
    this.#options = options
    this.#flushMs = flushMs
    this.#maxBatch = maxBatch
    this.#catchUpLimiter = options.catchUpLimiter ?? new CatchUpLimiter(clock, () => this.#backlog.depth)
    this.#backoff = new RetryBackoff(clock)
    this.#flushLog = new FlushLog(clock, log, owner)
    this.#planner = new BatchPlanner({ ...options, maxBatch, maxBytes }, this.#flushLog)
    this.#leaseHolder = new LeaseHolder({
      ...options,
      onLeaseAcquired: () => (this.#wasLeased = true),
      onStale: () => {
        this.status.resetStarted()
        this.#waiters.resolveStale(Infinity)
      },
      onEntriesLost: (lost) => this.#storeReset(lost),
    })
  }

  /** MySQL has everything up to this sequence, as far as is known. */
  get appliedSeq(): number {
    return this.#appliedSeq
  }
  get metrics(): FlusherMetrics {
    const oldestMs = this.#backlog.oldestMs(this.#options.clock.mono())
    return { ...this.#counters, depth: this.#backlog.depth, oldestMs, parked: this.#planner.parkedCount }
  }

  /** A turn is about to be committed. Without the lease nobody knows yet whether this store is the newest. */
  markUnleased(): void {
    if (this.#wasLeased || this.#isMarkedUnleased) return
    this.#isMarkedUnleased = true
    const { outbox, log, owner } = this.#options
    void Promise.resolve(outbox.markUnleased()).then((outcome) => {
      if (outcome.kind !== 'committed')
        log.error('a doubt could not be stored', { owner, cause: String(outcome.cause) })
    })
  }

  /** Takes the owner over and goes to work. */
  start(): void {
    if (!this.status.endCause) this.#loop ??= this.#runLoop()
  }

  whenReady(): Promise<void> {
    this.start()
    return this.status.whenReady()
  }

  whenAttempted(): Promise<void> {
    this.start()
    return this.status.whenAttempted()
  }

  /** A turn was committed under this sequence. */
  entryCommitted(seq: number): void {
    const { clock } = this.#options
    this.#backlog.entryAdded(seq, clock.mono())
    if (this.#loop === null) return this.start()
    this.#backoff.wakeWithin('work', this.#dueMs())
  }

  /** The outbox may hold what nobody noticed. */
  checkOutbox(): void {
    this.#mustCheckOutbox = true
    this.start()
    this.#backoff.wakeWithin('work')
  }

  /** What becomes of a critical turn of this shard (`contract/key`). */
  waitForCommit(seq: number, shard: string): Awaitable<Outcome> {
    return this.#waitForEntry(seq, shard, true)
  }

  /** Resolves when the turn is out of the way: in MySQL, or taken back. */
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

  /** The parked turn whose rows MySQL does not have, null = none of these. */
  parkedSeqOfRows(rows: readonly Pick<RowChange, 'table' | 'key'>[]): number | null {
    return this.#planner.parkedSeqOfRows(rows)
  }

  /** This turn of the shard and all later ones were taken back. */
  turnsRejected(shard: string, seq: number): void {
    this.#waiters.resolveRejected(shard, seq, this.#options.outbox.lastSeq)
    this.#backoff.wakeWithin('reject')
  }

  /** Flushes at once what can be flushed; tells how many entries are left. */
  async drain(deadlineMs: number): Promise<number> {
    const { outbox, clock } = this.#options
    const isIdle = this.#loop === null && outbox.read(this.#appliedSeq, 1, 1).length === 0
    if (isIdle || this.status.endCause) return this.#backlog.depth
    this.start()
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = clock.after(deadlineMs, resolve)
    this.#drainCallbacks.push(resolve)
    this.#catchUpLimiter.admitNow(this)
    this.#backoff.expedite()
    await promise
    timer.cancel()
    this.#drainCallbacks = this.#drainCallbacks.filter((one) => one !== resolve)
    return this.#backlog.depth
  }

  /** Finishes the transaction that runs, and ends. */
  async stop(): Promise<void> {
    this.#isStopping = true
    this.#catchUpLimiter.admitNow(this)
    this.#backoff.disable()
    await this.#loop
    this.#finish(new Error(`the flusher of ${this.#options.owner} was stopped`))
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
    const { outbox } = this.#options
    const applied = await this.#leaseHolder.acquire().finally(() => {
      if (this.status.isResetting) this.#waiters.resolveStale(outbox.lastSeq)
      this.status.resetFinished()
    })
    this.#databaseAnswered()
    this.#advance(applied)
    this.#mustCheckOutbox = true
    if (!this.#isParkedLoaded) await this.#loadParked()
    this.status.leaseAcquired()
  }

  async #loadParked(): Promise<void> {
    const { database, owner } = this.#options
    this.#planner.restoreParked(await database.parkedTurns(owner))
    this.#isParkedLoaded = true
  }

  #storeReset(lostEntries: readonly OutboxEntry[]): void {
    const { owner, outbox, log, onStale } = this.#options
    this.#planner.storeReset(lostEntries)
    this.#counters.lost += lostEntries.length
    for (const { shard, seq } of lostEntries)
      this.#flushLog.logTurn('an acknowledged turn is lost: MySQL had gone on without this store', {
        shard,
        seq,
      })
    if (outbox.lastSeq > 0)
      log.warn('the store was stale and is empty now', { owner, lost: lostEntries.length })
    onStale?.()
  }

  /** More waits than one batch, and nobody for it. */
  get #isCatchingUp(): boolean {
    return (
      this.#backlog.depth >= this.#maxBatch &&
      this.#backlog.urgentSeq === 0 &&
      this.#drainCallbacks.length === 0
    )
  }

  async #flushNext(): Promise<void> {
    const { outbox, clock } = this.#options
    if (!this.#attempt) {
      if (this.#mustCheckOutbox) this.#backlog.entryAdded(outbox.lastSeq, clock.mono() - this.#flushMs)
      this.#mustCheckOutbox = false
      const waitMs = this.#dueMs()
      if (waitMs > 0) return this.#waitForEntries(waitMs)
      const next = await this.#planner.nextAttempt(this.#appliedSeq)
      if (next === null) return this.#backlog.clear()
      if ('blocked' in next) return this.#rejectTurn(next)
      this.#attempt = next
    }
    await this.#sendAttempt(this.#attempt)
  }

  async #sendAttempt(attempt: FlushAttempt): Promise<void> {
    this.#counters.transactions++
    const result = await this.#leaseHolder.applyBatch(attempt, this.#appliedSeq)
    this.#attempt = null
    this.#databaseAnswered()
    if (result === 'applied') {
      this.#counters.flushedRows += attempt.contents.rows.length
      this.#counters.flushedTurns += attempt.turnCount
      attempt.onApplied()
      this.#advance(attempt.hi)
    } else if (result !== null) {
      const blocked = attempt.onRefused(result)
      if (blocked) await this.#rejectTurn(blocked)
    }
  }

  /** MySQL has everything up to here. */
  #advance(upTo: number): void {
    const { outbox, log, owner } = this.#options
    this.#appliedSeq = upTo
    this.#backlog.flushedUpTo(upTo)
    this.#waiters.resolveApplied(upTo)
    // Not waited for: what stays is passed over, and dropped at the next start.
    this.#drops = this.#drops
      .then(() => outbox.drop(upTo))
      .then(assertCommitted)
      .catch((error: unknown) =>
        log.error('flushed entries could not be dropped', { owner, error: String(error) }),
      )
  }

  /** A critical turn that MySQL will not take: whoever runs its shard takes it back, or we do. */
  async #rejectTurn({ blocked: { seq, shard }, cause }: BlockedTurn): Promise<void> {
    this.#counters.refused++
    this.#flushLog.logTurn('MySQL refused a critical turn: it is taken back', {
      shard,
      seq,
      error: cause.message,
    })
    if (this.#waiters.resolveRefused(seq, cause)) {
      await this.#backoff.sleep('reject', REJECT_WAIT_MS)
      if (this.#waiters.isRejected(seq, shard)) return
    }
    if (this.#isStopping) return
    const { outbox, reject } = this.#options
    assertCommitted(await reject(shard, seq))
    this.turnsRejected(shard, seq)
    if (outbox.read(seq - 1, 1, 1)[0]?.seq === seq)
      throw new Error(`${shard}: turn ${seq} could not be taken back`)
  }

  #dueMs(): number {
    const now = this.#options.clock.mono()
    const dueMs = this.#backlog.dueMs(now, this.#flushMs, this.#maxBatch)
    return this.#drainCallbacks.length > 0 && dueMs !== Infinity
      ? 0
      : Math.min(dueMs, this.#planner.dueMs(now))
  }

  async #waitForEntries(ms: number): Promise<void> {
    if (this.#backlog.depth === 0) for (const drained of this.#drainCallbacks) drained()
    await this.#backoff.sleep('work', ms)
  }

  async #backOff(error: unknown): Promise<void> {
    this.status.attemptFailed()
    this.#counters.retries++
    this.#flushLog.logFlushFailed(error, this.#backlog.depth)
    await this.#backoff.sleepAfterFailure(this.#waiters.size > 0 || this.#drainCallbacks.length > 0)
  }

  /** MySQL answered. */
  #databaseAnswered(): void {
    this.#backoff.resetFailures()
    this.#flushLog.flushSucceeded()
  }

  #endFenced(cause: FencedError): void {
    const { owner, log, onFenced } = this.#options
    this.#counters.fenced++
    log.error('the owner is not served here any more', { owner, error: cause.message })
    this.#finish(cause)
    onFenced?.(cause)
  }

  #finish(cause: Error): void {
    this.#attempt = null
    this.status.markEnded(cause)
    this.#waiters.resolveAll(cause)
    for (const drained of this.#drainCallbacks) drained()
  }
}
