// The round trip without the time in which this page was drawing: an answer that arrives during a slow frame is handled after it, and
// would make the server look slow.

/** An answer that is handled so soon after a frame may have waited for its end. */
const WAITED_MS = 2
/** 0 means: not measured yet. */
const MIN_MS = 0.1

export class Ping {
  #ms = 0
  #frameStartMs = 0
  #frameEndMs = 0

  /** Milliseconds; 0 before the first measurement. */
  get ms(): number {
    return this.#ms
  }

  frameStarted(nowMs: number): void {
    this.#frameStartMs = nowMs
  }

  frameEnded(nowMs: number): void {
    this.#frameEndMs = nowMs
  }

  /** `ms`: the round trip of an answer that is handled at `nowMs`. */
  measured(ms: number, nowMs: number): void {
    const isFrameRunning = this.#frameEndMs < this.#frameStartMs
    const hasWaited = isFrameRunning || nowMs - this.#frameEndMs < WAITED_MS
    this.#ms = Math.max(hasWaited ? ms - (nowMs - this.#frameStartMs) : ms, MIN_MS)
  }
}
