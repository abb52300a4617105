// The Durable Object host: edge and core in real workerd. Players have WebSockets only. Commits fail by order of
// the object '@faults', which shares its isolate, and so its orders, with every other object.

import { connect } from '../../client/index.ts'
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
    cannot: {
      stream: 'players have WebSockets only',
      kill: 'a Worker has no process of its own; abort is its death',
    },
    rawClient: () => webSocketClient(workers.url),
    sdkClient: () => connect(workers.url),
    waitUntil,
    sleep: sleepRealTime,
    // The platform evicts an object that does nothing. The test eviction of workerd begins at once, and stops the
    // timers of the object while it waits: what is held would be held for good.
    evictShard: async (contract, key) => {
      await heldCommits
      await workers.evictShard(contract, key)
    },
    abortShard: (contract, key) => workers.abortShard(contract, key),
    faults: {
      injectNext: (...kinds) => sendFault({ what: 'next', kinds }),
      holdCommits: async () => {
        await sendFault({ what: 'hold' })
        const { promise, resolve } = Promise.withResolvers<void>()
        heldCommits = promise
        return async () => {
          await sendFault({ what: 'release' })
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
  injectFault(order: FaultCommand): Promise<void>
}
