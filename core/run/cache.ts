// The values of `cacheable` in one process: each for its time, computed once however many ask. Never the truth.

import type { Cached } from '../game/cacheable.ts'
import type { Meter } from './meter.ts'
import type { Clock } from './ports.ts'

interface Kept {
  readonly value: Promise<unknown>
  readonly untilMs: number
}

export class Cache {
  readonly #clock: Clock
  readonly #meter: Meter
  readonly #kept = new Map<Cached<never, unknown>, Map<string, Kept>>()

  constructor(clock: Clock, meter: Meter) {
    this.#clock = clock
    this.#meter = meter
  }

  get<Params, Value>(what: Cached<Params, Value>, params: Params): Promise<Value> {
    const values = this.#valuesOf(what)
    const key = what.keyOf(params)
    const known = values.get(key)
    const now = this.#clock.mono()
    if (known && now < known.untilMs) {
      this.#meter.cacheHits++
      return known.value as Promise<Value>
    }
    this.#meter.cacheLoads++
    values.delete(key)
    // Oldest first: a map keeps the order in which its keys came.
    for (const old of values.keys()) {
      if (values.size < what.maxEntries) break
      values.delete(old)
    }
    const value = what.load(params)
    const kept = { value, untilMs: now + what.ttlMs }
    values.set(key, kept)
    value.catch(() => {
      if (values.get(key) === kept) values.delete(key)
    })
    return value
  }

  #valuesOf<Params, Value>(what: Cached<Params, Value>): Map<string, Kept> {
    let values = this.#kept.get(what)
    if (!values) this.#kept.set(what, (values = new Map()))
    return values
  }
}
