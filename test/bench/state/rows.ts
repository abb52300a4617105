// Rows written for one durable turn of one changed row, with MySQL behind: the row, the mark of its channel, the entry
// of the outbox, and that entry's end when MySQL has it. On Cloudflare each of them stands on the bill.

import { DatabaseSync } from 'node:sqlite'

import { openHost } from '../../../core/node/host.ts'
import { printRatio } from '../figure.ts'
import { roundFigure } from '../../support/figure.ts'
import { game } from './game.ts'
import { waitUntilFlushed, type BenchEnvironment } from './environment.ts'
import { createLoad } from './turns.ts'

const AIM = { kind: 'max', value: 4 } as const
/** Entries that MySQL has are deleted with a later batch, or a second after. */
const STABLE_MS = 1_500
const POLL_MS = 100

export async function measureRowsWritten(lab: BenchEnvironment): Promise<void> {
  using written = new SqliteRowCounter()
  const host = await openHost({
    game,
    dir: lab.folderOf('rows'),
    mysql: await lab.createDatabase('rows', game),
  })
  try {
    const load = { shards: 1_000, inFlight: 1 }
    const crowd = createLoad(host, load)
    const settle = async (): Promise<void> => {
      await waitUntilFlushed(host.tiers!)
      await waitUntilStable(() => written.count())
    }
    // Shards, rows and channels are made.
    await crowd.runCalls(2)
    await settle()
    const turns = lab.profile.quick ? 10_000 : 100_000
    const perTurn = await rowsPerTurn(
      () => written.count(),
      turns,
      async () => {
        await crowd.runCalls(turns / load.shards)
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
    // Rounded: a slot that comes to rest writes its counter once more, however many turns were before.
    printRatio(lab.profile, labels, roundFigure(perTurn), AIM)
  } finally {
    await host.close()
  }
}

/** `count`: rows that were ever written, whoever counts them; on Cloudflare `ObjectStore.rowsWritten` does. */
async function rowsPerTurn(count: () => number, turns: number, play: () => Promise<void>): Promise<number> {
  const before = count()
  await play()
  return (count() - before) / turns
}

/** Until it has not changed for a while. */
async function waitUntilStable(count: () => number): Promise<void> {
  for (let last = count(), sinceMs = performance.now(); performance.now() - sinceMs < STABLE_MS;) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    const now = count()
    if (now !== last) sinceMs = performance.now()
    last = now
  }
}

/** Rows inserted, changed and deleted by every SQLite connection of this process, as SQLite itself counts them. */
class SqliteRowCounter implements Disposable {
  readonly #connections = new Set<DatabaseSync>()
  readonly #original = Object.getOwnPropertyDescriptor(DatabaseSync.prototype, 'prepare')!

  /** Connections that are opened from now on. */
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
    for (const one of this.#connections) sum += Number(one.prepare('SELECT total_changes() AS n').get()?.['n'])
    return sum
  }

  [Symbol.dispose](): void {
    Object.defineProperty(DatabaseSync.prototype, 'prepare', this.#original)
  }
}
