// What a cold shard is loaded from, many shards in one statement when many are loaded at once. Invariant: a shard gets
// what a statement of its own would give it; where that is not certain, it is asked with one.

import { DatabaseError, type SqlResult } from './client.ts'
import { Bulk } from './bulk.ts'

type Rows = SqlResult['rows']

export interface ReadOptions<Value> {
  /** The one key, by a statement of its own. */
  readonly alone: (key: string) => Promise<Value>
  /** The first `limit` rows of these keys, by key; those of one key in the order of `alone`. */
  readonly together: (keys: readonly string[], limit: number) => Promise<SqlResult>
  /** The column of the answer that holds the key. */
  readonly column: string
  /** Rows of one statement for many keys. */
  readonly limit: number
  /** So many rows of a key are all that `alone` would give, however many there are; Infinity = it gives every row. */
  readonly page: number
  /** From rows of one key, at most a page of them. @throws DatabaseError */
  readonly value: (found: SqlResult) => Value
}

/** Far below eq_range_index_dive_limit (200), from which on MySQL guesses how many rows a key has. */
const MAX_KEYS = 64
/** Half of the connections of a pool: flushes need some, too. */
const MAX_QUESTIONS = 4
/** Parts into which keys go whose rows were too many for one statement. */
const PARTS = 4

export class Reads<Value> {
  readonly #options: ReadOptions<Value>
  readonly #bulk: Bulk<string, Value | null>

  constructor(options: ReadOptions<Value>) {
    this.#options = options
    this.#bulk = new Bulk({ ask: (keys) => this.#ask(keys), maxKeys: MAX_KEYS, maxQuestions: MAX_QUESTIONS })
  }

  /** @throws DatabaseError */
  async get(key: string): Promise<Value> {
    // Refused, and none of the others with it.
    const value = key.endsWith(' ') ? null : await this.#bulk.get(key)
    return value ?? (await this.#options.alone(key))
  }

  async #ask(keys: readonly string[]): Promise<readonly (Value | null)[]> {
    const [only] = keys
    if (keys.length === 1) return [await this.#options.alone(only!)]
    const found = new Map<string, Value>()
    await this.#find(keys, found)
    return keys.map((key) => found.get(key) ?? null)
  }

  /** Finds what is certain. Smaller parts may fit where all did not, one key is never asked here. */
  async #find(keys: readonly string[], found: Map<string, Value>): Promise<void> {
    if (keys.length < 2) return
    const left = await this.#together(keys, found)
    const size = Math.ceil(keys.length / PARTS)
    for (let i = 0; i < left.length; i += size) await this.#find(left.slice(i, i + size), found)
  }

  /** One statement. Returns the keys to be asked again in smaller parts. */
  async #together(keys: readonly string[], found: Map<string, Value>): Promise<readonly string[]> {
    const { together, column, limit, page } = this.#options
    let result: SqlResult
    try {
      result = await together(keys, limit)
    } catch (error) {
      // An answer, perhaps to one of the keys alone: 'é' cannot be compared with a column of ASCII.
      if (error instanceof DatabaseError && error.errno !== 0) return keys
      throw error
    }
    const { rows, columns } = result
    const place = columns.indexOf(column)
    // Binary, which only an error is right for.
    if (rows.some((row) => typeof row[place] !== 'string')) return keys
    // By its very text: the collation of an adopted table may not tell `Bob` from `bob`.
    const byKey: ReadonlyMap<unknown, Rows[number][]> = Map.groupBy(rows, (row) => row[place])
    return keys.filter((key) => {
      const own = byKey.get(key) ?? []
      // Nor can be told where in the answer one key ends and the next begins: each may have lost its last rows.
      if (rows.length >= limit && own.length < page) return true
      this.#keep(key, { ...result, rows: own.slice(0, page) }, found)
      return false
    })
  }

  /** Alone a shard hears what is wrong with its rows. */
  #keep(key: string, own: SqlResult, found: Map<string, Value>): void {
    try {
      found.set(key, this.#options.value(own))
    } catch {
      found.delete(key)
    }
  }
}
