// One player of the soak, on a line that breaks: the SDK as a game uses it, calls that never stop, and every answer and
// every event held against what it must be.

import { setTimeout as sleep } from 'node:timers/promises'

import { CallError, connect, type Firefly } from '../../../client/index.ts'
import type { Remote } from '../../../client/channel.ts'
import type { Dial } from '../../../client/socket.ts'
import { TIMES } from '../../../core/wire/limits.ts'
import type { Random } from '../../support/random.ts'
import { until } from '../../support/wait.ts'
import { Account } from './account.ts'
import type { Line } from './cutter.ts'
import type { Faults } from './faults.ts'
import { Lane, Room } from './game.ts'
import { Stream, type Place } from './stream.ts'
import { answerOf } from './text.ts'

export interface PlayerOptions {
  readonly name: string
  readonly room: string
  readonly url: string
  readonly dial: Dial
  readonly line: Line
  readonly random: Random
  readonly faults: Faults
  /** Between two events of the lane, of the room, and two moments of calling, milliseconds. */
  readonly laneMs: number
  readonly roomMs: number
  readonly thinkMs: number
  /** Its first login comes within this time, milliseconds. */
  readonly loginMs: number | null
  /** For one thing to happen. */
  readonly patienceMs: number
}

type LaneRemote = Remote<typeof Lane.entries>
type RoomRemote = Remote<typeof Room.entries>

/** Most calls at one moment. */
const MOST_CALLS = 3
const DEPOSITS = 0.2
const MAX_DEPOSIT = 1_000

export class Player {
  readonly name: string
  readonly line: Line
  readonly lane: Stream
  readonly room: Stream
  readonly account: Account
  /** Answers that were right. */
  replies = 0
  resumes = 0
  /** Calls that a restart of the shard took; the SDK said so. */
  restarted = 0
  /** How often the SDK has told that the lane has missed something. */
  laneResynced = 0
  /** From the last dialling to 'resumed', and from the cut to it. */
  readonly resumeMs: number[] = []
  readonly pauseMs: number[] = []
  /** Longer than a place is kept. */
  latePauses = 0
  readonly #options: PlayerOptions
  #game: Firefly | null = null
  #lane: LaneRemote | null = null
  #room: RoomRemote | null = null
  #dialedMs = 0
  #cutMs: number | null = null
  #isHeld = false
  #isStopping = false
  #isClosing = false
  #waiting = 0
  #n = 0
  #asked = 0
  #deposits = 0
  #total = 0

  constructor(options: PlayerOptions) {
    this.#options = options
    this.name = options.name
    this.line = options.line
    this.lane = new Stream(options.name)
    this.room = new Stream(options.room)
    this.account = new Account({ ...options, random: options.random.fork() })
    options.line.onCut = (atMs) => (this.#cutMs ??= atMs)
  }

  get isOpen(): boolean {
    return this.#game?.state === 'open'
  }

  /** For good, whatever the SDK could do. */
  get isClosed(): boolean {
    return this.#game?.state === 'closed'
  }

  /** It has joined its lane and its room. */
  async start(): Promise<void> {
    const { url, dial, patienceMs } = this.#options
    const game = await connect(url, {
      timeoutMs: patienceMs,
      connectMs: patienceMs,
      dial: (to, events) => {
        this.#dialedMs = performance.now()
        return dial(to, events)
      },
    })
    this.#game = game
    // Before it there was nothing to resume.
    if (this.isOpen) this.#cutMs = null
    game.on('resumed', () => this.#resumed())
    game.on('resynced', (shards) => {
      if (shards.some(({ contract }) => contract === Lane.name)) this.laneResynced++
    })
    game.on('closed', ({ code, message }) => {
      if (!this.#isClosing) this.#fault('closed', `${code}: ${message}`)
    })
    const lane = (this.#lane = game.at(Lane, this.name))
    lane.on('beat', (beat) => this.lane.hear(beat))
    lane.on('fresh', (place) => this.lane.fresh(place))
    this.account.listen(game, lane)
    this.#follow(lane, this.lane, () => lane.start({ periodMs: this.#options.laneMs }))
    const room = (this.#room = game.at(Room, this.#options.room))
    room.on('beat', (beat) => this.room.hear(beat))
    room.on('fresh', (place) => this.room.fresh(place))
    this.#follow(room, this.room, () => room.enter({ periodMs: this.#options.roomMs }))
    await Promise.all([
      this.#join(this.lane, () => lane.start({ periodMs: this.#options.laneMs })),
      this.#join(this.room, () => room.enter({ periodMs: this.#options.roomMs })),
    ])
  }

  #follow(remote: LaneRemote | RoomRemote, stream: Stream, join: () => Promise<Place>): void {
    remote.onResync(() => {
      stream.resync()
      void this.#rejoin(stream, join)
    })
    remote.onRestart(() => {
      stream.restart()
      void this.#join(stream, join)
    })
    remote.onClose((code) => {
      if (!this.#isClosing) this.#fault('channel', `${stream.name}: ${code}`)
    })
  }

  async #join(stream: Stream, join: () => Promise<Place>): Promise<void> {
    const place = await this.#settled(`join ${stream.name}`, join)
    if (place) stream.begins(place)
  }

  /** As every game does it; and who was away for too long, and nobody else, has no place any more. */
  async #rejoin(stream: Stream, join: () => Promise<Place>): Promise<void> {
    const isLate = this.#cutMs !== null && performance.now() - this.#cutMs >= TIMES.lingerMs
    const place = await this.#settled(`join ${stream.name} again`, join)
    if (place && isLate) stream.rejoins(place)
  }

  #resumed(): void {
    const now = performance.now()
    if (this.#cutMs !== null && now - this.#cutMs >= TIMES.lingerMs) this.latePauses++
    this.resumes++
    if (!this.#isHeld) {
      this.resumeMs.push(now - this.#dialedMs)
      if (this.#cutMs !== null) this.pauseMs.push(now - this.#cutMs)
    }
    this.#isHeld = false
    this.#cutMs = null
  }

  /** Calls until it is stopped. */
  async play(): Promise<void> {
    const { random, thinkMs } = this.#options
    const isOver = (): boolean => this.#isStopping || this.isClosed
    const account = this.account.play(isOver)
    // Not all of them in the same moment.
    await sleep(thinkMs * random.next())
    while (!isOver()) {
      for (let calls = 1 + random.below(MOST_CALLS); calls > 0; calls--)
        void (random.chance(DEPOSITS) ? this.#deposit(1 + random.below(MAX_DEPOSIT)) : this.#ask())
      await sleep(thinkMs * (0.5 + random.next()))
    }
    await account
  }

  async #ask(): Promise<void> {
    const n = ++this.#n
    this.#asked++
    const isRight = this.account.expects()
    const reply = await this.#settled(`ask ${n}`, () => this.#lane!.ask({ n }))
    if (!reply) return
    if (!isRight(reply.uid)) this.account.mistaken(`ask ${n} answered as ${reply.uid || 'nobody'}`)
    if (reply.n === n && reply.answer === answerOf(this.name, n)) this.replies++
    else this.#fault('reply', `ask ${n} got ${JSON.stringify(reply)}`)
  }

  /** Deposits of a channel happen in their order, so each can know what the lane has after it. */
  async #deposit(n: number): Promise<void> {
    const count = ++this.#deposits
    const total = (this.#total += n)
    const reply = await this.#settled(`deposit ${count}`, () => this.#lane!.deposit({ n }))
    if (!reply) return
    if (reply.count === count && reply.total === total) this.replies++
    else this.#fault('deposit', `${count} of ${total} in all got ${JSON.stringify(reply)}`)
  }

  /** null when it failed, which only a restart may do to it. */
  async #settled<T>(what: string, call: () => Promise<T>): Promise<T | null> {
    this.#waiting++
    try {
      return await call()
    } catch (error) {
      const isRestart = error instanceof CallError && error.code === 'SHARD_RESTARTED'
      if (isRestart) this.restarted++
      else this.#fault('call', `${what}: ${String(error)}`)
      return null
    } finally {
      this.#waiting--
    }
  }

  /** Cut, and nobody answers any more; resolves when the SDK has noticed. */
  async hold(): Promise<boolean> {
    this.#isHeld = true
    this.line.hold()
    return until(() => !this.isOpen, this.#options.patienceMs)
  }

  /** Everything is answered, on a connection that stands. */
  async stop(): Promise<boolean> {
    this.#isStopping = true
    await until(() => this.isClosed || (this.#waiting === 0 && this.isOpen), this.#options.patienceMs)
    return this.isOpen && this.#waiting === 0
  }

  /** Holds the lane's books against its own. */
  async compare(): Promise<void> {
    const [books, where] = await Promise.all([
      this.#settled('books', () => this.#lane!.books()),
      this.#settled('where', () => this.#room!.where()),
    ])
    if (!books || !where) return
    await this.#tail(this.lane, books)
    await this.#tail(this.room, where)
    await this.account.compare()
    if (this.account.isFollowed) await this.#tail(this.account.notes, { life: books.life, next: books.notes })
    const { total, count, asked, aways, backs } = books
    if (total !== this.#total || count !== this.#deposits)
      this.#fault('books', `${count} deposits of ${total}, made ${this.#deposits} of ${this.#total}`)
    if (this.lane.restarts > 0) return
    if (asked !== this.#asked) this.#fault('asked', `${this.#asked} asks ran ${asked} times`)
    const { seatsLost } = this.lane
    if (aways !== backs + seatsLost)
      this.#fault('away', `${aways} times away, ${backs} times back, ${seatsLost} times too late`)
  }

  async #tail(stream: Stream, place: Place): Promise<void> {
    if (!(await until(() => stream.reaches(place), this.#options.patienceMs))) stream.ends(place)
    const { gaps, duplicates, reordered, wrong } = stream
    if (gaps > 0) this.#fault('gap', `${stream.name}: ${gaps}: ${stream.holes}`)
    if (duplicates > 0) this.#fault('duplicate', `${stream.name}: ${duplicates}`)
    if (reordered > 0) this.#fault('reordered', `${stream.name}: ${reordered}`)
    if (wrong > 0) this.#fault('wrong', `${stream.name}: ${wrong}`)
    if (stream.awaitsFresh) this.#fault('fresh', `${stream.name}: no fresh state behind RESYNC`)
  }

  async close(): Promise<void> {
    this.#isClosing = true
    await this.#game?.close()
    this.line.close()
  }

  #fault(kind: string, what: string): void {
    this.#options.faults.add(kind, `${this.name}: ${what}`)
  }
}
