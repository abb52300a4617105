// Finds out what MySQL keeps refusing although no list has the error: it fails the same transaction again and again,
// and still stores other data. Invariant: an error counts as a refusal only after several attempts in a row and a
// successful probe, so that an outage, however it looks, refuses nothing.

import type { TableDefinition } from '../game/table.ts'
import type { Clock } from '../ports/clock.ts'
import type { Database } from '../ports/database.ts'
import { DatabaseError } from '../sql/client.ts'
import type { FlushLog } from './flushlog.ts'

export interface RefusalTrackerOptions {
  readonly owner: string
  readonly database: Pick<Database, 'probe'>
  /** Every table of the game, by name. */
  readonly tables: ReadonlyMap<string, TableDefinition>
  readonly clock: Clock
}

interface RefusedTable {
  readonly cause: DatabaseError
  /** From then on a turn with rows of the table is sent again. */
  readonly retryAtMs: number
}
interface ConfirmedError {
  readonly untilMs: number
  readonly table: string
  readonly isTableWide: boolean
}

/** Failed attempts in a row, and the time since the first, after which an error is a suspect. */
const MIN_ATTEMPTS = 3
const MIN_MS = 1_000
/** A deadlock disappears by itself, except under a constant conflict; a lost connection may be one of the network. */
const MIN_ATTEMPTS_BY_ERRNO: Readonly<Record<number, number>> = { 0: 5, 1213: 10 }
/** Errors that say little about the next attempt are confirmed only for the time in which their turn is isolated. */
const CONFIRMED_MS = 600_000
const CONFIRMED_TRANSIENT_MS = 10_000
/** 1205 lock wait, 1317 interrupted, 1969 and 3024 too slow: another program locks the table, or its rows. */
const LOCK_ERRORS = new Set([1205, 1317, 1969, 3024])
const RETRY_TABLE_MS = 60_000
const RETRY_LOCKED_TABLE_MS = 30_000

export class RefusalTracker {
  readonly #options: RefusalTrackerOptions
  readonly #flushLog: FlushLog
  #attempts = 0
  #firstFailureMs = 0
  readonly #confirmedErrors = new Map<string, ConfirmedError>()
  readonly #tables = new Map<string, RefusedTable>()

  constructor(options: RefusalTrackerOptions, flushLog: FlushLog) {
    this.#options = options
    this.#flushLog = flushLog
  }

  /** Number of tables whose turns are not sent to MySQL at present. */
  get tableCount(): number {
    return this.#tables.size
  }

  /** Called with the error of a failed transaction. False = it must be sent again: all of MySQL may have failed. */
  async isRefusal(error: DatabaseError): Promise<boolean> {
    if (error.kind === 'refused') return true
    // Statement 0 is the fence. A COMMIT without an answer has an unknown outcome.
    if (error.statement < 1 || (error.table === '' && error.errno === 0)) return false
    const { clock, database, owner } = this.#options
    const now = clock.mono()
    if ((this.#confirmedErrors.get(nameOf(error))?.untilMs ?? 0) > now) {
      this.#refuseTable(error)
      return true
    }
    if (this.#attempts++ === 0) this.#firstFailureMs = now
    const minAttempts = isTransient(error) ? MIN_ATTEMPTS_BY_ERRNO[error.errno]! : MIN_ATTEMPTS
    if (this.#attempts < minAttempts || now - this.#firstFailureMs < MIN_MS) return false
    try {
      await database.probe(owner)
    } catch {
      return false
    }
    this.#confirm(error)
    return true
  }

  #confirm(error: DatabaseError): void {
    this.#attempts = 0
    const untilMs = this.#options.clock.mono() + (isTransient(error) ? CONFIRMED_TRANSIENT_MS : CONFIRMED_MS)
    this.#confirmedErrors.set(nameOf(error), { untilMs, table: error.table, isTableWide: isTableWide(error) })
    this.#refuseTable(error)
    this.#flushLog.logRefusal(error)
  }

  /** Called when MySQL has a transaction with rows of these tables. */
  applied(tables: Iterable<string>): void {
    this.#attempts = 0
    if (this.#confirmedErrors.size === 0) return
    const written = new Set(tables)
    for (const name of written) this.#tables.delete(name)
    for (const [name, { table, isTableWide }] of this.#confirmedErrors)
      if (isTableWide && written.has(table)) this.#confirmedErrors.delete(name)
  }

  /** Why a turn with rows of these tables must not be sent now; null = it may be sent. */
  causeOf(changes: Iterable<{ readonly table: TableDefinition }>): DatabaseError | null {
    if (this.#tables.size === 0) return null
    const now = this.#options.clock.mono()
    for (const { table } of changes) {
      const refused = this.#tables.get(table.name)
      if (refused === undefined) continue
      if (now < refused.retryAtMs) return refused.cause
      this.#tables.delete(table.name)
    }
    return null
  }

  #refuseTable(error: DatabaseError): void {
    const { tables, clock } = this.#options
    if (!isTableWide(error) || !tables.has(error.table)) return
    const retryMs = isLock(error) ? RETRY_LOCKED_TABLE_MS : RETRY_TABLE_MS
    this.#tables.set(error.table, { cause: error, retryAtMs: clock.mono() + retryMs })
  }
}

function nameOf({ table, errno }: DatabaseError): string {
  return `${table} ${errno}`
}

function isTransient({ errno, isTimeout }: DatabaseError): boolean {
  return errno in MIN_ATTEMPTS_BY_ERRNO && !isTimeout
}

/** The reason is in the table, so that every turn with rows of it would be refused. */
function isTableWide(error: DatabaseError): boolean {
  return error.kind === 'schema' || error.kind === 'access' || isLock(error)
}

function isLock({ errno, isTimeout }: DatabaseError): boolean {
  return isTimeout || LOCK_ERRORS.has(errno)
}
