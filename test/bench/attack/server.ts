// The server under attack, in a process of its own: the Node host as it is, with default limits, that also tells its
// ports and its memory. `node --expose-gc server.ts`.

import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { writeHeapSnapshot } from 'node:v8'

import { start } from '../../../edge/node/server.ts'
import { diskFolder } from '../disk.ts'
import { serveRequests } from './responder.ts'
import type { NamedNumbers } from './child.ts'
import game from './game.ts'

const COLLECTIONS = 3
const COLLECT_MS = 100

const dir = mkdtempSync(join(diskFolder(), 'firefly-bench-attack-'))
process.once('exit', () => rmSync(dir, { recursive: true, force: true }))
const server = await start({ game, dir, http: 0, tcp: 0, logLevel: 'error' })

/** Bytes of this process; with 1, once everything that can go has gone. */
async function memory(collect: number): Promise<NamedNumbers> {
  for (let n = 0; n < collect * COLLECTIONS; n++) {
    await sleep(COLLECT_MS)
    globalThis.gc!()
  }
  const { rss, heapUsed, external } = process.memoryUsage()
  return { rss, heapUsed, external, connections: server.gateway.connectionCount }
}

serveRequests({
  /** Frames that it took since the start. */
  frames: () => ({ frames: server.gateway.meter.framesIn }),
  ports: () => ({ tcp: server.tcp.port, http: server.http.port }),
  memory,
  /** A file in the working directory. */
  snapshot() {
    writeHeapSnapshot(`firefly-${process.pid}.heapsnapshot`)
    return {}
  },
})
