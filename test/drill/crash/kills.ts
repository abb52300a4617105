// The kills of a drill, one after the other: each starts a server, lets it come to its point, and leaves it dead.

import { cpSync, renameSync, rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Mariadb } from '../../support/mariadb.ts'
import type { Books } from './books.ts'
import { Child } from './child.ts'
import { isOwn, type Mutant, type Point, type ServerOrder } from './points.ts'
import type { Random } from '../../support/random.ts'
import { grows, within } from '../../support/wait.ts'
import type { Zombies } from './zombies.ts'

export interface KillsOptions {
  readonly books: Books
  readonly mariadb: Mariadb
  readonly zombies: Zombies
  readonly random: Random
  readonly order: Pick<ServerOrder, 'http' | 'tcp' | 'critical' | 'mutant'>
  readonly data: string
  readonly log: string
  /** For a server to come to its point, or for the game to go on. */
  readonly patienceMs: number
  /** Answers after which a server is known to work. */
  readonly few: number
}

/** The drill cannot go on; the fault is in the books. */
export class Stopped extends Error {
  override readonly name = 'Stopped'
}

/** How often a point is passed at most before it is the one; as often 1 to 10 times as 100 to 1,000 times. */
const MOST: Readonly<Partial<Record<Point, number>>> = {
  'before-takeover': 8,
  'after-takeover': 8,
  'before-store-commit': 4_000,
  'after-store-commit': 4_000,
  'before-flush': 100,
  'between-commit-and-answer': 100,
  'after-flush': 100,
  zombie: 100,
  'dropped-answer': 50,
  'before-mark': 40,
  'before-local-commit': 100,
}
/** From the start of the process; it listens somewhere in the middle. */
const RANDOM_MS = 1_200
const AWAY_MS = 400
const PAUSE_MS = 800
const AFTER_MS = 200

export class Kills {
  /** Of servers. */
  count = 0
  databaseKills = 0
  pauses = 0
  droppedAnswers = 0
  last: Point | null = null
  readonly points = new Map<Point, number>()
  /** The server of the moment. */
  child: Child | null = null
  readonly #options: KillsOptions

  constructor(options: KillsOptions) {
    this.#options = options
  }

  /** @throws Stopped */
  async kill(point: Point): Promise<void> {
    this.last = point
    const { random, mariadb } = this.#options
    const child = this.start(point)
    if (isOwn(point)) return this.#dead(child, point)
    switch (point) {
      case 'random':
        await sleep(random.below(RANDOM_MS))
        break
      case 'dropped-answer':
        await this.#comes(child, child.dropped, 'dropped no answer')
        this.droppedAnswers++
        if (random.chance(0.5)) await this.#goesOn(child)
        break
      case 'database-kill':
        await this.#goesOn(child)
        await mariadb.kill()
        await sleep(random.below(AWAY_MS))
        await mariadb.start()
        this.databaseKills++
        await this.#goesOn(child)
        break
      case 'both-kill': {
        await this.#goesOn(child)
        const killed = mariadb.kill()
        child.kill()
        await killed
        await mariadb.start()
        this.databaseKills++
        break
      }
      case 'database-pause':
        await this.#goesOn(child)
        await this.#pause(child)
        break
      case 'drain':
        await this.#goesOn(child)
        child.kill('SIGTERM')
        break
      case 'disk-loss':
        await this.#goesOn(child)
        break
      case 'old-disk':
        return this.#restore(child)
    }
    if (random.chance(0.5)) await sleep(random.below(AFTER_MS))
    child.kill()
    await this.#dead(child, point)
    if (point === 'disk-loss') rmSync(this.#options.data, { recursive: true })
  }

  /** The folder of one server comes back after another has gone on from it. */
  async #restore(first: Child): Promise<void> {
    const { data } = this.#options
    const copy = `${data}.old`
    await this.#goesOn(first)
    first.kill()
    await first.ended
    this.count++
    cpSync(data, copy, { recursive: true })
    const second = this.start('old-disk')
    await this.#goesOn(second)
    second.kill()
    await this.#dead(second, 'old-disk')
    rmSync(data, { recursive: true })
    renameSync(copy, data)
  }

  /** A server that nobody kills: the last one. @throws Stopped */
  async survivor(): Promise<Child> {
    const child = this.start(null)
    await this.#comes(child, child.ready, 'does not listen')
    return child
  }

  start(point: Point | null): Child {
    const { order, data, mariadb, log, random, zombies } = this.#options
    const nth = Math.floor(((point && MOST[point]) ?? 1) ** random.next())
    this.child = new Child(
      { ...order, dir: data, mysql: mariadb.url, point, nth, mutant: mutantFor(order.mutant, point) },
      log,
      (batch) => zombies.add(batch),
    )
    return this.child
  }

  async #pause(child: Child): Promise<void> {
    const { mariadb, random } = this.#options
    this.pauses++
    mariadb.pause()
    await sleep(random.below(PAUSE_MS))
    if (random.chance(0.5)) child.kill()
    mariadb.resume()
  }

  /** It listens, and answers. @throws Stopped */
  async #goesOn(child: Child): Promise<void> {
    const { books, patienceMs, few } = this.#options
    await this.#comes(child, child.ready, 'does not listen')
    if (!(await grows(() => books.acked, books.acked + few, patienceMs)))
      this.#stop('stuck', `no answer in ${patienceMs} ms`)
  }

  /** @throws Stopped when the server ends before, or takes too long */
  async #comes(child: Child, wanted: Promise<void>, not: string): Promise<void> {
    const { patienceMs } = this.#options
    const came = await within(Promise.race([wanted.then(() => 'came'), child.ended]), patienceMs)
    if (came === 'came') return
    if (came === null) child.kill()
    this.#stop(
      'server',
      came === null ? `it ${not} in ${patienceMs} ms` : `it ended: ${JSON.stringify(came)}`,
    )
  }

  /** @throws Stopped when it did not end as it should */
  async #dead(child: Child, point: Point): Promise<void> {
    const { patienceMs } = this.#options
    const end = await within(child.ended, patienceMs)
    if (end === null) {
      child.kill()
      await child.ended
      this.#stop('point', `${point} was not reached in ${patienceMs} ms`)
    }
    const isDrained = point === 'drain' && end.code === 0
    if (end.signal !== 'SIGKILL' && !isDrained)
      this.#stop('server', `it ended by itself: ${JSON.stringify(end)}`)
    this.count++
    this.points.set(point, (this.points.get(point) ?? 0) + 1)
  }

  #stop(fault: 'stuck' | 'server' | 'point', what: string): never {
    const message = `${what} (${this.count} kills, point ${this.last})`
    this.#options.books.fault(fault, message)
    throw new Stopped(message)
  }
}

/** A store that knows nothing of MySQL is the right one as long as MySQL is as new as it is. */
function mutantFor(mutant: Mutant | null, point: Point | null): Mutant | null {
  return mutant === 'takeover' && point === 'disk-loss' ? null : mutant
}
