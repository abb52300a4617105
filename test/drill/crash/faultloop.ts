// The faults of a crash drill, injected one after the other until as many servers have died as the run wants. Shared
// by the Node drill and the workerd drill. Invariant: before the next fault, players were answered again.

import type { Random } from '../../support/random.ts'
import { untilCount } from '../../support/wait.ts'
import type { RequestLog, ViolationKind } from '../market/requestlog.ts'

export interface FaultLoopOptions<Point extends string> {
  readonly log: RequestLog
  readonly random: Random
  /** Each is used once per pass; the order of a pass is random. */
  readonly points: readonly Point[]
  readonly kills: number
  /** For a point to be reached, and for the next answer. */
  readonly timeoutMs: number
  /** Answers after which the game counts as recovered. */
  readonly answersExpected: number
}

/** The run cannot continue; the reason is a violation in the log. */
export class RunStopped extends Error {
  override readonly name = 'RunStopped'
}

export abstract class FaultLoop<Point extends string, Options extends FaultLoopOptions<Point>> {
  /** Servers or objects that died. */
  count = 0
  databaseKills = 0
  droppedAnswers = 0
  last: Point | null = null
  /** How often each point was reached. */
  readonly points = new Map<Point, number>()
  protected readonly options: Options

  constructor(options: Options) {
    this.options = options
  }

  /** @throws RunStopped */
  protected abstract inject(point: Point): Promise<void>

  /** Injects faults until there were enough kills and no point is missing. @throws RunStopped */
  async run(): Promise<void> {
    const { random, points, kills } = this.options
    while (this.count < kills)
      for (const point of random.shuffled(points)) {
        if (this.count >= kills && !this.missing.includes(point)) continue
        this.last = point
        await this.inject(point)
      }
  }

  /** Points that a run of this length must reach and did not. */
  get missing(): readonly Point[] {
    const { points, kills } = this.options
    return kills < points.length ? [] : points.filter((point) => !this.points.has(point))
  }

  protected reached(point: Point): void {
    this.count++
    this.points.set(point, (this.points.get(point) ?? 0) + 1)
  }

  /** Waits until players are answered again. @throws RunStopped */
  protected async awaitProgress(): Promise<void> {
    const { log, answersExpected, timeoutMs } = this.options
    if (!(await untilCount(() => log.acked, log.acked + answersExpected, timeoutMs)))
      this.stopRun('stuck', `no answer within ${timeoutMs} ms`)
  }

  /** @throws RunStopped always */
  protected stopRun(kind: Extract<ViolationKind, 'stuck' | 'server' | 'point'>, what: string): never {
    const message = `${what} (${this.count} kills, point ${this.last})`
    this.options.log.violations.add(kind, message)
    throw new RunStopped(message)
  }
}
