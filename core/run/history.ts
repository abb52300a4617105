// The events of one channel that its client has not acknowledged, so that a client that comes back misses none. Bounded:
// the oldest give way, and then a return from before them is answered by RESYNC. Invariant: numbers rise, and one is
// skipped only where a later event says the same anew.

/** An event as it left a turn; one object for all who receive it. */
export interface Sent {
  readonly event: number
  readonly body: Uint8Array
  /** What it speaks of, '' = nothing that a later event could replace. */
  readonly latest: string
}

export interface HistoryBounds {
  readonly maxUnackedEvents: number
  readonly maxUnackedEventBytes: number
}

export class History {
  /** The number of the last event. */
  last = 0
  #kept: Map<number, Sent> | null = null
  #bytes = 0
  /** All up to here was acknowledged. */
  acked = 0
  /** The newest number that gave way, or was acknowledged: a client that says it has less has lost its memory. */
  #dropped = 0
  /** While nothing flows: the number of the newest event of each `latest`. */
  #newest: Map<string, number> | null = null

  /** Numbers the event and keeps it. `waits`: it is not sent now, so it replaces what it says anew. */
  add(sent: Sent, waits: boolean, bounds: HistoryBounds): number {
    const sequence = ++this.last
    const kept = (this.#kept ??= new Map())
    if (waits && sent.latest !== '') {
      this.#newest ??= new Map()
      const older = this.#newest.get(sent.latest)
      if (older !== undefined) this.#take(older)
      this.#newest.set(sent.latest, sequence)
    }
    kept.set(sequence, sent)
    this.#bytes += sent.body.length
    if (kept.size > bounds.maxUnackedEvents || this.#bytes > bounds.maxUnackedEventBytes) this.#trim(bounds)
    return sequence
  }

  /** The client has all up to `events`. A number above the last is of an earlier activation. */
  ack(events: number): void {
    if (events > this.last || events <= this.#dropped) return
    this.#dropped = this.acked = events
    if (this.#kept === null) return
    for (const sequence of this.#kept.keys()) {
      if (sequence > events) return
      this.#take(sequence)
    }
    this.#kept = null
  }

  /** Whether all behind `events` is here, or was replaced. */
  reaches(events: number): boolean {
    return events >= this.#dropped
  }

  /** Gives what stands behind `events`, oldest first; from here on events flow. */
  replay(events: number, send: (sequence: number, sent: Sent) => void): void {
    this.#newest = null
    for (const [sequence, sent] of this.#kept ?? []) if (sequence > events) send(sequence, sent)
  }

  /** Nothing up to here can be had any more; the next number is above `last`. */
  forget(last: number): void {
    this.last = this.#dropped = Math.max(this.last, last)
    this.#kept = this.#newest = null
    this.#bytes = 0
  }

  /** A new activation counts anew. */
  reset(): void {
    this.last = this.acked = 0
    this.forget(0)
  }

  #trim({ maxUnackedEvents, maxUnackedEventBytes }: HistoryBounds): void {
    for (const sequence of this.#kept!.keys()) {
      if (this.#kept!.size <= maxUnackedEvents && this.#bytes <= maxUnackedEventBytes) return
      this.#take(sequence)
      this.#dropped = sequence
    }
  }

  #take(sequence: number): void {
    const sent = this.#kept?.get(sequence)
    if (!sent) return
    this.#kept!.delete(sequence)
    this.#bytes -= sent.body.length
  }
}
