// The three tiers as one Store: what is committed stands in the host's own Store, and a flusher for each owner takes
// it on to MySQL. Invariants: a shard runs only on a complete copy of its rows, loaded under the lease of its owner;
// and a critical commit is answered by what MySQL says of it, or not at all.

import type { TableDefinition } from '../game/table.ts'
import type {
  Awaitable,
  Clock,
  Database,
  Log,
  Outcome,
  Row,
  RowKey,
  RowQuery,
  ShardId,
  Store,
  Stored,
  StoredChannel,
  WriteSet,
} from '../run/ports.ts'
import { shardName } from '../run/ports.ts'
import { keyText } from '../run/rowkey.ts'
import { CallError, RowError } from '../wire/errors.ts'
import { TIMES } from '../wire/limits.ts'
import { DatabaseError } from './client.ts'
import { Flusher, type FlusherMetrics } from './flusher.ts'
import { Lanes } from './lanes.ts'
import { Loader } from './loader.ts'
import type { LocalStore } from './local.ts'

export interface TiersOptions {
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
  readonly asksFirst?: boolean
}

export interface TiersMetrics {
  readonly loads: number
  readonly loadedRows: number
  readonly owners: ReadonlyMap<string, FlusherMetrics>
}

const MAX_ROWS = 100_000
/** Waits of one open or reload, one after the other: entries that pass, a lease, a load. */
const MAX_OBSTACLES = 20
/** A shard that is here need not wait longer to learn that MySQL is away. */
const ASK_MS = 1_000

export class Tiers implements Store {
  readonly #options: TiersOptions
  readonly #local: LocalStore
  readonly #waitMs: number
  readonly #byName: ReadonlyMap<string, TableDefinition>
  /** By contract: the shards that have rows. */
  readonly #byOwner: ReadonlyMap<string, readonly TableDefinition[]>
  readonly #loader: Loader
  readonly #lanes: Lanes
  readonly #flushers = new Map<string, Flusher>()
  /** Owners of whom something may live. */
  readonly #opened = new Set<string>()
  /** Owners of whom MySQL was asked, or was too slow to answer. */
  readonly #asked = new Set<string>()

  constructor(options: TiersOptions) {
    const { local, database, tables, maxRows = MAX_ROWS, waitMs = TIMES.loadMs } = options
    this.#options = options
    this.#local = local
    this.#waitMs = waitMs
    this.#byName = new Map(tables.map((table) => [table.name, table]))
    this.#byOwner = Map.groupBy(tables, ({ owner }) => owner)
    this.#loader = new Loader({ local, database, maxRows })
    this.#lanes = new Lanes(options.clock, () => {
      let backlog = 0
      for (const flusher of this.#flushers.values()) backlog += flusher.metrics.depth
      return backlog
    })
  }

  get metrics(): TiersMetrics {
    const owners = new Map([...this.#flushers].map(([owner, flusher]) => [owner, flusher.metrics]))
    return { loads: this.#loader.loads, loadedRows: this.#loader.rows, owners }
  }

  /** Sends on what an earlier process left in the outboxes. */
  start(): void {
    for (const owner of this.#local.owners()) this.#flusher(owner).start()
  }

  /** The outbox of this owner has entries that no commit through here has told of. */
  look(owner: string): void {
    this.#flushers.get(owner)?.look()
  }

  /** @throws CallError RETRY_LATER while MySQL is needed and does not answer */
  open(shard: ShardId): Awaitable<Stored> {
    const obstacle = this.#obstacle(shard)
    return obstacle === null ? this.#opens(shard) : this.#open(shard, obstacle)
  }

  async #open(shard: ShardId, first: Promise<unknown>): Promise<Stored> {
    const untilMs = this.#options.clock.mono() + this.#waitMs
    const what = `${shardName(shard)} cannot be opened`
    let obstacle: Promise<unknown> | null = first
    for (let i = 0; i < MAX_OBSTACLES; i++) {
      if (obstacle === null) return this.#opens(shard)
      await this.#within(untilMs, obstacle, what)
      obstacle = this.#obstacle(shard)
    }
    throw new CallError('RETRY_LATER', `${what}: its rows do not come to rest`)
  }

  #opens(shard: ShardId): Awaitable<Stored> {
    this.#opened.add(this.#local.ownerOf(shard))
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
    if (!this.#byOwner.has(write.shard.contract)) return this.#local.commit(write)
    const flusher = this.#flushers.get(this.#local.ownerOf(write.shard))
    if (!flusher) return { kind: 'failed', cause: new Error(`${shardName(write.shard)} is not open here`) }
    if (flusher.readiness.over) return { kind: 'failed', cause: flusher.readiness.over }
    if (flusher.readiness.isResetting)
      return { kind: 'failed', cause: new Error('the store is stale and is being emptied') }
    if (this.#options.asksFirst !== false) flusher.doubt()
    const outcome = this.#local.commit(write)
    return outcome instanceof Promise
      ? outcome.then((done) => this.#committed(flusher, write, done))
      : this.#committed(flusher, write, outcome)
  }

  #committed(flusher: Flusher, { shard, critical }: WriteSet, outcome: Outcome): Awaitable<Outcome> {
    if (outcome.kind === 'unknown') flusher.look()
    if (outcome.kind !== 'committed' || outcome.seq === undefined) return outcome
    if (critical) return flusher.wait(outcome.seq, shardName(shard))
    flusher.notice(outcome.seq)
    return outcome
  }

  /** @throws CallError RETRY_LATER, DatabaseError, RowError where MySQL does not have the row as it is here */
  async reload(shard: ShardId, table: TableDefinition, key: RowKey): Promise<Row | null> {
    const untilMs = this.#options.clock.mono() + this.#waitMs
    const owner = this.#local.ownerOf(shard)
    const flusher = this.#flushers.get(owner)
    if (!flusher) throw new Error(`${shardName(shard)} is not open here`)
    const what = `${shardName(shard)}: a row of ${table.name} cannot be read anew`
    for (let i = 0; ; i++) {
      if (flusher.readiness.over) throw flusher.readiness.over
      const last = this.#local.outbox(owner).last(shard, false)
      if (flusher.readiness.isReady && last <= flusher.applied) break
      if (i === MAX_OBSTACLES) throw new CallError('RETRY_LATER', `${what}: its rows do not come to rest`)
      const rest = flusher.readiness.isReady ? flusher.passed(last, shardName(shard)) : flusher.ready()
      await this.#within<unknown>(untilMs, rest, what)
    }
    const parked = flusher.holder([{ table, key }])
    if (parked !== null) {
      const why = `MySQL refused the row ${keyText(table, key)} as it is here: it stands in firefly_parked with the error`
      const cure = 'change it here, or mend MySQL: it is tried again every minute'
      throw new RowError('PARKED', table.name, `${why} since seq ${parked}. ${cure}`)
    }
    return this.#within(untilMs, this.#options.database.row(table, key), what)
  }

  nextId(_shard: ShardId, table: TableDefinition, values: Row): Promise<bigint> {
    return this.#options.database.nextId(table, values)
  }

  async reject(shard: ShardId, seq: number, channel: WriteSet['channel']): Promise<Outcome> {
    if (!this.#local.reject) throw new Error('this store cannot take a turn back')
    const outcome = await this.#local.reject(shard, seq, channel)
    if (outcome.kind === 'committed')
      this.#flushers.get(this.#local.ownerOf(shard))?.rejected(shardName(shard), seq)
    return outcome
  }

  /** Flushes what can be flushed; tells how many entries are left. */
  async drain(deadlineMs: number): Promise<number> {
    const left = await Promise.all([...this.#flushers.values()].map((flusher) => flusher.drain(deadlineMs)))
    return left.reduce((sum, one) => sum + one, 0)
  }

  /** The owner's shards are gone from here: finishes its transaction and forgets it. It may come back. */
  async release(owner: string): Promise<void> {
    await this.#flushers.get(owner)?.stop()
    this.#flushers.delete(owner)
    this.#asked.delete(owner)
  }

  /** Finishes the transactions that run, and lets MySQL go. */
  async close(): Promise<void> {
    await Promise.all([...this.#flushers.values()].map((flusher) => flusher.stop()))
    await this.#options.database.close()
  }

  /** What must be waited for before the shard may be opened, null = nothing. */
  #obstacle(shard: ShardId): Promise<unknown> | null {
    const tables = this.#byOwner.get(shard.contract)
    if (!tables) return null
    const owner = this.#local.ownerOf(shard)
    const flusher = this.#flusher(owner)
    if (flusher.readiness.over) throw flusher.readiness.over
    if (flusher.readiness.isResetting) return flusher.ready()
    const critical = this.#local.outbox(owner).last(shard, true)
    if (critical > flusher.applied) return Promise.resolve(flusher.passed(critical, shardName(shard)))
    if (this.#local.isLoaded(shard)) return this.#ask(owner, flusher)
    if (!flusher.readiness.isReady) return flusher.ready()
    const { readiness } = flusher
    const { resets } = readiness
    return this.#loader.load(shard, tables, () => {
      if (flusher.readiness.over) throw flusher.readiness.over
      if (readiness.resets !== resets) throw new CallError('RETRY_LATER', 'the store was emptied meanwhile')
    })
  }

  #ask(owner: string, flusher: Flusher): Promise<void> | null {
    if (this.#options.asksFirst === false || flusher.readiness.isReady || this.#asked.has(owner)) return null
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = this.#options.clock.after(Math.min(ASK_MS, this.#waitMs), resolve)
    void flusher.tried().then(resolve)
    return promise.then(() => {
      timer.cancel()
      this.#asked.add(owner)
    })
  }

  #flusher(owner: string): Flusher {
    const known = this.#flushers.get(owner)
    if (known) return known
    const { database, clock, log, onStale, onFenced, flushMs } = this.#options
    const flusher = new Flusher({
      owner,
      outbox: this.#local.outbox(owner),
      database,
      tables: this.#byName,
      clock,
      log,
      row: (shard, table, key) => this.#local.row(shardId(shard), table, key),
      holds: (shard) => this.#local.isLoaded(shardId(shard)),
      reject: async (shard, seq) => (await this.#local.reject?.(shardId(shard), seq, null)) ?? NO_REJECT,
      onStale: () => {
        if (this.#opened.delete(owner)) onStale?.(owner)
      },
      onFenced: (cause) => onFenced?.(owner, cause),
      lanes: this.#lanes,
      ...(flushMs === undefined ? {} : { flushMs }),
    })
    this.#flushers.set(owner, flusher)
    return flusher
  }

  /** @throws CallError RETRY_LATER at the deadline, or when MySQL is away */
  async #within<T>(untilMs: number, work: Awaitable<T>, what: string): Promise<T> {
    const { clock } = this.#options
    const late = Promise.withResolvers<never>()
    const timer = clock.after(Math.max(0, untilMs - clock.mono()), () =>
      late.reject(new CallError('RETRY_LATER', `${what}: MySQL has not answered in ${this.#waitMs} ms`)),
    )
    try {
      return await Promise.race([work, late.promise])
    } catch (cause) {
      if (!(cause instanceof DatabaseError && cause.kind === 'unavailable')) throw cause
      throw new CallError('RETRY_LATER', `${what}: ${cause.message}`, { cause })
    } finally {
      timer.cancel()
    }
  }
}

const NO_REJECT: Outcome = { kind: 'failed', cause: new Error('this store cannot take a turn back') }

function shardId(name: string): ShardId {
  const slash = name.indexOf('/')
  return { contract: name.slice(0, slash), key: name.slice(slash + 1) }
}
