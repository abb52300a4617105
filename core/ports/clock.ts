// Time, timers and randomness of the host.

export interface Clock {
  /** Wall clock: milliseconds since 1970, UTC. */
  now(): number
  /** Monotonic, milliseconds. */
  mono(): number
  /** Processor time of the thread that runs the engine, milliseconds; absent where the platform does not report it. */
  cpu?(): number
  /** Runs once after `ms`. */
  after(ms: number, run: () => void): Timer
  /** Runs after the current event of the host, in the order of the calls. */
  defer(run: () => void): void
  /** Returns 0 <= x < 1. */
  random(): number
  /** Returns 16 random bytes that cannot be guessed. */
  id(): Uint8Array
}
export interface Timer {
  cancel(): void
}
