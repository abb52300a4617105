// Questions about single keys, asked together. Invariant: an answer is never older than the `get` that it answers, and
// nobody waits for company: what is asked while there is room for a question leaves with the turn that asked.

import type { Awaitable } from '../run/ports.ts'

export interface BulkOptions<Key, Value> {
  /** One question; answers in the order of the keys. */
  readonly ask: (keys: readonly Key[]) => Awaitable<readonly Value[]>
  /** Of one question. */
  readonly maxKeys: number
  /** Questions that are on their way at the same time. */
  readonly maxQuestions: number
}

export class Bulk<Key, Value> {
  readonly #options: BulkOptions<Key, Value>
  /** In no question yet, the oldest first; as many as there are callers, whose number is theirs to bound. */
  readonly #waiting = new Map<Key, PromiseWithResolvers<Value>>()
  #asking = 0
  #isDue = false

  constructor(options: BulkOptions<Key, Value>) {
    this.#options = options
  }

  /** Rejects with what the question rejected with, as for every key of it. */
  get(key: Key): Promise<Value> {
    let waiter = this.#waiting.get(key)
    if (!waiter) {
      waiter = Promise.withResolvers<Value>()
      this.#waiting.set(key, waiter)
      this.#askSoon()
    }
    return waiter.promise
  }

  /** Behind the promises that have settled by now: their callers ask, too. */
  #askSoon(): void {
    if (this.#isDue || this.#asking >= this.#options.maxQuestions) return
    this.#isDue = true
    void Promise.resolve().then(() => {
      this.#isDue = false
      while (this.#waiting.size > 0 && this.#asking < this.#options.maxQuestions) void this.#ask()
    })
  }

  async #ask(): Promise<void> {
    const taken = [...this.#waiting].slice(0, this.#options.maxKeys)
    const keys = taken.map(([key]) => key)
    for (const key of keys) this.#waiting.delete(key)
    this.#asking++
    try {
      const values = await this.#options.ask(keys)
      if (values.length !== keys.length)
        throw new RangeError(`${values.length} answers to a question of ${keys.length} keys`)
      for (const [index, [, { resolve }]] of taken.entries()) resolve(values[index]!)
    } catch (error) {
      for (const [, { reject }] of taken) reject(error)
    } finally {
      this.#asking--
      if (this.#waiting.size > 0) this.#askSoon()
    }
  }
}
