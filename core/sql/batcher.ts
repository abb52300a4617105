// Combines lookups of single keys into queries of many keys. Invariant: a value is never older than the `get` that it
// answers, and no lookup waits to fill a batch: while a query slot is free, it leaves in the turn that requested it.

import type { Awaitable } from '../game/definition.ts'

export interface KeyBatcherOptions<Key, Value> {
  /** Runs one query; returns the values in the order of the keys. */
  readonly query: (keys: readonly Key[]) => Awaitable<readonly Value[]>
  /** Maximum number of keys of one query. */
  readonly maxKeys: number
  /** Maximum number of queries that run at the same time. */
  readonly maxInFlight: number
}

export class KeyBatcher<Key, Value> {
  readonly #options: KeyBatcherOptions<Key, Value>
  /** Keys that no query contains yet, oldest first. The callers bound their own number. */
  readonly #pending = new Map<Key, PromiseWithResolvers<Value>>()
  #inFlight = 0
  #isScheduled = false

  constructor(options: KeyBatcherOptions<Key, Value>) {
    this.#options = options
  }

  /** Rejects with the error of the query, as does every other key of that query. */
  get(key: Key): Promise<Value> {
    let waiter = this.#pending.get(key)
    if (!waiter) {
      waiter = Promise.withResolvers<Value>()
      this.#pending.set(key, waiter)
      this.#scheduleQuery()
    }
    return waiter.promise
  }

  /** Queries run after the promises that are settled now, so that the lookups of their callers join the batch. */
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
        throw new RangeError(`the query returned ${values.length} values for ${keys.length} keys`)
      for (const [index, [, { resolve }]] of batch.entries()) resolve(values[index]!)
    } catch (error) {
      for (const [, { reject }] of batch) reject(error)
    } finally {
      this.#inFlight--
      if (this.#pending.size > 0) this.#scheduleQuery()
    }
  }
}
