// One soak of sessions on one host, from the first connection to the reckoning: players on lines that are cut all the
// time, and some that stay cut until more has happened than is kept for them.

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'

import { connect, type Firefly } from '../../../client/index.ts'
import { dialWebSocket } from '../../../client/socket.ts'
import { dialTcp } from '../../../client/tcp.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { Random } from '../../support/random.ts'
import { until } from '../../support/wait.ts'
import type { Account } from './account.ts'
import { Line, randomPlan, type Chances } from './cutter.ts'
import { Faults } from './faults.ts'
import { Lane } from './game.ts'
import type { HostName, SoakHost } from './hosts.ts'
import { Player } from './player.ts'
import type { Stream } from './stream.ts'

export interface SessionsOptions {
  readonly connections: number
  readonly seconds: number
  readonly seed: number
  /** Events of a lane a second. */
  readonly hz: number
  /** Of the players: those who log in, each of whom wakes three shards more. */
  readonly accounts: number
  readonly chances: Chances
  /** For any one thing to happen. */
  readonly patienceMs: number
  readonly progress: (line: string) => void
}

export interface SessionsFigure {
  readonly drill: 'sessions'
  readonly host: HostName
  readonly seed: number
  readonly connections: number
  readonly tcp: number
  readonly hz: number
  readonly accounts: number
  readonly cuts: number
  readonly resumes: number
  readonly events: number
  readonly replies: number
  /** That were answered, and those of them in whose midst the line was cut. */
  readonly logins: number
  readonly cutLogins: number
  /** Events to a uid; gaps and the like count theirs as well. */
  readonly pushes: number
  /** Answers as somebody else after a login. */
  readonly identityFaults: number
  readonly gaps: number
  readonly duplicates: number
  readonly reordered: number
  readonly resyncs: number
  /** How often the SDK told that pushes are missing. */
  readonly pushResyncs: number
  /** Events that RESYNC told to be missed. */
  readonly skipped: number
  readonly restarts: number
  /** Places in a lane or a room whose players were away for too long. */
  readonly seatsLost: number
  /** Players who were away for more than is kept, and those of them who were not told. */
  readonly overruns: number
  readonly overrunsWithoutResync: number
  /** Players who were away for nearly as much as is kept. */
  readonly withins: number
  /** From the SDK's last dialling to 'resumed'. */
  readonly resumeP50Ms: number
  readonly resumeP99Ms: number
  /** From the cut to 'resumed', with the SDK's pauses between its tries. */
  readonly pauseP50Ms: number
  readonly pauseP99Ms: number
  /** Of the drill's own event loop: what the times above have in them and the server does not answer for. */
  readonly lagP99Ms: number
  readonly faults: readonly string[]
  readonly seconds: number
}

const ROOM_MEMBERS = 50
/** Of a room, in periods of a lane; and of a player between two moments of calling. */
const ROOM_PERIODS = 2.5
const THINK_PERIODS = 5
/** All have logged in after this part of the time. */
const ENTERING = 0.4
/** So many start at a time. */
const STARTERS = 50
const PROGRESS_MS = 5_000
/** One player of so many is kept away on purpose. */
const ONE_AWAY_OF = 20
/** In this part of the time. */
const SURGING = 0.8
/** What happens to a lane while its player is away: more events than are kept, more bytes, or less than both. */
const SURGES = [
  { events: DEFAULT_LIMITS.maxUnackedEvents + 88, chars: 16, isOverrun: true },
  { events: 80, chars: 4_000, isOverrun: true },
  { events: 300, chars: 64, isOverrun: false },
] as const
type Surge = (typeof SURGES)[number]
/** WELCOME, OPENED and RESYNC, with the answer to a WebSocket's request. */
const RETURN_BYTES = 500
/** Of a surge in one turn. */
const SURGE_EVENTS = 100

/** What is wrong stands in `faults`. */
export async function soakSessions(host: SoakHost, options: SessionsOptions): Promise<SessionsFigure> {
  const soak = new Soak(host, options)
  try {
    return await soak.run()
  } finally {
    await soak.close()
  }
}

class Soak {
  readonly #host: SoakHost
  readonly #options: SessionsOptions
  readonly #random: Random
  readonly #faults = new Faults()
  readonly #players: Player[] = []
  readonly #lag = monitorEventLoopDelay({ resolution: 5 })
  #overruns = 0
  #untold = 0
  #withins = 0
  /** More was pushed to them than is kept. */
  readonly #pushOverruns = new Set<Account>()

  constructor(host: SoakHost, options: SessionsOptions) {
    this.#host = host
    this.#options = options
    this.#random = new Random(options.seed)
  }

  async run(): Promise<SessionsFigure> {
    const { seconds, progress } = this.#options
    const startMs = performance.now()
    const reports = setInterval(() => progress(this.#state()), PROGRESS_MS)
    try {
      await this.#enter()
      progress(`${this.#host.name}: ${this.#players.length} players are in`)
      // Cut they were from their first byte on; times are taken from here, when all shards have been made.
      for (const { resumeMs, pauseMs } of this.#players) resumeMs.length = pauseMs.length = 0
      this.#lag.enable()
      const playing = Promise.all(this.#players.map((player) => player.play()))
      await Promise.all([sleep(seconds * 1_000), this.#surges()])
      this.#lag.disable()
      for (const { line } of this.#players) line.calm()
      const settled = await Promise.all(this.#players.map((player) => player.stop()))
      const stuck = this.#players.filter((_, i) => !settled[i])
      for (const { name } of stuck)
        this.#faults.add('stuck', `${name}: not answered in ${this.#options.patienceMs} ms`)
      await playing
      await Promise.all(this.#players.filter((_, i) => settled[i]).map((player) => player.compare()))
    } finally {
      clearInterval(reports)
    }
    this.#judge()
    return this.#figure((performance.now() - startMs) / 1_000)
  }

  async close(): Promise<void> {
    await Promise.all(this.#players.map((player) => player.close()))
  }

  async #enter(): Promise<void> {
    const all = await Promise.all(
      Array.from({ length: this.#options.connections }, (_, i) => this.#player(i)),
    )
    const waiting = [...all]
    const failed = new Set<Player>()
    const starter = async (): Promise<void> => {
      for (let player = waiting.shift(); player; player = waiting.shift()) {
        this.#players.push(player)
        const why = await player.start().then(
          () => null,
          (error: unknown) => String(error),
        )
        if (why === null) continue
        failed.add(player)
        this.#faults.add('start', `${player.name}: ${why}`)
      }
    }
    await Promise.all(Array.from({ length: STARTERS }, starter))
    await Promise.all([...failed].map((player) => player.close()))
    // In their order, so that a seed repeats who is chosen.
    this.#players.splice(0, Infinity, ...all.filter((player) => !failed.has(player)))
  }

  async #player(i: number): Promise<Player> {
    const { hz, seconds, accounts, chances, seed, patienceMs } = this.#options
    const { tcp, webSocket } = this.#host
    const random = new Random(seed * 1_000_003 + i)
    const isTcp = tcp !== null && i % 2 === 0
    const line = await Line.open(isTcp ? tcp : webSocket, randomPlan(random.fork(), chances))
    return new Player({
      name: `lane-${i}`,
      room: `room-${Math.floor(i / ROOM_MEMBERS)}`,
      url: isTcp ? `tcp://127.0.0.1:${line.port}` : `ws://127.0.0.1:${line.port}/ws`,
      dial: isTcp ? dialTcp : dialWebSocket,
      line,
      random,
      faults: this.#faults,
      laneMs: Math.round(1_000 / hz),
      roomMs: Math.round((ROOM_PERIODS * 1_000) / hz),
      thinkMs: (THINK_PERIODS * 1_000) / hz,
      loginMs: random.chance(accounts) ? Math.round(ENTERING * seconds * 1_000) : null,
      patienceMs,
    })
  }

  /** Some players are kept away, each for a moment of its own, all kinds of surges in turn. */
  async #surges(): Promise<void> {
    const { connections, seconds, patienceMs } = this.#options
    const url = `ws://127.0.0.1:${this.#host.webSocket}/ws`
    await using director = await connect(url, { connectMs: patienceMs, timeoutMs: patienceMs })
    const count = Math.max(2 * SURGES.length, Math.floor(connections / ONE_AWAY_OF))
    const chosen = this.#random.shuffled(this.#players).slice(0, count)
    const surges = chosen.map(async (player, i) => {
      const bytes = 1 + this.#random.below(RETURN_BYTES)
      await sleep((SURGING * seconds * 1_000 * i) / count)
      await this.#surge(director, player, SURGES[i % SURGES.length]!, bytes)
    })
    await Promise.all(surges)
  }

  async #surge(director: Firefly, player: Player, surge: Surge, bytes: number): Promise<void> {
    const { events, chars, isOverrun } = surge
    const { account } = player
    const [before, resyncs] = [player.laneResynced, player.lane.resyncs]
    if (!(await player.hold())) this.#faults.add('hold', `${player.name}: the SDK did not notice`)
    const lane = director.at(Lane, player.name)
    const { isFollowed, resyncs: told } = account
    for (let left: number = events; left > 0; left -= SURGE_EVENTS)
      await lane.surge({ events: Math.min(left, SURGE_EVENTS), chars })
    const place = await lane.books()
    lane.close()
    // The first return ends in its handshake, or right behind it: a RESYNC that is lost must be told again.
    player.line.release({ towards: 'player', bytes, way: 'end', stallMs: 0 })
    const { life, notes } = place
    const reaches = (): boolean =>
      player.lane.reaches(place) && (!isFollowed || account.notes.reaches({ life, next: notes }))
    const isThere = await until(reaches, this.#options.patienceMs)
    if (!isThere) this.#faults.add('surge', `${player.name}: its events did not go on`)
    if (!isOverrun) return void this.#withins++
    this.#overruns++
    if (isFollowed) {
      this.#pushOverruns.add(account)
      if (!(await until(() => account.resyncs > told, this.#options.patienceMs)))
        this.#faults.add('overrun', `${account.uid}: ${events} notes of ${chars} characters, no RESYNC`)
    }
    // 'resynced' is told when everything is open again.
    const isTold = isThere && (await until(() => player.laneResynced > before, this.#options.patienceMs))
    if (isTold && player.lane.resyncs > resyncs) return
    this.#untold++
    this.#faults.add('overrun', `${player.name}: ${events} events of ${chars} characters missed, no RESYNC`)
  }

  /** What no player alone can see. */
  #judge(): void {
    const { name } = this.#host
    const resyncs = this.#sum(({ resyncs }) => resyncs)
    const seatsLost = this.#sum(({ seatsLost }) => seatsLost)
    // Cuts are short: the buffer reaches far enough for each of them.
    if (resyncs > this.#overruns + seatsLost)
      this.#faults.add(
        'resync',
        `${resyncs} RESYNC, the buffer was overrun ${this.#overruns} times, ${seatsLost} seats were lost`,
      )
    for (const { account, latePauses } of this.#players)
      // Told until it is heard, and so perhaps more than once.
      if (account.resyncs > 0 && latePauses === 0 && !this.#pushOverruns.has(account))
        this.#faults.add('resync', `${account.uid}: told to have missed pushes, the buffer was not overrun`)
    const restarts = this.#sum(({ restarts }) => restarts)
    if (restarts > 0 && name === 'node') this.#faults.add('restart', `${restarts} shards are new, none died`)
    for (const complaint of this.#host.complaints()) this.#faults.add('server', complaint)
    if (this.#cuts === 0) this.#faults.add('idle', 'nothing was cut')
  }

  get #cuts(): number {
    return this.#players.reduce((sum, { line }) => sum + line.cuts, 0)
  }

  #sum(what: (stream: Stream) => number): number {
    return this.#players.reduce(
      (sum, { lane, room, account: { notes } }) => sum + what(lane) + what(room) + what(notes),
      0,
    )
  }

  #count(what: (player: Player) => number): number {
    return this.#players.reduce((sum, player) => sum + what(player), 0)
  }

  #state(): string {
    const open = this.#players.filter((player) => player.isOpen).length
    const events = this.#sum(({ events }) => events)
    const replies = this.#count(({ replies }) => replies)
    return `${this.#host.name}: ${open} of ${this.#players.length} open, ${this.#cuts} cuts, ${events} events, ${replies} replies, ${this.#faults.count} faults`
  }

  #figure(seconds: number): SessionsFigure {
    const { seed, connections, hz, accounts } = this.#options
    const resumes = sorted(this.#players.map(({ resumeMs }) => resumeMs))
    const pauses = sorted(this.#players.map(({ pauseMs }) => pauseMs))
    return {
      drill: 'sessions',
      host: this.#host.name,
      seed,
      connections,
      tcp: this.#host.tcp === null ? 0 : Math.ceil(connections / 2),
      hz,
      accounts,
      cuts: this.#cuts,
      resumes: this.#count(({ resumes }) => resumes),
      events: this.#sum(({ events }) => events),
      replies: this.#count(({ replies }) => replies),
      logins: this.#count(({ account }) => account.logins),
      cutLogins: this.#count(({ account }) => account.cutLogins),
      pushes: this.#count(({ account }) => account.notes.events),
      identityFaults: this.#count(({ account }) => account.identityFaults),
      gaps: this.#sum(({ gaps }) => gaps),
      duplicates: this.#sum(({ duplicates }) => duplicates),
      reordered: this.#sum(({ reordered }) => reordered),
      resyncs: this.#sum(({ resyncs }) => resyncs),
      pushResyncs: this.#count(({ account }) => account.resyncs),
      skipped: this.#sum(({ skipped }) => skipped),
      restarts: this.#sum(({ restarts }) => restarts),
      seatsLost: this.#sum(({ seatsLost }) => seatsLost),
      overruns: this.#overruns,
      overrunsWithoutResync: this.#untold,
      withins: this.#withins,
      resumeP50Ms: quantile(resumes, 0.5),
      resumeP99Ms: quantile(resumes, 0.99),
      pauseP50Ms: quantile(pauses, 0.5),
      pauseP99Ms: quantile(pauses, 0.99),
      lagP99Ms: Math.round(this.#lag.percentile(99) / 1e5) / 10,
      faults: this.#faults.report(),
      seconds: Math.round(seconds * 10) / 10,
    }
  }
}

function sorted(parts: readonly (readonly number[])[]): number[] {
  return parts.flat().sort((a, b) => a - b)
}

function quantile(values: readonly number[], part: number): number {
  return Math.round((values[Math.floor(values.length * part)] ?? 0) * 10) / 10
}
