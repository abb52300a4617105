// One MySQL connection over mysql2: parses the URL, binds parameters, executes one statement at a time. Invariant: when
// the state of the connection is uncertain it is destroyed permanently, and the server then rolls back.

import { readFileSync } from 'node:fs'
import { connect as connectTcp, type Socket } from 'node:net'
import { getCACertificates } from 'node:tls'
import { createConnection, type Connection, type ConnectionOptions, type FieldPacket } from 'mysql2'
import { DatabaseError, type SqlResult, type SqlStatement } from '../sql/client.ts'
import { renderStatement } from '../sql/literal.ts'
import { MysqlProbe } from './mysqlprobe.ts'

/** Options of mysql2, with the fields that messages name. */
export type MysqlTarget = ConnectionOptions & {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
}

const QUIT_MS = 1_000
/** Proxies drop a connection that is idle for minutes (AWS NLB: 350 s). */
const KEEP_ALIVE_MS = 30_000

/**
 * Error messages quote no part of the URL, because an unescaped / or # in a password shifts it into another part.
 * @throws DatabaseError 'access'
 */
export function parseMysqlUrl(text: string, tls: { readonly ca?: string } | undefined): MysqlTarget {
  const malformed = (why: string): DatabaseError =>
    new DatabaseError('access', `database URL: ${why}; expected mysql://user:password@host:3306/database?ssl=true`)
  if (!URL.canParse(text)) throw malformed('not a URL (are special characters of the password %-encoded?)')
  const url = new URL(text)
  if (url.protocol !== 'mysql:') throw malformed('does not begin with mysql://')
  if (!url.username || !url.hostname) throw malformed('names no user or no host')
  const database = url.pathname.slice(1)
  if (!/^[\w$-]{1,64}$/.test(database)) throw malformed('names no database, or one with special characters')
  let user, password: string
  try {
    user = decodeURIComponent(url.username)
    password = decodeURIComponent(url.password)
  } catch {
    throw malformed('a % in user or password is not %25')
  }
  for (const key of url.searchParams.keys()) if (key !== 'ssl') throw malformed('has another parameter than ssl')
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port || 3306),
    database,
    user,
    password,
    charset: 'UTF8MB4_BIN',
    // FOUND_ROWS: a no-op UPDATE counts 1 row. LOCAL_FILES would let a server read our files.
    flags: ['FOUND_ROWS', '-LOCAL_FILES'],
    // 0 = none: the pool sets the deadline.
    connectTimeout: 0,
    ...tlsOptionsOf(url.searchParams.get('ssl'), tls, malformed),
  }
}

/** Replaces the function of mysql2, which accepts undefined as NULL, expands objects and does not count parameters. */
export function bindParameters(statement: SqlStatement): string {
  return renderStatement(statement, ({ buffer, byteOffset, byteLength }) =>
    Buffer.from(buffer, byteOffset, byteLength).toString('hex'),
  )
}

/** Executes one statement at a time. */
export class MysqlConnection {
  readonly #connection: Connection
  readonly #socket: Socket
  readonly #probe: MysqlProbe
  readonly #onDestroyed: () => void
  #rejectStatement: ((error: unknown) => void) | null = null
  #isDestroyed = false
  #isTimedOut = false
  readonly #openedMs = performance.now()
  #answeredMs = this.#openedMs
  #maxStatementBytes = Infinity

  constructor(target: MysqlTarget, onDestroyed: () => void) {
    this.#onDestroyed = onDestroyed
    // Our own socket, because mysql2 can only close one gracefully, which a hanging server does not answer.
    this.#socket = connectTcp(target.port, target.host)
    this.#socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS)
    // Before mysql2, which parses any bytes as a MySQL packet.
    this.#probe = new MysqlProbe(this.#socket, (error) => this.destroyConnection(error))
    this.#connection = createConnection({ ...target, stream: this.#socket })
    this.#connection.on('error', (error) => this.destroyConnection(error))
    this.#connection.on('end', () => this.destroyConnection(this.#probe.closedError))
  }

  get isDestroyed(): boolean {
    return this.#isDestroyed
  }

  /** A statement had no answer in time. */
  get isTimedOut(): boolean {
    return this.#isTimedOut
  }

  /** The id that the server gave it; 0 = none yet. */
  get serverId(): number {
    return this.#connection.threadId ?? 0
  }

  get openedMs(): number {
    return this.#openedMs
  }

  /** When the server last answered a statement. */
  get answeredMs(): number {
    return this.#answeredMs
  }

  /** The caller of `execute` checks this bound. */
  get maxStatementBytes(): number {
    return this.#maxStatementBytes
  }

  /** Sets the server's max_allowed_packet. */
  limitStatements(maxBytes: number): void {
    this.#maxStatementBytes = maxBytes
  }

  /** Rejects with the error of mysql2 or of the server; after `timeoutMs` the connection is destroyed. */
  async execute(sql: string, timeoutMs: number, timeoutMessage: string): Promise<SqlResult> {
    const timer = setTimeout(() => {
      this.#isTimedOut = true
      void this.#probe.reportTimeout(timeoutMessage)
    }, timeoutMs)
    try {
      const [result, fields] = await new Promise<[unknown, FieldPacket[] | undefined]>((resolve, reject) => {
        this.#rejectStatement = reject
        this.#connection.query({ sql, rowsAsArray: true, typeCast: false }, (error, result, fields) => {
          this.#answeredMs = performance.now()
          if (error) reject(error)
          else resolve([result, fields])
        })
      })
      return sqlResultOf(result, fields)
    } finally {
      clearTimeout(timer)
      this.#rejectStatement = null
    }
  }

  destroyConnection(error: unknown): void {
    if (this.#isDestroyed) return
    this.#isDestroyed = true
    this.#connection.destroy()
    this.#socket.destroy()
    this.#rejectStatement?.(error)
    this.#onDestroyed()
  }

  /** Closes the connection gracefully, within QUIT_MS. */
  async quit(): Promise<void> {
    this.#isDestroyed = true
    if (this.#socket.destroyed) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => this.#socket.destroy(), QUIT_MS)
      this.#socket.once('close', () => (clearTimeout(timer), resolve()))
      this.#connection.end()
      this.#connection.destroy()
    })
  }
}

const COLUMN_TYPE = { varchar: 15, bit: 16, tinyBlob: 249, string: 254, geometry: 255 } as const
const CHARSET_BINARY = 63

function isBinary({ columnType: type = 0, characterSet }: FieldPacket): boolean {
  if (type === COLUMN_TYPE.bit || type === COLUMN_TYPE.geometry) return true
  const textual = type === COLUMN_TYPE.varchar || (type >= COLUMN_TYPE.tinyBlob && type <= COLUMN_TYPE.string)
  return textual && characterSet === CHARSET_BINARY
}

/** With `typeCast: false` every value is a view of the packet; it is copied so that the packet can be freed. */
function sqlResultOf(result: unknown, fields: readonly FieldPacket[] | undefined): SqlResult {
  if (!fields) {
    // mysql2 returns an id above 2^53 as text, and from 2^63 as the text of a negative number.
    const { affectedRows, insertId } = result as { affectedRows: number; insertId: number | string }
    return { rows: [], columns: [], affected: affectedRows, insertId: BigInt.asUintN(64, BigInt(insertId)) }
  }
  if (Array.isArray(fields[0])) throw new TypeError('a statement has more than one result')
  const binary = fields.map(isBinary)
  const cell = (bytes: Buffer | null, column: number): string | Uint8Array | null =>
    bytes === null ? null : binary[column] ? new Uint8Array(bytes) : bytes.toString()
  const rows = (result as (Buffer | null)[][]).map((row) => row.map(cell))
  return { rows, columns: fields.map(({ name }) => name), affected: 0, insertId: 0n }
}

function tlsOptionsOf(
  ssl: string | null,
  tls: { readonly ca?: string } | undefined,
  malformed: (why: string) => DatabaseError,
): Pick<ConnectionOptions, 'ssl'> {
  if (!tls && ssl === null) return {}
  let ca: string | string[] = tls?.ca ?? [...getCACertificates('default'), ...getCACertificates('system')]
  if (!tls && ssl?.startsWith('ca:')) {
    try {
      ca = readFileSync(ssl.slice(3), 'utf8')
    } catch (cause) {
      throw new DatabaseError('access', `database URL: ssl=ca: ${(cause as Error).message}`, { cause })
    }
  } else if (!tls && ssl !== 'true') throw malformed('ssl is neither true nor ca:/path')
  return { ssl: { ca, minVersion: 'TLSv1.2', rejectUnauthorized: true, verifyIdentity: true } }
}
