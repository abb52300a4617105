// The end of a run: what is not settled yet, and the final check of MySQL and of the disks. Invariant: both only read.

import type { Row } from '../../../core/ports/store.ts'
import { Purse } from '../../../examples/market/contract.ts'
import {
  checkSource,
  checkTotals,
  compareSources,
  differences,
  type LedgerEntry,
  type LedgerSource,
  type Purse as PurseRow,
} from '../market/checker.ts'
import type { Simulation } from './simulation.ts'

/** The first thing that is not settled; '' = everything is. */
export async function unsettled(simulation: Simulation): Promise<string> {
  const { machines, database, purses } = simulation
  for (const { disk, process } of machines) {
    if (!process || process.lifetime.isOver) return `${disk.name} has no process`
    const [pending] = disk.shardsWithPendingCasts()
    if (pending) return `${pending.shard.key} on ${disk.name} awaits the answer to cast ${pending.casts[0]!.sequence}`
    for (const owner of disk.owners) {
      const [turn] = disk.outboxOf(owner).turns
      if (turn?.data) return `turn ${turn.seq} of ${turn.shard} is in the outbox of ${owner}`
    }
  }
  const [cast] = database.casts.keys()
  if (cast) return `cast ${cast} is in MySQL`
  for (const row of database.rows(purses))
    if (row['pending'] !== 0) return `${String(row['player'])} has ${String(row['pending'])} pending in MySQL`
  return (await differences(simulation.log, diskSource(simulation), mysqlSource(simulation)))[0] ?? ''
}

/** Checks a settled run. */
export async function checkSettled(simulation: Simulation): Promise<void> {
  const { log, database, profile } = simulation
  const mysql = mysqlSource(simulation)
  await compareSources(log, diskSource(simulation), mysql)
  const { length, 0: parked } = database.parkedRecords
  if (parked && !profile.poison) log.violations.add('parked', `${length} turns, the first: ${parked.error}`)
  await checkSource(log, mysql)
  await checkTotals(log, mysql)
}

function mysqlSource({ database, purses, ledger }: Simulation): LedgerSource {
  return sourceOf('MySQL', database.rows(purses), database.rows(ledger))
}

/** All disks in use. A shard that was not opened since its disk was lost is in MySQL only. */
function diskSource({ machines, purses, ledger }: Simulation): LedgerSource {
  const disks = machines.map(({ disk }) => disk)
  return {
    ...sourceOf(
      'the disks',
      disks.flatMap((disk) => disk.all(purses)),
      disks.flatMap((disk) => disk.all(ledger)),
    ),
    holds: (key) => disks.some((disk) => disk.isLoaded({ contract: Purse.name, key })),
  }
}

function sourceOf(name: string, purses: readonly Row[], ledger: readonly Row[]): LedgerSource {
  const byPlayer = Map.groupBy(ledger as readonly (Row & LedgerEntry)[], (row) => row['player'])
  return {
    name,
    purses: () => Promise.resolve(purses as readonly (Row & PurseRow)[]),
    ledger: (player) => Promise.resolve((byPlayer.get(player) ?? []).toSorted((a, b) => a.n - b.n)),
  }
}
