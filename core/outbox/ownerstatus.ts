// How an owner stands with MySQL, for those who want to read its rows there: not yet asked, ready, being emptied
// because its store was stale, over.

export class OwnerStatus {
  #readyPromise = createSignal()
  readonly #attemptedPromise = createSignal()
  #isReady = false
  #isResetting = false
  #resetCount = 0
  #endCause: Error | null = null

  /** MySQL's rows of this owner are ours to read, as far as is known. */
  get isReady(): boolean {
    return this.#isReady
  }
  /** The store is being emptied: nothing may be committed there. */
  get isResetting(): boolean {
    return this.#isResetting
  }
  /** How often it was. */
  get resetCount(): number {
    return this.#resetCount
  }
  /** Why nothing will come any more. */
  get endCause(): Error | null {
    return this.#endCause
  }

  /** Resolves when it is ready; rejects when it is over. */
  whenReady(): Promise<void> {
    return this.#readyPromise.promise
  }
  /** Resolves when the lease is held, or could not be taken at the first attempt. */
  whenAttempted(): Promise<void> {
    return this.#attemptedPromise.promise
  }

  leaseAcquired(): void {
    this.#isReady = true
    this.#readyPromise.resolve()
    this.#attemptedPromise.resolve()
  }
  attemptFailed(): void {
    this.#attemptedPromise.resolve()
  }
  resetStarted(): void {
    this.#resetCount++
    this.#isResetting = true
    if (this.#isReady) this.#readyPromise = createSignal()
    this.#isReady = false
  }
  resetFinished(): void {
    this.#isResetting = false
  }
  markEnded(cause: Error): void {
    this.#endCause ??= cause
    if (this.#isReady) this.#readyPromise = createSignal()
    this.#isReady = false
    this.#readyPromise.reject(cause)
    this.#attemptedPromise.resolve()
  }
}

/** A promise that may be rejected though nobody waits for it. */
function createSignal(): PromiseWithResolvers<void> {
  const signal = Promise.withResolvers<void>()
  signal.promise.catch(() => {})
  return signal
}
