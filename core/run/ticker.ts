// The clock of a shard with members. A tick never queues up: a late one knows how late it is. Steps never jump:
// late ones are caught up, a bounded number at a time.

import type { Activation } from './activation.ts'
import type { ShardPlan } from './plan.ts'
import type { Timer } from './ports.ts'

const MAX_CATCH_UP = 5

export class Ticker {
  readonly #life: Activation
  readonly #plan: NonNullable<ShardPlan['ticker']>
  readonly #everyMs: number
  #timer: Timer | null = null
  #dueMs = 0
  #lastMs = 0
  #step = 0
  /** Asked of the shard and not yet run. */
  #asked = false

  constructor(life: Activation, plan: NonNullable<ShardPlan['ticker']>) {
    this.#life = life
    this.#plan = plan
    this.#everyMs = 1_000 / plan.hz
  }

  /** Runs while there is somebody to run for. */
  update(wanted: boolean): void {
    if (wanted === (this.#timer !== null)) return
    if (!wanted) {
      this.#timer!.cancel()
      this.#timer = null
      return
    }
    this.#lastMs = this.#life.clock.mono()
    this.#dueMs = this.#lastMs + this.#everyMs
    this.#arm()
  }

  #arm(): void {
    const wait = Math.max(0, this.#dueMs - this.#life.clock.mono())
    this.#timer = this.#life.clock.after(wait, () => {
      this.#beat()
      if (this.#asked) return
      this.#asked = true
      this.#life.shard.soon(() => this.#run())
    })
  }

  /** Keeps the beat: the next tick is due by the plan, unless it is already past. */
  #beat(): void {
    const now = this.#life.clock.mono()
    this.#dueMs += this.#everyMs
    if (!this.#plan.fixed && this.#dueMs <= now) this.#dueMs = now + this.#everyMs
    this.#arm()
  }

  #run(): void {
    this.#asked = false
    if (this.#timer === null || this.#life.over) return
    const now = this.#life.clock.mono()
    const { run } = this.#plan
    if (!this.#plan.fixed) {
      const seconds = (now - this.#lastMs) / 1_000
      this.#lastMs = now
      this.#life.run(this.#life.turnOf(null), run, seconds)
      return
    }
    let steps = Math.max(1, Math.floor((now - this.#lastMs) / this.#everyMs))
    if (steps > MAX_CATCH_UP) {
      this.#life.meter.stepsSkipped += steps - MAX_CATCH_UP
      this.#lastMs = now - MAX_CATCH_UP * this.#everyMs
      this.#dueMs = now + this.#everyMs
      steps = MAX_CATCH_UP
    }
    this.#lastMs += steps * this.#everyMs
    for (; steps > 0 && !this.#life.over && !this.#life.shard.busy; steps--)
      this.#life.run(this.#life.turnOf(null), run, ++this.#step)
  }
}
