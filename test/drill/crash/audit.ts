// The reckoning at the end of a drill: what was acknowledged, against what the slot files and MySQL hold.

import { MAX_GOLD } from '../../../examples/market/contract.ts'
import type { Books, Deed } from './books.ts'
import type { LedgerEntry, MysqlSource, Purse, Source } from './database.ts'
import type { SlotSource } from './slots.ts'

export interface Verdict {
  /** Acknowledged ids that one of both does not have. */
  readonly lost: number
  readonly doubled: number
  readonly goldExpected: number
  readonly goldFound: number
  readonly mysqlEqual: boolean
  readonly parked: number
}

/** What became of a transfer at its other end. */
interface Arrival {
  received: number
  returned: number
}

export async function audit(books: Books, slots: SlotSource, mysql: MysqlSource): Promise<Verdict> {
  const players = new Set(
    [...books.deeds.values()].flatMap(({ player, to }) => (to === '' ? player : [player, to])),
  )
  const lost = new Set<string>()
  const doubled = new Set<string>()
  for (const source of [slots, mysql]) await check(books, source, players, lost, doubled)
  const mysqlEqual = await isEqual(books, slots, mysql, players)
  const goldExpected = sum([...books.deeds.values()].map(depositOf))
  const goldFound = sum((await mysql.purses()).map(({ gold }) => gold))
  if (goldFound !== goldExpected)
    books.fault('total', `MySQL has ${goldFound} gold, and ${goldExpected} were deposited`)
  const parked = await mysql.count('firefly_parked')
  if (parked > 0) books.fault('parked', `${parked} turns stand in firefly_parked`)
  const casts = slots.casts() + (await mysql.count('firefly_cast'))
  if (casts > 0) books.fault('unsettled', `${casts} durable casts have no answer`)
  return { lost: lost.size, doubled: doubled.size, goldExpected, goldFound, mysqlEqual, parked }
}

/** One source by itself. */
async function check(
  books: Books,
  source: Source,
  players: ReadonlySet<string>,
  lost: Set<string>,
  doubled: Set<string>,
): Promise<void> {
  const purses = new Map((await source.purses()).map((purse) => [purse.player, purse]))
  const found = new Set<string>()
  const arrivals = new Map<string, Arrival>()
  const twice = (id: string, what: string): void => {
    doubled.add(id)
    books.fault('doubled', `${what} in ${source.name}`)
  }
  for (const player of purses.keys())
    if (!players.has(player)) books.fault('strange', `${source.name} has a purse of ${player}`)
  for (const player of players) {
    const ledger = await source.ledger(player)
    checkLedger(books, source, purses.get(player), player, ledger)
    const causes = new Set<string>()
    for (const entry of ledger) {
      const { cause, id, kind, amount } = entry
      if (causes.has(cause)) twice(id, `${cause} of ${player}`)
      causes.add(cause)
      const deed = books.deeds.get(id)
      if (!deed) books.fault('strange', `${player} has ${cause} in ${source.name}, which nobody asked for`)
      else if (kind === 'deposit' || kind === 'sent') {
        found.add(id)
        checkOwn(books, source, deed, player, entry)
      } else {
        const arrival = arrivals.get(id) ?? { received: 0, returned: 0 }
        arrivals.set(id, arrival)
        if (kind === 'received') arrival.received += amount
        else arrival.returned += amount
        const owner = kind === 'received' ? deed.to : deed.player
        if (player !== owner)
          books.fault('transfer', `${id} was ${kind} by ${player}, not ${owner}, in ${source.name}`)
      }
    }
  }
  for (const deed of books.deeds.values()) {
    if (!found.has(deed.id)) {
      if (deed.gold === null) continue
      lost.add(deed.id)
      books.fault(
        'lost',
        `${deed.id} (${deed.kind} ${deed.amount}, answered ${deed.gold}) is not in ${source.name}`,
      )
    } else if (deed.kind === 'transfer') {
      const { received, returned } = arrivals.get(deed.id) ?? { received: 0, returned: 0 }
      if (received + returned !== deed.amount)
        books.fault(
          'transfer',
          `${deed.id} sent ${deed.amount}; ${received} were received and ${returned} returned in ${source.name}`,
        )
    }
  }
}

function checkOwn(
  books: Books,
  { name }: Source,
  deed: Deed,
  player: string,
  { kind, amount, gold }: LedgerEntry,
): void {
  const wanted = deed.kind === 'deposit' ? 'deposit' : 'sent'
  const same = player === deed.player && kind === wanted && amount === deed.amount
  if (!same || (deed.gold !== null && gold !== deed.gold))
    books.fault(
      'wrong',
      `${deed.id} is ${kind} ${amount}, then ${gold}, of ${player} in ${name}; ` +
        `acknowledged was ${wanted} ${deed.amount}, then ${deed.gold}, of ${deed.player}`,
    )
}

function checkLedger(
  books: Books,
  { name }: Source,
  purse: Purse | undefined,
  player: string,
  ledger: readonly LedgerEntry[],
): void {
  const wrong = (what: string): void => books.fault('ledger', `${player} in ${name}: ${what}`)
  let gold = 0
  for (const [i, entry] of ledger.entries()) {
    gold += entry.kind === 'sent' ? -entry.amount : entry.amount
    if (entry.n !== i) return wrong(`entry ${i} has number ${entry.n}`)
    if (entry.gold !== gold) return wrong(`entry ${i} says ${entry.gold}, the sum is ${gold}`)
    if (gold < 0 || gold > MAX_GOLD) return wrong(`after entry ${i} the purse holds ${gold}`)
  }
  if (!purse) return ledger.length === 0 ? undefined : wrong('there is no purse')
  if (purse.gold !== gold) wrong(`the purse holds ${purse.gold}, the ledger ends with ${gold}`)
  if (purse.entries !== ledger.length) wrong(`the purse counts ${purse.entries} entries of ${ledger.length}`)
  if (purse.pending !== 0) wrong(`${purse.pending} are pending`)
}

async function isEqual(
  books: Books,
  slots: Source,
  mysql: Source,
  players: ReadonlySet<string>,
): Promise<boolean> {
  const differ = (what: string): void => books.fault('mysql', what)
  const before = books.count('mysql')
  const byPlayer = new Map((await mysql.purses()).map((purse) => [purse.player, purse]))
  const purses = await slots.purses()
  if (purses.length !== byPlayer.size)
    differ(`${purses.length} purses in the slot files, ${byPlayer.size} in MySQL`)
  for (const purse of purses) {
    const [here, there] = [purse, byPlayer.get(purse.player)].map((one) => JSON.stringify(one))
    if (here !== there) differ(`the slot files have ${here}, MySQL has ${there}`)
  }
  for (const player of players) {
    const [here, there] = [await slots.ledger(player), await mysql.ledger(player)]
    if (here.length !== there.length)
      differ(`${player} has ${here.length} entries in the slot files and ${there.length} in MySQL`)
    const at = here.findIndex((entry, i) => JSON.stringify(entry) !== JSON.stringify(there[i]))
    if (at >= 0) differ(`${player}: ${JSON.stringify(here[at])} here, ${JSON.stringify(there[at])} in MySQL`)
  }
  return books.count('mysql') === before
}

function depositOf({ kind, gold, amount }: Deed): number {
  return kind === 'deposit' && gold !== null ? amount : 0
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0)
}
