// The MySQL or MariaDB of the endpoint: a bounded pool of connections in UTC and MySQL 8's strict mode.
// Invariant: a killed or lost connection never returns to the pool, and its pending statement is rejected.

import { createPool, type FieldPacket, type Pool, type PoolConnection, type ResultSetHeader } from 'mysql2'
import type { EndpointLimits } from './limits.ts'
import { VitessError, vitessField, vitessRow, type VitessResult, type VitessRow } from './result.ts'

/** The endpoint cannot start; the message names the reason and the remedy. */
export class EndpointError extends Error {
  override readonly name = 'EndpointError'
}

const CONNECT_TIMEOUT_MS = 5_000
const SQL_MODE =
  'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'

export class Backend {
  /** Vitess's name of the database. */
  readonly keyspace: string
  readonly #pool: Pool
  readonly #limits: EndpointLimits
  readonly #acquired = new Set<BackendConnection>()

  private constructor(pool: Pool, keyspace: string, limits: EndpointLimits) {
    this.#pool = pool
    this.keyspace = keyspace
    this.#limits = limits
  }

  /** @param url `mysql://user:password@host:port/database` @throws EndpointError when it cannot be used */
  static async open(url: string, limits: EndpointLimits): Promise<Backend> {
    const { host, port, user, password, database } = partsOf(url)
    const pool = createPool({
      host,
      port,
      user,
      password,
      database,
      charset: 'utf8mb4',
      connectTimeout: CONNECT_TIMEOUT_MS,
      connectionLimit: limits.transactions + limits.connections,
      queueLimit: limits.waiting,
    })
    pool.on('connection', (connection) => {
      connection.query(`SET time_zone = '+00:00', sql_mode = '${SQL_MODE}'`, (error) => {
        if (error) connection.destroy()
      })
    })
    const backend = new Backend(pool, database, limits)
    try {
      const connection = await backend.acquire()
      await connection.run('SELECT 1')
      connection.release()
    } catch (error) {
      await backend.close()
      throw new EndpointError(connectHelp(error as NodeJS.ErrnoException, { host, port, user, database }), {
        cause: error,
      })
    }
    return backend
  }

  /** Returns a connection for one statement or one transaction. */
  acquire(): Promise<BackendConnection> {
    return new Promise((resolve, reject) => {
      this.#pool.getConnection((error, pooled) => {
        if (error) return reject(error)
        const connection = new BackendConnection(pooled, this.#limits, (isKilled) => {
          this.#acquired.delete(connection)
          // The server detects a closed socket only when it answers, so a statement that waits for a lock would stay.
          if (isKilled) this.#pool.query(`KILL ${pooled.threadId}`, () => {})
        })
        this.#acquired.add(connection)
        resolve(connection)
      })
    })
  }

  async close(): Promise<void> {
    for (const connection of this.#acquired) connection.discard()
    await new Promise((resolve) => this.#pool.end(resolve))
  }
}

/** One acquired connection, which runs one statement at a time. */
export class BackendConnection {
  readonly #connection: PoolConnection
  readonly #limits: EndpointLimits
  readonly #onReturned: (isKilled: boolean) => void
  #isClosed = false
  #rejectStatement: ((error: Error) => void) | null = null
  /** mysql2 reports a lost connection on the connection, not on a query that is read row by row. */
  readonly #onError = (error: Error): void => {
    this.#rejectStatement?.(error)
    this.discard()
  }

  constructor(connection: PoolConnection, limits: EndpointLimits, onReturned: (isKilled: boolean) => void) {
    this.#connection = connection
    this.#limits = limits
    this.#onReturned = onReturned
    connection.on('error', this.#onError)
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Returns values in the form of MySQL's text protocol. @throws VitessError above a limit, or the error of mysql2 */
  run(sql: string): Promise<VitessResult> {
    const { rows: maxRows, resultBytes, statementMs } = this.#limits
    const deadlineError = new VitessError('DEADLINE_EXCEEDED', 'context deadline exceeded')
    const timer = setTimeout(() => this.kill(deadlineError), statementMs)
    const result = new Promise<VitessResult>((resolve, reject) => {
      this.#rejectStatement = reject
      const rows: VitessRow[] = []
      let columns: readonly FieldPacket[] | undefined
      let header: ResultSetHeader | null = null
      let count = 0
      let bytes = 0
      const query = this.#connection.query({ sql, rowsAsArray: true, typeCast: false })
      query.on('error', reject)
      query.on('fields', (fields: readonly FieldPacket[] | undefined) => (columns = fields))
      query.on('result', (row: ResultSetHeader | (Buffer | null)[]) => {
        if (!Array.isArray(row)) {
          header = row
          return
        }
        count++
        for (const value of row) bytes += value?.length ?? 0
        // Further rows are read and dropped, so that the connection and its transaction stay usable.
        if (count <= maxRows && bytes <= resultBytes) rows.push(vitessRow(row))
      })
      query.on('end', () => {
        if (count > maxRows) {
          reject(new VitessError('UNKNOWN', `Row count exceeded ${maxRows} (errno 10001) (sqlstate HY000)`))
        } else if (bytes > resultBytes) {
          reject(new VitessError('RESOURCE_EXHAUSTED', `result of ${bytes} bytes exceeds ${resultBytes}`))
        } else resolve(resultOf(columns, rows, header))
      })
    })
    return result.finally(() => {
      clearTimeout(timer)
      this.#rejectStatement = null
    })
  }

  /** Ends the running statement by closing the connection, as Vitess does at a deadline. */
  kill(reason: Error): void {
    this.#rejectStatement?.(reason)
    this.#markReturned(true)
    this.#connection.destroy()
  }

  /** Closes the connection; MySQL rolls back an open transaction. */
  discard(): void {
    if (!this.#markReturned(false)) return
    this.#rejectStatement?.(new Error('the connection is closed'))
    this.#connection.destroy()
  }

  release(): void {
    if (!this.#markReturned(false)) return
    this.#connection.off('error', this.#onError)
    this.#connection.release()
  }

  /** Returns false if the connection was returned before. */
  #markReturned(isKilled: boolean): boolean {
    if (this.#isClosed) return false
    this.#isClosed = true
    this.#onReturned(isKilled)
    return true
  }
}

function resultOf(
  columns: readonly FieldPacket[] | undefined,
  rows: readonly VitessRow[],
  header: ResultSetHeader | null,
): VitessResult {
  if (columns) {
    const fields = columns.map(vitessField)
    return rows.length > 0 ? { fields, rows } : { fields }
  }
  // mysql2 decodes the id as signed, and above 2^53 as a string.
  const insertId = BigInt.asUintN(64, BigInt(header?.insertId ?? 0))
  return {
    ...(header?.affectedRows && { rowsAffected: String(header.affectedRows) }),
    ...(insertId > 0n && { insertId: String(insertId) }),
  }
}

interface BackendTarget {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
}

function partsOf(text: string): BackendTarget & { readonly password: string } {
  const form = 'mysql://user:password@host:port/database'
  const url = URL.canParse(text) ? new URL(text) : null
  if (!url || !/^(mysql|mariadb):$/.test(url.protocol)) throw new EndpointError(`--mysql must be ${form}`)
  const database = decodeURIComponent(url.pathname.slice(1))
  if (database === '') throw new EndpointError(`--mysql names no database: ${form}`)
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port || 3306),
    user: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    database,
  }
}

function connectHelp(error: NodeJS.ErrnoException, { host, port, user, database }: BackendTarget): string {
  const at = `MySQL at ${host}:${port}`
  if (error.errno === 1045 || error.errno === 1698) return `${at} refuses user ${user} or its password`
  if (error.errno === 1044) return `${at} gives user ${user} no rights on database ${database}`
  if (error.errno === 1049) return `${at} has no database ${database}: create it first`
  return `${at} does not answer (${error.code ?? error.message}): start it, or correct --mysql`
}
