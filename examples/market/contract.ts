// Transfers of gold between players. Bodies are JSON, so that any tool can call it. The game itself validates amounts, ids and
// names, so that it can answer an invalid one with a refusal.

import { command, contract, t } from 'firefly-game'

export const MAX_GOLD = 1_000_000_000
/** Maximum number of entries in one answer to `history`. */
export const MAX_ENTRIES = 100
export const MAX_NAME = 64

const gold = t.int(0, MAX_GOLD)
export const KINDS = ['deposit', 'sent', 'received', 'returned'] as const
export const kind = t.oneOf(...KINDS)
const entry = t.object({ id: t.string(MAX_NAME), kind, amount: gold, gold })

/** The first call of a session: logs it in as its player. (A real game verifies a ticket or a password here.) */
export const Market = contract(
  'market',
  { open: command(401, { player: t.unknown }, { player: t.string(MAX_NAME), gold }) },
  { codec: 'json', refuses: ['BAD_PLAYER'] },
)

/**
 * One player's purse; its key is the player. An `id` identifies one request of the player, of any command: a repeated request
 * returns the first answer. A refusal changes nothing and is not stored, so its id may be used again.
 */
export const Purse = contract(
  'purse',
  {
    deposit: command(402, { amount: t.unknown, id: t.unknown }, { gold }, { durable: true }),
    /** Deducts the gold immediately; the amount that the receiver's purse cannot take is returned later. */
    transfer: command(403, { to: t.unknown, amount: t.unknown, id: t.unknown }, { gold }, { durable: true }),
    balance: command(404, {}, { gold }),
    /** The newest first. */
    history: command(405, { limit: t.unknown }, { entries: t.array(entry, MAX_ENTRIES) }),
    /** From another purse. */
    receive: command(
      406,
      { from: t.string(MAX_NAME), amount: gold, id: t.string(MAX_NAME) },
      { accepted: gold },
      { durable: true, internal: true },
    ),
  },
  {
    codec: 'json',
    refuses: ['BAD_AMOUNT', 'BAD_ID', 'BAD_LIMIT', 'BAD_RECEIVER', 'PURSE_FULL', 'TOO_POOR'],
  },
)
