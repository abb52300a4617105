// Races for one uid: two clients log in at the same moment, again and again, some of them on a line that is cut in the
// middle of it. Exactly one of them has the uid afterwards, and the other was told so; what had it before the race has it
// no more.

import { setTimeout as sleep } from 'node:timers/promises'

import { CallError, connect, SessionError, type Firefly } from '../../../client/index.ts'
import { dialWebSocket } from '../../../client/socket.ts'
import { dialTcp } from '../../../client/tcp.ts'
import { Random } from '../../support/random.ts'
import { until } from '../../support/wait.ts'
import { Line, loginCut } from './cutter.ts'
import { Faults } from './faults.ts'
import type { SoakHost } from './hosts.ts'
import { Club, Login, type LoginMode } from './logingame.ts'

/** How a client says who it is: by a command, or with a ticket in its HELLO. */
export type LoginWay = 'command' | 'ticket'

export interface LoginsOptions {
  readonly races: number
  readonly mode: LoginMode
  readonly by: LoginWay
  readonly seed: number
  readonly progress: (line: string) => void
}

export interface LoginsFigure {
  readonly drill: 'logins'
  readonly host: 'node'
  readonly mode: LoginMode
  readonly by: LoginWay
  readonly races: number
  /** Races in which a line was cut. */
  readonly cut: number
  readonly bothAlive: number
  readonly bothDead: number
  readonly faults: readonly string[]
  readonly seconds: number
}

/** Races of different uids at a time. */
const TRACKS = 16
/** Of the races: one or both clients are cut. */
const CUT = 0.25
/** Beyond what the SDK and the server give each other to come back. */
const PATIENCE_MS = 20_000
const RETRY_MS = 50
const PROGRESS_MS = 5_000

/** What is wrong stands in `faults`. */
export async function soakLogins(host: SoakHost, options: LoginsOptions): Promise<LoginsFigure> {
  const { races, mode, by, progress } = options
  const startMs = performance.now()
  const book: Book = { left: races, done: 0, cut: 0, bothAlive: 0, bothDead: 0, faults: new Faults() }
  const report = (): void =>
    progress(`${mode} by ${by}: ${book.done} of ${races}, ${book.faults.count} faults`)
  const reports = setInterval(report, PROGRESS_MS)
  try {
    const tracks = Array.from(
      { length: Math.min(TRACKS, races) },
      (_, i) => new Track(host, options, i, book),
    )
    await Promise.all(tracks.map((track) => track.run()))
  } finally {
    clearInterval(reports)
  }
  for (const complaint of host.complaints()) book.faults.add('server', complaint)
  return {
    drill: 'logins',
    host: 'node',
    mode,
    by,
    races: book.done,
    cut: book.cut,
    bothAlive: book.bothAlive,
    bothDead: book.bothDead,
    faults: book.faults.report(),
    seconds: Math.round((performance.now() - startMs) / 100) / 10,
  }
}

interface Book {
  left: number
  done: number
  cut: number
  bothAlive: number
  bothDead: number
  readonly faults: Faults
}

/** A client in a race. */
interface Runner {
  /** null = it was not even let in. */
  readonly game: Firefly | null
  /** null = it is not cut. */
  readonly line: Line | null
  /** Why it is over, null = it is not. */
  closed: string | null
  /** It was told that somebody else has the uid. */
  isRefused: boolean
}

/** Races one after the other: over TCP and over WebSocket in turn. */
class Track {
  readonly #host: SoakHost
  readonly #mode: LoginMode
  readonly #by: LoginWay
  readonly #number: number
  readonly #book: Book
  readonly #random: Random
  #race = 0

  constructor(host: SoakHost, { mode, by, seed }: LoginsOptions, number: number, book: Book) {
    this.#host = host
    this.#mode = mode
    this.#by = by
    this.#number = number
    this.#book = book
    this.#random = new Random(seed * 1_000_003 + number)
  }

  async run(): Promise<void> {
    // A takeover ends the winner of the race before.
    let before: Runner | null = null
    while (this.#book.left > 0) {
      this.#book.left--
      this.#race++
      before = await (this.#mode === 'takeover' ? this.#takeover(before) : this.#refuse())
      this.#book.done++
    }
    if (before) await leave(before)
  }

  async #takeover(before: Runner | null): Promise<Runner | null> {
    const uid = `uid-${this.#number}`
    const pair = await this.#pair(uid)
    const [winner = null] = await this.#survivors(uid, pair)
    for (const runner of pair)
      if (runner !== winner && runner.closed !== 'REPLACED') this.#fault('reason', uid, runner.closed)
    if (before && !(await until(() => before.closed !== null, PATIENCE_MS)))
      this.#fault('survivor', uid, 'the winner of the race before was not replaced')
    if (before) await leave(before)
    await Promise.all(pair.filter((runner) => runner !== winner).map(leave))
    return winner
  }

  async #refuse(): Promise<null> {
    // A new one each time: how soon the server notices that the last winner has gone is another matter.
    const uid = `uid-${this.#number}-${this.#race}`
    const pair = await this.#pair(uid)
    const isCut = pair.some(({ line }) => line !== null)
    const winners = await this.#survivors(uid, pair)
    const refused = pair.filter(({ isRefused }) => isRefused)
    // While its line is cut the one who has the uid is not there, and the other may take it over.
    const losers = pair.filter(({ isRefused, closed }) => isRefused || (isCut && closed === 'REPLACED'))
    if (losers.length !== 1)
      this.#fault('refused', uid, `${refused.length} of 2 were told ALREADY_ONLINE, ${losers.length} lost`)
    for (const { closed, isRefused } of pair)
      if (closed !== null && !isRefused && !(isCut && closed === 'REPLACED'))
        this.#fault('closed', uid, closed)
    if (winners.some((runner) => losers.includes(runner)))
      this.#fault('winner', uid, 'the one who lost has the uid')
    await Promise.all(pair.map(leave))
    return null
  }

  /** Both at the same moment. */
  async #pair(uid: string): Promise<Runner[]> {
    const lines: (Line | null)[] = [null, null]
    if (this.#random.chance(CUT)) {
      this.#book.cut++
      const first = this.#random.below(2)
      lines[first] = await this.#line()
      if (this.#random.chance(0.3)) lines[1 - first] = await this.#line()
    }
    const entered: Runner[] = []
    const pair = await Promise.all(lines.map((line) => this.#connect(uid, line, entered)))
    if (this.#by === 'command') await Promise.all(pair.map((runner) => this.#login(runner, uid)))
    for (const { line } of pair) line?.calm()
    return pair
  }

  /** With a ticket the login begins with the first byte. */
  async #line(): Promise<Line> {
    const { tcp, webSocket } = this.#host
    const line = await Line.open(this.#isTcp ? tcp! : webSocket, () => null)
    if (this.#by === 'ticket') line.release(loginCut(this.#random))
    return line
  }

  get #isTcp(): boolean {
    return this.#host.tcp !== null && (this.#number + this.#race) % 2 === 0
  }

  /** `entered`: of this race, whoever has been let in. */
  async #connect(uid: string, line: Line | null, entered: Runner[]): Promise<Runner> {
    const { tcp, webSocket } = this.#host
    const port = line?.port ?? (this.#isTcp ? tcp : webSocket)
    const url = this.#isTcp ? `tcp://127.0.0.1:${port}` : `ws://127.0.0.1:${port}/ws`
    const dial = this.#isTcp ? dialTcp : dialWebSocket
    const ticket = this.#by === 'ticket' ? { ticket: uid } : {}
    const endMs = performance.now() + PATIENCE_MS
    for (;;) {
      try {
        const game = await connect(url, { dial, timeoutMs: PATIENCE_MS, connectMs: PATIENCE_MS, ...ticket })
        const runner: Runner = { game, line, closed: null, isRefused: false }
        game.on('closed', ({ code }) => {
          runner.closed = code
          runner.isRefused ||= code === 'ALREADY_ONLINE'
        })
        entered.push(runner)
        return runner
      } catch (error) {
        if (!(error instanceof SessionError)) throw error
        const isRefused = error.code === 'ALREADY_ONLINE'
        // What refuses it may be the session of its own first try, which nobody will take up again.
        const isByItself = isRefused && line !== null && line.cuts > 0 && entered.length === 0
        if (!isByItself || performance.now() > endMs)
          return { game: null, line, closed: error.code, isRefused }
        await sleep(RETRY_MS)
      }
    }
  }

  async #login(runner: Runner, uid: string): Promise<void> {
    try {
      const answer = runner.game?.at(Login).login({ uid })
      runner.line?.arm(loginCut(this.#random))
      await answer
    } catch (error) {
      const code = error instanceof CallError ? error.code : String(error)
      if (code === 'ALREADY_ONLINE') runner.isRefused = true
      else if (code === 'CLOSED') return
      // What it had in its shard went when the other one logged in: it hears of that as well.
      else if (code !== 'SHARD_RESTARTED' || !(await until(() => runner.closed === 'REPLACED', PATIENCE_MS)))
        this.#fault('login', uid, error)
    }
  }

  /** Who is answered as that uid, once one at least was told that the other has it. */
  async #survivors(uid: string, pair: readonly Runner[]): Promise<Runner[]> {
    await until(() => pair.some(({ closed, isRefused }) => closed !== null || isRefused), PATIENCE_MS)
    const answers = await Promise.all(pair.map((runner) => this.#isKnown(runner, uid)))
    const alive = pair.filter((_, i) => answers[i])
    if (alive.length === 2) this.#book.bothAlive++
    if (alive.length === 0) this.#book.bothDead++
    return alive
  }

  async #isKnown({ game }: Runner, uid: string): Promise<boolean> {
    try {
      const answer = await game?.at(Club).who({ n: this.#race })
      return answer?.n === this.#race && answer.uid === uid
    } catch (error) {
      if (error instanceof CallError) return false
      throw error
    }
  }

  #fault(kind: string, uid: string, what: unknown): void {
    this.#book.faults.add(kind, `${uid}: ${String(what)}`)
  }
}

async function leave({ game, line }: Runner): Promise<void> {
  await game?.close()
  line?.close()
}
