// The pause a player notices: from the loss of the connection until every channel that was open has been answered.
// Invariant: 'paused' and 'resumed' alternate, however many connections one pause takes; 'resynced' never comes between.

import type { Listeners } from './listeners.ts'
import type { Measure } from './metric.ts'
import type { ClientClock } from './socket.ts'

/** A shard by its names. */
export interface ShardName {
  readonly contract: string
  readonly key: string
}

export class Pause {
  readonly #clock: ClientClock
  readonly #listeners: Listeners
  readonly #measure: Measure
  /** When it began; null = none. */
  #sinceMs: number | null = null
  #tries = 0
  #connected = false
  /** Channels that have not been answered yet. */
  readonly #waiting = new Set<number>()
  /** Shards whose picture must be made anew, until the game is told. */
  readonly #stale = new Map<string, ShardName>()
  #scheduled = false

  constructor(clock: ClientClock, listeners: Listeners, measure: Measure) {
    this.#clock = clock
    this.#listeners = listeners
    this.#measure = measure
  }

  /** The connection of a session is gone. */
  lost(): void {
    this.#connected = false
    this.#waiting.clear()
    if (this.#sinceMs !== null) return
    this.#sinceMs = this.#clock.mono()
    this.#tries = 0
    this.#listeners.tell('paused')
  }

  /** A connection stands after so many attempts, and these channels wait for their answer. */
  connected(channels: Iterable<number>, tries: number): void {
    this.#connected = true
    this.#tries += tries
    for (const channel of channels) this.#waiting.add(channel)
    this.#later()
  }

  answered(channel: number): void {
    if (this.#waiting.delete(channel)) this.#later()
  }

  /** What the game shows of this shard is out of date. */
  stale(shard: ShardName): void {
    this.#stale.set(`${shard.contract}/${shard.key}`, shard)
    this.#later()
  }

  /** The session is over: nothing more is told. */
  over(): void {
    this.#connected = false
  }

  /** At the end of the moment: what comes in one message is told at once. */
  #later(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#clock.defer(() => {
      this.#scheduled = false
      this.#settle()
    })
  }

  #settle(): void {
    if (!this.#connected || this.#waiting.size > 0) return
    if (this.#sinceMs !== null) {
      this.#measure({ name: 'reconnect', ms: this.#clock.mono() - this.#sinceMs, tries: this.#tries })
      this.#sinceMs = null
      this.#listeners.tell('resumed')
    }
    if (!this.#connected || this.#stale.size === 0) return
    const shards = [...this.#stale.values()]
    this.#stale.clear()
    this.#listeners.tell('resynced', shards)
  }
}
