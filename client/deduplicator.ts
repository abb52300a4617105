// Deduplication and acknowledgement of one channel's events. Invariant: each sequence of an activation is accepted at most
// once, and an acknowledgement is due before the server's buffer (512 events, 262,144 bytes) is full.

/** An acknowledgement is due after this many unacknowledged events or bytes. */
const ACK_EVERY = 32
const ACK_BYTES = 32_768

export class EventDeduplicator {
  #lastSequence = 0
  #activation = 0
  #unackedEvents = 0
  #unackedBytes = 0

  /** The highest event of this activation, 0 = none. */
  get lastSequence(): number {
    return this.#lastSequence
  }

  get isAckPending(): boolean {
    return this.#unackedEvents > 0
  }

  get isAckDue(): boolean {
    return this.#unackedEvents >= ACK_EVERY || this.#unackedBytes >= ACK_BYTES
  }

  /** Restarts at sequence 0 if the activation has changed. */
  startActivation(activation: number): void {
    if (activation === this.#activation) return
    this.#activation = activation
    this.#lastSequence = 0
    this.markAcknowledged()
  }

  /** Returns true for a new event, false for a duplicate. */
  accept(sequence: number, bytes: number): boolean {
    if (sequence <= this.#lastSequence) return false
    this.#lastSequence = sequence
    this.#unackedEvents++
    this.#unackedBytes += bytes
    return true
  }

  /** Events up to this sequence are lost. */
  skipTo(sequence: number): void {
    this.#lastSequence = Math.max(sequence, this.#lastSequence)
    this.markAcknowledged()
  }

  markAcknowledged(): void {
    this.#unackedEvents = 0
    this.#unackedBytes = 0
  }
}
