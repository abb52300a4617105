// The values of `cacheable` in one process. Invariant: while a value has not expired, its loader runs once for all
// callers.

import type { Cached } from '../game/cacheable.ts'
import type { EngineMeter } from '../turn/meter.ts'
import type { Clock } from '../ports/clock.ts'

interface CachedValue {
  readonly value: Promise<unknown>
  readonly expiresMs: number
}

export class ValueCache {
  readonly #clock: Clock
  readonly #meter: EngineMeter
  readonly #values = new Map<Cached<never, unknown>, Map<string, CachedValue>>()

  constructor(clock: Clock, meter: EngineMeter) {
    this.#clock = clock
    this.#meter = meter
  }

  get<Params, Value>(definition: Cached<Params, Value>, params: Params): Promise<Value> {
    const values = this.#valuesOf(definition)
    const key = definition.keyOf(params)
    const cached = values.get(key)
    const now = this.#clock.mono()
    if (cached && now < cached.expiresMs) {
      this.#meter.cacheHits++
      return cached.value as Promise<Value>
    }
    this.#meter.cacheLoads++
    values.delete(key)
    // A map iterates in the order of insertion: the oldest entry first.
    for (const oldest of values.keys()) {
      if (values.size < definition.maxEntries) break
      values.delete(oldest)
    }
    const value = definition.load(params)
    const entry = { value, expiresMs: now + definition.ttlMs }
    values.set(key, entry)
    value.catch(() => {
      if (values.get(key) === entry) values.delete(key)
    })
    return value
  }

  #valuesOf<Params, Value>(definition: Cached<Params, Value>): Map<string, CachedValue> {
    let values = this.#values.get(definition)
    if (!values) this.#values.set(definition, (values = new Map()))
    return values
  }
}
