// Snapshots of volatile state, written after turns at most once per interval, and before the shard leaves memory. No
// turn waits for them: after a crash the state is that of the last snapshot.

import { msgpack } from '../wire/codec.ts'
import type { SnapshotOptions } from '../game/shard.ts'
import type { Clock, Timer } from '../ports/clock.ts'

export class Snapshots {
  readonly #options: SnapshotOptions<unknown, unknown>
  readonly #clock: Clock
  readonly #write: () => void
  #timer: Timer | null = null

  /** `write` stores what `encode` returns. */
  constructor(options: SnapshotOptions<unknown, unknown>, clock: Clock, write: () => void) {
    this.#options = options
    this.#clock = clock
    this.#write = write
  }

  load(bytes: Uint8Array, key: string): unknown {
    return this.#options.load(msgpack.decode(bytes), key)
  }

  encode(state: unknown): Uint8Array {
    return msgpack.encode(this.#options.save(state))
  }

  /** Plans a snapshot: a turn may have changed the state. */
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
