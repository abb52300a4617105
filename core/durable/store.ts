// The Store of one shard: its Durable Object's own SQLite. A commit is synchronous and answers at once, although
// the bytes are not on disk yet: the platform's output gate holds every message, response and RPC answer that is
// sent afterwards until they are, and resets the object (dropping what was held) if they cannot be. So 'committed'
// here means that nobody can see the turn unless it is durable, which is all that the engine needs.
// Invariant: one commit is one transactionSync; a commit of an earlier activation is refused.

import type { Outcome, ShardId, Store, Stored, StoredChannel, StoredTimer, WriteSet } from '../run/ports.ts'
import { COMMITTED } from '../run/ports.ts'
import { TIMES } from '../wire/limits.ts'
import * as sql from '../../schemas/object.ts'

/** Marks are pruned at each activation, and again after so many commits: a shard may live for weeks. */
const PRUNE_EVERY = 4_096

type Row = Record<string, SqlStorageValue>

export class ObjectStore implements Store {
  readonly #storage: DurableObjectStorage
  readonly #nowMs: () => number
  readonly #onAlarmFailed: (error: unknown) => void
  #ready = false
  #activation = 0
  #commits = 0
  /** What the alarm is set to; undefined = not known. */
  #alarmMs: number | null | undefined = undefined

  constructor(storage: DurableObjectStorage, nowMs: () => number, onAlarmFailed: (error: unknown) => void) {
    this.#storage = storage
    this.#nowMs = nowMs
    this.#onAlarmFailed = onAlarmFailed
  }

  /** Whose object this is, as its first activation wrote it down: an alarm tells no name. null = never activated. */
  identity(): ShardId | null {
    if (this.#one(sql.HAS_TABLES)?.['n'] === 0) return null
    const contract = this.#one(sql.GET_META, 'contract')?.['value']
    const key = this.#one(sql.GET_META, 'key')?.['value']
    return typeof contract === 'string' && typeof key === 'string' ? { contract, key } : null
  }

  open(shard: ShardId): Stored {
    return this.#storage.transactionSync(() => {
      if (!this.#ready) for (const table of sql.OBJECT_TABLES) this.#run(table)
      this.#ready = true
      this.#run(sql.ADD_META, 'contract', shard.contract)
      this.#run(sql.ADD_META, 'key', shard.key)
      this.#activation = Number(this.#one(sql.NEXT_ACTIVATION)!['value'])
      this.#prune()
      const kv = new Map<string, Uint8Array>()
      for (const { name, value } of this.#all(sql.ALL_KV)) kv.set(String(name), bytesOf(value))
      const timers: StoredTimer[] = []
      for (const { name, due_ms, data } of this.#all(sql.ALL_TIMERS)) {
        timers.push({ name: String(name), dueMs: Number(due_ms), data: bytesOf(data) })
      }
      return { activation: this.#activation, kv, timers, snapshot: this.#snapshot() }
    })
  }

  channel(_shard: ShardId, channel: string): StoredChannel | null {
    const row = this.#one(sql.GET_CHANNEL, channel)
    return row ? { mark: Number(row['mark']), replies: bytesOf(row['replies']) } : null
  }

  commit(write: WriteSet): Outcome {
    if (write.activation !== this.#activation) {
      const cause = new Error(`activation ${write.activation} commits, but ${this.#activation} has begun`)
      return { kind: 'failed', cause }
    }
    try {
      this.#storage.transactionSync(() => this.#apply(write))
    } catch (cause) {
      return { kind: 'failed', cause }
    }
    if (write.timers) this.#setAlarm(write.wakeMs)
    if (++this.#commits % PRUNE_EVERY === 0) this.#prune()
    return COMMITTED
  }

  /** After an alarm has fired: sets the next one, so that a timer whose turn did not commit is tried again. */
  rearm(retryMs: number): void {
    const due = this.#one(sql.NEXT_TIMER)?.['due_ms'] ?? null
    this.#alarmMs = undefined
    if (due !== null) this.#setAlarm(Math.max(Number(due), this.#nowMs() + retryMs))
  }

  #apply({ kv, timers, channel, snapshot }: WriteSet): void {
    for (const [name, value] of kv ?? []) {
      if (value) this.#run(sql.SET_KV, name, value)
      else this.#run(sql.DELETE_KV, name)
    }
    for (const [name, timer] of timers ?? []) {
      if (timer) this.#run(sql.SET_TIMER, name, timer.dueMs, timer.data)
      else this.#run(sql.DELETE_TIMER, name)
    }
    if (channel) this.#run(sql.SET_CHANNEL, channel.id, channel.mark, channel.replies, channel.nowMs)
    if (snapshot) this.#saveSnapshot(snapshot)
  }

  #saveSnapshot(bytes: Uint8Array): void {
    let part = 0
    for (let at = 0; at < bytes.length; at += sql.SNAPSHOT_PART_BYTES) {
      this.#run(sql.SET_SNAPSHOT, part++, bytes.subarray(at, at + sql.SNAPSHOT_PART_BYTES))
    }
    this.#run(sql.TRIM_SNAPSHOT, part)
  }

  #snapshot(): Uint8Array | null {
    const parts = this.#all(sql.ALL_SNAPSHOT).map(({ bytes }) => bytesOf(bytes))
    if (parts.length === 0) return null
    const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
    let at = 0
    for (const part of parts) {
      whole.set(part, at)
      at += part.length
    }
    return whole
  }

  /** An alarm is a written row on the bill: set only when it changes. It is coalesced with the commit before it. */
  #setAlarm(dueMs: number | null): void {
    if (dueMs === this.#alarmMs) return
    this.#alarmMs = dueMs
    const done = dueMs === null ? this.#storage.deleteAlarm() : this.#storage.setAlarm(dueMs)
    void done.catch(this.#onAlarmFailed)
  }

  #prune(): void {
    this.#run(sql.PRUNE_CHANNELS, this.#nowMs() - TIMES.keepMarksMs)
  }

  #run(statement: string, ...values: unknown[]): void {
    this.#storage.sql.exec(statement, ...values)
  }
  #one(statement: string, ...values: unknown[]): Row | undefined {
    return this.#storage.sql.exec<Row>(statement, ...values).toArray()[0]
  }
  #all(statement: string): Row[] {
    return this.#storage.sql.exec<Row>(statement).toArray()
  }
}

function bytesOf(value: SqlStorageValue | undefined): Uint8Array {
  if (value instanceof ArrayBuffer) return new Uint8Array(value)
  throw new Error(`a BLOB column holds ${typeof value}`)
}
