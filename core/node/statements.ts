// The prepared statements of one SQLite database, by their text. Invariant: however many texts come, a bounded number
// stays prepared.

import type { DatabaseSync, StatementSync } from 'node:sqlite'

import type { SqliteValue, SqliteHandle, SqliteRow } from '../sql/sqlite.ts'

/** A prepared statement takes a few KiB; a game with fifty tables uses some 300. */
const MAX_STATEMENTS = 1_024

export class PreparedStatements implements SqliteHandle {
  readonly #db: DatabaseSync
  readonly #prepared = new Map<string, StatementSync>()

  constructor(db: DatabaseSync) {
    this.#db = db
  }

  run(text: string, ...cells: SqliteValue[]): void {
    this.prepare(text).run(...cells)
  }

  all(text: string, ...cells: SqliteValue[]): SqliteRow[] {
    return this.prepare(text).all(...cells)
  }

  prepare(text: string): StatementSync {
    let statement = this.#prepared.get(text)
    if (!statement) {
      if (this.#prepared.size >= MAX_STATEMENTS) this.#prepared.clear()
      this.#prepared.set(text, (statement = this.#db.prepare(text)))
    }
    return statement
  }
}
