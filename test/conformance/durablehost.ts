// The Durable Object host: edge and core in real workerd, clients on WebSockets only. Commit faults are ordered through
// the object '@faults', which shares its isolate, and therefore its FaultInjector, with every other object.

import { connect } from '../../client/index.ts'
import { IDLE_MS } from '../../core/durable/idlewatch.ts'
import type { FaultCommand } from './faultystore.ts'
import { startWorkers } from '../support/workers.ts'
import type { Host } from './host.ts'
import { sleepRealTime, waitUntil, webSocketClient } from '../support/sockets.ts'

export async function durableHost(): Promise<Host> {
  const workers = await startWorkers({ entry: new URL('fixtures/gameworker.ts', import.meta.url).pathname })
  const sendFault = (command: FaultCommand): Promise<void> =>
    workers.stubOf<FaultControl>('@faults', '').then((object) => object.injectFault(command))
  let heldCommits: Promise<void> | null = null
  return {
    name: 'durable',
    clientAddress: '127.0.0.1',
    cannot: {
      stream: 'clients have WebSockets only',
      unread: "the proxy of wrangler's harness reads for the client; slowreaders.test.ts runs workerd without it",
      kill: 'a Worker has no process of its own; abort is the equivalent',
    },
    rawClient: () => webSocketClient(workers.url),
    sdkClient: () => connect(workers.url),
    waitUntil,
    sleep: sleepRealTime,
    // The platform evicts an idle object. The test eviction of workerd begins at once, and stops the timers of the
    // object while it waits: held commits would never be released.
    evictShard: async (contract, key) => {
      await heldCommits
      await workers.evictShard(contract, key)
    },
    // The object itself watches for it.
    idleShard: () => Promise.resolve(),
    idleMs: IDLE_MS,
    abortShard: (contract, key) => workers.abortShard(contract, key),
    faults: {
      injectNext: (...faults) => sendFault({ what: 'injectNext', faults }),
      holdCommits: async () => {
        await sendFault({ what: 'holdCommits' })
        const { promise, resolve } = Promise.withResolvers<void>()
        heldCommits = promise
        return async () => {
          await sendFault({ what: 'releaseCommits' })
          heldCommits = null
          resolve()
        }
      },
    },
    close: () => workers.close(),
  }
}

/** Of fixtures/gameworker.ts, whose types are a Worker's. */
interface FaultControl {
  injectFault(command: FaultCommand): Promise<void>
}
