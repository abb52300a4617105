// The kill points inside a server: wrappers of its Store and its Database. The product contains none of them.

import type { Batch, Database } from '../../../core/ports/database.ts'
import { COMMITTED, type Store } from '../../../core/ports/store.ts'
import { DatabaseError } from '../../../core/sql/client.ts'
import { override } from '../../support/override.ts'
import { report } from '../../support/serverprogram.ts'
import type { KillPoint, PackedBatch, ServerMessage, ServerOrder } from './killpoints.ts'

/** Counts how often the ordered point is reached. */
export class KillTrigger {
  readonly #point: KillPoint | null
  #left: number

  constructor({ point, nth }: ServerOrder) {
    this.#point = point
    this.#left = nth
  }

  /** Returns true the ordered time. */
  isDue(point: KillPoint): boolean {
    return point === this.#point && --this.#left === 0
  }

  killAt(point: KillPoint): void {
    if (this.isDue(point)) killSelf()
  }
}

export function killSelf(): never {
  process.kill(process.pid, 'SIGKILL')
  for (;;);
}

export function storeWithKillPoints(inner: Store, trigger: KillTrigger): Store {
  return override<Store>(inner, {
    async commit(write) {
      trigger.killAt('before-store-commit')
      const outcome = await inner.commit(write)
      if (outcome.kind === COMMITTED.kind) trigger.killAt('after-store-commit')
      return outcome
    },
  })
}

export function databaseWithKillPoints(inner: Database, trigger: KillTrigger): Database {
  return override<Database>(inner, {
    async takeover(owner, storeId) {
      trigger.killAt('before-takeover')
      const lease = await inner.takeover(owner, storeId)
      trigger.killAt('after-takeover')
      return lease
    },
    async apply(batch) {
      trigger.killAt('before-flush')
      // The drill sends this batch after the death of its server.
      if (trigger.isDue('zombie'))
        return new Promise(() => report<ServerMessage>({ what: 'zombie', batch: packBatch(batch) }, killSelf))
      const result = await inner.apply(batch)
      if (result === 'fenced') return result
      trigger.killAt('between-commit-and-answer')
      // After all callers that wait for the batch have their answer.
      if (trigger.isDue('after-flush')) setImmediate(killSelf)
      if (trigger.isDue('dropped-answer')) throw droppedAnswerError()
      return result
    },
  })
}

/** The error of a COMMIT that MySQL has executed and whose answer is lost. */
export function droppedAnswerError(): DatabaseError {
  report<ServerMessage>({ what: 'dropped' })
  return new DatabaseError('unavailable', 'the drill dropped the answer of a COMMIT')
}

function packBatch(batch: Batch): PackedBatch {
  return { ...batch, rows: batch.rows.map((change) => ({ ...change, table: change.table.name })) }
}
