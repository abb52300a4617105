// The ticks or fixed steps of a shard with members. Invariant: at most one tick is queued. A late tick gets the elapsed
// time; late steps are run one by one, up to a bound, and the rest is skipped.

import type { Timer } from '../ports/clock.ts'
import type { ShardPlan } from '../turn/plan.ts'
import type { HookRunner } from '../turn/timers.ts'
import type { ActivationContext, TurnShard } from '../turn/turnhost.ts'

type TickerPlan = NonNullable<ShardPlan['ticker']>

const MAX_CATCH_UP = 5

export class Ticker {
  readonly #activation: ActivationContext
  readonly #runner: HookRunner
  readonly #shard: TurnShard
  readonly #plan: TickerPlan
  readonly #everyMs: number
  #timer: Timer | null = null
  #dueMs = 0
  #lastMs = 0
  #step = 0
  #isTickQueued = false

  constructor(activation: ActivationContext, runner: HookRunner, shard: TurnShard, plan: TickerPlan) {
    this.#activation = activation
    this.#runner = runner
    this.#shard = shard
    this.#plan = plan
    this.#everyMs = 1_000 / plan.hz
  }

  setRunning(isRunning: boolean): void {
    if (isRunning === (this.#timer !== null)) return
    if (!isRunning) {
      this.#timer!.cancel()
      this.#timer = null
      return
    }
    this.#lastMs = this.#activation.clock.mono()
    this.#dueMs = this.#lastMs + this.#everyMs
    this.#arm()
  }

  #arm(): void {
    const { clock } = this.#activation
    this.#timer = clock.after(Math.max(0, this.#dueMs - clock.mono()), () => {
      this.#scheduleNext()
      if (this.#isTickQueued) return
      this.#isTickQueued = true
      this.#shard.enqueueWork(() => this.#runTick())
    })
  }

  /** The next tick is due one interval after this one was due. A late tick (not a late step) restarts the interval. */
  #scheduleNext(): void {
    const now = this.#activation.clock.mono()
    this.#dueMs += this.#everyMs
    if (!this.#plan.fixed && this.#dueMs <= now) this.#dueMs = now + this.#everyMs
    this.#arm()
  }

  #runTick(): void {
    this.#isTickQueued = false
    if (this.#timer === null || this.#activation.isEnded || this.#activation.isDeactivating) return
    const now = this.#activation.clock.mono()
    if (!this.#plan.fixed) {
      const seconds = (now - this.#lastMs) / 1_000
      this.#lastMs = now
      return this.#run(seconds)
    }
    let steps = Math.max(1, Math.floor((now - this.#lastMs) / this.#everyMs))
    if (steps > MAX_CATCH_UP) {
      this.#activation.meter.stepsSkipped += steps - MAX_CATCH_UP
      this.#lastMs = now - MAX_CATCH_UP * this.#everyMs
      this.#dueMs = now + this.#everyMs
      steps = MAX_CATCH_UP
    }
    this.#lastMs += steps * this.#everyMs
    for (; steps > 0 && !this.#activation.isEnded && !this.#shard.isBusy; steps--) this.#run(++this.#step)
  }

  #run(input: number): void {
    this.#runner.runTurn(this.#runner.newTurn(null), this.#plan.run, input)
  }
}
