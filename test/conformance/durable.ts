// The Durable Object host: edge and core in real workerd. Players have WebSockets only. Commits fail by order of
// the object '@faults', which shares its isolate, and so its orders, with every other object.

import { connect } from '../../client/index.ts'
import type { FaultOrder } from './faulty.ts'
import { startWorkers } from './harness-worker.ts'
import type { Host } from './host.ts'
import { pass, until, webSocketClient } from './sockets.ts'

export async function durableHost(): Promise<Host> {
  const workers = await startWorkers({ entry: new URL('fixtures/game-worker.ts', import.meta.url).pathname })
  const order = (wish: FaultOrder): Promise<void> =>
    workers.object<Faulty>('@faults', '').then((object) => object.faults(wish))
  let held: Promise<void> | null = null
  return {
    name: 'durable',
    cannot: {
      stream: 'players have WebSockets only',
      kill: 'a Worker has no process of its own; abort is its death',
    },
    raw: () => webSocketClient(workers.url),
    client: () => connect(workers.url),
    until,
    pass,
    // The platform evicts an object that does nothing. The test eviction of workerd begins at once, and stops the
    // timers of the object while it waits: what is held would be held for good.
    evict: async (contract, key) => {
      await held
      await workers.evict(contract, key)
    },
    abort: (contract, key) => workers.abort(contract, key),
    faults: {
      next: (...kinds) => order({ what: 'next', kinds }),
      hold: async () => {
        await order({ what: 'hold' })
        const { promise, resolve } = Promise.withResolvers<void>()
        held = promise
        return async () => {
          await order({ what: 'release' })
          held = null
          resolve()
        }
      },
    },
    close: () => workers.close(),
  }
}

/** Of fixtures/game-worker.ts, whose types are a Worker's. */
interface Faulty {
  faults(order: FaultOrder): Promise<void>
}
