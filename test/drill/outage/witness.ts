// Looks from outside, through a client of its own, whether MySQL has what was acknowledged.

import { mysqlClient } from '../../../core/node/mysqlpool.ts'
import { DatabaseError, type SqlClient } from '../../../core/sql/client.ts'
import type { Ack } from './crowd.ts'

const CONNECTIONS = 2
/** MySQL may be away; what is not known soon after the answer says nothing of the moment of the answer. */
const ASK_MS = 1_000
/** Questions under way; a player's answer is not looked at while so many are. */
const MAX_ASKING = 8
const PAGE = 10_000

export class Witness {
  /** Answers that MySQL did not have when they were heard. */
  readonly false: Ack[] = []
  /** Answers that were looked up. */
  checked = 0
  /** MySQL did not say. */
  unknown = 0
  readonly #client: SqlClient
  /** For questions that can wait. */
  readonly #patient: SqlClient
  #asking = 0

  constructor(url: string) {
    this.#patient = mysqlClient({ url, poolSize: 1 })
    this.#client = mysqlClient({
      url,
      poolSize: CONNECTIONS,
      connectTimeoutMs: ASK_MS,
      statementTimeoutMs: ASK_MS,
    })
  }

  /** One of many: whether MySQL has it now. */
  look(ack: Ack): void {
    if (this.#asking >= MAX_ASKING) return
    this.#asking++
    void this.#has(ack)
      .then(
        (has) => {
          this.checked++
          if (!has) this.false.push(ack)
        },
        (error: unknown) => {
          if (!(error instanceof DatabaseError && error.kind === 'unavailable')) throw error
          this.unknown++
        },
      )
      .finally(() => this.#asking--)
  }

  async #has({ player, id }: Ack): Promise<boolean> {
    const sql = 'SELECT COUNT(*) FROM ledger WHERE player = ? AND cause = ?'
    const { rows } = await this.#client.query({ sql, params: [player, `own:${id}`] })
    return Number(rows[0]?.[0]) === 1
  }

  /** Gold that is on its way between two purses. */
  async pending(): Promise<number> {
    const { rows } = await this.#patient.query({ sql: 'SELECT SUM(pending) FROM purse', params: [] })
    return Number(rows[0]?.[0])
  }

  /** Those that MySQL does not have. */
  async missing(acks: readonly Ack[]): Promise<readonly Ack[]> {
    const sql = 'SELECT player, n, cause FROM ledger WHERE (player, n) > (?, ?) ORDER BY player, n LIMIT ?'
    const there = new Set<string>()
    for (let after: readonly [string, number] = ['', 0]; ;) {
      const { rows } = await this.#patient.query({ sql, params: [...after, PAGE] })
      for (const [player, , cause] of rows) there.add(`${String(player)} ${String(cause)}`)
      const last = rows.at(-1)
      if (!last || rows.length < PAGE) break
      after = [String(last[0]), Number(last[1])]
    }
    return acks.filter(({ player, id }) => !there.has(`${player} own:${id}`))
  }

  async close(): Promise<void> {
    await Promise.all([this.#client.close(), this.#patient.close()])
  }
}
