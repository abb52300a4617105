// How many owners of a process catch up with MySQL at a time: after an outage all of them have much to send, and what
// that takes of the processor is taken from the players. One is enough as long as the backlog shrinks; else there are
// more. Invariant: somebody who is waited for never waits here.

import type { Clock } from '../run/ports.ts'

/** Over which the backlog is watched. */
const WATCH_MS = 250
const MOST = 16

export class Lanes {
  readonly #clock: Clock
  readonly #backlog: () => number
  readonly #waiting = new Map<object, () => void>()
  #used = 0
  #open = 1
  /** What the backlog was, and when; Infinity = it was not looked at since the last failure. */
  #before = Infinity
  #lookedMs = 0

  /** `backlog`: entries that wait, of all owners together. */
  constructor(clock: Clock, backlog: () => number) {
    this.#clock = clock
    this.#backlog = backlog
  }

  /** Lets `owner` send its next batch when it is its turn. @throws what `send` throws */
  async within(owner: object, send: () => Promise<void>): Promise<void> {
    await this.#enter(owner)
    let isSent = false
    try {
      await send()
      isSent = true
    } finally {
      this.#leave(isSent)
    }
  }

  /** Somebody waits for `owner` from now on. */
  hurry(owner: object): void {
    const go = this.#waiting.get(owner)
    if (!go) return
    this.#waiting.delete(owner)
    this.#used++
    go()
  }

  #enter(owner: object): Promise<void> {
    if (this.#used >= this.#open) return new Promise((resolve) => this.#waiting.set(owner, resolve))
    this.#used++
    return Promise.resolve()
  }

  #leave(isSent: boolean): void {
    this.#used--
    if (isSent) this.#look()
    else [this.#open, this.#before] = [1, Infinity]
    for (const owner of this.#waiting.keys()) {
      if (this.#used >= this.#open) return
      this.hurry(owner)
    }
    if (this.#used === 0) [this.#open, this.#before] = [1, Infinity]
  }

  #look(): void {
    const now = this.#clock.mono()
    if (now - this.#lookedMs < WATCH_MS) return
    const backlog = this.#backlog()
    if (backlog > this.#before) this.#open = Math.min(MOST, 2 * this.#open)
    this.#before = backlog
    this.#lookedMs = now
  }
}
