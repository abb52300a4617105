// A child of `bench attack` and `bench idle`: `node --expose-gc server.ts` is the Node host with default limits, which
// also reports its ports and its memory.

import { setTimeout as sleep } from 'node:timers/promises'
import { writeHeapSnapshot } from 'node:v8'

import { start } from '../../../edge/node/server.ts'
import { createTemporaryFolder } from '../disk.ts'
import { serveRequests } from './responder.ts'
import type { NamedNumbers } from './child.ts'
import game from './game.ts'

const COLLECTIONS = 3
const COLLECT_MS = 100

const server = await start({ game, dir: createTemporaryFolder('attack'), http: 0, tcp: 0, logLevel: 'error' })

/** Memory of this process in bytes; `collect` 1 = after garbage collections. */
async function memory(collect: number): Promise<NamedNumbers> {
  for (let n = 0; n < collect * COLLECTIONS; n++) {
    await sleep(COLLECT_MS)
    globalThis.gc!()
  }
  const { rss, heapUsed, external } = process.memoryUsage()
  return { rss, heapUsed, external, connections: server.gateway.connectionCount }
}

serveRequests({
  /** Frames received since the start. */
  frames: () => ({ frames: server.gateway.meter.framesIn }),
  ports: () => ({ tcp: server.tcp.port, http: server.http.port }),
  memory,
  /** Writes a file in the working directory. */
  snapshot() {
    writeHeapSnapshot(`firefly-${process.pid}.heapsnapshot`)
    return {}
  },
})
