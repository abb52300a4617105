// `bench attack`: what those who misbehave take from those who do not. A flooder beside good players, and clients that
// never read in the middle of a broadcast; limits are the default ones.

import { flood } from './attack/flood.ts'
import { measureSlowReaders } from './attack/slowreaders.ts'
import { UsageError, type Profile } from './figure.ts'

const PARTS = new Map<string, (profile: Profile) => Promise<void>>([
  ['flood', flood],
  ['unread', measureSlowReaders],
])

/** BENCH_PARTS names some of them, with commas between: for whoever makes one of them better. */
export async function run(profile: Profile): Promise<void> {
  const wanted = process.env['BENCH_PARTS']?.split(',') ?? [...PARTS.keys()]
  const parts = wanted.map((name) => {
    const part = PARTS.get(name)
    if (!part) throw new UsageError(`BENCH_PARTS: ${name} is none of ${[...PARTS.keys()].join(', ')}`)
    return part
  })
  for (const part of parts) await part(profile)
}
