// The market: deposits, transfers between players, history. Invariant: an answered request is never lost or applied twice.
// `id` identifies a request of the caller, and a repeated request returns the first answer.

import { firefly, service, shard, t, type Rows } from 'firefly-game'
import { Market, MAX_ENTRIES, MAX_GOLD, MAX_NAME, Purse, type KINDS } from './contract.ts'
import { ledger, purses } from './tables.ts'

const tables = { purses, ledger }
type Own = Rows<typeof tables>
type Kind = (typeof KINDS)[number]

const market = service(Market)
  .public()
  .on('open', async (c, { player }) => {
    if (!isName(player)) throw c.fail('BAD_PLAYER')
    const { gold } = await c.at(Purse, player).call.balance()
    await c.login(player)
    c.bind(Purse, player)
    return { player, gold }
  })

const purse = shard(Purse)
  .bound()
  .tables(tables)
  .answer('sent', Purse.entries.receive, { id: t.string(MAX_NAME), amount: t.u32 }, (c, { id, amount }, answer) => {
    const { accepted } = answer.ok ? answer.output : { accepted: 0 }
    const own = c.rows.purses.get()!
    own.increment('pending', -amount)
    if (accepted < amount) addEntry(c.rows, `back:${id}`, 'returned', id, amount - accepted)
  })
  .on('deposit', (c, { amount, id }) => {
    const name = nameOf(id)
    if (name === null) throw c.fail('BAD_ID')
    const first = entryOf(c.rows, `own:${name}`)
    if (first) return { gold: first.gold }
    if (!isAmount(amount)) throw c.fail('BAD_AMOUNT')
    if (amount > freeCapacity(c.rows)) throw c.fail('PURSE_FULL', `a purse holds ${MAX_GOLD}`)
    return { gold: addEntry(c.rows, `own:${name}`, 'deposit', name, amount) }
  })
  .on('transfer', (c, { to, amount, id }) => {
    const name = nameOf(id)
    if (name === null) throw c.fail('BAD_ID')
    const first = entryOf(c.rows, `own:${name}`)
    if (first) return { gold: first.gold }
    if (!isAmount(amount)) throw c.fail('BAD_AMOUNT')
    if (!isName(to) || to === c.key) throw c.fail('BAD_RECEIVER')
    const own = c.rows.purses.get()
    if (!own || own.gold < amount) throw c.fail('TOO_POOR')
    const gold = addEntry(c.rows, `own:${name}`, 'sent', name, amount)
    own.increment('pending', amount)
    // Sent when this turn commits; the answer `sent` receives the accepted amount.
    const cast = { from: c.key, amount, id: name }
    c.at(Purse, to).cast.receive(cast, { answer: 'sent', data: { id: name, amount } })
    return { gold }
  })
  .on('receive', (c, { from, amount, id }) => {
    const accepted = Math.min(amount, freeCapacity(c.rows))
    if (accepted > 0) addEntry(c.rows, `from:${from}:${id}`, 'received', id, accepted)
    return { accepted }
  })
  .on('balance', (c) => ({ gold: c.rows.purses.get()?.gold ?? 0 }))
  .on('history', (c, { limit = MAX_ENTRIES }) => {
    if (!isAmount(limit)) throw c.fail('BAD_LIMIT')
    const entries = c.rows.ledger.all({}, { limit: Math.min(limit, MAX_ENTRIES), descending: true })
    return { entries: entries.map(({ id, kind, amount, gold }) => ({ id, kind, amount, gold })) }
  })

export default firefly({ market, purse })

/** Changes the purse and adds the ledger entry. Returns the new amount of gold. */
function addEntry(rows: Own, cause: string, kind: Kind, id: string, amount: number): number {
  const own = rows.purses.get() ?? rows.purses.insert({ gold: 0, pending: 0, entries: 0 })
  const gold = own.gold + (kind === 'sent' ? -amount : amount)
  rows.ledger.insert({ n: own.entries, cause, id, kind, amount, gold })
  own.update({ gold, entries: own.entries + 1 })
  return gold
}

function entryOf(rows: Own, cause: string): { readonly gold: number } | undefined {
  return rows.ledger.all({ cause }, { limit: 1 })[0]
}

/** The amount that the purse can still receive. Pending gold counts, because it may be returned. */
function freeCapacity(rows: Own): number {
  const own = rows.purses.get()
  return own ? MAX_GOLD - own.gold - own.pending : MAX_GOLD
}

function isAmount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= MAX_GOLD
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && /^[\w.@-]{1,64}$/.test(value)
}

/** Text of 1..64 characters, or the digits of an integer. */
function nameOf(id: unknown): string | null {
  if (Number.isSafeInteger(id)) return String(id)
  return typeof id === 'string' && id.length >= 1 && id.length <= MAX_NAME && id.isWellFormed() ? id : null
}
