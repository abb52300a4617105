// A pause: from the loss of the connection until the server has answered every channel that was open. Invariant: 'paused' and
// 'resumed' alternate, even if a pause takes several connections; 'resynced' never occurs between them.

import type { Listeners, Measure } from './listeners.ts'
import type { ClientClock } from './socket.ts'

/** The address of a shard. */
export interface ShardName {
  /** The name of its contract. */
  readonly contract: string
  /** Its key. */
  readonly key: string
}

export class ReconnectTracker {
  readonly #clock: ClientClock
  readonly #listeners: Listeners
  readonly #measure: Measure
  /** When the pause began; null = not paused. */
  #lostAtMs: number | null = null
  #tries = 0
  #isConnected = false
  readonly #unansweredChannels = new Set<number>()
  /** Shards to report by 'resynced'. */
  readonly #staleShards = new Map<string, ShardName>()
  #isScheduled = false

  constructor(clock: ClientClock, listeners: Listeners, measure: Measure) {
    this.#clock = clock
    this.#listeners = listeners
    this.#measure = measure
  }

  connectionLost(): void {
    this.#isConnected = false
    this.#unansweredChannels.clear()
    if (this.#lostAtMs !== null) return
    this.#lostAtMs = this.#clock.mono()
    this.#tries = 0
    this.#listeners.notify('paused')
  }

  /** WELCOME was received after `tries` attempts; the server still has to answer these channels. */
  connectionOpened(channels: Iterable<number>, tries: number): void {
    this.#isConnected = true
    this.#tries += tries
    for (const channel of channels) this.#unansweredChannels.add(channel)
    this.#scheduleReport()
  }

  channelAnswered(channel: number): void {
    if (this.#unansweredChannels.delete(channel)) this.#scheduleReport()
  }

  /** The game's view of this shard is out of date. */
  markStale(shard: ShardName): void {
    this.#staleShards.set(`${shard.contract}/${shard.key}`, shard)
    this.#scheduleReport()
  }

  /** Stops all reports. */
  sessionEnded(): void {
    this.#isConnected = false
  }

  /** Defers the report, so that one report covers all channels answered in one message. */
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
