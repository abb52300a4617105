// One run of the game's server in memory: engine, gateway and, with tables in MySQL, the flusher, on the stores of the test.
// Invariant: after `kill` nothing of it runs or commits, as after SIGKILL.

import { createHmac } from 'node:crypto'

import { Engine } from '../../core/engine/engine.ts'
import type { Game } from '../../core/game/game.ts'
import { RoutingTable, routingTableOf } from '../../core/game/routing.ts'
import { TieredStore } from '../../core/outbox/tieredstore.ts'
import type { Clock, Timer } from '../../core/ports/clock.ts'
import type { Log } from '../../core/ports/log.ts'
import type { ShardId } from '../../core/wire/shardid.ts'
import type { MemoryDatabase } from '../../core/testing/database.ts'
import type { MemoryLocalStore } from '../../core/testing/localstore.ts'
import type { MemoryStore } from '../../core/testing/memory.ts'
import { DEFAULT_FRAME_IDENTITY } from '../../core/wire/frame.ts'
import { utf8Decoder } from '../../core/wire/bytes.ts'
import type { Limits } from '../../core/wire/limits.ts'
import { Gateway } from '../gateway/gateway.ts'
import { TicketError } from '../gateway/ticket.ts'

/** The ticket of a player by name, which needs no login of the game. */
export const PLAYER_TICKET = 'player of the test kit: '

/** What outlives a process. */
export interface TestMachine {
  readonly game: Game
  readonly clock: Clock
  readonly log: Log
  readonly limits: Partial<Limits>
  /** With `database`: the store in front of it. */
  readonly store: MemoryStore | MemoryLocalStore
  readonly database: MemoryDatabase | null
}

export class TestProcess {
  readonly engine: Engine
  readonly gateway: Gateway
  readonly #clock: ProcessClock
  readonly #store: MemoryStore

  constructor({ game, clock: machineClock, log, limits, store, database }: TestMachine) {
    const clock = new ProcessClock(machineClock)
    this.#clock = clock
    this.#store = store
    const tiers =
      database &&
      new TieredStore({ local: store as MemoryLocalStore, database, tables: [...game.tables.values()], clock, log })
    const engine = new Engine(withPlayersByName(game), { clock, log, store: tiers ?? store }, { limits })
    const wakeAt = (shard: ShardId, dueMs: number): void =>
      void clock.after(dueMs - clock.now(), () => engine.wake(shard, dueMs))
    store.onWake = (shard, dueMs) => {
      if (dueMs !== null) wakeAt(shard, dueMs)
    }
    for (const [shard, dueMs] of store.wakeTimes()) wakeAt(shard, dueMs)
    tiers?.start()
    this.engine = engine
    this.gateway = new Gateway({
      routingTable: new RoutingTable(routingTableOf(withPlayersByName(game))),
      link: engine,
      clock,
      log,
      frameIdentity: DEFAULT_FRAME_IDENTITY,
      limits: engine.limits,
      tokenSigner: { sign: (bytes) => createHmac('sha256', 'the secret of the test kit').update(bytes).digest() },
      ticketVerifier: { verify: async (ticket) => ({ uid: uidOf(ticket, game), jti: '', expiresMs: 0 }) },
    })
  }

  kill(): void {
    this.#clock.stop()
    this.#store.onWake = () => {}
    this.#store.fenceActivations()
  }
}

/** The uid of a ticket of this kit; '' = a ticket for the game's `auth`. */
function uidOf(ticket: Uint8Array, game: Game): string {
  const text = utf8Decoder.decode(ticket)
  if (text.startsWith(PLAYER_TICKET)) return text.slice(PLAYER_TICKET.length)
  if (game.auth) return ''
  throw new TicketError('the game has no auth that reads tickets')
}

function withPlayersByName(game: Game): Game {
  const { auth } = game
  if (!auth) return game
  const isPlayer = (ticket: Uint8Array): boolean => utf8Decoder.decode(ticket).startsWith(PLAYER_TICKET)
  return { ...game, auth: (request) => (isPlayer(request.ticket) ? request.uid : auth(request)) }
}

/** The clock of the machine, as long as the process runs. */
class ProcessClock implements Clock {
  readonly #clock: Clock
  #isStopped = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  stop(): void {
    this.#isStopped = true
  }

  now(): number {
    return this.#clock.now()
  }
  mono(): number {
    return this.#clock.mono()
  }
  after(ms: number, run: () => void): Timer {
    return this.#clock.after(ms, () => this.#run(run))
  }
  defer(run: () => void): void {
    this.#clock.defer(() => this.#run(run))
  }
  random(): number {
    return this.#clock.random()
  }
  id(): Uint8Array {
    return this.#clock.id()
  }

  #run(run: () => void): void {
    if (!this.#isStopped) run()
  }
}
