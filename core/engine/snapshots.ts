// Snapshots of volatile state, written after turns at most once per interval, and before the shard leaves memory. No
// turn waits for them: after a crash the state is that of the last snapshot.

import { msgpack } from '../wire/codec.ts'
import type { SnapshotOptions } from '../game/definition.ts'
import type { Timer } from '../ports/clock.ts'
import type { ActivationContext } from '../turn/turnhost.ts'

export class Snapshots {
  readonly #options: SnapshotOptions<unknown, unknown>
  readonly #activation: ActivationContext
  #timer: Timer | null = null

  constructor(options: SnapshotOptions<unknown, unknown>, activation: ActivationContext) {
    this.#options = options
    this.#activation = activation
  }

  load(bytes: Uint8Array, key: string): unknown {
    return this.#options.load(msgpack.decode(bytes), key)
  }

  /** Plans a snapshot: a turn may have changed the state. */
  stateChanged(state: unknown): void {
    this.#timer ??= this.#activation.clock.after(this.#options.everyMs, () => this.save(state))
  }

  /** Writes a snapshot now. */
  save(state: unknown): void {
    this.stop()
    const { isEnded, meter, log } = this.#activation
    if (isEnded) return
    let snapshot: Uint8Array
    try {
      snapshot = msgpack.encode(this.#options.save(state))
    } catch (error) {
      meter.bugs++
      return log.error('the snapshot could not be encoded', { error: String(error) })
    }
    this.#activation.commitParts({ snapshot }, () => {})
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = null
  }
}
