// The sessions of a storm, and the calls that they make. Invariant: every call is recorded with its outcome when it ends,
// and the deposits that were answered are known for each session.

import { setTimeout as sleep } from 'node:timers/promises'

import { CallError, connect, type Firefly } from '../../../client/index.ts'
import type { Remote } from '../../../client/channel.ts'
import { dialTcp } from '../../../client/tcp.ts'
import { quantile } from '../../support/figure.ts'
import type { Random } from '../../support/random.ts'
import { until } from '../../support/wait.ts'
import { cuttable, type CuttableDial } from '../cuttable.ts'
import { retried } from '../retried.ts'
import type { Violations } from '../violations.ts'
import { Hall } from './game.ts'

interface Member {
  readonly game: Firefly
  readonly hall: Remote<typeof Hall.entries>
  total: number
  count: number
  /** When its connection was cut; null = it is open. */
  cutMs: number | null
}

interface Outcome {
  readonly atMs: number
  readonly ms: number
  /** A refusal took no effect; anything else than these two is a violation. */
  readonly kind: 'answered' | 'refused'
}

/** Calls made in one event of the drill: more would make its own event loop the bottleneck. */
const MAX_CALLS_PER_TICK = 500
const TICK_MS = 5
const PARALLEL_STARTS = 100
const DEPOSIT_SHARE = 0.1
const MAX_DEPOSIT = 100
/** Deadline of a call, as players have it; and what the timers of a busy drill may add. */
const CALL_MS = 15_000
const LATE_MS = 2_000
const CONNECT_MS = 60_000

export class Crowd {
  readonly #random: Random
  readonly #violations: Violations
  readonly #members: Member[] = []
  readonly #outcomes: Outcome[] = []
  readonly #dial: CuttableDial
  readonly #resumes: { readonly atMs: number; readonly ms: number }[] = []
  #pending = 0
  /** Calls so far. */
  made = 0

  constructor(random: Random, violations: Violations) {
    this.#random = random
    this.#violations = violations
    this.#dial = cuttable(dialTcp, () => random.next())
  }

  get size(): number {
    return this.#members.length
  }
  get pending(): number {
    return this.#pending
  }
  get openCount(): number {
    return this.#members.filter(({ game }) => game.state === 'open').length
  }

  /** Connects so many sessions, each with a shard of its own. */
  async enter(url: string, count: number): Promise<void> {
    let started = 0
    const startNext = async (): Promise<void> => {
      while (started < count) await this.#enterOne(url, started++)
    }
    await Promise.all(Array.from({ length: PARALLEL_STARTS }, startNext))
  }

  async #enterOne(url: string, index: number): Promise<void> {
    const game = await connect(url, { dial: this.#dial.dial, timeoutMs: CALL_MS, connectMs: CONNECT_MS })
    const member: Member = { game, hall: game.at(Hall, `h${index}`), total: 0, count: 0, cutMs: null }
    game.on('paused', () => (member.cutMs ??= performance.now()))
    game.on('resumed', () => {
      const atMs = performance.now()
      this.#resumes.push({ atMs, ms: atMs - member.cutMs! })
      member.cutMs = null
    })
    game.on('closed', ({ code, message }) => {
      if (code !== 'CLOSED') this.#violations.add('closed', `session ${index}: ${code}: ${message}`)
    })
    await retried(() => member.hall.enter({}))
    this.#members.push(member)
  }

  /** Cuts a share of the connections. */
  cut(share: number): number {
    return this.#dial.cut(share)
  }

  /** Keeps so many calls in progress for `ms`: the server's capacity is what is answered. */
  async saturate(calls: number, ms: number): Promise<void> {
    const endMs = performance.now() + ms
    const callOn = async (): Promise<void> => {
      while (performance.now() < endMs) await this.#call()
    }
    await Promise.all(Array.from({ length: calls }, callOn))
  }

  /** Makes so many calls per second for `ms`, whatever is answered. `each` runs once per second. */
  async offer(perSecond: number, ms: number, each: () => void = () => {}): Promise<void> {
    const startMs = performance.now()
    let offered = 0
    let seconds = 0
    while (performance.now() < startMs + ms) {
      const elapsedMs = performance.now() - startMs
      const due = Math.floor((elapsedMs / 1_000) * perSecond) - offered
      for (let left = Math.min(due, MAX_CALLS_PER_TICK); left > 0; left--) void this.#call()
      offered += due
      if (elapsedMs >= 1_000 * seconds) {
        seconds++
        each()
      }
      await sleep(TICK_MS)
    }
  }

  /** Returns false when calls are still pending after `ms`. */
  settle(ms: number): Promise<boolean> {
    return until(() => this.#pending === 0, ms)
  }

  /** What ended in an interval. */
  between(fromMs: number, toMs: number) {
    const ended = this.#outcomes.filter(({ atMs }) => atMs >= fromMs && atMs < toMs)
    const answered = ended.filter(({ kind }) => kind === 'answered')
    const seconds = (toMs - fromMs) / 1_000
    const resumeMs = this.#resumes.filter(({ atMs }) => atMs >= fromMs && atMs < toMs).map(({ ms }) => ms)
    return {
      answered: answered.length,
      answeredPerSecond: Math.round(answered.length / seconds),
      refusedPerSecond: Math.round((ended.length - answered.length) / seconds),
      p50Ms: quantile(
        answered.map(({ ms }) => ms),
        0.5,
      ),
      p99Ms: quantile(
        answered.map(({ ms }) => ms),
        0.99,
      ),
      resumes: resumeMs.length,
      resumeP50Ms: quantile(resumeMs, 0.5),
      resumeP99Ms: quantile(resumeMs, 0.99),
    }
  }

  /** Compares what the shards stored with the deposits that were answered. */
  async checkBooks(): Promise<number> {
    let missing = 0
    const waiting = [...this.#members.entries()]
    const checkNext = async (): Promise<void> => {
      for (let next = waiting.pop(); next; next = waiting.pop()) {
        const [index, { hall, total, count }] = next
        const stored = await retried(() => hall.totals({})).catch((error: unknown) => {
          this.#violations.add('unreadable', `session ${index}: ${String(error)}`)
          return null
        })
        if (stored === null) continue
        if (stored.total === total && stored.count === count) continue
        missing += Math.max(0, count - stored.count)
        this.#violations.add(
          'books',
          `session ${index}: ${stored.count} deposits of ${stored.total}, answered were ${count} of ${total}`,
        )
      }
    }
    await Promise.all(Array.from({ length: PARALLEL_STARTS }, checkNext))
    return missing
  }

  async close(): Promise<void> {
    await Promise.all(this.#members.map(({ game }) => game.close()))
  }

  async #call(): Promise<void> {
    const member = this.#members[this.#random.below(this.#members.length)]!
    const startedMs = performance.now()
    const n = 1 + this.#random.below(MAX_DEPOSIT)
    const isDeposit = this.#random.chance(DEPOSIT_SHARE)
    let kind: Outcome['kind'] = 'answered'
    this.made++
    this.#pending++
    try {
      if (isDeposit) {
        await member.hall.deposit({ n })
        member.total += n
        member.count++
      } else await member.hall.work({ n })
    } catch (error) {
      const { code = '' } = error instanceof CallError ? error : {}
      if (code === 'OVERLOADED') kind = 'refused'
      else return this.#violations.add(code === 'DEADLINE' ? 'deadline' : 'call', String(error))
    } finally {
      this.#pending--
    }
    const atMs = performance.now()
    if (atMs - startedMs > CALL_MS + LATE_MS)
      this.#violations.add('late', `a call ended after ${Math.round(atMs - startedMs)} ms`)
    this.#outcomes.push({ atMs, ms: atMs - startedMs, kind })
  }
}
