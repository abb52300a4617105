// Who a player of the soak is: it logs in at a moment of its own, on a line that is cut in the middle of it, and from the
// answer on it must be answered as that uid, whatever becomes of its connections. What is pushed to the uid is held
// against its numbers like any other event.

import { setTimeout as sleep } from 'node:timers/promises'

import { CallError, type Firefly } from '../../../client/index.ts'
import type { Remote } from '../../../client/channel.ts'
import type { Random } from '../../support/random.ts'
import { loginCut, type Line } from './cutter.ts'
import type { Faults } from './faults.ts'
import { Gate, Home, homeOf, Lane, noteName, Purse, purseOf } from './game.ts'
import { Stream } from './stream.ts'

export interface AccountOptions {
  /** Of its lane. */
  readonly name: string
  readonly line: Line
  readonly random: Random
  readonly faults: Faults
  /** Its first login comes within this time, milliseconds; null = it never logs in. */
  readonly loginMs: number | null
  /** Between two questions who it is, on the average. */
  readonly thinkMs: number
  readonly patienceMs: number
}

/** Of the logins: the binding has a turn of its own. */
const APART = 0.5
/** Of the players, those who log in again and again; and how often they do, of the questions. */
const RESTLESS = 0.5
const AGAIN = 0.15
const RETRY_MS = 50
/** What a call may fail with that did not run, or whose outcome is open: it is made again. */
const PASSING: readonly string[] = ['SHARD_RESTARTED', 'UNAVAILABLE', 'RETRY_LATER']

export class Account {
  readonly uid: string
  /** Pushed to the uid. */
  readonly notes: Stream
  /** Whose promise has been kept, and those among them during which the line was cut. */
  logins = 0
  cutLogins = 0
  /** Answers as somebody else, or none because of it. */
  identityFaults = 0
  /** How often the SDK has told that pushes are missing. */
  resyncs = 0
  /** Notes are on their way. */
  isFollowed = false
  /** What a shard may take this session for. */
  #state: 'nobody' | 'either' | 'known' = 'nobody'
  readonly #options: AccountOptions
  #game!: Firefly
  #lane!: Remote<typeof Lane.entries>

  constructor(options: AccountOptions) {
    this.#options = options
    this.uid = `uid-${options.name}`
    this.notes = new Stream(noteName(options.name))
  }

  /** Before anything is pushed. */
  listen(game: Firefly, lane: Remote<typeof Lane.entries>): void {
    this.#game = game
    this.#lane = lane
    game.on(Lane, 'note', (note) => this.notes.hear(note))
    game.on('resynced', (shards) => {
      if (!shards.some(({ contract }) => contract === '@session')) return
      this.resyncs++
      this.notes.told()
    })
    lane.onRestart(() => {
      if (!this.isFollowed) return
      this.notes.restart()
      void this.#follow()
    })
  }

  /** Judges the uid in the answer to a call that is made now. */
  expects(): (uid: string) => boolean {
    const before = this.#state
    return (uid) => (uid === this.uid ? this.#state !== 'nobody' : uid === '' && before !== 'known')
  }

  /** Logs in, asks who it is, and now and then logs in again, until it is stopped. */
  async play(isStopping: () => boolean): Promise<void> {
    const { random, loginMs, thinkMs } = this.#options
    if (loginMs === null) return
    const isRestless = random.chance(RESTLESS)
    await sleep(random.below(loginMs))
    await this.#login()
    while (!isStopping()) {
      if (!(await this.#isKnown()) || (isRestless && random.chance(AGAIN))) await this.#login()
      await sleep(thinkMs * (0.5 + random.next()))
    }
  }

  /** When nothing is cut any more. */
  async compare(): Promise<void> {
    if (this.#options.loginMs !== null) await this.#isKnown()
  }

  async #login(): Promise<void> {
    const { random, line } = this.#options
    const gate = this.#game.at(Gate)
    const isApart = random.chance(APART)
    // A second one must not be noticed.
    if (this.#state === 'nobody') this.#state = 'either'
    const cuts = line.cuts
    const entered = await this.#cut('login', () => gate.login({ uid: this.uid, binds: !isApart }))
    const bound = isApart && entered ? await this.#cut('bind', () => gate.bind({})) : entered
    if (!entered || !bound) return
    this.logins++
    if (line.cuts > cuts) this.cutLogins++
    if (bound.uid !== this.uid) return this.mistaken(`bind answered as ${bound.uid || 'nobody'}`)
    this.#state = 'known'
    await Promise.all([this.#isKnown(), this.isFollowed ? null : this.#follow()])
  }

  async #follow(): Promise<void> {
    const place = await this.#settled('follow', () => this.#lane.follow({ uid: this.uid }))
    if (!place) return
    this.notes.begins(place)
    this.isFollowed = true
  }

  /** A call in whose midst the line is cut. */
  #cut<T>(what: string, call: () => Promise<T>): Promise<T | null> {
    const { line, random } = this.#options
    return this.#settled(what, () => {
      const answer = call()
      line.arm(loginCut(random))
      return answer
    })
  }

  /** Its home and its purse know it. */
  async #isKnown(): Promise<boolean> {
    const { uid } = this
    const answers = await Promise.all([
      this.#settled('home', () => this.#game.at(Home, homeOf(uid)).who({})),
      this.#settled('purse', () => this.#game.at(Purse).who({})),
    ])
    const [home, purse] = answers
    const isHome = home === null || (home.uid === uid && home.key === homeOf(uid))
    const isPurse = purse === null || (purse.uid === uid && purse.key === purseOf(uid))
    if (!isHome || !isPurse) this.mistaken(`answered ${JSON.stringify(answers)}`)
    return isHome && isPurse && this.#state === 'known'
  }

  /** Made again while it may pass; null when it fails for good. */
  async #settled<T>(what: string, call: () => Promise<T>): Promise<T | null> {
    const endMs = performance.now() + this.#options.patienceMs
    for (;;) {
      try {
        return await call()
      } catch (error) {
        const { code = '' } = error instanceof CallError ? error : {}
        if (PASSING.includes(code) && performance.now() < endMs) {
          await sleep(RETRY_MS)
          continue
        }
        if (this.#game.state === 'closed') return null
        const isShut = /FORBIDDEN/.test(String(error))
        // As it should be: a call that lets it in has failed.
        if (isShut && this.#state !== 'known') return null
        if (isShut) this.mistaken(`${what}: ${String(error)}`)
        else this.#options.faults.add('call', `${this.uid}: ${what}: ${String(error)}`)
        return null
      }
    }
  }

  /** It is somebody else, or nobody; it logs in again, so that the next loss is seen as well. */
  mistaken(what: string): void {
    this.identityFaults++
    this.#state = 'either'
    this.#options.faults.add('identity', `${this.uid}: ${what}`)
  }
}
