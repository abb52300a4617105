// What a turn costs on the bill: rows that the object's SQLite wrote for it, MySQL included, as ObjectStore counts them.
// An alarm, which is one more row for many turns, is not among them.

import { setTimeout as sleep } from 'node:timers/promises'

import { connect } from '../../../client/index.ts'
import { Market, Purse } from '../../../examples/market/contract.ts'
import type { Workers } from '../../support/workers.ts'
import type { Books, Deed } from './books.ts'
import { Tally, type Victim } from './edgegame.ts'

export interface RowsWritten {
  /** A turn that changes one row. */
  readonly oneRow: number
  /** A deposit: the purse changes, the ledger has one more. */
  readonly deposit: number
}

const TURNS = 40
const NAME = 'meter'
/** Its outbox has been flushed and swept by then. */
const REST_MS = 600

/** One player, one turn after the other. What it deposits stands in the books. */
export async function measureRows(workers: Workers, books: Books): Promise<RowsWritten> {
  await using session = await connect(workers.url)
  await session.at(Market).open({ player: NAME })
  const purse = session.at(Purse, NAME)
  const tally = session.at(Tally, NAME)
  const deposit = async (n: number): Promise<void> => {
    const deed: Deed = {
      id: `${NAME}-${n}`,
      player: NAME,
      kind: 'deposit',
      to: '',
      amount: 1,
      gold: null,
    }
    books.deeds.set(deed.id, deed)
    const { gold } = await purse.deposit({ amount: 1, id: deed.id })
    books.acknowledge(deed, gold)
  }
  return {
    oneRow: await rowsOf(workers, 'tally', () => tally.add({})),
    deposit: await rowsOf(workers, 'purse', deposit),
  }
}

async function rowsOf(
  workers: Workers,
  contract: string,
  turn: (n: number) => Promise<unknown>,
): Promise<number> {
  // The first one makes the object.
  await turn(0)
  await sleep(REST_MS)
  const object = await workers.stubOf<Victim>(contract, NAME)
  const before = await object.rowsWritten()
  for (let n = 1; n <= TURNS; n++) await turn(n)
  await sleep(REST_MS)
  return ((await object.rowsWritten()) - before) / TURNS
}
