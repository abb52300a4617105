// The Store of one shard: its Durable Object's own SQLite. A commit is synchronous and answers at once, although
// the bytes are not on disk yet: the platform's output gate holds every message, response and RPC answer that is
// sent afterwards until they are, and resets the object (dropping what was held) if they cannot be. So 'committed'
// here means that nobody can see the turn unless it is durable, MySQL included, which is all that the engine needs.
// Invariant: one commit is one transactionSync; a commit of an earlier activation is refused.

import type { TableDefinition } from '../game/table.ts'
import type {
  Outcome,
  Remains,
  Row,
  RowChange,
  RowKey,
  RowQuery,
  ShardId,
  Stored,
  StoredChannel,
  StoredTimer,
  WriteSet,
} from '../run/ports.ts'
import { channelWrite, COMMITTED, shardName } from '../run/ports.ts'
import { TableSet } from '../tiers/layout.ts'
import type { LocalStore, Outbox, OutboxEntry } from '../tiers/local.ts'
import { isNewer, RowTables } from '../tiers/rowtables.ts'
import { bytesOf, type Cell, type Sql, type SqlRow } from '../tiers/sqlite.ts'
import { TIMES } from '../wire/limits.ts'
import * as sql from '../../schemas/object.ts'

/** Marks are pruned at each activation, and again after so many commits: a shard may live for weeks. */
const PRUNE_EVERY = 4_096
/** Long after the flusher should have done it. */
const OUTBOX_WAKE_MS = 30_000

export interface ObjectStoreOptions {
  /** The tables of the game. Default: none. */
  readonly tables?: readonly TableDefinition[]
  /** MySQL stands behind: what it must hear of is queued. Default false. */
  readonly outbox?: boolean
  /** The owner's outbox has new entries. */
  readonly onOutbox?: (owner: string) => void
}

export class ObjectStore implements LocalStore {
  readonly #storage: DurableObjectStorage
  readonly #nowMs: () => number
  readonly #onAlarmFailed: (error: unknown) => void
  readonly #onOutbox: (owner: string) => void
  readonly #sql: ObjectSql
  readonly #rows: RowTables
  #ready = false
  /** The outbox sequence with which this life began. */
  #firstSeq = 0
  #activation = 0
  #commits = 0
  /** What the alarm is set to; undefined = not known. */
  #alarmMs: number | null | undefined = undefined

  constructor(
    storage: DurableObjectStorage,
    nowMs: () => number,
    onAlarmFailed: (error: unknown) => void,
    options: ObjectStoreOptions = {},
  ) {
    this.#storage = storage
    this.#nowMs = nowMs
    this.#onAlarmFailed = onAlarmFailed
    this.#onOutbox = options.onOutbox ?? (() => {})
    this.#sql = new ObjectSql(storage.sql)
    this.#rows = new RowTables(this.#sql, new TableSet(options.tables ?? []), options.outbox ?? false)
  }

  /** Rows as the platform bills them, an index's included; an alarm is one more. */
  get rowsWritten(): number {
    return this.#sql.rowsWritten
  }

  /** Whose object this is, as its first activation wrote it down: an alarm tells no name. null = never activated. */
  identity(): ShardId | null {
    if (this.#one(sql.HAS_TABLES)?.['n'] === 0) return null
    const contract = this.#one(sql.GET_META, 'contract')?.['value']
    const key = this.#one(sql.GET_META, 'key')?.['value']
    return typeof contract === 'string' && typeof key === 'string' ? { contract, key } : null
  }

  /** @throws TableError DetachedError */
  open(shard: ShardId): Stored {
    this.#prepare()
    return this.#storage.transactionSync(() => {
      this.#sql.run(sql.ADD_META, 'contract', shard.contract)
      this.#sql.run(sql.ADD_META, 'key', shard.key)
      this.#activation = Number(this.#one(sql.NEXT_ACTIVATION)!['value'])
      this.#prune()
      const kv = new Map<string, Uint8Array>()
      for (const { name, value } of this.#sql.all(sql.ALL_KV)) kv.set(String(name), bytesOf(value))
      const timers: StoredTimer[] = []
      for (const { name, due_ms, data } of this.#sql.all(sql.ALL_TIMERS)) {
        timers.push({ name: String(name), dueMs: Number(due_ms), data: bytesOf(data) })
      }
      const casts = this.#rows.pending(shardName(shard))
      return { activation: this.#activation, kv, timers, snapshot: this.#snapshot(), casts }
    })
  }

  channel(_shard: ShardId, channel: string): StoredChannel | null {
    const row = this.#one(sql.GET_CHANNEL, channel)
    return row ? { mark: Number(row['mark']), replies: bytesOf(row['replies']) } : null
  }

  row(shard: ShardId, table: TableDefinition, key: RowKey): Row | null {
    return this.#rows.row(table, shard.key, key)
  }

  list(shard: ShardId, table: TableDefinition, query: RowQuery): readonly Row[] {
    return this.#rows.list(table, shard.key, query)
  }

  commit(write: WriteSet): Outcome {
    if (write.activation !== this.#activation) {
      const cause = new Error(`activation ${write.activation} commits, but ${this.#activation} has begun`)
      return { kind: 'failed', cause }
    }
    let seq = 0
    const outcome = this.#transact(() => {
      this.#change(write.shard, write)
      if (write.snapshot) this.#saveSnapshot(write.snapshot)
      seq = this.#rows.append(shardName(write.shard), write)
    })
    if (outcome.kind !== 'committed') return outcome
    if (write.timers || (write.casts && !this.#isAwakeBefore(write.wakeMs))) this.#setAlarm(write.wakeMs)
    if (++this.#commits % PRUNE_EVERY === 0) this.#prune()
    if (seq === 0) return outcome
    this.#watch(write.wakeMs)
    this.#onOutbox(this.ownerOf(write.shard))
    return { kind: 'committed', seq }
  }

  reject(shard: ShardId, seq: number, channel: WriteSet['channel']): Outcome {
    let wakeMs: number | null | undefined
    const outcome = this.#transact(() => {
      this.#rows.takeBack(shardName(shard), seq, (undo) => {
        this.#change(shard, undo)
        wakeMs = undo.wakeMs
      })
      if (channel) this.#setChannel(channel)
    })
    if (outcome.kind !== 'committed') return outcome
    // Whatever of this activation is still to come was computed from what is taken back here.
    this.#activation = 0
    if (wakeMs !== undefined) this.#setAlarm(wakeMs)
    return outcome
  }

  fill(shard: ShardId, rows: readonly RowChange[], remains: Remains | null, done: boolean): Outcome {
    return this.#transact(() => {
      const name = shardName(shard)
      this.#rows.apply(shard.key, rows)
      for (const channel of remains?.channels ?? []) {
        if (isNewer(channel, this.channel(shard, channel.id)))
          this.#setChannel(channelWrite(channel.id, this.#nowMs(), channel))
      }
      if (remains) this.#rows.writeCasts(name, new Map(remains.casts.map((cast) => [cast.sequence, cast])))
      if (done) this.#rows.loaded(name)
    })
  }

  isLoaded(shard: ShardId): boolean {
    this.#prepare()
    return this.#rows.isLoaded(shardName(shard))
  }

  /** `object/player/ada` */
  ownerOf(shard: ShardId): string {
    return `object/${shardName(shard)}`
  }

  owners(): readonly string[] {
    const shard = this.identity()
    if (shard === null) return []
    this.#prepare()
    return this.#rows.outbox.holds() ? [this.ownerOf(shard)] : []
  }

  /** This object's, whatever the owner is called. */
  outbox(_owner: string): Outbox {
    this.#prepare()
    const rows = this.#rows
    const { outbox } = rows
    return {
      storeId: rows.storeId,
      get seq() {
        return outbox.seq
      },
      get trusted() {
        return outbox.trusted
      },
      doubt: () => this.#transact(() => outbox.doubt()),
      trust: () => this.#transact(() => outbox.trust()),
      // What is not durable yet is not seen by MySQL either: the output gate holds the query.
      read: (after, maxEntries, maxBytes) => outbox.read(after, outbox.seq, maxEntries, maxBytes),
      last: (shard, critical) => outbox.last(shardName(shard), critical),
      drop: (upTo) => {
        outbox.drop(upTo)
        // Without turns since, it is not to look as if something waited, each time the object comes to memory.
        const isQuiet = outbox.seq === this.#firstSeq
        return outbox.littered ? this.#transact(() => outbox.clear(Infinity, isQuiet)) : COMMITTED
      },
      raise: (seq) => this.#transact(() => outbox.raise(seq)),
      reset: async () => {
        let entries: readonly OutboxEntry[] = []
        const outcome = this.#transact(() => (entries = rows.reset()))
        if (outcome.kind !== 'committed') throw outcome.cause
        // Computed from rows that are gone.
        this.#activation = 0
        return entries
      },
    }
  }

  /** After an alarm has fired: sets the next one, so that a timer or cast whose turn did not commit is tried again. */
  rearm(retryMs: number): void {
    this.#prepare()
    const timer = this.#one(sql.NEXT_TIMER)?.['due_ms'] ?? null
    const soonMs = this.#nowMs() + retryMs
    this.#alarmMs = undefined
    const { outbox } = this.#rows
    if (outbox.littered) this.#transact(() => outbox.clear(Infinity, true))
    if (this.#rows.casting().length > 0 || outbox.holds()) this.#setAlarm(soonMs)
    else if (timer !== null) this.#setAlarm(Math.max(Number(timer), soonMs))
  }

  /** Once in the life of the object in memory. */
  #prepare(): void {
    if (this.#ready) return
    this.#storage.transactionSync(() => {
      for (const table of sql.OBJECT_TABLES) this.#sql.run(table)
      this.#rows.prepare(() => crypto.getRandomValues(new Uint8Array(16)))
    })
    this.#firstSeq = this.#rows.outbox.seq
    this.#ready = true
  }

  #transact(run: () => void): Outcome {
    try {
      this.#storage.transactionSync(run)
      return COMMITTED
    } catch (cause) {
      this.#rows.outbox.recount()
      return { kind: 'failed', cause }
    }
  }

  #change(shard: ShardId, { kv, timers, channel, rows, casts }: Change): void {
    for (const [name, value] of kv ?? []) {
      if (value) this.#sql.run(sql.SET_KV, name, value)
      else this.#sql.run(sql.DELETE_KV, name)
    }
    for (const [name, timer] of timers ?? []) {
      if (timer) this.#sql.run(sql.SET_TIMER, name, timer.dueMs, timer.data)
      else this.#sql.run(sql.DELETE_TIMER, name)
    }
    if (channel) this.#setChannel(channel)
    if (rows) this.#rows.apply(shard.key, rows)
    if (casts) this.#rows.writeCasts(shardName(shard), casts)
  }

  #setChannel({ id, mark, replies, nowMs }: NonNullable<WriteSet['channel']>): void {
    this.#sql.run(sql.SET_CHANNEL, id, mark, replies, nowMs)
  }

  #saveSnapshot(bytes: Uint8Array): void {
    let part = 0
    for (let at = 0; at < bytes.length; at += sql.SNAPSHOT_PART_BYTES) {
      this.#sql.run(sql.SET_SNAPSHOT, part++, bytes.subarray(at, at + sql.SNAPSHOT_PART_BYTES))
    }
    this.#sql.run(sql.TRIM_SNAPSHOT, part)
  }

  #snapshot(): Uint8Array | null {
    const parts = this.#sql.all(sql.ALL_SNAPSHOT).map(({ bytes }) => bytesOf(bytes))
    if (parts.length === 0) return null
    const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
    let at = 0
    for (const part of parts) {
      whole.set(part, at)
      at += part.length
    }
    return whole
  }

  /** Casts move the wake on with the clock: an alarm that is early costs less than a new one with each of them. */
  #isAwakeBefore(dueMs: number | null): boolean {
    const alarmMs = this.#alarmMs ?? 0
    return dueMs !== null && alarmMs <= dueMs && alarmMs > this.#nowMs()
  }

  /** An object that is reset before MySQL has heard of its turns wakes for them. One alarm serves for many turns. */
  #watch(wakeMs: number | null): void {
    const dueMs = this.#nowMs() + OUTBOX_WAKE_MS
    if (!this.#isAwakeBefore(dueMs)) this.#setAlarm(Math.min(dueMs, wakeMs ?? dueMs))
  }

  /** An alarm is a written row on the bill: set only when it changes. It is coalesced with the commit before it. */
  #setAlarm(dueMs: number | null): void {
    if (dueMs === this.#alarmMs) return
    this.#alarmMs = dueMs
    const done = dueMs === null ? this.#storage.deleteAlarm() : this.#storage.setAlarm(dueMs)
    void done.catch(this.#onAlarmFailed)
  }

  #prune(): void {
    const now = this.#nowMs()
    this.#sql.run(sql.PRUNE_CHANNELS, now - TIMES.keepMarksMs, now - TIMES.keepReceiptsMs)
  }

  #one(statement: string, ...cells: Cell[]): SqlRow | undefined {
    return this.#sql.all(statement, ...cells)[0]
  }
}

type Change = Pick<WriteSet, 'kv' | 'timers' | 'channel' | 'rows' | 'casts'>

class ObjectSql implements Sql {
  readonly #sql: SqlStorage
  rowsWritten = 0

  constructor(sql: SqlStorage) {
    this.#sql = sql
  }

  run(statement: string, ...cells: Cell[]): void {
    this.rowsWritten += this.#sql.exec(statement, ...cells).rowsWritten
  }

  all(statement: string, ...cells: Cell[]): SqlRow[] {
    const cursor = this.#sql.exec(statement, ...cells)
    const found = cursor.toArray()
    this.rowsWritten += cursor.rowsWritten
    return found
  }
}
