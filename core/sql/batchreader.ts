// What a cold shard is loaded from, many shards in one statement when many are loaded at once. Invariant: a shard gets
// what a statement of its own would give it; where that is not certain, it is asked with one.

import { DatabaseError, type SqlResult } from './client.ts'
import { KeyBatcher } from './batcher.ts'

type ResultRows = SqlResult['rows']

export interface BatchReaderOptions<Value> {
  /** The one key, by a statement of its own. */
  readonly querySingle: (key: string) => Promise<Value>
  /** The first `limit` rows of these keys, by key; those of one key in the order of `alone`. */
  readonly queryMany: (keys: readonly string[], limit: number) => Promise<SqlResult>
  /** The column of the answer that holds the key. */
  readonly keyColumn: string
  /** Rows of one statement for many keys. */
  readonly maxRows: number
  /** So many rows of a key are all that `alone` would give, however many there are; Infinity = it gives every row. */
  readonly pageRows: number
  /** From rows of one key, at most a page of them. @throws DatabaseError */
  readonly parse: (found: SqlResult) => Value
}

/** Far below eq_range_index_dive_limit (200), from which on MySQL guesses how many rows a key has. */
const MAX_KEYS = 64
/** Half of the connections of a pool: flushes need some, too. */
const MAX_IN_FLIGHT = 4
/** Parts into which keys go whose rows were too many for one statement. */
const SPLIT_PARTS = 4

export class BatchReader<Value> {
  readonly #options: BatchReaderOptions<Value>
  readonly #batcher: KeyBatcher<string, Value | null>

  constructor(options: BatchReaderOptions<Value>) {
    this.#options = options
    this.#batcher = new KeyBatcher({
      query: (keys) => this.#readBatch(keys),
      maxKeys: MAX_KEYS,
      maxInFlight: MAX_IN_FLIGHT,
    })
  }

  /** @throws DatabaseError */
  async get(key: string): Promise<Value> {
    // Refused, and none of the others with it.
    const value = key.endsWith(' ') ? null : await this.#batcher.get(key)
    return value ?? (await this.#options.querySingle(key))
  }

  async #readBatch(keys: readonly string[]): Promise<readonly (Value | null)[]> {
    const [singleKey] = keys
    if (keys.length === 1) return [await this.#options.querySingle(singleKey!)]
    const found = new Map<string, Value>()
    await this.#readParts(keys, found)
    return keys.map((key) => found.get(key) ?? null)
  }

  /** Finds what is certain. Smaller parts may fit where all did not, one key is never asked here. */
  async #readParts(keys: readonly string[], found: Map<string, Value>): Promise<void> {
    if (keys.length < 2) return
    const unresolvedKeys = await this.#readTogether(keys, found)
    const size = Math.ceil(keys.length / SPLIT_PARTS)
    for (let i = 0; i < unresolvedKeys.length; i += size)
      await this.#readParts(unresolvedKeys.slice(i, i + size), found)
  }

  /** One statement. Returns the keys to be asked again in smaller parts. */
  async #readTogether(keys: readonly string[], found: Map<string, Value>): Promise<readonly string[]> {
    const { queryMany: together, keyColumn: column, maxRows: limit, pageRows: page } = this.#options
    let result: SqlResult
    try {
      result = await together(keys, limit)
    } catch (error) {
      // An answer, perhaps to one of the keys alone: 'é' cannot be compared with a column of ASCII.
      if (error instanceof DatabaseError && error.errno !== 0) return keys
      throw error
    }
    const { rows, columns } = result
    const keyPosition = columns.indexOf(column)
    // Binary, which only an error is right for.
    if (rows.some((row) => typeof row[keyPosition] !== 'string')) return keys
    // By its very text: the collation of an adopted table may not tell `Bob` from `bob`.
    const byKey: ReadonlyMap<unknown, ResultRows[number][]> = Map.groupBy(rows, (row) => row[keyPosition])
    return keys.filter((key) => {
      const own = byKey.get(key) ?? []
      // Nor can be told where in the answer one key ends and the next begins: each may have lost its last rows.
      if (rows.length >= limit && own.length < page) return true
      this.#parseInto(key, { ...result, rows: own.slice(0, page) }, found)
      return false
    })
  }

  /** Alone a shard hears what is wrong with its rows. */
  #parseInto(key: string, own: SqlResult, found: Map<string, Value>): void {
    try {
      found.set(key, this.#options.parse(own))
    } catch {
      found.delete(key)
    }
  }
}
