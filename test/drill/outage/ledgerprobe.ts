// Queries MySQL from outside for acknowledged transactions, at the moment of their answer. Invariant: a query that
// MySQL does not answer in time counts neither as stored nor as missing.

import { mysqlClient } from '../../../core/node/mysqlpool.ts'
import { DatabaseError, type SqlClient } from '../../../core/sql/client.ts'
import type { Transaction } from '../market/requestlog.ts'

const CONNECTIONS = 2
/** A later result says nothing about the moment of the answer. */
const QUERY_MS = 1_000
/** Queries in progress; further answers are not checked meanwhile. */
const MAX_QUERIES = 8

export class LedgerProbe {
  /** Transactions that MySQL did not have when their answer arrived. */
  readonly missingAtAnswer: Transaction[] = []
  /** Transactions that were checked. */
  checked = 0
  readonly #client: SqlClient
  #queries = 0

  constructor(url: string) {
    this.#client = mysqlClient({ url, poolSize: CONNECTIONS, connectTimeoutMs: QUERY_MS, statementTimeoutMs: QUERY_MS })
  }

  /** Checks in the background, unless too many queries are in progress. */
  check(of: Transaction): void {
    if (this.#queries >= MAX_QUERIES) return
    this.#queries++
    void this.#isStored(of)
      .then(
        (isStored) => {
          this.checked++
          if (!isStored) this.missingAtAnswer.push(of)
        },
        (error: unknown) => {
          if (!(error instanceof DatabaseError && error.kind === 'unavailable')) throw error
        },
      )
      .finally(() => this.#queries--)
  }

  close(): Promise<void> {
    return this.#client.close()
  }

  async #isStored({ player, id }: Transaction): Promise<boolean> {
    const sql = 'SELECT COUNT(*) FROM ledger WHERE player = ? AND cause = ?'
    const { rows } = await this.#client.query({ sql, params: [player, `own:${id}`] })
    return Number(rows[0]?.[0]) === 1
  }
}
