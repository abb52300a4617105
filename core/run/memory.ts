// Every port in memory, with a clock that only moves when it is told to: whole games run from a seed. The store
// can be told to fail or to leave its outcome unknown, which a real disk does only when one does not look.

import type {
  Clock,
  Log,
  LogFields,
  Outcome,
  ShardId,
  Store,
  Stored,
  StoredChannel,
  StoredTimer,
  Timer,
  WriteSet,
} from './ports.ts'
import { COMMITTED, shardName } from './ports.ts'

interface Waiting {
  readonly dueMs: number
  readonly order: number
  readonly run: () => void
}

export class ManualClock implements Clock {
  #nowMs: number
  #order = 0
  #timers: Waiting[] = []
  #soon: (() => void)[] = []
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
    const waiting: Waiting = { dueMs: this.#nowMs + Math.max(0, ms), order: this.#order++, run }
    this.#timers.push(waiting)
    return { cancel: () => void (this.#timers = this.#timers.filter((timer) => timer !== waiting)) }
  }
  defer(run: () => void): void {
    this.#soon.push(run)
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
    for (let run = this.#soon.shift(); run; run = this.#soon.shift()) run()
  }

  /** Moves time on; everything that becomes due runs at its own moment, in order. */
  advance(ms: number): void {
    const until = this.#nowMs + ms
    this.settle()
    for (let next = this.#next(until); next; next = this.#next(until)) {
      this.#nowMs = Math.max(this.#nowMs, next.dueMs)
      next.run()
      this.settle()
    }
    this.#nowMs = until
  }

  #next(until: number): Waiting | undefined {
    let best: Waiting | undefined
    for (const timer of this.#timers) {
      if (timer.dueMs > until) continue
      if (!best || timer.dueMs < best.dueMs || (timer.dueMs === best.dueMs && timer.order < best.order))
        best = timer
    }
    if (best) this.#timers = this.#timers.filter((timer) => timer !== best)
    return best
  }
}

interface Kept {
  activation: number
  /** Write sets of activations up to this one are refused. */
  fenced: number
  readonly kv: Map<string, Uint8Array>
  readonly timers: Map<string, StoredTimer>
  readonly channels: Map<string, StoredChannel>
  snapshot: Uint8Array | null
}

export class MemoryStore implements Store {
  readonly #shards = new Map<string, Kept>()
  /** Told when a shard must be awake, as a host is. */
  onWake: (shard: ShardId, dueMs: number | null) => void = () => {}
  /** What the next commits do instead of succeeding: 'failed' leaves no trace, 'applied' commits but says unknown. */
  readonly faults: ('failed' | 'applied' | 'dropped')[] = []
  /** When set, a commit answers only when the returned function is called. */
  hold: ((release: () => void) => void) | null = null

  open(shard: ShardId): Stored {
    const kept = this.#of(shard)
    kept.activation++
    return {
      activation: kept.activation,
      kv: new Map(kept.kv),
      timers: [...kept.timers.values()],
      snapshot: kept.snapshot,
    }
  }

  channel(shard: ShardId, channel: string): StoredChannel | null {
    return this.#of(shard).channels.get(channel) ?? null
  }

  commit(write: WriteSet): Outcome | Promise<Outcome> {
    const kept = this.#of(write.shard)
    if (kept.fenced >= write.activation)
      return { kind: 'failed', cause: new Error('an earlier commit is not there') }
    const fault = this.faults.shift()
    if (fault) kept.fenced = write.activation
    if (fault === 'failed') return { kind: 'failed', cause: new Error('the test refuses this commit') }
    if (fault === 'dropped') return { kind: 'unknown', cause: new Error('the test loses this commit') }
    this.#apply(write)
    if (fault === 'applied') return { kind: 'unknown', cause: new Error('the test loses this answer') }
    const { hold } = this
    return hold ? new Promise((resolve) => hold(() => resolve(COMMITTED))) : COMMITTED
  }

  #apply(write: WriteSet): void {
    const kept = this.#of(write.shard)
    for (const [name, value] of write.kv ?? []) {
      if (value) kept.kv.set(name, value)
      else kept.kv.delete(name)
    }
    for (const [name, timer] of write.timers ?? []) {
      if (timer) kept.timers.set(name, timer)
      else kept.timers.delete(name)
    }
    if (write.channel) kept.channels.set(write.channel.id, write.channel)
    if (write.snapshot) kept.snapshot = write.snapshot
    if (write.timers) this.onWake(write.shard, write.wakeMs)
  }

  #of(shard: ShardId): Kept {
    const name = shardName(shard)
    let kept = this.#shards.get(name)
    if (!kept) {
      kept = {
        activation: 0,
        fenced: 0,
        kv: new Map(),
        timers: new Map(),
        channels: new Map(),
        snapshot: null,
      }
      this.#shards.set(name, kept)
    }
    return kept
  }
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
