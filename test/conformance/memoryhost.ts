// The memory host: engine, gateway and clients on one manual clock, in one process, without a socket.

import { createHmac } from 'node:crypto'

import { connect } from '../../client/index.ts'
import type { ClientClock, Dial } from '../../client/socket.ts'
import type { Game } from '../../core/game/index.ts'
import { RoutingTable, routingTableOf } from '../../core/game/routing.ts'
import { Engine } from '../../core/engine/engine.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/testing/memory.ts'
import type { Outcome, WriteSet } from '../../core/ports/store.ts'
import { DEFAULT_FRAME_IDENTITY, FrameDecoder } from '../../core/wire/frame.ts'
import type { Connection } from '../../edge/gateway/connection.ts'
import { Gateway } from '../../edge/gateway/gateway.ts'
import type { TokenSigner } from '../../edge/gateway/token.ts'
import type { Host, RawClient } from './host.ts'

const SEAL: TokenSigner = {
  sign: (bytes) => createHmac('sha256', 'the secret of the tests').update(bytes).digest(),
}

/** A commit of the key `doom` is applied and then not answered well: the activation ends between commit and reply. */
class CrashingStore extends MemoryStore {
  /** A call that is run again dies again: a bounded number of times, so that the case fails and does not hang. */
  #crashesLeft = 3
  override commit(write: WriteSet): Outcome | Promise<Outcome> {
    const outcome = super.commit(write)
    if (!write.kv?.get('doom') || this.#crashesLeft-- <= 0) return outcome
    return { kind: 'unknown', cause: new Error('doom') }
  }
}

export function memoryHost(game: Game, seed = 1): Host & { readonly store: MemoryStore; readonly log: MemoryLog } {
  const clock = new ManualClock(seed)
  const store = new CrashingStore()
  const log = new MemoryLog()
  const engine = new Engine(game, { clock, store, log })
  store.onWake = (shard, dueMs) => {
    if (dueMs !== null) clock.after(dueMs - clock.now(), () => engine.wake(shard))
  }
  const { limits } = engine
  const door = new RoutingTable(routingTableOf(game))
  const gateway = new Gateway({
    routingTable: door,
    link: engine,
    clock,
    log,
    frameIdentity: DEFAULT_FRAME_IDENTITY,
    limits,
    tokenSigner: SEAL,
  })

  /** A pair of ends; bytes arrive at the next settled moment, as on a wire. */
  const connectPair = (
    kind: 'tcp' | 'ws',
    arrived: (bytes: Uint8Array) => void,
    closed: (reason: string) => void,
  ): { connection: Connection | null; close(leave?: boolean): void } => {
    let hasClosed = false
    const closeOnce = (reason: string): void => {
      if (hasClosed) return
      hasClosed = true
      clock.defer(() => closed(reason))
    }
    const connection = gateway.accept({
      kind,
      remote: 'memory',
      address: '',
      bufferedBytes: 0,
      write: (bytes) => clock.defer(() => arrived(bytes.slice())),
      close: (_code, reason) => closeOnce(reason),
      abort: (_code, reason) => closeOnce(reason),
    })
    return {
      connection,
      // Behind what was sent before.
      close: (leave = false) =>
        clock.defer(() => {
          connection?.onTransportClosed(leave)
          closeOnce('closed by the client')
        }),
    }
  }

  const dial: Dial = (_url, events) => {
    const { connection, close } = connectPair('ws', events.message, events.closed)
    clock.defer(events.opened)
    return { send: (bytes) => clock.defer(() => connection?.receive(bytes)), close }
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

  const waitUntil = async (done: () => boolean, what: string): Promise<void> => {
    for (let i = 0; i < 10_000; i++) {
      if (done()) return
      await step(i < 50 ? 0 : 1)
    }
    throw new Error(`never came: ${what}`)
  }

  return {
    name: 'memory',
    faults: {
      injectNext: async (...kinds) => void store.faults.push(...kinds),
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
      const frames: RawClient['frames'] = []
      let isClosed = false
      const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, 1 << 24, (command, source, start, closeOnce) => {
        frames.push({ command, body: source.slice(start, closeOnce) })
      })
      const { connection, close } = connectPair(
        kind === 'stream' ? 'tcp' : 'ws',
        (bytes) => void decoder.push(bytes),
        () => (isClosed = true),
      )
      return Promise.resolve({
        frames,
        get isClosed() {
          return isClosed
        },
        send: (bytes) => clock.defer(() => connection?.receive(bytes)),
        close,
      })
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
      for (let left = ms; left > 0; left -= 5) await step(Math.min(5, left))
    },
    evictShard: (contract, key) => engine.evict({ contract, key }),
    abortShard: (contract, key) => {
      engine.shard({ contract, key }).restart()
      return Promise.resolve()
    },
    close: () => Promise.resolve(),
  }
}
