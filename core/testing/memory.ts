// Every port in memory, with a clock that only moves when it is told to: whole games run from a seed. The store
// can be told to fail or to leave its outcome unknown, which a real disk does only when one does not look.

import type { TableDefinition } from '../game/table.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import type { Log, LogFields } from '../ports/log.ts'
import type {
  Outcome,
  Row,
  RowChange,
  RowKey,
  RowQuery,
  Store,
  StoredShard,
  StoredCast,
  StoredChannel,
  StoredTimer,
  WriteSet,
} from '../ports/store.ts'
import type { ShardId } from '../wire/shardid.ts'
import { COMMITTED } from '../ports/store.ts'
import { shardName } from '../wire/shardid.ts'
import { compareKeys } from '../rows/rowkey.ts'

interface ScheduledTimer {
  readonly dueMs: number
  readonly order: number
  readonly run: () => void
}

export class ManualClock implements Clock {
  #nowMs: number
  #order = 0
  #timers: ScheduledTimer[] = []
  #deferred: (() => void)[] = []
  #seed: number

  constructor(seed = 1, nowMs = 1_700_000_000_000) {
    this.#seed = seed >>> 0
    this.#nowMs = nowMs
  }

  now(): number {
    return this.#nowMs
  }
  mono(): number {
    return this.#nowMs
  }
  after(ms: number, run: () => void): Timer {
    const scheduled: ScheduledTimer = { dueMs: this.#nowMs + Math.max(0, ms), order: this.#order++, run }
    this.#timers.push(scheduled)
    return { cancel: () => void (this.#timers = this.#timers.filter((timer) => timer !== scheduled)) }
  }
  defer(run: () => void): void {
    this.#deferred.push(run)
  }
  /** mulberry32 */
  random(): number {
    this.#seed = (this.#seed + 0x6d2b79f5) >>> 0
    let x = this.#seed
    x = Math.imul(x ^ (x >>> 15), x | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 4_294_967_296
  }
  id(): Uint8Array {
    return Uint8Array.from({ length: 16 }, () => Math.floor(this.random() * 256))
  }

  /** Runs what was deferred, and what that deferred. */
  settle(): void {
    for (let run = this.#deferred.shift(); run; run = this.#deferred.shift()) run()
  }

  /** Moves time on; everything that becomes due runs at its own moment, in order. */
  advance(ms: number): void {
    const until = this.#nowMs + ms
    this.settle()
    for (let next = this.#takeDue(until); next; next = this.#takeDue(until)) {
      this.#nowMs = Math.max(this.#nowMs, next.dueMs)
      next.run()
      this.settle()
    }
    this.#nowMs = until
  }

  #takeDue(until: number): ScheduledTimer | undefined {
    let best: ScheduledTimer | undefined
    for (const timer of this.#timers) {
      if (timer.dueMs > until) continue
      if (!best || timer.dueMs < best.dueMs || (timer.dueMs === best.dueMs && timer.order < best.order))
        best = timer
    }
    if (best) this.#timers = this.#timers.filter((timer) => timer !== best)
    return best
  }
}

/** What a store holds of one shard. */
export interface MemoryShard {
  readonly shard: ShardId
  activation: number
  /** Write sets of activations up to this one are refused. */
  fenced: number
  readonly kv: Map<string, Uint8Array>
  readonly timers: Map<string, StoredTimer>
  readonly channels: Map<string, StoredChannel>
  snapshot: Uint8Array | null
  /** By table, then by the text of the key. */
  readonly rows: Map<string, Map<string, Row>>
  readonly casts: Map<number, StoredCast>
}

export class MemoryStore implements Store {
  readonly #shards = new Map<string, MemoryShard>()
  /** Told when a shard must be awake, as a host is. */
  onWake: (shard: ShardId, dueMs: number | null) => void = () => {}
  /** What the next commits do instead of succeeding: 'failed' leaves no trace, 'applied' commits but says unknown. */
  readonly faults: ('failed' | 'applied' | 'dropped')[] = []
  /** When set, a commit answers only when the returned function is called. */
  hold: ((release: () => void) => void) | null = null

  open(shard: ShardId): StoredShard {
    const stored = this.shardOf(shard)
    stored.activation++
    return {
      activation: stored.activation,
      kv: new Map(stored.kv),
      timers: [...stored.timers.values()],
      snapshot: stored.snapshot,
      casts: [...stored.casts.values()].sort((a, b) => a.sequence - b.sequence),
    }
  }

  channel(shard: ShardId, channel: string): StoredChannel | null {
    return this.shardOf(shard).channels.get(channel) ?? null
  }

  commit(write: WriteSet): Outcome | Promise<Outcome> {
    const stored = this.shardOf(write.shard)
    if (stored.fenced >= write.activation)
      return { kind: 'failed', cause: new Error('an earlier commit is not there') }
    const fault = this.faults.shift()
    const conflict = fault ? null : rowConflict(stored, write)
    if (fault || conflict) stored.fenced = write.activation
    if (conflict) return { kind: 'failed', cause: conflict }
    if (fault === 'failed') return { kind: 'failed', cause: new Error('the test refuses this commit') }
    if (fault === 'dropped') return { kind: 'unknown', cause: new Error('the test loses this commit') }
    const outcome = this.apply(write)
    if (fault === 'applied') return { kind: 'unknown', cause: new Error('the test loses this answer') }
    const { hold } = this
    return hold ? new Promise((resolve) => hold(() => resolve(outcome))) : outcome
  }

  row(shard: ShardId, table: TableDefinition, key: RowKey): Row | null {
    return this.shardOf(shard).rows.get(table.name)?.get(keyString(key)) ?? null
  }

  list(shard: ShardId, table: TableDefinition, { by, descending, limit }: RowQuery): readonly Row[] {
    const found: { readonly key: RowKey; readonly row: Row }[] = []
    for (const row of this.shardOf(shard).rows.get(table.name)?.values() ?? []) {
      const matches = Object.keys(by).every((name) => keyString([row[name]]) === keyString([by[name]]))
      if (matches) found.push({ key: table.key.map(({ name }) => row[name]), row })
    }
    found.sort((a, b) => compareKeys(a.key, b.key) * (descending ? -1 : 1))
    return found.slice(0, limit === 0 ? found.length : limit).map(({ row }) => row)
  }

  /** Does all of a write set at once. */
  protected apply(write: WriteSet): Outcome {
    this.put(write.shard, write)
    return COMMITTED
  }

  protected put(shard: ShardId, write: Partial<WriteSet>): void {
    const stored = this.shardOf(shard)
    put(stored.kv, write.kv)
    put(stored.timers, write.timers)
    put(stored.casts, write.casts)
    const { channel } = write
    if (channel) stored.channels.set(channel.id, { mark: channel.mark, replies: channel.replies })
    if (write.snapshot) stored.snapshot = write.snapshot
    for (const change of write.rows ?? []) putRow(stored, change)
    if (write.timers || write.casts) this.onWake(shard, write.wakeMs ?? null)
  }

  /** All shards that were ever spoken of. */
  protected shards(): readonly MemoryShard[] {
    return [...this.#shards.values()]
  }

  protected shardOf(shard: ShardId): MemoryShard {
    const name = shardName(shard)
    let stored = this.#shards.get(name)
    if (!stored) {
      stored = {
        shard,
        activation: 0,
        fenced: 0,
        kv: new Map(),
        timers: new Map(),
        channels: new Map(),
        snapshot: null,
        rows: new Map(),
        casts: new Map(),
      }
      this.#shards.set(name, stored)
    }
    return stored
  }
}

/** A key as one string: equal keys of one table, equal strings. */
export function keyString(key: RowKey): string {
  return JSON.stringify(key.map(textOf))
}

function textOf(value: unknown): string | null {
  if (value === null) return null
  return String(value instanceof Date ? value.getTime() : (value as string | number | bigint | Uint8Array))
}

function put<K, V>(into: Map<K, V>, changes: ReadonlyMap<K, V | null> | null | undefined): void {
  for (const [name, value] of changes ?? []) {
    if (value === null) into.delete(name)
    else into.set(name, value)
  }
}

/** A row whose insert or update could not be meant. */
function rowConflict(stored: MemoryShard, { rows }: WriteSet): Error | null {
  for (const { table, op, key } of rows ?? []) {
    const exists = stored.rows.get(table.name)?.has(keyString(key)) ?? false
    if ((op === 'insert' && exists) || (op === 'update' && !exists))
      return new Error(
        `table ${table.name}: ${op} of ${keyString(key)}, which ${exists ? 'is there' : 'is not there'}`,
      )
  }
  return null
}

function putRow(stored: MemoryShard, { table, op, key, values }: RowChange): void {
  let rows = stored.rows.get(table.name)
  if (!rows) stored.rows.set(table.name, (rows = new Map()))
  const text = keyString(key)
  if (op === 'delete' || op === 'drop') rows.delete(text)
  else rows.set(text, Object.freeze(op === 'update' ? { ...rows.get(text), ...values } : { ...values }))
}

/** A log that keeps its last lines. */
export class MemoryLog implements Log {
  readonly lines: { level: string; message: string; fields: LogFields }[] = []
  info(message: string, fields: LogFields = {}): void {
    this.#add('info', message, fields)
  }
  warn(message: string, fields: LogFields = {}): void {
    this.#add('warn', message, fields)
  }
  error(message: string, fields: LogFields = {}): void {
    this.#add('error', message, fields)
  }
  #add(level: string, message: string, fields: LogFields): void {
    this.lines.push({ level, message, fields })
    if (this.lines.length > 1_000) this.lines.shift()
  }
}
