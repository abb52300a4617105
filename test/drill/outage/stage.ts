// One outage as one server lives through it: a calm before it, the outage, and how everything comes back.

import { setTimeout as sleep } from 'node:timers/promises'

import { until } from '../../support/wait.ts'
import { NOTHING, type Child } from './child.ts'
import { Crowd, type Ack } from './crowd.ts'
import type { Health } from './server.ts'
import type { Witness } from './witness.ts'

export type How = 'kill' | 'pause'
export type Class = 'local' | 'critical'

export interface Times {
  readonly warmMs: number
  readonly beforeMs: number
  readonly outageMs: number
  /** Over which a rate is looked at. */
  readonly rateMs: number
  /** For everything to come back. */
  readonly patienceMs: number
}

export interface Figure {
  readonly drill: 'outage'
  readonly class: Class
  readonly how: How
  readonly players: number
  readonly seconds: number
  readonly ackedBefore: number
  readonly ackedDuring: number
  readonly ackedAfter: number
  readonly perSecondBefore: number
  readonly perSecondDuring: number
  /** Acknowledgements that MySQL did not have: of class critical at their moment, of both in the end. */
  readonly falseAcks: number
  /** Acknowledgements of class critical that were looked up at their moment. */
  readonly looked: number
  readonly retryLaters: number
  readonly rssBeforeMb: number
  readonly rssPeakMb: number
  readonly heapGrowthMb: number
  readonly outboxBefore: number
  readonly outboxPeak: number
  /** From MySQL's return until players are answered as before, with the time over which that is looked at; -1 = not in time. */
  readonly recoveredSeconds: number
  /** From MySQL's return until no more waits for it than before; -1 = not in time. */
  readonly drainedSeconds: number
  /** Of `recoveredSeconds`. */
  readonly aim: number
  readonly ok: boolean
  /** Invariants. */
  readonly broken: readonly string[]
}

/** An answer of class critical may have been on its way when MySQL went. */
const GRACE_MS = 1_000
/** Of the rate before the outage. */
const RECOVERED = 0.9
/** A local turn does not wait for MySQL; below this part of the rate before the outage it has waited for something. */
const ALIVE = 0.5
/** Of what the heap holds: what waits for MySQL is on disk, not in it. */
const MAX_HEAP_GROWTH_MB = 50
/** Page caches of 32 slot files, 2 MB each, and what the garbage collector has not seen yet while the queue is drained. */
const MAX_RSS_GROWTH_MB = 300
const AIM_MS = 5_000
/** One answer of so many is looked up in calm times. */
const LOOKS = 4
const SETTLE_MS = 30_000

export interface Outage {
  /** Resolves when MySQL is gone. */
  readonly began: Promise<void>
  /** Resolves when MySQL is there again. */
  readonly over: Promise<void>
}

export class Stage {
  readonly #class: Class
  readonly #how: How
  readonly #times: Times
  readonly #child: Child
  readonly #witness: Witness
  readonly #crowd: Crowd
  readonly #players: number
  #before = { ...NOTHING, heapBytes: 0, rate: 0 }
  #awayMs = Infinity
  #backMs = Infinity
  #acks = 0
  /** Acknowledged while nobody was there to confirm it. */
  readonly #impossible: Ack[] = []

  constructor(
    of: { readonly class: Class; readonly how: How; readonly players: number; readonly times: Times },
    child: Child,
    witness: Witness,
    port: number,
  ) {
    this.#class = of.class
    this.#how = of.how
    this.#times = of.times
    this.#players = of.players
    this.#child = child
    this.#witness = witness
    this.#crowd = new Crowd(port, of.players, of.how)
    if (of.class === 'critical') this.#crowd.onAck = (ack) => this.#look(ack)
  }

  #look(ack: Ack): void {
    const isAway = ack.atMs > this.#awayMs && ack.atMs < this.#backMs
    if (isAway && ack.atMs > this.#awayMs + GRACE_MS) this.#impossible.push(ack)
    if (isAway || this.#acks++ % LOOKS === 0) this.#witness.look(ack)
  }

  /** Everybody plays, and it is known how that is. */
  async calm(): Promise<void> {
    const { warmMs, beforeMs, patienceMs } = this.#times
    const [child, crowd] = [this.#child, this.#crowd]
    crowd.start()
    if (!(await until(() => crowd.present.size === this.#players, patienceMs)))
      throw new Error(`${crowd.present.size} of ${this.#players} players were answered`)
    await sleep(warmMs)
    child.reset()
    const startMs = performance.now()
    await sleep(beforeMs)
    const endMs = performance.now()
    const rate = (crowd.count(startMs, endMs) / (endMs - startMs)) * 1_000
    this.#before = { ...child.health, outbox: child.peak.outbox, heapBytes: await child.heap(), rate }
  }

  /** From the moment before MySQL goes. */
  async live({ began, over }: Outage): Promise<Figure> {
    const { outageMs, rateMs } = this.#times
    const [child, crowd] = [this.#child, this.#crowd]
    await began
    this.#awayMs = performance.now()
    child.reset()
    await sleep(outageMs - rateMs)
    // What garbage leaves: nothing of it may grow with the length of an outage.
    const heapBytes = [await child.heap()]
    await over
    this.#backMs = performance.now()
    const back = await Promise.all([
      this.#since(() => this.#isAtFullRate()),
      this.#since(() => child.health.outbox <= this.#before.outbox),
    ])
    heapBytes.push(await child.heap())
    const peak = child.peak
    await crowd.stop()
    const endMs = performance.now()
    return this.#figure(endMs, back, peak, Math.max(...heapBytes))
  }

  /** Seconds from MySQL's return until it is so; -1 = never. */
  async #since(isSo: () => boolean): Promise<number> {
    const isInTime = await until(isSo, this.#times.patienceMs)
    return isInTime ? seconds(performance.now() - this.#backMs) : -1
  }

  /** Players are answered as before. */
  #isAtFullRate(): boolean {
    const { rateMs } = this.#times
    const now = performance.now()
    if (now < this.#backMs + rateMs) return false
    return this.#crowd.count(now - rateMs, now) / rateMs >= (RECOVERED * this.#before.rate) / 1_000
  }

  async #figure(
    endMs: number,
    [recoveredSeconds, drainedSeconds]: readonly [number, number],
    peak: Health,
    heapBytes: number,
  ): Promise<Figure> {
    const [child, crowd, witness, before] = [this.#child, this.#crowd, this.#witness, this.#before]
    const [awayMs, backMs] = [this.#awayMs, this.#backMs]
    const isEmpty = async (): Promise<boolean> => child.health.outbox === 0 && (await witness.pending()) === 0
    const isSettled = await until(isEmpty, SETTLE_MS)
    const missing = await witness.missing(crowd.acks)
    await witness.close()
    const during = crowd.count(awayMs, backMs)
    const rateDuring = (during / (backMs - awayMs)) * 1_000
    const falseAcks = new Set([...witness.false, ...this.#impossible, ...missing]).size
    const heapGrowthMb = mb(heapBytes - before.heapBytes)
    const rssGrowthMb = mb(peak.rssBytes - before.rssBytes)
    const isStuck = this.#class === 'local' && rateDuring < ALIVE * before.rate
    return {
      drill: 'outage',
      class: this.#class,
      how: this.#how,
      players: this.#players,
      seconds: seconds(backMs - awayMs),
      ackedBefore: crowd.count(0, awayMs),
      ackedDuring: during,
      ackedAfter: crowd.count(backMs, endMs),
      perSecondBefore: Math.round(before.rate),
      perSecondDuring: Math.round(rateDuring),
      falseAcks,
      looked: witness.checked,
      retryLaters: child.health.retryLaters - before.retryLaters,
      rssBeforeMb: mb(before.rssBytes),
      rssPeakMb: mb(peak.rssBytes),
      heapGrowthMb,
      outboxBefore: before.outbox,
      outboxPeak: peak.outbox,
      recoveredSeconds,
      drainedSeconds,
      aim: AIM_MS / 1_000,
      ok: recoveredSeconds >= 0 && recoveredSeconds <= AIM_MS / 1_000,
      broken: [
        ...(falseAcks > 0 ? [`${falseAcks} answers were not in MySQL`] : []),
        ...(Math.min(recoveredSeconds, drainedSeconds) < 0
          ? [`not as before after ${this.#times.patienceMs} ms`]
          : []),
        ...(isSettled ? [] : [`not everything was in MySQL after ${SETTLE_MS} ms`]),
        ...(isStuck ? ['local turns waited for MySQL'] : []),
        ...(heapGrowthMb > MAX_HEAP_GROWTH_MB ? [`the heap grew by more than ${MAX_HEAP_GROWTH_MB} MB`] : []),
        ...(rssGrowthMb > MAX_RSS_GROWTH_MB ? [`memory grew by more than ${MAX_RSS_GROWTH_MB} MB`] : []),
      ],
    }
  }
}

function mb(bytes: number): number {
  return Math.round(bytes / 1e5) / 10
}

function seconds(ms: number): number {
  return Math.round(ms / 10) / 100
}
