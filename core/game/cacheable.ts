// A value that can be recomputed, such as a profile or a ranking: cached in the process, computed once for concurrent
// readers. It is never the source of truth: data that must not be lost is a row.

import { DefinitionError, shorten } from '../wire/errors.ts'
import { checkOption, checkOptions, FUNCTION, POSITIVE_INTEGER, type OptionKinds } from '../wire/options.ts'

/** Options of `cacheable`. */
export interface CacheOptions {
  /** Validity of a value. */
  readonly ttlMs: number
  /** Maximum number of values; the oldest are evicted first. Default 10,000. */
  readonly maxEntries?: number
}

const CACHE_OPTIONS: OptionKinds<CacheOptions> = {
  ttlMs: { what: 'a number above 0', accepts: (value) => typeof value === 'number' && value > 0 },
  maxEntries: POSITIVE_INTEGER,
}

/** A definition that `c.cached` reads. */
export interface Cached<Params, Value> {
  /** The name with parameters in braces. */
  readonly name: string
  /** Validity of a value. */
  readonly ttlMs: number
  /** Maximum number of values. */
  readonly maxEntries: number
  /** The name with its parameters filled in. */
  readonly keyOf: (params: Params) => string
  /** Computes a value. */
  readonly load: (params: Params) => Promise<Value>
}

/** `'user:{uid}'` needs `{ uid }`. */
type ParamsOf<Name extends string> = Name extends `${string}{${infer P}}${infer Rest}`
  ? { readonly [K in P]: string | number } & ParamsOf<Rest>
  : unknown

/**
 * Read it in a turn: `await c.cached(profile, { uid })`. The error of a loader is not cached.
 * @throws DefinitionError for an invalid `ttlMs` or `maxEntries`
 */
export function cacheable<const Name extends string, Value>(
  name: Name,
  options: CacheOptions,
  load: (params: ParamsOf<Name>) => Promise<Value>,
): Cached<ParamsOf<Name>, Value> {
  if (typeof name !== 'string') throw new DefinitionError(`cacheable ${shorten(name)}: the name is no text`)
  const where = `cacheable ${shorten(name)}`
  checkOptions(where, options, CACHE_OPTIONS, ['ttlMs'])
  checkOption(where, 'load', load, FUNCTION)
  const { ttlMs, maxEntries = 10_000 } = options
  const parts = name.split(/\{(\w+)\}/)
  // JSON keeps keys distinct when parameters contain separators.
  const keyOf = (params: ParamsOf<Name>): string =>
    parts.map((part, i) => (i % 2 === 0 ? part : JSON.stringify((params as Record<string, unknown>)[part]))).join('')
  return { name, ttlMs, maxEntries, keyOf, load }
}
