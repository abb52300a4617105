// The soak of sessions on one host: players whose connections are cut all the time, and some whose connections stay
// blocked until more events were sent than the server stores for them. Invariant: no event is lost, doubled or
// reordered unless it was reported as missed.

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'

import { connect, type Firefly } from '../../../client/index.ts'
import { dialWebSocket } from '../../../client/socket.ts'
import { dialTcp } from '../../../client/tcp.ts'
import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { every, oneDecimal, progress, quantile, secondsSince } from '../../support/figure.ts'
import { measureBusyShare } from '../../support/busyshare.ts'
import { Random } from '../../support/random.ts'
import { until } from '../../support/wait.ts'
import { Violations } from '../violations.ts'
import type { Account } from './account.ts'
import { pushedBetween, type EventSequence } from './eventsequence.ts'
import { FaultProxy, randomCuts, type CutBounds } from './faultproxy.ts'
import { Lane } from './game.ts'
import type { SoakHost } from './hosts.ts'
import { SessionPlayer } from './player.ts'

export interface SessionsOptions {
  readonly connections: number
  /** Of the names of lanes and rooms. Default '': none. */
  readonly prefix?: string
  /** Share of the full load that the machine can carry. Default 1. */
  readonly factor?: number
  readonly seconds: number
  readonly seed: number
  /** Events of a lane per second. */
  readonly hz: number
  /** Share of the players that log in; each of them uses three more shards. */
  readonly accounts: number
  readonly cutBounds: CutBounds
  /** For each single wait. */
  readonly timeoutMs: number
}

/** Violations of one kind that the figure shows. */
export const MAX_EXAMPLES = 4
export const PROGRESS_MS = 5_000
const ROOM_MEMBERS = 50
/** Periods of a room, and between two calls of a player, in periods of a lane. */
const ROOM_PERIODS = 2.5
const THINK_PERIODS = 5
/** Part of the run within which every account logs in. */
const LOGIN_PART = 0.4
const PARALLEL_STARTS = 50
/** One player of so many is blocked on purpose. */
const PLAYERS_PER_BURST = 20
/** Part of the run within which the bursts start. */
const BURST_PART = 0.8
/** What a lane sends while its player is blocked: more events than are stored, more bytes, or less than both. */
const BURSTS = [
  { events: DEFAULT_LIMITS.maxUnackedEvents + 88, chars: 16, isOverrun: true },
  { events: 80, chars: 4_000, isOverrun: true },
  { events: 300, chars: 64, isOverrun: false },
] as const
type EventBurst = (typeof BURSTS)[number]
/** WELCOME, OPENED and RESYNC, with the answer to a WebSocket's request. */
const RETURN_BYTES = 500
/** Events of a burst in one turn. */
const EVENTS_PER_TURN = 100

/** The players of a measurement, and how long they play. */
const SAMPLE = { connections: 60, seconds: 4 }
/** Share of the busiest thread's time that the full load may take: cuts and resumes come in bursts. */
const BUSY_SHARE = 0.6

/** The share (0..1) of the load that this machine can carry now, measured by a few of its players. */
export async function measureFactor(host: SoakHost, options: SessionsOptions): Promise<number> {
  const { busyShare } = await soakSessions(host, { ...options, ...SAMPLE, prefix: 'sample-' })
  const expected = (busyShare * options.connections) / SAMPLE.connections
  return expected <= BUSY_SHARE ? 1 : Math.round((100 * BUSY_SHARE) / expected) / 100
}

/** Runs the soak and returns its figure; `faults` lists the violations. */
export async function soakSessions(host: SoakHost, options: SessionsOptions) {
  const soak = new SessionSoak(host, options)
  try {
    return await soak.run()
  } finally {
    await soak.close()
  }
}

class SessionSoak {
  readonly #host: SoakHost
  readonly #options: SessionsOptions
  readonly #random: Random
  readonly #violations = new Violations(MAX_EXAMPLES)
  readonly #players: SessionPlayer[] = []
  readonly #lag = monitorEventLoopDelay({ resolution: 5 })
  #busyShare = 0
  #overruns = 0
  #overrunsUnreported = 0
  #withins = 0
  /** Accounts that more may have been pushed to than is stored. */
  readonly #pushOverruns = new Set<Account>()

  constructor(host: SoakHost, options: SessionsOptions) {
    this.#host = host
    this.#options = options
    this.#random = new Random(options.seed)
  }

  async run() {
    const { seconds, timeoutMs } = this.#options
    const startMs = performance.now()
    using _ = every(PROGRESS_MS, () => progress(this.#status()))
    await this.#enter()
    progress(`${this.#host.name}: ${this.#players.length} players have joined`)
    // Connections were cut from their first byte on. Times are measured from here, when all shards are active.
    for (const { resumeMs, pauseMs } of this.#players) resumeMs.length = pauseMs.length = 0
    this.#lag.enable()
    const endBusyShare = measureBusyShare([process.pid, this.#host.pid])
    const playing = Promise.all(this.#players.map((player) => player.play()))
    await Promise.all([sleep(seconds * 1_000), this.#sendBursts()])
    this.#lag.disable()
    this.#busyShare = endBusyShare()
    for (const { proxy } of this.#players) proxy.stopCutting()
    const stopped = await Promise.all(this.#players.map((player) => player.stop()))
    for (const { name } of this.#players.filter((_, i) => !stopped[i]))
      this.#violations.add('stuck', `${name}: not answered in ${timeoutMs} ms`)
    await playing
    await Promise.all(this.#players.filter((_, i) => stopped[i]).map((player) => player.compareWithServer()))
    this.#checkAll()
    return this.#figure(secondsSince(startMs))
  }

  async close(): Promise<void> {
    await Promise.all(this.#players.map((player) => player.close()))
  }

  async #enter(): Promise<void> {
    const { connections } = this.#options
    const all = await Promise.all(Array.from({ length: connections }, (_, i) => this.#player(i)))
    const waiting = [...all]
    const failed = new Set<SessionPlayer>()
    const startNext = async (): Promise<void> => {
      for (let player = waiting.shift(); player; player = waiting.shift()) {
        this.#players.push(player)
        try {
          await player.start()
        } catch (error) {
          failed.add(player)
          this.#violations.add('start', `${player.name}: ${String(error)}`)
        }
      }
    }
    await Promise.all(Array.from({ length: PARALLEL_STARTS }, startNext))
    await Promise.all([...failed].map((player) => player.close()))
    // In the order of their numbers, so that a seed repeats which players are blocked.
    this.#players.splice(0, Infinity, ...all.filter((player) => !failed.has(player)))
  }

  async #player(i: number): Promise<SessionPlayer> {
    const { hz, seconds, accounts, cutBounds, seed, timeoutMs, prefix = '' } = this.#options
    const { tcp, webSocket } = this.#host
    const random = new Random(seed * 1_000_003 + i)
    const isTcp = tcp !== null && i % 2 === 0
    const proxy = await FaultProxy.open(isTcp ? tcp : webSocket, randomCuts(random.fork(), cutBounds))
    return new SessionPlayer({
      name: `${prefix}lane-${i}`,
      room: `${prefix}room-${Math.floor(i / ROOM_MEMBERS)}`,
      url: isTcp ? `tcp://127.0.0.1:${proxy.port}` : `ws://127.0.0.1:${proxy.port}/ws`,
      dial: isTcp ? dialTcp : dialWebSocket,
      proxy,
      random,
      violations: this.#violations,
      laneMs: Math.round(1_000 / hz),
      roomMs: Math.round((ROOM_PERIODS * 1_000) / hz),
      thinkMs: (THINK_PERIODS * 1_000) / hz,
      loginMs: random.chance(accounts) ? Math.round(LOGIN_PART * seconds * 1_000) : null,
      timeoutMs,
    })
  }

  /** Blocks some players, each at a moment of its own, with all kinds of bursts in turn. */
  async #sendBursts(): Promise<void> {
    const { connections, seconds, timeoutMs } = this.#options
    const url = `ws://127.0.0.1:${this.#host.webSocket}/ws`
    await using burstClient = await connect(url, { connectMs: timeoutMs, timeoutMs })
    const count = Math.max(2 * BURSTS.length, Math.floor(connections / PLAYERS_PER_BURST))
    const chosen = this.#random.shuffled(this.#players).slice(0, count)
    const bursts = chosen.map(async (player, i) => {
      const bytes = 1 + this.#random.below(RETURN_BYTES)
      await sleep((BURST_PART * seconds * 1_000 * i) / count)
      await this.#sendBurst(burstClient, player, BURSTS[i % BURSTS.length]!, bytes)
    })
    await Promise.all(bursts)
  }

  async #sendBurst(
    burstClient: Firefly,
    player: SessionPlayer,
    { events, chars, isOverrun }: EventBurst,
    bytes: number,
  ): Promise<void> {
    const { account, name } = player
    const { timeoutMs } = this.#options
    const [reportsBefore, resyncsBefore] = [player.laneResyncs, player.lane.resyncs]
    if (!(await player.cutAndBlock())) this.#violations.add('hold', `${name}: the SDK did not notice the cut`)
    const lane = burstClient.at(Lane, name)
    const pushReportsBefore = account.resyncs
    const before = await lane.totals()
    for (let left: number = events; left > 0; left -= EVENTS_PER_TURN)
      await lane.burst({ events: Math.min(left, EVENTS_PER_TURN), chars })
    const totals = await lane.totals()
    lane.close()
    // The next connection is cut in its handshake or right after it: a RESYNC that is lost must be sent again.
    player.proxy.unblock({ towards: 'player', bytes, mode: 'end', stallMs: 0 })
    const { activation, pushes } = totals
    const pushed = pushedBetween(before, totals)
    const reaches = (): boolean =>
      player.lane.reaches(totals) && (pushed === 0 || account.pushes.reaches({ activation, next: pushes }))
    const isComplete = await until(reaches, timeoutMs)
    if (!isComplete) this.#violations.add('surge', `${name}: its events did not continue`)
    if (!isOverrun) return void this.#withins++
    this.#overruns++
    if (pushed > 0) this.#pushOverruns.add(account)
    if (pushed >= events && !(await until(() => account.resyncs > pushReportsBefore, timeoutMs)))
      this.#violations.add('overrun', `${account.uid}: ${events} pushes of ${chars} characters, no RESYNC`)
    // 'resynced' follows when every channel is open again.
    const isReported = isComplete && (await until(() => player.laneResyncs > reportsBefore, timeoutMs))
    if (isReported && player.lane.resyncs > resyncsBefore) return
    this.#overrunsUnreported++
    this.#violations.add('overrun', `${name}: ${events} events of ${chars} characters missed, no RESYNC`)
  }

  /** The checks over all players. */
  #checkAll(): void {
    const resyncs = this.#sum(({ resyncs: count }) => count)
    const seats = this.#sum(({ seatsExpired }) => seatsExpired)
    // Other cuts are short: the stored events cover each of them.
    if (resyncs > this.#overruns + seats)
      this.#violations.add('resync', `${resyncs} RESYNC, ${this.#overruns} overruns, ${seats} expired seats`)
    for (const { account, latePauses } of this.#players)
      // The report is repeated until it is acknowledged, so there may be more than one per overrun.
      if (account.resyncs > 0 && latePauses === 0 && !this.#pushOverruns.has(account))
        this.#violations.add('resync', `${account.uid}: missed pushes were reported without an overrun`)
    const restarts = this.#sum(({ restarts: count }) => count)
    if (restarts > 0 && this.#host.name === 'node')
      this.#violations.add('restart', `${restarts} shards restarted, no process ended`)
    for (const line of this.#host.errorLines()) this.#violations.add('server', line)
    if (this.#cuts === 0) this.#violations.add('idle', 'no connection was cut')
  }

  get #cuts(): number {
    return this.#count(({ proxy }) => proxy.cuts)
  }

  #sum(of: (sequence: EventSequence) => number): number {
    return this.#count(({ lane, room, account: { pushes } }) => of(lane) + of(room) + of(pushes))
  }

  #count(of: (player: SessionPlayer) => number): number {
    return this.#players.reduce((sum, player) => sum + of(player), 0)
  }

  #status(): string {
    const open = this.#players.filter(({ isOpen }) => isOpen).length
    const events = this.#sum((sequence) => sequence.events)
    const replies = this.#count((player) => player.replies)
    return `${this.#host.name}: ${open} of ${this.#players.length} open, ${this.#cuts} cuts, ${events} events, ${replies} replies, ${this.#violations.total} faults`
  }

  #figure(seconds: number) {
    const { seed, connections, factor = 1, hz, accounts } = this.#options
    const resumeMs = this.#players.flatMap((player) => player.resumeMs)
    const pauseMs = this.#players.flatMap((player) => player.pauseMs)
    return {
      drill: 'sessions',
      host: this.#host.name,
      seed,
      // Share of the full load, and how busy the busiest thread of server and drill was, waiting for a processor included.
      factor,
      busyShare: this.#busyShare,
      connections,
      tcp: this.#host.tcp === null ? 0 : Math.ceil(connections / 2),
      hz,
      accounts,
      cuts: this.#cuts,
      resumes: this.#count(({ resumes }) => resumes),
      // Of lanes, rooms and pushes; so are gaps, duplicates and the like.
      events: this.#sum(({ events }) => events),
      replies: this.#count(({ replies }) => replies),
      logins: this.#count(({ account }) => account.logins),
      cutLogins: this.#count(({ account }) => account.cutLogins),
      pushes: this.#count(({ account }) => account.pushes.events),
      identityFaults: this.#count(({ account }) => account.identityFaults),
      gaps: this.#sum(({ gaps }) => gaps),
      duplicates: this.#sum(({ duplicates }) => duplicates),
      reordered: this.#sum(({ reordered }) => reordered),
      resyncs: this.#sum(({ resyncs }) => resyncs),
      pushResyncs: this.#count(({ account }) => account.resyncs),
      // Events that were reported as missed.
      skipped: this.#sum(({ skipped }) => skipped),
      restarts: this.#sum(({ restarts }) => restarts),
      seatsLost: this.#sum(({ seatsExpired }) => seatsExpired),
      // Bursts that were larger than what is stored, those of them that were not reported, and smaller bursts.
      overruns: this.#overruns,
      overrunsWithoutResync: this.#overrunsUnreported,
      withins: this.#withins,
      // From the SDK's last dial to 'resumed'.
      resumeP50Ms: quantile(resumeMs, 0.5),
      resumeP99Ms: quantile(resumeMs, 0.99),
      // From the cut to 'resumed', with the SDK's pauses between its attempts.
      pauseP50Ms: quantile(pauseMs, 0.5),
      pauseP99Ms: quantile(pauseMs, 0.99),
      // Of the drill's own event loop: the times above contain it.
      lagP99Ms: oneDecimal(this.#lag.percentile(99) / 1e6),
      faults: this.#violations.report(),
      seconds,
    }
  }
}
