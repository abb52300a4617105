// Checks every batch when MySQL commits it: the fence must admit it, and no cause is stored twice in a ledger. Invariant: it
// holds the ledger that MySQL has at this moment.

import type { Batch } from '../../../core/ports/database.ts'
import type { RowChange } from '../../../core/ports/store.ts'
import type { MemoryDatabase } from '../../../core/testing/database.ts'
import { keyString } from '../../../core/testing/memory.ts'
import type { RequestLog } from '../market/requestlog.ts'
import type { ProcessLifetime } from './lifetime.ts'

interface SentBatch {
  readonly sender: ProcessLifetime
  readonly epoch: number
  readonly firstSeq: number
}

interface MysqlLedgerEntry {
  readonly player: string
  readonly cause: string
  readonly gold: number
}

export class MysqlCheck {
  readonly #database: MemoryDatabase
  readonly #log: RequestLog
  /** By the batch's rows, whose array the database passes on unchanged. */
  readonly #sent = new WeakMap<readonly RowChange[], SentBatch>()
  /** By primary key. */
  readonly #entries = new Map<string, MysqlLedgerEntry>()
  /** Primary keys by player and cause. */
  readonly #keys = new Map<string, string>()
  /** By owner: the last applied sequence. */
  readonly #appliedSeq = new Map<string, number>()

  constructor(database: MemoryDatabase, log: RequestLog) {
    this.#database = database
    this.#log = log
  }

  batchSent({ rows, epoch, firstSeq }: Batch, sender: ProcessLifetime): void {
    this.#sent.set(rows, { sender, epoch, firstSeq })
  }

  /** The gold after this entry of the ledger; null = MySQL does not have it. */
  goldOf(player: string, cause: string): number | null {
    const key = this.#keys.get(`${player} ${cause}`)
    return key === undefined ? null : this.#entries.get(key)!.gold
  }

  /** MySQL commits a batch. Returns its sender. */
  batchApplied({ owner, rows, lastSeq }: Batch): ProcessLifetime | null {
    const sent = this.#sent.get(rows) ?? null
    const { epoch } = this.#database.leases.get(owner)!
    if (sent) {
      const before = this.#appliedSeq.get(owner) ?? 0
      const what = `batch ${sent.firstSeq}..${lastSeq} of ${sent.sender.name}, epoch ${sent.epoch}, for ${owner}`
      if (sent.epoch !== epoch) this.#log.violations.add('zombie', `${what}: applied though the epoch is ${epoch}`)
      if (sent.firstSeq <= before)
        this.#log.violations.add('zombie', `${what}: applied though ${before} was applied before`)
    }
    this.#appliedSeq.set(owner, lastSeq)
    for (const change of rows) if (change.table.name === 'ledger') this.#write(change)
    return sent?.sender ?? null
  }

  #write({ op, key, values }: RowChange): void {
    const name = keyString(key)
    const before = this.#entries.get(name)
    if (op === 'delete') {
      if (before) this.#keys.delete(`${before.player} ${before.cause}`)
      this.#entries.delete(name)
      return
    }
    const player = String(key[0])
    const cause = before && values['cause'] === undefined ? before.cause : String(values['cause'])
    const other = this.#keys.get(`${player} ${cause}`)
    if (other !== undefined && other !== name)
      this.#log.violations.add('doubled', `${cause} of ${player} is stored twice in MySQL`)
    this.#keys.set(`${player} ${cause}`, name)
    this.#entries.set(name, { player, cause, gold: Number(values['gold'] ?? before?.gold) })
  }
}
