// Snapshots of volatile state, written after turns at most once per interval, and before the shard leaves memory. No
// turn waits for them: after a crash the state is that of the last snapshot. Invariant: a snapshot that cannot be saved
// leaves the last one in place, and is logged and counted.

import { shorten } from '../wire/errors.ts'
import { decodeStored, encodeStored } from '../wire/stored.ts'
import type { SnapshotOptions } from '../game/definition.ts'
import type { Timer } from '../ports/clock.ts'
import type { ActivationContext } from '../turn/turnhost.ts'

/** The log names the cause of refused snapshots this often per activation. */
const LOG_EVERY_MS = 60_000

export class Snapshots {
  readonly #options: SnapshotOptions<unknown, unknown>
  readonly #activation: ActivationContext
  #timer: Timer | null = null
  /** A state of this activation could be encoded. */
  #isChecked = false
  /** Since the last line in the log. */
  #refused = 0
  #loggedMs = -Infinity

  constructor(options: SnapshotOptions<unknown, unknown>, activation: ActivationContext) {
    this.#options = options
    this.#activation = activation
  }

  load(bytes: Uint8Array, key: string): unknown {
    return this.#options.load(decodeStored(bytes), key)
  }

  /** Encodes the state, until that has succeeded once: a state that can never be saved fails the first turn. */
  check(state: unknown): void {
    if (this.#isChecked) return
    this.#encode(state)
    this.#isChecked = true
  }

  /** Plans a snapshot: a turn may have changed the state. */
  stateChanged(state: unknown): void {
    this.#timer ??= this.#activation.clock.after(this.#options.everyMs, () => this.save(state))
  }

  /** Writes a snapshot now. `isLast`: the state is about to leave memory. */
  save(state: unknown, isLast = false): void {
    this.stop()
    const { isEnded, limits } = this.#activation
    if (isEnded) return
    let snapshot: Uint8Array
    try {
      snapshot = this.#encode(state)
    } catch (error) {
      return this.#refuse(error instanceof Error ? error.message : shorten(error), isLast)
    }
    if (snapshot.length > limits.maxSnapshotBytes)
      return this.#refuse(`${snapshot.length} bytes exceed ${limits.maxSnapshotBytes}`, isLast)
    this.#activation.commitParts({ snapshot }, () => {})
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = null
  }

  #encode(state: unknown): Uint8Array {
    return encodeStored(this.#options.save(state), 'snapshot')
  }

  #refuse(cause: string, isLast: boolean): void {
    const { meter, log, clock } = this.#activation
    meter.snapshotsRefused++
    this.#refused++
    const now = clock.mono()
    if (now - this.#loggedMs < LOG_EVERY_MS && !isLast) return
    log.error('a snapshot is not saved; the last saved one remains', {
      cause: cause.slice(0, 500),
      refused: this.#refused,
    })
    this.#refused = 0
    this.#loggedMs = now
  }
}
