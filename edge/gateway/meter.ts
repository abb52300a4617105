// What a gateway counts, as plain numbers; the host publishes them. Latency is sampled, because a clock read per
// message would cost more than the routing.

import type { CloseReason } from '../../core/wire/errors.ts'

/** One call in this many is timed. */
const SAMPLE_EVERY = 32

export class GatewayMeter {
  accepted = 0
  framesIn = 0
  bytesIn = 0
  bytesOut = 0
  strikes = 0
  pauses = 0
  /** Times a connection was above its budget, or read so slowly that its events waited. */
  throttles = 0
  holds = 0
  /** Sessions that came back. */
  resumes = 0
  pings = 0
  readonly closes = new Map<CloseReason | 'PEER', number>()
  /** System errors that version 2 clients were answered, by code. */
  readonly errors = new Map<string, number>()
  /** A sampled call took so many milliseconds from its frame to its answer. */
  onCallLatency: (ms: number) => void = () => {}
  /** A heartbeat was answered after so many milliseconds. */
  onRoundTrip: (ms: number) => void = () => {}
  #untilSample = 1

  countClose(reason: CloseReason | 'PEER'): void {
    this.closes.set(reason, (this.closes.get(reason) ?? 0) + 1)
  }

  countError(code: string): void {
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1)
  }

  /** Whether the call in hand is to be timed. */
  shouldSample(): boolean {
    if (--this.#untilSample > 0) return false
    this.#untilSample = SAMPLE_EVERY
    return true
  }
}
