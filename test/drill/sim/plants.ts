// Bugs of our own making, built around the product: the drill must find out each of them, or it would not find out the
// product either.
//
//   plant | what is wrong                            | what finds it out
//   ------+------------------------------------------+--------------------------------------------------------------
//   mark  | a turn's mark is not committed           | 'doubled': a cast that comes again is received again; 'hang'
//   early | answered before it is committed          | 'early': answered, and not on the disk
//   fence | MySQL takes batches whoever sends them   | 'zombie': a batch of an older epoch is applied

import { COMMITTED, type Store } from '../../../core/ports/store.ts'
import type { Database } from '../../../core/ports/database.ts'
import type { World } from './world.ts'

export interface Plant {
  /** Between the engine and its tiers. */
  store?(inner: Store, world: World): Store
  /** Between a process and its way to MySQL. */
  database?(inner: Database, world: World): Database
  /** Between that way and MySQL. */
  server?(inner: Database, world: World): Database
}

export const PLANTS: Readonly<Record<'mark' | 'early' | 'fence', Plant>> = {
  mark: { store: withoutMarks },
  early: { store: answersFirst },
  fence: { server: withoutFence },
}
export type PlantName = keyof typeof PLANTS

const LATE_MS = 20

function withoutMarks(inner: Store): Store {
  return over(inner, { commit: (write) => inner.commit({ ...write, channel: null }) })
}

function answersFirst(inner: Store, { clock }: World): Store {
  return over(inner, {
    commit: (write) => {
      clock.after(LATE_MS, () => void inner.commit(write))
      return COMMITTED
    },
  })
}

/** Epoch and sequence are read when MySQL looks at them, and are then what it wants to see. */
function withoutFence(inner: Database, { database }: World): Database {
  return over(inner, {
    apply: (batch) => {
      const { owner } = batch
      return inner.apply({
        ...batch,
        get epoch() {
          return database.leases.get(owner)?.epoch ?? batch.epoch
        },
        get firstSeq() {
          return (database.leases.get(owner)?.appliedSeq ?? 0) + 1
        },
      })
    },
  })
}

/** `inner` with some of its methods replaced; private fields stay where they are. */
function over<T extends object>(inner: T, methods: Partial<T>): T {
  return new Proxy(inner, {
    get(target, name) {
      const own = Reflect.get(methods, name) as unknown
      if (own !== undefined) return own
      const value = Reflect.get(target, name, target) as unknown
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}
