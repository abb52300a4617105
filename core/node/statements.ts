// The prepared statements of one SQLite database, cached by their text. Invariant: the number of prepared statements is
// bounded.

import type { DatabaseSync, StatementSync } from 'node:sqlite'

import type { SqliteHandle, SqliteRow, SqliteValue } from '../sql/sqlite.ts'

/** A prepared statement takes a few KiB; a game with fifty tables uses about 300. */
const MAX_STATEMENTS = 1_024

export class PreparedStatements implements SqliteHandle {
  readonly #db: DatabaseSync
  readonly #prepared = new Map<string, StatementSync>()

  constructor(db: DatabaseSync) {
    this.#db = db
  }

  run(text: string, ...cells: SqliteValue[]): void {
    this.#prepare(text).run(...cells)
  }

  all(text: string, ...cells: SqliteValue[]): SqliteRow[] {
    return this.#prepare(text).all(...cells)
  }

  /** @typeParam T the columns that the statement selects */
  rows<T>(text: string, ...cells: SqliteValue[]): T[] {
    return this.#prepare(text).all(...cells) as T[]
  }

  /** The first row. */
  row<T>(text: string, ...cells: SqliteValue[]): T | undefined {
    return this.#prepare(text).get(...cells) as T | undefined
  }

  #prepare(text: string): StatementSync {
    let statement = this.#prepared.get(text)
    if (!statement) {
      if (this.#prepared.size >= MAX_STATEMENTS) this.#prepared.clear()
      this.#prepared.set(text, (statement = this.#db.prepare(text)))
    }
    return statement
  }
}
