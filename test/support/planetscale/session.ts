// Sessions of the endpoint. As with Vitess, a session is a signed token that goes back and forth and holds nothing
// here until BEGIN; from there to its end, or to the time limit, it owns one MySQL connection.
// Invariant: at the end of a transaction its connection is either clean or gone.

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
  readonly link: BackendConnection
  readonly timer: NodeJS.Timeout
  /** What it runs; a COMMIT is not interrupted. */
  busy: 'no' | 'statement' | 'end'
}

/** How many ended transactions are remembered, to say why they ended. */
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
    const started = performance.now()
    const bare = bareSql(sql)
    let session: SignedSession | null = null
    const respond = (rest: Pick<ExecuteResponse, 'result' | 'error'>): ExecuteResponse => {
      return { session, ...rest, timing: (performance.now() - started) / 1_000 }
    }
    try {
      session =
        lastSession === null || lastSession === undefined ? this.create() : this.#verified(lastSession)
      const refusal = vitessErrorOf(bare)
      if (refusal !== null) throw new VitessError('UNKNOWN', refusal)
      const { transactionId } = session.vitessSession
      if (transactionId !== undefined) {
        if (COMMIT.test(bare) || ROLLBACK.test(bare)) {
          // Whatever it answers, the session goes on without the transaction.
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
      const known =
        error instanceof VitessError ? error : mysqlError(error as Error, keyspace, this.#user, bare)
      return respond({ error: { code: known.code, message: known.message } })
    }
  }

  close(): void {
    for (const { timer } of this.#open.values()) clearTimeout(timer)
    this.#open.clear()
  }

  async #runAutocommit(sql: string): Promise<VitessResult> {
    const link = await this.#backend.acquire()
    return link.run(sql).finally(() => link.release())
  }

  async #begin(sql: string): Promise<string> {
    const { transactions, transactionMs } = this.#limits
    if (this.#open.size + this.#openingCount >= transactions) {
      const full = 'transaction pool connection limit exceeded (errno 1203) (sqlstate HY000)'
      throw this.#tabletError('ResourceExhausted', full)
    }
    this.#openingCount++
    try {
      const link = await this.#backend.acquire()
      const id = `${Date.now()}${String(++this.#lastNumber).padStart(6, '0')}`
      await link.run(sql).catch((error: unknown) => {
        link.discard()
        throw error
      })
      const timer = setTimeout(() => this.#expire(id), transactionMs)
      this.#open.set(id, { id, link, timer, busy: 'no' })
      return id
    } finally {
      this.#openingCount--
    }
  }

  async #runInTransaction(id: string, sql: string): Promise<VitessResult> {
    const transaction = this.#claim(id, 'statement')
    try {
      return await transaction.link.run(sql)
    } catch (error) {
      if (transaction.link.isClosed) this.#removeTransaction(transaction, 'connection closed')
      throw error
    } finally {
      transaction.busy = 'no'
    }
  }

  async #endTransaction(id: string, how: 'COMMIT' | 'ROLLBACK'): Promise<void> {
    const transaction = this.#claim(id, 'end')
    try {
      await transaction.link.run(how)
      transaction.link.release()
    } catch (error) {
      transaction.link.discard()
      throw error
    } finally {
      this.#removeTransaction(
        transaction,
        how === 'COMMIT' ? 'transaction committed' : 'transaction rolled back',
      )
    }
  }

  #claim(id: string, why: 'statement' | 'end'): Transaction {
    const transaction = this.#open.get(id)
    if (!transaction) {
      const ended = this.#ended.get(id)
      throw this.#tabletError('Aborted', `transaction ${id}: ${ended ?? 'not found'}`)
    }
    if (transaction.busy !== 'no') throw this.#tabletError('Aborted', `transaction ${id}: in use: for query`)
    transaction.busy = why
    return transaction
  }

  #expire(id: string): void {
    const transaction = this.#open.get(id)
    if (!transaction || transaction.busy === 'end') return
    const { link, busy } = transaction
    this.#removeTransaction(transaction, `exceeded timeout: ${this.#limits.transactionMs / 1_000}s`)
    const ended = `transaction ${id}: ${this.#ended.get(id)}`
    if (busy === 'statement') return link.kill(this.#tabletError('Aborted', ended))
    link.run('ROLLBACK').then(
      () => link.release(),
      () => link.discard(),
    )
  }

  #removeTransaction(transaction: Transaction, why: string): void {
    clearTimeout(transaction.timer)
    if (!this.#open.delete(transaction.id)) return
    const at = new Date().toISOString().replace('T', ' ').replace('Z', ' UTC')
    this.#ended.set(transaction.id, `ended at ${at} (${why})`)
    if (this.#ended.size <= MAX_ENDED) return
    for (const oldest of this.#ended.keys()) return void this.#ended.delete(oldest)
  }

  #tabletError(code: string, what: string): VitessError {
    return vttabletError(code, what, this.#backend.keyspace, this.#user)
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
    const mine = Buffer.from(this.#signature(vitessSession))
    const theirs = Buffer.from(String(signature))
    if (mine.length !== theirs.length || !timingSafeEqual(mine, theirs)) {
      throw new VitessError(
        'ABORTED',
        'the session was not issued by this endpoint, or before it was restarted',
      )
    }
    return given as SignedSession
  }
}
