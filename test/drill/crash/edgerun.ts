// One drill on the Cloudflare host from beginning to end: real workerd, the real driver, the local PlanetScale endpoint
// before a real MariaDB, a load that never stops, kills, and the reckoning.

import { cpSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { mysqlClient } from '../../../core/node/mysqlpool.ts'
import type { SqlClient } from '../../../core/sql/client.ts'
import { startWorkers, type Workers } from '../../support/workers.ts'
import { startMariadb, type Mariadb } from '../../support/mariadb.ts'
import { startPlanetscale, type Endpoint } from '../../support/planetscale/server.ts'
import { audit, type Verdict } from './audit.ts'
import { Books, type Fault } from './books.ts'
import { Ports } from './child.ts'
import { migrate, MysqlSource, type Source } from './database.ts'
import { game } from './edgegame.ts'
import { EdgeKills, type EdgePoint } from './edgekills.ts'
import { LegacyWebLine } from './edgeline.ts'
import { isFlushed, ObjectSource } from './edgeobjects.ts'
import { measureRows, type RowsWritten } from './edgerows.ts'
import { Sleeper } from './edgesleeper.ts'
import { Wire } from './edgewire.ts'
import { Stopped } from './kills.ts'
import { SdkLine, type Line } from './line.ts'
import { Player } from './player.ts'
import { Random } from '../../support/random.ts'
import type { SlotSource } from './slots.ts'
import { until, within } from '../../support/wait.ts'

export interface EdgeRunOptions {
  readonly critical: boolean
  readonly kills: number
  readonly minAcked: number
  readonly seed: number
  readonly players: number
  /** In turn, in another order each time. */
  readonly points: readonly EdgePoint[]
  /** For any one thing to happen. */
  readonly patienceMs: number
  readonly few: number
  readonly awayMs: number
  readonly thinkMs: number
  readonly progress: (line: string) => void
}

export interface EdgeFigure extends Verdict {
  readonly drill: 'crash'
  readonly host: 'workerd'
  readonly class: 'local' | 'critical'
  readonly seed: number
  readonly kills: number
  readonly acked: number
  readonly perSecond: number
  readonly repeats: number
  readonly reads: number
  readonly points: Readonly<Record<string, number>>
  readonly databaseKills: number
  readonly droppedAnswers: number
  readonly rowsWrittenPerDeposit: RowsWritten
  /** Errors that players heard, by code; none of them acknowledged anything. */
  readonly errors: Readonly<Record<string, number>>
  readonly faults: readonly Fault[]
  readonly seconds: number
}

const PROGRESS_MS = 3_000
/** PlanetScale's is 20 s: objects that die in a transaction are to be met again in a drill's time. */
const TRANSACTION_MS = 10_000
const ENTRY = new URL('./fixtures/marketworker.ts', import.meta.url).pathname

/** What is wrong stands in `faults`; then the folder stays, and `progress` says where. */
export async function runEdge(options: EdgeRunOptions): Promise<EdgeFigure> {
  const ports = new Ports(new Random(process.pid))
  await using mariadb = await startMariadb({ port: await ports.free() })
  const client = mysqlClient({ url: mariadb.url })
  await migrate(client, [...game.tables.values()])
  const endpoint = await startPlanetscale({
    mysql: mariadb.url,
    limits: { transactionMs: TRANSACTION_MS, transactions: 2 * options.players },
  })
  const wire = await Wire.open(endpoint.url)
  try {
    await using workers = await startWorkers({
      entry: ENTRY,
      coreVars: { DATABASE_URL: wire.url, ...(options.critical ? { CRITICAL: '1' } : {}) },
    })
    const drill = new EdgeDrill(options, { mariadb, client, endpoint, wire, workers })
    await drill.play()
    const figure = await drill.judge()
    await drill.tidy()
    return figure
  } finally {
    wire.close()
    await endpoint.close()
    await client.close()
  }
}

interface Stage {
  readonly mariadb: Mariadb
  readonly client: SqlClient
  readonly endpoint: Endpoint
  readonly wire: Wire
  readonly workers: Workers
}

class EdgeDrill {
  readonly #options: EdgeRunOptions
  readonly #stage: Stage
  readonly #startedMs = performance.now()
  readonly #books = new Books()
  readonly #random: Random
  readonly #mysql: MysqlSource
  readonly #names: readonly string[]
  readonly #kills: EdgeKills
  readonly #players: readonly Player[]
  readonly #sleepers: readonly Sleeper[]
  #rowsWritten: RowsWritten = { oneRow: 0, deposit: 0 }

  constructor(options: EdgeRunOptions, stage: Stage) {
    this.#options = options
    this.#stage = stage
    this.#random = new Random(options.seed)
    this.#mysql = new MysqlSource(stage.client)
    this.#names = Array.from({ length: options.players }, (_, i) => `p${String(i).padStart(2, '0')}`)
    this.#players = this.#makePlayers()
    this.#sleepers = [0, 1].map((i) => this.#makeSleeper(`z${i}`, i))
    this.#kills = new EdgeKills({
      ...options,
      ...stage,
      books: this.#books,
      random: this.#random.fork(),
      players: this.#names,
      sleepers: this.#sleepers,
    })
  }

  /** Until everything is answered and flushed, or the drill cannot go on. */
  async play(): Promise<void> {
    this.#rowsWritten = await measureRows(this.#stage.workers, this.#books)
    const reporting = setInterval(() => this.#report(), PROGRESS_MS)
    const playing = Promise.all(this.#players.map((player) => player.run()))
    try {
      await this.#killAll()
      await this.#finish(playing)
    } catch (error) {
      if (!(error instanceof Stopped)) throw error
      this.#stuck()
    } finally {
      for (const player of this.#players) player.abort()
      for (const sleeper of this.#sleepers) sleeper.close()
      await playing
      clearInterval(reporting)
    }
    this.#report()
  }

  async judge(): Promise<EdgeFigure> {
    const { critical, seed, kills: wanted, points } = this.#options
    const [books, kills] = [this.#books, this.#kills]
    // The audit asks nothing else of the game's stores.
    const objects: Source & Pick<SlotSource, 'casts'> = await this.#objects()
    const verdict = await audit(books, objects as SlotSource, this.#mysql)
    for (const point of wanted < points.length ? [] : points)
      if (!kills.points.has(point)) books.fault('point', `${point} was never reached`)
    const seconds = this.#seconds()
    return {
      drill: 'crash',
      host: 'workerd',
      class: critical ? 'critical' : 'local',
      seed,
      kills: kills.count,
      acked: books.acked,
      perSecond: Math.round(books.acked / seconds),
      ...verdict,
      repeats: books.repeats,
      reads: books.reads,
      points: Object.fromEntries([...kills.points].sort(([a], [b]) => (a < b ? -1 : 1))),
      databaseKills: kills.databaseKills,
      droppedAnswers: kills.droppedAnswers,
      rowsWrittenPerDeposit: this.#rowsWritten,
      errors: Object.fromEntries(books.errors),
      faults: books.faults,
      seconds: Math.round(seconds * 10) / 10,
    }
  }

  /** Says what is wrong, and keeps everything that may tell why. */
  async tidy(): Promise<void> {
    const { progress } = this.#options
    const { mariadb, workers } = this.#stage
    if (this.#books.faults.length === 0) return
    for (const line of this.#books.report()) progress(line)
    const folder = mkdtempSync(join(tmpdir(), 'firefly-crash-edge-'))
    const objects = await this.#objects()
    writeFileSync(join(folder, 'objects.json'), JSON.stringify([...objects.stored], null, 1))
    writeFileSync(join(folder, 'deeds.json'), JSON.stringify([...this.#books.deeds.values()], null, 1))
    writeFileSync(join(folder, 'workerd.log'), workers.logs().join('\n'))
    await mariadb.stop()
    mkdirSync(join(folder, 'mysql'))
    cpSync(join(mariadb.dir, 'data'), join(folder, 'mysql', 'data'), { recursive: true })
    progress(`kept: ${folder}; its MariaDB: node test/support/mariadb.ts --dir ${join(folder, 'mysql')}`)
  }

  /** @throws Stopped */
  async #killAll(): Promise<void> {
    const { points, kills: wanted } = this.#options
    await this.#kills.goesOn()
    while (this.#kills.count < wanted) {
      for (const point of this.#random.shuffled(points))
        if (this.#kills.count < wanted) await this.#kills.kill(point)
    }
  }

  /** Enough is answered, everything is answered, nothing is on its way. */
  async #finish(playing: Promise<unknown>): Promise<void> {
    const { minAcked, patienceMs } = this.#options
    const books = this.#books
    while (books.acked < minAcked) {
      const before = books.acked
      if (await until(() => books.acked > before, patienceMs)) continue
      books.fault('stuck', `${books.acked} of ${minAcked} answers, and no more came`)
      break
    }
    for (const player of this.#players) player.stop()
    if ((await within(playing, patienceMs)) === null) this.#stuck()
    if (!(await until(() => this.#isSettled(), patienceMs)))
      books.fault('unsettled', `gold was still on its way after ${patienceMs} ms`)
    const { workers, client } = this.#stage
    for (const player of this.#owners())
      if (!(await until(() => isFlushed(workers, client, player), patienceMs)))
        books.fault('unsettled', `MySQL had not all of ${player} after ${patienceMs} ms`)
  }

  /** All that was sent is in MySQL, and whether it arrived. */
  async #isSettled(): Promise<boolean> {
    const wanted = [...this.#books.deeds.values()].filter(
      ({ kind, gold }) => kind === 'transfer' && gold !== null,
    )
    const { transfers, pending } = await this.#mysql.sent()
    return transfers >= wanted.length && pending === 0
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

  #objects(): Promise<ObjectSource> {
    return ObjectSource.read(this.#stage.workers, this.#owners())
  }

  /** Everybody who has a purse. */
  #owners(): string[] {
    const players = new Set(this.#names)
    for (const { player } of this.#books.deeds.values()) players.add(player)
    return [...players]
  }

  #makePlayers(): Player[] {
    const { thinkMs, seed } = this.#options
    return this.#names.map((name, i) => {
      const line = this.#line(name, i)
      const others = this.#names.filter((other) => other !== name)
      const random = this.#random.fork()
      return new Player({ name, others, line, books: this.#books, random, thinkMs, run: `s${seed}` })
    })
  }

  #makeSleeper(name: string, i: number): Sleeper {
    const { seed, patienceMs } = this.#options
    const [line, to] = [this.#line(name, i), this.#names[i]!]
    return new Sleeper({ ...this.#stage, name, to, line, books: this.#books, run: `s${seed}`, patienceMs })
  }

  /** Of a legacy client and of an SDK client by turns. */
  #line(name: string, i: number): Line {
    const { url } = this.#stage.workers
    return i % 2 === 0 ? new LegacyWebLine(name, url) : new SdkLine(name, Number(new URL(url).port))
  }
}
