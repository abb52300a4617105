// What waits in one outbox, by sequences alone: how much, since when, and when it is due. Nothing of it is read or kept.

interface AgeSample {
  /** Entries from this one on were noticed at `ms` or later. */
  readonly fromSeq: number
  readonly ms: number
}

/** How finely ages are known: beyond it every second notice is forgotten, and an age is told too high. */
const MAX_AGE_SAMPLES = 64

export class OutboxBacklog {
  #appliedSeq = 0
  #lastSeq = 0
  #urgentSeq = 0
  #samples: AgeSample[] = []
  #sampleIntervalMs = 0

  /** Entries that wait; more than there are where sequences were left out. */
  get depth(): number {
    return this.#lastSeq - this.#appliedSeq
  }
  /** The highest sequence that somebody waits for, 0 = nobody. */
  get urgentSeq(): number {
    return this.#urgentSeq > this.#appliedSeq ? this.#urgentSeq : 0
  }

  /** An entry stands in the outbox. */
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

  /** Somebody waits for this entry, so it does not wait for others. */
  markUrgent(seq: number): void {
    this.#urgentSeq = Math.max(this.#urgentSeq, seq)
  }

  /** Everything up to this sequence is in MySQL, or gone. */
  flushedUpTo(upTo: number): void {
    this.#appliedSeq = upTo
    this.#lastSeq = Math.max(this.#lastSeq, upTo)
    const notices = this.#samples
    while (notices.length > 0 && (notices[1]?.fromSeq ?? this.#lastSeq + 1) <= upTo + 1) notices.shift()
    if (notices.length === 0) this.#sampleIntervalMs = 0
  }

  /** The outbox was looked at and nothing is there: turns that were taken back, or that are not durable yet. */
  clear(): void {
    this.#lastSeq = this.#appliedSeq
    this.#samples = []
    this.#sampleIntervalMs = 0
  }

  /** Until the next batch is due; Infinity = nothing waits. `full` entries are a batch. */
  dueMs(nowMs: number, flushMs: number, batchSize: number): number {
    if (this.depth === 0) return Infinity
    return this.urgentSeq > 0 || this.depth >= batchSize ? 0 : Math.max(0, flushMs - this.oldestMs(nowMs))
  }

  /** Age of the oldest entry since it was noticed. */
  oldestMs(nowMs: number): number {
    return this.#samples.length === 0 ? 0 : nowMs - this.#samples[0]!.ms
  }
}
