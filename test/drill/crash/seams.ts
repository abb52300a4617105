// The kill points inside a server: around its Store, and around its Database. Nothing of the product knows them.

import { COMMITTED, type Store } from '../../../core/ports/store.ts'
import type { Batch, Database } from '../../../core/ports/database.ts'
import { DatabaseError } from '../../../core/sql/client.ts'
import type { PackedBatch, Point, ServerOrder, Told } from './points.ts'

/** Counts how often the ordered point was come by. */
export class Trigger {
  readonly #point: Point | null
  #left: number

  constructor({ point, nth }: ServerOrder) {
    this.#point = point
    this.#left = nth
  }

  /** This is the ordered time. */
  at(point: Point): boolean {
    return point === this.#point && --this.#left === 0
  }

  dieAt(point: Point): void {
    if (this.at(point)) die()
  }
}

export function die(): never {
  process.kill(process.pid, 'SIGKILL')
  for (;;);
}

export function tell(told: Told, done: () => void = () => {}): void {
  process.send!(told, undefined, undefined, done)
}

/** The port with some of its methods replaced. */
export function replaced<T extends object>(inner: T, own: Partial<T>): T {
  const bound = new Map<unknown, unknown>()
  return new Proxy(inner, {
    get(target, name): unknown {
      if (Object.hasOwn(own, name)) return own[name as keyof T]
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      if (!bound.has(value)) bound.set(value, value.bind(target))
      return bound.get(value)
    },
  })
}

export function killingStore(inner: Store, trigger: Trigger): Store {
  return replaced<Store>(inner, {
    async commit(write) {
      trigger.dieAt('before-store-commit')
      const outcome = await inner.commit(write)
      if (outcome.kind === COMMITTED.kind) trigger.dieAt('after-store-commit')
      return outcome
    },
  })
}

export function killingDatabase(inner: Database, trigger: Trigger): Database {
  return replaced<Database>(inner, {
    async takeover(owner, storeId) {
      trigger.dieAt('before-takeover')
      const lease = await inner.takeover(owner, storeId)
      trigger.dieAt('after-takeover')
      return lease
    },
    async apply(batch) {
      trigger.dieAt('before-flush')
      // The batch arrives after its server is gone: by the hand of the drill.
      if (trigger.at('zombie'))
        return new Promise(() => tell({ what: 'zombie', batch: packBatch(batch) }, die))
      const result = await inner.apply(batch)
      if (result === 'fenced') return result
      trigger.dieAt('between-commit-and-answer')
      // Once everybody has heard who waits for it.
      if (trigger.at('after-flush')) setImmediate(die)
      if (trigger.at('dropped-answer')) throw dropped()
      return result
    },
  })
}

/** MySQL has it, and its answer is lost. */
export function dropped(): DatabaseError {
  tell({ what: 'dropped' })
  return new DatabaseError('unavailable', 'the drill dropped the answer of a COMMIT')
}

function packBatch(batch: Batch): PackedBatch {
  return { ...batch, rows: batch.rows.map((change) => ({ ...change, table: change.table.name })) }
}
