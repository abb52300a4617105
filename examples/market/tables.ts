// The market's tables: one purse per player, and one ledger entry per change of a purse.

import { t, table } from 'firefly-game'
import { kind, MAX_GOLD, MAX_NAME, Purse } from './contract.ts'

const gold = t.int(0, MAX_GOLD)

export const purses = table(
  'purse',
  {
    player: t.string(MAX_NAME),
    gold,
    /** Sent but not confirmed: the capacity stays reserved, because the gold may be returned. */
    pending: gold,
    /** Number of ledger entries. */
    entries: t.u32,
  },
  { key: 'player', owner: Purse },
)

export const ledger = table(
  'ledger',
  {
    player: t.string(MAX_NAME),
    n: t.u32,
    /** Identifies a repeated request: `own:ID`, `from:PAYER:ID`, `back:ID`. */
    cause: t.string(160),
    id: t.string(MAX_NAME),
    kind,
    amount: gold,
    /** The purse after it. */
    gold,
  },
  { key: ['player', 'n'], by: ['cause'], shardKey: 'player', owner: Purse },
)
