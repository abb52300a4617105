// What the measurements of `bench state` share: a folder on the disk, a MariaDB whose data is in the same folder, and
// the reading of waits. Invariant: nothing of it outlives the process, however that ends.

import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'

import type { Game } from '../../../core/game/game.ts'
import type { TieredStore } from '../../../core/outbox/tieredstore.ts'
import { createDatabase } from '../../drill/market/sources.ts'
import { startMariadb, type Mariadb } from '../../support/mariadb.ts'
import { diskFolder } from '../disk.ts'
import type { Profile } from '../figure.ts'
import { progress, roundFigure } from '../../support/figure.ts'

export interface BenchEnvironment {
  readonly profile: Profile
  /** A new folder on the disk. */
  readonly folderOf: (name: string) => string
  /** The URL of a new database with the tables of the game. @throws MariadbMissing */
  readonly createDatabase: (name: string, game: Game) => Promise<string>
  [Symbol.asyncDispose](): Promise<void>
}

const POLL_MS = 5
/** statfs(2) */
export function openEnvironment(profile: Profile): BenchEnvironment {
  const dir = mkdtempSync(join(diskFolder(), 'firefly-bench-state-'))
  progress(`state: files in ${dir}`)
  const remove = (): void => rmSync(dir, { recursive: true, force: true, maxRetries: 10 })
  let mariadb: Promise<Mariadb> | null = null
  process.once('exit', remove)
  const started = async (): Promise<Mariadb> => {
    const running = await startMariadb({ dir: join(dir, 'mariadb') })
    // Behind the handler that kills it.
    process.off('exit', remove).once('exit', remove)
    return running
  }
  return {
    profile,
    folderOf: (name) => join(dir, name),
    async createDatabase(name, game) {
      mariadb ??= started()
      return createDatabase((await mariadb).url, `bench_${name}`, [...game.tables.values()])
    },
    async [Symbol.asyncDispose]() {
      await (await mariadb)?.[Symbol.asyncDispose]()
      process.off('exit', remove)
      remove()
    },
  }
}

/** Entries that wait in all outboxes. */
export function outboxDepth(tiers: TieredStore): number {
  let depth = 0
  for (const owner of tiers.metrics.owners.values()) depth += owner.depth
  return depth
}

/** Resolves with the seconds that it took. */
export async function waitUntilFlushed(tiers: TieredStore): Promise<number> {
  const startMs = performance.now()
  while (outboxDepth(tiers) > 0) await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  return (performance.now() - startMs) / 1_000
}

export function percentile(waits: readonly number[], fraction: number): number {
  const sorted = waits.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))] ?? 0
}

export interface EventLoopLag {
  readonly loopLagP50Ms: number
  readonly loopLagP99Ms: number
  readonly loopLagMaxMs: number
}

/** How late timers are while it works: 1 ms, the resolution, is none. */
export async function measureLag<T>(work: () => Promise<T>): Promise<readonly [T, EventLoopLag]> {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  try {
    const result = await work()
    const ms = (ns: number): number => roundFigure(ns / 1e6)
    const [p50, p99] = [delay.percentile(50), delay.percentile(99)]
    return [result, { loopLagP50Ms: ms(p50), loopLagP99Ms: ms(p99), loopLagMaxMs: ms(delay.max) }]
  } finally {
    delay.disable()
  }
}
