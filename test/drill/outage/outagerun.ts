// One outage of MySQL as one server handles it: the rates before it, the outage, and the recovery.

import { setTimeout as sleep } from 'node:timers/promises'

import { platformClock } from '../../../client/socket.ts'
import { dialTcp } from '../../../client/tcp.ts'
import { mysqlClient } from '../../../core/node/mysqlpool.ts'
import { Random } from '../../support/random.ts'
import { ServerProcess } from '../../support/serverprocess.ts'
import { until } from '../../support/wait.ts'
import { checkSource } from '../market/checker.ts'
import { LegacyConnection } from '../market/connection.ts'
import { RequestLog, type Transaction } from '../market/requestlog.ts'
import { MysqlSource } from '../market/sources.ts'
import { OUTAGE_MIX } from '../market/mix.ts'
import { MarketPlayer } from '../market/workload.ts'
import { LedgerProbe } from './ledgerprobe.ts'
import type { Health, ServerMessage, ServerOrder } from './server.ts'

export type Mode = 'kill' | 'pause'
export type Class = 'local' | 'critical'

export interface Times {
  readonly warmMs: number
  readonly beforeMs: number
  readonly outageMs: number
  /** The window of a rate. */
  readonly rateMs: number
  /** For the recovery. */
  readonly timeoutMs: number
}

export interface Outage {
  /** Resolves when MySQL is unavailable. */
  readonly began: Promise<void>
  /** Resolves when MySQL is available again. */
  readonly over: Promise<void>
}

interface Acknowledgement {
  readonly of: Transaction
  readonly atMs: number
}

const PROGRAM = new URL('server.ts', import.meta.url)
const NO_HEALTH: Health = { rssBytes: 0, outbox: 0, retryLaters: 0 }
const THINK_MS = 80
/** An answer of class critical may have been in transit when the outage began. */
const GRACE_MS = 2_000
/** Share of the rate before the outage that counts as recovered. */
const RECOVERED = 0.9
/**
 * A local turn does not wait for MySQL: below this share of the rate before the outage, turns have waited. Low, because
 * other work may take the machine meanwhile, and a turn that waits would wait for the whole outage.
 */
const MIN_LOCAL_RATE = 0.2
/** What waits for MySQL is on disk and not in the heap. */
const MAX_HEAP_GROWTH_MB = 50
/** Page caches of 32 slot files, 2 MB each, and garbage that was not yet collected. */
const MAX_RSS_GROWTH_MB = 300
const AIM_SECONDS = 5
/** Outside of an outage, one answer in so many is checked. */
const ANSWERS_PER_CHECK = 4
const SETTLE_MS = 30_000

/** A server of one class, with a database of its own; it survives all outages. */
export class ServerUnderTest {
  readonly class: Class
  readonly mysql: string
  readonly process: ServerProcess<ServerMessage>
  /** Of all outages of this server: its database keeps the entries of earlier ones. */
  readonly log = new RequestLog()
  health = NO_HEALTH
  /** Maximum of each value since `resetPeak`. */
  peak = NO_HEALTH

  constructor(name: Class, order: ServerOrder, log: string) {
    this.class = name
    this.mysql = order.mysql
    this.process = new ServerProcess<ServerMessage>({
      program: PROGRAM,
      order,
      log,
      execArgv: ['--expose-gc', '--max-semi-space-size=2'],
      onMessage: (message) => {
        if (message.what === 'health') this.#receive(message)
      },
    })
  }

  resetPeak(): void {
    this.peak = this.health
  }

  async heapBytes(): Promise<number> {
    const answer = await this.process.request('heap')
    return answer?.what === 'heap' ? answer.bytes : 0
  }

  #receive({ rssBytes, outbox, retryLaters }: Health): void {
    this.health = { rssBytes, outbox, retryLaters }
    this.peak = {
      rssBytes: Math.max(rssBytes, this.peak.rssBytes),
      outbox: Math.max(outbox, this.peak.outbox),
      retryLaters,
    }
  }
}

export class OutageRun {
  readonly #server: ServerUnderTest
  readonly #mode: Mode
  readonly #times: Times
  readonly #probe: LedgerProbe
  readonly #players: readonly MarketPlayer[]
  readonly #acks: Acknowledgement[] = []
  /** Names of players that were answered. */
  readonly #answered = new Set<string>()
  #playing: Promise<unknown> = Promise.resolve()
  #before = { ...NO_HEALTH, heapBytes: 0, rate: 0 }
  #beganMs = Infinity
  #overMs = Infinity
  /** Acknowledged by class critical when MySQL could not confirm it. */
  readonly #impossible: Transaction[] = []

  constructor(server: ServerUnderTest, mode: Mode, players: number, port: number, times: Times) {
    this.#server = server
    this.#mode = mode
    this.#times = times
    this.#probe = new LedgerProbe(server.mysql)
    const names = Array.from({ length: players }, (_, i) => `p${i}`)
    this.#players = names.map(
      (name, i) =>
        new MarketPlayer({
          name,
          prefix: `${mode}-${name}`,
          recipients: names.filter((recipient) => recipient !== name),
          connection: new LegacyConnection({
            player: name,
            url: `tcp://127.0.0.1:${port}`,
            dial: dialTcp,
            clock: platformClock,
          }),
          log: server.log,
          random: new Random(i),
          clock: platformClock,
          mix: OUTAGE_MIX,
          thinkMs: THINK_MS,
          onAcknowledged: (of, atMs) => this.#acknowledged(of, atMs),
        }),
    )
  }

  /** Starts the players, and measures their rate. */
  async measureBefore(): Promise<void> {
    const { warmMs, beforeMs, timeoutMs } = this.#times
    const server = this.#server
    this.#playing = Promise.all(this.#players.map((player) => player.run()))
    if (!(await until(() => this.#answered.size === this.#players.length, timeoutMs)))
      throw new Error(`${this.#answered.size} of ${this.#players.length} players were answered`)
    await sleep(warmMs)
    server.resetPeak()
    const startMs = performance.now()
    await sleep(beforeMs)
    const endMs = performance.now()
    const rate = (this.#count(startMs, endMs) / (endMs - startMs)) * 1_000
    const { health, peak } = server
    this.#before = { ...health, outbox: peak.outbox, heapBytes: await server.heapBytes(), rate }
  }

  /** Call it before the outage begins. Returns the figure. */
  async measureOutage({ began, over }: Outage) {
    const { outageMs, rateMs } = this.#times
    const server = this.#server
    await began
    this.#beganMs = performance.now()
    server.resetPeak()
    await sleep(outageMs - rateMs)
    const heapBytes = [await server.heapBytes()]
    await over
    this.#overMs = performance.now()
    const [recoveredSeconds, drainedSeconds] = await Promise.all([
      this.#secondsUntil(() => this.#isAtFullRate()),
      this.#secondsUntil(() => server.health.outbox <= this.#before.outbox),
    ])
    heapBytes.push(await server.heapBytes())
    const { peak } = server
    for (const player of this.#players) player.stop()
    await this.#playing
    const recovery = { recoveredSeconds, drainedSeconds }
    return this.#figure(recovery, peak, Math.max(...heapBytes), await this.#checkStored())
  }

  #acknowledged(of: Transaction, atMs: number): void {
    this.#acks.push({ of, atMs })
    this.#answered.add(of.player)
    if (this.#server.class === 'local') return
    const isDuring = atMs > this.#beganMs && atMs < this.#overMs
    if (isDuring && atMs > this.#beganMs + GRACE_MS) this.#impossible.push(of)
    if (isDuring || this.#acks.length % ANSWERS_PER_CHECK === 0) this.#probe.check(of)
  }

  /** Answers within an interval. */
  #count(fromMs: number, toMs: number): number {
    let count = 0
    for (let i = this.#acks.length - 1; i >= 0 && this.#acks[i]!.atMs >= fromMs; i--)
      if (this.#acks[i]!.atMs < toMs) count++
    return count
  }

  /** From the end of the outage; -1 = not in time. */
  async #secondsUntil(condition: () => boolean): Promise<number> {
    const isInTime = await until(condition, this.#times.timeoutMs)
    return isInTime ? secondsOf(performance.now() - this.#overMs) : -1
  }

  #isAtFullRate(): boolean {
    const { rateMs } = this.#times
    const nowMs = performance.now()
    if (nowMs < this.#overMs + rateMs) return false
    return this.#count(nowMs - rateMs, nowMs) / rateMs >= (RECOVERED * this.#before.rate) / 1_000
  }

  /** Waits until everything is in MySQL, and checks it there. */
  async #checkStored(): Promise<{ readonly falseAcks: number; readonly isSettled: boolean }> {
    const { log, mysql } = this.#server
    const client = mysqlClient({ url: mysql, poolSize: 1 })
    const source = new MysqlSource(client)
    const isSettled = await until(
      async () => this.#server.health.outbox === 0 && (await source.pending()) === 0,
      SETTLE_MS,
    )
    const { lost } = await checkSource(log, source)
    await client.close()
    await this.#probe.close()
    const falseIds = [...this.#probe.missingAtAnswer, ...this.#impossible].map(({ id }) => id)
    return { falseAcks: new Set([...falseIds, ...lost]).size, isSettled }
  }

  #figure(
    recovery: { readonly recoveredSeconds: number; readonly drainedSeconds: number },
    peak: Health,
    heapBytes: number,
    { falseAcks, isSettled }: { readonly falseAcks: number; readonly isSettled: boolean },
  ) {
    const [server, before] = [this.#server, this.#before]
    const [beganMs, overMs] = [this.#beganMs, this.#overMs]
    const { recoveredSeconds, drainedSeconds } = recovery
    const during = this.#count(beganMs, overMs)
    const rateDuring = (during / (overMs - beganMs)) * 1_000
    const heapGrowthMb = megabytesOf(heapBytes - before.heapBytes)
    const rssGrowthMb = megabytesOf(peak.rssBytes - before.rssBytes)
    const broken = [
      falseAcks > 0 && `${falseAcks} acknowledged transactions were not in MySQL`,
      Math.min(recoveredSeconds, drainedSeconds) < 0 && `not recovered after ${this.#times.timeoutMs} ms`,
      !isSettled && `MySQL did not have everything after ${SETTLE_MS} ms`,
      server.class === 'local' && rateDuring < MIN_LOCAL_RATE * before.rate && 'local turns waited for MySQL',
      heapGrowthMb > MAX_HEAP_GROWTH_MB && `the heap grew by ${heapGrowthMb} MB, limit ${MAX_HEAP_GROWTH_MB}`,
      rssGrowthMb > MAX_RSS_GROWTH_MB && `the memory grew by ${rssGrowthMb} MB, limit ${MAX_RSS_GROWTH_MB}`,
      ...server.log.violations.report(),
    ]
    return {
      drill: 'outage',
      class: server.class,
      how: this.#mode,
      players: this.#players.length,
      seconds: secondsOf(overMs - beganMs),
      ackedBefore: this.#count(0, beganMs),
      ackedDuring: during,
      ackedAfter: this.#count(overMs, Infinity),
      perSecondBefore: Math.round(before.rate),
      perSecondDuring: Math.round(rateDuring),
      /** Acknowledgements that MySQL did not have: of class critical at the answer, of both in the end. */
      falseAcks,
      /** Acknowledgements of class critical that were checked at the moment of the answer. */
      looked: this.#probe.checked,
      retryLaters: server.health.retryLaters - before.retryLaters,
      rssBeforeMb: megabytesOf(before.rssBytes),
      rssPeakMb: megabytesOf(peak.rssBytes),
      heapGrowthMb,
      outboxBefore: before.outbox,
      outboxPeak: peak.outbox,
      /** From the end of the outage until the rate is as before, over `rateMs`; -1 = not in time. */
      recoveredSeconds,
      /** From the end of the outage until the outbox is as short as before; -1 = not in time. */
      drainedSeconds,
      /** For `recoveredSeconds`. */
      aim: AIM_SECONDS,
      ok: recoveredSeconds >= 0 && recoveredSeconds <= AIM_SECONDS,
      /** Kinds of violations in what players were answered and in what MySQL has. */
      faults: server.log.violations.kinds,
      broken: broken.filter((text) => text !== false),
    }
  }
}

function megabytesOf(bytes: number): number {
  return Math.round(bytes / 1e5) / 10
}

function secondsOf(ms: number): number {
  return Math.round(ms / 10) / 100
}
