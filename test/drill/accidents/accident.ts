// One accident: its server, the steady load beside it, and the check of everything that was acknowledged. Invariant:
// a figure without faults means that players were served before, during and after the accident, and that the stored
// purses and ledgers contain every answer.

import { secondsSince, type Figures } from '../../support/figure.ts'
import { until } from '../../support/wait.ts'
import { checkSource } from '../market/checker.ts'
import { RequestLog } from '../market/requestlog.ts'
import { temporaryFolder } from '../options.ts'
import { SteadyLoad } from './steadyload.ts'
import {
  startCommandTarget,
  startNodeTarget,
  startWorkerdTarget,
  type CommandTarget,
  type NodeTarget,
  type NodeTargetOptions,
  type Target,
  type WorkerdTarget,
} from './target.ts'
import type { PipeReader } from '../../support/pipereader.ts'

/** An accident; `accident` of a file in scenarios/. */
export interface Accident {
  /** One line: what happens, and what must not happen to the players. */
  readonly what: string
  /** Starts a server and causes the accident in `drill.play`. Returned figures are added to the drill's own. */
  run(drill: AccidentDrill): Promise<Figures | void>
}

export interface AccidentOptions {
  readonly quick: boolean
  readonly players: number
  readonly seed: number
}

/** `recoverMs`: bound of the time to normal. A machine that is busy with other work needs as long for the rest. */
const TIMES = {
  quick: { calmMs: 1_000, rateMs: 500, recoverMs: 30_000, deadlineMs: 60_000 },
  full: { calmMs: 5_000, rateMs: 1_000, recoverMs: 30_000, deadlineMs: 60_000 },
} as const
/** Share of the rate before the accident that counts as normal. */
const NORMAL = 0.9

export class AccidentDrill implements AsyncDisposable {
  readonly name: string
  readonly options: AccidentOptions
  readonly log = new RequestLog()
  readonly #startedMs = performance.now()
  readonly #resources = new AsyncDisposableStack()
  readonly #faults: string[] = []
  #folder: ReturnType<typeof temporaryFolder> | null = null
  #figure: Figures = {}

  constructor(name: string, options: AccidentOptions) {
    this.name = name
    this.options = options
  }

  get isQuick(): boolean {
    return this.options.quick
  }

  /** A folder of this accident, removed when it passed. */
  get folder(): string {
    this.#folder ??= temporaryFolder(`accident-${this.name}`)
    return this.#folder.path
  }

  /** Disposes of a resource when the accident is over. */
  use<T extends AsyncDisposable | Disposable>(resource: T): T {
    return this.#resources.use(resource)
  }

  /** The market and the shards of game.ts in a Node process of their own. */
  async startNode(options: NodeTargetOptions = {}): Promise<NodeTarget> {
    return this.use(await startNodeTarget(this.folder, options))
  }

  /** The same game by `firefly serve`, which prints into `log`. */
  async startCommand(log: PipeReader): Promise<CommandTarget> {
    return this.use(await startCommandTarget(this.folder, log))
  }

  /** The same game in a workerd. */
  async startWorkerd(): Promise<WorkerdTarget> {
    return this.use(await startWorkerdTarget(this.folder))
  }

  /** Something went wrong that the drill itself does not check. */
  fault(what: string): void {
    this.#faults.push(what.slice(0, 300))
  }

  /**
   * Lets players play before, during and after `accident`, stops the server and checks what it stored. `accident`
   * resolves when its cause is over; the time to normal is counted from then on.
   */
  async play(target: Target, accident: (load: SteadyLoad) => Promise<void>): Promise<void> {
    const { quick, players, seed } = this.options
    const { calmMs, rateMs, recoverMs, deadlineMs } = TIMES[quick ? 'quick' : 'full']
    const load = new SteadyLoad(target, { players, seed, log: this.log })
    load.start()
    if (!(await until(() => load.isEveryoneAnsweredSince(0), deadlineMs))) this.fault('not every player could start')
    const calmStartMs = performance.now()
    await until(() => performance.now() - calmStartMs >= calmMs, deadlineMs)
    const beganMs = performance.now()
    const calm = load.between(calmStartMs, beganMs)
    await accident(load)
    const overMs = performance.now()
    const isNormal = (): boolean => {
      const nowMs = performance.now()
      const { perSecond } = load.between(nowMs - rateMs, nowMs)
      return nowMs - overMs >= rateMs && load.isEveryoneAnsweredSince(overMs) && perSecond >= NORMAL * calm.perSecond
    }
    const isRecovered = await until(isNormal, recoverMs)
    if (!isRecovered)
      this.fault(
        `not normal within ${recoverMs} ms: ${load.between(overMs, Infinity).perSecond} answers per second, ${calm.perSecond} before`,
      )
    const normalMs = performance.now()
    const during = load.between(beganMs, normalMs)
    const unanswered = await load.stop(deadlineMs)
    for (const request of unanswered) this.fault(`no answer to ${request}`)
    this.log.isAborted = unanswered.length > 0
    const lost = unanswered.length + (await this.#lostAnswers(target))
    this.#figure = {
      host: target.host,
      players,
      answersBefore: calm.answers,
      answersDuring: during.answers,
      p99CalmMs: calm.p99Ms,
      p99Ms: during.p99Ms,
      maxMs: during.maxMs,
      lost,
      secondsToNormal: isRecovered ? Math.max(0, Math.round(normalMs - overMs - rateMs) / 1_000) : -1,
    }
  }

  async run(accident: Accident) {
    let own: Figures = {}
    try {
      own = (await accident.run(this)) ?? {}
    } catch (error) {
      this.fault(error instanceof Error ? (error.stack ?? error.message) : String(error))
    } finally {
      await this[Symbol.asyncDispose]()
    }
    const faults = [...this.#faults, ...this.log.violations.report()]
    if (faults.length > 0) this.#folder?.keep()
    const seconds = secondsSince(this.#startedMs)
    return { drill: 'accidents', accident: this.name, ...this.#figure, ...own, faults, seconds }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync()
  }

  /** Stops the server and returns the number of acknowledged transactions that it does not have. */
  async #lostAnswers(target: Target): Promise<number> {
    const fault = await target.stop()
    if (fault) this.fault(fault)
    using source = target.openSource()
    const { lost } = await checkSource(this.log, source)
    return lost.size
  }
}
