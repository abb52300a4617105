// The events of one channel that its client has not acknowledged, so that a client that resumes misses none. Bounded: the
// oldest events are dropped, and a client that has less is sent RESYNC. Invariant: event numbers rise, and a number is
// skipped only when a later event with the same `latest` key replaces its event.

import type { Limits } from '../wire/limits.ts'

/** An event as it left a turn; one object for all receivers. */
export interface OutgoingEvent {
  readonly event: number
  readonly body: Uint8Array
  /** The subject of the event: a later event with the same key replaces it. '' = never replaced. */
  readonly latest: string
}

export type HistoryBounds = Pick<Limits, 'maxUnackedEvents' | 'maxUnackedEventBytes'>

export class EventHistory {
  #last = 0
  #acked = 0
  /** The newest number that was dropped or acknowledged. A client that reports less has lost events. */
  #lastDropped = 0
  #unacked: Map<number, OutgoingEvent> | null = null
  #bytes = 0
  /** Of the events that wait: the newest number of each `latest` key. */
  #newestByKey: Map<string, number> | null = null

  /** The number of the last event. */
  get last(): number {
    return this.#last
  }
  /** Bytes of the retained events. */
  get bytes(): number {
    return this.#bytes
  }
  /** The client has acknowledged all events up to this number. */
  get acked(): number {
    return this.#acked
  }

  /** Numbers an event and retains it. `waits`: it is not sent now, so it replaces a waiting event with its `latest` key. */
  add(sent: OutgoingEvent, waits: boolean, bounds: HistoryBounds): number {
    const sequence = ++this.#last
    const unacked = (this.#unacked ??= new Map())
    if (waits && sent.latest !== '') {
      this.#newestByKey ??= new Map()
      const older = this.#newestByKey.get(sent.latest)
      if (older !== undefined) this.#remove(older)
      this.#newestByKey.set(sent.latest, sequence)
    }
    unacked.set(sequence, sent)
    this.#bytes += sent.body.length
    if (unacked.size > bounds.maxUnackedEvents || this.#bytes > bounds.maxUnackedEventBytes) this.#trim(bounds)
    return sequence
  }

  /** Numbers an event that is not retained. */
  skip(): number {
    return ++this.#last
  }

  /** The client has received all events up to `events`. A number above the last is of an earlier activation. */
  ack(events: number): void {
    if (events > this.#last || events <= this.#lastDropped) return
    this.#lastDropped = this.#acked = events
    if (this.#unacked === null) return
    for (const sequence of this.#unacked.keys()) {
      if (sequence > events) return
      this.#remove(sequence)
    }
    this.#unacked = null
  }

  /** Returns true when every event after `events` is retained or was replaced. */
  canReplayFrom(events: number): boolean {
    return events >= this.#lastDropped
  }

  /** Passes the events after `events` to `send`, oldest first. Later events replace none of them. */
  replay(events: number, send: (sequence: number, sent: OutgoingEvent) => void): void {
    this.#newestByKey = null
    for (const [sequence, sent] of this.#unacked ?? []) if (sequence > events) send(sequence, sent)
  }

  /** Drops all events. The next number is above `last` and above every earlier number. */
  discardUpTo(last: number): void {
    this.#last = this.#lastDropped = Math.max(this.#last, last)
    this.#unacked = this.#newestByKey = null
    this.#bytes = 0
  }

  /** A new activation starts at number 1. */
  reset(): void {
    this.#last = this.#acked = 0
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
