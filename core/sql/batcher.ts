// Questions about single keys, asked together. Invariant: an answer is never older than the `get` that it answers, and
// nobody waits for company: what is asked while there is room for a question leaves with the turn that asked.

import type { Awaitable } from '../game/shard.ts'

export interface KeyBatcherOptions<Key, Value> {
  /** One question; answers in the order of the keys. */
  readonly query: (keys: readonly Key[]) => Awaitable<readonly Value[]>
  /** Of one question. */
  readonly maxKeys: number
  /** Questions that are on their way at the same time. */
  readonly maxInFlight: number
}

export class KeyBatcher<Key, Value> {
  readonly #options: KeyBatcherOptions<Key, Value>
  /** In no question yet, the oldest first; as many as there are callers, whose number is theirs to bound. */
  readonly #pending = new Map<Key, PromiseWithResolvers<Value>>()
  #inFlight = 0
  #isScheduled = false

  constructor(options: KeyBatcherOptions<Key, Value>) {
    this.#options = options
  }

  /** Rejects with what the question rejected with, as for every key of it. */
  get(key: Key): Promise<Value> {
    let waiter = this.#pending.get(key)
    if (!waiter) {
      waiter = Promise.withResolvers<Value>()
      this.#pending.set(key, waiter)
      this.#scheduleQuery()
    }
    return waiter.promise
  }

  /** Behind the promises that have settled by now: their callers ask, too. */
  #scheduleQuery(): void {
    if (this.#isScheduled || this.#inFlight >= this.#options.maxInFlight) return
    this.#isScheduled = true
    void Promise.resolve().then(() => {
      this.#isScheduled = false
      while (this.#pending.size > 0 && this.#inFlight < this.#options.maxInFlight) void this.#runQuery()
    })
  }

  async #runQuery(): Promise<void> {
    const batch = [...this.#pending].slice(0, this.#options.maxKeys)
    const keys = batch.map(([key]) => key)
    for (const key of keys) this.#pending.delete(key)
    this.#inFlight++
    try {
      const values = await this.#options.query(keys)
      if (values.length !== keys.length)
        throw new RangeError(`${values.length} answers to a question of ${keys.length} keys`)
      for (const [index, [, { resolve }]] of batch.entries()) resolve(values[index]!)
    } catch (error) {
      for (const [, { reject }] of batch) reject(error)
    } finally {
      this.#inFlight--
      if (this.#pending.size > 0) this.#scheduleQuery()
    }
  }
}
