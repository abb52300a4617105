// Servers with one fault each, built around the right server. The drill must detect every one of them, or it would not
// detect that fault in the product.
//
//   mutant   | fault                                            | violation that detects it
//   ---------+--------------------------------------------------+--------------------------------------------------
//   fence    | the batch of a dead server is not fenced         | 'zombie': the answer is 'applied'
//   mark     | the mark of a turn is committed after its rows   | 'doubled': a repeated cast is received twice
//   takeover | a fresh store assumes its rows are in MySQL      | 'lost': acknowledged, and never flushed to MySQL
//   order    | the answer is sent before the commit             | 'lost': acknowledged, and not stored after the kill
//   unknown  | a COMMIT whose answer was lost is repeated later | 'mysql': MySQL has an earlier state of a purse

import type { Game } from '../../../core/game/game.ts'
import { mysqlClient } from '../../../core/node/mysqlpool.ts'
import type { LocalStore } from '../../../core/outbox/localstore.ts'
import type { Batch, Database } from '../../../core/ports/database.ts'
import { COMMITTED, type Store, type WriteSet } from '../../../core/ports/store.ts'
import type { SqlClient } from '../../../core/sql/client.ts'
import { SqlDatabase } from '../../../core/sql/database.ts'
import { override } from '../../support/override.ts'
import { droppedAnswerError, type KillTrigger } from './hooks.ts'
import type { ServerOrder } from './killpoints.ts'

export interface MutantHooks {
  store?(inner: Store): Store
  local?(inner: LocalStore): LocalStore
  database?(inner: Database): Database
}

/** A client receives an early answer within this time. */
const COMMIT_DELAY_MS = 20
/** The answer of the first transaction with updates from this one on is lost: early, so that the rows change afterwards. */
const LOST_ANSWER = 3

export function mutantOf(order: ServerOrder, game: Game, trigger: KillTrigger): MutantHooks {
  switch (order.mutant) {
    case 'mark':
      return { store: (inner) => commitMarkLater(inner, trigger) }
    case 'order':
      return { local: (inner) => answerBeforeCommit(inner, trigger) }
    case 'takeover':
      return { local: withoutRaise, database: forgetApplied }
    case 'unknown':
      return { database: (inner) => applyTwice(inner, order.mysql, game) }
    default:
      // The fault of 'fence' is in the drill, which applies the batches of dead servers.
      return {}
  }
}

/** Statement 0 of a transaction is the fence: its result is accepted whether it matches or not. */
export function withoutFence(inner: SqlClient): SqlClient {
  return override<SqlClient>(inner, {
    transact: (statements, accept) =>
      inner.transact(statements, (index, result) => index === 0 || accept(index, result)),
  })
}

/** The part of a batch that can be applied twice: MySQL refuses to insert a row twice, and with it the whole batch. */
export function updatesOf(batch: Batch): Batch {
  return { ...batch, rows: batch.rows.filter(({ op }) => op === 'update') }
}

function commitMarkLater(inner: Store, trigger: KillTrigger): Store {
  return override<Store>(inner, {
    async commit(write) {
      const { channel } = write
      if (!channel) return inner.commit(write)
      const outcome = await inner.commit({ ...write, channel: null })
      // The mark of a cast between shards: the market itself recognizes repeated requests of clients by their ids.
      if (channel.id.startsWith('@')) trigger.killAt('before-mark')
      void inner.commit({ ...emptyWriteOf(write), channel })
      return outcome
    },
  })
}

function answerBeforeCommit(inner: LocalStore, trigger: KillTrigger): LocalStore {
  return override<LocalStore>(inner, {
    commit(write) {
      setTimeout(() => {
        if (isClientCall(write)) trigger.killAt('before-local-commit')
        void inner.commit(write)
      }, COMMIT_DELAY_MS)
      return COMMITTED
    },
  })
}

function withoutRaise(inner: LocalStore): LocalStore {
  return override<LocalStore>(inner, {
    outboxOf: (owner) => override(inner.outboxOf(owner), { raiseSeq: () => COMMITTED }),
  })
}

/** A takeover reports nothing as applied. Without a `raiseSeq` the fence then treats new turns as already applied. */
function forgetApplied(inner: Database): Database {
  return override<Database>(inner, {
    async takeover(owner, storeId) {
      return { ...(await inner.takeover(owner, storeId)), appliedSeq: 0, storeId }
    },
  })
}

/**
 * Writes the batch whose answer was lost once more when the server drains, the most harmful time. (An immediate repeat is
 * harmless: MySQL refuses its inserts, and the flusher then queries what was applied.)
 */
function applyTwice(inner: Database, mysql: string, game: Game): Database {
  const unanswered: Batch[] = []
  let applied = 0
  return override<Database>(inner, {
    async apply(batch) {
      const result = await inner.apply(batch)
      if (result !== 'applied' || unanswered.length > 0 || ++applied < LOST_ANSWER) return result
      if (updatesOf(batch).rows.length === 0) return result
      unanswered.push(batch)
      throw droppedAnswerError()
    },
    async close() {
      const database = new SqlDatabase(withoutFence(mysqlClient({ url: mysql })), { tables: [...game.tables.values()] })
      for (const batch of unanswered) await database.apply(updatesOf(batch))
      await database.close()
      await inner.close()
    },
  })
}

function isClientCall({ channel }: WriteSet): boolean {
  return channel !== null && !channel.id.startsWith('@')
}

function emptyWriteOf({ shard, activation, wakeMs }: WriteSet): WriteSet {
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
