// The Database port in memory. Like MySQL it checks leases, existing rows, unique values and column types. Faults of
// requests are injected by a test or drawn from a random function. Invariant: all promises settle through the given
// clock, so a seed reproduces a run.

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
 * 'unavailable': the request is lost; 'lost': it is executed and its answer is lost; 'held': the sender times out, and
 * `releaseHeld` executes the request later; 'refused': MySQL refuses the data.
 */
export type Fault = 'unavailable' | 'lost' | 'held' | 'refused'
type DatabaseMethod = Exclude<keyof Database, 'close'>

/** Probabilities per request, 0 to 1, and time bounds. */
export interface RandomFaults {
  readonly random: () => number
  readonly unavailable: number
  readonly lost: number
  /** Of a batch: executed up to `lateMs` after its arrival, while the sender times out. */
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
  /** Requests that arrived, by method. */
  readonly requestCounts = new Map<DatabaseMethod, number>()
  /** Batches with the fault 'held' that were not released. */
  readonly heldBatches: (() => 'applied' | 'fenced')[] = []
  /** All requests are lost. */
  isUnavailable = false
  randomFaults: RandomFaults | null = null
  /** Returns why MySQL refuses a change, as the reason of a trigger or as an error; null = it does not. */
  refuseChange: ((change: RowChange) => string | DatabaseError | null) | null = null
  /** Called when a batch is committed. */
  onApply: (batch: Batch) => void = () => {}
  /** Round trip of an answered request. */
  latencyMs = 2
  /** Time after which a sender without an answer fails. */
  timeoutMs = 50
  readonly #clock: Clock
  readonly #tables = new Map<string, Map<string, MemoryRow>>()
  readonly #faults = new Map<DatabaseMethod, Fault[]>()
  readonly #lastIds = new Map<string, bigint>()

  constructor(clock: Clock, tables: readonly TableDefinition[]) {
    this.#clock = clock
    for (const { name } of tables) this.#tables.set(name, new Map())
  }

  /** Sets the faults of the next requests of this method. */
  injectFaults(method: DatabaseMethod, ...faults: Fault[]): void {
    this.#faults.set(method, [...(this.#faults.get(method) ?? []), ...faults])
  }

  /** The rows of all shards in the order of their keys. */
  rows(table: TableDefinition): Row[] {
    return [...this.#tableOf(table).values()].sort((a, b) => compareKeys(a.key, b.key)).map(({ row }) => row)
  }

  /** Writes a row as another program would. */
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

  load(table: TableDefinition, shardKey: string, after: RowKey | null, limit: number): Promise<readonly Row[]> {
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
      channels: [...this.channels.values()].filter((channel) => channel.shard === shard),
      casts: [...this.casts.values()].filter((stored) => stored.shard === shard).map(({ cast }) => cast),
    }))
  }

  parkedTurns(owner: string): Promise<readonly ParkedTurn[]> {
    return this.#request('parkedTurns', () => this.parkedRecords.filter((record) => record.owner === owner))
  }

  nextId(table: TableDefinition, values: Row): Promise<bigint> {
    return this.#request('nextId', () => {
      const id = (this.#lastIds.get(table.name) ?? 0n) + 1n
      this.#lastIds.set(table.name, id)
      const [column] = table.keyInShard
      if (table.ids === 'auto' && column) {
        const row = { ...values, [column.name]: column.kind === 'big' ? id : Number(id) }
        const undo: (() => void)[] = []
        this.#write({ table, op: 'insert', key: table.key.map(({ name }) => row[name]), values: row }, undo)
        for (const revert of undo) revert()
      }
      return id
    })
  }

  probe(): Promise<void> {
    return this.#request('probe', () => {})
  }

  close(): Promise<void> {
    this.isUnavailable = true
    return Promise.resolve()
  }

  /** Executes the held batches, like packets that arrive late. */
  releaseHeld(): ('applied' | 'fenced')[] {
    return this.heldBatches.splice(0).map((apply) => apply())
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
    const { owner, epoch, firstSeq, lastSeq } = batch
    const lease = this.leases.get(owner)
    if (!lease || lease.epoch !== epoch || lease.appliedSeq >= firstSeq) return 'fenced'
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
      const at = this.parkedRecords.findIndex((record) => record.owner === owner && record.seq === seq)
      if (at >= 0) this.parkedRecords.splice(at, 1)
    }
    this.leases.set(owner, { ...lease, appliedSeq: lastSeq })
    this.onApply(batch)
    return 'applied'
  }

  #write(change: RowChange, undo: (() => void)[]): void {
    const { table, op, key, values } = change
    const rows = this.#tableOf(table)
    const name = keyString(key)
    const before = rows.get(name)
    const refused = this.refuseChange?.(change) ?? null
    if (refused instanceof DatabaseError) throw refused
    if (refused !== null) throw new DatabaseError('refused', `table ${table.name}: ${refused}`, { errno: 1644 })
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
      const duplicate = [...rows].find(([other, stored]) => other !== name && stored.row[unique] === row[unique])
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
  return method === 'apply' && x < randomFaults.unavailable + randomFaults.lost + randomFaults.late ? 'late' : null
}

/** For a request whose sender has timed out. */
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
