// Servers that are wrong in one way each, built around the right one. The drill must find out every one of them, or it
// would not find out the product either.
//
//   mutant   | what is wrong                                 | what finds it out
//   ---------+-----------------------------------------------+------------------------------------------------------
//   fence    | a dead server's batch is not shut out         | 'zombie': it is answered 'applied' and not 'fenced'
//   mark     | a turn's mark is committed behind its rows    | 'doubled': a cast that comes again is received again
//   takeover | a fresh store believes its rows are in MySQL  | 'lost': acknowledged, and MySQL never hears of them
//   order    | answered before it is committed               | 'lost': acknowledged, and after the kill nowhere
//   unknown  | a COMMIT whose answer is lost is done again   | 'mysql': a purse in MySQL is what it was before

import type { Game } from '../../../core/game/game.ts'
import { mysqlClient } from '../../../core/node/mysqlpool.ts'
import { COMMITTED, type Store, type WriteSet } from '../../../core/ports/store.ts'
import type { Batch, Database } from '../../../core/ports/database.ts'
import type { SqlClient } from '../../../core/sql/client.ts'
import { SqlDatabase } from '../../../core/sql/database.ts'
import type { LocalStore } from '../../../core/outbox/localstore.ts'
import type { ServerOrder } from './points.ts'
import { dropped, replaced, type Trigger } from './seams.ts'

export interface MutantSeams {
  store?(inner: Store): Store
  local?(inner: LocalStore): LocalStore
  database?(inner: Database): Database
}

/** An answer that is given too early has left by then. */
const LATE_MS = 20
/** Of this transaction. */
const LOST_ANSWER = 10

export function mutantOf(order: ServerOrder, game: Game, trigger: Trigger): MutantSeams {
  switch (order.mutant) {
    case 'mark':
      return { store: (inner) => markLater(inner, trigger) }
    case 'order':
      return { local: (inner) => answerFirst(inner, trigger) }
    case 'takeover':
      return { local: neverRaised, database: knowingNothing }
    case 'unknown':
      return { database: (inner) => doneAgain(inner, order.mysql, game) }
    default:
      // 'fence' is wrong where the drill applies the batches of dead servers.
      return {}
  }
}

/** Statement 0 of a transaction, the fence, may match or not. */
export function unguarded(inner: SqlClient): SqlClient {
  return replaced<SqlClient>(inner, {
    transact: (statements, accept) =>
      inner.transact(statements, (index, result) => index === 0 || accept(index, result)),
  })
}

/** What can be done twice: a row that is there refuses a second insert, and with it all of the batch. */
export function updatesOf(batch: Batch): Batch {
  return { ...batch, rows: batch.rows.filter(({ op }) => op === 'update') }
}

function markLater(inner: Store, trigger: Trigger): Store {
  return replaced<Store>(inner, {
    async commit(write) {
      const { channel } = write
      if (!channel) return inner.commit(write)
      const outcome = await inner.commit({ ...write, channel: null })
      // The mark of a cast between shards: what clients repeat, the market knows again by its own ids.
      if (channel.id.startsWith('@')) trigger.dieAt('before-mark')
      void inner.commit({ ...nothingOf(write), channel })
      return outcome
    },
  })
}

function answerFirst(inner: LocalStore, trigger: Trigger): LocalStore {
  return replaced<LocalStore>(inner, {
    commit(write) {
      setTimeout(() => {
        if (isClients(write)) trigger.dieAt('before-local-commit')
        void inner.commit(write)
      }, LATE_MS)
      return COMMITTED
    },
  })
}

function neverRaised(inner: LocalStore): LocalStore {
  return replaced<LocalStore>(inner, {
    outboxOf: (owner) => replaced(inner.outboxOf(owner), { raiseSeq: () => COMMITTED }),
  })
}

/** A takeover does not tell what was applied. Without a `raise` the fence then takes new turns for old ones. */
function knowingNothing(inner: Database): Database {
  return replaced<Database>(inner, {
    async takeover(owner, storeId) {
      return { ...(await inner.takeover(owner, storeId)), appliedSeq: 0, storeId }
    },
  })
}

/**
 * Writes the batch whose answer was lost once more when the server drains, at the worst time. (At once it does no harm:
 * MySQL refuses its inserts, and the flusher then asks what was applied.)
 */
function doneAgain(inner: Database, mysql: string, game: Game): Database {
  const lost: Batch[] = []
  let applied = 0
  return replaced<Database>(inner, {
    async apply(batch) {
      const result = await inner.apply(batch)
      if (result !== 'applied' || ++applied !== LOST_ANSWER) return result
      lost.push(batch)
      throw dropped()
    },
    async close() {
      const again = new SqlDatabase(unguarded(mysqlClient({ url: mysql })), {
        tables: [...game.tables.values()],
      })
      for (const batch of lost) await again.apply(updatesOf(batch))
      await again.close()
      await inner.close()
    },
  })
}

function isClients({ channel }: WriteSet): boolean {
  return channel !== null && !channel.id.startsWith('@')
}

function nothingOf({ shard, activation, wakeMs }: WriteSet): WriteSet {
  return {
    shard,
    activation,
    kv: null,
    timers: null,
    channel: null,
    snapshot: null,
    rows: null,
    casts: null,
    critical: false,
    undo: null,
    wakeMs,
  }
}
