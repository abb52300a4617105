// The events of one channel, as they arrive. Invariant: each number of an activation is told at most once, and what has
// arrived is acknowledged before the server's buffer of them (512 events, 262,144 bytes) is full.

/** Events without acknowledgement, and bytes of them, after which one is due. */
const ACK_EVERY = 32
const ACK_BYTES = 32_768

export class EventDeduplicator {
  /** The highest event of this activation, 0 = none. */
  lastSequence = 0
  #activation = 0
  #unackedEvents = 0
  #unackedBytes = 0

  /** Something waits to be acknowledged. */
  get hasUnacknowledged(): boolean {
    return this.#unackedEvents > 0
  }

  /** An acknowledgement is due now. */
  get isAckDue(): boolean {
    return this.#unackedEvents >= ACK_EVERY || this.#unackedBytes >= ACK_BYTES
  }

  /** The channel lives in this activation. */
  startActivation(activation: number): void {
    if (activation === this.#activation) return
    this.#activation = activation
    this.skipTo(0)
  }

  /** Whether the event is news. */
  accept(sequence: number, bytes: number): boolean {
    if (sequence <= this.lastSequence) return false
    this.lastSequence = sequence
    this.#unackedEvents++
    this.#unackedBytes += bytes
    return true
  }

  /** Nothing up to this number will come any more. */
  skipTo(sequence: number): void {
    this.lastSequence = sequence
    this.markAcknowledged()
  }

  markAcknowledged(): void {
    this.#unackedEvents = 0
    this.#unackedBytes = 0
  }
}
