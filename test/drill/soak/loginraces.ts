// Login races: two clients log in with one uid at the same moment, again and again, some of them on a connection that
// is cut during the login. Invariant: after a race exactly one of them has the uid, the other one was notified, and
// the winner of the race before no longer has it.

import { setTimeout as sleep } from 'node:timers/promises'

import { CallError, connect, SessionError, type Firefly } from '../../../client/index.ts'
import { dialWebSocket } from '../../../client/socket.ts'
import { dialTcp } from '../../../client/tcp.ts'
import { every, progress, secondsSince } from '../../support/figure.ts'
import { Random } from '../../support/random.ts'
import { until } from '../../support/wait.ts'
import { Violations } from '../violations.ts'
import { FaultProxy, loginCut } from './faultproxy.ts'
import { Club, Login, type LoginMode } from './game.ts'
import type { SoakHost } from './hosts.ts'
import { MAX_EXAMPLES, PROGRESS_MS } from './sessions.ts'

export interface LoginRaceOptions {
  readonly races: number
  readonly mode: LoginMode
  /** Log in by a command, or with a ticket in HELLO. */
  readonly by: 'command' | 'ticket'
  readonly seed: number
}

/** Races of different uids in parallel. */
const LANES = 16
/** Share of the races in which one or both clients are cut. */
const CUT_SHARE = 0.25
const BOTH_CUT_SHARE = 0.3
/** Longer than the reconnect deadlines of the SDK and of the server. */
const TIMEOUT_MS = 20_000
const RETRY_MS = 50

/** Runs the races and returns their figure; `faults` lists the violations. */
export async function soakLogins(host: SoakHost, options: LoginRaceOptions) {
  const { races, mode, by } = options
  const startMs = performance.now()
  const totals = { started: 0, races: 0, cut: 0, bothAlive: 0, bothDead: 0 }
  const violations = new Violations(MAX_EXAMPLES)
  using _ = every(PROGRESS_MS, () =>
    progress(`${mode} by ${by}: ${totals.races} of ${races}, ${violations.total} faults`),
  )
  const lanes = Array.from(
    { length: Math.min(LANES, races) },
    (_, i) => new RaceLane(host, options, i, totals, violations),
  )
  await Promise.all(lanes.map((lane) => lane.run()))
  for (const line of host.errorLines()) violations.add('server', line)
  return {
    drill: 'logins',
    host: 'node',
    mode,
    by,
    races: totals.races,
    // Races in which a connection was cut.
    cut: totals.cut,
    bothAlive: totals.bothAlive,
    bothDead: totals.bothDead,
    faults: violations.report(),
    seconds: secondsSince(startMs),
  }
}

interface RaceTotals {
  started: number
  races: number
  cut: number
  bothAlive: number
  bothDead: number
}

/** A client in a race. */
interface Contender {
  /** null = its connection was refused. */
  readonly game: Firefly | null
  /** null = it is not cut. */
  readonly proxy: FaultProxy | null
  /** The code that its session ended with, null = it is open. */
  closed: string | null
  /** It was notified that the other client has the uid. */
  isRefused: boolean
}

/** Races one after the other: over TCP and over WebSocket in turn. */
class RaceLane {
  readonly #host: SoakHost
  readonly #options: LoginRaceOptions
  readonly #number: number
  readonly #totals: RaceTotals
  readonly #violations: Violations
  readonly #random: Random
  #race = 0

  constructor(host: SoakHost, options: LoginRaceOptions, number: number, totals: RaceTotals, violations: Violations) {
    this.#host = host
    this.#options = options
    this.#number = number
    this.#totals = totals
    this.#violations = violations
    this.#random = new Random(options.seed * 1_000_003 + number)
  }

  async run(): Promise<void> {
    // A takeover ends the winner of the race before.
    let lastWinner: Contender | null = null
    while (this.#totals.started < this.#options.races) {
      this.#totals.started++
      this.#race++
      lastWinner = await (this.#options.mode === 'takeover' ? this.#takeover(lastWinner) : this.#refuse())
      this.#totals.races++
    }
    if (lastWinner) await leave(lastWinner)
  }

  async #takeover(lastWinner: Contender | null): Promise<Contender | null> {
    const uid = `uid-${this.#number}`
    const pair = await this.#pair(uid)
    const [winner = null] = await this.#winners(uid, pair)
    const losers = pair.filter((contender) => contender !== winner)
    for (const { closed } of losers) if (closed !== 'REPLACED') this.#violation('reason', uid, closed)
    if (lastWinner && !(await until(() => lastWinner.closed !== null, TIMEOUT_MS)))
      this.#violation('survivor', uid, 'the winner of the race before was not replaced')
    if (lastWinner) await leave(lastWinner)
    await Promise.all(losers.map(leave))
    return winner
  }

  async #refuse(): Promise<null> {
    // A new uid each time: the server may still reserve the last one for the session of its winner.
    const uid = `uid-${this.#number}-${this.#race}`
    const pair = await this.#pair(uid)
    const isCut = pair.some(({ proxy }) => proxy !== null)
    const winners = await this.#winners(uid, pair)
    const refused = pair.filter(({ isRefused }) => isRefused)
    // While the winner is disconnected by a cut, the other client may take the uid over.
    const losers = pair.filter(({ isRefused, closed }) => isRefused || (isCut && closed === 'REPLACED'))
    if (losers.length !== 1)
      this.#violation('refused', uid, `${refused.length} of 2 got ALREADY_ONLINE, ${losers.length} lost`)
    for (const contender of pair)
      if (contender.closed !== null && !losers.includes(contender)) this.#violation('closed', uid, contender.closed)
    if (winners.some((contender) => losers.includes(contender)))
      this.#violation('winner', uid, 'the client that lost has the uid')
    await Promise.all(pair.map(leave))
    return null
  }

  /** Two clients that log in at the same moment. */
  async #pair(uid: string): Promise<Contender[]> {
    const proxies: (FaultProxy | null)[] = [null, null]
    if (this.#random.chance(CUT_SHARE)) {
      this.#totals.cut++
      const first = this.#random.below(2)
      proxies[first] = await this.#proxy()
      if (this.#random.chance(BOTH_CUT_SHARE)) proxies[1 - first] = await this.#proxy()
    }
    const entered: Contender[] = []
    const pair = await Promise.all(proxies.map((proxy) => this.#connect(uid, proxy, entered)))
    if (this.#options.by === 'command') await Promise.all(pair.map((contender) => this.#login(contender, uid)))
    for (const { proxy } of pair) proxy?.stopCutting()
    return pair
  }

  async #proxy(): Promise<FaultProxy> {
    const proxy = await FaultProxy.open(this.#port, () => null)
    // With a ticket the login begins with the first byte.
    if (this.#options.by === 'ticket') proxy.unblock(loginCut(this.#random))
    return proxy
  }

  get #isTcp(): boolean {
    return this.#host.tcp !== null && (this.#number + this.#race) % 2 === 0
  }

  get #port(): number {
    return this.#isTcp ? this.#host.tcp! : this.#host.webSocket
  }

  /** `entered`: the clients of this race that the server has accepted. */
  async #connect(uid: string, proxy: FaultProxy | null, entered: Contender[]): Promise<Contender> {
    const port = proxy?.port ?? this.#port
    const url = this.#isTcp ? `tcp://127.0.0.1:${port}` : `ws://127.0.0.1:${port}/ws`
    const options = {
      dial: this.#isTcp ? dialTcp : dialWebSocket,
      timeoutMs: TIMEOUT_MS,
      connectMs: TIMEOUT_MS,
      ...(this.#options.by === 'ticket' && { ticket: uid }),
    }
    const endMs = performance.now() + TIMEOUT_MS
    for (;;) {
      try {
        const game = await connect(url, options)
        const contender: Contender = { game, proxy, closed: null, isRefused: false }
        game.on('closed', ({ code }) => {
          contender.closed = code
          contender.isRefused ||= code === 'ALREADY_ONLINE'
        })
        entered.push(contender)
        return contender
      } catch (error) {
        if (!(error instanceof SessionError)) throw error
        const isRefused = error.code === 'ALREADY_ONLINE'
        // The uid may belong to the session of its own first attempt, which was cut and will not be resumed.
        const isOwnSession = isRefused && proxy !== null && proxy.cuts > 0 && entered.length === 0
        if (!isOwnSession || performance.now() > endMs) return { game: null, proxy, closed: error.code, isRefused }
        await sleep(RETRY_MS)
      }
    }
  }

  async #login(contender: Contender, uid: string): Promise<void> {
    try {
      const answer = contender.game?.at(Login).login({ uid })
      contender.proxy?.scheduleCut(loginCut(this.#random))
      await answer
    } catch (error) {
      const code = error instanceof CallError ? error.code : String(error)
      if (code === 'ALREADY_ONLINE') contender.isRefused = true
      else if (code === 'CLOSED') return
      // The other login ended its shard's activation. The session is replaced as well.
      else if (code !== 'SHARD_RESTARTED' || !(await until(() => contender.closed === 'REPLACED', TIMEOUT_MS)))
        this.#violation('login', uid, error)
    }
  }

  /** The clients that are answered as that uid, once at least one was notified that the other one has it. */
  async #winners(uid: string, pair: readonly Contender[]): Promise<Contender[]> {
    await until(() => pair.some(({ closed, isRefused }) => closed !== null || isRefused), TIMEOUT_MS)
    const answers = await Promise.all(pair.map((contender) => this.#hasUid(contender, uid)))
    const winners = pair.filter((_, i) => answers[i])
    if (winners.length === 2) this.#totals.bothAlive++
    if (winners.length === 0) this.#totals.bothDead++
    return winners
  }

  async #hasUid({ game }: Contender, uid: string): Promise<boolean> {
    try {
      const answer = await game?.at(Club).who({ n: this.#race })
      return answer?.n === this.#race && answer.uid === uid
    } catch (error) {
      if (error instanceof CallError) return false
      throw error
    }
  }

  #violation(kind: string, uid: string, what: unknown): void {
    this.#violations.add(kind, `${uid}: ${String(what)}`)
  }
}

async function leave({ game, proxy }: Contender): Promise<void> {
  await game?.close()
  proxy?.close()
}
