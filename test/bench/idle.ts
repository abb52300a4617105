// `bench idle`: the server's memory for one idle version 2 session, over TCP and over WebSocket. Each session has one
// channel to a shared shard, and heartbeats in both directions. The kernel's memory for both ends of the sockets is
// printed separately. Memory is read after garbage collections; some sessions are open before the first reading, so
// that one-time costs are not counted.

import { setTimeout as sleep } from 'node:timers/promises'

import { TIMES } from '../../core/wire/limits.ts'
import { startChild } from './attack/child.ts'
import type { Transport } from '../support/rawclient.ts'
import { readMemory, startTargetServer, type ServerMemory } from './attack/target.ts'
import { printRatio, type Profile } from './figure.ts'
import { progress, roundFigure } from '../support/figure.ts'

const AIM_BYTES = { tcp: 8_192, ws: 16_384 } as const satisfies Record<Transport, number>
const SESSIONS_PROGRAM = new URL('idle/sessions.ts', import.meta.url)
/** Heartbeats of each session before the last reading. */
const HEARTBEATS_BEFORE_READING = 2.2

export async function run(profile: Profile): Promise<void> {
  const sessions = profile.quick ? 300 : 10_000
  const first = profile.quick ? 30 : 500
  for (const transport of ['tcp', 'ws'] as const) {
    await using server = await startTargetServer(null)
    const ports = await server.request('ports')
    const port = transport === 'tcp' ? ports['tcp']! : ports['http']!
    await using sessionsProcess = await startChild(SESSIONS_PROGRAM, { core: null, args: [transport, port] })
    await sessionsProcess.request('open', first)
    const before = await readMemory(server, 'collected')
    progress(`idle: ${sessions} sessions over ${transport} …`)
    await sessionsProcess.request('open', sessions)
    await sleep(profile.quick ? 300 : HEARTBEATS_BEFORE_READING * TIMES.heartbeatMs)
    const counts = await sessionsProcess.request('count')
    const after = await readMemory(server, 'collected')
    if (after.connections !== sessions + first)
      throw new Error(`idle: ${after.connections} of ${sessions + first} connections are open`)
    // BENCH_SNAPSHOT: a heap snapshot in the working directory.
    if (process.env['BENCH_SNAPSHOT'] === transport) await server.request('snapshot')
    const each = (name: keyof ServerMemory): number => (after[name] - before[name]) / sessions
    const labels = {
      bench: 'idle',
      figure: transport === 'tcp' ? 'bytesPerSessionTcp' : 'bytesPerSessionWs',
      sessions,
      processes: 1,
      rssBytes: roundFigure(each('rss')),
      heapUsedBytes: roundFigure(each('heapUsed')),
      externalBytes: roundFigure(each('external')),
      kernelBytes: roundFigure(each('kernel')),
      heartbeats: counts['pongs']! + counts['serverPings']!,
      aimBytes: AIM_BYTES[transport],
    }
    printRatio(profile, labels, each('rss') / AIM_BYTES[transport], { kind: 'max', value: 1 })
  }
}
