// `bench state`: what durable rows cost, from the answer to a turn back to the disk under it. Floor and figure stand in
// one run, because the disk's rate moves by ten times and more; MariaDB has its data on the same disk and its share of
// the same processor, so figures with MySQL behind are those of everything on one machine.

import { UsageError, type Profile } from './figure.ts'
import { printDiskBaseline } from './state/diskbaseline.ts'
import { measureFlush } from './state/flush.ts'
import { openEnvironment, type BenchEnvironment } from './state/environment.ts'
import { measureLogin } from './state/login.ts'
import { measureMemory } from './state/memory.ts'
import { measureReads } from './state/reads.ts'
import { measureRowsWritten } from './state/rows.ts'
import { measureTurns } from './state/turns.ts'

const PARTS = new Map<string, (lab: BenchEnvironment) => Promise<void>>([
  ['turns', (lab) => measureTurns(lab, false)],
  ['turns-mysql', (lab) => measureTurns(lab, true)],
  ['rows', measureRowsWritten],
  ['flush', measureFlush],
  ['reads', measureReads],
  ['memory', measureMemory],
  ['login', measureLogin],
])

/** BENCH_PARTS names some of them, with commas between: for whoever makes one of them faster. */
export async function run(profile: Profile): Promise<void> {
  const wanted = process.env['BENCH_PARTS']?.split(',') ?? [...PARTS.keys()]
  const parts = wanted.map((name) => {
    const part = PARTS.get(name)
    if (!part) throw new UsageError(`BENCH_PARTS: ${name} is none of ${[...PARTS.keys()].join(', ')}`)
    return part
  })
  await using lab = openEnvironment(profile)
  const floorMs = profile.quick ? 300 : 3_000
  await printDiskBaseline('before', lab.folderOf('.'), floorMs)
  for (const part of parts) await part(lab)
  await printDiskBaseline('after', lab.folderOf('.'), floorMs)
}
