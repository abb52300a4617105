// How Firefly speaks SQL to MySQL, whichever driver carries it: mysql2 on Node, @planetscale/database over HTTP.
// Invariant: whatever the driver, a value comes back as text, as bytes (binary columns only) or as null, so that one
// codec serves both; and every failure is a DatabaseError whose kind says what may have happened.

export type SqlValue = string | number | bigint | boolean | Uint8Array | null

export interface SqlStatement {
  /** Placeholders are `?`; it holds no string literal, because a driver would take a `?` in it for one. */
  readonly sql: string
  readonly params: readonly SqlValue[]
}

export interface SqlResult {
  /** In the order of the columns; text as MySQL prints it in UTC, bytes for BINARY, VARBINARY, BLOB and BIT. */
  readonly rows: readonly (readonly (string | Uint8Array | null)[])[]
  readonly columns: readonly string[]
  /** Rows that a write found (not: changed). */
  readonly affected: number
  /** The first AUTO_INCREMENT value of an INSERT, else 0. */
  readonly insertId: bigint
}

export interface SqlClient {
  /** One statement on its own. @throws DatabaseError */
  query(statement: SqlStatement): Promise<SqlResult>
  /**
   * One transaction of these statements in order. `accept` looks at each result; when it says false, everything is
   * rolled back and null is returned. @throws DatabaseError: 'refused' = rolled back, `statement` tells which one;
   * 'unavailable' = it may or may not be committed
   */
  transact(
    statements: readonly SqlStatement[],
    accept: (index: number, result: SqlResult) => boolean,
  ): Promise<readonly SqlResult[] | null>
  close(): Promise<void>
}

export type DatabaseErrorKind =
  | 'access' // user, password, database name or rights are wrong: the operator must act
  | 'refused' // the statement was understood and refused because of its data; nothing of it was done
  | 'schema' // a table or column is missing or of another shape: run the migration
  | 'unavailable' // not reached, gone, busy, or an answer that nobody understands; the outcome is unknown

/** What the database, or the way to it, said. */
export class DatabaseError extends Error {
  override readonly name = 'DatabaseError'
  readonly kind: DatabaseErrorKind
  /** MySQL's error number, 0 when the database did not answer. */
  readonly errno: number
  /** Which statement of a transaction, -1 = none in particular. */
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

/** 1044, 1045, 1049, 1142, 1143, 1227: rights and names; 1698: no such login. */
const ACCESS_ERRORS = new Set([1044, 1045, 1049, 1142, 1143, 1227, 1698])
/** 1054 unknown column, 1064 syntax, 1109/1146 unknown table, 1136 column count, 1364 a column without default. */
const SCHEMA_ERRORS = new Set([1054, 1064, 1109, 1136, 1146, 1364])
/**
 * Data that no repetition makes good: 1048 null, 1062 and 1586 duplicate, 1264 range, 1265 truncation, 1292 wrong
 * value, 1153 a packet too large, 1366 wrong text, 1406 too long, 1411, 1441 dates, 1451/1452 foreign key, 1644 a trigger's own signal,
 * 1690 arithmetic range, 3140/3141 bad JSON, 3819/4025 check constraint, 22001..
 */
const DATA_ERRORS = new Set([
  1048, 1062, 1153, 1264, 1265, 1292, 1366, 1406, 1411, 1441, 1451, 1452, 1586, 1644, 1690, 3140, 3141, 3819,
  4025,
])

/** What an error number of MySQL or MariaDB means for us; numbers that are not listed may pass by themselves. */
export function errorKindOf(errno: number): DatabaseErrorKind {
  if (DATA_ERRORS.has(errno)) return 'refused'
  if (SCHEMA_ERRORS.has(errno)) return 'schema'
  return ACCESS_ERRORS.has(errno) ? 'access' : 'unavailable'
}
