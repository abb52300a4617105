// What the market keeps: for each player one purse, and one ledger entry for every change of it.

import { t, table } from '../../core/game/index.ts'
import { kind, MAX_GOLD, MAX_NAME, Purse } from './contract.ts'

const gold = t.int(0, MAX_GOLD)

export const purses = table(
  'purse',
  {
    player: t.string(MAX_NAME),
    gold,
    /** Sent, and not yet known to have arrived: room is kept for it, because it may come back. */
    pending: gold,
    /** How many ledger entries there are. */
    entries: t.u32,
  },
  { key: 'player', owner: Purse },
)

export const ledger = table(
  'ledger',
  {
    player: t.string(MAX_NAME),
    n: t.u32,
    /** What makes a request known again: `own:ID`, `from:PAYER:ID`, `back:ID`. */
    cause: t.string(160),
    id: t.string(MAX_NAME),
    kind,
    amount: gold,
    /** The purse after it. */
    gold,
  },
  { key: ['player', 'n'], by: ['cause'], shardKey: 'player', owner: Purse },
)
