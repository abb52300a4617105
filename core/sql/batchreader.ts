// Reads the data of cold shards, many shards in one statement when many are loaded at the same time. Invariant: a shard
// gets the same value as from a statement of its own; where that is not certain, it gets a statement of its own.

import { DatabaseError, type SqlResult } from './client.ts'
import { KeyBatcher } from './batcher.ts'

type ResultRows = SqlResult['rows']

export interface BatchReaderOptions<Value> {
  /** Reads one key with a statement of its own. */
  readonly querySingle: (key: string) => Promise<Value>
  /** Reads the first `limit` rows of these keys, ordered by key; rows of one key in the order of `querySingle`. */
  readonly queryMany: (keys: readonly string[], limit: number) => Promise<SqlResult>
  /** The column of the result that holds the key. */
  readonly keyColumn: string
  /** Maximum number of rows of one statement for many keys. */
  readonly maxRows: number
  /** Maximum number of rows that `querySingle` reads of a key; Infinity = every row. */
  readonly pageRows: number
  /** Parses the rows of one key, at most a page of them. @throws DatabaseError */
  readonly parse: (result: SqlResult) => Value
}

/** Far below eq_range_index_dive_limit (200), above which MySQL estimates how many rows a key has. */
const MAX_KEYS = 64
/** Half of the connections of a pool: the rest is for flushes. */
const MAX_IN_FLIGHT = 4
/** Number of parts into which keys are split when their rows exceed one statement. */
const SPLIT_PARTS = 4

export class BatchReader<Value> {
  readonly #options: BatchReaderOptions<Value>
  readonly #batcher: KeyBatcher<string, Value | null>

  constructor(options: BatchReaderOptions<Value>) {
    this.#options = options
    const query = (keys: readonly string[]): Promise<readonly (Value | null)[]> => this.#readBatch(keys)
    this.#batcher = new KeyBatcher({ query, maxKeys: MAX_KEYS, maxInFlight: MAX_IN_FLIGHT })
  }

  /** @throws DatabaseError */
  async get(key: string): Promise<Value> {
    // MySQL would refuse a key that ends in a space, and with it the whole batch.
    const value = key.endsWith(' ') ? null : await this.#batcher.get(key)
    return value ?? (await this.#options.querySingle(key))
  }

  async #readBatch(keys: readonly string[]): Promise<readonly (Value | null)[]> {
    const [singleKey] = keys
    if (keys.length === 1) return [await this.#options.querySingle(singleKey!)]
    const values = new Map<string, Value>()
    await this.#readParts(keys, values)
    return keys.map((key) => values.get(key) ?? null)
  }

  /** Adds the values that are certain. Splits the rest into smaller parts, which may fit; leaves single keys out. */
  async #readParts(keys: readonly string[], values: Map<string, Value>): Promise<void> {
    if (keys.length < 2) return
    const unresolvedKeys = await this.#readTogether(keys, values)
    const size = Math.ceil(keys.length / SPLIT_PARTS)
    for (let i = 0; i < unresolvedKeys.length; i += size)
      await this.#readParts(unresolvedKeys.slice(i, i + size), values)
  }

  /** Runs one statement. Returns the keys that must be read again in smaller parts. */
  async #readTogether(keys: readonly string[], values: Map<string, Value>): Promise<readonly string[]> {
    const { queryMany, keyColumn, maxRows, pageRows, parse } = this.#options
    let result: SqlResult
    try {
      result = await queryMany(keys, maxRows)
    } catch (error) {
      // The server rejected the statement, perhaps because of one key: 'é' cannot be compared with an ASCII column.
      if (error instanceof DatabaseError && error.errno !== 0) return keys
      throw error
    }
    const { rows, columns } = result
    const keyPosition = columns.indexOf(keyColumn)
    // A binary key is an error of the table, which `querySingle` reports.
    if (rows.some((row) => typeof row[keyPosition] !== 'string')) return keys
    // Compares the exact text: the collation of an adopted table may treat `Bob` and `bob` as equal.
    const byKey: ReadonlyMap<unknown, ResultRows[number][]> = Map.groupBy(rows, (row) => row[keyPosition])
    return keys.filter((key) => {
      const ownRows = byKey.get(key) ?? []
      // With such a collation the rows of several keys are mixed, so any key may miss its last rows.
      if (rows.length >= maxRows && ownRows.length < pageRows) return true
      try {
        values.set(key, parse({ ...result, rows: ownRows.slice(0, pageRows) }))
      } catch {
        // `querySingle` reports the error to this shard alone.
      }
      return false
    })
  }
}
