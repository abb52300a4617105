// How an owner stands with MySQL, for those who want to read its rows there: not yet asked, ready, being emptied
// because its store was stale, over.

export class Readiness {
  #ready = unheard()
  readonly #tried = unheard()
  #isReady = false
  #isResetting = false
  #resets = 0
  #over: Error | null = null

  /** MySQL's rows of this owner are ours to read, as far as is known. */
  get isReady(): boolean {
    return this.#isReady
  }
  /** The store is being emptied: nothing may be committed there. */
  get isResetting(): boolean {
    return this.#isResetting
  }
  /** How often it was. */
  get resets(): number {
    return this.#resets
  }
  /** Why nothing will come any more. */
  get over(): Error | null {
    return this.#over
  }

  /** Resolves when it is ready; rejects when it is over. */
  ready(): Promise<void> {
    return this.#ready.promise
  }
  /** Resolves when the lease is held, or could not be taken at the first attempt. */
  tried(): Promise<void> {
    return this.#tried.promise
  }

  held(): void {
    this.#isReady = true
    this.#ready.resolve()
    this.#tried.resolve()
  }
  failed(): void {
    this.#tried.resolve()
  }
  stale(): void {
    this.#resets++
    this.#isResetting = true
    if (this.#isReady) this.#ready = unheard()
    this.#isReady = false
  }
  emptied(): void {
    this.#isResetting = false
  }
  end(cause: Error): void {
    this.#over ??= cause
    if (this.#isReady) this.#ready = unheard()
    this.#isReady = false
    this.#ready.reject(cause)
    this.#tried.resolve()
  }
}

/** A promise that may be rejected though nobody waits for it. */
function unheard(): PromiseWithResolvers<void> {
  const made = Promise.withResolvers<void>()
  made.promise.catch(() => {})
  return made
}
