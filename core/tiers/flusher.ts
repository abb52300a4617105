// One owner's flusher: drains its outbox into MySQL, one fenced transaction at a time, for as long as nobody else has
// taken the owner over. Invariant: MySQL holds exactly the turns up to `applied`, whole and in order, but for those
// that stand parked beside them; a commit is confirmed by MySQL's own word only; and nothing is read ahead, however
// long MySQL is away.

import type { Awaitable, Outcome, RowChange } from '../run/ports.ts'
import { Backlog } from './backlog.ts'
import { Complaints } from './complaints.ts'
import type { Blocked } from './gather.ts'
import { Holding } from './holding.ts'
import { Lanes } from './lanes.ts'
import type { OutboxEntry } from './local.ts'
import { Patience } from './patience.ts'
import { Readiness } from './readiness.ts'
import { confirm, FencedError, type TakeoverOptions } from './takeover.ts'
import { Waiters } from './waiters.ts'
import { Work, type Attempt, type WorkOptions } from './work.ts'

export interface FlusherOptions
  extends Omit<WorkOptions, 'maxBatch' | 'maxBytes'>, Pick<TakeoverOptions, 'owner' | 'database' | 'reject'> {
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
  readonly lanes?: Lanes
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
const REJECT_MS = 5_000

export class Flusher {
  readonly readiness = new Readiness()
  readonly #count = {
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
  readonly #backlog = new Backlog()
  readonly #lanes: Lanes
  readonly #waiters = new Waiters()
  readonly #patience: Patience
  readonly #complaints: Complaints
  readonly #work: Work
  readonly #holding: Holding
  #running: Promise<void> | null = null
  #stopping = false
  #looks = false
  /** The lease was held once in this life. */
  #leased = false
  #doubted = false
  /** What stands parked from before is known. */
  #recalled = false
  #applied = 0
  #attempt: Attempt | null = null
  #drains: (() => void)[] = []
  #dropping: Promise<void> = Promise.resolve()

  constructor(options: FlusherOptions) {
    const { clock, log, owner, flushMs = FLUSH_MS, maxBatch = MAX_BATCH, maxBytes = MAX_BYTES } = options
    this.#options = options
    this.#flushMs = flushMs
    this.#maxBatch = maxBatch
    this.#lanes = options.lanes ?? new Lanes(clock, () => this.#backlog.depth)
    this.#patience = new Patience(clock)
    this.#complaints = new Complaints(clock, log, owner)
    this.#work = new Work({ ...options, maxBatch, maxBytes }, this.#complaints)
    this.#holding = new Holding({
      ...options,
      onHeld: () => (this.#leased = true),
      onStale: () => {
        this.readiness.stale()
        this.#waiters.stale(Infinity)
      },
      onLost: (lost) => this.#stale(lost),
    })
  }

  /** MySQL has everything up to this sequence, as far as is known. */
  get applied(): number {
    return this.#applied
  }
  get metrics(): FlusherMetrics {
    const oldestMs = this.#backlog.oldestMs(this.#options.clock.mono())
    return { ...this.#count, depth: this.#backlog.depth, oldestMs, parked: this.#work.parked }
  }

  /** A turn is about to be committed. Without the lease nobody knows yet whether this store is the newest. */
  doubt(): void {
    if (this.#leased || this.#doubted) return
    this.#doubted = true
    const { outbox, log, owner } = this.#options
    void Promise.resolve(outbox.doubt()).then((outcome) => {
      if (outcome.kind !== 'committed')
        log.error('a doubt could not be stored', { owner, cause: String(outcome.cause) })
    })
  }

  /** Takes the owner over and goes to work. */
  start(): void {
    if (!this.readiness.over) this.#running ??= this.#run()
  }

  ready(): Promise<void> {
    this.start()
    return this.readiness.ready()
  }

  tried(): Promise<void> {
    this.start()
    return this.readiness.tried()
  }

  /** A turn was committed under this sequence. */
  notice(seq: number): void {
    const { clock } = this.#options
    this.#backlog.notice(seq, clock.mono())
    if (this.#running === null) return this.start()
    this.#patience.cut('work', this.#dueMs())
  }

  /** The outbox may hold what nobody noticed. */
  look(): void {
    this.#looks = true
    this.start()
    this.#patience.cut('work')
  }

  /** What becomes of a critical turn of this shard (`contract/key`). */
  wait(seq: number, shard: string): Awaitable<Outcome> {
    return this.#wait(seq, shard, true)
  }

  /** Resolves when the turn is out of the way: in MySQL, or taken back. */
  passed(seq: number, shard: string): Awaitable<Outcome> {
    return this.#wait(seq, shard, false)
  }

  #wait(seq: number, shard: string, isCommit: boolean): Awaitable<Outcome> {
    const outcome = this.#waiters.wait(seq, shard, isCommit)
    if (!(outcome instanceof Promise)) return outcome
    this.#backlog.hurry(seq)
    this.#lanes.hurry(this)
    this.notice(seq)
    this.#patience.hurry()
    return outcome
  }

  /** The parked turn whose rows MySQL does not have, null = none of these. */
  holder(rows: readonly Pick<RowChange, 'table' | 'key'>[]): number | null {
    return this.#work.holder(rows)
  }

  /** This turn of the shard and all later ones were taken back. */
  rejected(shard: string, seq: number): void {
    this.#waiters.rejected(shard, seq, this.#options.outbox.seq)
    this.#patience.cut('reject')
  }

  /** Flushes at once what can be flushed; tells how many entries are left. */
  async drain(deadlineMs: number): Promise<number> {
    const { outbox, clock } = this.#options
    const isIdle = this.#running === null && outbox.read(this.#applied, 1, 1).length === 0
    if (isIdle || this.readiness.over) return this.#backlog.depth
    this.start()
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = clock.after(deadlineMs, resolve)
    this.#drains.push(resolve)
    this.#lanes.hurry(this)
    this.#patience.hurry()
    await promise
    timer.cancel()
    this.#drains = this.#drains.filter((one) => one !== resolve)
    return this.#backlog.depth
  }

  /** Finishes the transaction that runs, and ends. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.#lanes.hurry(this)
    this.#patience.stop()
    await this.#running
    this.#end(new Error(`the flusher of ${this.#options.owner} was stopped`))
    await this.#dropping
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      try {
        if (!this.#holding.isHeld || !this.#recalled) await this.#take()
        else if (this.#isBehind) await this.#lanes.within(this, () => this.#step())
        else await this.#step()
      } catch (error) {
        if (error instanceof FencedError) return this.#fenced(error)
        await this.#backOff(error)
      }
    }
  }

  async #take(): Promise<void> {
    const { outbox } = this.#options
    const applied = await this.#holding.take().finally(() => {
      if (this.readiness.isResetting) this.#waiters.stale(outbox.seq)
      this.readiness.emptied()
    })
    this.#well()
    this.#pass(applied)
    this.#looks = true
    if (!this.#recalled) await this.#recall()
    this.readiness.held()
  }

  async #recall(): Promise<void> {
    const { database, owner } = this.#options
    this.#work.recall(await database.parked(owner))
    this.#recalled = true
  }

  #stale(lost: readonly OutboxEntry[]): void {
    const { owner, outbox, log, onStale } = this.#options
    this.#work.reset(lost)
    this.#count.lost += lost.length
    for (const { shard, seq } of lost)
      this.#complaints.turn('an acknowledged turn is lost: MySQL had gone on without this store', {
        shard,
        seq,
      })
    if (outbox.seq > 0) log.warn('the store was stale and is empty now', { owner, lost: lost.length })
    onStale?.()
  }

  /** More waits than one batch, and nobody for it. */
  get #isBehind(): boolean {
    return this.#backlog.depth >= this.#maxBatch && this.#backlog.urgent === 0 && this.#drains.length === 0
  }

  async #step(): Promise<void> {
    const { outbox, clock } = this.#options
    if (!this.#attempt) {
      if (this.#looks) this.#backlog.notice(outbox.seq, clock.mono() - this.#flushMs)
      this.#looks = false
      const waitMs = this.#dueMs()
      if (waitMs > 0) return this.#idle(waitMs)
      const next = await this.#work.next(this.#applied)
      if (next === null) return this.#backlog.empty()
      if ('blocked' in next) return this.#takeBack(next)
      this.#attempt = next
    }
    await this.#send(this.#attempt)
  }

  async #send(attempt: Attempt): Promise<void> {
    this.#count.transactions++
    const result = await this.#holding.send(attempt, this.#applied)
    this.#attempt = null
    this.#well()
    if (result === 'applied') {
      this.#count.flushedRows += attempt.parts.rows.length
      this.#count.flushedTurns += attempt.turns
      attempt.done()
      this.#pass(attempt.hi)
    } else if (result !== null) {
      const blocked = attempt.refused(result)
      if (blocked) await this.#takeBack(blocked)
    }
  }

  /** MySQL has everything up to here. */
  #pass(upTo: number): void {
    const { outbox, log, owner } = this.#options
    this.#applied = upTo
    this.#backlog.applied(upTo)
    this.#waiters.applied(upTo)
    // Not waited for: what stays is passed over, and dropped at the next start.
    this.#dropping = this.#dropping
      .then(() => outbox.drop(upTo))
      .then(confirm)
      .catch((error: unknown) =>
        log.error('flushed entries could not be dropped', { owner, error: String(error) }),
      )
  }

  /** A critical turn that MySQL will not take: whoever runs its shard takes it back, or we do. */
  async #takeBack({ blocked: { seq, shard }, cause }: Blocked): Promise<void> {
    this.#count.refused++
    this.#complaints.turn('MySQL refused a critical turn: it is taken back', {
      shard,
      seq,
      error: cause.message,
    })
    if (this.#waiters.refused(seq, cause)) {
      await this.#patience.rest('reject', REJECT_MS)
      if (this.#waiters.isRejected(seq, shard)) return
    }
    if (this.#stopping) return
    const { outbox, reject } = this.#options
    confirm(await reject(shard, seq))
    this.rejected(shard, seq)
    if (outbox.read(seq - 1, 1, 1)[0]?.seq === seq)
      throw new Error(`${shard}: turn ${seq} could not be taken back`)
  }

  #dueMs(): number {
    const now = this.#options.clock.mono()
    const dueMs = this.#backlog.dueMs(now, this.#flushMs, this.#maxBatch)
    return this.#drains.length > 0 && dueMs !== Infinity ? 0 : Math.min(dueMs, this.#work.dueMs(now))
  }

  async #idle(ms: number): Promise<void> {
    if (this.#backlog.depth === 0) for (const drained of this.#drains) drained()
    await this.#patience.rest('work', ms)
  }

  async #backOff(error: unknown): Promise<void> {
    this.readiness.failed()
    this.#count.retries++
    this.#complaints.stuck(error, this.#backlog.depth)
    await this.#patience.backOff(this.#waiters.size > 0 || this.#drains.length > 0)
  }

  /** MySQL answered. */
  #well(): void {
    this.#patience.succeeded()
    this.#complaints.well()
  }

  #fenced(cause: FencedError): void {
    const { owner, log, onFenced } = this.#options
    this.#count.fenced++
    log.error('the owner is not served here any more', { owner, error: cause.message })
    this.#end(cause)
    onFenced?.(cause)
  }

  #end(cause: Error): void {
    this.#attempt = null
    this.readiness.end(cause)
    this.#waiters.end(cause)
    for (const drained of this.#drains) drained()
  }
}
