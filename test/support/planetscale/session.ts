// Sessions of the endpoint. As in Vitess, a session is a signed token in each request and answer, without state in the
// endpoint until BEGIN. A transaction owns one MySQL connection until its end or time limit.
// Invariant: at the end of a transaction its connection is either clean or closed.

import { createHmac, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto'
import type { Backend, BackendConnection } from './backend.ts'
import type { EndpointLimits } from './limits.ts'
import { bareSql, vitessErrorOf } from './vitessrules.ts'
import { mysqlError, vttabletError, VitessError, type VitessResult } from './result.ts'

export interface ExecuteResponse {
  readonly session: SignedSession | null
  readonly result?: VitessResult
  readonly error?: { readonly code: string; readonly message: string }
  readonly timing: number
}

interface SignedSession {
  readonly signature: string
  readonly vitessSession: VitessSession
}
interface VitessSession {
  readonly autocommit: true
  readonly SessionUUID: string
  readonly inTransaction?: true
  readonly transactionId?: string
}
interface Transaction {
  readonly id: string
  readonly connection: BackendConnection
  readonly timer: NodeJS.Timeout
  /** `ending`: it runs COMMIT or ROLLBACK, which is not interrupted. */
  state: 'idle' | 'statement' | 'ending'
}

/** Number of ended transactions that are stored, to report why they ended. */
const MAX_ENDED = 1_000
const BEGIN = /^(begin( work)?|start transaction( .*)?)$/
const COMMIT = /^commit( work)?$/
const ROLLBACK = /^rollback( work)?$/
const SAVEPOINT = /^(savepoint|release savepoint|rollback( work)? to)\b/

export class EndpointSessions {
  readonly #backend: Backend
  readonly #limits: EndpointLimits
  readonly #user: string
  readonly #key = randomBytes(32)
  readonly #open = new Map<string, Transaction>()
  readonly #ended = new Map<string, string>()
  #openingCount = 0
  #lastNumber = 0

  constructor(backend: Backend, limits: EndpointLimits, user: string) {
    this.#backend = backend
    this.#limits = limits
    this.#user = user
  }

  create(): SignedSession {
    return this.#sign({ autocommit: true, SessionUUID: randomUUID() })
  }

  /** @param lastSession the session of the last answer, null for a new one */
  async execute(sql: string, lastSession: unknown): Promise<ExecuteResponse> {
    const startedMs = performance.now()
    const bare = bareSql(sql)
    let session: SignedSession | null = null
    const respond = (rest: Pick<ExecuteResponse, 'result' | 'error'>): ExecuteResponse => {
      return { session, ...rest, timing: (performance.now() - startedMs) / 1_000 }
    }
    try {
      session = lastSession === null || lastSession === undefined ? this.create() : this.#verified(lastSession)
      const refusal = vitessErrorOf(bare)
      if (refusal !== null) throw new VitessError('UNKNOWN', refusal)
      const { transactionId } = session.vitessSession
      if (transactionId !== undefined) {
        if (COMMIT.test(bare) || ROLLBACK.test(bare)) {
          // Whatever the outcome, the session continues without the transaction.
          session = this.#sign({ autocommit: true, SessionUUID: session.vitessSession.SessionUUID })
          await this.#endTransaction(transactionId, COMMIT.test(bare) ? 'COMMIT' : 'ROLLBACK')
          return respond({ result: {} })
        }
        return respond({ result: await this.#runInTransaction(transactionId, sql) })
      }
      if (BEGIN.test(bare)) {
        const id = await this.#begin(sql)
        session = this.#sign({ ...session.vitessSession, inTransaction: true, transactionId: id })
        return respond({ result: {} })
      }
      if (COMMIT.test(bare) || ROLLBACK.test(bare) || SAVEPOINT.test(bare)) return respond({ result: {} })
      return respond({ result: await this.#runAutocommit(sql) })
    } catch (error) {
      const { keyspace } = this.#backend
      const { code, message } =
        error instanceof VitessError ? error : mysqlError(error as Error, keyspace, this.#user, bare)
      return respond({ error: { code, message } })
    }
  }

  close(): void {
    for (const { timer } of this.#open.values()) clearTimeout(timer)
    this.#open.clear()
  }

  async #runAutocommit(sql: string): Promise<VitessResult> {
    const connection = await this.#backend.acquire()
    return connection.run(sql).finally(() => connection.release())
  }

  async #begin(sql: string): Promise<string> {
    const { transactions, transactionMs } = this.#limits
    if (this.#open.size + this.#openingCount >= transactions) {
      const message = 'transaction pool connection limit exceeded (errno 1203) (sqlstate HY000)'
      throw this.#tabletError('ResourceExhausted', message)
    }
    this.#openingCount++
    try {
      const connection = await this.#backend.acquire()
      const id = `${Date.now()}${String(++this.#lastNumber).padStart(6, '0')}`
      await connection.run(sql).catch((error: unknown) => {
        connection.discard()
        throw error
      })
      const timer = setTimeout(() => this.#expire(id), transactionMs)
      this.#open.set(id, { id, connection, timer, state: 'idle' })
      return id
    } finally {
      this.#openingCount--
    }
  }

  async #runInTransaction(id: string, sql: string): Promise<VitessResult> {
    const transaction = this.#claim(id, 'statement')
    try {
      return await transaction.connection.run(sql)
    } catch (error) {
      if (transaction.connection.isClosed) this.#removeTransaction(transaction, 'connection closed')
      throw error
    } finally {
      transaction.state = 'idle'
    }
  }

  async #endTransaction(id: string, statement: 'COMMIT' | 'ROLLBACK'): Promise<void> {
    const transaction = this.#claim(id, 'ending')
    try {
      await transaction.connection.run(statement)
      transaction.connection.release()
    } catch (error) {
      transaction.connection.discard()
      throw error
    } finally {
      this.#removeTransaction(transaction, statement === 'COMMIT' ? 'transaction committed' : 'transaction rolled back')
    }
  }

  #claim(id: string, state: 'statement' | 'ending'): Transaction {
    const transaction = this.#open.get(id)
    if (!transaction) {
      const ended = this.#ended.get(id)
      throw this.#tabletError('Aborted', `transaction ${id}: ${ended ?? 'not found'}`)
    }
    if (transaction.state !== 'idle') throw this.#tabletError('Aborted', `transaction ${id}: in use: for query`)
    transaction.state = state
    return transaction
  }

  #expire(id: string): void {
    const transaction = this.#open.get(id)
    if (!transaction || transaction.state === 'ending') return
    const { connection, state } = transaction
    this.#removeTransaction(transaction, `exceeded timeout: ${this.#limits.transactionMs / 1_000}s`)
    const message = `transaction ${id}: ${this.#ended.get(id)}`
    if (state === 'statement') return connection.kill(this.#tabletError('Aborted', message))
    connection.run('ROLLBACK').then(
      () => connection.release(),
      () => connection.discard(),
    )
  }

  #removeTransaction(transaction: Transaction, reason: string): void {
    clearTimeout(transaction.timer)
    if (!this.#open.delete(transaction.id)) return
    const at = new Date().toISOString().replace('T', ' ').replace('Z', ' UTC')
    this.#ended.set(transaction.id, `ended at ${at} (${reason})`)
    if (this.#ended.size <= MAX_ENDED) return
    for (const oldest of this.#ended.keys()) return void this.#ended.delete(oldest)
  }

  #tabletError(code: string, message: string): VitessError {
    return vttabletError(code, message, this.#backend.keyspace, this.#user)
  }

  #sign(vitessSession: VitessSession): SignedSession {
    return { signature: this.#signature(vitessSession), vitessSession }
  }

  #signature(vitessSession: unknown): string {
    return createHmac('sha256', this.#key)
      .update(JSON.stringify(vitessSession) ?? '')
      .digest('base64')
  }

  #verified(given: unknown): SignedSession {
    const { signature, vitessSession } = given as Partial<SignedSession>
    const expected = Buffer.from(this.#signature(vitessSession))
    const presented = Buffer.from(String(signature))
    if (expected.length !== presented.length || !timingSafeEqual(expected, presented)) {
      throw new VitessError('ABORTED', 'the session was not issued by this endpoint, or before it was restarted')
    }
    return given as SignedSession
  }
}
