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

export type DatabaseErrorKind =
  | 'access' // wrong user, password, database name or rights: the operator must act
  | 'refused' // the server rejected the statement because of its data and changed nothing
  | 'schema' // a table or column is missing or has another shape: run the migration
  | 'unavailable' // not reachable, disconnected, busy, or an invalid answer; the outcome is unknown

/** A failure of the database or of the connection to it. */
export class DatabaseError extends Error {
  override readonly name = 'DatabaseError'
  readonly kind: DatabaseErrorKind
  /** MySQL's error number, 0 when the database did not answer. */
  readonly errno: number
  /** Index of the failed statement in its transaction; -1 = no particular statement. */
  readonly statement: number
  constructor(
    kind: DatabaseErrorKind,
    message: string,
    options: ErrorOptions & { readonly errno?: number; readonly statement?: number } = {},
  ) {
    super(message, options)
    this.kind = kind
    this.errno = options.errno ?? 0
    this.statement = options.statement ?? -1
  }
}

/** 1044, 1045, 1049, 1142, 1143, 1227: rights and names; 1698: unknown login. */
const ACCESS_ERRORS = new Set([1044, 1045, 1049, 1142, 1143, 1227, 1698])
/** 1054 unknown column, 1064 syntax, 1109/1146 unknown table, 1136 column count, 1364 column without default. */
const SCHEMA_ERRORS = new Set([1054, 1064, 1109, 1136, 1146, 1364])
/**
 * Errors of the data, which a retry cannot fix: 1048 null, 1062/1586 duplicate, 1153 packet too large, 1264 range, 1265
 * truncation, 1292 wrong value, 1366 wrong text, 1406 too long, 1411/1441 dates, 1451/1452 foreign key, 1644 SIGNAL of
 * a trigger, 1690 arithmetic range, 3140/3141 bad JSON, 3819/4025 check constraint.
 */
const DATA_ERRORS = new Set([
  1048, 1062, 1153, 1264, 1265, 1292, 1366, 1406, 1411, 1441, 1451, 1452, 1586, 1644, 1690, 3140, 3141, 3819, 4025,
])

/** The kind of an error number of MySQL or MariaDB. Numbers that are not listed count as temporary. */
export function errorKindOf(errno: number): DatabaseErrorKind {
  if (DATA_ERRORS.has(errno)) return 'refused'
  if (SCHEMA_ERRORS.has(errno)) return 'schema'
  return ACCESS_ERRORS.has(errno) ? 'access' : 'unavailable'
}
