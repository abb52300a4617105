// One drill from beginning to end: a MariaDB, a load that never stops, kills, and the reckoning.

import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { mysqlClient } from '../../../core/node/mysqlpool.ts'
import type { SqlClient } from '../../../core/sql/client.ts'
import game from '../../../examples/market/server.ts'
import { startMariadb, type Mariadb } from '../../support/mariadb.ts'
import { audit, type Verdict } from './audit.ts'
import { Books, type Fault } from './books.ts'
import type { Ports } from './child.ts'
import { migrate, MysqlSource } from './database.ts'
import { Kills, Stopped } from './kills.ts'
import { LegacyLine, SdkLine } from './line.ts'
import { Player } from './player.ts'
import type { Mutant, Point } from './points.ts'
import { Random } from '../../support/random.ts'
import { SlotSource } from './slots.ts'
import { grows, until, within } from '../../support/wait.ts'
import { Zombies } from './zombies.ts'

export interface RunOptions {
  readonly critical: boolean
  readonly kills: number
  readonly minAcked: number
  readonly seed: number
  readonly players: number
  /** In turn, in another order each time. */
  readonly points: readonly Point[]
  readonly mutant: Mutant | null
  /** For any one thing to happen. */
  readonly patienceMs: number
  /** For what is on its way to arrive, once everything is answered. */
  readonly settleMs: number
  /** Answers after which a server is known to work. */
  readonly few: number
  readonly thinkMs: number
  readonly ports: Ports
  readonly progress: (line: string) => void
}

export interface Figure extends Verdict {
  readonly drill: 'crash'
  readonly host: 'node'
  readonly class: 'local' | 'critical'
  readonly seed: number
  /** Of servers. */
  readonly kills: number
  readonly acked: number
  readonly perSecond: number
  /** Old requests that were made again. */
  readonly repeats: number
  readonly reads: number
  readonly points: Readonly<Record<string, number>>
  readonly zombies: number
  readonly zombiesFenced: number
  readonly databaseKills: number
  readonly databasePauses: number
  readonly droppedAnswers: number
  /** Errors that players heard, by code; none of them acknowledged anything. */
  readonly errors: Readonly<Record<string, number>>
  readonly faults: readonly Fault[]
  readonly seconds: number
}

const PROGRESS_MS = 3_000
const LOOK_MS = 100
const DRAIN_MS = 30_000

/** What is wrong stands in `faults`; then the folder stays, and `progress` says where. */
export async function run(options: RunOptions): Promise<Figure> {
  const { ports } = options
  await using mariadb = await startMariadb({ port: await ports.free() })
  const client = mysqlClient({ url: mariadb.url })
  await migrate(client, [...game.tables.values()])
  const [http, tcp] = [await ports.free(), await ports.free()]
  const drill = new Drill(options, mariadb, client, http, tcp)
  await drill.play()
  const figure = await drill.judge()
  await client.close()
  await drill.tidy()
  return figure
}

class Drill {
  readonly #options: RunOptions
  readonly #startedMs = performance.now()
  readonly #books = new Books()
  readonly #random: Random
  readonly #folder = mkdtempSync(join(tmpdir(), 'firefly-crash-'))
  readonly #data = join(this.#folder, 'data')
  readonly #mariadb: Mariadb
  readonly #mysql: MysqlSource
  readonly #zombies: Zombies
  readonly #kills: Kills
  readonly #players: readonly Player[]
  #isOver = false

  constructor(options: RunOptions, mariadb: Mariadb, client: SqlClient, http: number, tcp: number) {
    const { seed, critical, mutant } = options
    this.#options = options
    this.#random = new Random(seed)
    this.#mariadb = mariadb
    this.#mysql = new MysqlSource(client)
    this.#zombies = new Zombies(client, [...game.tables.values()], this.#books, mutant)
    this.#kills = new Kills({
      ...options,
      books: this.#books,
      mariadb,
      zombies: this.#zombies,
      random: this.#random,
      order: { http, tcp, critical, mutant },
      data: this.#data,
      log: join(this.#folder, 'server.log'),
    })
    this.#players = this.#makePlayers(http, tcp)
  }

  /** Until everything is answered and the last server has drained, or the drill cannot go on. */
  async play(): Promise<void> {
    const reporting = setInterval(() => this.#report(), PROGRESS_MS)
    const looking = this.#look()
    const playing = Promise.all(this.#players.map((player) => player.run()))
    try {
      await this.#killAll()
      const survivor = await this.#kills.survivor()
      await this.#finish(playing)
      survivor.kill('SIGTERM')
      const end = await within(survivor.ended, DRAIN_MS)
      if (end?.code !== 0) this.#books.fault('server', `it did not drain: ${JSON.stringify(end)}`)
    } catch (error) {
      if (!(error instanceof Stopped)) throw error
      this.#stuck()
    } finally {
      this.#kills.child?.kill()
      await this.#kills.child?.ended
      for (const player of this.#players) player.abort()
      await playing
      this.#isOver = true
      await looking
      clearInterval(reporting)
    }
    await this.#zombies.again()
    this.#report()
  }

  async judge(): Promise<Figure> {
    const { critical, seed, kills: wanted, points } = this.#options
    const [books, kills, zombies] = [this.#books, this.#kills, this.#zombies]
    using slots = new SlotSource(this.#data)
    const verdict = await audit(books, slots, this.#mysql)
    for (const point of wanted < points.length ? [] : points)
      if (!kills.points.has(point)) books.fault('point', `${point} was never reached`)
    const seconds = this.#seconds()
    return {
      drill: 'crash',
      host: 'node',
      class: critical ? 'critical' : 'local',
      seed,
      kills: kills.count,
      acked: books.acked,
      perSecond: Math.round(books.acked / seconds),
      ...verdict,
      repeats: books.repeats,
      reads: books.reads,
      points: Object.fromEntries([...kills.points].sort(([a], [b]) => (a < b ? -1 : 1))),
      zombies: zombies.count,
      zombiesFenced: zombies.fenced,
      databaseKills: kills.databaseKills,
      databasePauses: kills.pauses,
      droppedAnswers: kills.droppedAnswers,
      errors: Object.fromEntries(books.errors),
      faults: books.faults,
      seconds: Math.round(seconds * 10) / 10,
    }
  }

  /** Says what is wrong, and keeps everything that may tell why. */
  async tidy(): Promise<void> {
    const { progress, mutant } = this.#options
    for (const line of this.#books.report()) progress(line)
    if (this.#books.faults.length === 0 || mutant !== null) return rmSync(this.#folder, { recursive: true })
    const mysql = join(this.#folder, 'mysql')
    await this.#mariadb.stop()
    mkdirSync(mysql)
    cpSync(join(this.#mariadb.dir, 'data'), join(mysql, 'data'), { recursive: true })
    progress(`kept: ${this.#folder}; its MariaDB: node test/support/mariadb.ts --dir ${mysql}`)
  }

  /** As many as are wanted, or as there are points. @throws Stopped */
  async #killAll(): Promise<void> {
    const { points, kills: wanted } = this.#options
    const kills = this.#kills
    while (kills.count < wanted) {
      for (const point of this.#random.shuffled(points))
        if (kills.count < wanted || (wanted >= points.length && !kills.points.has(point)))
          await kills.kill(point)
    }
  }

  /** Enough is answered, everything is answered, nothing is on its way. */
  async #finish(playing: Promise<unknown>): Promise<void> {
    const { minAcked, patienceMs, settleMs } = this.#options
    const books = this.#books
    if (!(await grows(() => books.acked, minAcked, patienceMs)))
      books.fault('stuck', `${books.acked} of ${minAcked} answers, and no more came`)
    for (const player of this.#players) player.stop()
    if ((await within(playing, patienceMs)) === null) this.#stuck()
    if (!(await until(() => this.#isSettled(), settleMs)))
      books.fault('unsettled', `gold was still on its way after ${settleMs} ms`)
    if (!(await until(() => this.#zombies.waiting === 0, patienceMs)))
      books.fault('zombie', `${this.#zombies.waiting} owners of zombies were not taken over`)
  }

  /** All that was sent is in MySQL, and whether it arrived. */
  async #isSettled(): Promise<boolean> {
    const isSent = ({ kind, gold }: { kind: string; gold: number | null }): boolean =>
      kind === 'transfer' && gold !== null
    const wanted = [...this.#books.deeds.values()].filter(isSent).length
    const { transfers, pending } = await this.#mysql.sent()
    return transfers >= wanted && pending === 0
  }

  async #look(): Promise<void> {
    for (; !this.#isOver; await sleep(LOOK_MS)) await this.#zombies.look()
  }

  #stuck(): void {
    for (const { waitsFor } of this.#players)
      if (waitsFor !== '') this.#books.fault('stuck', `nobody answers ${waitsFor}`)
  }

  #report(): void {
    const { count, last } = this.#kills
    const { acked, faults } = this.#books
    const seconds = this.#seconds()
    const done = `${count} kills, ${acked} acknowledged, ${Math.round(acked / seconds)}/s`
    this.#options.progress(
      [`${Math.round(seconds)} s: ${done}, ${last ?? 'no kill yet'}`, ...faults].join(' '),
    )
  }

  #seconds(): number {
    return (performance.now() - this.#startedMs) / 1_000
  }

  /** Legacy clients and SDK clients by turns. */
  #makePlayers(http: number, tcp: number): Player[] {
    const { players, thinkMs, seed } = this.#options
    const names = Array.from({ length: players }, (_, i) => `p${String(i).padStart(2, '0')}`)
    return names.map((name, i) => {
      const line = i % 2 === 0 ? new LegacyLine(name, tcp) : new SdkLine(name, http)
      const others = names.filter((other) => other !== name)
      const random = this.#random.fork()
      return new Player({ name, others, line, books: this.#books, random, thinkMs, run: `s${seed}` })
    })
  }
}
