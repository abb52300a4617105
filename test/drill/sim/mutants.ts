// Bugs that are built into a run on purpose: the drill must find each of them, or it would not find the same bug in the
// product.
//
//   --plant | bug                                  | found as
//   --------+--------------------------------------+-----------------------------------------------------------
//   mark    | the mark of a turn is not committed  | 'doubled': a resent cast is received twice; 'hang'
//   early   | answers are sent before the commit   | 'early': answered, and not on the disk
//   fence   | MySQL applies batches of any sender  | 'zombie': a batch of an older epoch is applied

import type { Database } from '../../../core/ports/database.ts'
import { COMMITTED, type Store } from '../../../core/ports/store.ts'
import { override } from '../../support/override.ts'
import type { SimEnvironment } from './environment.ts'

type MutantEnvironment = Pick<SimEnvironment, 'clock' | 'database'>

export interface SimMutant {
  /** Replaces the store of an engine. */
  store?(inner: Store, environment: MutantEnvironment): Store
  /** Replaces MySQL. */
  database?(inner: Database, environment: MutantEnvironment): Database
}

export const SIM_MUTANTS: Readonly<Record<'mark' | 'early' | 'fence', SimMutant>> = {
  mark: { store: withoutMarks },
  early: { store: answerBeforeCommit },
  fence: { database: withoutFence },
}
export type SimMutantName = keyof typeof SIM_MUTANTS

const COMMIT_DELAY_MS = 20

function withoutMarks(inner: Store): Store {
  return override(inner, { commit: (write) => inner.commit({ ...write, channel: null }) })
}

function answerBeforeCommit(inner: Store, { clock }: MutantEnvironment): Store {
  return override(inner, {
    commit: (write) => {
      clock.after(COMMIT_DELAY_MS, () => void inner.commit(write))
      return COMMITTED
    },
  })
}

/** MySQL reads epoch and sequence of a batch when it checks them, and finds the values that it expects. */
function withoutFence(inner: Database, { database }: MutantEnvironment): Database {
  return override(inner, {
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
