// The values of `cacheable` in one process: each for its time, computed once however many ask. Never the truth.

import type { Cached } from '../game/cacheable.ts'
import type { EngineMeter } from './meter.ts'
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
    const known = values.get(key)
    const now = this.#clock.mono()
    if (known && now < known.expiresMs) {
      this.#meter.cacheHits++
      return known.value as Promise<Value>
    }
    this.#meter.cacheLoads++
    values.delete(key)
    // Oldest first: a map keeps the order in which its keys came.
    for (const old of values.keys()) {
      if (values.size < definition.maxEntries) break
      values.delete(old)
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
