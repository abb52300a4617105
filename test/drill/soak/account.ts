// The login of one player of the soak: it logs in at a random time, on a connection that is cut during the login.
// Invariant: from the answer on every call is answered as that uid, whatever happens to the connections. Events that
// are pushed to the uid are checked like all others.

import { setTimeout as sleep } from 'node:timers/promises'

import { CallError, type Firefly } from '../../../client/index.ts'
import type { Remote } from '../../../client/channel.ts'
import type { Random } from '../../support/random.ts'
import type { Violations } from '../violations.ts'
import { EventSequence } from './eventsequence.ts'
import { loginCut, type FaultProxy } from './faultproxy.ts'
import { Accounts, Home, homeOf, Lane, Purse, purseOf, pushName } from './game.ts'

export interface AccountOptions {
  /** Of its lane. */
  readonly name: string
  readonly proxy: FaultProxy
  readonly random: Random
  readonly violations: Violations
  /** The first login comes within this time; null = the player never logs in. */
  readonly loginMs: number | null
  /** Average time between two identity checks. */
  readonly thinkMs: number
  readonly timeoutMs: number
}

/** Share of the logins that bind in a turn of its own. */
const SEPARATE_BIND_SHARE = 0.5
/** Share of the players that log in repeatedly; and how often, of their identity checks. */
const REPEATING_SHARE = 0.5
const REPEAT_SHARE = 0.15
const RETRY_MS = 50
/** Errors of a call that did not run, or whose outcome is unknown: it is repeated. */
const RETRIED_CODES: readonly string[] = ['SHARD_RESTARTED', 'UNAVAILABLE', 'RETRY_LATER']

export class Account {
  readonly uid: string
  readonly pushes: EventSequence
  /** Completed logins, and those among them during which the connection was cut. */
  logins = 0
  cutLogins = 0
  /** Calls that were answered as another uid, or refused because of it. */
  identityFaults = 0
  /** How often the SDK reported missed pushes. */
  resyncs = 0
  /** The lane pushes to the uid. */
  isFollowed = false
  /** The uid that shards may see: none, none or its own while a login is open, its own. */
  #state: 'anonymous' | 'uncertain' | 'loggedIn' = 'anonymous'
  readonly #options: AccountOptions
  #game!: Firefly
  #lane!: Remote<typeof Lane.entries>

  constructor(options: AccountOptions) {
    this.#options = options
    this.uid = `uid-${options.name}`
    this.pushes = new EventSequence(pushName(options.name))
  }

  /** Call it before anything is pushed. */
  attach(game: Firefly, lane: Remote<typeof Lane.entries>): void {
    this.#game = game
    this.#lane = lane
    game.on(Lane, 'pushed', (event) => this.pushes.receive(event))
    game.on('resynced', (shards) => {
      if (!shards.some(({ contract }) => contract === '@session')) return
      this.resyncs++
      this.pushes.missedReported()
    })
    lane.onRestart(() => {
      if (!this.isFollowed) return
      this.pushes.restart()
      void this.#follow()
    })
  }

  /** Returns the check of the uid in the answer to a call that is made now. */
  expectedIdentity(): (uid: string) => boolean {
    const before = this.#state
    return (uid) => (uid === this.uid ? this.#state !== 'anonymous' : uid === '' && before !== 'loggedIn')
  }

  /** Logs in, checks the identity, and logs in again now and then, until it is stopped. */
  async play(isStopping: () => boolean): Promise<void> {
    const { random, loginMs, thinkMs } = this.#options
    if (loginMs === null) return
    const logsInRepeatedly = random.chance(REPEATING_SHARE)
    await sleep(random.below(loginMs))
    await this.#login()
    while (!isStopping()) {
      if (!(await this.#isRecognized()) || (logsInRepeatedly && random.chance(REPEAT_SHARE))) await this.#login()
      await sleep(thinkMs * (0.5 + random.next()))
    }
  }

  /** The last identity check; call it when no connection is cut any more. */
  async checkAtEnd(): Promise<void> {
    if (this.#options.loginMs !== null) await this.#isRecognized()
  }

  /** Counts the violation. The player logs in again, so that the next one is detected too. */
  identityViolation(what: string): void {
    this.identityFaults++
    this.#state = 'uncertain'
    this.#options.violations.add('identity', `${this.uid}: ${what}`)
  }

  async #login(): Promise<void> {
    const { random, proxy } = this.#options
    const accounts = this.#game.at(Accounts)
    const bindsSeparately = random.chance(SEPARATE_BIND_SHARE)
    // A repeated login must not change what the shards see.
    if (this.#state === 'anonymous') this.#state = 'uncertain'
    const cutsBefore = proxy.cuts
    const entered = await this.#callWithCut('login', () => accounts.login({ uid: this.uid, binds: !bindsSeparately }))
    const bound = bindsSeparately && entered ? await this.#callWithCut('bind', () => accounts.bind({})) : entered
    if (!entered || !bound) return
    this.logins++
    if (proxy.cuts > cutsBefore) this.cutLogins++
    if (bound.uid !== this.uid) return this.identityViolation(`bind answered as ${bound.uid || 'nobody'}`)
    this.#state = 'loggedIn'
    await Promise.all([this.#isRecognized(), this.isFollowed ? null : this.#follow()])
  }

  async #follow(): Promise<void> {
    const position = await this.#completed('follow', () => this.#lane.follow({ uid: this.uid }))
    if (!position) return
    this.pushes.joined(position)
    this.isFollowed = true
  }

  /** A call during which the connection is cut. */
  #callWithCut<T>(what: string, call: () => Promise<T>): Promise<T | null> {
    const { proxy, random } = this.#options
    return this.#completed(what, () => {
      const answer = call()
      proxy.scheduleCut(loginCut(random))
      return answer
    })
  }

  /** Returns true when its home and its purse see the uid. */
  async #isRecognized(): Promise<boolean> {
    const { uid } = this
    const answers = await Promise.all([
      this.#completed('home', () => this.#game.at(Home, homeOf(uid)).who({})),
      this.#completed('purse', () => this.#game.at(Purse).who({})),
    ])
    const [home, purse] = answers
    const isHome = home === null || (home.uid === uid && home.key === homeOf(uid))
    const isPurse = purse === null || (purse.uid === uid && purse.key === purseOf(uid))
    if (!isHome || !isPurse) this.identityViolation(`answered ${JSON.stringify(answers)}`)
    return isHome && isPurse && this.#state === 'loggedIn'
  }

  /** Repeats the call while its error is a passing one; returns null when it failed. */
  async #completed<T>(what: string, call: () => Promise<T>): Promise<T | null> {
    const endMs = performance.now() + this.#options.timeoutMs
    for (;;) {
      try {
        return await call()
      } catch (error) {
        const { code = '' } = error instanceof CallError ? error : {}
        if (RETRIED_CODES.includes(code) && performance.now() < endMs) {
          await sleep(RETRY_MS)
          continue
        }
        if (this.#game.state === 'closed') return null
        const isForbidden = /FORBIDDEN/.test(String(error))
        // Correct before the login has completed.
        if (isForbidden && this.#state !== 'loggedIn') return null
        if (isForbidden) this.identityViolation(`${what}: ${String(error)}`)
        else this.#options.violations.add('call', `${this.uid}: ${what}: ${String(error)}`)
        return null
      }
    }
  }
}
