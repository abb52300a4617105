// The interface of a SQL driver: mysql2 on Node, @planetscale/database over HTTP. Invariant: every driver returns a
// value as text, as bytes (binary columns only) or as null, so one codec serves both; and every failure is a
// DatabaseError whose kind states what may have happened.

export type SqlValue = string | number | bigint | boolean | Uint8Array | null

export interface SqlStatement {
  /** Placeholders are `?`. No string literals: a driver would read a `?` inside a literal as a placeholder. */
  readonly sql: string
  readonly params: readonly SqlValue[]
}

export interface SqlResult {
  /** Cells in the order of `columns`: text as MySQL prints it in UTC, bytes for BINARY, VARBINARY, BLOB and BIT. */
  readonly rows: readonly (readonly (string | Uint8Array | null)[])[]
  readonly columns: readonly string[]
  /** Rows that a write matched, changed or not. */
  readonly affected: number
  /** The first AUTO_INCREMENT value of an INSERT; otherwise 0. */
  readonly insertId: bigint
}

export interface SqlClient {
  /** Runs one statement outside of a transaction. @throws DatabaseError */
  query(statement: SqlStatement): Promise<SqlResult>
  /**
   * Runs these statements in order, in one transaction. `accept` checks each result; when it returns false, the
   * transaction is rolled back and the result is null. @throws DatabaseError: 'refused' = rolled back, `statement` is
   * the index of the refused statement; 'unavailable' = may or may not be committed
   */
  transact(
    statements: readonly SqlStatement[],
    accept: (index: number, result: SqlResult) => boolean,
  ): Promise<readonly SqlResult[] | null>
  close(): Promise<void>
}

/** The kind of a database error. */
export type DatabaseErrorKind =
  | 'access' // wrong user, password, database name or rights: the operator must act
  | 'refused' // the server rejected the statement because of its data and changed nothing
  | 'schema' // a table or column is missing or has another shape: run the migration
  | 'unavailable' // not reachable, disconnected, busy, or an invalid answer; the outcome is unknown

export interface DatabaseErrorOptions extends ErrorOptions {
  readonly errno?: number
  readonly statement?: number
  readonly table?: string
  readonly isTimeout?: boolean
}

/** A failure of the database or of the connection to it. */
export class DatabaseError extends Error {
  /** Always 'DatabaseError'. */
  override readonly name = 'DatabaseError'
  /** Whether the request may have had an effect, and who must act. */
  readonly kind: DatabaseErrorKind
  /** MySQL's error number, 0 when the database did not answer. */
  readonly errno: number
  /** Index of the failed statement in its transaction, where COMMIT is the last; -1 = no particular statement. */
  readonly statement: number
  /** The table that the failed statement writes; '' = none in particular. */
  readonly table: string
  /** True = the statement was sent, and no answer arrived in time. */
  readonly isTimeout: boolean
  constructor(kind: DatabaseErrorKind, message: string, options: DatabaseErrorOptions = {}) {
    super(message, options)
    this.kind = kind
    this.errno = options.errno ?? 0
    this.statement = options.statement ?? -1
    this.table = options.table ?? ''
    this.isTimeout = options.isTimeout ?? false
  }
}
