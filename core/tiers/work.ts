// What an owner's flusher has to do next: the turns that wait in the outbox, then what a stale store had acknowledged,
// then the parked rows that MySQL may take by now. A refused batch is halved until one turn stands alone: a local one
// is parked beside the others, a critical one must be taken back. Invariant: nothing is forgotten before MySQL has it.

import type { TableDefinition } from '../game/table.ts'
import type { Clock, Log, Parked, Row, RowChange, RowKey } from '../run/ports.ts'
import type { Complaints } from './complaints.ts'
import { decodeEntry, type Entry } from './entry.ts'
import { gather, type Blocked, type Gathered } from './gather.ts'
import type { Outbox, OutboxEntry } from './local.ts'
import { Quarantine, type ParkedGroup } from './quarantine.ts'
import { confirm } from './takeover.ts'

export interface WorkOptions {
  readonly outbox: Outbox
  /** Every table of the game, by name. */
  readonly tables: ReadonlyMap<string, TableDefinition>
  readonly clock: Clock
  readonly log: Log
  /** A row as the Store has it; shard is `contract/key`. */
  readonly row: (shard: string, table: TableDefinition, key: RowKey) => Row | null
  /** Every row of the shard is in the Store. */
  readonly holds: (shard: string) => boolean
  /** Rows, and entries, of one transaction. */
  readonly maxBatch: number
  readonly maxBytes: number
}

/** One transaction, until its outcome is known. */
export interface Attempt {
  readonly hi: number
  readonly parts: Gathered['parts']
  readonly turns: number
  /** MySQL has it. */
  done(): void
  /** MySQL will not take it as it is. */
  refused(cause: Error): Blocked | null
}

const HEAL_MS = 60_000
/** When the moment was not right. */
const AGAIN_MS = 1_000
/** Beyond it MySQL and the game disagree altogether, and going on would only fill the memory. */
const MAX_QUARANTINE = 10_000
/** Lost turns in one transaction. */
const LOST = 100
const LOST_ERROR = 'lost: acknowledged by a store'

export class Work {
  parked = 0
  readonly #options: WorkOptions
  readonly #complaints: Complaints
  readonly #quarantine = new Quarantine()
  /** Entries of a batch: halved while one of them is refused. */
  #limit: number
  #poison: { readonly seq: number; readonly cause: Error } | null = null
  #lost: readonly OutboxEntry[] = []
  #lostAtMs = 0
  #healing: readonly ParkedGroup[] = []
  #healAtMs = 0

  constructor(options: WorkOptions, complaints: Complaints) {
    this.#options = options
    this.#complaints = complaints
    this.#limit = options.maxBatch
  }

  /** Until there is something to do beside the outbox; Infinity = there is not. */
  dueMs(now: number): number {
    if (this.#lost.length > 0) return Math.max(0, this.#lostAtMs - now)
    if (this.#healing.length > 0) return 0
    return this.#quarantine.size > 0 ? Math.max(0, this.#healAtMs - now) : Infinity
  }

  /** The parked turn whose rows MySQL does not have, null = none of these. */
  holder(rows: readonly Pick<RowChange, 'table' | 'key'>[]): number | null {
    return this.#quarantine.holder(rows)
  }

  /** What an earlier process left parked is kept apart here too, and tried again at once. */
  recall(parked: readonly Parked[]): void {
    const { tables, holds, log } = this.#options
    for (const { seq, shard, error, data } of parked) {
      if (error.startsWith(LOST_ERROR) || !holds(shard)) continue
      try {
        this.#quarantine.add(seq, shard, decodeEntry(data, tables).rows)
      } catch (cause) {
        log.warn('a parked turn cannot be read', { shard, seq, error: String(cause) })
      }
    }
    this.#healAtMs = this.#options.clock.mono()
  }

  /** The store was emptied; these turns were acknowledged, and an operator may want them. */
  reset(lost: readonly OutboxEntry[]): void {
    this.#lost = [...this.#lost, ...lost]
    this.#quarantine.clear()
    this.#healing = []
    this.#poison = null
  }

  /** @throws EntryError, or what the store says */
  async next(applied: number): Promise<Attempt | Blocked | null> {
    const { outbox, maxBytes } = this.#options
    const entries = outbox.read(applied, this.#limit, maxBytes)
    if (entries.length > 0) return this.#gathered(entries)
    const now = this.#options.clock.mono()
    if (this.#lost.length > 0) return now >= this.#lostAtMs ? this.#keepLost(applied) : null
    if (this.#healing.length === 0 && now >= this.#healAtMs) {
      this.#healing = this.#quarantine.groups()
      this.#healAtMs = now + HEAL_MS
    }
    this.#healing = this.#healing.filter((group) => this.#quarantine.isCurrent(group))
    return this.#healing.length > 0 ? this.#heal(applied) : null
  }

  #gathered(entries: readonly OutboxEntry[]): Attempt | Blocked {
    const { tables, maxBatch } = this.#options
    const quarantine = this.#quarantine
    if (quarantine.size > MAX_QUARANTINE)
      throw new Error(`MySQL refused ${quarantine.size} rows: until some of them are mended no more are sent`)
    const found = gather(entries, { tables, quarantine, maxRows: maxBatch, poison: this.#poison })
    if ('blocked' in found) return found
    const { parts, turns, parked } = found
    return {
      hi: turns.at(-1)!.seq,
      parts,
      turns: turns.length,
      done: () => {
        this.#limit = Math.min(maxBatch, 2 * this.#limit)
        this.#poison = null
        for (const one of parked) this.#park(one)
      },
      refused: (cause) => this.#refused(turns, cause),
    }
  }

  /** Halves the batch; a turn that is refused alone is the one. */
  #refused(turns: readonly OutboxEntry[], cause: Error): Blocked | null {
    const [first] = turns
    if (turns.length > 1) this.#limit = turns.length >> 1
    else if (first!.critical) return { blocked: first!, cause }
    else if (this.#poison?.seq !== first!.seq) this.#poison = { seq: first!.seq, cause }
    else throw new Error(`MySQL does not even park a turn: ${cause.message}`, { cause })
    return null
  }

  #park({ turn: { seq, shard, error }, entry }: { readonly turn: Parked; readonly entry: Entry }): void {
    if (this.#quarantine.size === 0) this.#healAtMs = this.#options.clock.mono() + HEAL_MS
    this.#quarantine.add(seq, shard, entry.rows)
    this.parked++
    const tables = [...new Set(entry.rows.map(({ table }) => table.name))].join(', ')
    this.#complaints.turn('MySQL refused a turn: it is parked in firefly_parked', {
      shard,
      seq,
      tables,
      error,
    })
  }

  /** Keeps a stale store's acknowledged turns in firefly_parked, under sequences of this store. */
  async #keepLost(applied: number): Promise<Attempt | null> {
    const { clock } = this.#options
    const lost = this.#lost.slice(0, LOST)
    this.#lostAtMs = clock.mono() + AGAIN_MS
    const hi = await this.#raise(applied, lost.length)
    if (hi === null) return null
    const error = `${LOST_ERROR} that MySQL had gone on without`
    const parked = lost.map(({ shard, data }, i) => ({ seq: hi - lost.length + 1 + i, shard, error, data }))
    const done = (): void => {
      this.#lost = this.#lost.slice(lost.length)
      this.#lostAtMs = 0
    }
    return {
      hi,
      parts: { ...NOTHING, parked },
      turns: 0,
      done,
      refused: (cause) => {
        this.#complaints.turn('lost turns could not be parked', { turns: lost.length, error: cause.message })
        done()
        return null
      },
    }
  }

  /** Writes the rows of parked turns that hang together as the Store has them now. */
  async #heal(applied: number): Promise<Attempt | null> {
    const [group, ...others] = this.#healing
    const hi = await this.#raise(applied, 1)
    if (!group || hi === null) {
      this.#healing = []
      return null
    }
    const rows: RowChange[] = []
    const inserts: RowChange[] = []
    const { shard, seqs } = group
    const owner = shard.slice(shard.indexOf('/') + 1)
    for (const { table, key } of group.rows.values()) {
      const row = this.#options.row(shard, table, key)
      rows.push({ table, op: 'delete', key, values: { [table.shardKey.name]: owner } })
      if (row) inserts.push({ table, op: 'insert', key, values: row })
    }
    return {
      hi,
      parts: { ...NOTHING, rows: [...rows, ...inserts], healed: seqs },
      turns: 0,
      done: () => {
        this.#healing = others
        this.#quarantine.release(group)
        this.#options.log.info('MySQL has the rows of a parked turn now', { shard, seq: seqs[0] })
      },
      refused: () => {
        this.#healing = others
        return null
      },
    }
  }

  /** The last of `count` sequences of ours, above which and below which no turn waits; null = one does. */
  async #raise(applied: number, count: number): Promise<number | null> {
    const { outbox } = this.#options
    const hi = Math.max(applied, outbox.seq) + count
    confirm(await outbox.raise(hi))
    // Every commit before it is durable now, and may have taken some of the sequences; those after it are above.
    return outbox.seq === hi && outbox.read(applied, 1, 1).length === 0 ? hi : null
  }
}

const NOTHING: Gathered['parts'] = {
  rows: [],
  channels: [],
  casts: [],
  parked: [],
}
