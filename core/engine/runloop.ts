// The loop in which all turns of an engine run. Invariant: turns never nest. Work that a turn causes for another shard
// is queued and runs after it, a bounded number of turns per event of the host.

import type { Clock } from '../ports/clock.ts'

/** Turns in one go, before the event loop of the host runs again. */
const MAX_TURNS_PER_RUN = 2_048

/** A shard, as the loop uses it. */
export interface Runnable {
  /** The shard has work and can run it now. */
  readonly isReady: boolean
  /** Runs one item of work. */
  runNext(): void
}

export class RunLoop {
  readonly #clock: Clock
  readonly #queue: Runnable[] = []
  readonly #queued = new Set<Runnable>()
  #isRunning = false
  #isResumeScheduled = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Begins a run of turns. Returns false when one is in progress: then the caller must queue its work. */
  tryBegin(): boolean {
    if (this.#isRunning) return false
    this.#isRunning = true
    return true
  }

  /** Ends the outermost run: runs the queued work, `last` included. */
  end(last: Runnable): void {
    this.#enqueue(last)
    try {
      if (this.#queue.length > 0) this.#runQueue()
    } finally {
      this.#isRunning = false
    }
  }

  /** Runs the shard's work now, or queues it when a run is in progress. */
  schedule(shard: Runnable): void {
    if (this.tryBegin()) this.end(shard)
    else this.#enqueue(shard)
  }

  #enqueue(shard: Runnable): void {
    if (!shard.isReady || this.#queued.has(shard)) return
    this.#queued.add(shard)
    this.#queue.push(shard)
  }

  #runQueue(): void {
    let turnsLeft = MAX_TURNS_PER_RUN
    for (let shard = this.#queue.shift(); shard; shard = this.#queue.shift()) {
      this.#queued.delete(shard)
      if (shard.isReady) shard.runNext()
      this.#enqueue(shard)
      if (--turnsLeft === 0) return this.#scheduleResume()
    }
  }

  #scheduleResume(): void {
    if (this.#isResumeScheduled || this.#queue.length === 0) return
    this.#isResumeScheduled = true
    this.#clock.after(0, () => {
      this.#isResumeScheduled = false
      const [first] = this.#queue
      if (first && this.tryBegin()) this.end(first)
    })
  }
}
