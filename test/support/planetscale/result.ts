// Converts results and errors of MySQL to PlanetScale's HTTP API: protojson of Vitess, which omits zeros.
// Invariant: values are the bytes that MySQL sent, never parsed.

import type { FieldPacket } from 'mysql2'

/** `lengths` has "-1" for NULL; `values` is the base64 of all columns, concatenated. */
export interface VitessRow {
  readonly lengths: readonly string[]
  readonly values?: string
}
export interface VitessField {
  readonly name: string
  readonly type?: string
  readonly table?: string
  readonly orgTable?: string
  readonly database?: string
  readonly orgName?: string
  readonly columnLength?: number
  readonly charset?: number
  readonly decimals?: number
  readonly flags?: number
}
export interface VitessResult {
  readonly fields?: readonly VitessField[]
  readonly rows?: readonly VitessRow[]
  readonly rowsAffected?: string
  readonly insertId?: string
}

/** The `error` of an answer. */
export class VitessError extends Error {
  override readonly name = 'VitessError'
  readonly code: string
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

const UNSIGNED = 32
const BINARY = 128
const ENUM = 256
const SET = 2048

/** By MySQL's type number; a pair is [text, binary] or [signed, unsigned]. */
const TYPES: Readonly<Record<number, string | readonly [string, string]>> = {
  0: 'DECIMAL',
  1: ['INT8', 'UINT8'],
  2: ['INT16', 'UINT16'],
  3: ['INT32', 'UINT32'],
  4: 'FLOAT32',
  5: 'FLOAT64',
  7: 'TIMESTAMP',
  8: ['INT64', 'UINT64'],
  9: ['INT24', 'UINT24'],
  10: 'DATE',
  11: 'TIME',
  12: 'DATETIME',
  13: 'YEAR',
  14: 'DATE',
  15: ['VARCHAR', 'VARBINARY'],
  16: 'BIT',
  245: 'JSON',
  246: 'DECIMAL',
  247: 'ENUM',
  248: 'SET',
  249: ['TEXT', 'BLOB'],
  250: ['TEXT', 'BLOB'],
  251: ['TEXT', 'BLOB'],
  252: ['TEXT', 'BLOB'],
  253: ['VARCHAR', 'VARBINARY'],
  254: ['CHAR', 'BINARY'],
  255: 'GEOMETRY',
}
const NULL_TYPE = 6

/**
 * Same as sqltypes.MySQLToType of Vitess. It depends on the BINARY flag, which text with a _bin collation also has: such
 * text is VARBINARY with a charset other than 63, so a reader must check the charset.
 */
function typeOf(type: number, flags: number): string | undefined {
  if (type === NULL_TYPE) return undefined
  const names = TYPES[type] ?? 'VARBINARY'
  if (typeof names === 'string') return names
  if (names[0] === 'CHAR' && flags & ENUM) return 'ENUM'
  if (names[0] === 'CHAR' && flags & SET) return 'SET'
  return flags & (names[0].startsWith('INT') ? UNSIGNED : BINARY) ? names[1] : names[0]
}

/** Fields of mysql2 that its types do not declare. */
type FieldMetadata = FieldPacket & {
  readonly schema: string
  readonly columnType: number
  readonly columnLength: number
  readonly characterSet: number
}

export function vitessField(field: FieldPacket): VitessField {
  const { name, table, orgTable, orgName, schema, columnType, columnLength, characterSet, decimals, flags } =
    field as FieldMetadata
  const type = typeOf(columnType, Number(flags))
  return {
    name,
    ...(type && { type }),
    ...(table && { table }),
    ...(orgTable && { orgTable }),
    ...(schema && { database: schema }),
    ...(orgName && { orgName }),
    ...(columnLength && { columnLength }),
    ...(characterSet && { charset: characterSet }),
    ...(decimals && { decimals }),
    ...(flags && { flags: Number(flags) }),
  }
}

export function vitessRow(values: readonly (Buffer | null)[]): VitessRow {
  const lengths = values.map((value) => String(value === null ? -1 : value.length))
  const bytes = Buffer.concat(values.filter((value) => value !== null))
  return bytes.length > 0 ? { lengths, values: bytes.toString('base64') } : { lengths }
}

/** vttablet's gRPC code for an error of MySQL; for all others it is Unknown. */
const CODES: Readonly<Record<number, string>> = {
  1044: 'PermissionDenied',
  1045: 'PermissionDenied',
  1062: 'AlreadyExists',
  1142: 'PermissionDenied',
  1146: 'NotFound',
  1203: 'ResourceExhausted',
  1205: 'DeadlineExceeded',
  1213: 'Aborted',
  1406: 'FailedPrecondition',
}

/** Converts an error of MySQL; the text follows database-js issue #103. @param bare from `bareSql` */
export function mysqlError(cause: Error, keyspace: string, user: string, bare: string): VitessError {
  const { errno, sqlState, sqlMessage } = cause as Error & { errno?: number; sqlState?: string; sqlMessage?: string }
  if (errno === undefined || sqlState === undefined) {
    const lost = `${cause.message} (errno 2013) (sqlstate HY000)`
    return vttabletError('Unavailable', lost, keyspace, user, { cause })
  }
  const what = `${sqlMessage ?? cause.message} (errno ${errno}) (sqlstate ${sqlState})`
  const tail = `: Sql: "${bare.slice(0, 256)}", BindVars: {REDACTED}`
  const { code, message } = vttabletError(CODES[errno] ?? 'Unknown', what, keyspace, user)
  return new VitessError(code, message + tail, { cause })
}

export function vttabletError(
  code: string,
  what: string,
  keyspace: string,
  user: string,
  options?: ErrorOptions,
): VitessError {
  const text = `target: ${keyspace}.-.primary: vttablet: rpc error: code = ${code} desc = ${what} (CallerID: ${user})`
  return new VitessError('UNKNOWN', text, options)
}
