// The memory host: engine, gateway and clients on one manual clock, in one process, without a socket.

import { createHmac } from 'node:crypto'

import { connect } from '../../client/index.ts'
import type { ClientClock, Dial } from '../../client/socket.ts'
import type { Game } from '../../core/game/index.ts'
import { Door, doorTable } from '../../core/run/door.ts'
import { Engine } from '../../core/run/engine.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/run/memory.ts'
import type { Outcome, WriteSet } from '../../core/run/ports.ts'
import { DEFAULT_IDENTITY, FrameDecoder } from '../../core/wire/frame.ts'
import type { Connection } from '../../edge/connection.ts'
import { Gateway } from '../../edge/gateway.ts'
import type { Seal } from '../../edge/token.ts'
import type { Host, RawClient } from './host.ts'

const SEAL: Seal = { sign: (bytes) => createHmac('sha256', 'the secret of the tests').update(bytes).digest() }

/** A commit of the key `doom` is applied and then not answered well: the activation ends between commit and reply. */
class MortalStore extends MemoryStore {
  /** A call that is run again dies again: a bounded number of times, so that the case fails and does not hang. */
  #lives = 3
  override commit(write: WriteSet): Outcome | Promise<Outcome> {
    const outcome = super.commit(write)
    if (!write.kv?.get('doom') || this.#lives-- <= 0) return outcome
    return { kind: 'unknown', cause: new Error('doom') }
  }
}

export function memoryHost(
  game: Game,
  seed = 1,
): Host & { readonly store: MemoryStore; readonly log: MemoryLog } {
  const clock = new ManualClock(seed)
  const store = new MortalStore()
  const log = new MemoryLog()
  const engine = new Engine(game, { clock, store, log })
  store.onWake = (shard, dueMs) => {
    if (dueMs !== null) clock.after(dueMs - clock.now(), () => engine.wake(shard))
  }
  const { limits } = engine
  const door = new Door(doorTable(game))
  const gateway = new Gateway({
    door,
    link: engine,
    clock,
    log,
    identity: DEFAULT_IDENTITY,
    limits,
    seal: SEAL,
  })

  /** A pair of ends; bytes arrive at the next settled moment, as on a wire. */
  const wire = (
    kind: 'tcp' | 'ws',
    arrived: (bytes: Uint8Array) => void,
    closed: (reason: string) => void,
  ): { connection: Connection | null; close(leave?: boolean): void } => {
    let over = false
    const end = (reason: string): void => {
      if (over) return
      over = true
      clock.defer(() => closed(reason))
    }
    const connection = gateway.accept({
      kind,
      remote: 'memory',
      address: '',
      bufferedBytes: 0,
      write: (bytes) => clock.defer(() => arrived(bytes.slice())),
      close: (_code, reason) => end(reason),
      abort: (_code, reason) => end(reason),
    })
    return {
      connection,
      // Behind what was sent before.
      close: (leave = false) =>
        clock.defer(() => {
          connection?.ended(leave)
          end('closed by the client')
        }),
    }
  }

  const dial: Dial = (_url, events) => {
    const { connection, close } = wire('ws', events.message, events.closed)
    clock.defer(events.opened)
    return { send: (bytes) => clock.defer(() => connection?.receive(bytes)), close }
  }
  const clientClock: ClientClock = {
    mono: () => clock.mono(),
    after: (ms, run) => clock.after(ms, run),
    random: () => clock.random(),
    defer: (run) => clock.defer(run),
  }

  const breathe = async (ms: number): Promise<void> => {
    clock.settle()
    await new Promise(setImmediate)
    clock.advance(ms)
    await new Promise(setImmediate)
    clock.settle()
  }

  const until = async (done: () => boolean, what: string): Promise<void> => {
    for (let i = 0; i < 10_000; i++) {
      if (done()) return
      await breathe(i < 50 ? 0 : 1)
    }
    throw new Error(`never came: ${what}`)
  }

  return {
    name: 'memory',
    faults: {
      next: async (...kinds) => void store.faults.push(...kinds),
      hold: async () => {
        const held: (() => void)[] = []
        store.hold = (release) => void held.push(release)
        return async () => {
          store.hold = null
          for (const release of held) clock.defer(release)
        }
      },
    },
    cannot: { kill: 'there is no process to kill' },
    store,
    log,
    until,
    raw: (kind = 'stream') => {
      const frames: RawClient['frames'] = []
      let isClosed = false
      const decoder = new FrameDecoder(DEFAULT_IDENTITY, 1 << 24, (command, source, start, end) => {
        frames.push({ command, body: source.slice(start, end) })
      })
      const { connection, close } = wire(
        kind === 'stream' ? 'tcp' : 'ws',
        (bytes) => void decoder.push(bytes),
        () => (isClosed = true),
      )
      return Promise.resolve({
        frames,
        get closed() {
          return isClosed
        },
        send: (bytes) => clock.defer(() => connection?.receive(bytes)),
        close,
      })
    },
    client: async () => {
      let made: Awaited<ReturnType<typeof connect>> | undefined
      let failed: unknown
      connect('memory://', { dial, clock: clientClock }).then(
        (game) => (made = game),
        (error: unknown) => (failed = error),
      )
      await until(() => made !== undefined || failed !== undefined, 'the client connects')
      if (!made) throw failed
      return made
    },
    pass: async (ms) => {
      for (let left = ms; left > 0; left -= 5) await breathe(Math.min(5, left))
    },
    evict: (contract, key) => engine.evict({ contract, key }),
    abort: (contract, key) => {
      engine.shard({ contract, key }).restart()
      return Promise.resolve()
    },
    close: () => Promise.resolve(),
  }
}
