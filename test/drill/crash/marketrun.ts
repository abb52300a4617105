// One run of a crash drill: players request without pause while faults are injected; then the stored purses and
// ledgers are compared with what was acknowledged. Shared by the Node drill and the workerd drill.

import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { platformClock } from '../../../client/socket.ts'
import type { SqlClient } from '../../../core/sql/client.ts'
import { every, secondsSince, sortedByName } from '../../support/figure.ts'
import type { DatabaseServer } from '../../support/databaseserver.ts'
import type { Random } from '../../support/random.ts'
import { until, untilCount, withDeadline } from '../../support/wait.ts'
import { checkSource, checkTotals, compareSources, type LedgerSource } from '../market/checker.ts'
import type { ConnectionOptions, MarketConnection } from '../market/connection.ts'
import { RequestLog } from '../market/requestlog.ts'
import { MysqlSource } from '../market/sources.ts'
import { CRASH_MIX } from '../market/mix.ts'
import { MarketPlayer } from '../market/workload.ts'
import { flag, whole, type temporaryFolder } from '../options.ts'
import { RunStopped, type FaultLoop, type FaultLoopOptions } from './faultloop.ts'

export interface MarketRunOptions<Point extends string> extends Omit<FaultLoopOptions<Point>, 'log' | 'random'> {
  readonly critical: boolean
  readonly seed: number
  readonly players: number
  readonly minAcked: number
  /** For transfers in progress to arrive, after every request was answered. */
  readonly settleMs: number
  readonly thinkMs: number
  readonly progress: (line: string) => void
}

/** Options of both command lines, to which each adds its points. `--quick` runs both classes, else one runs. */
export const MARKET_OPTIONS = {
  kills: whole(),
  minAcked: whole(),
  seed: whole(1),
  players: whole(),
  critical: flag,
  quick: flag,
}

/** What one host adds to the run. */
export interface MarketHost<Point extends string> {
  readonly faults: FaultLoop<Point, FaultLoopOptions<Point>>
  readonly random: Random
  connectionOf(player: string, index: number): MarketConnection
  /** Every request is answered: waits until everything is flushed, and stops the server. */
  settle(): Promise<void>
  /** Stops what still runs, also after a failure. */
  close(): Promise<void>
}

const PROGRESS_MS = 3_000

/** The players of a run. */
export function playerNames(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `p${String(i).padStart(2, '0')}`)
}

/**
 * Records replies out of order. Not hanging calls: those are found as 'stuck', and a process that blocks for seconds, as
 * it does during an eviction, would report calls that do end.
 */
export function orderCheck(log: RequestLog): NonNullable<ConnectionOptions['onViolation']> {
  return (kind, what) => {
    if (kind === 'order') log.violations.add(kind, what)
  }
}

export class MarketRun<Point extends string> {
  readonly #log: RequestLog
  readonly #mysql: MysqlSource
  readonly #options: MarketRunOptions<Point>
  readonly #host: MarketHost<Point>
  readonly #players: readonly MarketPlayer[]
  readonly #startedMs = performance.now()

  constructor(options: MarketRunOptions<Point>, log: RequestLog, client: SqlClient, host: MarketHost<Point>) {
    const { players, seed, thinkMs } = options
    this.#options = options
    this.#log = log
    this.#mysql = new MysqlSource(client)
    this.#host = host
    const names = playerNames(players)
    this.#players = names.map(
      (name, i) =>
        new MarketPlayer({
          name,
          prefix: `s${seed}-${name}`,
          recipients: names.filter((recipient) => recipient !== name),
          connection: host.connectionOf(name, i),
          log,
          random: host.random.fork(),
          clock: platformClock,
          mix: CRASH_MIX,
          thinkMs,
        }),
    )
  }

  /** Returns when every request is answered and the host has stopped, or when the run cannot continue. */
  async play(): Promise<void> {
    using _ = every(PROGRESS_MS, () => this.#report())
    const playing = Promise.all(this.#players.map((player) => player.run()))
    try {
      await this.#host.faults.run()
      await this.#finish(playing)
      await this.#host.settle()
    } catch (error) {
      if (!(error instanceof RunStopped)) throw error
      this.#addStuck()
    } finally {
      await this.#host.close()
      for (const player of this.#players) player.abort()
      await playing
    }
    this.#report()
  }

  /**
   * Checks what MySQL and the store in front of it hold. Returns the keys that the figures of both hosts have.
   * `castCount`: durable casts without an answer.
   */
  async check(store: LedgerSource & { readonly castCount: number }) {
    const { critical, seed, progress } = this.#options
    const [log, mysql] = [this.#log, this.#mysql]
    const { violations } = log
    const { count, points, missing, databaseKills, droppedAnswers } = this.#host.faults
    const checks = [await checkSource(log, store), await checkSource(log, mysql)]
    const mysqlEqual = await compareSources(log, store, mysql)
    const totals = await checkTotals(log, mysql)
    const parked = await mysql.count('firefly_parked')
    if (parked > 0) violations.add('parked', `firefly_parked has ${parked} turns`)
    const casts = store.castCount + (await mysql.count('firefly_cast'))
    if (casts > 0) violations.add('unsettled', `${casts} durable casts have no answer`)
    for (const point of missing) violations.add('point', `${point} was not reached`)
    for (const line of violations.report()) progress(line)
    const seconds = secondsSince(this.#startedMs)
    return {
      drill: 'crash',
      class: critical ? 'critical' : 'local',
      seed,
      /** Servers or objects that died. */
      kills: count,
      acked: log.acked,
      perSecond: Math.round(log.acked / seconds),
      /** Acknowledged transactions that a source does not have. */
      lost: new Set(checks.flatMap((check) => [...check.lost])).size,
      doubled: new Set(checks.flatMap((check) => [...check.doubled])).size,
      ...totals,
      mysqlEqual,
      parked,
      /** Old transactions that were requested again. */
      repeats: log.repeats,
      /** Balances that players read. */
      reads: log.reads.length,
      points: sortedByName(points),
      databaseKills,
      droppedAnswers,
      /** Errors that players received, by code; none of them acknowledges a request. */
      errors: Object.fromEntries(log.errors),
      faults: violations.kinds,
      seconds,
    }
  }

  /** Keeps the folder, with copies of what may explain a violation. */
  async keepEvidence(folder: ReturnType<typeof temporaryFolder>, mariadb: DatabaseServer): Promise<void> {
    const mysql = join(folder.path, 'mysql')
    folder.keep()
    await mariadb.stop()
    mkdirSync(mysql)
    cpSync(join(mariadb.dir, 'data'), join(mysql, 'data'), { recursive: true })
    writeFileSync(join(folder.path, 'transactions.json'), JSON.stringify([...this.#log.transactions.values()], null, 1))
    this.#options.progress(`evidence in ${folder.path}; its MariaDB: node test/support/mariadb.ts --dir ${mysql}`)
  }

  /** Waits for enough answers, then for all answers, then for all transfers. */
  async #finish(playing: Promise<unknown>): Promise<void> {
    const { minAcked, timeoutMs, settleMs } = this.#options
    const log = this.#log
    if (!(await untilCount(() => log.acked, minAcked, timeoutMs)))
      log.violations.add('stuck', `${log.acked} of ${minAcked} answers, and no more`)
    for (const player of this.#players) player.stop()
    if ((await withDeadline(playing, timeoutMs)) === null) this.#addStuck()
    if (!(await until(() => this.#isSettled(), settleMs)))
      log.violations.add('unsettled', `transfers were in progress after ${settleMs} ms`)
  }

  /** MySQL has every acknowledged transfer, and its arrival. */
  async #isSettled(): Promise<boolean> {
    const expected = [...this.#log.transactions.values()].filter(
      ({ kind, gold }) => kind === 'transfer' && gold !== null,
    )
    return (
      (await this.#mysql.count(`ledger WHERE kind = 'sent'`)) >= expected.length && (await this.#mysql.pending()) === 0
    )
  }

  #addStuck(): void {
    this.#log.isAborted = true
    for (const { pending } of this.#players)
      if (pending !== '') this.#log.violations.add('stuck', `no answer to ${pending}`)
  }

  #report(): void {
    const { count, last } = this.#host.faults
    const { acked, violations } = this.#log
    const seconds = secondsSince(this.#startedMs)
    const done = `${count} kills, ${acked} acknowledged, ${Math.round(acked / seconds)}/s`
    this.#options.progress(
      [`${Math.round(seconds)} s: ${done}, ${last ?? 'no fault yet'}`, ...violations.kinds].join(' '),
    )
  }
}
