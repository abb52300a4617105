// Faults that a drill can switch on. Each can happen at PlanetScale or on the network path to it.

export class Faults {
  #drop: (sql: string) => boolean = () => false
  #garbage = 0
  #unavailable = false
  #delayMs = 0

  /**
   * Executes, then closes the connection without an answer: for the next `which` statements, or for each that the
   * function selects (`(sql) => sql === 'COMMIT'`). 0 stops it.
   */
  dropAnswers(which: number | ((sql: string) => boolean)): void {
    let left = typeof which === 'number' ? which : 0
    this.#drop = typeof which === 'function' ? which : () => left-- > 0
  }

  /** Answers 503 to every request and executes nothing. */
  unavailable(on: boolean): void {
    this.#unavailable = on
  }

  /** Executes, then answers the next `count` requests with a web page. */
  garbage(count: number): void {
    this.#garbage = count
  }

  /** Executes, then delays every answer. */
  delay(ms: number): void {
    this.#delayMs = ms
  }

  get isUnavailable(): boolean {
    return this.#unavailable
  }

  get delayMs(): number {
    return this.#delayMs
  }

  /** Returns the fault for this statement, null = answer it. */
  next(sql: string): 'drop' | 'garbage' | null {
    if (this.#drop(sql)) return 'drop'
    return this.#garbage > 0 && this.#garbage-- > 0 ? 'garbage' : null
  }
}
