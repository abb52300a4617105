// In-memory ports for tests and simulations. Invariant: time advances only by `advance`, and all randomness comes from
// a seed, so a run can be reproduced. The store can fail commits or leave their outcome unknown on request.

import type { TableDefinition } from '../game/table.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import type { Log, LogFields } from '../ports/log.ts'
import {
  COMMITTED,
  type Outcome,
  type Row,
  type RowChange,
  type RowKey,
  type RowQuery,
  type Store,
  type StoredShard,
  type StoredCast,
  type StoredChannel,
  type StoredTimer,
  type WriteSet,
} from '../ports/store.ts'
import { shardName, type ShardId } from '../wire/shardid.ts'
import { compareKeys } from '../rows/rowkey.ts'

interface ScheduledTimer {
  readonly dueMs: number
  readonly order: number
  readonly run: () => void
}

export class ManualClock implements Clock {
  #nowMs: number
  #wallOffsetMs = 0
  #order = 0
  #timers: ScheduledTimer[] = []
  #deferred: (() => void)[] = []
  #seed: number

  constructor(seed = 1, nowMs = 1_700_000_000_000) {
    this.#seed = seed >>> 0
    this.#nowMs = nowMs
  }

  now(): number {
    return this.#nowMs + this.#wallOffsetMs
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

  /** Moves the wall clock alone, forward or back, as an operator or a time server does. */
  jumpWallClock(ms: number): void {
    this.#wallOffsetMs += ms
  }

  /** Runs all deferred work, and the work that it defers. */
  settle(): void {
    for (let run = this.#deferred.shift(); run; run = this.#deferred.shift()) run()
  }

  /** When the next timer is due; null = none is set. */
  get nextDueMs(): number | null {
    let next: number | null = null
    for (const { dueMs } of this.#timers) if (next === null || dueMs < next) next = dueMs
    return next
  }

  /** Advances the time. Each timer that becomes due runs at its own time, in order. */
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
    let first: ScheduledTimer | undefined
    for (const timer of this.#timers) {
      if (timer.dueMs > until) continue
      if (!first || timer.dueMs < first.dueMs || (timer.dueMs === first.dueMs && timer.order < first.order))
        first = timer
    }
    if (first) this.#timers = this.#timers.filter((timer) => timer !== first)
    return first
  }
}

/** The stored state of one shard. */
export class MemoryShard {
  readonly shard: ShardId
  activation = 0
  /** Write sets of activations up to this number fail. */
  fenced = 0
  readonly kv = new Map<string, Uint8Array>()
  readonly timers = new Map<string, StoredTimer>()
  readonly channels = new Map<string, StoredChannel>()
  snapshot: Uint8Array | null = null
  /** By table name, then by `keyString`. */
  readonly rows = new Map<string, Map<string, Row>>()
  readonly casts = new Map<number, StoredCast>()

  constructor(shard: ShardId) {
    this.shard = shard
  }
}

export class MemoryStore implements Store {
  readonly #shards = new Map<string, MemoryShard>()
  /** Called when the wake time of a shard changes. */
  onWake: (shard: ShardId, dueMs: number | null) => void = () => {}
  /** Outcomes of the next commits. 'failed', or unknown: 'dropped' = not applied; 'applied' = applied. */
  readonly faults: ('failed' | 'applied' | 'dropped')[] = []
  /** When set, it receives a function per commit, and the commit ends when that function is called. */
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
      return { kind: 'failed', cause: new Error('an earlier commit of this activation failed') }
    const fault = this.faults.shift()
    const conflict = fault ? null : rowConflict(stored, write)
    if (fault || conflict) stored.fenced = write.activation
    if (conflict) return { kind: 'failed', cause: conflict }
    if (fault === 'failed') return { kind: 'failed', cause: new Error('commit failed by the test') }
    if (fault === 'dropped') return { kind: 'unknown', cause: new Error('commit lost by the test') }
    const outcome = this.apply(write)
    if (fault === 'applied') return { kind: 'unknown', cause: new Error('outcome lost by the test') }
    const { hold } = this
    return hold ? new Promise((resolve) => hold(() => resolve(outcome))) : outcome
  }

  row(shard: ShardId, table: TableDefinition, key: RowKey): Row | null {
    return this.shardOf(shard).rows.get(table.name)?.get(keyString(key)) ?? null
  }

  list(shard: ShardId, table: TableDefinition, { by, descending, limit }: RowQuery): readonly Row[] {
    const matching: { readonly key: RowKey; readonly row: Row }[] = []
    for (const row of this.shardOf(shard).rows.get(table.name)?.values() ?? []) {
      const matches = Object.keys(by).every((name) => keyString([row[name]]) === keyString([by[name]]))
      if (matches) matching.push({ key: table.key.map(({ name }) => row[name]), row })
    }
    matching.sort((a, b) => compareKeys(a.key, b.key) * (descending ? -1 : 1))
    return matching.slice(0, limit === 0 ? matching.length : limit).map(({ row }) => row)
  }

  /** Applies a whole write set. */
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

  /** When each shard must be active for its durable timers and casts; a pending cast is due at once. */
  wakeTimes(): (readonly [ShardId, dueMs: number])[] {
    return this.shards().flatMap(({ shard, timers, casts }) => {
      const dueMs = casts.size > 0 ? 0 : Math.min(...[...timers.values()].map((timer) => timer.dueMs))
      return dueMs === Infinity ? [] : [[shard, dueMs] as const]
    })
  }

  /** Lets every later commit of the current activations fail: their process was killed. */
  fenceActivations(): void {
    for (const stored of this.shards()) stored.fenced = stored.activation
  }

  /** All shards that were ever used. */
  protected shards(): readonly MemoryShard[] {
    return [...this.#shards.values()]
  }

  protected shardOf(shard: ShardId): MemoryShard {
    const name = shardName(shard)
    let stored = this.#shards.get(name)
    if (!stored) this.#shards.set(name, (stored = new MemoryShard(shard)))
    return stored
  }
}

/** A key as one string. Keys of one table are equal if and only if their strings are. */
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

/** The first insert of an existing row or update of a missing row. */
function rowConflict(stored: MemoryShard, { rows }: WriteSet): Error | null {
  for (const { table, op, key } of rows ?? []) {
    const exists = stored.rows.get(table.name)?.has(keyString(key)) ?? false
    if ((op === 'insert' && exists) || (op === 'update' && !exists))
      return new Error(`table ${table.name}: ${op} of ${keyString(key)}, which ${exists ? 'exists' : 'does not exist'}`)
  }
  return null
}

function putRow(stored: MemoryShard, { table, op, key, values }: RowChange): void {
  let rows = stored.rows.get(table.name)
  if (!rows) stored.rows.set(table.name, (rows = new Map()))
  const text = keyString(key)
  if (op === 'delete' || op === 'store-delete') rows.delete(text)
  else rows.set(text, Object.freeze(op === 'update' ? { ...rows.get(text), ...values } : { ...values }))
}

/** A log that stores its last 1,000 lines. */
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
