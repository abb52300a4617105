// What the tests of the tiers share: two tables of one kind of shard, stores and MySQL in memory on one manual clock,
// and lives of the process above them that can end between any two of its steps.

import { table, type TableDefinition } from '../../core/game/table.ts'
import { ManualClock, MemoryLog } from '../../core/run/memory.ts'
import type {
  Clock,
  Database,
  Outcome,
  Row,
  RowChange,
  ShardId,
  Stored,
  WriteSet,
} from '../../core/run/ports.ts'
import { MemoryDatabase, MemoryLocalStore, type MemoryLocalOptions } from '../../core/tiers/memory.ts'
import { Tiers, type TiersOptions } from '../../core/tiers/tiers.ts'
import { contract } from '../../core/wire/contract.ts'
import { t } from '../../core/wire/type.ts'
import { set } from './slotbench.ts'

export const Player = contract('player', {})
/** Of class local. */
export const items = table(
  'items',
  { player: t.id, name: t.string(20), n: t.int(0, 1_000_000), mark: t.nullable(t.string(20)) },
  { key: ['player', 'name'], owner: Player, unique: ['mark'] },
).definition
/** Of class critical. */
export const coins = table(
  'coins',
  { player: t.id, name: t.string(20), n: t.int(0, 1_000_000) },
  { key: ['player', 'name'], owner: Player, class: 'critical' },
).definition
export const tables = [items, coins]
export const byName = new Map(tables.map((one) => [one.name, one]))

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

/** One life of a process: a clock and a way to MySQL that end with it. What it has sent still arrives. */
export class Life {
  readonly #clock: Clock
  #isOver = false
  constructor(clock: Clock) {
    this.#clock = clock
  }
  end(): void {
    this.#isOver = true
  }
  get clock(): Clock {
    const clock = this.#clock
    const living = (run: () => void) => () => {
      if (!this.#isOver) run()
    }
    return {
      now: () => clock.now(),
      mono: () => clock.mono(),
      after: (ms, run) => clock.after(ms, living(run)),
      defer: (run) => clock.defer(living(run)),
      random: () => clock.random(),
      id: () => clock.id(),
    }
  }
  database(inner: Database): Database {
    const passes = <T>(answer: Promise<T>): Promise<T> =>
      new Promise((resolve, reject) => {
        answer.then(
          (value) => !this.#isOver && resolve(value),
          (error: unknown) => !this.#isOver && reject(error as Error),
        )
      })
    return {
      takeover: (...args) => passes(inner.takeover(...args)),
      lease: (...args) => passes(inner.lease(...args)),
      apply: (...args) => passes(inner.apply(...args)),
      load: (...args) => passes(inner.load(...args)),
      row: (...args) => passes(inner.row(...args)),
      remains: (...args) => passes(inner.remains(...args)),
      parked: (...args) => passes(inner.parked(...args)),
      nextId: (...args) => passes(inner.nextId(...args)),
      close: () => Promise.resolve(),
    }
  }
}

/** A clock, MySQL, and the processes that come and go. */
export class World {
  readonly clock: ManualClock
  readonly log = new MemoryLog()
  readonly database: MemoryDatabase
  readonly told: string[] = []

  constructor(seed = 1) {
    this.clock = new ManualClock(seed)
    this.database = new MemoryDatabase(this.clock, tables)
  }

  /** A disk. */
  store(options: Partial<MemoryLocalOptions> = {}): MemoryLocalStore {
    return new MemoryLocalStore({ clock: this.clock, ...options })
  }

  /** A process on that disk. */
  process(
    local: MemoryLocalStore,
    options: Partial<TiersOptions> = {},
  ): { readonly tiers: Tiers; readonly crash: () => void } {
    const life = new Life(this.clock)
    const tiers = new Tiers({
      local,
      database: life.database(this.database),
      tables,
      clock: life.clock,
      log: this.log,
      onStale: (owner) => this.told.push(`stale ${owner}`),
      onFenced: (owner) => this.told.push(`fenced ${owner}`),
      ...options,
    })
    return { tiers, crash: () => life.end() }
  }

  /** Time goes by, in steps so small that promises keep up with it. */
  async pass(ms: number, stepMs = 5): Promise<void> {
    await breathe()
    for (let left = ms; left > 0; left -= stepMs) {
      this.clock.advance(Math.min(stepMs, left))
      await breathe()
    }
  }

  /** Lets time go by until it is settled. */
  async wait<T>(promise: T | Promise<T>, maxMs = 60_000): Promise<T> {
    let isOver = false
    const over = (): void => void (isOver = true)
    Promise.resolve(promise).then(over, over)
    for (let ms = 0; ms < maxMs; ms++) {
      await breathe()
      if (isOver) return promise
      this.clock.advance(1)
    }
    throw new Error(`not settled after ${maxMs} ms`)
  }

  says(part: string): boolean {
    return this.log.lines.some(({ message }) => message.includes(part))
  }
}

const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A shard that is awake: turns as its engine would commit them. */
export class Awake {
  readonly tiers: Tiers
  readonly local: MemoryLocalStore
  readonly shard: ShardId
  readonly activation: number

  constructor(tiers: Tiers, local: MemoryLocalStore, shard: ShardId, { activation }: Stored) {
    this.tiers = tiers
    this.local = local
    this.shard = shard
    this.activation = activation
  }

  /** A turn that changes these rows; critical where one of their tables is. */
  turn(rows: RowChange[], part: Partial<WriteSet> = {}): Outcome | Promise<Outcome> {
    const critical = rows.some((change) => change.table.class === 'critical')
    const undo = rows.map(({ table, key }): RowChange => {
      const before = this.local.row(this.shard, table, key)
      return { table, key, op: before ? 'fill' : 'drop', values: before ?? {} }
    })
    return this.tiers.commit(
      set(this.shard, this.activation, {
        rows,
        critical,
        undo: set(this.shard, this.activation, { rows: undo }),
        ...part,
      }),
    )
  }
}

export async function awake(
  world: World,
  tiers: Tiers,
  local: MemoryLocalStore,
  shard: ShardId,
): Promise<Awake> {
  return new Awake(tiers, local, shard, await world.wait(tiers.open(shard)))
}
