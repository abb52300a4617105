// SqlClient over mysql2: a few connections with one known session each, and a deadline on every wait.
// Invariant: a connection is used again only when the server has answered everything that was asked on it and it
// stands outside a transaction; any doubt destroys it, and the server then rolls back.

import { DatabaseError, kindOf, type SqlClient, type SqlResult, type SqlStatement } from '../tiers/client.ts'
import { bind, Link, targetOf, type Target } from './connection.ts'

export interface MysqlOptions {
  /** `mysql://user:password@host:3306/database`; `?ssl=true` or `?ssl=ca:/path/to/ca.pem` encrypts and verifies. */
  readonly url: string
  /** Connections at most, 4 by default. */
  readonly poolSize?: number
  /** Encrypts and verifies as `?ssl=` does; `ca` is PEM text, by default all that the system and Node trust. */
  readonly tls?: { readonly ca?: string }
  /** Until a connection is ready for use, 5,000 by default. */
  readonly connectTimeoutMs?: number
  /** Until a statement is answered, and until one of the connections is free; 15,000 by default. */
  readonly statementTimeoutMs?: number
}

/** Four connections serve the last of them before its deadline when each takes 60 ms or less. */
const MAX_WAITING = 1_000
const MAX_MESSAGE = 500
/** 1205 lock wait, 1213 deadlock: the session is whole, only the transaction failed. */
const SESSION_SURVIVES = new Set([1205, 1213])
const PACKET_TOO_LARGE = 1153

/** Nothing is connected before the first request. @throws DatabaseError 'access' when the URL is malformed */
export function mysqlClient(options: MysqlOptions): SqlClient {
  return new Mysql(options)
}

class Mysql implements SqlClient {
  readonly #target: Target
  readonly #name: string
  readonly #user: string
  readonly #connectMs: number
  readonly #statementMs: number
  readonly #free: Link[] = []
  readonly #waiting: Waiter[] = []
  readonly #running = new Set<Promise<unknown>>()
  #slots: number
  #closed = false

  constructor({
    url,
    tls,
    poolSize = 4,
    connectTimeoutMs = 5_000,
    statementTimeoutMs = 15_000,
  }: MysqlOptions) {
    this.#target = targetOf(url, tls)
    this.#name = `mysql ${this.#target.host}:${this.#target.port}/${this.#target.database}`
    this.#user = this.#target.user
    this.#slots = poolSize
    this.#connectMs = connectTimeoutMs
    this.#statementMs = statementTimeoutMs
  }

  async query(statement: SqlStatement): Promise<SqlResult> {
    const sql = bind(statement)
    return this.#run((link) => this.#ask(link, sql))
  }

  async transact(
    statements: readonly SqlStatement[],
    accept: (index: number, result: SqlResult) => boolean,
  ): Promise<readonly SqlResult[] | null> {
    const texts = statements.map(bind)
    return this.#run(async (link) => {
      await this.#ask(link, 'BEGIN')
      try {
        const results: SqlResult[] = []
        for (const [index, sql] of texts.entries()) {
          const result = await this.#ask(link, sql, index)
          if (!accept(index, result)) {
            await this.#rollback(link)
            return null
          }
          results.push(result)
        }
        await this.#ask(link, 'COMMIT')
        return results
      } catch (error) {
        await this.#rollback(link)
        throw error
      }
    })
  }

  /** Requests that have a connection still end; those that wait for one are refused. */
  async close(): Promise<void> {
    this.#closed = true
    for (const waiter of this.#waiting.splice(0)) waiter.refuse(this.#isClosed())
    await Promise.allSettled(this.#running)
    await Promise.all(this.#free.splice(0).map((link) => link.end()))
  }

  async #run<T>(work: (link: Link) => Promise<T>): Promise<T> {
    if (this.#slots > 0) this.#slots--
    else await this.#turn()
    try {
      if (this.#closed) throw this.#isClosed()
      const running = this.#use(work)
      this.#running.add(running)
      return await running.finally(() => this.#running.delete(running))
    } finally {
      const next = this.#waiting.shift()
      if (next) next.enter()
      else this.#slots++
    }
  }

  async #use<T>(work: (link: Link) => Promise<T>): Promise<T> {
    const link = this.#free.pop() ?? (await this.#connect())
    try {
      return await work(link)
    } finally {
      if (!link.broken) this.#free.push(link)
    }
  }

  /** Resolves when a slot is handed over. */
  async #turn(): Promise<void> {
    if (this.#waiting.length >= MAX_WAITING)
      throw this.#failure(new Error(`${MAX_WAITING} requests wait for a connection already`))
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1)
        reject(this.#failure(new Error(`no connection was free within ${this.#statementMs} ms`)))
      }, this.#statementMs)
      const waiter: Waiter = {
        enter: () => (clearTimeout(timer), resolve()),
        refuse: (error) => (clearTimeout(timer), reject(error)),
      }
      this.#waiting.push(waiter)
    })
  }

  async #connect(): Promise<Link> {
    const startedMs = performance.now()
    const link = new Link(this.#target, () => {
      const index = this.#free.indexOf(link)
      if (index !== -1) this.#free.splice(index, 1)
    })
    // The server gives up a lock before we give up the server: else it would still be waiting, and then write.
    const lockSeconds = Math.max(1, Math.floor(this.#statementMs / 1_000) - 1)
    const [, , limit] = await this.#each(link, startedMs, [
      `SET NAMES utf8mb4 COLLATE utf8mb4_bin, time_zone = '+00:00', autocommit = 1, ` +
        `sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', innodb_lock_wait_timeout = ${lockSeconds}`,
      'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
      'SELECT @@max_allowed_packet',
    ])
    link.maxBytes = Number(limit!.rows[0]![0])
    return link
  }

  /** All within the time to connect; any failure destroys the connection. */
  async #each(link: Link, startedMs: number, texts: readonly string[]): Promise<readonly SqlResult[]> {
    const results: SqlResult[] = []
    try {
      for (const sql of texts) {
        const leftMs = Math.max(1, this.#connectMs - (performance.now() - startedMs))
        results.push(await link.ask(sql, leftMs, `not connected within ${this.#connectMs} ms`))
      }
      return results
    } catch (error) {
      link.break(error)
      throw this.#failure(error)
    }
  }

  async #ask(link: Link, sql: string, statement = -1): Promise<SqlResult> {
    const bytes = Buffer.byteLength(sql)
    if (bytes >= link.maxBytes) {
      const message = `${this.#name}: a statement of ${bytes} bytes exceeds max_allowed_packet ${link.maxBytes}`
      throw new DatabaseError('refused', message, { errno: PACKET_TOO_LARGE, statement })
    }
    try {
      return await link.ask(sql, this.#statementMs, `no answer within ${this.#statementMs} ms`)
    } catch (error) {
      const failure = this.#failure(error, statement)
      if (failure.kind === 'unavailable' && !SESSION_SURVIVES.has(failure.errno)) link.break(error)
      throw failure
    }
  }

  /** When it fails the connection is destroyed, which rolls back as well. */
  async #rollback(link: Link): Promise<void> {
    if (!link.broken) await this.#ask(link, 'ROLLBACK').catch((error: unknown) => link.break(error))
  }

  #isClosed(): DatabaseError {
    return this.#failure(new Error('this client is closed'))
  }

  #failure(cause: unknown, statement = -1): DatabaseError {
    const error = cause as Partial<NodeJS.ErrnoException> & { sqlState?: string; sql?: string }
    // The text of the statement holds the players' data: it belongs in no log.
    delete error.sql
    const errno = error.sqlState === undefined ? 0 : (error.errno ?? 0)
    // What localhost refuses at both its addresses has no message.
    const told = `${this.#name}: ${error.message || error.code}${errno ? ` (${errno})` : ''}`
    const kind = errno ? kindOf(errno) : isOperators(error) ? 'access' : 'unavailable'
    const said =
      kind === 'access' && !told.includes(`'${this.#user}'`) ? `${told}, as user '${this.#user}'` : told
    return new DatabaseError(kind, said.slice(0, MAX_MESSAGE), { cause, errno, statement })
  }
}

interface Waiter {
  readonly enter: () => void
  readonly refuse: (error: Error) => void
}

/** What repeating does not cure. mysql2 replaces OpenSSL's codes: what is no matter of certificates is the network's. */
function isOperators({ code = '', message = '' }: Partial<NodeJS.ErrnoException>): boolean {
  if (code === 'HANDSHAKE_NO_SSL_SUPPORT' || code === 'AUTH_SWITCH_PLUGIN_ERROR') return true
  return code === 'HANDSHAKE_SSL_ERROR' && /certificate/i.test(message)
}
