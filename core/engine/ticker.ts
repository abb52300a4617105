// The clock of a shard with members. A tick never queues up: a late one knows how late it is. Steps never jump:
// late ones are caught up, a bounded number at a time.

import type { Activation } from './activation.ts'
import type { ShardPlan } from '../turn/plan.ts'
import type { Timer } from '../ports/clock.ts'

const MAX_CATCH_UP = 5

export class Ticker {
  readonly #activation: Activation
  readonly #plan: NonNullable<ShardPlan['ticker']>
  readonly #everyMs: number
  #timer: Timer | null = null
  #dueMs = 0
  #lastMs = 0
  #step = 0
  /** Asked of the shard and not yet run. */
  #isTickQueued = false

  constructor(activation: Activation, plan: NonNullable<ShardPlan['ticker']>) {
    this.#activation = activation
    this.#plan = plan
    this.#everyMs = 1_000 / plan.hz
  }

  /** Runs while there is somebody to run for. */
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
    const wait = Math.max(0, this.#dueMs - this.#activation.clock.mono())
    this.#timer = this.#activation.clock.after(wait, () => {
      this.#scheduleNext()
      if (this.#isTickQueued) return
      this.#isTickQueued = true
      this.#activation.shard.enqueueWork(() => this.#runTick())
    })
  }

  /** Keeps the beat: the next tick is due by the plan, unless it is already past. */
  #scheduleNext(): void {
    const now = this.#activation.clock.mono()
    this.#dueMs += this.#everyMs
    if (!this.#plan.fixed && this.#dueMs <= now) this.#dueMs = now + this.#everyMs
    this.#arm()
  }

  #runTick(): void {
    this.#isTickQueued = false
    if (this.#timer === null || this.#activation.isEnded) return
    const now = this.#activation.clock.mono()
    const { run } = this.#plan
    if (!this.#plan.fixed) {
      const seconds = (now - this.#lastMs) / 1_000
      this.#lastMs = now
      this.#activation.runTurn(this.#activation.newTurn(null), run, seconds)
      return
    }
    let steps = Math.max(1, Math.floor((now - this.#lastMs) / this.#everyMs))
    if (steps > MAX_CATCH_UP) {
      this.#activation.meter.stepsSkipped += steps - MAX_CATCH_UP
      this.#lastMs = now - MAX_CATCH_UP * this.#everyMs
      this.#dueMs = now + this.#everyMs
      steps = MAX_CATCH_UP
    }
    this.#lastMs += steps * this.#everyMs
    for (; steps > 0 && !this.#activation.isEnded && !this.#activation.shard.isBusy; steps--)
      this.#activation.runTurn(this.#activation.newTurn(null), run, ++this.#step)
  }
}
