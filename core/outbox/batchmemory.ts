// The memory for batches that several flushers share: those of the Durable Objects in one Worker isolate, which all have a
// backlog after an outage. Invariant: each batch takes at most half of what the others leave, so that no flusher waits for
// another object, whose promises it must not await. The platform discards an object without a notice: holders are held weakly.

/** A batch that is read even when the others hold everything. */
const MIN_BATCH_BYTES = 65_536

export interface BatchHolder {
  /** Encoded bytes of the batch that is being sent; 0 = none. */
  readonly heldBytes: number
}

export class BatchMemory {
  readonly #bytes: number
  #holders: WeakRef<BatchHolder>[] = []

  constructor(bytes: number) {
    this.#bytes = bytes
  }

  add(holder: BatchHolder): void {
    this.#holders = [...this.#holders.filter((ref) => ref.deref()), new WeakRef(holder)]
  }

  /** Encoded bytes of the largest batch that may be read now. */
  get maxBatchBytes(): number {
    const held = this.#holders.reduce((sum, ref) => sum + (ref.deref()?.heldBytes ?? 0), 0)
    return Math.max(MIN_BATCH_BYTES, Math.floor((this.#bytes - held) / 2))
  }
}
