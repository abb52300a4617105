// Fixture of the TieredStore tests: two tables of one contract, stores and MySQL in memory on one manual clock, and
// processes that can crash between any two of their steps.

import { table, type TableDefinition } from '../../core/game/table.ts'
import { ManualClock, MemoryLog } from '../../core/testing/memory.ts'
import type { Clock } from '../../core/ports/clock.ts'
import type { Database } from '../../core/ports/database.ts'
import type { Outcome, Row, RowChange, StoredShard, WriteSet } from '../../core/ports/store.ts'
import type { ShardId } from '../../core/wire/shardid.ts'
import { MemoryDatabase } from '../../core/testing/database.ts'
import { MemoryLocalStore, type MemoryLocalStoreOptions } from '../../core/testing/localstore.ts'
import { TieredStore, type TieredStoreOptions } from '../../core/outbox/tieredstore.ts'
import { contract } from '../../core/wire/contract.ts'
import { t } from '../../core/wire/type.ts'
import { writeSet } from './slotfixture.ts'

export const Player = contract('player', {})
/** A table of class local. */
export const items = table(
  'items',
  { player: t.id, name: t.string(20), n: t.int(0, 1_000_000), mark: t.nullable(t.string(20)) },
  { key: ['player', 'name'], owner: Player, unique: ['mark'] },
).definition
/** A table of class critical. */
export const coins = table(
  'coins',
  { player: t.id, name: t.string(20), n: t.int(0, 1_000_000) },
  { key: ['player', 'name'], owner: Player, class: 'critical' },
).definition
export const tables = [items, coins]
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
export function insert(table: TableDefinition, row: Row): RowChange {
  return { table, op: 'insert', key: table.key.map(({ name }) => row[name]), values: row }
}
export function update(table: TableDefinition, shard: ShardId, name: string, values: Row): RowChange {
  return { table, op: 'update', key: [shard.key, name], values }
}
export function remove(table: TableDefinition, shard: ShardId, name: string): RowChange {
  return { table, op: 'delete', key: [shard.key, name], values: {} }
}

/** A process: a clock and a connection to MySQL that stop when it ends. Requests that it has sent still arrive. */
export class ProcessLifetime {
  readonly #clock: Clock
  #hasEnded = false
  constructor(clock: Clock) {
    this.#clock = clock
  }
  end(): void {
    this.#hasEnded = true
  }
  get clock(): Clock {
    const clock = this.#clock
    const whileRunning = (run: () => void) => () => {
      if (!this.#hasEnded) run()
    }
    return {
      now: () => clock.now(),
      mono: () => clock.mono(),
      after: (ms, run) => clock.after(ms, whileRunning(run)),
      defer: (run) => clock.defer(whileRunning(run)),
      random: () => clock.random(),
      id: () => clock.id(),
    }
  }
  database(inner: Database): Database {
    const whileRunning = <T>(answer: Promise<T>): Promise<T> =>
      new Promise((resolve, reject) => {
        answer.then(
          (value) => !this.#hasEnded && resolve(value),
          (error: unknown) => !this.#hasEnded && reject(error as Error),
        )
      })
    return {
      takeover: (...args) => whileRunning(inner.takeover(...args)),
      lease: (...args) => whileRunning(inner.lease(...args)),
      apply: (...args) => whileRunning(inner.apply(...args)),
      load: (...args) => whileRunning(inner.load(...args)),
      row: (...args) => whileRunning(inner.row(...args)),
      criticalState: (...args) => whileRunning(inner.criticalState(...args)),
      parkedTurns: (...args) => whileRunning(inner.parkedTurns(...args)),
      nextId: (...args) => whileRunning(inner.nextId(...args)),
      close: () => Promise.resolve(),
    }
  }
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
  startProcess(
    local: MemoryLocalStore,
    options: Partial<TieredStoreOptions> = {},
  ): { readonly store: TieredStore; readonly crash: () => void } {
    const lifetime = new ProcessLifetime(this.clock)
    const store = new TieredStore({
      local,
      database: lifetime.database(this.database),
      tables,
      clock: lifetime.clock,
      log: this.log,
      onStale: (owner) => this.notifications.push(`stale ${owner}`),
      onFenced: (owner) => this.notifications.push(`fenced ${owner}`),
      ...options,
    })
    return { store, crash: () => lifetime.end() }
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
    const critical = rows.some((change) => change.table.class === 'critical')
    const undo = rows.map(({ table, key }): RowChange => {
      const before = this.local.row(this.shard, table, key)
      return { table, key, op: before ? 'store-put' : 'store-delete', values: before ?? {} }
    })
    return this.store.commit(
      writeSet(this.shard, this.activation, {
        rows,
        critical,
        undo: writeSet(this.shard, this.activation, { rows: undo }),
        ...part,
      }),
    )
  }
}

export async function activateShard(
  fixture: TieredStoreFixture,
  store: TieredStore,
  local: MemoryLocalStore,
  shard: ShardId,
): Promise<ActiveShard> {
  return new ActiveShard(store, local, shard, await fixture.waitFor(store.open(shard)))
}
