// A player of a test: a session of the client SDK, and the shards that it has opened.

import { CallError } from '../../client/index.ts'
import type { Firefly, Remote, State } from '../../client/index.ts'
import type {
  Args,
  CommandNames,
  Contract,
  DataOf,
  Entries,
  EventNames,
  InputOf,
  ShardKeyArgs,
  OutputOf,
} from '../../core/wire/contract.ts'
import { shorten } from '../../core/wire/errors.ts'
import type { TestDriver } from './driver.ts'

/** Longest wait for an answer: above the deadline of the client. */
const CALL_MS = 60_000
const DEFAULT_EVENT_MS = 1_000

/** Which event `next` waits for, and how long. */
export interface NextOptions<Data> {
  /** Events for which it returns false are skipped. */
  readonly where?: (data: Data) => boolean
  /** Milliseconds of the game's time. Default 1,000. */
  readonly withinMs?: number
}

/** A shard as a player sees it. */
export interface TestShard<E extends Entries> {
  /**
   * The commands of the contract. The promise of a call has its answer, or rejects with CallError or Refusal (`error.code`);
   * that of a cast resolves when the shard has handled it.
   */
  readonly call: {
    readonly [K in CommandNames<E>]: (...input: Args<InputOf<E[K]>>) => Promise<OutputOf<E[K]>>
  }
  /** Returns the oldest event that no `next` has returned or skipped. @throws Error with the events that came instead */
  next<K extends EventNames<E>>(event: K, options?: NextOptions<DataOf<E[K]>>): Promise<DataOf<E[K]>>
  /** All events of that name so far, oldest first. */
  received<K extends EventNames<E>>(event: K): readonly DataOf<E[K]>[]
  /** How often the player's view of the shard became out of date: 'resync' = lost events, 'restart' = a new activation. */
  count(what: 'resync' | 'restart'): number
  /** Leaves the shard. */
  close(): Promise<void>
}

/** A player of a test. */
export interface TestPlayer {
  /** The name with which it was created; '' = not logged in. */
  readonly uid: string
  /** The session of the client SDK, for everything that this interface lacks. */
  readonly client: Firefly
  /** 'open', 'paused' (no connection) or 'closed'. */
  readonly state: State
  /** Why the session ended, such as KICKED or REPLACED; null = it has not. */
  readonly closeCode: string | null
  /** The shard of this contract and key; default: the contract's key, unless it is `keyed`. */
  open<E extends Entries, Code extends string, Keyed extends boolean>(
    contract: Contract<E, Code, Keyed>,
    ...key: ShardKeyArgs<Keyed>
  ): TestShard<E>
  /** The same as of a shard, for an event that `c.user(uid).push` sends. Listens from its first use on. */
  next<E extends Entries, Code extends string, K extends EventNames<E>>(
    contract: Contract<E, Code>,
    event: K,
    options?: NextOptions<DataOf<E[K]>>,
  ): Promise<DataOf<E[K]>>
  /** Cuts the connection, as a tunnel does, and keeps it cut. */
  disconnect(): Promise<void>
  /** Allows connections again; resolves when the session was resumed. */
  reconnect(): Promise<void>
  /** Ends the session: the player leaves every shard. */
  leave(): Promise<void>
}

/** The network of a player. */
export interface PlayerNetwork {
  setOnline(isOnline: boolean): void
}

/** What the players of one test share. */
export interface PlayerHost {
  readonly driver: TestDriver
  /** The text of the server's last error, for the cause of INTERNAL; null = none. */
  lastError(): string | null
}

export class ClientPlayer implements TestPlayer {
  readonly uid: string
  readonly client: Firefly
  readonly #host: PlayerHost
  readonly #network: PlayerNetwork
  readonly #pushes = new Map<string, EventQueue>()
  #closeCode: string | null = null

  constructor(uid: string, client: Firefly, network: PlayerNetwork, host: PlayerHost) {
    this.uid = uid
    this.client = client
    this.#network = network
    this.#host = host
    client.on('closed', ({ code }) => (this.#closeCode = code))
  }

  get state(): State {
    return this.client.state
  }
  get closeCode(): string | null {
    return this.#closeCode
  }

  open<E extends Entries, Code extends string>(contract: Contract<E, Code>, key?: string): TestShard<E> {
    return new ClientShard(contract, this.client.at(contract, key), this.#host)
  }

  async next<E extends Entries, Code extends string, K extends EventNames<E>>(
    contract: Contract<E, Code>,
    event: K,
    options: NextOptions<DataOf<E[K]>> = {},
  ): Promise<DataOf<E[K]>> {
    const name = `${contract.name}.${event}`
    let queue = this.#pushes.get(name)
    if (!queue) {
      const added = (queue = new EventQueue(name))
      this.#pushes.set(name, added)
      this.client.on(contract, event, (data) => added.add(data))
    }
    return (await queue.next(this.#host.driver, options as NextOptions<unknown>)) as DataOf<E[K]>
  }

  async disconnect(): Promise<void> {
    this.#network.setOnline(false)
    await this.#waitFor('paused')
  }

  async reconnect(): Promise<void> {
    this.#network.setOnline(true)
    await this.#waitFor('open')
  }

  async leave(): Promise<void> {
    await this.#host.driver.complete(this.client.close(), CALL_MS, 'leave')
    await this.#host.driver.settle()
  }

  async #waitFor(state: State): Promise<void> {
    const { driver } = this.#host
    await driver.waitUntil(() => this.state === state || this.state === 'closed', CALL_MS, 0)
    if (this.state !== state) throw new Error(`the session is ${this.state} (${this.#closeCode}), expected ${state}`)
    await driver.settle()
  }
}

class ClientShard<E extends Entries> implements TestShard<E> {
  readonly call: TestShard<E>['call']
  readonly #remote: Remote<E>
  readonly #driver: TestDriver
  readonly #queues = new Map<string, EventQueue>()
  readonly #counts = { resync: 0, restart: 0 }

  constructor(contract: Contract, remote: Remote<E>, host: PlayerHost) {
    this.#remote = remote
    this.#driver = host.driver
    const call: Record<string, (input?: unknown) => Promise<unknown>> = {}
    for (const [name, entry] of Object.entries(contract.entries)) {
      if (entry.kind === 'command') {
        const send = remote[name as keyof Remote<E>] as (input?: unknown) => unknown
        call[name] = (input) => sendCommand(host, `${contract.name}.${name}`, () => send(input))
        continue
      }
      const queue = new EventQueue(`${contract.name}.${name}`)
      this.#queues.set(name, queue)
      remote.on(name as EventNames<E>, (data) => queue.add(data))
    }
    this.call = call as never
    remote.onResync(() => this.#counts.resync++)
    remote.onRestart(() => this.#counts.restart++)
  }

  async next<K extends EventNames<E>>(event: K, options: NextOptions<DataOf<E[K]>> = {}): Promise<DataOf<E[K]>> {
    return (await this.#queueOf(event).next(this.#driver, options as NextOptions<unknown>)) as DataOf<E[K]>
  }

  received<K extends EventNames<E>>(event: K): readonly DataOf<E[K]>[] {
    return this.#queueOf(event).all as readonly DataOf<E[K]>[]
  }

  count(what: 'resync' | 'restart'): number {
    return this.#counts[what]
  }

  async close(): Promise<void> {
    this.#remote.close()
    await this.#driver.settle()
  }

  #queueOf(event: string): EventQueue {
    const queue = this.#queues.get(event)
    if (!queue) throw new Error(`no event ${shorten(event)} in the contract`)
    return queue
  }
}

/** Completes a call; a cast is completed when nothing happens any more. */
async function sendCommand(host: PlayerHost, what: string, send: () => unknown): Promise<unknown> {
  try {
    const answer = send()
    if (answer instanceof Promise) return await host.driver.complete(answer, CALL_MS, what)
  } catch (error) {
    if (error instanceof CallError && error.code === 'INTERNAL' && error.cause === undefined)
      error.cause = host.lastError() ?? undefined
    throw error
  }
  await host.driver.settle()
  return undefined
}

class EventQueue {
  readonly all: unknown[] = []
  readonly #name: string
  /** How many of `all` were returned or skipped. */
  #taken = 0

  constructor(name: string) {
    this.#name = name
  }

  add(data: unknown): void {
    this.all.push(data)
  }

  async next(
    driver: TestDriver,
    { where = () => true, withinMs = DEFAULT_EVENT_MS }: NextOptions<unknown>,
  ): Promise<unknown> {
    const first = this.#taken
    let hasFound = false
    const findNext = (): boolean => {
      while (!hasFound && this.#taken < this.all.length) hasFound = where(this.all[this.#taken++])
      return hasFound
    }
    if (await driver.waitUntil(findNext, withinMs)) return this.all[this.#taken - 1]
    const others = this.all.slice(first).map((data) => textOf(data))
    const instead =
      others.length === 0 ? 'none arrived' : `${others.length} others arrived: ${others.slice(0, 5).join(', ')}`
    throw new Error(`no such event ${this.#name} within ${withinMs} ms; ${instead}`)
  }
}

function textOf(data: unknown): string {
  try {
    return JSON.stringify(data).slice(0, 100)
  } catch {
    return shorten(data)
  }
}
