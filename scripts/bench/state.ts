// `bench state`: what durable rows cost, from the answer to a turn back to the disk under it. Floor and figure stand in
// one run, because the disk's rate moves by ten times and more; MariaDB has its data on the same disk and its share of
// the same processor, so figures with MySQL behind are those of everything on one machine.

import { UsageError, type Profile } from './figure.ts'
import { printFloor } from './state/floor.ts'
import { flush } from './state/flush.ts'
import { openLab, type Lab } from './state/lab.ts'
import { login } from './state/login.ts'
import { memory } from './state/memory.ts'
import { reads } from './state/reads.ts'
import { rows } from './state/rows.ts'
import { turns } from './state/turns.ts'

const PARTS = new Map<string, (lab: Lab) => Promise<void>>([
  ['turns', (lab) => turns(lab, false)],
  ['turns-mysql', (lab) => turns(lab, true)],
  ['rows', rows],
  ['flush', flush],
  ['reads', reads],
  ['memory', memory],
  ['login', login],
])

/** BENCH_PARTS names some of them, with commas between: for whoever makes one of them faster. */
export async function run(profile: Profile): Promise<void> {
  const wanted = process.env['BENCH_PARTS']?.split(',') ?? [...PARTS.keys()]
  const parts = wanted.map((name) => {
    const part = PARTS.get(name)
    if (!part) throw new UsageError(`BENCH_PARTS: ${name} is none of ${[...PARTS.keys()].join(', ')}`)
    return part
  })
  await using lab = openLab(profile)
  const floorMs = profile.quick ? 300 : 3_000
  await printFloor('before', lab.folder('.'), floorMs)
  for (const part of parts) await part(lab)
  await printFloor('after', lab.folder('.'), floorMs)
}
