// One player of the soak behind a fault proxy: it uses the SDK as a game does and calls all the time. Invariant: every
// answer and every event is compared with the value that it must have.

import { setTimeout as sleep } from 'node:timers/promises'

import { CallError, connect, type Firefly } from '../../../client/index.ts'
import type { Remote } from '../../../client/channel.ts'
import type { Dial } from '../../../client/socket.ts'
import { TIMES } from '../../../core/wire/limits.ts'
import { until } from '../../support/wait.ts'
import { Account, type AccountOptions } from './account.ts'
import { EventSequence, type EventPosition } from './eventsequence.ts'
import { Lane, Room } from './game.ts'
import { answerOf } from './payload.ts'

export interface PlayerOptions extends AccountOptions {
  readonly room: string
  readonly url: string
  readonly dial: Dial
  /** Between two events of the lane and of the room. */
  readonly laneMs: number
  readonly roomMs: number
}

type LaneRemote = Remote<typeof Lane.entries>
type RoomRemote = Remote<typeof Room.entries>

const MAX_CALLS_AT_ONCE = 3
const DEPOSIT_SHARE = 0.2
const MAX_DEPOSIT = 1_000

export class SessionPlayer {
  readonly name: string
  readonly lane: EventSequence
  readonly room: EventSequence
  readonly account: Account
  /** Correct answers. */
  replies = 0
  resumes = 0
  /** How often the SDK reported that the lane missed events. */
  laneResyncs = 0
  /** From the last dial to 'resumed', and from the cut to 'resumed'. */
  readonly resumeMs: number[] = []
  readonly pauseMs: number[] = []
  /** Pauses that were longer than a seat is reserved. */
  latePauses = 0
  readonly #options: PlayerOptions
  #game: Firefly | null = null
  #lane: LaneRemote | null = null
  #room: RoomRemote | null = null
  #dialedMs = 0
  #cutMs: number | null = null
  #isBlocked = false
  #isStopping = false
  #isClosing = false
  #openCalls = 0
  #lastAsk = 0
  #deposits = 0
  #total = 0

  constructor(options: PlayerOptions) {
    this.#options = options
    this.name = options.name
    this.lane = new EventSequence(options.name)
    this.room = new EventSequence(options.room)
    this.account = new Account({ ...options, random: options.random.fork() })
    options.proxy.onCut = (atMs) => (this.#cutMs ??= atMs)
  }

  get proxy(): AccountOptions['proxy'] {
    return this.#options.proxy
  }

  get isOpen(): boolean {
    return this.#game?.state === 'open'
  }

  /** The SDK does not reconnect any more. */
  get isClosed(): boolean {
    return this.#game?.state === 'closed'
  }

  /** Resolves when the player has joined its lane and its room. */
  async start(): Promise<void> {
    const { url, dial, timeoutMs, laneMs, roomMs } = this.#options
    const game = await connect(url, {
      timeoutMs,
      connectMs: timeoutMs,
      dial: (to, events) => {
        this.#dialedMs = performance.now()
        return dial(to, events)
      },
    })
    this.#game = game
    // A cut during the handshake is not followed by 'resumed'.
    if (this.isOpen) this.#cutMs = null
    game.on('resumed', () => this.#resumed())
    game.on('resynced', (shards) => {
      if (shards.some(({ contract }) => contract === Lane.name)) this.laneResyncs++
    })
    game.on('closed', ({ code, message }) => {
      if (!this.#isClosing) this.#violation('closed', `${code}: ${message}`)
    })
    const lane = (this.#lane = game.at(Lane, this.name))
    lane.on('numbered', (event) => this.lane.receive(event))
    lane.on('resyncedAt', (position) => this.lane.resyncedAt(position))
    this.account.attach(game, lane)
    const room = (this.#room = game.at(Room, this.#options.room))
    room.on('numbered', (event) => this.room.receive(event))
    room.on('resyncedAt', (position) => this.room.resyncedAt(position))
    await Promise.all([
      this.#follow(lane, this.lane, () => lane.start({ periodMs: laneMs })),
      this.#follow(room, this.room, () => room.enter({ periodMs: roomMs })),
    ])
  }

  /** Joins, now and after every RESYNC and restart. */
  #follow(remote: LaneRemote | RoomRemote, sequence: EventSequence, join: () => Promise<EventPosition>): Promise<void> {
    remote.onResync(() => {
      sequence.resync()
      void this.#rejoin(sequence, join)
    })
    remote.onRestart(() => {
      sequence.restart()
      void this.#join(sequence, join)
    })
    remote.onClose((code) => {
      if (!this.#isClosing) this.#violation('channel', `${sequence.name}: ${code}`)
    })
    return this.#join(sequence, join)
  }

  async #join(sequence: EventSequence, join: () => Promise<EventPosition>): Promise<void> {
    const position = await this.#completed(`join ${sequence.name}`, join)
    if (position) sequence.joined(position)
  }

  /** Every game joins again. Only a player that was away for too long has lost its seat. */
  async #rejoin(sequence: EventSequence, join: () => Promise<EventPosition>): Promise<void> {
    const isLate = this.#isLate()
    const position = await this.#completed(`join ${sequence.name} again`, join)
    if (position && isLate) sequence.rejoined(position)
  }

  #isLate(): boolean {
    return this.#cutMs !== null && performance.now() - this.#cutMs >= TIMES.lingerMs
  }

  #resumed(): void {
    const now = performance.now()
    if (this.#isLate()) this.latePauses++
    this.resumes++
    if (!this.#isBlocked) {
      this.resumeMs.push(now - this.#dialedMs)
      if (this.#cutMs !== null) this.pauseMs.push(now - this.#cutMs)
    }
    this.#isBlocked = false
    this.#cutMs = null
  }

  /** Calls until it is stopped. */
  async play(): Promise<void> {
    const { random, thinkMs } = this.#options
    const isOver = (): boolean => this.#isStopping || this.isClosed
    const account = this.account.play(isOver)
    // So that the players do not call at the same moments.
    await sleep(thinkMs * random.next())
    while (!isOver()) {
      for (let calls = 1 + random.below(MAX_CALLS_AT_ONCE); calls > 0; calls--)
        void (random.chance(DEPOSIT_SHARE) ? this.#deposit(1 + random.below(MAX_DEPOSIT)) : this.#ask())
      await sleep(thinkMs * (0.5 + random.next()))
    }
    await account
  }

  async #ask(): Promise<void> {
    const n = ++this.#lastAsk
    const isExpected = this.account.expectedIdentity()
    const reply = await this.#completed(`ask ${n}`, () => this.#lane!.ask({ n }))
    if (!reply) return
    if (!isExpected(reply.uid)) this.account.identityViolation(`ask ${n} answered as ${reply.uid || 'nobody'}`)
    if (reply.n === n && reply.answer === answerOf(this.name, n)) this.replies++
    else this.#violation('reply', `ask ${n} got ${JSON.stringify(reply)}`)
  }

  /** Deposits of one channel run in their order, so the totals after each are known. */
  async #deposit(n: number): Promise<void> {
    const count = ++this.#deposits
    const total = (this.#total += n)
    const reply = await this.#completed(`deposit ${count}`, () => this.#lane!.deposit({ n }))
    if (!reply) return
    if (reply.count === count && reply.total === total) this.replies++
    else this.#violation('deposit', `${count} of ${total} in all got ${JSON.stringify(reply)}`)
  }

  /** Returns null when the call failed. Only a restart of the shard may cause that. */
  async #completed<T>(what: string, call: () => Promise<T>): Promise<T | null> {
    this.#openCalls++
    try {
      return await call()
    } catch (error) {
      if (!(error instanceof CallError && error.code === 'SHARD_RESTARTED'))
        this.#violation('call', `${what}: ${String(error)}`)
      return null
    } finally {
      this.#openCalls--
    }
  }

  /** Cuts the connection and blocks new ones; returns true when the SDK has noticed. */
  async cutAndBlock(): Promise<boolean> {
    this.#isBlocked = true
    this.proxy.blockAll()
    return until(() => !this.isOpen, this.#options.timeoutMs)
  }

  /** Stops calling; returns true when every call is answered and the connection is open. */
  async stop(): Promise<boolean> {
    this.#isStopping = true
    await until(() => this.isClosed || (this.#openCalls === 0 && this.isOpen), this.#options.timeoutMs)
    return this.isOpen && this.#openCalls === 0
  }

  /** Compares the totals of the lane with its own, and the positions of all events with what it received. */
  async compareWithServer(): Promise<void> {
    const [totals, where] = await Promise.all([
      this.#completed('totals', () => this.#lane!.totals()),
      this.#completed('where', () => this.#room!.where()),
    ])
    if (!totals || !where) return
    await this.#checkSequence(this.lane, totals)
    await this.#checkSequence(this.room, where)
    await this.account.checkAtEnd()
    const { activation, pushes, total, count, asks, aways, backs } = totals
    if (this.account.isFollowed) await this.#checkSequence(this.account.pushes, { activation, next: pushes })
    if (total !== this.#total || count !== this.#deposits)
      this.#violation('books', `${count} deposits of ${total}, expected ${this.#deposits} of ${this.#total}`)
    if (this.lane.restarts > 0) return
    if (asks !== this.#lastAsk) this.#violation('asked', `${this.#lastAsk} asks ran ${asks} times`)
    const { seatsExpired } = this.lane
    if (aways !== backs + seatsExpired)
      this.#violation('away', `${aways} times away, ${backs} times back, ${seatsExpired} times too late`)
  }

  async #checkSequence(sequence: EventSequence, position: EventPosition): Promise<void> {
    if (!(await until(() => sequence.reaches(position), this.#options.timeoutMs))) sequence.endAt(position)
    const { name, gaps, duplicates, reordered, wrong } = sequence
    if (gaps > 0) this.#violation('gap', `${name}: ${gaps}: ${sequence.missingNumbers}`)
    if (duplicates > 0) this.#violation('duplicate', `${name}: ${duplicates}`)
    if (reordered > 0) this.#violation('reordered', `${name}: ${reordered}`)
    if (wrong > 0) this.#violation('wrong', `${name}: ${wrong}`)
    if (sequence.awaitsPosition) this.#violation('fresh', `${name}: no position after RESYNC`)
  }

  async close(): Promise<void> {
    this.#isClosing = true
    await this.#game?.close()
    this.proxy.close()
  }

  #violation(kind: string, what: string): void {
    this.#options.violations.add(kind, `${this.name}: ${what}`)
  }
}
