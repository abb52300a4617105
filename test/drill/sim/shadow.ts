// MySQL as the drill sees it: every batch in the moment in which it is committed, against the fence that should have
// kept it out, and the ledger that grows from it.

import type { Batch } from '../../../core/ports/database.ts'
import type { RowChange, RowKey } from '../../../core/ports/store.ts'
import { keyString } from '../../../core/testing/memory.ts'
import type { MemoryDatabase } from '../../../core/testing/localstore.ts'
import type { Books } from './books.ts'
import type { Process } from './process.ts'

interface Sent {
  readonly process: Process
  readonly epoch: number
  readonly lo: number
}

/** A line of a ledger that MySQL has. */
interface Line {
  readonly player: string
  readonly cause: string
  readonly gold: number
}

export class Shadow {
  readonly #database: MemoryDatabase
  readonly #books: Books
  /** By the rows of the batch, which travel with it as they are. */
  readonly #sent = new WeakMap<readonly RowChange[], Sent>()
  readonly #lines = new Map<string, Line>()
  readonly #keys = new Map<string, string>()
  readonly #applied = new Map<string, number>()

  constructor(database: MemoryDatabase, books: Books) {
    this.#database = database
    this.#books = books
  }

  sent({ rows, epoch, firstSeq: lo }: Batch, process: Process): void {
    this.#sent.set(rows, { process, epoch, lo })
  }

  /** The purse after this line of the ledger, null = MySQL does not have it. */
  goldOf(player: string, cause: string): number | null {
    const key = this.#keys.get(`${player} ${cause}`)
    return key === undefined ? null : this.#lines.get(key)!.gold
  }

  /** MySQL commits a batch. Returns who has sent it. */
  applied({ owner, rows, lastSeq: hi }: Batch): Process | null {
    const sent = this.#sent.get(rows) ?? null
    const lease = this.#database.leases.get(owner)!
    if (sent) {
      const before = this.#applied.get(owner) ?? 0
      const what = `batch ${sent.lo}..${hi} of ${sent.process.life.name}, epoch ${sent.epoch}, for ${owner}`
      if (sent.epoch !== lease.epoch)
        this.#books.break('zombie', `${what}: applied though the epoch is ${lease.epoch}`)
      if (sent.lo <= before)
        this.#books.break('zombie', `${what}: applied though ${before} was applied before`)
    }
    this.#applied.set(owner, hi)
    for (const change of rows) if (change.table.name === 'ledger') this.#write(change)
    return sent?.process ?? null
  }

  #write({ op, key, values }: RowChange): void {
    const name = keyString(key)
    const before = this.#lines.get(name)
    if (op === 'delete') {
      if (before) this.#keys.delete(`${before.player} ${before.cause}`)
      this.#lines.delete(name)
      return
    }
    const line = { ...before, ...values, player: playerOf(key) } as unknown as Line
    const cause = `${line.player} ${line.cause}`
    const twin = this.#keys.get(cause)
    if (twin !== undefined && twin !== name)
      this.#books.break('doubled', `${line.cause} of ${line.player} stands in MySQL twice`)
    this.#keys.set(cause, name)
    this.#lines.set(name, line)
  }
}

function playerOf(key: RowKey): string {
  return String(key[0])
}
