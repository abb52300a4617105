// `bench attack`: what misbehaving clients take from correct ones. One flooder beside 100 players, and clients that
// never read during a broadcast. The server has the default limits.

import { flood } from './attack/flood.ts'
import { measureSlowReaders } from './attack/slowreaders.ts'
import { selectParts, type Profile } from './figure.ts'

export async function run(profile: Profile): Promise<void> {
  for (const part of selectParts({ flood, unread: measureSlowReaders })) await part(profile)
}
