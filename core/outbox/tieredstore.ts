// The Store of a process with MySQL: commits go to the host's own Store, and one flusher per owner sends them on to
// MySQL. Invariants: a shard opens only on a complete copy of its rows, loaded under the lease of its owner; a critical
// commit succeeds only when MySQL has it.

import type { TableDefinition } from '../game/table.ts'
import type { Awaitable } from '../game/definition.ts'
import type { Clock } from '../ports/clock.ts'
import type { Database } from '../ports/database.ts'
import type { Log } from '../ports/log.ts'
import type { Outcome, Row, RowKey, RowQuery, Store, StoredShard, StoredChannel, WriteSet } from '../ports/store.ts'
import { parseShardName, shardName, type ShardId } from '../wire/shardid.ts'
import { describeKey } from '../rows/rowkey.ts'
import { CallError, RowError } from '../wire/errors.ts'
import { TIMES } from '../wire/limits.ts'
import { DatabaseError } from '../sql/client.ts'
import { Flusher, type FlusherMetrics } from './flusher.ts'
import type { BatchMemory } from './batchmemory.ts'
import { CatchUpLimiter } from './catchup.ts'
import { ShardLoader } from './loader.ts'
import type { LocalStore } from './localstore.ts'

export interface TieredStoreOptions {
  readonly local: LocalStore
  readonly database: Database
  /** Every table of the game. */
  readonly tables: readonly TableDefinition[]
  readonly clock: Clock
  readonly log: Log
  /** The store of this owner was stale and is empty now: the host must end all activations of its shards. */
  readonly onStale?: (owner: string) => void
  /** Another process serves this owner, or it cannot be served: the host must end all activations of its shards. */
  readonly onFenced?: (owner: string, cause: Error) => void
  /** Maximum time that an open or a reload waits for MySQL. */
  readonly waitMs?: number
  readonly flushMs?: number | undefined
  /** Shared with other stores. */
  readonly batchMemory?: BatchMemory
  /** Maximum number of rows of one shard, all tables together. */
  readonly maxRows?: number
  /**
   * The first open of an owner's shards checks in MySQL, for a short time, whether another store has flushed since.
   * Default true. False for a Durable Object, where no other store exists: the check would cost a takeover per start.
   */
  readonly checksLeaseFirst?: boolean
}

export interface TieredStoreMetrics {
  readonly loads: number
  readonly loadedRows: number
  readonly owners: ReadonlyMap<string, FlusherMetrics>
}

const MAX_ROWS = 100_000
/** Maximum number of successive waits of one open or reload: entries, the lease, a load. */
const MAX_PREREQUISITES = 20
/** Maximum time for which a loaded shard waits for the check of the lease. */
const LEASE_CHECK_MS = 1_000

export class TieredStore implements Store {
  readonly #options: TieredStoreOptions
  readonly #local: LocalStore
  readonly #waitMs: number
  readonly #tablesByName: ReadonlyMap<string, TableDefinition>
  /** Contracts without tables are missing. */
  readonly #tablesByContract: ReadonlyMap<string, readonly TableDefinition[]>
  readonly #loader: ShardLoader
  readonly #catchUpLimiter: CatchUpLimiter
  readonly #flushers = new Map<string, Flusher>()
  /** Owners whose shards may have activations. */
  readonly #openedOwners = new Set<string>()
  /** Owners whose lease was checked, or whose check timed out. */
  readonly #checkedOwners = new Set<string>()

  constructor(options: TieredStoreOptions) {
    const { local, database, tables, maxRows = MAX_ROWS, waitMs = TIMES.loadMs } = options
    this.#options = options
    this.#local = local
    this.#waitMs = waitMs
    this.#tablesByName = new Map(tables.map((table) => [table.name, table]))
    this.#tablesByContract = Map.groupBy(tables, ({ owner }) => owner)
    this.#loader = new ShardLoader({ local, database, maxRows })
    this.#catchUpLimiter = new CatchUpLimiter(options.clock, () => {
      let backlog = 0
      for (const flusher of this.#flushers.values()) backlog += flusher.metrics.depth
      return backlog
    })
  }

  get metrics(): TieredStoreMetrics {
    const owners = new Map([...this.#flushers].map(([owner, flusher]) => [owner, flusher.metrics]))
    return { ...this.#loader.metrics, owners }
  }

  /** Flushes the outboxes that an earlier process left. */
  start(): void {
    for (const owner of this.#local.ownersWithEntries()) this.#flusherOf(owner).start()
  }

  /** The outbox of this owner may have entries that were not committed through this store. */
  checkOutbox(owner: string): void {
    this.#flushers.get(owner)?.checkOutbox()
  }

  /** @throws CallError RETRY_LATER when MySQL is needed and does not answer in time */
  open(shard: ShardId): Awaitable<StoredShard> {
    const prerequisite = this.#prerequisite(shard)
    return prerequisite === null ? this.#openLocal(shard) : this.#openAfter(shard, prerequisite)
  }

  async #openAfter(shard: ShardId, firstPrerequisite: Promise<unknown>): Promise<StoredShard> {
    const untilMs = this.#options.clock.mono() + this.#waitMs
    const context = `${shardName(shard)} cannot be opened`
    let prerequisite: Promise<unknown> | null = firstPrerequisite
    for (let i = 0; i < MAX_PREREQUISITES; i++) {
      if (prerequisite === null) return this.#openLocal(shard)
      await this.#withDeadline(untilMs, prerequisite, context)
      prerequisite = this.#prerequisite(shard)
    }
    throw new CallError('RETRY_LATER', `${context}: ${UNSETTLED}`)
  }

  #openLocal(shard: ShardId): Awaitable<StoredShard> {
    this.#openedOwners.add(this.#local.ownerOf(shard))
    return this.#local.open(shard)
  }

  channel(shard: ShardId, channel: string): Awaitable<StoredChannel | null> {
    return this.#local.channel(shard, channel)
  }

  row(shard: ShardId, table: TableDefinition, key: RowKey): Row | null {
    return this.#local.row(shard, table, key)
  }

  list(shard: ShardId, table: TableDefinition, query: RowQuery): readonly Row[] {
    return this.#local.list(shard, table, query)
  }

  commit(write: WriteSet): Awaitable<Outcome> {
    if (!this.#tablesByContract.has(write.shard.contract)) return this.#local.commit(write)
    const flusher = this.#flushers.get(this.#local.ownerOf(write.shard))
    if (!flusher) return { kind: 'failed', cause: new Error(`${shardName(write.shard)} is not open in this process`) }
    const { state, endCause } = flusher.status
    if (endCause) return { kind: 'failed', cause: endCause }
    if (state === 'resetting') return { kind: 'failed', cause: new Error('the store is stale and is being emptied') }
    if (this.#options.checksLeaseFirst !== false) flusher.markUnleased()
    const outcome = this.#local.commit(write)
    return outcome instanceof Promise
      ? outcome.then((result) => this.#afterCommit(flusher, write, result))
      : this.#afterCommit(flusher, write, outcome)
  }

  #afterCommit(flusher: Flusher, { shard, critical }: WriteSet, outcome: Outcome): Awaitable<Outcome> {
    if (outcome.kind === 'unknown') flusher.checkOutbox()
    if (outcome.kind !== 'committed' || outcome.seq === undefined) return outcome
    if (critical) return flusher.waitForCommit(outcome.seq, shardName(shard))
    flusher.entryCommitted(outcome.seq)
    return outcome
  }

  /** @throws CallError RETRY_LATER, REJECTED; DatabaseError; RowError PARKED when MySQL does not have this store's row */
  async reload(shard: ShardId, table: TableDefinition, key: RowKey): Promise<Row | null> {
    const untilMs = this.#options.clock.mono() + this.#waitMs
    const owner = this.#local.ownerOf(shard)
    const flusher = this.#flushers.get(owner)
    if (!flusher) throw new Error(`${shardName(shard)} is not open in this process`)
    const context = `${shardName(shard)}: a row of ${table.name} cannot be reloaded`
    for (let i = 0; ; i++) {
      const { state, endCause } = flusher.status
      if (endCause) throw endCause
      const last = this.#local.outboxOf(owner).lastSeqOf(shard, false)
      if (state === 'ready' && last <= flusher.appliedSeq) break
      if (i === MAX_PREREQUISITES) throw new CallError('RETRY_LATER', `${context}: ${UNSETTLED}`)
      const prerequisite = state === 'ready' ? flusher.waitUntilSettled(last, shardName(shard)) : flusher.whenReady()
      await this.#withDeadline<unknown>(untilMs, prerequisite, context)
    }
    const parkedSeq = flusher.parkedSeqOfRows([{ table, key }])
    if (parkedSeq !== null) {
      const reason = `MySQL refused the row ${describeKey(table, key)}: firefly_parked has the error since seq ${parkedSeq}`
      const advice = 'change the row, or repair MySQL; the row is retried every minute'
      throw new RowError('PARKED', table.name, `${reason}; ${advice}`)
    }
    return this.#withDeadline(untilMs, this.#options.database.row(table, key), context)
  }

  /** @throws CallError RETRY_LATER, REJECTED when MySQL refuses a row with these values; DatabaseError */
  nextId(shard: ShardId, table: TableDefinition, values: Row): Promise<bigint> {
    const untilMs = this.#options.clock.mono() + this.#waitMs
    const context = `${shardName(shard)}: an id of ${table.name} cannot be created`
    return this.#withDeadline(untilMs, this.#options.database.nextId(table, values), context)
  }

  async reject(shard: ShardId, seq: number, channel: WriteSet['channel']): Promise<Outcome> {
    if (!this.#local.reject) throw new Error('this store cannot take a turn back')
    const outcome = await this.#local.reject(shard, seq, channel)
    if (outcome.kind === 'committed')
      this.#flushers.get(this.#local.ownerOf(shard))?.turnsRejected(shardName(shard), seq)
    return outcome
  }

  /** Flushes what can be flushed until the deadline. Returns the number of entries that are left. */
  async drain(deadlineMs: number): Promise<number> {
    const depths = await Promise.all([...this.#flushers.values()].map((flusher) => flusher.drain(deadlineMs)))
    return depths.reduce((sum, depth) => sum + depth, 0)
  }

  /** Called when the owner's shards left this process: finishes its transaction and stops its flusher. */
  async releaseOwner(owner: string): Promise<void> {
    await this.#flushers.get(owner)?.stop()
    this.#flushers.delete(owner)
    this.#checkedOwners.delete(owner)
  }

  /** Finishes the running transactions and closes the connections to MySQL. */
  async close(): Promise<void> {
    await Promise.all([...this.#flushers.values()].map((flusher) => flusher.stop()))
    await this.#options.database.close()
  }

  /** What must complete before the shard may be opened; null = nothing. */
  #prerequisite(shard: ShardId): Promise<unknown> | null {
    const tables = this.#tablesByContract.get(shard.contract)
    if (!tables) return null
    const owner = this.#local.ownerOf(shard)
    const flusher = this.#flusherOf(owner)
    const { status } = flusher
    if (status.endCause) throw status.endCause
    if (status.state === 'resetting') return flusher.whenReady()
    const criticalSeq = this.#local.outboxOf(owner).lastSeqOf(shard, true)
    if (criticalSeq > flusher.appliedSeq)
      return Promise.resolve(flusher.waitUntilSettled(criticalSeq, shardName(shard)))
    if (this.#local.isLoaded(shard)) return this.#checkLease(owner, flusher)
    if (status.state !== 'ready') return flusher.whenReady()
    const { resetCount } = status
    return this.#loader.load(shard, tables, () => {
      if (status.endCause) throw status.endCause
      if (status.resetCount !== resetCount) throw new CallError('RETRY_LATER', 'the store was emptied during the load')
    })
  }

  /** Waits for the first attempt to acquire the lease, up to LEASE_CHECK_MS; null = no check is needed. */
  #checkLease(owner: string, flusher: Flusher): Promise<void> | null {
    const needsCheck = this.#options.checksLeaseFirst !== false && flusher.status.state !== 'ready'
    if (!needsCheck || this.#checkedOwners.has(owner)) return null
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = this.#options.clock.after(Math.min(LEASE_CHECK_MS, this.#waitMs), resolve)
    void flusher.whenAttempted().then(resolve)
    return promise.then(() => {
      timer.cancel()
      this.#checkedOwners.add(owner)
    })
  }

  #flusherOf(owner: string): Flusher {
    const existing = this.#flushers.get(owner)
    if (existing) return existing
    const { database, clock, log, onStale, onFenced, flushMs, batchMemory } = this.#options
    const flusher = new Flusher({
      owner,
      outbox: this.#local.outboxOf(owner),
      database,
      tables: this.#tablesByName,
      clock,
      log,
      readRow: (shard, table, key) => this.#local.row(parseShardName(shard), table, key),
      isLoaded: (shard) => this.#local.isLoaded(parseShardName(shard)),
      reject: async (shard, seq) =>
        (await this.#local.reject?.(parseShardName(shard), seq, null)) ?? REJECT_UNSUPPORTED,
      onStale: () => {
        if (this.#openedOwners.delete(owner)) onStale?.(owner)
      },
      onFenced: (cause) => onFenced?.(owner, cause),
      catchUpLimiter: this.#catchUpLimiter,
      batchMemory,
      flushMs,
    })
    this.#flushers.set(owner, flusher)
    return flusher
  }

  /** @throws CallError RETRY_LATER at the deadline, or when MySQL is unavailable; REJECTED when it refuses the data */
  async #withDeadline<T>(untilMs: number, awaited: Awaitable<T>, context: string): Promise<T> {
    const { clock, log } = this.#options
    const deadline = Promise.withResolvers<never>()
    const timer = clock.after(Math.max(0, untilMs - clock.mono()), () =>
      deadline.reject(new CallError('RETRY_LATER', `${context}: MySQL has not answered in ${this.#waitMs} ms`)),
    )
    try {
      return await Promise.race([awaited, deadline.promise])
    } catch (cause) {
      if (!(cause instanceof DatabaseError)) throw cause
      const message = `${context}: ${cause.message}`
      if (cause.kind === 'unavailable') throw new CallError('RETRY_LATER', message, { cause })
      if (cause.kind !== 'refused') throw cause
      log.error('MySQL refused the data of a turn that waits for it', { error: message })
      throw new CallError('REJECTED', message, { cause })
    } finally {
      timer.cancel()
    }
  }
}

const UNSETTLED = `still not settled after ${MAX_PREREQUISITES} waits`
const REJECT_UNSUPPORTED = { kind: 'failed', cause: new Error('this store cannot take a turn back') } as const
