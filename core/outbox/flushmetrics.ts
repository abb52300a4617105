// Metrics of one flusher. edge/node/metrics.ts derives the names of the process metrics from these keys.

export interface FlusherMetrics {
  /** Number of waiting entries, and age of the oldest. */
  readonly depth: number
  readonly oldestMs: number
  /** These count since the start. */
  readonly flushedRows: number
  readonly flushedTurns: number
  readonly transactions: number
  readonly retries: number
  /** Local turns whose rows MySQL refused. */
  readonly parked: number
  /** Critical turns that MySQL refused. */
  readonly refused: number
  /** Acknowledged turns of a stale store that MySQL will never have. */
  readonly lost: number
  readonly fenced: number
}

/** The counters that a flusher increments itself. */
export function newFlushCounters() {
  return { flushedRows: 0, flushedTurns: 0, transactions: 0, retries: 0, refused: 0, lost: 0, fenced: 0 }
}
