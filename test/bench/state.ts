// `bench state`: the cost of durable rows, from the reply to the disk, with the disk baseline of the same run (see
// disk.ts). MariaDB has its data on the same disk and uses the same processor, so the figures with MySQL are those of
// one machine for everything.

import { selectParts, type Profile } from './figure.ts'
import { printDiskBaseline } from './disk.ts'
import { measureFlush } from './state/flush.ts'
import { openEnvironment, type BenchEnvironment } from './state/environment.ts'
import { measureLogin } from './state/login.ts'
import { measureMemory } from './state/memory.ts'
import { measureReads } from './state/reads.ts'
import { measureRowsWritten } from './state/rows.ts'
import { measureTurns } from './state/turns.ts'

const PARTS: Readonly<Record<string, (environment: BenchEnvironment) => Promise<void>>> = {
  turns: (environment) => measureTurns(environment, false),
  'turns-mysql': (environment) => measureTurns(environment, true),
  rows: measureRowsWritten,
  flush: measureFlush,
  reads: measureReads,
  memory: measureMemory,
  login: measureLogin,
}

export async function run(profile: Profile): Promise<void> {
  const parts = selectParts(PARTS)
  await using environment = openEnvironment(profile)
  const baselineMs = profile.quick ? 300 : 3_000
  const printBaseline = (when: 'before' | 'after'): Promise<void> =>
    printDiskBaseline({ bench: 'state', figure: 'fdatasync', when }, environment.folderOf('.'), baselineMs)
  await printBaseline('before')
  for (const part of parts) await part(environment)
  await printBaseline('after')
}
