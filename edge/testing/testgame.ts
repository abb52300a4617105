// A game under test: server, clients, stores and time in one process. Invariant: time passes only while the test waits, so
// an hour is tested in milliseconds, and the same test has the same outcome in every run.

import { errorText } from '../../core/ports/log.ts'
import { connect, type Firefly } from '../../client/index.ts'
import type { ClientClock, Dial } from '../../client/socket.ts'
import type { Game } from '../../core/game/game.ts'
import type { Table } from '../../core/game/table.ts'
import { MemoryDatabase } from '../../core/testing/database.ts'
import { MemoryLocalStore } from '../../core/testing/localstore.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/testing/memory.ts'
import { requireKey, type Contract } from '../../core/wire/contract.ts'
import type { Limits } from '../../core/wire/limits.ts'
import { TestDriver } from './driver.ts'
import { connectInMemory, type MemoryConnection } from './memorynetwork.ts'
import { ClientPlayer, type TestPlayer } from './player.ts'
import { PLAYER_TICKET, TestProcess, type TestMachine } from './process.ts'

/** Options of {@link testGame}. */
export interface TestGameOptions {
  /** Of `c.random()` and everything else that is random. Default 1. */
  readonly seed?: number
  /** The wall clock at the start, milliseconds since 1970. Default 1,700,000,000,000. */
  readonly nowMs?: number
  /** A database in memory behind the tables. Default: true when a table is `critical`, which needs one. */
  readonly mysql?: boolean
  /** Replaces limits of the server. */
  readonly limits?: Partial<Limits>
}

/** A line of the server's log. */
export interface LogLine {
  /** 'info', 'warn' or 'error'. */
  readonly level: string
  /** The text. */
  readonly message: string
  /** Structured fields. */
  readonly fields: Readonly<Record<string, unknown>>
}

/** The database of a test. */
export interface TestMysql {
  /** The rows of all shards as MySQL has them, in the order of their keys. */
  rows<T extends Table>(table: T): readonly Readonly<Record<string, unknown>>[]
  /** Requests fail until `start`. */
  stop(): void
  /** Ends an outage that `stop` began. */
  start(): void
  /** MySQL refuses every change of that table for which `why` returns a reason. */
  refuse(table: Table, why: (values: Readonly<Record<string, unknown>>) => string | null): void
}

/** Options of a player. */
export interface PlayerOptions {
  /** Presented to the game's `auth` instead of the login by name; null = the player is not logged in. */
  readonly ticket?: string | null
  /** Deadline of a call, milliseconds of the game's time. Default 15,000. */
  readonly timeoutMs?: number
}

/** A game under test. Dispose it, or call `close`, at the end of the test. */
export interface TestGame extends AsyncDisposable {
  /** Wall clock of the game, milliseconds. */
  readonly now: number
  /** The server's log; a bug of a handler is a line of level 'error' with its stack. */
  readonly log: readonly LogLine[]
  /** The database. @throws Error when the test has none */
  readonly mysql: TestMysql
  /** A new session that is logged in as `uid`. Of the same uid again: a second login, which ends the first by default. */
  player(uid: string, options?: PlayerOptions): Promise<TestPlayer>
  /** Lets time pass: timers, ticks and deadlines run in their order. */
  advance(ms: number): Promise<void>
  /** Runs everything that needs no time. */
  settle(): Promise<void>
  /** Waits for a condition, for at most `withinMs` (1,000) of the game's time. @throws Error with `what` */
  until(condition: () => boolean, what: string, withinMs?: number): Promise<void>
  /** Ends the server like SIGKILL: connections break, and all is lost but what was committed. */
  kill(): Promise<void>
  /** Starts the server again, on the data of the last; resolves when the players have resumed. */
  start(): Promise<void>
  /** `kill`, then `start`. */
  restart(): Promise<void>
  /** Unloads a shard after its pending work, as when it is idle; its snapshot is saved. */
  evict(contract: Contract, key?: string): Promise<void>
  /** Ends all sessions and the server. */
  close(): Promise<void>
}

const CONNECT_MS = 60_000

/**
 * Runs a game in memory, without ports and files. `server` is what `server.ts` exports, or the module itself.
 * ```ts
 * await using game = await testGame(server)
 * const ada = await game.player('ada')
 * ```
 */
export async function testGame(
  server: Game | { readonly default: Game },
  options: TestGameOptions = {},
): Promise<TestGame> {
  const game = 'default' in server ? server.default : server
  const tables = [...game.tables.values()]
  const { mysql = tables.some((table) => table.class === 'critical'), limits = {}, seed, nowMs } = options
  const clock = new ManualClock(seed, nowMs)
  const log = new MemoryLog()
  const database = mysql ? new MemoryDatabase(clock, tables) : null
  const store = database ? new MemoryLocalStore({ clock }) : new MemoryStore()
  return new MemoryGame({ game, clock, log, limits, store, database }, clock, log)
}

class MemoryGame implements TestGame {
  readonly #machine: TestMachine
  readonly #clock: ManualClock
  readonly #log: MemoryLog
  readonly #driver: TestDriver
  #process: TestProcess | null
  readonly #players: ClientPlayer[] = []
  readonly #networks: Network[] = []

  constructor(machine: TestMachine, clock: ManualClock, log: MemoryLog) {
    this.#machine = machine
    this.#clock = clock
    this.#log = log
    this.#driver = new TestDriver(clock)
    this.#process = new TestProcess(machine)
  }

  get now(): number {
    return this.#clock.now()
  }
  get log(): readonly LogLine[] {
    return this.#log.lines
  }
  get mysql(): TestMysql {
    const { database } = this.#machine
    if (!database) throw new Error('this test has no database: testGame(server, { mysql: true })')
    return {
      rows: ({ definition }) => database.rows(definition),
      stop: () => void (database.isUnavailable = true),
      start: () => void (database.isUnavailable = false),
      refuse: ({ definition }, why) => {
        database.refuseChange = ({ table, values }) => (table.name === definition.name ? why(values) : null)
      },
    }
  }

  async player(uid: string, { ticket, timeoutMs }: PlayerOptions = {}): Promise<TestPlayer> {
    const network = new Network(this.#clock, () => this.#process)
    const name = ticket === undefined ? uid : ''
    const presented = ticket === undefined ? `${PLAYER_TICKET}${uid}` : ticket
    const clock = this.#clock
    const clientClock: ClientClock = {
      mono: () => clock.mono(),
      after: (ms, run) => clock.after(ms, run),
      random: () => clock.random(),
      defer: (run) => clock.defer(run),
    }
    const connecting = connect('memory://game', {
      dial: network.dial,
      clock: clientClock,
      ...(presented === null ? {} : { ticket: presented }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    })
    const client: Firefly = await this.#driver.complete(connecting, CONNECT_MS, `the connection of ${uid}`)
    const player = new ClientPlayer(name, client, network, { driver: this.#driver, lastError: () => this.#lastError() })
    this.#networks.push(network)
    this.#players.push(player)
    return player
  }

  advance(ms: number): Promise<void> {
    return this.#driver.advance(ms)
  }

  settle(): Promise<void> {
    return this.#driver.settle()
  }

  async until(condition: () => boolean, what: string, withinMs = 1_000): Promise<void> {
    if (!(await this.#driver.waitUntil(condition, withinMs))) throw new Error(`not within ${withinMs} ms: ${what}`)
  }

  async kill(): Promise<void> {
    if (!this.#process) throw new Error('the server does not run')
    this.#process.kill()
    this.#process = null
    for (const network of this.#networks) network.cut('the server was killed')
    await this.settle()
  }

  async start(): Promise<void> {
    if (this.#process) throw new Error('the server runs already')
    this.#process = new TestProcess(this.#machine)
    const isBack = (player: ClientPlayer, i: number): boolean =>
      player.state !== 'paused' || !this.#networks[i]!.isOnline
    if (!(await this.#driver.waitUntil(() => this.#players.every(isBack), CONNECT_MS, 0)))
      throw new Error(`the players have not resumed within ${CONNECT_MS} ms`)
    await this.settle()
  }

  async restart(): Promise<void> {
    await this.kill()
    await this.start()
  }

  async evict(contract: Contract, named?: string): Promise<void> {
    const key = requireKey(contract, named)
    if (!this.#process) throw new Error('the server does not run')
    const evicted = this.#process.engine.evict({ contract: contract.name, key })
    await this.#driver.complete(evicted, CONNECT_MS, `the eviction of ${contract.name}/${key}`)
  }

  async close(): Promise<void> {
    for (const player of this.#players) void player.client.close()
    await this.settle()
    this.#process?.kill()
    this.#process = null
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #lastError(): string | null {
    const line = this.#log.lines.findLast(({ level }) => level === 'error')
    const error = line?.fields['error'] ?? line?.fields['cause']
    if (error instanceof Error) return errorText(error)
    return typeof error === 'string' ? error : (line?.message ?? null)
  }
}

/** The network of one player: one connection at a time, to the process that runs when it is opened. */
class Network {
  readonly #clock: ManualClock
  readonly #process: () => TestProcess | null
  #connection: MemoryConnection | null = null
  #isOnline = true

  constructor(clock: ManualClock, process: () => TestProcess | null) {
    this.#clock = clock
    this.#process = process
  }

  get isOnline(): boolean {
    return this.#isOnline
  }

  setOnline(isOnline: boolean): void {
    this.#isOnline = isOnline
    if (!isOnline) this.cut('the network is down')
  }

  cut(reason: string): void {
    this.#connection?.cut(reason)
    this.#connection = null
  }

  readonly dial: Dial = (_url, events) => {
    const process = this.#process()
    if (!process || !this.#isOnline) {
      this.#clock.defer(() => events.closed(process ? 'the network is down' : 'the server does not run'))
      return { send: () => {}, close: () => {} }
    }
    const client = {
      arrived: (bytes: Uint8Array) => events.message(bytes),
      closed: (reason: string) => events.closed(reason),
    }
    const connection = connectInMemory(process.gateway, this.#clock, 'ws', client)
    this.#connection = connection
    this.#clock.defer(() => events.opened())
    return { send: (bytes) => connection.send(bytes), close: (leave) => connection.close(leave) }
  }
}
