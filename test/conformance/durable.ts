// The Durable Object host: edge and core in real workerd. Players have WebSockets only, and nothing here can tell
// workerd's SQLite to fail.

import { connect } from '../../client/index.ts'
import { startWorkers } from './harness-worker.ts'
import type { Host } from './host.ts'
import { pass, until, webSocketClient } from './sockets.ts'

export async function durableHost(): Promise<Host> {
  const workers = await startWorkers({ entry: new URL('fixtures/game-worker.ts', import.meta.url).pathname })
  return {
    name: 'durable',
    cannot: {
      stream: 'players have WebSockets only',
      kill: 'a Worker has no process of its own; abort is its death',
      commitFaults: 'the SQLite of workerd cannot be told to fail',
    },
    raw: () => webSocketClient(workers.url),
    client: () => connect(workers.url),
    until,
    pass,
    evict: (contract, key) => workers.evict(contract, key),
    abort: (contract, key) => workers.abort(contract, key),
    close: () => workers.close(),
  }
}
