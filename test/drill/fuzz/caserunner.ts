// Sends cases over many connections at once, block by block: each worker takes the next block and uses an idle
// connection where the route allows it. Invariant: every case that was sent ends.

import { setTimeout as sleep } from 'node:timers/promises'

import { every } from '../../support/figure.ts'
import { BLOCK, isHello, routeOf, type Case, type Route } from './arbitraries/cases.ts'
import type { ResumeState } from './arbitraries/messages.ts'
import { FuzzConnection, type Protocol } from './connection.ts'
import type { Findings } from './findings.ts'

export interface CaseRunnerOptions {
  readonly seed: number
  /** The first number, and the number after the last. */
  readonly from: number
  readonly to: number
  readonly makeCase: (number: number, state?: ResumeState) => Case
  readonly ports: { readonly tcp: number; readonly http: number }
  readonly findings: Findings
  /** The server has ended: the remaining cases are pointless. */
  readonly isOver: () => boolean
  /** How long idle connections stay open after the last case. Default 0. */
  readonly lingerMs?: number
}

/** Blocks at a time. The server would read more of them in one turn of its loop, which would look like a stall. */
const WORKERS = 16
/** A connection is closed after so many blocks, so that many are opened and closed. */
const MAX_BLOCKS = 40
const CHECK_MS = 1_000
/** Of `send` calls, each of up to a block. */
const MAX_RECENT = 60

export class CaseRunner {
  readonly #options: CaseRunnerOptions
  readonly #idleConnections = new Map<string, FuzzConnection[]>()
  readonly #connections = new Set<FuzzConnection>()
  readonly #inProgress = new Set<readonly Case[]>()
  readonly #recent: (readonly Case[])[] = []
  #next: number

  constructor(options: CaseRunnerOptions) {
    this.#options = options
    this.#next = options.from
  }

  /** Resolves when every case has ended and every connection is closed. */
  async run(): Promise<void> {
    using _ = every(CHECK_MS, () => {
      for (const connection of this.#connections) connection.checkStuck()
    })
    await Promise.all(Array.from({ length: WORKERS }, () => this.#work()))
    await sleep(this.#options.lingerMs ?? 0)
    for (const connection of this.#connections) connection.close(false)
  }

  /** The cases in progress, then those that ended last: a log line of the server may arrive after the end of its case. */
  get suspects(): readonly Case[] {
    return [...this.#inProgress, ...this.#recent.toReversed()].flat()
  }

  async #work(): Promise<void> {
    const { seed, to, makeCase, isOver } = this.#options
    while (this.#next < to && !isOver()) {
      const from = this.#next
      const end = Math.min(to, (Math.floor(from / BLOCK) + 1) * BLOCK)
      this.#next = end
      const route = routeOf(seed, from)
      if (route.on === 'resume') await this.#runResumed(route, from, end)
      else {
        const cases = Array.from({ length: end - from }, (_, i) => makeCase(from + i))
        if (route.on === 'fresh') await this.#runFresh(route, cases)
        else await this.#runShared(route, route.on, cases)
      }
    }
  }

  /** The cases of a block one after the other on idle connections. */
  async #runShared(route: Route, protocol: Protocol, cases: readonly Case[]): Promise<void> {
    let left = cases
    while (left.length > 0 && !this.#options.isOver()) {
      const connection = this.#idleOrNew(route, protocol)
      const incomplete = left.findIndex(({ isComplete }) => !isComplete)
      const ended = await this.#send(connection, incomplete < 0 ? left : left.slice(0, incomplete + 1))
      left = left.slice(ended)
      if (ended > 0) connection.blocks++
      if (connection.isOver || (incomplete >= 0 && ended > incomplete)) continue
      if (connection.blocks >= MAX_BLOCKS || connection.isFull) connection.close(connection.blocks % 2 === 0)
      else this.#idle(route).push(connection)
    }
  }

  /** All cases of a block at once, each on a connection of its own. */
  async #runFresh(route: Route, cases: readonly Case[]): Promise<void> {
    await Promise.all(
      cases.map(async (one) => {
        const connection = this.#connect(isHello(one) ? 'session' : 'legacy', route)
        await this.#send(connection, [one])
        connection.close(one.number % 2 === 0)
      }),
    )
  }

  /** One session that is resumed again and again while the server allows it. */
  async #runResumed(route: Route, from: number, end: number): Promise<void> {
    const { makeCase, isOver } = this.#options
    let last: FuzzConnection | null = null
    for (let number = from; number < end && !isOver(); number++) {
      if (last === null) {
        last = this.#connect('session', route)
        last.sendHello()
        await last.send([])
      }
      const one = makeCase(number, last.resumeState)
      last.close(number % 2 === 0)
      const connection = this.#connect(isHello(one) ? 'session' : 'legacy', route)
      await this.#send(connection, [one])
      last = connection.resumeState.token.length > 0 ? connection : null
      if (last === null) connection.close(true)
    }
    last?.close(true)
  }

  async #send(connection: FuzzConnection, cases: readonly Case[]): Promise<number> {
    this.#inProgress.add(cases)
    const ended = await connection.send(cases)
    this.#inProgress.delete(cases)
    if (this.#recent.push(cases) > MAX_RECENT) this.#recent.shift()
    for (const one of cases.slice(0, ended)) this.#options.findings.caseEnded(one)
    return ended
  }

  #idleOrNew(route: Route, protocol: Protocol): FuzzConnection {
    const idle = this.#idle(route)
    for (let connection = idle.pop(); connection; connection = idle.pop()) if (!connection.isOver) return connection
    const connection = this.#connect(protocol, route)
    if (protocol === 'session') connection.sendHello()
    return connection
  }

  #connect(protocol: Protocol, { via }: Route): FuzzConnection {
    const { ports, findings } = this.#options
    const port = via === 'tcp' ? ports.tcp : ports.http
    const connection = new FuzzConnection(protocol, via, port, findings, () => this.#connections.delete(connection))
    this.#connections.add(connection)
    return connection
  }

  #idle({ on, via }: Route): FuzzConnection[] {
    const name = `${on} ${via}`
    let idle = this.#idleConnections.get(name)
    if (!idle) this.#idleConnections.set(name, (idle = []))
    return idle
  }
}
