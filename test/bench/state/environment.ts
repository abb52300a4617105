// What the parts of `bench state` share: a folder on the disk, and a MariaDB whose data is in that folder. Invariant:
// neither outlives the process.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Game } from '../../../core/game/game.ts'
import type { TieredStore } from '../../../core/outbox/tieredstore.ts'
import { createDatabase } from '../../drill/market/sources.ts'
import type { DatabaseServer } from '../../support/databaseserver.ts'
import { startMariadb } from '../../support/mariadb.ts'
import { createFolder } from '../disk.ts'
import type { Profile } from '../figure.ts'
import { progress } from '../../support/figure.ts'

export interface BenchEnvironment {
  readonly profile: Profile
  /** A new folder on the disk. */
  readonly folderOf: (name: string) => string
  /** The URL of a new database with the tables of the game. @throws MariadbMissing */
  readonly createDatabase: (name: string, game: Game) => Promise<string>
  [Symbol.asyncDispose](): Promise<void>
}

const POLL_MS = 5

export function openEnvironment(profile: Profile): BenchEnvironment {
  const dir = createFolder('state')
  progress(`state: files in ${dir}`)
  const remove = (): void => rmSync(dir, { recursive: true, force: true, maxRetries: 10 })
  let mariadb: Promise<DatabaseServer> | null = null
  process.once('exit', remove)
  const start = async (): Promise<DatabaseServer> => {
    const running = await startMariadb({ dir: join(dir, 'mariadb') })
    // The folder is removed after the handler of MariaDB has killed it.
    process.off('exit', remove).once('exit', remove)
    return running
  }
  return {
    profile,
    folderOf: (name) => join(dir, name),
    async createDatabase(name, game) {
      mariadb ??= start()
      return createDatabase((await mariadb).url, `bench_${name}`, [...game.tables.values()])
    },
    async [Symbol.asyncDispose]() {
      await (await mariadb)?.[Symbol.asyncDispose]()
      process.off('exit', remove)
      remove()
    },
  }
}

/** Entries in all outboxes. */
export function outboxDepth(tiers: TieredStore): number {
  let depth = 0
  for (const owner of tiers.metrics.owners.values()) depth += owner.depth
  return depth
}

/** Returns the seconds until all outboxes are empty. */
export async function waitUntilFlushed(tiers: TieredStore): Promise<number> {
  const startMs = performance.now()
  while (outboxDepth(tiers) > 0) await sleep(POLL_MS)
  return (performance.now() - startMs) / 1_000
}
