// The kills of a drill on Cloudflare, one after the other: each puts objects out of memory, at a moment of their own
// choice or while their database does what it should not.

import { setTimeout as sleep } from 'node:timers/promises'

import type { Workers } from '../../support/workers.ts'
import type { Mariadb } from '../../support/mariadb.ts'
import type { Endpoint } from '../../support/planetscale/server.ts'
import type { Books } from './books.ts'
import { COMMIT_POINTS, type CommitPoint, type Victim } from './edgegame.ts'
import { ownerOf } from './edgeobjects.ts'
import { WIRE_POINTS, type Wire, type WirePoint } from './edgewire.ts'
import { Stopped } from './kills.ts'
import type { Random } from '../../support/random.ts'
import type { Sleeper } from './edgesleeper.ts'
import { until, within } from '../../support/wait.ts'

/** In the course of what the point is named after; all but 'evict' end with an abort. */
const OUTER_POINTS = [
  'abort',
  'abort-all',
  'evict',
  'dropped-answer',
  'dropped-commit',
  'garbage',
  'unavailable',
  'slow',
  'database-kill',
] as const
/** What only class critical survives. */
const CRITICAL_POINTS = ['object-loss'] as const

type OuterPoint = (typeof OUTER_POINTS)[number]
export type EdgePoint = CommitPoint | WirePoint | OuterPoint | (typeof CRITICAL_POINTS)[number]

export function pointsOf(critical: boolean): readonly EdgePoint[] {
  const always = [...COMMIT_POINTS, ...WIRE_POINTS, ...OUTER_POINTS]
  return critical ? [...always, ...CRITICAL_POINTS] : always
}

export interface EdgeKillsOptions {
  readonly books: Books
  readonly mariadb: Mariadb
  readonly endpoint: Endpoint
  readonly wire: Wire
  readonly workers: Workers
  readonly random: Random
  readonly players: readonly string[]
  readonly sleepers: readonly Sleeper[]
  /** For an object to come to its point, or for the game to go on. */
  readonly patienceMs: number
  /** Answers after which the game is known to go on. */
  readonly few: number
  /** The longest absence of the database; a caller of class critical waits 5 s for it. */
  readonly awayMs: number
}

/** How often a commit is passed before it is the one. */
const MOST_COMMITS = 20
const AFTER_MS = 300
const MOST_DROPPED = 5
const MOST_GARBAGE = 20
/** Of the statements, while answers are dropped. */
const DROPPED = 0.2
const MOST_DELAY_MS = 200
/** Of a COMMIT. */
const MOST_LATE_MS = 2_000

export class EdgeKills {
  /** Of objects, 'abort-all' counted as one. */
  count = 0
  databaseKills = 0
  droppedAnswers = 0
  last: EdgePoint | null = null
  readonly points = new Map<EdgePoint, number>()
  readonly #options: EdgeKillsOptions

  constructor(options: EdgeKillsOptions) {
    this.#options = options
  }

  /** @throws Stopped */
  async kill(point: EdgePoint): Promise<void> {
    this.last = point
    const { players, random } = this.#options
    const victim = players[random.below(players.length)]!
    if (isOf(COMMIT_POINTS, point)) await this.#inCommit(point, victim)
    else if (isOf(WIRE_POINTS, point)) await this.#onWire(point, victim)
    else if (point === 'object-loss') await this.#lose(victim)
    else await this.#outer(point, victim)
    this.count++
    this.points.set(point, (this.points.get(point) ?? 0) + 1)
    await this.goesOn()
  }

  async #outer(point: OuterPoint, victim: string): Promise<void> {
    const { workers, random, players, mariadb, awayMs } = this.#options
    const { faults } = this.#options.endpoint
    switch (point) {
      case 'abort':
        return this.#abort(victim)
      case 'abort-all':
        // As a deploy does it.
        await Promise.all([...players.map((player) => this.#abort(player)), workers.abortShard('market', '')])
        return
      case 'evict':
        return this.#nap()
      case 'dropped-answer':
        return this.#drops(victim, () => random.chance(DROPPED))
      case 'dropped-commit':
        return this.#drops(victim, (sql) => sql === 'COMMIT')
      case 'garbage':
        faults.garbage(1 + random.below(MOST_GARBAGE))
        await this.#abortSoon(victim, AFTER_MS)
        faults.garbage(0)
        return
      case 'unavailable':
        faults.unavailable(true)
        await this.#abortSoon(victim, awayMs)
        faults.unavailable(false)
        return
      case 'slow':
        faults.delay(1 + random.below(MOST_DELAY_MS))
        await this.#abortSoon(victim, 1_000)
        faults.delay(0)
        return
      case 'database-kill':
        await mariadb.kill()
        this.databaseKills++
        await this.#abortSoon(victim, awayMs)
        await mariadb.start()
        return
    }
  }

  async #inCommit(point: CommitPoint, victim: string): Promise<void> {
    const { workers, random } = this.#options
    const object = await workers.stubOf<Victim>('purse', victim)
    const nth = 1 + random.below(MOST_COMMITS)
    // The call dies with the object.
    await this.#reached(
      object.dieAt(point, nth).catch(() => {}),
      point,
    )
  }

  async #onWire(point: WirePoint, victim: string): Promise<void> {
    const { wire, random } = this.#options
    const sprung = wire.trap(point, ownerOf(victim), random.below(MOST_LATE_MS), () => this.#abort(victim))
    if (point.includes('takeover')) await this.#abort(victim)
    await this.#reached(sprung, point).finally(() => wire.release())
  }

  async #lose(victim: string): Promise<void> {
    const object = await this.#options.workers.stubOf<Victim>('purse', victim)
    await this.#reached(
      object.lose().catch(() => {}),
      'object-loss',
    )
  }

  async #drops(victim: string, which: (sql: string) => boolean): Promise<void> {
    const { random, endpoint } = this.#options
    const wanted = 1 + random.below(MOST_DROPPED)
    let dropped = 0
    endpoint.faults.dropAnswers((sql) => {
      const drops = dropped < wanted && which(sql)
      if (drops) dropped++
      return drops
    })
    const isDone = await until(() => dropped === wanted, this.#options.patienceMs)
    endpoint.faults.dropAnswers(0)
    this.droppedAnswers += dropped
    if (!isDone) this.#stop('point', `only ${dropped} answers were dropped`)
    if (random.chance(0.5)) await this.#abort(victim)
  }

  /** Somewhere in the next `ms`, which this takes. */
  async #abortSoon(victim: string, ms: number): Promise<void> {
    const before = this.#options.random.below(ms)
    await sleep(before)
    await this.#abort(victim)
    await sleep(this.#options.random.below(ms - before))
  }

  async #nap(): Promise<void> {
    const { sleepers, random } = this.#options
    const slept = sleepers[random.below(sleepers.length)]!.nap()
    await this.#reached(slept, 'evict')
    if (!(await slept)) this.#stop('point', 'an object at rest was not put out of memory')
  }

  #abort(player: string): Promise<void> {
    return this.#options.workers.abortShard('purse', player)
  }

  /** @throws Stopped */
  async goesOn(): Promise<void> {
    const { books, few, patienceMs } = this.#options
    const wanted = books.acked + few
    if (!(await until(() => books.acked >= wanted, patienceMs)))
      this.#stop('stuck', `no ${few} answers in ${patienceMs} ms`)
  }

  /** @throws Stopped */
  async #reached(struck: Promise<unknown>, point: EdgePoint): Promise<void> {
    const { patienceMs } = this.#options
    const reached = struck.then(() => true)
    if ((await within(reached, patienceMs)) === null)
      this.#stop('point', `${point} was not reached in ${patienceMs} ms`)
  }

  #stop(fault: 'stuck' | 'point', what: string): never {
    const message = `${what} (${this.count} kills, point ${this.last})`
    this.#options.books.fault(fault, message)
    throw new Stopped(message)
  }
}

function isOf<Name extends string>(names: readonly Name[], name: string): name is Name {
  return (names as readonly string[]).includes(name)
}
