// A value that can be computed again, such as a profile or a ranking: kept in the process for a while, computed once
// however many ask for it at the same time. It is never the truth: what must not be lost is a row.

import { DefinitionError } from '../wire/errors.ts'

export interface CacheOptions {
  /** How long a value is good. */
  readonly ttlMs: number
  /** At most so many values; the oldest go first. Default 10,000. */
  readonly maxEntries?: number
}

export interface Cached<Params, Value> {
  readonly name: string
  readonly ttlMs: number
  readonly maxEntries: number
  /** The name with its parameters filled in. */
  readonly keyOf: (params: Params) => string
  readonly load: (params: Params) => Promise<Value>
}

/** `'user:{uid}'` needs `{ uid }`. */
type ParamsOf<Name extends string> = Name extends `${string}{${infer P}}${infer Rest}`
  ? { readonly [K in P]: string | number } & ParamsOf<Rest>
  : unknown

/**
 * Read it in a turn: `await c.cached(profile, { uid })`. A loader that throws is not remembered.
 * @throws DefinitionError for a bad lifetime
 */
export function cacheable<const Name extends string, Value>(
  name: Name,
  { ttlMs, maxEntries = 10_000 }: CacheOptions,
  load: (params: ParamsOf<Name>) => Promise<Value>,
): Cached<ParamsOf<Name>, Value> {
  if (!(ttlMs > 0) || !Number.isInteger(maxEntries) || maxEntries < 1)
    throw new DefinitionError(`cacheable ${JSON.stringify(name)}: ttlMs and maxEntries must be above 0`)
  const parts = name.split(/\{(\w+)\}/)
  // JSON keeps parameters apart that hold each other's separators.
  const keyOf = (params: ParamsOf<Name>): string =>
    parts
      .map((part, i) => (i % 2 === 0 ? part : JSON.stringify((params as Record<string, unknown>)[part])))
      .join('')
  return { name, ttlMs, maxEntries, keyOf, load }
}
