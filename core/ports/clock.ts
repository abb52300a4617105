export interface Clock {
  /** Wall clock, milliseconds since 1970. */
  now(): number
  /** Monotonic, milliseconds. */
  mono(): number
  /** Runs once after `ms`. */
  after(ms: number, run: () => void): Timer
  /** Runs soon, once the event in hand is done, in order. */
  defer(run: () => void): void
  /** 0 <= x < 1 */
  random(): number
  /** 16 unguessable bytes. */
  id(): Uint8Array
}
export interface Timer {
  cancel(): void
}
