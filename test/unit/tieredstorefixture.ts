// Fixture of the TieredStore tests: two tables of one contract, stores and MySQL in memory on one manual clock, and
// processes that can crash between any two of their steps.

import assert from 'node:assert/strict'

import type { TableDefinition } from '../../core/game/table.ts'
import { ManualClock, MemoryLog } from '../../core/testing/memory.ts'
import type { Database } from '../../core/ports/database.ts'
import type { Outcome, Row, RowChange, StoredShard, WriteSet } from '../../core/ports/store.ts'
import type { ShardId } from '../../core/wire/shardid.ts'
import { MemoryDatabase } from '../../core/testing/database.ts'
import { MemoryLocalStore, type MemoryLocalStoreOptions } from '../../core/testing/localstore.ts'
import { TieredStore, type TieredStoreOptions } from '../../core/outbox/tieredstore.ts'
import { t } from '../../core/wire/type.ts'
import { defineTable } from '../support/tables.ts'
import { ProcessLifetime } from '../drill/sim/lifetime.ts'
import { writeSet } from './slotfixture.ts'

/** A table of class local. */
export const items = defineTable(
  'items',
  { player: t.id, name: t.string(20), n: t.int(0, 1_000_000), mark: t.nullable(t.string(20)) },
  { key: ['player', 'name'], unique: ['mark'] },
)
/** A table of class critical. */
export const coins = defineTable(
  'coins',
  { player: t.id, name: t.string(20), n: t.int(0, 1_000_000) },
  { key: ['player', 'name'], class: 'critical' },
)
const tables = [items, coins]
export const tablesByName = new Map(tables.map((table) => [table.name, table]))

export const player = (key: string): ShardId => ({ contract: 'player', key })
export const ada = player('ada')
export const bob = player('bob')

export function item(shard: ShardId, name: string, n: number, mark: string | null = null): Row {
  return { player: shard.key, name, n, mark }
}
export function coin(shard: ShardId, name: string, n: number): Row {
  return { player: shard.key, name, n }
}
export function update(table: TableDefinition, shard: ShardId, name: string, values: Row): RowChange {
  return { table, op: 'update', key: [shard.key, name], values }
}
export function remove(table: TableDefinition, shard: ShardId, name: string): RowChange {
  return { table, op: 'delete', key: [shard.key, name], values: {} }
}

/** A running process on one store. */
interface StoreProcess {
  readonly store: TieredStore
  activate(shard: ShardId): Promise<ActiveShard>
  crash(): void
}

/** A clock, MySQL, and any number of processes. */
export class TieredStoreFixture {
  readonly clock: ManualClock
  readonly log = new MemoryLog()
  readonly database: MemoryDatabase
  readonly notifications: string[] = []

  constructor(seed = 1) {
    this.clock = new ManualClock(seed)
    this.database = new MemoryDatabase(this.clock, tables)
  }

  /** Creates the store of one disk. */
  createStore(options: Partial<MemoryLocalStoreOptions> = {}): MemoryLocalStore {
    return new MemoryLocalStore({ clock: this.clock, ...options })
  }

  /** Starts a process on that store. */
  startProcess(local: MemoryLocalStore, options: Partial<TieredStoreOptions> = {}): StoreProcess {
    const lifetime = new ProcessLifetime('process', this.clock, { wallMs: 0 })
    const store = new TieredStore({
      local,
      database: databaseOf(lifetime, this.database),
      tables,
      clock: lifetime.clock,
      log: this.log,
      onStale: (owner) => this.notifications.push(`stale ${owner}`),
      onFenced: (owner) => this.notifications.push(`fenced ${owner}`),
      ...options,
    })
    const activate = async (shard: ShardId): Promise<ActiveShard> =>
      new ActiveShard(store, local, shard, await this.waitFor(store.open(shard)))
    return { store, activate, crash: () => lifetime.end() }
  }

  /** Starts a process on that store, by default a new one, and activates `ada`. */
  async startShard(local = this.createStore(), options: Partial<TieredStoreOptions> = {}) {
    const process = this.startProcess(local, options)
    return { local, process, ...process, shard: await process.activate(ada) }
  }

  /** Waits for the outcome of a commit. */
  async assertCommitted(outcome: Outcome | Promise<Outcome>): Promise<void> {
    assert.equal((await this.waitFor(outcome)).kind, 'committed')
  }

  /** Advances the clock in steps small enough for promises to settle in between. */
  async advance(ms: number, stepMs = 5): Promise<void> {
    await settlePromises()
    for (let left = ms; left > 0; left -= stepMs) {
      this.clock.advance(Math.min(stepMs, left))
      await settlePromises()
    }
  }

  /** Advances the clock until the promise is settled. */
  async waitFor<T>(promise: T | Promise<T>, maxMs = 60_000): Promise<T> {
    let isSettled = false
    const settled = (): void => void (isSettled = true)
    Promise.resolve(promise).then(settled, settled)
    for (let ms = 0; ms < maxMs; ms++) {
      await settlePromises()
      if (isSettled) return promise
      this.clock.advance(1)
    }
    throw new Error(`not settled after ${maxMs} ms`)
  }

  hasLogged(part: string): boolean {
    return this.log.lines.some(({ message }) => message.includes(part))
  }
}

/** The connection of a process to MySQL. A request that was sent arrives even if the process has ended meanwhile. */
function databaseOf(lifetime: ProcessLifetime, database: MemoryDatabase): Database {
  return new Proxy<Database>(database, {
    get(_, name: keyof Database) {
      if (name === 'close') return () => Promise.resolve()
      return (...args: never) => lifetime.whileAlive<unknown>(Reflect.apply(database[name], database, args))
    },
  })
}

const settlePromises = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** An activation of a shard: commits turns as its engine would. */
export class ActiveShard {
  readonly store: TieredStore
  readonly local: MemoryLocalStore
  readonly shard: ShardId
  readonly activation: number

  constructor(store: TieredStore, local: MemoryLocalStore, shard: ShardId, { activation }: StoredShard) {
    this.store = store
    this.local = local
    this.shard = shard
    this.activation = activation
  }

  /** Commits a turn that changes these rows; critical if one of their tables is. */
  commitTurn(rows: RowChange[], part: Partial<WriteSet> = {}): Outcome | Promise<Outcome> {
    return this.store.commit(turnWriteSet(this.local, this.shard, this.activation, rows, part))
  }
}

/** The write set of a turn as its engine would make it, with the changes that undo it. */
export function turnWriteSet(
  local: MemoryLocalStore,
  shard: ShardId,
  activation: number,
  rows: RowChange[],
  part: Partial<WriteSet>,
): WriteSet {
  const critical = rows.some((change) => change.table.class === 'critical')
  const undo = rows.map(({ table, key }): RowChange => {
    const before = local.row(shard, table, key)
    return { table, key, op: before ? 'store-put' : 'store-delete', values: before ?? {} }
  })
  return writeSet(shard, activation, { rows, critical, undo: writeSet(shard, activation, { rows: undo }), ...part })
}
