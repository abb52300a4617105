// The reckoning at the end of a run: what was acknowledged, against what MySQL and the disks hold.

import type { Row } from '../../../core/ports/store.ts'
import { MAX_GOLD } from '../../../examples/market/contract.ts'
import type { Deed } from './books.ts'
import type { World } from './world.ts'

interface Entry {
  readonly player: string
  readonly n: number
  readonly cause: string
  readonly id: string
  readonly kind: 'deposit' | 'sent' | 'received' | 'returned'
  readonly amount: number
  readonly gold: number
}
interface Purse {
  readonly player: string
  readonly gold: number
  readonly pending: number
  readonly entries: number
}

/** What is not at rest yet, '' = nothing. */
export function unsettled(world: World): string {
  const { machines, database, purses } = world
  for (const { disk, process } of machines) {
    if (!process || process.life.over) return `${disk.name} has no process`
    const [casting] = disk.casting()
    if (casting)
      return `${casting.shard.key} on ${disk.name} waits for the answer of cast ${casting.casts[0]!.sequence}`
    for (const owner of disk.slots) {
      const [turn] = disk.outboxOf(owner).turns
      if (turn?.data) return `turn ${turn.seq} of ${turn.shard} stands in the outbox of ${owner}`
    }
  }
  const [cast] = database.casts.keys()
  if (cast) return `cast ${cast} stands in MySQL`
  for (const row of database.rows(purses))
    if (row['pending'] !== 0) return `${String(row['player'])} has ${String(row['pending'])} pending in MySQL`
  return difference(world)
}

/** The first row in which MySQL and the disks differ, '' = none. */
function difference({ machines, database, ledger, purses }: World): string {
  for (const table of [purses, ledger]) {
    const text = (row: Row): string => JSON.stringify(table.columns.map(({ name }) => row[name]))
    const there = new Set(database.rows(table).map(text))
    const here = new Set(machines.flatMap(({ disk }) => disk.all(table).map(text)))
    for (const row of here) if (!there.has(row)) return `${table.name} ${row} is not in MySQL`
    for (const row of there)
      if (!here.has(row) && machines.some(({ disk }) => isLoaded(disk, row)))
        return `${table.name} ${row} is only in MySQL`
  }
  return ''
}

/** A shard that nobody has opened since its disk was lost is in MySQL alone. */
function isLoaded(disk: World['machines'][number]['disk'], row: string): boolean {
  return disk.isLoaded({ contract: 'purse', key: String((JSON.parse(row) as unknown[])[0]) })
}

/** Everything is at rest. */
export function audit(world: World): void {
  const { books, database, purses, ledger, profile } = world
  const different = difference(world)
  if (different) books.break('mysql', different)
  if (database.parkedRecords.length > 0 && !profile.poison)
    books.break(
      'parked',
      `${database.parkedRecords.length} turns, the first: ${database.parkedRecords[0]!.error}`,
    )
  const entries = Map.groupBy(database.rows(ledger) as unknown as Entry[], ({ player }) => player)
  const owners = new Map((database.rows(purses) as unknown as Purse[]).map((purse) => [purse.player, purse]))
  for (const [player, lines] of entries) checkLedger(world, player, lines, owners.get(player))
  for (const { player } of owners.values())
    if (!entries.has(player)) books.break('ledger', `${player} has a purse and no ledger`)
  const all = [...entries.values()].flat()
  const byId = Map.groupBy(all, ({ id }) => id)
  for (const deed of books.deeds.values()) checkDeed(world, deed, byId.get(deed.id) ?? [])
  for (const { player, gold, after } of books.reads) {
    const lines = entries.get(player) ?? []
    const from = after ? lines.findIndex(({ cause }) => cause === `own:${after.id}`) : -1
    const isSound = (gold === 0 && from < 0) || lines.some((line, i) => i >= from && line.gold === gold)
    if (!isSound) books.break('read', `${player} read ${gold} after ${after?.id ?? 'nothing'}`)
  }
  const gold = sum([...owners.values()].map((purse) => purse.gold))
  const deposited = sum(all.filter(({ kind }) => kind === 'deposit').map(({ amount }) => amount))
  const acknowledged = sum([...books.deeds.values()].map(depositOf))
  if (gold !== deposited) books.break('conserved', `${gold} gold, and ${deposited} were deposited`)
  // A refused request may have had an older copy of itself on its way.
  const isCertain = ![...books.deeds.values()].some(({ refused, gold }) => refused && gold === null)
  if (isCertain && deposited !== acknowledged)
    books.break('conserved', `${deposited} were deposited, and ${acknowledged} acknowledged`)
}

function checkLedger({ books }: World, player: string, lines: readonly Entry[], purse?: Purse): void {
  const causes = new Set<string>()
  const wrong = (what: string): void => books.break('ledger', `${player}: ${what}`)
  let gold = 0
  for (const [i, line] of lines.entries()) {
    gold += line.kind === 'sent' ? -line.amount : line.amount
    if (causes.has(line.cause)) books.break('doubled', `${line.cause} of ${player}`)
    causes.add(line.cause)
    if (line.n !== i) return wrong(`line ${i} has number ${line.n}`)
    if (line.gold !== gold) return wrong(`line ${i} says ${line.gold}, the sum is ${gold}`)
    if (gold < 0 || gold > MAX_GOLD) return wrong(`${gold} gold after line ${i}`)
    const deed = books.deeds.get(line.id)
    if (!deed) return books.break('strange', `${line.cause} of ${player}`)
    const isOwn = line.kind === 'deposit' || line.kind === 'sent' || line.kind === 'returned'
    if (player !== (isOwn ? deed.player : deed.to))
      return books.break('wrong', `${line.cause} stands in the ledger of ${player}`)
  }
  if (purse?.gold !== gold || purse.entries !== lines.length || purse.pending !== 0)
    wrong(`${gold} gold in ${lines.length} lines, the purse says ${JSON.stringify(purse)}`)
}

/** `lines` are all that name it, whoever has them. */
function checkDeed({ books }: World, deed: Deed, lines: readonly Entry[]): void {
  const { id, player, kind, amount } = deed
  const own = lines.find((line) => line.player === player && line.cause === `own:${id}`)
  const told = deed.gold ?? deed.given
  if (!own) {
    if (told !== null) books.break('lost', `${id}: ${kind} ${amount}, answered ${told}, is not in MySQL`)
    else if (!deed.refused) books.break('hang', `${id} was neither answered nor refused`)
    return
  }
  const isRight = own.kind === (kind === 'deposit' ? 'deposit' : 'sent') && own.amount === amount
  if (!isRight || (told !== null && own.gold !== told))
    return books.break('wrong', `${id}: ${kind} ${amount}, answered ${told}, is ${JSON.stringify(own)}`)
  if (kind !== 'transfer') return
  const arrived = lines.filter((line) => line.kind === 'received' || line.kind === 'returned')
  const total = sum(arrived.map((line) => line.amount))
  if (total !== amount)
    books.break('conserved', `${id}: ${amount} were sent, and ${total} arrived or came back`)
}

function depositOf({ kind, gold, amount }: Deed): number {
  return kind === 'deposit' && gold !== null ? amount : 0
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0)
}
