// The MySQL or MariaDB behind the endpoint: a bounded pool of connections that speak UTC and MySQL 8's strict mode.
// Invariant: a link that was killed or lost never goes back into the pool, and whoever waits on it is told.

import { createPool, type FieldPacket, type Pool, type PoolConnection, type ResultSetHeader } from 'mysql2'
import type { EndpointLimits } from './limits.ts'
import { VitessError, vitessField, vitessRow, type VitessResult, type VitessRow } from './result.ts'

/** The endpoint cannot start; the message says why and what to do. */
export class EndpointError extends Error {
  override readonly name = 'EndpointError'
}

const CONNECT_TIMEOUT_MS = 5_000
const SQL_MODE =
  'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'

export class Backend {
  /** Vitess's word for the database. */
  readonly keyspace: string
  readonly #pool: Pool
  readonly #limits: EndpointLimits
  readonly #acquired = new Set<BackendConnection>()

  private constructor(pool: Pool, keyspace: string, limits: EndpointLimits) {
    this.#pool = pool
    this.keyspace = keyspace
    this.#limits = limits
  }

  /** @param url `mysql://user:password@host:port/database` @throws EndpointError when it is not there */
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
      const link = await backend.acquire()
      await link.run('SELECT 1')
      link.release()
    } catch (error) {
      await backend.close()
      throw new EndpointError(connectHelp(error as NodeJS.ErrnoException, { host, port, user, database }), {
        cause: error,
      })
    }
    return backend
  }

  /** A connection for one statement or one transaction. */
  acquire(): Promise<BackendConnection> {
    return new Promise((resolve, reject) => {
      this.#pool.getConnection((error, connection) => {
        if (error) return reject(error)
        const link = new BackendConnection(connection, this.#limits, (killed) => {
          this.#acquired.delete(link)
          // The server notices a closed socket only when it answers; a statement that waits for a lock would stay.
          if (killed) this.#pool.query(`KILL ${connection.threadId}`, () => {})
        })
        this.#acquired.add(link)
        resolve(link)
      })
    })
  }

  async close(): Promise<void> {
    for (const link of this.#acquired) link.discard()
    await new Promise((resolve) => this.#pool.end(resolve))
  }
}

/** One connection while it is taken; a statement at a time. */
export class BackendConnection {
  readonly #connection: PoolConnection
  readonly #limits: EndpointLimits
  readonly #onReturned: (killed: boolean) => void
  #isClosed = false
  #rejectStatement: ((error: Error) => void) | null = null
  /** mysql2 tells a lost connection to the connection, not to a query that is read row by row. */
  readonly #onError = (error: Error): void => {
    this.#rejectStatement?.(error)
    this.discard()
  }

  constructor(connection: PoolConnection, limits: EndpointLimits, onReturned: (killed: boolean) => void) {
    this.#connection = connection
    this.#limits = limits
    this.#onReturned = onReturned
    connection.on('error', this.#onError)
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Values as MySQL's text protocol has them. @throws VitessError beyond a limit, or the error of mysql2 */
  run(sql: string): Promise<VitessResult> {
    const { rows: maxRows, resultBytes, statementMs } = this.#limits
    const deadlineError = new VitessError('DEADLINE_EXCEEDED', 'context deadline exceeded')
    const timer = setTimeout(() => this.kill(deadlineError), statementMs)
    const ran = new Promise<VitessResult>((resolve, reject) => {
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
        // What is beyond is read and dropped, so that the connection and its transaction stay usable.
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
    return ran.finally(() => {
      clearTimeout(timer)
      this.#rejectStatement = null
    })
  }

  /** Ends the statement that runs, as Vitess does at a deadline: with the connection. */
  kill(reason: Error): void {
    this.#rejectStatement?.(reason)
    this.#giveBack(true)
    this.#connection.destroy()
  }

  /** MySQL rolls back what was open. */
  discard(): void {
    if (!this.#giveBack(false)) return
    this.#rejectStatement?.(new Error('the connection is closed'))
    this.#connection.destroy()
  }

  release(): void {
    if (!this.#giveBack(false)) return
    this.#connection.off('error', this.#onError)
    this.#connection.release()
  }

  #giveBack(killed: boolean): boolean {
    if (this.#isClosed) return false
    this.#isClosed = true
    this.#onReturned(killed)
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
  // mysql2 reads the id as signed, and beyond 2^53 as a string.
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
