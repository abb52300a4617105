// The memory host: engine, gateway and clients on one manual clock, in one process, without sockets.

import { createHmac } from 'node:crypto'

import { connect } from '../../client/index.ts'
import type { ClientClock, Dial } from '../../client/socket.ts'
import type { Game } from '../../core/game/index.ts'
import { RoutingTable, routingTableOf } from '../../core/game/routing.ts'
import { Engine } from '../../core/engine/engine.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/testing/memory.ts'
import type { Outcome, WriteSet } from '../../core/ports/store.ts'
import { DEFAULT_FRAME_IDENTITY } from '../../core/wire/frame.ts'
import { Gateway } from '../../edge/gateway/gateway.ts'
import type { TokenSigner } from '../../edge/gateway/token.ts'
import { CLIENT_ADDRESS, connectInMemory } from '../../edge/testing/memorynetwork.ts'
import { LegacyClient } from '../support/sockets.ts'
import type { Host } from './host.ts'

const TOKEN_SIGNER: TokenSigner = {
  sign: (bytes) => createHmac('sha256', 'the secret of the tests').update(bytes).digest(),
}

/** Reports an unknown outcome for a commit of the kv key `crashAfterCommit`: the activation ends before the reply. */
class CrashingStore extends MemoryStore {
  /** A resent call crashes again. Bounded, so that the case fails instead of hanging. */
  #crashesLeft = 3
  override commit(write: WriteSet): Outcome | Promise<Outcome> {
    const outcome = super.commit(write)
    if (!write.kv?.get('crashAfterCommit') || this.#crashesLeft-- <= 0) return outcome
    return { kind: 'unknown', cause: new Error('crashAfterCommit') }
  }
}

export function memoryHost(game: Game, seed = 1): Host & { readonly store: MemoryStore; readonly log: MemoryLog } {
  const clock = new ManualClock(seed)
  const store = new CrashingStore()
  const log = new MemoryLog()
  const engine = new Engine(game, { clock, store, log })
  store.onWake = (shard, dueMs) => {
    if (dueMs !== null) clock.after(dueMs - clock.now(), () => engine.wake(shard, dueMs))
  }
  const { limits } = engine
  const gateway = new Gateway({
    routingTable: new RoutingTable(routingTableOf(game)),
    link: engine,
    clock,
    log,
    frameIdentity: DEFAULT_FRAME_IDENTITY,
    limits,
    tokenSigner: TOKEN_SIGNER,
  })

  const dial: Dial = (_url, events) => {
    const { send, close } = connectInMemory(gateway, clock, 'ws', { arrived: events.message, closed: events.closed })
    clock.defer(events.opened)
    return { send, close }
  }
  const clientClock: ClientClock = {
    mono: () => clock.mono(),
    after: (ms, run) => clock.after(ms, run),
    random: () => clock.random(),
    defer: (run) => clock.defer(run),
  }

  const step = async (ms: number): Promise<void> => {
    clock.settle()
    await new Promise(setImmediate)
    clock.advance(ms)
    await new Promise(setImmediate)
    clock.settle()
  }

  const waitUntil = async (condition: () => boolean, what: string): Promise<void> => {
    for (let i = 0; i < 10_000; i++) {
      if (condition()) return
      await step(i < 50 ? 0 : 1)
    }
    throw new Error(`condition is still false after 10000 steps: ${what}`)
  }

  return {
    name: 'memory',
    clientAddress: CLIENT_ADDRESS,
    faults: {
      injectNext: async (...faults) => void store.faults.push(...faults),
      holdCommits: async () => {
        const pendingReleases: (() => void)[] = []
        store.hold = (release) => void pendingReleases.push(release)
        return async () => {
          store.hold = null
          for (const release of pendingReleases) clock.defer(release)
        }
      },
    },
    cannot: { kill: 'there is no process to kill' },
    store,
    log,
    waitUntil,
    rawClient: (kind = 'stream') => {
      const client: LegacyClient = new LegacyClient({
        send: (bytes) => connection.send(bytes),
        setReading: (isReading) => connection.setReading(isReading),
        close: () => connection.close(),
      })
      const connection = connectInMemory(gateway, clock, kind === 'stream' ? 'tcp' : 'ws', {
        arrived: (bytes) => client.receive(bytes),
        closed: () => client.onClosed(),
      })
      return Promise.resolve(client)
    },
    sdkClient: async () => {
      let connected: Awaited<ReturnType<typeof connect>> | undefined
      let failed: unknown
      connect('memory://', { dial, clock: clientClock }).then(
        (game) => (connected = game),
        (error: unknown) => (failed = error),
      )
      await waitUntil(() => connected !== undefined || failed !== undefined, 'the client connects')
      if (!connected) throw failed
      return connected
    },
    sleep: async (ms) => {
      for (let leftMs = ms; leftMs > 0; leftMs -= 5) await step(Math.min(5, leftMs))
    },
    evictShard: (contract, key) => engine.evict({ contract, key }),
    idleShard: (contract, key) => engine.evict({ contract, key }),
    idleMs: 0,
    abortShard: (contract, key) => {
      engine.shard({ contract, key }).restart()
      return Promise.resolve()
    },
    close: () => Promise.resolve(),
  }
}
