// Races for one uid: two clients log in at the same moment, again and again. Exactly one of them has the uid afterwards,
// and the other was told so; what had it before the race has it no more.

import { CallError, connect, SessionError, type Firefly } from '../../../client/index.ts'
import { dialWebSocket } from '../../../client/socket.ts'
import { dialTcp } from '../../../client/tcp.ts'
import { until } from '../crash/until.ts'
import { Faults } from './faults.ts'
import type { SoakHost } from './hosts.ts'
import { Login, type LoginMode } from './logingame.ts'

/** How a client says who it is: by a command, or with a ticket in its HELLO. */
export type LoginWay = 'command' | 'ticket'

export interface LoginsOptions {
  readonly races: number
  readonly mode: LoginMode
  readonly by: LoginWay
  readonly progress: (line: string) => void
}

export interface LoginsFigure {
  readonly drill: 'logins'
  readonly host: 'node'
  readonly mode: LoginMode
  readonly by: LoginWay
  readonly races: number
  readonly bothAlive: number
  readonly bothDead: number
  readonly faults: readonly string[]
  readonly seconds: number
}

/** Races of different uids at a time. */
const TRACKS = 16
const PATIENCE_MS = 5_000
const PROGRESS_MS = 5_000

/** What is wrong stands in `faults`. */
export async function soakLogins(host: SoakHost, options: LoginsOptions): Promise<LoginsFigure> {
  const { races, mode, by, progress } = options
  const startMs = performance.now()
  const book: Book = { left: races, done: 0, bothAlive: 0, bothDead: 0, faults: new Faults() }
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
    bothAlive: book.bothAlive,
    bothDead: book.bothDead,
    faults: book.faults.report(),
    seconds: Math.round((performance.now() - startMs) / 100) / 10,
  }
}

interface Book {
  left: number
  done: number
  bothAlive: number
  bothDead: number
  readonly faults: Faults
}

/** A client in a race. */
interface Runner {
  /** null = it was not even let in. */
  readonly game: Firefly | null
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
  #race = 0

  constructor(host: SoakHost, { mode, by }: LoginsOptions, number: number, book: Book) {
    this.#host = host
    this.#mode = mode
    this.#by = by
    this.#number = number
    this.#book = book
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
    const [winner = null] = await this.#survivors(pair, (runner) => runner.closed !== null)
    for (const runner of pair)
      if (runner !== winner && runner.closed !== 'REPLACED') this.#fault('reason', uid, runner.closed)
    if (before && !(await until(() => before.closed !== null, PATIENCE_MS)))
      this.#fault('survivor', uid, 'the winner of the race before was not replaced')
    await Promise.all(pair.filter((runner) => runner !== winner).map(leave))
    return winner
  }

  async #refuse(): Promise<null> {
    // A new one each time: how soon the server notices that the last winner has gone is another matter.
    const uid = `uid-${this.#number}-${this.#race}`
    const pair = await this.#pair(uid)
    const refused = pair.filter(({ isRefused }) => isRefused)
    const winners = await this.#survivors(pair, ({ closed, isRefused }) => closed !== null || isRefused)
    if (refused.length !== 1) this.#fault('refused', uid, `${refused.length} of 2 were told ALREADY_ONLINE`)
    for (const { closed, isRefused } of pair)
      if (closed !== null && !isRefused) this.#fault('closed', uid, closed)
    if (winners.some(({ isRefused }) => isRefused)) this.#fault('winner', uid, 'the refused one has the uid')
    await Promise.all(pair.map(leave))
    return null
  }

  /** Both at the same moment. */
  async #pair(uid: string): Promise<Runner[]> {
    const pair = await Promise.all([this.#connect(uid), this.#connect(uid)])
    if (this.#by === 'command') await Promise.all(pair.map((runner) => this.#login(runner, uid)))
    return pair
  }

  async #connect(uid: string): Promise<Runner> {
    const { tcp, webSocket } = this.#host
    const isTcp = tcp !== null && (this.#number + this.#race) % 2 === 0
    const url = isTcp ? `tcp://127.0.0.1:${tcp}` : `ws://127.0.0.1:${webSocket}/ws`
    const dial = isTcp ? dialTcp : dialWebSocket
    const ticket = this.#by === 'ticket' ? { ticket: uid } : {}
    try {
      const game = await connect(url, { dial, timeoutMs: PATIENCE_MS, ...ticket })
      const runner: Runner = { game, closed: null, isRefused: false }
      game.on('closed', ({ code }) => {
        runner.closed = code
        runner.isRefused ||= code === 'ALREADY_ONLINE'
      })
      return runner
    } catch (error) {
      if (!(error instanceof SessionError)) throw error
      return { game: null, closed: error.code, isRefused: error.code === 'ALREADY_ONLINE' }
    }
  }

  async #login(runner: Runner, uid: string): Promise<void> {
    try {
      await runner.game?.at(Login).login({ uid })
    } catch (error) {
      const code = error instanceof CallError ? error.code : String(error)
      if (code === 'ALREADY_ONLINE') runner.isRefused = true
      else if (code !== 'CLOSED') this.#fault('login', uid, code)
    }
  }

  /** Who has the uid: is answered, and was not told otherwise. `isTold` waits for one at least who was. */
  async #survivors(pair: readonly Runner[], isTold: (runner: Runner) => boolean): Promise<Runner[]> {
    await until(() => pair.some(isTold), PATIENCE_MS)
    const answers = await Promise.all(pair.map((runner) => this.#answers(runner)))
    const alive = pair.filter(({ isRefused }, i) => answers[i] && !isRefused)
    if (alive.length === 2) this.#book.bothAlive++
    if (alive.length === 0) this.#book.bothDead++
    return alive
  }

  async #answers({ game }: Runner): Promise<boolean> {
    try {
      const answer = await game?.at(Login).echo({ n: this.#race })
      return answer?.n === this.#race
    } catch (error) {
      if (error instanceof CallError) return false
      throw error
    }
  }

  #fault(kind: string, uid: string, what: unknown): void {
    this.#book.faults.add(kind, `${uid}: ${String(what)}`)
  }
}

async function leave({ game }: Runner): Promise<void> {
  await game?.close()
}
