// The Node host: one engine with the ports of this machine. Invariant: all shards run in this process, which owns every
// slot of its data directory.

import type { Game } from '../game/game.ts'
import { Engine, type EngineOptions } from '../engine/engine.ts'
import type { ShardId } from '../wire/shardid.ts'
import type { Clock } from '../ports/clock.ts'
import type { Database } from '../ports/database.ts'
import type { Log } from '../ports/log.ts'
import type { Store } from '../ports/store.ts'
import { SqlDatabase } from '../sql/database.ts'
import type { LocalStore } from '../outbox/localstore.ts'
import { TieredStore } from '../outbox/tieredstore.ts'
import { DefinitionError } from '../wire/errors.ts'
import { systemClock, watchWallClock } from './clock.ts'
import { openDatabase } from './database.ts'
import { jsonLog, type LogLevel } from './log.ts'
import type { Sources } from './sources.ts'
import { SlotStore } from './slotstore.ts'
import { WakeScheduler } from './wakescheduler.ts'

/** Options of `openHost`. */
export interface HostOptions extends EngineOptions {
  /** The game to run. */
  readonly game: Game
  /** Folder of the slot files. */
  readonly dir: string
  /** Number of slot files; never changes for a data directory. Default 32. */
  readonly slots?: number
  /** URL of the MySQL database: mysql://…, or https://… for PlanetScale. Default: none. */
  readonly mysql?: string
  /** Connections to it. Default 8. */
  readonly mysqlPool?: number
  /** Longest time a non-critical turn is delayed to share a MySQL batch with others. Default 100. */
  readonly flushMs?: number
  /** Least level of lines that are printed. Default 'warn'. */
  readonly logLevel?: LogLevel
  /** The game's source text, which error lines of the log quote. */
  readonly sources?: Sources | undefined
  /** Wraps the store of the engine, to inject faults in tests. */
  readonly wrapStore?: (store: Store) => Store
  /** Wraps the slot files below the tiers. */
  readonly wrapLocal?: (local: LocalStore) => LocalStore
  /** Wraps MySQL below the tiers. */
  readonly wrapDatabase?: (database: Database) => Database
}

/** A running engine with its stores, without listeners. */
export interface Host {
  /** Runs the shards. */
  readonly engine: Engine
  /** The platform's clock. */
  readonly clock: Clock
  /** Prints one JSON object per line. */
  readonly log: Log
  /** null without MySQL. */
  readonly tiers: TieredStore | null
  /** Drains the engine, flushes to MySQL as far as the time limit allows, and closes the store. */
  close(): Promise<void>
}

const DEFAULT_POOL_SIZE = 8
/** Time limit of a drain for commits, and again for MySQL. */
const DRAIN_MS = 10_000

/**
 * Opens the stores and starts the engine.
 * @throws StoreError, DatabaseError, DriftError when the data directory or the database cannot be used
 */
export async function openHost(options: HostOptions): Promise<Host> {
  const { game, dir } = options
  const clock = systemClock
  const log = jsonLog(options.logLevel ?? 'warn', undefined, options.sources)
  const tables = [...game.tables.values()]
  const criticalTable = tables.find((table) => table.class === 'critical')
  if (criticalTable && !options.mysql)
    throw new DefinitionError(
      `table ${criticalTable.name} is critical: start with --mysql (npm run mariadb starts one)`,
    )
  const client = options.mysql
    ? await openDatabase(options.mysql, options.mysqlPool ?? DEFAULT_POOL_SIZE, tables, log)
    : null
  const wakeScheduler = new WakeScheduler(clock)
  const { slots, flushMs } = options
  const onWake = (shard: ShardId, dueMs: number | null): void => wakeScheduler.schedule(shard, dueMs)
  let slotStore: SlotStore
  try {
    slotStore = await SlotStore.open({ dir, clock, log, onWake, tables, outbox: client !== null, slots })
  } catch (error) {
    await client?.close()
    throw error
  }
  const local = options.wrapLocal?.(slotStore) ?? slotStore
  let tiers: TieredStore | null = null
  if (client) {
    const sqlDatabase = new SqlDatabase(client, { tables })
    const database = options.wrapDatabase?.(sqlDatabase) ?? sqlDatabase
    const restartShardsOf = (owner: string): void => engine.restartWhere((id) => local.ownerOf(id) === owner)
    tiers = new TieredStore({
      local,
      database,
      tables,
      clock,
      log,
      onStale: restartShardsOf,
      onFenced: restartShardsOf,
      flushMs,
    })
  }
  const store = tiers ?? local
  const engine = new Engine(game, { clock, log, store: options.wrapStore?.(store) ?? store }, options)
  wakeScheduler.start(
    (shard, dueMs) => engine.wake(shard, dueMs),
    (onDue) => slotStore.scanDueTimers(onDue),
  )
  const clockWatch = watchWallClock(clock, (ms) => {
    log.warn('the wall clock jumped', { ms: Math.round(ms) })
    engine.wallClockJumped()
    wakeScheduler.wallClockJumped()
  })
  tiers?.start()
  return {
    engine,
    clock,
    log,
    tiers,
    close: async () => {
      wakeScheduler.stop()
      clockWatch.cancel()
      await waitAtMost(clock, DRAIN_MS, engine.drain())
      const unsentTurns = (await tiers?.drain(DRAIN_MS)) ?? 0
      if (unsentTurns > 0) log.warn('turns are not in MySQL yet; they stay in the data folder', { turns: unsentTurns })
      await tiers?.close()
      await slotStore.closeStore()
    },
  }
}

async function waitAtMost(clock: Clock, ms: number, work: Promise<void>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = clock.after(ms, resolve)
  await Promise.race([work, promise])
  timer.cancel()
}
