// Counters of one gateway, as plain numbers; the host publishes them. Invariant: only the methods of this class change
// them. Latency is sampled, because a clock read per call would cost more than the routing.

import type { CloseReason } from '../../core/wire/errors.ts'

/** One call in this many is timed. */
const SAMPLE_EVERY = 32

/** Receives the time of a sampled call, from frame to reply, or of a heartbeat, from PING to PONG. */
export type LatencyObserver = (kind: 'call' | 'roundTrip', ms: number) => void

type GatewayCounter = {
  [Key in keyof GatewayMeter]: GatewayMeter[Key] extends number ? Key : never
}[keyof GatewayMeter]

export class GatewayMeter {
  accepted = 0
  framesIn = 0
  bytesIn = 0
  bytesOut = 0
  strikes = 0
  pauses = 0
  /** Times a connection exceeded its rate limit. */
  throttles = 0
  /** Calls refused because the process was overloaded. */
  refusedCalls = 0
  /** Times events were paused because a client read too slowly. */
  holds = 0
  /** Sessions that were resumed. */
  resumes = 0
  pings = 0
  readonly closes = new Map<CloseReason | 'PEER', number>()
  /** System errors sent to version 2 clients, by code. */
  readonly errors = new Map<string, number>()
  #observer: LatencyObserver | null = null
  #untilSample = 1

  observeLatency(observer: LatencyObserver): void {
    this.#observer = observer
  }

  count(counter: GatewayCounter): void {
    this[counter]++
  }

  // Once per frame or chunk: a field by its name is faster than by a variable.
  countFrameIn(): void {
    this.framesIn++
  }

  countBytesIn(bytes: number): void {
    this.bytesIn += bytes
  }

  countBytesOut(bytes: number): void {
    this.bytesOut += bytes
  }

  countClose(reason: CloseReason | 'PEER'): void {
    this.closes.set(reason, (this.closes.get(reason) ?? 0) + 1)
  }

  countError(code: string): void {
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1)
  }

  /** Returns true when the current call is to be timed. */
  shouldSample(): boolean {
    if (--this.#untilSample > 0) return false
    this.#untilSample = SAMPLE_EVERY
    return true
  }

  recordLatency(kind: 'call' | 'roundTrip', ms: number): void {
    this.#observer?.(kind, ms)
  }
}
