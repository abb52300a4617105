// The three tiers as one Store: what is committed stands in the host's own Store, and a flusher for each owner takes
// it on to MySQL. Invariants: a shard runs only on a complete copy of its rows, loaded under the lease of its owner;
// and a critical commit is answered by what MySQL says of it, or not at all.

import type { TableDefinition } from '../game/table.ts'
import type { Awaitable } from '../game/shard.ts'
import type { Clock } from '../ports/clock.ts'
import type { Database } from '../ports/database.ts'
import type { Log } from '../ports/log.ts'
import type {
  Outcome,
  Row,
  RowKey,
  RowQuery,
  Store,
  StoredShard,
  StoredChannel,
  WriteSet,
} from '../ports/store.ts'
import type { ShardId } from '../wire/shardid.ts'
import { shardName } from '../wire/shardid.ts'
import { describeKey } from '../rows/rowkey.ts'
import { CallError, RowError } from '../wire/errors.ts'
import { TIMES } from '../wire/limits.ts'
import { DatabaseError } from '../sql/client.ts'
import { Flusher, type FlusherMetrics } from './flusher.ts'
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
  /** MySQL went on without the store of this owner, which is empty now: end all activations of its shards. */
  readonly onStale?: (owner: string) => void
  /** This owner is served elsewhere, or cannot be served: end all activations of its shards. */
  readonly onFenced?: (owner: string, cause: Error) => void
  /** How long an open or a reload waits for MySQL. */
  readonly waitMs?: number
  readonly flushMs?: number
  /** Rows of one shard, all tables together. */
  readonly maxRows?: number
  /**
   * The first open of an owner's shards asks MySQL whether another store has gone on meanwhile, if MySQL answers
   * soon. Not where no other store can have (a Durable Object's): there it costs a takeover for each awakening.
   */
  readonly checksLeaseFirst?: boolean
}

export interface TieredStoreMetrics {
  readonly loads: number
  readonly loadedRows: number
  readonly owners: ReadonlyMap<string, FlusherMetrics>
}

const MAX_ROWS = 100_000
/** Waits of one open or reload, one after the other: entries that pass, a lease, a load. */
const MAX_PREREQUISITES = 20
/** A shard that is here need not wait longer to learn that MySQL is away. */
const LEASE_CHECK_MS = 1_000

export class TieredStore implements Store {
  readonly #options: TieredStoreOptions
  readonly #local: LocalStore
  readonly #waitMs: number
  readonly #tablesByName: ReadonlyMap<string, TableDefinition>
  /** By contract: the shards that have rows. */
  readonly #tablesByContract: ReadonlyMap<string, readonly TableDefinition[]>
  readonly #loader: ShardLoader
  readonly #catchUpLimiter: CatchUpLimiter
  readonly #flushers = new Map<string, Flusher>()
  /** Owners of whom something may live. */
  readonly #openedOwners = new Set<string>()
  /** Owners of whom MySQL was asked, or was too slow to answer. */
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
    return { loads: this.#loader.loadedShards, loadedRows: this.#loader.loadedRows, owners }
  }

  /** Sends on what an earlier process left in the outboxes. */
  start(): void {
    for (const owner of this.#local.ownersWithEntries()) this.#flusherOf(owner).start()
  }

  /** The outbox of this owner has entries that no commit through here has told of. */
  checkOutbox(owner: string): void {
    this.#flushers.get(owner)?.checkOutbox()
  }

  /** @throws CallError RETRY_LATER while MySQL is needed and does not answer */
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
    throw new CallError('RETRY_LATER', `${context}: its rows do not come to rest`)
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
    if (!flusher) return { kind: 'failed', cause: new Error(`${shardName(write.shard)} is not open here`) }
    if (flusher.status.endCause) return { kind: 'failed', cause: flusher.status.endCause }
    if (flusher.status.isResetting)
      return { kind: 'failed', cause: new Error('the store is stale and is being emptied') }
    if (this.#options.checksLeaseFirst !== false) flusher.markUnleased()
    const outcome = this.#local.commit(write)
    return outcome instanceof Promise
      ? outcome.then((done) => this.#afterCommit(flusher, write, done))
      : this.#afterCommit(flusher, write, outcome)
  }

  #afterCommit(flusher: Flusher, { shard, critical }: WriteSet, outcome: Outcome): Awaitable<Outcome> {
    if (outcome.kind === 'unknown') flusher.checkOutbox()
    if (outcome.kind !== 'committed' || outcome.seq === undefined) return outcome
    if (critical) return flusher.waitForCommit(outcome.seq, shardName(shard))
    flusher.entryCommitted(outcome.seq)
    return outcome
  }

  /** @throws CallError RETRY_LATER, DatabaseError, RowError where MySQL does not have the row as it is here */
  async reload(shard: ShardId, table: TableDefinition, key: RowKey): Promise<Row | null> {
    const untilMs = this.#options.clock.mono() + this.#waitMs
    const owner = this.#local.ownerOf(shard)
    const flusher = this.#flushers.get(owner)
    if (!flusher) throw new Error(`${shardName(shard)} is not open here`)
    const context = `${shardName(shard)}: a row of ${table.name} cannot be read anew`
    for (let i = 0; ; i++) {
      if (flusher.status.endCause) throw flusher.status.endCause
      const last = this.#local.outboxOf(owner).lastSeqOf(shard, false)
      if (flusher.status.isReady && last <= flusher.appliedSeq) break
      if (i === MAX_PREREQUISITES)
        throw new CallError('RETRY_LATER', `${context}: its rows do not come to rest`)
      const prerequisite = flusher.status.isReady
        ? flusher.waitUntilSettled(last, shardName(shard))
        : flusher.whenReady()
      await this.#withDeadline<unknown>(untilMs, prerequisite, context)
    }
    const parkedSeq = flusher.parkedSeqOfRows([{ table, key }])
    if (parkedSeq !== null) {
      const reason = `MySQL refused the row ${describeKey(table, key)} as it is here: it stands in firefly_parked with the error`
      const advice = 'change it here, or mend MySQL: it is tried again every minute'
      throw new RowError('PARKED', table.name, `${reason} since seq ${parkedSeq}. ${advice}`)
    }
    return this.#withDeadline(untilMs, this.#options.database.row(table, key), context)
  }

  nextId(_shard: ShardId, table: TableDefinition, values: Row): Promise<bigint> {
    return this.#options.database.nextId(table, values)
  }

  async reject(shard: ShardId, seq: number, channel: WriteSet['channel']): Promise<Outcome> {
    if (!this.#local.reject) throw new Error('this store cannot take a turn back')
    const outcome = await this.#local.reject(shard, seq, channel)
    if (outcome.kind === 'committed')
      this.#flushers.get(this.#local.ownerOf(shard))?.turnsRejected(shardName(shard), seq)
    return outcome
  }

  /** Flushes what can be flushed; tells how many entries are left. */
  async drain(deadlineMs: number): Promise<number> {
    const left = await Promise.all([...this.#flushers.values()].map((flusher) => flusher.drain(deadlineMs)))
    return left.reduce((sum, one) => sum + one, 0)
  }

  /** The owner's shards are gone from here: finishes its transaction and forgets it. It may come back. */
  async releaseOwner(owner: string): Promise<void> {
    await this.#flushers.get(owner)?.stop()
    this.#flushers.delete(owner)
    this.#checkedOwners.delete(owner)
  }

  /** Finishes the transactions that run, and lets MySQL go. */
  async close(): Promise<void> {
    await Promise.all([...this.#flushers.values()].map((flusher) => flusher.stop()))
    await this.#options.database.close()
  }

  /** What must be waited for before the shard may be opened, null = nothing. */
  #prerequisite(shard: ShardId): Promise<unknown> | null {
    const tables = this.#tablesByContract.get(shard.contract)
    if (!tables) return null
    const owner = this.#local.ownerOf(shard)
    const flusher = this.#flusherOf(owner)
    if (flusher.status.endCause) throw flusher.status.endCause
    if (flusher.status.isResetting) return flusher.whenReady()
    const critical = this.#local.outboxOf(owner).lastSeqOf(shard, true)
    if (critical > flusher.appliedSeq)
      return Promise.resolve(flusher.waitUntilSettled(critical, shardName(shard)))
    if (this.#local.isLoaded(shard)) return this.#checkLease(owner, flusher)
    if (!flusher.status.isReady) return flusher.whenReady()
    const { status: readiness } = flusher
    const { resetCount: resets } = readiness
    return this.#loader.load(shard, tables, () => {
      if (flusher.status.endCause) throw flusher.status.endCause
      if (readiness.resetCount !== resets)
        throw new CallError('RETRY_LATER', 'the store was emptied meanwhile')
    })
  }

  #checkLease(owner: string, flusher: Flusher): Promise<void> | null {
    if (this.#options.checksLeaseFirst === false || flusher.status.isReady || this.#checkedOwners.has(owner))
      return null
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
    const { database, clock, log, onStale, onFenced, flushMs } = this.#options
    const flusher = new Flusher({
      owner,
      outbox: this.#local.outboxOf(owner),
      database,
      tables: this.#tablesByName,
      clock,
      log,
      readRow: (shard, table, key) => this.#local.row(shardId(shard), table, key),
      isLoaded: (shard) => this.#local.isLoaded(shardId(shard)),
      reject: async (shard, seq) =>
        (await this.#local.reject?.(shardId(shard), seq, null)) ?? REJECT_UNSUPPORTED,
      onStale: () => {
        if (this.#openedOwners.delete(owner)) onStale?.(owner)
      },
      onFenced: (cause) => onFenced?.(owner, cause),
      catchUpLimiter: this.#catchUpLimiter,
      ...(flushMs === undefined ? {} : { flushMs }),
    })
    this.#flushers.set(owner, flusher)
    return flusher
  }

  /** @throws CallError RETRY_LATER at the deadline, or when MySQL is away */
  async #withDeadline<T>(untilMs: number, awaited: Awaitable<T>, context: string): Promise<T> {
    const { clock } = this.#options
    const deadline = Promise.withResolvers<never>()
    const timer = clock.after(Math.max(0, untilMs - clock.mono()), () =>
      deadline.reject(
        new CallError('RETRY_LATER', `${context}: MySQL has not answered in ${this.#waitMs} ms`),
      ),
    )
    try {
      return await Promise.race([awaited, deadline.promise])
    } catch (cause) {
      if (!(cause instanceof DatabaseError && cause.kind === 'unavailable')) throw cause
      throw new CallError('RETRY_LATER', `${context}: ${cause.message}`, { cause })
    } finally {
      timer.cancel()
    }
  }
}

const REJECT_UNSUPPORTED: Outcome = { kind: 'failed', cause: new Error('this store cannot take a turn back') }

function shardId(name: string): ShardId {
  const slash = name.indexOf('/')
  return { contract: name.slice(0, slash), key: name.slice(slash + 1) }
}
