// State of an owner towards MySQL, for its shards that are about to open, commit or reload rows:
//
//   state     | meaning                                     | transitions
//   ----------+---------------------------------------------+--------------------------------------------------------
//   waiting   | the lease was not acquired yet              | leaseAcquired: ready; resetStarted: resetting
//   ready     | MySQL's rows of this owner may be read      | resetStarted: resetting
//   resetting | the store is stale and is being emptied     | resetFinished: waiting
//   ended     | fenced or stopped; final, from every state  |

export type OwnerState = 'waiting' | 'ready' | 'resetting' | 'ended'

export class OwnerStatus {
  #state: OwnerState = 'waiting'
  #ready = createSignal()
  readonly #attempted = createSignal()
  #resetCount = 0
  #endCause: Error | null = null

  get state(): OwnerState {
    return this.#state
  }
  /** Number of resets of the store. */
  get resetCount(): number {
    return this.#resetCount
  }
  /** Why the state is 'ended'; otherwise null. */
  get endCause(): Error | null {
    return this.#endCause
  }

  /** Resolves in the state 'ready'; rejects in 'ended'. */
  whenReady(): Promise<void> {
    return this.#ready.promise
  }
  /** Resolves after the first attempt to acquire the lease, successful or not. */
  whenAttempted(): Promise<void> {
    return this.#attempted.promise
  }

  leaseAcquired(): void {
    this.#state = 'ready'
    this.#ready.resolve()
    this.#attempted.resolve()
  }
  attemptFailed(): void {
    this.#attempted.resolve()
  }
  resetStarted(): void {
    this.#resetCount++
    this.#leaveReady('resetting')
  }
  resetFinished(): void {
    if (this.#state === 'resetting') this.#state = 'waiting'
  }
  end(cause: Error): void {
    if (this.#state === 'ended') return
    this.#endCause = cause
    this.#leaveReady('ended')
    this.#ready.reject(cause)
    this.#attempted.resolve()
  }

  #leaveReady(next: OwnerState): void {
    if (this.#state === 'ready') this.#ready = createSignal()
    this.#state = next
  }
}

/** A promise whose rejection needs no handler. */
function createSignal(): PromiseWithResolvers<void> {
  const signal = Promise.withResolvers<void>()
  signal.promise.catch(() => {})
  return signal
}
