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

export class ReconnectTracker {
  readonly #clock: ClientClock
  readonly #listeners: Listeners
  readonly #measure: Measure
  /** When it began; null = none. */
  #lostAtMs: number | null = null
  #tries = 0
  #isConnected = false
  /** Channels that have not been answered yet. */
  readonly #unansweredChannels = new Set<number>()
  /** Shards whose picture must be made anew, until the game is told. */
  readonly #staleShards = new Map<string, ShardName>()
  #isScheduled = false

  constructor(clock: ClientClock, listeners: Listeners, measure: Measure) {
    this.#clock = clock
    this.#listeners = listeners
    this.#measure = measure
  }

  /** The connection of a session is gone. */
  connectionLost(): void {
    this.#isConnected = false
    this.#unansweredChannels.clear()
    if (this.#lostAtMs !== null) return
    this.#lostAtMs = this.#clock.mono()
    this.#tries = 0
    this.#listeners.notify('paused')
  }

  /** A connection stands after so many attempts, and these channels wait for their answer. */
  connectionOpened(channels: Iterable<number>, tries: number): void {
    this.#isConnected = true
    this.#tries += tries
    for (const channel of channels) this.#unansweredChannels.add(channel)
    this.#scheduleReport()
  }

  channelAnswered(channel: number): void {
    if (this.#unansweredChannels.delete(channel)) this.#scheduleReport()
  }

  /** What the game shows of this shard is out of date. */
  markStale(shard: ShardName): void {
    this.#staleShards.set(`${shard.contract}/${shard.key}`, shard)
    this.#scheduleReport()
  }

  /** The session is over: nothing more is told. */
  sessionEnded(): void {
    this.#isConnected = false
  }

  /** At the end of the moment: what comes in one message is told at once. */
  #scheduleReport(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#clock.defer(() => {
      this.#isScheduled = false
      this.#report()
    })
  }

  #report(): void {
    if (!this.#isConnected || this.#unansweredChannels.size > 0) return
    if (this.#lostAtMs !== null) {
      this.#measure({ name: 'reconnect', ms: this.#clock.mono() - this.#lostAtMs, tries: this.#tries })
      this.#lostAtMs = null
      this.#listeners.notify('resumed')
    }
    if (!this.#isConnected || this.#staleShards.size === 0) return
    const shards = [...this.#staleShards.values()]
    this.#staleShards.clear()
    this.#listeners.notify('resynced', shards)
  }
}
