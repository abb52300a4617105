// The faults of the workerd drill: each removes objects from memory, at a moment that they choose or while their
// database fails.

import { setTimeout as sleep } from 'node:timers/promises'

import type { DatabaseServer } from '../../support/databaseserver.ts'
import type { Endpoint } from '../../support/planetscale/server.ts'
import { until, withDeadline } from '../../support/wait.ts'
import type { Workers } from '../../support/workers.ts'
import { FaultLoop, type FaultLoopOptions } from '../crash/faultloop.ts'
import { PROXY_POINTS, type DatabaseProxy, type ProxyPoint } from './databaseproxy.ts'
import { COMMIT_POINTS, type CommitPoint, type KillableObject } from './game.ts'
import type { IdlePlayer } from './idleplayer.ts'
import { ownerOf } from './objectsource.ts'

/** During the event that the point is named after; all but 'evict' end with an abort of an object. */
const EXTERNAL_POINTS = [
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
/** Only class critical survives these. */
const CRITICAL_POINTS = ['object-loss'] as const

type ExternalPoint = (typeof EXTERNAL_POINTS)[number]
export type ObjectPoint = CommitPoint | ProxyPoint | ExternalPoint | (typeof CRITICAL_POINTS)[number]

export const LOCAL_POINTS: readonly ObjectPoint[] = [...COMMIT_POINTS, ...PROXY_POINTS, ...EXTERNAL_POINTS]
export const ALL_POINTS: readonly ObjectPoint[] = [...LOCAL_POINTS, ...CRITICAL_POINTS]

/** What the run consists of outside this process. */
export interface Environment {
  readonly mariadb: DatabaseServer
  readonly endpoint: Endpoint
  readonly proxy: DatabaseProxy
  readonly workers: Workers
}

export interface ObjectFaultsOptions extends FaultLoopOptions<ObjectPoint>, Environment {
  readonly players: readonly string[]
  readonly idlePlayers: readonly IdlePlayer[]
  /** Of the database, at most; a caller of class critical waits 5 s for it. */
  readonly unavailableMs: number
}

/** How often a commit is passed at most before the kill. */
const MAX_COMMITS = 20
const GARBAGE_MS = 300
const SLOW_MS = 1_000
const MAX_DROPPED = 5
const MAX_GARBAGE = 20
/** Chance per statement. */
const DROP_CHANCE = 0.2
const MAX_DELAY_MS = 200
/** Delay of a COMMIT. */
const MAX_LATE_MS = 2_000

/** 'abort-all' counts as one kill. */
export class ObjectFaults extends FaultLoop<ObjectPoint, ObjectFaultsOptions> {
  override async run(): Promise<void> {
    await this.awaitProgress()
    await super.run()
  }

  protected override async inject(point: ObjectPoint): Promise<void> {
    const { random, players } = this.options
    const player = random.pick(players)
    if (isOf(COMMIT_POINTS, point)) await this.#killInCommit(point, player)
    else if (isOf(PROXY_POINTS, point)) await this.#killInTransaction(point, player)
    else if (point === 'object-loss') await this.#lose(player)
    else await this.#injectExternal(point, player)
    this.reached(point)
    await this.awaitProgress()
  }

  async #injectExternal(point: ExternalPoint, player: string): Promise<void> {
    const { workers, random, players, mariadb, endpoint, unavailableMs } = this.options
    const { faults } = endpoint
    switch (point) {
      case 'abort':
        return this.#abort(player)
      case 'abort-all':
        // As a deploy does.
        await Promise.all([...players.map((name) => this.#abort(name)), workers.abortShard('market', '')])
        return
      case 'evict':
        return this.#evict()
      case 'dropped-answer':
        return this.#dropAnswers(player, () => random.chance(DROP_CHANCE))
      case 'dropped-commit':
        return this.#dropAnswers(player, (sql) => sql === 'COMMIT')
      case 'garbage':
        faults.garbage(1 + random.below(MAX_GARBAGE))
        await this.#abortWithin(player, GARBAGE_MS)
        faults.garbage(0)
        return
      case 'unavailable':
        faults.unavailable(true)
        await this.#abortWithin(player, unavailableMs)
        faults.unavailable(false)
        return
      case 'slow':
        faults.delay(1 + random.below(MAX_DELAY_MS))
        await this.#abortWithin(player, SLOW_MS)
        faults.delay(0)
        return
      case 'database-kill':
        await mariadb.kill()
        this.databaseKills++
        await this.#abortWithin(player, unavailableMs)
        await mariadb.start()
        return
    }
  }

  async #killInCommit(point: CommitPoint, player: string): Promise<void> {
    const { workers, random } = this.options
    const object = await workers.stubOf<KillableObject>('purse', player)
    const call = object.killInCommit(point, 1 + random.below(MAX_COMMITS))
    await this.#await(failed(call), point)
  }

  async #killInTransaction(point: ProxyPoint, player: string): Promise<void> {
    const { proxy, random } = this.options
    const done = proxy.intercept({
      point,
      owner: ownerOf(player),
      lateMs: random.below(MAX_LATE_MS),
      inject: () => this.#abort(player),
    })
    if (point.includes('takeover')) await this.#abort(player)
    await this.#await(done, point).finally(() => proxy.cancel())
  }

  async #lose(player: string): Promise<void> {
    const object = await this.options.workers.stubOf<KillableObject>('purse', player)
    await this.#await(failed(object.lose()), 'object-loss')
  }

  async #dropAnswers(player: string, isChosen: (sql: string) => boolean): Promise<void> {
    const { random, endpoint, timeoutMs } = this.options
    const count = 1 + random.below(MAX_DROPPED)
    let dropped = 0
    endpoint.faults.dropAnswers((sql) => {
      const isDropped = dropped < count && isChosen(sql)
      if (isDropped) dropped++
      return isDropped
    })
    const isDone = await until(() => dropped === count, timeoutMs)
    endpoint.faults.dropAnswers(0)
    this.droppedAnswers += dropped
    if (!isDone) this.stopRun('point', `${dropped} of ${count} answers were dropped`)
    if (random.chance(0.5)) await this.#abort(player)
  }

  /** Aborts at a random time within `ms`, and returns later within `ms`. */
  async #abortWithin(player: string, ms: number): Promise<void> {
    const { random } = this.options
    const before = random.below(ms)
    await sleep(before)
    await this.#abort(player)
    await sleep(random.below(ms - before))
  }

  async #evict(): Promise<void> {
    const { idlePlayers, random } = this.options
    const evicted = random.pick(idlePlayers).restUntilEvicted()
    await this.#await(evicted, 'evict')
    if (!(await evicted)) this.stopRun('point', 'the object of an idle player was not evicted')
  }

  #abort(player: string): Promise<void> {
    return this.options.workers.abortShard('purse', player)
  }

  /** @throws RunStopped when the point is not reached in time */
  async #await(event: Promise<unknown>, point: ObjectPoint): Promise<void> {
    const { timeoutMs } = this.options
    const isReached = await withDeadline(
      event.then(() => true),
      timeoutMs,
    )
    if (!isReached) this.stopRun('point', `${point} was not reached within ${timeoutMs} ms`)
  }
}

/** Resolves when the call ends: it fails with its object. */
async function failed(call: Promise<unknown>): Promise<void> {
  await call.catch(() => {})
}

function isOf<Name extends string>(names: readonly Name[], name: string): name is Name {
  return (names as readonly string[]).includes(name)
}
