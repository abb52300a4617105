// SQL over HTTP by @planetscale/database: connects a Worker, or any host without sockets, to PlanetScale. Invariant: a
// statement is rendered completely before it is sent, and a response outside of the protocol is an error, because the
// driver accepts `{}` as an empty result, and a BEGIN without a session as a transaction.

import { Connection, DatabaseError as DriverError, type Field } from '@planetscale/database'
import {
  DatabaseError,
  type DatabaseErrorOptions,
  type SqlClient,
  type SqlResult,
  type SqlStatement,
} from './client.ts'
import { errorKindOf } from './errorkind.ts'
import { renderStatement } from './literal.ts'

export interface PlanetscaleOptions {
  /** `https://user:password@host/database`; `http:` is for the local endpoint. The login selects the database. */
  readonly url: string
  readonly fetch?: typeof fetch
  /** Maximum wait for one answer; default 20,000, the maximum duration of a transaction of PlanetScale. */
  readonly timeoutMs?: number
}

const DEFAULT_TIMEOUT_MS = 20_000
/** Short, because a ROLLBACK only releases locks early: an open transaction ends by itself. */
const ROLLBACK_TIMEOUT_MS = 2_000
const MAX_MESSAGE_LENGTH = 500

/** A successful HTTP response outside of PlanetScale's protocol. */
export class PlanetscaleProtocolError extends TypeError {}

/** @throws DatabaseError 'access' when the url cannot be used */
export function planetscaleClient(options: PlanetscaleOptions): SqlClient {
  const credentials = parseCredentials(options.url)
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS
  const fetchFunction = options.fetch ?? fetch
  const running = new Set<Promise<unknown>>()
  let isClosed = false

  function withConnection<T>(work: (connection: PlanetscaleConnection) => Promise<T>): Promise<T> {
    if (isClosed) throw databaseError('unavailable', credentials, 'this client is closed')
    const run = work(new PlanetscaleConnection(credentials, fetchFunction)).finally(() => running.delete(run))
    running.add(run)
    return run
  }

  return {
    async query(statement) {
      const text = statementText(statement)
      return withConnection((connection) => connection.execute(text, timeoutMs))
    },

    async transact(statements, accept) {
      const texts = statements.map(statementText)
      return withConnection((connection) => runTransaction(connection, texts, accept, timeoutMs))
    },

    /** Waits for running requests. */
    async close() {
      isClosed = true
      await Promise.allSettled(running)
    },
  }
}

async function runTransaction(
  connection: PlanetscaleConnection,
  texts: readonly string[],
  accept: (index: number, result: SqlResult) => boolean,
  timeoutMs: number,
): Promise<readonly SqlResult[] | null> {
  const results: SqlResult[] = []
  try {
    await connection.execute('BEGIN', timeoutMs)
    for (const [index, text] of texts.entries()) {
      const result = await connection.execute(text, timeoutMs, index)
      if (!accept(index, result)) {
        await rollback(connection, timeoutMs)
        return null
      }
      results.push(result)
    }
  } catch (error) {
    await rollback(connection, timeoutMs)
    throw error
  }
  await commit(connection, timeoutMs, texts.length)
  return results
}

/** Ignores failures: uncommitted work ends with the session. The driver's own rollback would hide the cause. */
async function rollback(connection: PlanetscaleConnection, timeoutMs: number): Promise<void> {
  await connection.execute('ROLLBACK', Math.min(timeoutMs, ROLLBACK_TIMEOUT_MS)).catch(() => {})
}

/** After any failure of COMMIT, except a rejected login, the outcome is unknown. */
async function commit(connection: PlanetscaleConnection, timeoutMs: number, index: number): Promise<void> {
  try {
    await connection.execute('COMMIT', timeoutMs, index)
  } catch (error) {
    const { kind, errno, message, statement } = error as DatabaseError
    // If the COMMIT did not arrive, the open transaction would hold its locks until the session ends.
    await rollback(connection, timeoutMs)
    if (kind === 'access' || kind === 'unavailable') throw error
    throw new DatabaseError('unavailable', message, { errno, statement, cause: error })
  }
}

interface PlanetscaleCredentials {
  readonly scheme: string
  readonly host: string
  readonly user: string
  readonly password: string
}

function parseCredentials(text: string): PlanetscaleCredentials {
  const invalidUrl = (reason: string): DatabaseError =>
    new DatabaseError('access', `the database url ${reason}; its form is https://user:password@host/database`)
  // The error that `new URL` throws contains the password, in its message and in `input`.
  const url = URL.canParse(text) ? new URL(text) : null
  if (!url) throw invalidUrl('is not a url')
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw invalidUrl(`begins with ${url.protocol}`)
  if (url.username === '' || url.password === '') throw invalidUrl('has no user or no password')
  const [user, password] = [decodePercent(url.username), decodePercent(url.password)]
  // The driver's btoa() throws above Latin-1, and servers differ in how they decode Latin-1 above ASCII.
  const printable = /^[ -~]+$/
  if (!printable.test(user) || !printable.test(password))
    throw invalidUrl('has a user or password that is not printable ASCII')
  return { scheme: url.protocol, host: url.host, user, password }
}

function decodePercent(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** One connection of the driver. Its only state is the session token of a transaction. */
class PlanetscaleConnection {
  readonly #credentials: PlanetscaleCredentials
  readonly #fetch: typeof fetch
  readonly #connection: Connection
  #timeoutMs = 0

  constructor(credentials: PlanetscaleCredentials, fetchFunction: typeof fetch) {
    this.#credentials = credentials
    this.#fetch = fetchFunction
    this.#connection = new Connection({
      // Not `url`: the driver would send the percent-encoded user and password.
      host: credentials.host,
      username: credentials.user,
      password: credentials.password,
      fetch: (input, init) => this.#postRequest(input, init?.headers ?? {}, init?.body ?? ''),
      cast: decodeCell,
    })
  }

  /** @param index the statement that an error names */
  async execute(text: string, timeoutMs: number, index = -1): Promise<SqlResult> {
    this.#timeoutMs = timeoutMs
    try {
      const executed = await this.#connection.execute<SqlResult['rows'][number]>(text, null, { as: 'array' })
      const { rows, headers, rowsAffected } = executed
      if (!Number.isSafeInteger(rowsAffected)) throw new TypeError('the response has no number of rows')
      const affected = headers.length > 0 ? 0 : rowsAffected
      return { rows, columns: headers, affected, insertId: BigInt(executed.insertId) }
    } catch (error) {
      throw toDatabaseError(error, this.#credentials, timeoutMs, index)
    }
  }

  /** Builds its own request: workerd rejects the driver's `cache` on older compatibility dates, and adds a deadline. */
  async #postRequest(input: string, headers: Record<string, string>, body: string) {
    // In a local variable, because workerd's fetch cannot be called as a method.
    const fetchFunction = this.#fetch
    const response = await fetchFunction(input.replace(/^https:/, this.#credentials.scheme), {
      method: 'POST',
      headers,
      body,
      redirect: 'manual',
      signal: AbortSignal.timeout(this.#timeoutMs),
    })
    const text = await response.text()
    // JSON escapes quotes in names, and values are base64, so neither can match this.
    if (response.ok && !/"(?:session|error)"\s*:\s*\{/.test(text))
      throw new PlanetscaleProtocolError('the response is not in the PlanetScale protocol')
    const { ok, status, statusText } = response
    return { ok, status, statusText, headers: response.headers, text: () => Promise.resolve(text) }
  }
}

const BINARY_CHARSET = 63
const BINARY_TYPES = new Set(['BLOB', 'BINARY', 'VARBINARY'])
const BYTES_TYPES = new Set(['BIT', 'GEOMETRY', 'VECTOR'])
/** Keeps a leading U+FEFF, which the driver's own decoder drops. */
const utf8 = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true })

/** Numbers, dates and JSON stay text. Vitess reports text with a _bin collation as VARBINARY: the charset decides. */
function decodeCell(field: Field, value: string | null): string | Uint8Array | null {
  if (value === null) return null
  if (typeof value !== 'string') throw new TypeError('a row of the response has fewer cells than columns')
  const bytes = new Uint8Array(value.length)
  for (let i = 0; i < value.length; i++) bytes[i] = value.charCodeAt(i)
  const isBinary = BINARY_TYPES.has(field.type) && (field.charset ?? BINARY_CHARSET) === BINARY_CHARSET
  return isBinary || BYTES_TYPES.has(field.type) ? bytes : utf8.decode(bytes)
}

/** The protocol has no parameters. The caller renders all statements of a transaction before its BEGIN. */
function statementText(statement: SqlStatement): string {
  const { sql, params } = statement
  // Firefly's own DDL, whose literals sqlLiteral has escaped.
  if (params.length === 0 && !sql.includes('?')) return sql
  if (!/['"]/.test(sql)) return renderStatement(statement)
  throw new TypeError(`a statement contains a quote instead of a parameter: ${sql.slice(0, 200)}`)
}

function databaseError(
  kind: DatabaseError['kind'],
  credentials: PlanetscaleCredentials,
  message: string,
  options: DatabaseErrorOptions = {},
): DatabaseError {
  return new DatabaseError(kind, `${credentials.host}: ${message}`.slice(0, MAX_MESSAGE_LENGTH), options)
}

function toDatabaseError(
  error: unknown,
  credentials: PlanetscaleCredentials,
  timeoutMs: number,
  statement: number,
): DatabaseError {
  const options = { cause: error, statement }
  if (error instanceof DriverError) {
    const { status, message } = error
    if (status === 401 || status === 403)
      return databaseError('access', credentials, `the server rejected the login: ${message}`, options)
    const { errno, sqlState } = serverErrorOf(error)
    // A retry would send the same large statement.
    const isTooLarge = errno === ERRNO_PACKET_TOO_LARGE
    const kind = status >= 500 && !isTooLarge ? 'unavailable' : errorKindOf(errno, sqlState)
    return databaseError(kind, credentials, message, { ...options, errno })
  }
  const isTimeout = error instanceof Error && error.name === 'TimeoutError'
  const message = isTimeout ? `no answer within ${timeoutMs} ms` : describeCause(error)
  return databaseError('unavailable', credentials, message, { ...options, isTimeout })
}

/** Adds the cause, because the message is often only "fetch failed". */
function describeCause(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { cause } = error
  const reason = cause instanceof Error ? cause.message || (cause as { code?: string }).code : undefined
  return reason ? `${error.message}: ${reason}` : error.message
}

/** Error codes of Vitess without an errno: rights on a table (vttablet), names (vtgate). */
const ERRNO_BY_CODE: Readonly<Record<string, number>> = {
  unauthenticated: 1045,
  permissiondenied: 1142,
  alreadyexists: 1062,
  notfound: 1146,
}
const ERRNO_PACKET_TOO_LARGE = 1153

/** The last errno counts: the text before it contains data, as in "Duplicate entry '…'"; the text after it does not. */
function serverErrorOf({ message, body, status }: DriverError): { errno: number; sqlState: string } {
  if (status === 413) return { errno: ERRNO_PACKET_TOO_LARGE, sqlState: '' }
  const [, errno, sqlState] = [...message.matchAll(/\(errno (\d+)\) \(sqlstate (\w{5})\)/g)].at(-1) ?? []
  if (errno !== undefined) return { errno: Number(errno), sqlState: sqlState! }
  if (/\bmessage larger than max\b/.test(message)) return { errno: ERRNO_PACKET_TOO_LARGE, sqlState: '' }
  const code = /rpc error: code = (\w+) desc = /.exec(message)?.[1] ?? body.code ?? ''
  return { errno: ERRNO_BY_CODE[code.toLowerCase().replaceAll('_', '')] ?? 0, sqlState: '' }
}
