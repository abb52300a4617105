// The Node host: the engine with its ports filled by this machine. All shards live in this process; the slots of
// one data directory are theirs alone.

import type { Game } from '../game/game.ts'
import { Engine, type EngineOptions } from '../run/engine.ts'
import { shardName, type Clock, type Log, type ShardId, type Store, type Timer } from '../run/ports.ts'
import { systemClock } from './clock.ts'
import { jsonLog, type LogLevel } from './log.ts'
import { SlotStore } from './store.ts'

export interface HostOptions extends EngineOptions {
  readonly game: Game
  /** Where the slot files are. */
  readonly dir: string
  /** Number of slot files; fixed for the life of a data directory. Default 32. */
  readonly slots?: number
  readonly logLevel?: LogLevel
  /** Stands between engine and store, for tests that break it. */
  readonly wrapStore?: (store: Store) => Store
}

export interface Host {
  readonly engine: Engine
  readonly clock: Clock
  readonly log: Log
  /** Saves what is to be saved and closes the store. */
  close(): Promise<void>
}

/** @throws StoreError when the data directory cannot be used */
export async function openHost(options: HostOptions): Promise<Host> {
  const clock = systemClock
  const log = jsonLog(options.logLevel ?? 'warn')
  const alarms = new Map<string, Timer>()
  /** Shards whose timers were found before the engine stood. */
  const early: [ShardId, number | null][] = []
  let engine: Engine | null = null
  const onWake = (shard: ShardId, dueMs: number | null): void => {
    const name = shardName(shard)
    alarms.get(name)?.cancel()
    alarms.delete(name)
    if (dueMs === null) return
    if (!engine) return void early.push([shard, dueMs])
    const wait = Math.min(Math.max(0, dueMs - clock.now()), LONGEST_MS)
    alarms.set(
      name,
      clock.after(wait, () => (clock.now() < dueMs ? onWake(shard, dueMs) : engine?.wake(shard))),
    )
  }
  const slots = options.slots === undefined ? {} : { slots: options.slots }
  const store = await SlotStore.open({ dir: options.dir, clock, log, onWake, ...slots })
  engine = new Engine(options.game, { clock, log, store: options.wrapStore?.(store) ?? store }, options)
  for (const [shard, dueMs] of early) onWake(shard, dueMs)
  const running = engine
  return {
    engine,
    clock,
    log,
    close: async () => {
      for (const alarm of alarms.values()) alarm.cancel()
      await running.drain()
      await store.close()
    },
  }
}

/** setTimeout's range. */
const LONGEST_MS = 2_147_483_647
