// Rows that an object's SQLite writes per turn, flush to MySQL included, as ObjectStore counts them: Cloudflare bills
// them. The row of an alarm is not counted; one alarm serves many turns.

import { setTimeout as sleep } from 'node:timers/promises'

import { connect } from '../../../client/index.ts'
import { Market, Purse } from '../../../examples/market/contract.ts'
import type { Workers } from '../../support/workers.ts'
import type { RequestLog } from '../market/requestlog.ts'
import { Tally, type KillableObject } from './game.ts'

export interface RowsWritten {
  /** A turn that changes one row. */
  readonly oneRow: number
  /** A deposit: it changes the purse and adds an entry to the ledger. */
  readonly deposit: number
}

const TURNS = 40
const NAME = 'meter'
/** The outbox is flushed and cleaned within this time. */
const FLUSH_MS = 600

/** Sends turns one after the other, as a player of its own whose deposits are in the log. */
export async function measureRows(workers: Workers, log: RequestLog): Promise<RowsWritten> {
  await using session = await connect(workers.url)
  await session.at(Market).open({ player: NAME })
  const purse = session.at(Purse, NAME)
  const tally = session.at(Tally, NAME)
  const deposit = async (n: number): Promise<void> => {
    const of = log.begin({ id: `${NAME}-${n}`, player: NAME, kind: 'deposit', to: '', amount: 1 })
    log.acknowledge(of, (await purse.deposit({ amount: 1, id: of.id })).gold)
  }
  return {
    oneRow: await rowsPerTurn(workers, 'tally', () => tally.add({})),
    deposit: await rowsPerTurn(workers, 'purse', deposit),
  }
}

async function rowsPerTurn(workers: Workers, contract: string, turn: (n: number) => Promise<unknown>): Promise<number> {
  // The first turn creates the object.
  await turn(0)
  await sleep(FLUSH_MS)
  const object = await workers.stubOf<KillableObject>(contract, NAME)
  const before = await object.rowsWritten()
  for (let n = 1; n <= TURNS; n++) await turn(n)
  await sleep(FLUSH_MS)
  return ((await object.rowsWritten()) - before) / TURNS
}
