// What waits in one outbox, by sequences alone: how much, since when, and when it is due. Nothing of it is read or kept.

interface Notice {
  /** Entries from this one on were noticed at `ms` or later. */
  readonly from: number
  readonly ms: number
}

/** How finely ages are known: beyond it every second notice is forgotten, and an age is told too high. */
const MAX_NOTICES = 64

export class Backlog {
  #applied = 0
  #last = 0
  #urgent = 0
  #notices: Notice[] = []
  #stepMs = 0

  /** Entries that wait; more than there are where sequences were left out. */
  get depth(): number {
    return this.#last - this.#applied
  }
  /** The highest sequence that somebody waits for, 0 = nobody. */
  get urgent(): number {
    return this.#urgent > this.#applied ? this.#urgent : 0
  }

  /** An entry stands in the outbox. */
  notice(seq: number, nowMs: number): void {
    if (seq <= this.#last) return
    const newest = this.#notices.at(-1)
    if (!newest || nowMs - newest.ms > this.#stepMs) this.#notices.push({ from: this.#last + 1, ms: nowMs })
    this.#last = seq
    if (this.#notices.length <= MAX_NOTICES) return
    this.#notices = this.#notices.filter((_, i) => i % 2 === 0)
    this.#stepMs = Math.max(1, 2 * this.#stepMs)
  }

  /** Somebody waits for this entry, so it does not wait for others. */
  hurry(seq: number): void {
    this.#urgent = Math.max(this.#urgent, seq)
  }

  /** Everything up to this sequence is in MySQL, or gone. */
  applied(upTo: number): void {
    this.#applied = upTo
    this.#last = Math.max(this.#last, upTo)
    const notices = this.#notices
    while (notices.length > 0 && (notices[1]?.from ?? this.#last + 1) <= upTo + 1) notices.shift()
    if (notices.length === 0) this.#stepMs = 0
  }

  /** The outbox was looked at and nothing is there: turns that were taken back, or that are not durable yet. */
  empty(): void {
    this.#last = this.#applied
    this.#notices = []
    this.#stepMs = 0
  }

  /** Until the next batch is due; Infinity = nothing waits. `full` entries are a batch. */
  dueMs(nowMs: number, flushMs: number, full: number): number {
    if (this.depth === 0) return Infinity
    return this.urgent > 0 || this.depth >= full ? 0 : Math.max(0, flushMs - this.oldestMs(nowMs))
  }

  /** Age of the oldest entry since it was noticed. */
  oldestMs(nowMs: number): number {
    return this.#notices.length === 0 ? 0 : nowMs - this.#notices[0]!.ms
  }
}
