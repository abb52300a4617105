// MySQL in memory, as strict as the real one where it matters: the fence, plain inserts, updates that must find their
// row, unique values, values that their column refuses. What may go wrong on the way to it is ordered by a test or
// drawn from a given random function; all promises resolve through the given clock, so a seed reproduces a run.

import type { ColumnDefinition, TableDefinition } from '../game/table.ts'
import { keyText } from '../run/memory.ts'
import type {
  Batch,
  Clock,
  Database,
  Lease,
  Parked,
  Remains,
  Row,
  RowChange,
  RowKey,
  StoredCast,
  StoredChannel,
} from '../run/ports.ts'
import { compareKeys } from '../run/rowkey.ts'
import { shorten } from '../wire/errors.ts'
import { BAD } from '../wire/schema.ts'
import { DatabaseError } from './client.ts'

/**
 * What happens to one request: it never arrives; it is done and its answer is lost; its sender gives up and it is done
 * later, when `release` or chance says; MySQL refuses it for its data.
 */
export type Fault = 'unavailable' | 'lost' | 'held' | 'refused'
type Verb = Exclude<keyof Database, 'close'>

/** Chances of each request, 0 to 1, and bounds of time. */
export interface Chaos {
  readonly random: () => number
  readonly unavailable: number
  readonly lost: number
  /** Done up to `lateMs` after its sender gave up; only batches. */
  readonly late: number
  readonly lateMs: number
  readonly slowMs: number
}

interface Stored {
  readonly key: RowKey
  readonly row: Row
}

export class MemoryDatabase implements Database {
  readonly leases = new Map<string, Lease>()
  readonly channels = new Map<string, StoredChannel & { readonly shard: string; readonly id: string }>()
  readonly casts = new Map<string, { readonly shard: string; readonly cast: StoredCast }>()
  /** firefly_parked */
  readonly park: (Parked & { readonly owner: string })[] = []
  /** Requests that arrived, by verb. */
  readonly asked = new Map<Verb, number>()
  /** Batches whose sender has given up and that were not released. */
  readonly held: (() => 'applied' | 'fenced')[] = []
  /** Nothing arrives. */
  away = false
  chaos: Chaos | null = null
  /** Why MySQL refuses a change, null = it does not. */
  refuses: ((change: RowChange) => string | null) | null = null
  /** Told of each batch in the moment in which it is committed. */
  onApply: (batch: Batch) => void = () => {}
  /** Of an answered request, there and back. */
  latencyMs = 2
  /** After which a sender gives up. */
  timeoutMs = 50
  readonly #clock: Clock
  readonly #tables = new Map<string, Map<string, Stored>>()
  readonly #faults = new Map<Verb, Fault[]>()
  readonly #ids = new Map<string, bigint>()

  constructor(clock: Clock, tables: readonly TableDefinition[]) {
    this.#clock = clock
    for (const { name } of tables) this.#tables.set(name, new Map())
  }

  /** What the next requests of this kind meet. */
  fault(verb: Verb, ...faults: Fault[]): void {
    this.#faults.set(verb, [...(this.#faults.get(verb) ?? []), ...faults])
  }

  /** Rows of a table, of all shards, in the order of their keys. */
  rows(table: TableDefinition): Row[] {
    return [...this.#of(table).values()].sort((a, b) => compareKeys(a.key, b.key)).map(({ row }) => row)
  }

  /** What another program does. */
  put(table: TableDefinition, row: Row): void {
    const key = table.key.map(({ name }) => row[name])
    this.#of(table).set(keyText(key), { key, row: Object.freeze({ ...row }) })
  }

  remove(table: TableDefinition, key: RowKey): void {
    this.#of(table).delete(keyText(key))
  }

  takeover(owner: string, storeId: string): Promise<Lease> {
    return this.#ask('takeover', () => {
      const before = this.leases.get(owner) ?? { epoch: 0, appliedSeq: 0, storeId: '' }
      const epoch = before.epoch + 1
      this.leases.set(owner, { ...before, epoch, storeId })
      return { ...before, epoch }
    })
  }

  lease(owner: string): Promise<Lease | null> {
    return this.#ask('lease', () => this.leases.get(owner) ?? null)
  }

  apply(batch: Batch): Promise<'applied' | 'fenced'> {
    return this.#ask('apply', () => this.#apply(batch))
  }

  load(
    table: TableDefinition,
    shardKey: string,
    after: RowKey | null,
    limit: number,
  ): Promise<readonly Row[]> {
    return this.#ask('load', () => {
      const rows = this.rows(table).filter((row) => {
        const key = table.key.map(({ name }) => row[name])
        return row[table.shardKey.name] === shardKey && (after === null || compareKeys(key, after) > 0)
      })
      return rows.slice(0, limit).map((row) => {
        for (const column of table.columns) check(table, column, row[column.name], 'holds')
        return row
      })
    })
  }

  row(table: TableDefinition, key: RowKey): Promise<Row | null> {
    return this.#ask('row', () => this.#of(table).get(keyText(key))?.row ?? null)
  }

  remains(shard: string): Promise<Remains> {
    return this.#ask('remains', () => ({
      channels: [...this.channels.values()].filter((one) => one.shard === shard),
      casts: [...this.casts.values()].filter((one) => one.shard === shard).map(({ cast }) => cast),
    }))
  }

  parked(owner: string): Promise<readonly Parked[]> {
    return this.#ask('parked', () => this.park.filter((one) => one.owner === owner))
  }

  nextId(table: TableDefinition, _values: Row): Promise<bigint> {
    return this.#ask('nextId', () => {
      const id = (this.#ids.get(table.name) ?? 0n) + 1n
      this.#ids.set(table.name, id)
      return id
    })
  }

  close(): Promise<void> {
    this.away = true
    return Promise.resolve()
  }

  /** Does what was held, as a packet that was under way for long. */
  release(): ('applied' | 'fenced')[] {
    return this.held.splice(0).map((work) => work())
  }

  #ask<T>(verb: Verb, work: () => T): Promise<T> {
    const { chaos, latencyMs, timeoutMs } = this
    const fate = this.#faults.get(verb)?.shift() ?? (chaos ? drawn(chaos, verb) : null)
    const halfMs = (latencyMs + (chaos ? chaos.random() * chaos.slowMs : 0)) / 2
    return new Promise((resolve, reject) => {
      const gone = (): void => reject(new DatabaseError('unavailable', `${verb}: no answer`))
      const after = (ms: number, run: () => void): void => void this.#clock.after(ms, run)
      after(halfMs, () => {
        if (this.away || fate === 'unavailable') return after(timeoutMs, gone)
        this.asked.set(verb, (this.asked.get(verb) ?? 0) + 1)
        if (fate === 'held' || fate === 'late') {
          const late = (): 'applied' | 'fenced' => quietly(work as () => 'applied' | 'fenced')
          if (fate === 'held') this.held.push(late)
          else after(chaos!.random() * chaos!.lateMs, late)
          return after(timeoutMs, gone)
        }
        let answer: () => void
        try {
          if (fate === 'refused') throw new DatabaseError('refused', `${verb}: refused by the test`)
          const result = work()
          answer = () => resolve(result)
        } catch (error) {
          answer = () => reject(error)
        }
        after(fate === 'lost' ? timeoutMs : halfMs, fate === 'lost' ? gone : answer)
      })
    })
  }

  #apply(batch: Batch): 'applied' | 'fenced' {
    const { owner, epoch, lo, hi } = batch
    const lease = this.leases.get(owner)
    if (!lease || lease.epoch !== epoch || lease.appliedSeq >= lo) return 'fenced'
    const undo: (() => void)[] = []
    try {
      for (const change of batch.rows) this.#write(change, undo)
    } catch (error) {
      for (const back of undo.toReversed()) back()
      throw error
    }
    for (const channel of batch.channels) this.channels.set(`${channel.shard} ${channel.id}`, channel)
    for (const { shard, sequence, cast } of batch.casts) {
      if (cast) this.casts.set(`${shard} ${sequence}`, { shard, cast })
      else this.casts.delete(`${shard} ${sequence}`)
    }
    for (const parked of batch.parked) this.park.push({ owner, ...parked })
    for (const seq of batch.healed ?? []) {
      const at = this.park.findIndex((one) => one.owner === owner && one.seq === seq)
      if (at >= 0) this.park.splice(at, 1)
    }
    this.leases.set(owner, { ...lease, appliedSeq: hi })
    this.onApply(batch)
    return 'applied'
  }

  #write(change: RowChange, undo: (() => void)[]): void {
    const { table, op, key, values } = change
    const rows = this.#of(table)
    const name = keyText(key)
    const before = rows.get(name)
    const refused = this.refuses?.(change) ?? null
    if (refused !== null)
      throw new DatabaseError('refused', `table ${table.name}: ${refused}`, { errno: 1644 })
    undo.push(() => (before ? rows.set(name, before) : rows.delete(name)))
    if (op === 'delete') {
      const isMeant = Object.entries(values).every(([column, value]) => before?.row[column] === value)
      if (isMeant) rows.delete(name)
      return
    }
    if (op === 'insert' && before)
      throw new DatabaseError('refused', `table ${table.name}: duplicate key ${name}`, { errno: 1062 })
    if (op === 'update' && !before)
      throw new DatabaseError('refused', `table ${table.name}: 1 of 1 rows to update are not in MySQL`)
    for (const [column, value] of Object.entries(values)) {
      const definition = table.column.get(column)
      if (!definition) throw new DatabaseError('schema', `table ${table.name}: unknown column ${column}`)
      check(table, definition, value, 'is given')
    }
    const row = Object.freeze({ ...before?.row, ...values })
    for (const { name: unique } of table.unique) {
      const twin = [...rows].find(([other, { row: it }]) => other !== name && it[unique] === row[unique])
      if (twin && row[unique] !== null)
        throw new DatabaseError('refused', `table ${table.name}: duplicate ${unique}`, { errno: 1062 })
    }
    rows.set(name, { key, row })
  }

  #of({ name }: TableDefinition): Map<string, Stored> {
    const table = this.#tables.get(name)
    if (!table) throw new DatabaseError('schema', `table ${name} does not exist`, { errno: 1146 })
    return table
  }
}

function drawn(chaos: Chaos, verb: Verb): Fault | 'late' | null {
  const x = chaos.random()
  if (x < chaos.unavailable) return 'unavailable'
  if (x < chaos.unavailable + chaos.lost) return 'lost'
  return verb === 'apply' && x < chaos.unavailable + chaos.lost + chaos.late ? 'late' : null
}

/** Nobody hears the answer. */
function quietly(work: () => 'applied' | 'fenced'): 'applied' | 'fenced' {
  try {
    return work()
  } catch {
    return 'fenced'
  }
}

function check(table: TableDefinition, column: ColumnDefinition, value: unknown, verb: string): void {
  if (column.part.read(value) !== BAD) return
  const why = column.part.why(value).message
  const what = `table ${table.name}: column ${column.name} ${verb} ${shorten(value)}: ${why}`
  throw new DatabaseError('refused', what, { errno: 1264 })
}
