// The events of one channel that its client has not acknowledged, so that a client that comes back misses none. Bounded:
// the oldest give way, and then a return from before them is answered by RESYNC. Invariant: numbers rise, and one is
// skipped only where a later event says the same anew.

/** An event as it left a turn; one object for all who receive it. */
export interface OutgoingEvent {
  readonly event: number
  readonly body: Uint8Array
  /** What it speaks of, '' = nothing that a later event could replace. */
  readonly latest: string
}

export interface HistoryBounds {
  readonly maxUnackedEvents: number
  readonly maxUnackedEventBytes: number
}

export class EventHistory {
  /** The number of the last event. */
  last = 0
  #unacked: Map<number, OutgoingEvent> | null = null
  #bytes = 0
  /** All up to here was acknowledged. */
  acked = 0
  /** The newest number that gave way, or was acknowledged: a client that says it has less has lost its memory. */
  #lastDropped = 0
  /** While nothing flows: the number of the newest event of each `latest`. */
  #newestByKey: Map<string, number> | null = null

  /** Numbers the event and keeps it. `waits`: it is not sent now, so it replaces what it says anew. */
  add(sent: OutgoingEvent, isPaused: boolean, bounds: HistoryBounds): number {
    const sequence = ++this.last
    const unacked = (this.#unacked ??= new Map())
    if (isPaused && sent.latest !== '') {
      this.#newestByKey ??= new Map()
      const older = this.#newestByKey.get(sent.latest)
      if (older !== undefined) this.#remove(older)
      this.#newestByKey.set(sent.latest, sequence)
    }
    unacked.set(sequence, sent)
    this.#bytes += sent.body.length
    if (unacked.size > bounds.maxUnackedEvents || this.#bytes > bounds.maxUnackedEventBytes)
      this.#trim(bounds)
    return sequence
  }

  /** The client has all up to `events`. A number above the last is of an earlier activation. */
  ack(events: number): void {
    if (events > this.last || events <= this.#lastDropped) return
    this.#lastDropped = this.acked = events
    if (this.#unacked === null) return
    for (const sequence of this.#unacked.keys()) {
      if (sequence > events) return
      this.#remove(sequence)
    }
    this.#unacked = null
  }

  /** Whether all behind `events` is here, or was replaced. */
  canReplayFrom(events: number): boolean {
    return events >= this.#lastDropped
  }

  /** Gives what stands behind `events`, oldest first; from here on events flow. */
  replay(events: number, send: (sequence: number, sent: OutgoingEvent) => void): void {
    this.#newestByKey = null
    for (const [sequence, sent] of this.#unacked ?? []) if (sequence > events) send(sequence, sent)
  }

  /** Nothing up to here can be had any more; the next number is above `last`. */
  discardUpTo(last: number): void {
    this.last = this.#lastDropped = Math.max(this.last, last)
    this.#unacked = this.#newestByKey = null
    this.#bytes = 0
  }

  /** A new activation counts anew. */
  reset(): void {
    this.last = this.acked = 0
    this.discardUpTo(0)
  }

  #trim({ maxUnackedEvents, maxUnackedEventBytes }: HistoryBounds): void {
    for (const sequence of this.#unacked!.keys()) {
      if (this.#unacked!.size <= maxUnackedEvents && this.#bytes <= maxUnackedEventBytes) return
      this.#remove(sequence)
      this.#lastDropped = sequence
    }
  }

  #remove(sequence: number): void {
    const sent = this.#unacked?.get(sequence)
    if (!sent) return
    this.#unacked!.delete(sequence)
    this.#bytes -= sent.body.length
  }
}
