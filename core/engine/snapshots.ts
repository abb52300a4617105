// Snapshots of volatile state: written at most every so often after turns, and when the shard leaves memory. What
// comes back after a crash is as old as the last one; nothing waits for it.

import { CODECS } from '../wire/codec.ts'
import type { SnapshotOptions } from '../game/shard.ts'
import type { Clock, Timer } from '../ports/clock.ts'

const codec = CODECS.get('msgpack')!

export class Snapshots {
  readonly #options: SnapshotOptions<unknown, unknown>
  readonly #clock: Clock
  readonly #write: () => void
  #timer: Timer | null = null

  /** `write` stores what `encode` gives. */
  constructor(options: SnapshotOptions<unknown, unknown>, clock: Clock, write: () => void) {
    this.#options = options
    this.#clock = clock
    this.#write = write
  }

  /** The state that a stored snapshot stands for. */
  load(bytes: Uint8Array, key: string): unknown {
    return this.#options.load(codec.decode(bytes), key)
  }

  encode(state: unknown): Uint8Array {
    return codec.encode(this.#options.save(state))
  }

  /** A turn has run: the state may be another. */
  stateChanged(): void {
    this.#timer ??= this.#clock.after(this.#options.everyMs, () => {
      this.#timer = null
      this.#write()
    })
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = null
  }
}
