// Activates shards whose durable timers or casts are due. A timer due later than TIMES.wakeAheadMs stays in its slot, which
// is scanned twice in that time. Invariant: a jump of the wall clock delays no timer that is here.

import type { Clock, Timer } from '../ports/clock.ts'
import { TIMES } from '../wire/limits.ts'
import { shardName, type ShardId } from '../wire/shardid.ts'

type ShardCallback = (shard: ShardId, dueMs: number) => void

interface Wake {
  readonly timer: Timer
  readonly dueMs: number
  readonly fire: () => void
}

export class WakeScheduler {
  readonly #clock: Clock
  readonly #wakes = new Map<string, Wake>()
  /** Wake times reported before the engine exists; null after `start`. */
  #beforeStart: [ShardId, number][] | null = []
  #wake: ShardCallback = () => {}
  #scanDueTimers: (onDue: ShardCallback) => void = () => {}
  #scanTimer: Timer | null = null

  constructor(clock: Clock) {
    this.#clock = clock
  }

  start(wake: ShardCallback, scanDueTimers: (onDue: ShardCallback) => void): void {
    this.#wake = wake
    this.#scanDueTimers = scanDueTimers
    this.#scanLater()
    const beforeStart = this.#beforeStart ?? []
    this.#beforeStart = null
    for (const [shard, dueMs] of beforeStart) this.schedule(shard, dueMs)
  }

  /** `dueMs`: wall clock; null = the shard has nothing to wake for. */
  schedule(shard: ShardId, dueMs: number | null): void {
    const name = shardName(shard)
    this.#wakes.get(name)?.timer.cancel()
    this.#wakes.delete(name)
    const now = this.#clock.now()
    if (dueMs === null || dueMs > now + TIMES.wakeAheadMs) return
    if (this.#beforeStart) return void this.#beforeStart.push([shard, dueMs])
    const fire = (): void => {
      this.#wakes.delete(name)
      this.#wake(shard, dueMs)
    }
    this.#wakes.set(name, { timer: this.#clock.after(Math.max(0, dueMs - now), fire), dueMs, fire })
  }

  wallClockJumped(): void {
    const now = this.#clock.now()
    for (const { timer, dueMs, fire } of this.#wakes.values()) {
      if (dueMs > now) continue
      timer.cancel()
      fire()
    }
    this.#scan()
  }

  stop(): void {
    this.#scanTimer?.cancel()
    for (const { timer } of this.#wakes.values()) timer.cancel()
  }

  #scanLater(): void {
    this.#scanTimer = this.#clock.after(TIMES.wakeAheadMs / 2, () => {
      this.#scan()
      this.#scanLater()
    })
  }

  /** A shard with a timer here is skipped: that timer may be for an earlier cast. */
  #scan(): void {
    this.#scanDueTimers((shard, dueMs) => this.#wakes.has(shardName(shard)) || this.schedule(shard, dueMs))
  }
}
