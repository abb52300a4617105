// The players of an accident: each sends the next request a moment after its last answer, half of them with legacy
// frames over TCP where the host has it, the others with the SDK over WebSocket. Invariant: the time of an answer begins
// with the first attempt of its request, whatever happened to the connection meanwhile.

import { dialWebSocket, platformClock } from '../../../client/socket.ts'
import { dialTcp } from '../../../client/tcp.ts'
import { oneDecimal, quantile } from '../../support/figure.ts'
import { Random } from '../../support/random.ts'
import { until } from '../../support/wait.ts'
import { LegacyConnection, Refused, SdkConnection, type MarketConnection } from '../market/connection.ts'
import { OUTAGE_MIX } from '../market/mix.ts'
import type { RequestLog } from '../market/requestlog.ts'
import { MarketPlayer } from '../market/workload.ts'

/** Where players connect. */
export interface Endpoint {
  readonly webSocketUrl: string
  /** null = the host has no TCP. */
  readonly tcpUrl: string | null
}

export interface SteadyLoadOptions {
  readonly players: number
  readonly seed: number
  readonly log: RequestLog
}

interface Answer {
  readonly player: number
  readonly atMs: number
  readonly ms: number
}

/** A closed loop: with this pause a slow moment shows in the latency and hardly in the rate. */
const THINK_MS = 100
const MIX = { ...OUTAGE_MIX, balance: 0.1, history: 0.05, repeat: 0.05 }

export class SteadyLoad {
  readonly #players: readonly MarketPlayer[]
  readonly #answers: Answer[] = []
  readonly #lastAnswerMs: number[]
  #playing: Promise<unknown> = Promise.resolve()

  constructor({ webSocketUrl, tcpUrl }: Endpoint, { players, seed, log }: SteadyLoadOptions) {
    const names = Array.from({ length: players }, (_, i) => `p${i}`)
    this.#lastAnswerMs = names.map(() => -1)
    this.#players = names.map((name, i) => {
      const shared = { player: name, clock: platformClock }
      const isLegacy = i % 2 === 0
      const connection =
        tcpUrl !== null && isLegacy
          ? new LegacyConnection({ ...shared, url: tcpUrl, dial: dialTcp })
          : new (isLegacy ? LegacyConnection : SdkConnection)({ ...shared, url: webSocketUrl, dial: dialWebSocket })
      return new MarketPlayer({
        name,
        prefix: `s${seed}-${name}`,
        recipients: names.filter((recipient) => recipient !== name),
        connection: timed(connection, (ms) => this.#answered(i, ms)),
        log,
        random: new Random(seed * 1_000_003 + i),
        clock: platformClock,
        mix: MIX,
        thinkMs: THINK_MS,
      })
    })
  }

  /** Answers so far, refusals included. */
  get answers(): number {
    return this.#answers.length
  }

  start(): void {
    this.#playing = Promise.all(this.#players.map((player) => player.run()))
  }

  /** Every player received an answer after `ms` of performance.now(). */
  isEveryoneAnsweredSince(ms: number): boolean {
    return this.#lastAnswerMs.every((lastMs) => lastMs > ms)
  }

  /** The answers that arrived in an interval. */
  between(fromMs: number, toMs: number) {
    const answers = this.#answers.filter(({ atMs }) => atMs >= fromMs && atMs < toMs)
    const times = answers.map(({ ms }) => ms)
    const seconds = (Math.min(toMs, performance.now()) - fromMs) / 1_000
    return {
      answers: answers.length,
      perSecond: oneDecimal(answers.length / seconds),
      p99Ms: quantile(times, 0.99),
      maxMs: oneDecimal(times.reduce((max, ms) => Math.max(max, ms), 0)),
    }
  }

  /** Stops the players after their requests in progress; returns those that are not answered within `ms`. */
  async stop(ms: number): Promise<readonly string[]> {
    for (const player of this.#players) player.stop()
    await until(() => this.#players.every(({ isDone }) => isDone), ms)
    const stuck = this.#players.filter(({ isDone }) => !isDone)
    const unanswered = stuck.map(({ name, pending }) => `${name}: ${pending}`)
    for (const player of stuck) player.abort()
    await this.#playing
    return unanswered
  }

  #answered(player: number, ms: number): void {
    const atMs = performance.now()
    this.#lastAnswerMs[player] = atMs
    this.#answers.push({ player, atMs, ms })
  }
}

/** Reports the time of each answer. Its player has one request at a time. */
function timed(inner: MarketConnection, onAnswer: (ms: number) => void): MarketConnection {
  let startedMs: number | null = null
  const finish = (): void => {
    onAnswer(performance.now() - startedMs!)
    startedMs = null
  }
  return {
    width: 1,
    async request(command, input) {
      startedMs ??= performance.now()
      try {
        const answer = await inner.request(command, input)
        finish()
        return answer
      } catch (error) {
        if (error instanceof Refused) finish()
        throw error
      }
    },
    breakConnection: () => inner.breakConnection(),
    leave: () => inner.leave(),
  }
}
