// SQL over HTTP by @planetscale/database: how a Worker, or any host without sockets, reaches PlanetScale.
// Invariant: no text leaves before it is complete and safe, and no answer counts that is not the protocol's, because
// the driver takes `{}` for an empty result, and a BEGIN whose session is missing for a transaction.

import { Connection, DatabaseError as DriverError, type Field } from '@planetscale/database'
import {
  DatabaseError,
  errorKindOf,
  type SqlClient,
  type SqlResult,
  type SqlStatement,
  type SqlValue,
} from './client.ts'

export interface PlanetscaleOptions {
  /** `https://user:password@host/database`; `http:` is for the local endpoint. The login chooses the database. */
  readonly url: string
  readonly fetch?: typeof fetch
  /** Longest wait for one answer; default 20,000, because no transaction of PlanetScale lives longer. */
  readonly timeoutMs?: number
}

const DEFAULT_TIMEOUT_MS = 20_000
/** A ROLLBACK only frees locks early, since an open transaction ends by itself; so nobody waits long for it. */
const ROLLBACK_TIMEOUT_MS = 2_000
const MAX_MESSAGE_LENGTH = 500
const MAX_SQL_LENGTH = 200

/** An answer that says all is well, and is none of PlanetScale's. */
export class PlanetscaleProtocolError extends TypeError {}

/** @throws DatabaseError 'access' when the url cannot be used */
export function planetscaleClient(options: PlanetscaleOptions): SqlClient {
  const credentials = parseCredentials(options.url)
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS
  const fetchFunction = options.fetch ?? fetch
  const running = new Set<Promise<unknown>>()
  let isClosed = false

  function withConnection<T>(work: (link: PlanetscaleConnection) => Promise<T>): Promise<T> {
    if (isClosed) throw databaseError('unavailable', credentials, 'this client is closed')
    const run = work(new PlanetscaleConnection(credentials, fetchFunction)).finally(() => running.delete(run))
    running.add(run)
    return run
  }

  return {
    async query(statement) {
      const text = renderStatement(statement)
      return withConnection((link) => link.execute(text, timeoutMs))
    },

    async transact(statements, accept) {
      const texts = statements.map(renderStatement)
      return withConnection((link) => runTransaction(link, texts, accept, timeoutMs))
    },

    /** What is under way still ends. */
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
  await commit(connection, timeoutMs)
  return results
}

/** Its failure says nothing: what was not committed ends with the session. The driver's own one hides the cause. */
async function rollback(connection: PlanetscaleConnection, timeoutMs: number): Promise<void> {
  await connection.execute('ROLLBACK', Math.min(timeoutMs, ROLLBACK_TIMEOUT_MS)).catch(() => {})
}

/** Whatever COMMIT answers but success, it may have been done, except where the login was not accepted. */
async function commit(connection: PlanetscaleConnection, timeoutMs: number): Promise<void> {
  try {
    await connection.execute('COMMIT', timeoutMs)
  } catch (error) {
    const { kind, errno, message } = error as DatabaseError
    // Either the answer is lost or the COMMIT: the second would hold locks until the session ends.
    await rollback(connection, timeoutMs)
    if (kind === 'access' || kind === 'unavailable') throw error
    throw new DatabaseError('unavailable', message, { errno, cause: error })
  }
}

interface PlanetscaleCredentials {
  readonly scheme: string
  readonly host: string
  readonly user: string
  readonly password: string
}

function parseCredentials(text: string): PlanetscaleCredentials {
  const invalidUrl = (why: string): DatabaseError =>
    new DatabaseError('access', `the database url ${why}; its form is https://user:password@host/database`)
  // The message of URL's own error, and its `input`, would tell the password.
  const url = URL.canParse(text) ? new URL(text) : null
  if (!url) throw invalidUrl('is not a url')
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw invalidUrl(`begins with ${url.protocol}`)
  if (url.username === '' || url.password === '') throw invalidUrl('has no user or no password')
  const [user, password] = [decodePercent(url.username), decodePercent(url.password)]
  // The driver's btoa() throws beyond Latin-1, and nobody agrees on what lies between it and ASCII.
  const printable = /^[ -~]+$/
  if (!printable.test(user) || !printable.test(password)) {
    throw invalidUrl('has a user or password that is not printable ASCII')
  }
  return { scheme: url.protocol, host: url.host, user, password }
}

function decodePercent(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** One connection of the driver: outside of a transaction nothing but a token that goes back and forth. */
class PlanetscaleConnection {
  readonly #login: PlanetscaleCredentials
  readonly #fetch: typeof fetch
  readonly #connection: Connection
  #deadlineMs = 0

  constructor(login: PlanetscaleCredentials, send: typeof fetch) {
    this.#login = login
    this.#fetch = send
    this.#connection = new Connection({
      // Not `url`: the driver would send user and password as they are percent-encoded there.
      host: login.host,
      username: login.user,
      password: login.password,
      fetch: (input, init) => this.#postRequest(input, init?.headers ?? {}, init?.body ?? ''),
      cast: decodeCell,
    })
  }

  /** @param index names the statement in an error */
  async execute(text: string, deadlineMs: number, index = -1): Promise<SqlResult> {
    this.#deadlineMs = deadlineMs
    try {
      const executed = await this.#connection.execute<SqlResult['rows'][number]>(text, null, { as: 'array' })
      const { rows, headers, rowsAffected } = executed
      if (!Number.isSafeInteger(rowsAffected)) throw new TypeError('the answer has no number of rows')
      const affected = headers.length > 0 ? 0 : rowsAffected
      return { rows, columns: headers, affected, insertId: BigInt(executed.insertId) }
    } catch (error) {
      throw toDatabaseError(error, this.#login, deadlineMs, index)
    }
  }

  /** A request of our own: workerd refuses the driver's `cache` on older compatibility dates, and it has no deadline. */
  async #postRequest(input: string, headers: Record<string, string>, body: string) {
    // On its own: workerd's fetch refuses to be a method.
    const send = this.#fetch
    const response = await send(input.replace(/^https:/, this.#login.scheme), {
      method: 'POST',
      headers,
      body,
      redirect: 'manual',
      signal: AbortSignal.timeout(this.#deadlineMs),
    })
    const text = await response.text()
    // Names are quoted in JSON, values are base64: neither can look like this.
    if (response.ok && !/"(?:session|error)"\s*:\s*\{/.test(text)) {
      throw new PlanetscaleProtocolError('the answer is not of the PlanetScale protocol')
    }
    const { ok, status, statusText } = response
    return { ok, status, statusText, headers: response.headers, text: () => Promise.resolve(text) }
  }
}

const BINARY_CHARSET = 63
const BINARY_TYPES = new Set(['BLOB', 'BINARY', 'VARBINARY'])
const BYTES_TYPES = new Set(['BIT', 'GEOMETRY', 'VECTOR'])
/** A leading U+FEFF is data; the driver's own decoder drops it. */
const utf8 = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true })

/** Numbers, dates and JSON stay text. Vitess calls text with a _bin collation VARBINARY: the charset tells. */
function decodeCell(field: Field, value: string | null): string | Uint8Array | null {
  if (value === null) return null
  if (typeof value !== 'string') throw new TypeError('a row of the answer is shorter than its columns')
  const bytes = new Uint8Array(value.length)
  for (let i = 0; i < value.length; i++) bytes[i] = value.charCodeAt(i)
  const isBinary = BINARY_TYPES.has(field.type) && (field.charset ?? BINARY_CHARSET) === BINARY_CHARSET
  return isBinary || BYTES_TYPES.has(field.type) ? bytes : utf8.decode(bytes)
}

/**
 * The statement as text, because the protocol has no parameters; all of a transaction before its BEGIN.
 * @throws TypeError, RangeError: it is a bug, as in mysqlClient
 */
function renderStatement({ sql, params }: SqlStatement): string {
  const excerpt = sql.slice(0, MAX_SQL_LENGTH)
  // DDL of our own, whose literals were written with care.
  if (params.length === 0 && !sql.includes('?')) return sql
  if (/['"]/.test(sql)) throw new TypeError(`a statement holds a quote instead of a parameter: ${excerpt}`)
  const parts = sql.split('?')
  if (parts.length !== params.length + 1) {
    throw new RangeError(`${params.length} parameters for ${parts.length - 1} placeholders: ${excerpt}`)
  }
  let text = parts[0]!
  for (const [index, value] of params.entries()) {
    const rendered = renderLiteral(value)
    if (rendered === null)
      throw new TypeError(`parameter ${index} is not a SQL value: ${describeValue(value)}: ${excerpt}`)
    text += rendered + parts[index + 1]!
  }
  return text
}

function renderLiteral(value: SqlValue): string | null {
  if (value === null) return 'NULL'
  if (typeof value === 'string') return quoteString(value)
  if (typeof value === 'number') return Number.isFinite(value) ? String(value) : null
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'boolean') return value ? '1' : '0'
  return value instanceof Uint8Array ? `X'${hex(value)}'` : null
}

function describeValue(value: unknown): string {
  return typeof value === 'number' ? String(value) : typeof value
}

/** Half a surrogate pair becomes U+FFFD, as mysql2 has it; Go's JSON, at the other end, would refuse the request. */
function quoteString(text: string): string {
  const escaped = text.toWellFormed().replaceAll('\\', '\\\\').replaceAll("'", "''").replaceAll('\0', '\\0')
  return `'${escaped}'`
}

const HEX_DIGITS = '0123456789abcdef'

function hex(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += HEX_DIGITS[byte >> 4]! + HEX_DIGITS[byte & 15]!
  return text
}

function databaseError(
  kind: DatabaseError['kind'],
  credentials: PlanetscaleCredentials,
  message: string,
  options: ConstructorParameters<typeof DatabaseError>[2] = {},
): DatabaseError {
  return new DatabaseError(kind, `${credentials.host}: ${message}`.slice(0, MAX_MESSAGE_LENGTH), options)
}

function toDatabaseError(
  error: unknown,
  credentials: PlanetscaleCredentials,
  deadlineMs: number,
  statement: number,
): DatabaseError {
  if (error instanceof DriverError) {
    const { status, message } = error
    if (status === 401 || status === 403) {
      return databaseError('access', credentials, `the login is not accepted: ${message}`, {
        cause: error,
        statement,
      })
    }
    const errno = errnoOf(error)
    // Repeating makes no statement smaller.
    const kind =
      errno === ERRNO_PACKET_TOO_LARGE ? 'refused' : status >= 500 ? 'unavailable' : errorKindOf(errno)
    return databaseError(kind, credentials, message, { cause: error, errno, statement })
  }
  if (error instanceof Error && error.name === 'TimeoutError') {
    return databaseError('unavailable', credentials, `no answer within ${deadlineMs} ms`, {
      cause: error,
      statement,
    })
  }
  return databaseError('unavailable', credentials, describeCause(error), { cause: error, statement })
}

/** "fetch failed" alone helps nobody. */
function describeCause(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { cause } = error
  const why = cause instanceof Error ? cause.message || (cause as { code?: string }).code : undefined
  return why ? `${error.message}: ${why}` : error.message
}

/** Vitess's own refusals carry no errno: rights on a table (vttablet), names (vtgate). */
const ERRNO_BY_CODE: Readonly<Record<string, number>> = {
  unauthenticated: 1045,
  permissiondenied: 1142,
  alreadyexists: 1062,
  notfound: 1146,
}
const ERRNO_PACKET_TOO_LARGE = 1153

/** The last one counts: before it stands the data, as in "Duplicate entry '…'", behind it a text without values. */
function errnoOf({ message, body, status }: DriverError): number {
  if (status === 413) return ERRNO_PACKET_TOO_LARGE
  const errno = [...message.matchAll(/\(errno (\d+)\) \(sqlstate \w{5}\)/g)].at(-1)?.[1]
  if (errno !== undefined) return Number(errno)
  if (/\bmessage larger than max\b/.test(message)) return ERRNO_PACKET_TOO_LARGE
  const code = /rpc error: code = (\w+) desc = /.exec(message)?.[1] ?? body.code ?? ''
  return ERRNO_BY_CODE[code.toLowerCase().replaceAll('_', '')] ?? 0
}
