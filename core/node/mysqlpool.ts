// SqlClient over mysql2: a pool of connections with the same session settings, and a deadline on every wait.
// Invariants: a connection is reused only if the server has answered every statement and no transaction is open;
// otherwise it is destroyed, and the server then rolls back. Connections that a firewall or proxy has silently dropped
// are found together: a lost one removes every idle connection that has not answered since its statement was sent. The
// next request ends them at the server, which has not noticed the loss and holds the locks of their transactions.

import { DatabaseError, type SqlClient, type SqlResult, type SqlStatement } from '../sql/client.ts'
import { errorKindOf } from '../sql/errorkind.ts'
import { bindParameters, MysqlConnection, parseMysqlUrl, type MysqlTarget } from './mysqlconnection.ts'

export interface MysqlOptions {
  /** `mysql://user:password@host:3306/database`; `?ssl=true` or `?ssl=ca:/path/to/ca.pem` encrypts and verifies. */
  readonly url: string
  /** Maximum number of connections, 4 by default. */
  readonly poolSize?: number
  /** Encrypts and verifies like `?ssl=`; `ca` is PEM text, by default every CA that the system and Node trust. */
  readonly tls?: { readonly ca?: string }
  /** Deadline for a connection to be ready for use, 5,000 by default. */
  readonly connectTimeoutMs?: number
  /** Deadline of a statement, and of the wait for a free connection; 15,000 by default. */
  readonly statementTimeoutMs?: number
  /** A connection that was idle for this time answers a short statement before it is used; 10,000 by default. */
  readonly checkAfterIdleMs?: number
  /** Maximum wait for a lock; 3 by default, and always below `statementTimeoutMs`. */
  readonly lockWaitSeconds?: number
}

/** Four connections serve the last waiter before its deadline if each request takes 60 ms or less. */
const MAX_POOL_WAITERS = 1_000
const MAX_MESSAGE = 500
const PACKET_TOO_LARGE = 1153
/** SQLSTATE of a lost connection; MySQL also closes the connection after some of these errors. */
const CONNECTION_CLASS = '08'
/**
 * Maximum wait for a lock of a row, or of a table that another program alters or has locked: short, because every turn
 * of the owner waits with it. The flusher sends the transaction again.
 */
const LOCK_WAIT_SECONDS = 3
const CHECK_AFTER_IDLE_MS = 10_000
const CHECK_TIMEOUT_MS = 2_000
/** Below the idle timeouts of usual proxies (AWS NLB: 350 s). */
const MAX_IDLE_MS = 240_000
/** Lost connections that the server is asked to end. */
const MAX_LOST = 256
/** So that a pool follows a failover or a rebalanced proxy. */
const MAX_AGE_MS = 1_800_000

/** Connects at the first request. @throws DatabaseError 'access' when the URL is malformed */
export function mysqlClient(options: MysqlOptions): SqlClient {
  return new MysqlPool(options)
}

class MysqlPool implements SqlClient {
  readonly #target: MysqlTarget
  readonly #name: string
  readonly #user: string
  readonly #connectMs: number
  readonly #statementMs: number
  readonly #lockSeconds: number
  readonly #checkAfterIdleMs: number
  readonly #idleConnections: MysqlConnection[] = []
  readonly #waiters: PoolWaiter[] = []
  readonly #runningRequests = new Set<Promise<unknown>>()
  /** Ids of lost connections that the server may still have. */
  #lostIds: number[] = []
  #freePermits: number
  #isClosed = false

  constructor(options: MysqlOptions) {
    const { url, tls, poolSize = 4, connectTimeoutMs = 5_000, statementTimeoutMs = 15_000 } = options
    this.#target = parseMysqlUrl(url, tls)
    this.#name = `mysql ${this.#target.host}:${this.#target.port}/${this.#target.database}`
    this.#user = this.#target.user
    this.#freePermits = poolSize
    this.#connectMs = connectTimeoutMs
    this.#statementMs = statementTimeoutMs
    this.#checkAfterIdleMs = options.checkAfterIdleMs ?? CHECK_AFTER_IDLE_MS
    // Below our own deadline: otherwise the server would still wait for the lock after it, and then write.
    const maxSeconds = Math.max(1, Math.floor(statementTimeoutMs / 1_000) - 1)
    this.#lockSeconds = Math.min(options.lockWaitSeconds ?? LOCK_WAIT_SECONDS, maxSeconds)
  }

  async query(statement: SqlStatement): Promise<SqlResult> {
    const sql = bindParameters(statement)
    return this.#withPermit((connection) => this.#execute(connection, sql))
  }

  async transact(
    statements: readonly SqlStatement[],
    accept: (index: number, result: SqlResult) => boolean,
  ): Promise<readonly SqlResult[] | null> {
    const texts = statements.map(bindParameters)
    return this.#withPermit(async (connection) => {
      await this.#execute(connection, 'BEGIN')
      try {
        const results: SqlResult[] = []
        for (const [index, sql] of texts.entries()) {
          const result = await this.#execute(connection, sql, index)
          if (!accept(index, result)) {
            await this.#rollback(connection)
            return null
          }
          results.push(result)
        }
        await this.#execute(connection, 'COMMIT', texts.length)
        return results
      } catch (error) {
        await this.#rollback(connection)
        throw error
      }
    })
  }

  /** Waits for running requests; rejects requests that wait for a connection. */
  async close(): Promise<void> {
    this.#isClosed = true
    for (const waiter of this.#waiters.splice(0)) waiter.reject(this.#closedError())
    await Promise.allSettled(this.#runningRequests)
    await Promise.all(this.#idleConnections.splice(0).map((connection) => connection.quit()))
  }

  async #withPermit<T>(work: (connection: MysqlConnection) => Promise<T>): Promise<T> {
    if (this.#freePermits > 0) this.#freePermits--
    else await this.#waitForPermit()
    try {
      if (this.#isClosed) throw this.#closedError()
      return await this.#track(this.#withConnection(work))
    } finally {
      const next = this.#waiters.shift()
      if (next) next.grant()
      else this.#freePermits++
    }
  }

  /** `close` waits for it. */
  #track<T>(running: Promise<T>): Promise<T> {
    this.#runningRequests.add(running)
    return running.finally(() => this.#runningRequests.delete(running))
  }

  async #withConnection<T>(work: (connection: MysqlConnection) => Promise<T>): Promise<T> {
    const connection = (await this.#takeIdleConnection()) ?? (await this.#openConnection())
    try {
      await this.#endLost(connection)
      return await work(connection)
    } finally {
      if (!connection.isDestroyed) this.#idleConnections.push(connection)
    }
  }

  /** Ends lost connections at the server, which otherwise keeps them, and their locks, for hours. */
  async #endLost(connection: MysqlConnection): Promise<void> {
    for (let id = this.#lostIds.pop(); id !== undefined; id = this.#lostIds.pop()) {
      // Ids rise: a higher one is of another server, or of this one before its restart.
      if (id >= connection.serverId) continue
      try {
        await this.#execute(connection, `KILL ${id}`)
      } catch (error) {
        // An error of the server itself: the connection has ended, or a proxy does not know KILL.
        if (!connection.isDestroyed) continue
        this.#lostIds.push(id)
        throw error
      }
    }
  }

  /** The idle connection that was used last; null = none that is known or found to be alive. */
  async #takeIdleConnection(): Promise<MysqlConnection | null> {
    for (;;) {
      const connection = this.#idleConnections.pop()
      if (!connection) return null
      const now = performance.now()
      const idleMs = now - connection.answeredMs
      if (idleMs < this.#checkAfterIdleMs && now - connection.openedMs < MAX_AGE_MS) return connection
      if (idleMs > MAX_IDLE_MS || now - connection.openedMs > MAX_AGE_MS) void this.#track(connection.quit())
      else if (await this.#isAlive(connection)) return connection
    }
  }

  async #isAlive(connection: MysqlConnection): Promise<boolean> {
    const timeoutMs = Math.min(CHECK_TIMEOUT_MS, this.#statementMs)
    try {
      await this.#executeChecked(connection, 'SELECT 1', timeoutMs)
      return true
    } catch (error) {
      // Also after an error of the server: a proxy answers with one when it has lost its backend.
      connection.destroyConnection(error)
      return false
    }
  }

  /** Runs a statement; a lost connection is destroyed together with those that are probably lost too. */
  async #executeChecked(connection: MysqlConnection, sql: string, timeoutMs: number): Promise<SqlResult> {
    const sentMs = performance.now()
    try {
      return await connection.execute(sql, timeoutMs, `no answer within ${timeoutMs} ms`)
    } catch (error) {
      const { sqlState } = error as { sqlState?: string }
      if (sqlState === undefined || sqlState.startsWith(CONNECTION_CLASS)) {
        const idle = this.#idleConnections.filter(({ answeredMs }) => answeredMs < sentMs)
        for (const lost of [connection, ...idle]) lost.destroyConnection(error)
        const ids = [connection, ...idle].map(({ serverId }) => serverId).filter((id) => id > 0)
        this.#lostIds = [...this.#lostIds, ...ids].slice(-MAX_LOST)
      }
      throw error
    }
  }

  /** Resolves when a permit is passed to this request. */
  async #waitForPermit(): Promise<void> {
    if (this.#waiters.length >= MAX_POOL_WAITERS)
      throw this.#toDatabaseError(new Error(`${MAX_POOL_WAITERS} requests already wait for a connection`))
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1)
        reject(this.#toDatabaseError(new Error(`no connection was free within ${this.#statementMs} ms`)))
      }, this.#statementMs)
      const waiter: PoolWaiter = {
        grant: () => (clearTimeout(timer), resolve()),
        reject: (error) => (clearTimeout(timer), reject(error)),
      }
      this.#waiters.push(waiter)
    })
  }

  async #openConnection(): Promise<MysqlConnection> {
    const startedMs = performance.now()
    const connection = new MysqlConnection(this.#target, () => {
      const index = this.#idleConnections.indexOf(connection)
      if (index !== -1) this.#idleConnections.splice(index, 1)
    })
    const [, , limit] = await this.#runSetup(connection, startedMs, [
      `SET NAMES utf8mb4 COLLATE utf8mb4_bin, time_zone = '+00:00', autocommit = 1, ` +
        `sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', ` +
        `innodb_lock_wait_timeout = ${this.#lockSeconds}, lock_wait_timeout = ${this.#lockSeconds}`,
      'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
      'SELECT @@max_allowed_packet',
    ])
    connection.limitStatements(Number(limit!.rows[0]![0]))
    return connection
  }

  /** Runs all statements within the connect deadline; a failure destroys the connection. */
  async #runSetup(
    connection: MysqlConnection,
    startedMs: number,
    texts: readonly string[],
  ): Promise<readonly SqlResult[]> {
    const results: SqlResult[] = []
    try {
      for (const sql of texts) {
        const leftMs = Math.max(1, this.#connectMs - (performance.now() - startedMs))
        results.push(await connection.execute(sql, leftMs, `not connected within ${this.#connectMs} ms`))
      }
      return results
    } catch (error) {
      connection.destroyConnection(error)
      throw this.#toDatabaseError(error)
    }
  }

  async #execute(connection: MysqlConnection, sql: string, statement = -1): Promise<SqlResult> {
    const bytes = Buffer.byteLength(sql)
    if (bytes >= connection.maxStatementBytes) {
      const message = `${this.#name}: a statement of ${bytes} bytes exceeds max_allowed_packet ${connection.maxStatementBytes}`
      throw new DatabaseError('refused', message, { errno: PACKET_TOO_LARGE, statement })
    }
    try {
      return await this.#executeChecked(connection, sql, this.#statementMs)
    } catch (error) {
      throw this.#toDatabaseError(error, statement, connection.isTimedOut)
    }
  }

  /** If it fails the connection is destroyed, which also rolls back. */
  async #rollback(connection: MysqlConnection): Promise<void> {
    if (!connection.isDestroyed)
      await this.#execute(connection, 'ROLLBACK').catch((error: unknown) => connection.destroyConnection(error))
  }

  #closedError(): DatabaseError {
    return this.#toDatabaseError(new Error('this client is closed'))
  }

  #toDatabaseError(cause: unknown, statement = -1, isTimeout = false): DatabaseError {
    const error = cause as Partial<NodeJS.ErrnoException> & { sqlState?: string; sql?: string }
    // The text of the statement contains players' data, which must not be logged.
    delete error.sql
    const { sqlState } = error
    const errno = sqlState === undefined ? 0 : (error.errno ?? 0)
    // The error of a localhost that refuses at both its addresses has no message.
    const text = `${this.#name}: ${error.message || (error.code ?? 'the connection failed')}${errno ? ` (${errno})` : ''}`
    const kind = errno ? errorKindOf(errno, sqlState!) : needsOperator(error) ? 'access' : 'unavailable'
    const message = kind === 'access' && !text.includes(`'${this.#user}'`) ? `${text}, as user '${this.#user}'` : text
    return new DatabaseError(kind, message.slice(0, MAX_MESSAGE), { cause, errno, statement, isTimeout })
  }
}

interface PoolWaiter {
  readonly grant: () => void
  readonly reject: (error: Error) => void
}

/**
 * Returns true for an error that a retry cannot cure. mysql2 replaces OpenSSL's codes, so a certificate error is only
 * recognizable by its text; any other TLS error is one of the network.
 */
function needsOperator({ code = '', message = '' }: Partial<NodeJS.ErrnoException>): boolean {
  if (code === 'HANDSHAKE_NO_SSL_SUPPORT' || code === 'AUTH_SWITCH_PLUGIN_ERROR') return true
  return code === 'HANDSHAKE_SSL_ERROR' && /certificate/i.test(message)
}
