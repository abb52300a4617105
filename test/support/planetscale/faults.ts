// Faults that a drill switches on, each one that PlanetScale or the way to it can show.

export class Faults {
  #drop: (sql: string) => boolean = () => false
  #garbage = 0
  #unavailable = false
  #delayMs = 0

  /**
   * Execute, then cut the connection without a word: for the next so many statements, or for each that the function
   * chooses (`(sql) => sql === 'COMMIT'`). 0 ends it.
   */
  dropAnswers(which: number | ((sql: string) => boolean)): void {
    let left = typeof which === 'number' ? which : 0
    this.#drop = typeof which === 'function' ? which : () => left-- > 0
  }

  /** Answer 503 to everything and execute nothing. */
  unavailable(on: boolean): void {
    this.#unavailable = on
  }

  /** Execute, then answer the next `count` requests with a web page. */
  garbage(count: number): void {
    this.#garbage = count
  }

  /** Execute, then wait before every answer. */
  delay(ms: number): void {
    this.#delayMs = ms
  }

  get isUnavailable(): boolean {
    return this.#unavailable
  }

  get delayMs(): number {
    return this.#delayMs
  }

  /** What to do instead of answering this statement. */
  next(sql: string): 'drop' | 'garbage' | null {
    if (this.#drop(sql)) return 'drop'
    return this.#garbage > 0 && this.#garbage-- > 0 ? 'garbage' : null
  }
}
