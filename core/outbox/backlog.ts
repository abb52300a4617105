// The backlog of one outbox, from sequences alone: its size, its age, and when the next batch is due. Holds no entries.

interface AgeSample {
  /** Entries from this sequence on were added at `ms` or later. */
  readonly fromSeq: number
  readonly ms: number
}

/** Bound of the samples: beyond it every second one is dropped, and the reported age may be too high. */
const MAX_AGE_SAMPLES = 64

export class OutboxBacklog {
  #appliedSeq = 0
  #lastSeq = 0
  #urgentSeq = 0
  #samples: AgeSample[] = []
  #sampleIntervalMs = 0

  /** Number of waiting entries; too high where sequences were skipped. */
  get depth(): number {
    return this.#lastSeq - this.#appliedSeq
  }
  /** The highest sequence for which a caller waits; 0 = none. */
  get urgentSeq(): number {
    return this.#urgentSeq > this.#appliedSeq ? this.#urgentSeq : 0
  }

  /** Records that the outbox contains an entry with this sequence. */
  entryAdded(seq: number, nowMs: number): void {
    if (seq <= this.#lastSeq) return
    const newest = this.#samples.at(-1)
    if (!newest || nowMs - newest.ms > this.#sampleIntervalMs)
      this.#samples.push({ fromSeq: this.#lastSeq + 1, ms: nowMs })
    this.#lastSeq = seq
    if (this.#samples.length <= MAX_AGE_SAMPLES) return
    this.#samples = this.#samples.filter((_, i) => i % 2 === 0)
    this.#sampleIntervalMs = Math.max(1, 2 * this.#sampleIntervalMs)
  }

  /** Records that a caller waits for this entry, so that it is flushed without delay. */
  markUrgent(seq: number): void {
    this.#urgentSeq = Math.max(this.#urgentSeq, seq)
  }

  /** Records that MySQL has everything up to this sequence, or that it was removed. */
  flushedUpTo(upTo: number): void {
    this.#appliedSeq = upTo
    this.#lastSeq = Math.max(this.#lastSeq, upTo)
    const samples = this.#samples
    while (samples.length > 0 && (samples[1]?.fromSeq ?? this.#lastSeq + 1) <= upTo + 1) samples.shift()
    if (samples.length === 0) this.#sampleIntervalMs = 0
  }

  /** Records that the outbox is empty: the turns were taken back, or are not durable yet. */
  clear(): void {
    this.#lastSeq = this.#appliedSeq
    this.#samples = []
    this.#sampleIntervalMs = 0
  }

  /** Time until the next batch is due; Infinity = the backlog is empty. `batchSize`: entries of a full batch. */
  dueMs(nowMs: number, flushMs: number, batchSize: number): number {
    if (this.depth === 0) return Infinity
    return this.urgentSeq > 0 || this.depth >= batchSize ? 0 : Math.max(0, flushMs - this.oldestMs(nowMs))
  }

  /** Age of the oldest entry. */
  oldestMs(nowMs: number): number {
    return this.#samples.length === 0 ? 0 : nowMs - this.#samples[0]!.ms
  }
}
