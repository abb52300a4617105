// The events of one channel, as they arrive. Invariant: each number of an activation is told at most once, and what has
// arrived is acknowledged before the server's buffer of them (512 events, 262,144 bytes) is full.

/** Events without acknowledgement, and bytes of them, after which one is due. */
const ACK_EVERY = 32
const ACK_BYTES = 32_768

export class Arrivals {
  /** The highest event of this activation, 0 = none. */
  last = 0
  #activation = 0
  #count = 0
  #bytes = 0

  /** Something waits to be acknowledged. */
  get waiting(): boolean {
    return this.#count > 0
  }

  /** An acknowledgement is due now. */
  get due(): boolean {
    return this.#count >= ACK_EVERY || this.#bytes >= ACK_BYTES
  }

  /** The channel lives in this activation. */
  enter(activation: number): void {
    if (activation === this.#activation) return
    this.#activation = activation
    this.skip(0)
  }

  /** Whether the event is news. */
  take(sequence: number, bytes: number): boolean {
    if (sequence <= this.last) return false
    this.last = sequence
    this.#count++
    this.#bytes += bytes
    return true
  }

  /** Nothing up to this number will come any more. */
  skip(last: number): void {
    this.last = last
    this.acknowledged()
  }

  acknowledged(): void {
    this.#count = 0
    this.#bytes = 0
  }
}
