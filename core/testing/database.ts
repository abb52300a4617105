// MySQL in memory, as strict as the real one where it matters: the fence, plain inserts, updates that must find their
// row, unique values, values that their column refuses. What may go wrong on the way to it is ordered by a test or
// drawn from a given random function; all promises resolve through the given clock, so a seed reproduces a run.

import type { ColumnDefinition, TableDefinition } from '../game/table.ts'
import { keyString } from './memory.ts'
import type { Batch, Database, Lease, ParkedTurn, CriticalState } from '../ports/database.ts'
import type { Clock } from '../ports/clock.ts'
import type { Row, RowChange, RowKey, StoredCast, StoredChannel } from '../ports/store.ts'
import { compareKeys } from '../rows/rowkey.ts'
import { shorten } from '../wire/errors.ts'
import { INVALID } from '../wire/schema.ts'
import { DatabaseError } from '../sql/client.ts'

/**
 * What happens to one request: it never arrives; it is done and its answer is lost; its sender gives up and it is done
 * later, when `release` or chance says; MySQL refuses it for its data.
 */
export type Fault = 'unavailable' | 'lost' | 'held' | 'refused'
type DatabaseMethod = Exclude<keyof Database, 'close'>

/** Chances of each request, 0 to 1, and bounds of time. */
export interface RandomFaults {
  readonly random: () => number
  readonly unavailable: number
  readonly lost: number
  /** Done up to `lateMs` after its sender gave up; only batches. */
  readonly late: number
  readonly lateMs: number
  readonly slowMs: number
}

interface MemoryRow {
  readonly key: RowKey
  readonly row: Row
}

export class MemoryDatabase implements Database {
  readonly leases = new Map<string, Lease>()
  readonly channels = new Map<string, StoredChannel & { readonly shard: string; readonly id: string }>()
  readonly casts = new Map<string, { readonly shard: string; readonly cast: StoredCast }>()
  /** firefly_parked */
  readonly parkedRecords: (ParkedTurn & { readonly owner: string })[] = []
  /** Requests that arrived, by verb. */
  readonly requestCounts = new Map<DatabaseMethod, number>()
  /** Batches whose sender has given up and that were not released. */
  readonly heldBatches: (() => 'applied' | 'fenced')[] = []
  /** Nothing arrives. */
  isUnavailable = false
  randomFaults: RandomFaults | null = null
  /** Why MySQL refuses a change, null = it does not. */
  refuseChange: ((change: RowChange) => string | null) | null = null
  /** Told of each batch in the moment in which it is committed. */
  onApply: (batch: Batch) => void = () => {}
  /** Of an answered request, there and back. */
  latencyMs = 2
  /** After which a sender gives up. */
  timeoutMs = 50
  readonly #clock: Clock
  readonly #tables = new Map<string, Map<string, MemoryRow>>()
  readonly #faults = new Map<DatabaseMethod, Fault[]>()
  readonly #lastIds = new Map<string, bigint>()

  constructor(clock: Clock, tables: readonly TableDefinition[]) {
    this.#clock = clock
    for (const { name } of tables) this.#tables.set(name, new Map())
  }

  /** What the next requests of this kind meet. */
  injectFaults(verb: DatabaseMethod, ...faults: Fault[]): void {
    this.#faults.set(verb, [...(this.#faults.get(verb) ?? []), ...faults])
  }

  /** Rows of a table, of all shards, in the order of their keys. */
  rows(table: TableDefinition): Row[] {
    return [...this.#tableOf(table).values()].sort((a, b) => compareKeys(a.key, b.key)).map(({ row }) => row)
  }

  /** What another program does. */
  putRow(table: TableDefinition, row: Row): void {
    const key = table.key.map(({ name }) => row[name])
    this.#tableOf(table).set(keyString(key), { key, row: Object.freeze({ ...row }) })
  }

  removeRow(table: TableDefinition, key: RowKey): void {
    this.#tableOf(table).delete(keyString(key))
  }

  takeover(owner: string, storeId: string): Promise<Lease> {
    return this.#request('takeover', () => {
      const before = this.leases.get(owner) ?? { epoch: 0, appliedSeq: 0, storeId: '' }
      const epoch = before.epoch + 1
      this.leases.set(owner, { ...before, epoch, storeId })
      return { ...before, epoch }
    })
  }

  lease(owner: string): Promise<Lease | null> {
    return this.#request('lease', () => this.leases.get(owner) ?? null)
  }

  apply(batch: Batch): Promise<'applied' | 'fenced'> {
    return this.#request('apply', () => this.#apply(batch))
  }

  load(
    table: TableDefinition,
    shardKey: string,
    after: RowKey | null,
    limit: number,
  ): Promise<readonly Row[]> {
    return this.#request('load', () => {
      const rows = this.rows(table).filter((row) => {
        const key = table.key.map(({ name }) => row[name])
        return row[table.shardKey.name] === shardKey && (after === null || compareKeys(key, after) > 0)
      })
      return rows.slice(0, limit).map((row) => {
        for (const column of table.columns) checkValue(table, column, row[column.name], 'holds')
        return row
      })
    })
  }

  row(table: TableDefinition, key: RowKey): Promise<Row | null> {
    return this.#request('row', () => this.#tableOf(table).get(keyString(key))?.row ?? null)
  }

  criticalState(shard: string): Promise<CriticalState> {
    return this.#request('criticalState', () => ({
      channels: [...this.channels.values()].filter((one) => one.shard === shard),
      casts: [...this.casts.values()].filter((one) => one.shard === shard).map(({ cast }) => cast),
    }))
  }

  parkedTurns(owner: string): Promise<readonly ParkedTurn[]> {
    return this.#request('parkedTurns', () => this.parkedRecords.filter((one) => one.owner === owner))
  }

  nextId(table: TableDefinition, _values: Row): Promise<bigint> {
    return this.#request('nextId', () => {
      const id = (this.#lastIds.get(table.name) ?? 0n) + 1n
      this.#lastIds.set(table.name, id)
      return id
    })
  }

  close(): Promise<void> {
    this.isUnavailable = true
    return Promise.resolve()
  }

  /** Does what was held, as a packet that was under way for long. */
  releaseHeld(): ('applied' | 'fenced')[] {
    return this.heldBatches.splice(0).map((work) => work())
  }

  #request<T>(method: DatabaseMethod, work: () => T): Promise<T> {
    const { randomFaults, latencyMs, timeoutMs } = this
    const fault = this.#faults.get(method)?.shift() ?? (randomFaults ? drawFault(randomFaults, method) : null)
    const halfMs = (latencyMs + (randomFaults ? randomFaults.random() * randomFaults.slowMs : 0)) / 2
    return new Promise((resolve, reject) => {
      const failUnanswered = (): void => reject(new DatabaseError('unavailable', `${method}: no answer`))
      const after = (ms: number, run: () => void): void => void this.#clock.after(ms, run)
      after(halfMs, () => {
        if (this.isUnavailable || fault === 'unavailable') return after(timeoutMs, failUnanswered)
        this.requestCounts.set(method, (this.requestCounts.get(method) ?? 0) + 1)
        if (fault === 'held' || fault === 'late') {
          const runLate = (): 'applied' | 'fenced' => ignoreErrors(work as () => 'applied' | 'fenced')
          if (fault === 'held') this.heldBatches.push(runLate)
          else after(randomFaults!.random() * randomFaults!.lateMs, runLate)
          return after(timeoutMs, failUnanswered)
        }
        let answer: () => void
        try {
          if (fault === 'refused') throw new DatabaseError('refused', `${method}: refused by the test`)
          const result = work()
          answer = () => resolve(result)
        } catch (error) {
          answer = () => reject(error)
        }
        after(fault === 'lost' ? timeoutMs : halfMs, fault === 'lost' ? failUnanswered : answer)
      })
    })
  }

  #apply(batch: Batch): 'applied' | 'fenced' {
    const { owner, epoch, firstSeq: lo, lastSeq: hi } = batch
    const lease = this.leases.get(owner)
    if (!lease || lease.epoch !== epoch || lease.appliedSeq >= lo) return 'fenced'
    const undo: (() => void)[] = []
    try {
      for (const change of batch.rows) this.#write(change, undo)
    } catch (error) {
      for (const revert of undo.toReversed()) revert()
      throw error
    }
    for (const channel of batch.channels) this.channels.set(`${channel.shard} ${channel.id}`, channel)
    for (const { shard, sequence, cast } of batch.casts) {
      if (cast) this.casts.set(`${shard} ${sequence}`, { shard, cast })
      else this.casts.delete(`${shard} ${sequence}`)
    }
    for (const parked of batch.parked) this.parkedRecords.push({ owner, ...parked })
    for (const seq of batch.unparkedSeqs ?? []) {
      const at = this.parkedRecords.findIndex((one) => one.owner === owner && one.seq === seq)
      if (at >= 0) this.parkedRecords.splice(at, 1)
    }
    this.leases.set(owner, { ...lease, appliedSeq: hi })
    this.onApply(batch)
    return 'applied'
  }

  #write(change: RowChange, undo: (() => void)[]): void {
    const { table, op, key, values } = change
    const rows = this.#tableOf(table)
    const name = keyString(key)
    const before = rows.get(name)
    const refused = this.refuseChange?.(change) ?? null
    if (refused !== null)
      throw new DatabaseError('refused', `table ${table.name}: ${refused}`, { errno: 1644 })
    undo.push(() => (before ? rows.set(name, before) : rows.delete(name)))
    if (op === 'delete') {
      const isGuardMet = Object.entries(values).every(([column, value]) => before?.row[column] === value)
      if (isGuardMet) rows.delete(name)
      return
    }
    if (op === 'insert' && before)
      throw new DatabaseError('refused', `table ${table.name}: duplicate key ${name}`, { errno: 1062 })
    if (op === 'update' && !before)
      throw new DatabaseError('refused', `table ${table.name}: 1 of 1 rows to update are not in MySQL`)
    for (const [column, value] of Object.entries(values)) {
      const definition = table.columnByName.get(column)
      if (!definition) throw new DatabaseError('schema', `table ${table.name}: unknown column ${column}`)
      checkValue(table, definition, value, 'is given')
    }
    const row = Object.freeze({ ...before?.row, ...values })
    for (const { name: unique } of table.unique) {
      const duplicate = [...rows].find(([other, { row: it }]) => other !== name && it[unique] === row[unique])
      if (duplicate && row[unique] !== null)
        throw new DatabaseError('refused', `table ${table.name}: duplicate ${unique}`, { errno: 1062 })
    }
    rows.set(name, { key, row })
  }

  #tableOf({ name }: TableDefinition): Map<string, MemoryRow> {
    const table = this.#tables.get(name)
    if (!table) throw new DatabaseError('schema', `table ${name} does not exist`, { errno: 1146 })
    return table
  }
}

function drawFault(randomFaults: RandomFaults, method: DatabaseMethod): Fault | 'late' | null {
  const x = randomFaults.random()
  if (x < randomFaults.unavailable) return 'unavailable'
  if (x < randomFaults.unavailable + randomFaults.lost) return 'lost'
  return method === 'apply' && x < randomFaults.unavailable + randomFaults.lost + randomFaults.late
    ? 'late'
    : null
}

/** Nobody hears the answer. */
function ignoreErrors(work: () => 'applied' | 'fenced'): 'applied' | 'fenced' {
  try {
    return work()
  } catch {
    return 'fenced'
  }
}

function checkValue(table: TableDefinition, column: ColumnDefinition, value: unknown, verb: string): void {
  if (column.schema.read(value) !== INVALID) return
  const why = column.schema.diagnose(value).message
  const what = `table ${table.name}: column ${column.name} ${verb} ${shorten(value)}: ${why}`
  throw new DatabaseError('refused', what, { errno: 1264 })
}
