// Detects that the players send more than this process can handle. The event loop reads every socket with data before it
// runs timers and commits, so without a bound one turn of it takes as long as the work that waits. Invariant: a call is
// refused only while the work for what arrived in one turn exceeds `overloadMs`, and the turn before was long as well;
// resumes, heartbeats and acknowledgements are never refused, so that overload ends no session and adds no reconnects.

import type { Clock } from '../../core/ports/clock.ts'

/** New sessions are refused for this long after the last overload. */
const AFTERMATH_MS = 1_000

export class OverloadDetector {
  readonly #clock: LoopClock
  readonly #overloadMs: number
  #turnStartedMs = 0
  /** Processor time at the start of a turn that follows a long one. */
  #turnStartedCpuMs = 0
  #isInTurn = false
  #wasLastTurnLong = false
  #overloadedMs = -Infinity
  #isOverloaded = false
  readonly #endTurn = (): void => {
    this.#wasLastTurnLong = this.#clock.mono() - this.#turnStartedMs > this.#overloadMs / 2
    this.#isInTurn = this.#isOverloaded = false
  }

  /** `overloadMs`: see TIMES. */
  constructor(clock: LoopClock, { overloadMs }: { readonly overloadMs: number }) {
    this.#clock = clock
    this.#overloadMs = overloadMs
  }

  /** Calls that arrive now must be refused. */
  get isOverloaded(): boolean {
    return this.#isOverloaded
  }

  /** New sessions must be refused: those that resume come first. */
  get refusesSessions(): boolean {
    return this.#isOverloaded || this.#turnStartedMs - this.#overloadedMs < AFTERMATH_MS
  }

  /** Records that bytes are handled. A Worker's clock stands still meanwhile, and its platform limits the load. */
  chunkReceived(nowMs: number): void {
    if (!this.#isInTurn) {
      this.#isInTurn = true
      this.#turnStartedMs = nowMs
      if (this.#wasLastTurnLong) this.#turnStartedCpuMs = this.#cpuMs(nowMs)
      this.#clock.defer(this.#endTurn)
    } else if (this.#wasLastTurnLong && nowMs - this.#turnStartedMs > this.#overloadMs && !this.#isOverloaded) {
      // A process that waits for a processor has not done more work than usual.
      if (this.#cpuMs(nowMs) - this.#turnStartedCpuMs <= this.#overloadMs) return
      this.#isOverloaded = true
      this.#overloadedMs = nowMs
    }
  }

  #cpuMs(nowMs: number): number {
    return this.#clock.cpu?.() ?? nowMs
  }
}

type LoopClock = Pick<Clock, 'mono' | 'defer' | 'cpu'>
