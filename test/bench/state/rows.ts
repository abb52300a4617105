// SQLite rows written for one durable turn that changes one row, with MySQL: the row, the mark of its channel, the
// outbox entry, and its deletion after MySQL has it. Cloudflare bills each of them.

import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'

import { openHost } from '../../../core/node/host.ts'
import { printRatio } from '../figure.ts'
import { roundFigure } from '../../support/figure.ts'
import { game } from './game.ts'
import { waitUntilFlushed, type BenchEnvironment } from './environment.ts'
import { createLoad } from './turns.ts'

const AIM = { kind: 'max', value: 4 } as const
/** Flushed entries are deleted with a later batch, or after a second. */
const STABLE_MS = 1_500
const POLL_MS = 100

export async function measureRowsWritten(environment: BenchEnvironment): Promise<void> {
  using written = new SqliteRowCounter()
  const host = await openHost({
    game,
    dir: environment.folderOf('rows'),
    mysql: await environment.createDatabase('rows', game),
  })
  try {
    const load = { shards: 1_000, inFlight: 1 }
    const generator = createLoad(host, load)
    const settle = async (): Promise<void> => {
      await waitUntilFlushed(host.tiers!)
      await waitUntilStable(() => written.count())
    }
    // Creates shards, rows and channels.
    await generator.runCalls(2)
    await settle()
    const turns = environment.profile.quick ? 10_000 : 100_000
    const perTurn = await rowsPerTurn(
      () => written.count(),
      turns,
      async () => {
        await generator.runCalls(turns / load.shards)
        await settle()
      },
    )
    const labels = {
      bench: 'state',
      figure: 'rowsWritten',
      host: 'node',
      turns,
      perTurn: roundFigure(perTurn),
    }
    // Rounded, because a slot that becomes idle writes its counter once more, independent of the number of turns.
    printRatio(environment.profile, labels, roundFigure(perTurn), AIM)
  } finally {
    await host.close()
  }
}

/** `count`: all rows written so far; on Cloudflare `ObjectStore.rowsWritten`. */
async function rowsPerTurn(count: () => number, turns: number, play: () => Promise<void>): Promise<number> {
  const before = count()
  await play()
  return (count() - before) / turns
}

/** Resolves when the count has not changed for STABLE_MS. */
async function waitUntilStable(count: () => number): Promise<void> {
  for (let last = count(), sinceMs = performance.now(); performance.now() - sinceMs < STABLE_MS;) {
    await sleep(POLL_MS)
    const now = count()
    if (now !== last) sinceMs = performance.now()
    last = now
  }
}

/** Rows inserted, updated and deleted by the SQLite connections of this process, as SQLite counts them. */
class SqliteRowCounter implements Disposable {
  readonly #connections = new Set<DatabaseSync>()
  readonly #original = Object.getOwnPropertyDescriptor(DatabaseSync.prototype, 'prepare')!

  /** Counts connections that prepare a statement from now on. */
  constructor() {
    const connections = this.#connections
    const prepare = this.#original.value as DatabaseSync['prepare']
    DatabaseSync.prototype.prepare = function (this: DatabaseSync, ...args) {
      connections.add(this)
      return prepare.apply(this, args)
    }
  }

  count(): number {
    let sum = 0
    for (const connection of this.#connections)
      sum += Number(connection.prepare('SELECT total_changes() AS n').get()?.['n'])
    return sum
  }

  [Symbol.dispose](): void {
    Object.defineProperty(DatabaseSync.prototype, 'prepare', this.#original)
  }
}
