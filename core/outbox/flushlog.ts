// The log lines of one flusher, rate limited so that an outage is visible and does not fill the disk.

import type { Clock } from '../ports/clock.ts'
import type { Log, LogFields } from '../ports/log.ts'
import { DatabaseError, type DatabaseErrorKind } from '../sql/client.ts'
import { EntryError } from './entry.ts'

const MINUTE_MS = 60_000
/** Maximum number of turns per minute that get a line of their own. */
const MAX_TURNS_PER_MINUTE = 20

type FailureKind = DatabaseErrorKind | 'newer-entry' | 'internal'

const ADVICE: Record<FailureKind, string> = {
  access: 'check user, password, database name and rights',
  refused: 'check the row that the error names',
  schema: 'run `firefly migrate`',
  unavailable: 'nothing is lost: the flush is retried',
  'newer-entry': 'nothing is dropped: the flush is retried',
  internal: 'nothing is dropped: the flush is retried',
}

export class FlushLog {
  readonly #clock: Clock
  readonly #log: Log
  readonly #owner: string
  /** Time of the last line of each kind of failure. */
  readonly #loggedAtMs = new Map<FailureKind, number>()
  #turnsLogged = 0
  #windowStartMs = 0

  constructor(clock: Clock, log: Log, owner: string) {
    this.#clock = clock
    this.#log = log
    this.#owner = owner
  }

  /** Logs a failed flush, at most once a minute for each kind of failure. */
  logFlushFailed(error: unknown, depth: number): void {
    const kind = failureKindOf(error)
    const now = this.#clock.mono()
    if (now - (this.#loggedAtMs.get(kind) ?? -Infinity) < MINUTE_MS) return
    this.#loggedAtMs.set(kind, now)
    const fields = { owner: this.#owner, error: String(error), waiting: depth, advice: ADVICE[kind] }
    if (kind === 'unavailable') this.#log.warn('the flush to MySQL failed', fields)
    else this.#log.error('the flush to MySQL failed', fields)
  }

  /** Called after a successful flush: the next failure is logged immediately. */
  flushSucceeded(): void {
    this.#loggedAtMs.clear()
  }

  /** Logs an error that MySQL keeps giving for some rows while it stores others. */
  logRefusal(error: DatabaseError): void {
    const fields = { owner: this.#owner, error: error.message, table: error.table, advice: ADVICE[error.kind] }
    this.#log.error('MySQL keeps refusing these rows: their turns are isolated', fields)
  }

  /** Logs a turn that MySQL will not have, or not yet. */
  logTurn(message: string, fields: LogFields): void {
    const now = this.#clock.mono()
    if (now - this.#windowStartMs >= MINUTE_MS || this.#turnsLogged === 0) {
      if (this.#turnsLogged > MAX_TURNS_PER_MINUTE)
        this.#log.error(`${this.#turnsLogged - MAX_TURNS_PER_MINUTE} more turns of this kind`, { owner: this.#owner })
      this.#turnsLogged = 0
      this.#windowStartMs = now
    }
    if (++this.#turnsLogged <= MAX_TURNS_PER_MINUTE) this.#log.error(message, { owner: this.#owner, ...fields })
  }
}

function failureKindOf(error: unknown): FailureKind {
  if (error instanceof DatabaseError) return error.kind
  return error instanceof EntryError ? 'newer-entry' : 'internal'
}
