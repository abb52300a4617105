// What a flusher has to say of MySQL, often enough to be seen and seldom enough not to fill the disk.

import type { Clock } from '../ports/clock.ts'
import type { Log, LogFields } from '../ports/log.ts'
import { DatabaseError, type DatabaseErrorKind } from '../sql/client.ts'
import { EntryError } from './entry.ts'

const MINUTE_MS = 60_000
/** Turns of which each has its own line, in a minute. */
const MAX_TURNS_PER_MINUTE = 20

const ADVICE: Record<DatabaseErrorKind, string> = {
  access: 'check user, password, database name and rights',
  refused: 'look at the row that the error names',
  schema: 'run `firefly migrate`',
  unavailable: 'nothing is lost: it is tried again',
}

export class FlushLog {
  readonly #clock: Clock
  readonly #log: Log
  readonly #owner: string
  /** When each kind of trouble was told last. */
  readonly #loggedAtMs = new Map<string, number>()
  #turnsLogged = 0
  #windowStartMs = 0

  constructor(clock: Clock, log: Log, owner: string) {
    this.#clock = clock
    this.#log = log
    this.#owner = owner
  }

  /** Nothing goes into MySQL at present; told once a minute for each kind of reason. */
  logFlushFailed(error: unknown, depth: number): void {
    const kind = error instanceof DatabaseError ? error.kind : error instanceof EntryError ? 'version' : 'bug'
    const now = this.#clock.mono()
    if (now - (this.#loggedAtMs.get(kind) ?? -Infinity) < MINUTE_MS) return
    this.#loggedAtMs.set(kind, now)
    const advice =
      error instanceof DatabaseError ? ADVICE[error.kind] : 'nothing is dropped: it is tried again'
    const fields = { owner: this.#owner, error: String(error), waiting: depth, advice }
    if (kind === 'unavailable') this.#log.warn('MySQL takes nothing at present', fields)
    else this.#log.error('MySQL takes nothing at present', fields)
  }

  /** It goes on: the next trouble is told at once. */
  flushSucceeded(): void {
    this.#loggedAtMs.clear()
  }

  /** One turn will not be in MySQL. */
  logTurn(message: string, fields: LogFields): void {
    const now = this.#clock.mono()
    if (now - this.#windowStartMs >= MINUTE_MS || this.#turnsLogged === 0) {
      if (this.#turnsLogged > MAX_TURNS_PER_MINUTE)
        this.#log.error(`${this.#turnsLogged - MAX_TURNS_PER_MINUTE} more turns like these`, {
          owner: this.#owner,
        })
      this.#turnsLogged = 0
      this.#windowStartMs = now
    }
    if (++this.#turnsLogged <= MAX_TURNS_PER_MINUTE)
      this.#log.error(message, { owner: this.#owner, ...fields })
  }
}
