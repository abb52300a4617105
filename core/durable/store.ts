// The Store of one shard: its Durable Object's own SQLite. A commit is synchronous and answers at once, although
// the bytes are not on disk yet: the platform's output gate holds every message, response and RPC answer that is
// sent afterwards until they are, and resets the object (dropping what was held) if they cannot be. So 'committed'
// here means that nobody can see the turn unless it is durable, MySQL included, which is all that the engine needs.
// Invariant: one commit is one transactionSync; a commit of an earlier activation is refused.

import type { TableDefinition } from '../game/table.ts'
import type {
  Outcome,
  Row,
  RowChange,
  RowKey,
  RowQuery,
  StoredShard,
  StoredChannel,
  StoredTimer,
  WriteSet,
} from '../ports/store.ts'
import type { CriticalState } from '../ports/database.ts'
import type { ShardId } from '../wire/shardid.ts'
import { channelWrite, COMMITTED } from '../ports/store.ts'
import { shardName } from '../wire/shardid.ts'
import { TableSet } from '../sql/layout.ts'
import type { LocalStore, Outbox, OutboxEntry } from '../outbox/localstore.ts'
import { isNewerMark, StoreTables } from '../outbox/storetables.ts'
import { blobBytes, type SqliteValue, type SqliteHandle, type SqliteRow } from '../sql/sqlite.ts'
import { TIMES } from '../wire/limits.ts'
import * as sql from '../../schemas/object.ts'

/** Marks are pruned at each activation, and again after so many commits: a shard may live for weeks. */
const PRUNE_EVERY_COMMITS = 4_096
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
  readonly #rows: StoreTables
  #isPrepared = false
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
    this.#rows = new StoreTables(this.#sql, new TableSet(options.tables ?? []), options.outbox ?? false)
  }

  /** Rows as the platform bills them, an index's included; an alarm is one more. */
  get rowsWritten(): number {
    return this.#sql.rowsWritten
  }

  /** Whose object this is, as its first activation wrote it down: an alarm tells no name. null = never activated. */
  storedShardId(): ShardId | null {
    if (this.#firstRow(sql.HAS_TABLES)?.['n'] === 0) return null
    const contract = this.#firstRow(sql.GET_META, 'contract')?.['value']
    const key = this.#firstRow(sql.GET_META, 'key')?.['value']
    return typeof contract === 'string' && typeof key === 'string' ? { contract, key } : null
  }

  /** @throws TableError DetachedError */
  open(shard: ShardId): StoredShard {
    this.#prepare()
    return this.#storage.transactionSync(() => {
      this.#sql.run(sql.ADD_META, 'contract', shard.contract)
      this.#sql.run(sql.ADD_META, 'key', shard.key)
      this.#activation = Number(this.#firstRow(sql.NEXT_ACTIVATION)!['value'])
      this.#pruneMarks()
      const kv = new Map<string, Uint8Array>()
      for (const { name, value } of this.#sql.all(sql.ALL_KV)) kv.set(String(name), blobBytes(value))
      const timers: StoredTimer[] = []
      for (const { name, due_ms, data } of this.#sql.all(sql.ALL_TIMERS)) {
        timers.push({ name: String(name), dueMs: Number(due_ms), data: blobBytes(data) })
      }
      const casts = this.#rows.pendingCasts(shardName(shard))
      return { activation: this.#activation, kv, timers, snapshot: this.#snapshot(), casts }
    })
  }

  channel(_shard: ShardId, channel: string): StoredChannel | null {
    const row = this.#firstRow(sql.GET_CHANNEL, channel)
    return row ? { mark: Number(row['mark']), replies: blobBytes(row['replies']) } : null
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
      this.#applyChange(write.shard, write)
      if (write.snapshot) this.#saveSnapshot(write.snapshot)
      seq = this.#rows.appendTurn(shardName(write.shard), write)
    })
    if (outcome.kind !== 'committed') return outcome
    if (write.timers || (write.casts && !this.#hasAlarmBefore(write.wakeMs))) this.#setAlarm(write.wakeMs)
    if (++this.#commits % PRUNE_EVERY_COMMITS === 0) this.#pruneMarks()
    if (seq === 0) return outcome
    this.#ensureOutboxAlarm(write.wakeMs)
    this.#onOutbox(this.ownerOf(write.shard))
    return { kind: 'committed', seq }
  }

  reject(shard: ShardId, seq: number, channel: WriteSet['channel']): Outcome {
    let wakeMs: number | null | undefined
    const outcome = this.#transact(() => {
      this.#rows.undoTurns(shardName(shard), seq, (undo) => {
        this.#applyChange(shard, undo)
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

  fill(shard: ShardId, rows: readonly RowChange[], remains: CriticalState | null, done: boolean): Outcome {
    return this.#transact(() => {
      const name = shardName(shard)
      this.#rows.applyChanges(shard.key, rows)
      for (const channel of remains?.channels ?? []) {
        if (isNewerMark(channel, this.channel(shard, channel.id)))
          this.#setChannel(channelWrite(channel.id, this.#nowMs(), channel))
      }
      if (remains) this.#rows.writeCasts(name, new Map(remains.casts.map((cast) => [cast.sequence, cast])))
      if (done) this.#rows.markLoaded(name)
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

  ownersWithEntries(): readonly string[] {
    const shard = this.storedShardId()
    if (shard === null) return []
    this.#prepare()
    return this.#rows.outbox.hasEntries() ? [this.ownerOf(shard)] : []
  }

  /** This object's, whatever the owner is called. */
  outboxOf(_owner: string): Outbox {
    this.#prepare()
    const rows = this.#rows
    const { outbox } = rows
    return {
      storeId: rows.storeId,
      get lastSeq() {
        return outbox.lastSeq
      },
      get leasedSeq() {
        return outbox.leasedSeq
      },
      markUnleased: () => this.#transact(() => outbox.markUnleased()),
      markLeased: () => this.#transact(() => outbox.markLeased()),
      // What is not durable yet is not seen by MySQL either: the output gate holds the query.
      read: (after, maxEntries, maxBytes) => outbox.read(after, outbox.lastSeq, maxEntries, maxBytes),
      lastSeqOf: (shard, critical) => outbox.lastSeqOf(shardName(shard), critical),
      drop: (upTo) => {
        outbox.drop(upTo)
        // Without turns since, it is not to look as if something waited, each time the object comes to memory.
        const isQuiet = outbox.lastSeq === this.#firstSeq
        return outbox.hasRowsToDelete
          ? this.#transact(() => outbox.deleteDropped(Infinity, isQuiet))
          : COMMITTED
      },
      raiseSeq: (seq) => this.#transact(() => outbox.raiseSeq(seq)),
      reset: async () => {
        let entries: readonly OutboxEntry[] = []
        const outcome = this.#transact(() => (entries = rows.resetStore()))
        if (outcome.kind !== 'committed') throw outcome.cause
        // Computed from rows that are gone.
        this.#activation = 0
        return entries
      },
    }
  }

  /** After an alarm has fired: sets the next one, so that a timer or cast whose turn did not commit is tried again. */
  setNextAlarm(retryMs: number): void {
    this.#prepare()
    const timer = this.#firstRow(sql.NEXT_TIMER)?.['due_ms'] ?? null
    const soonMs = this.#nowMs() + retryMs
    this.#alarmMs = undefined
    const { outbox } = this.#rows
    if (outbox.hasRowsToDelete) this.#transact(() => outbox.deleteDropped(Infinity, true))
    if (this.#rows.shardsWithCasts().length > 0 || outbox.hasEntries()) this.#setAlarm(soonMs)
    else if (timer !== null) this.#setAlarm(Math.max(Number(timer), soonMs))
  }

  /** Once in the life of the object in memory. */
  #prepare(): void {
    if (this.#isPrepared) return
    this.#storage.transactionSync(() => {
      for (const table of sql.OBJECT_TABLES) this.#sql.run(table)
      this.#rows.prepare(() => crypto.getRandomValues(new Uint8Array(16)))
    })
    this.#firstSeq = this.#rows.outbox.lastSeq
    this.#isPrepared = true
  }

  #transact(run: () => void): Outcome {
    try {
      this.#storage.transactionSync(run)
      return COMMITTED
    } catch (cause) {
      this.#rows.outbox.reloadCounters()
      return { kind: 'failed', cause }
    }
  }

  #applyChange(shard: ShardId, { kv, timers, channel, rows, casts }: ShardChange): void {
    for (const [name, value] of kv ?? []) {
      if (value) this.#sql.run(sql.SET_KV, name, value)
      else this.#sql.run(sql.DELETE_KV, name)
    }
    for (const [name, timer] of timers ?? []) {
      if (timer) this.#sql.run(sql.SET_TIMER, name, timer.dueMs, timer.data)
      else this.#sql.run(sql.DELETE_TIMER, name)
    }
    if (channel) this.#setChannel(channel)
    if (rows) this.#rows.applyChanges(shard.key, rows)
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
    const parts = this.#sql.all(sql.ALL_SNAPSHOT).map(({ bytes }) => blobBytes(bytes))
    if (parts.length === 0) return null
    const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
    let at = 0
    for (const part of parts) {
      joined.set(part, at)
      at += part.length
    }
    return joined
  }

  /** Casts move the wake on with the clock: an alarm that is early costs less than a new one with each of them. */
  #hasAlarmBefore(dueMs: number | null): boolean {
    const alarmMs = this.#alarmMs ?? 0
    return dueMs !== null && alarmMs <= dueMs && alarmMs > this.#nowMs()
  }

  /** An object that is reset before MySQL has heard of its turns wakes for them. One alarm serves for many turns. */
  #ensureOutboxAlarm(wakeMs: number | null): void {
    const dueMs = this.#nowMs() + OUTBOX_WAKE_MS
    if (!this.#hasAlarmBefore(dueMs)) this.#setAlarm(Math.min(dueMs, wakeMs ?? dueMs))
  }

  /** An alarm is a written row on the bill: set only when it changes. It is coalesced with the commit before it. */
  #setAlarm(dueMs: number | null): void {
    if (dueMs === this.#alarmMs) return
    this.#alarmMs = dueMs
    const done = dueMs === null ? this.#storage.deleteAlarm() : this.#storage.setAlarm(dueMs)
    void done.catch(this.#onAlarmFailed)
  }

  #pruneMarks(): void {
    const now = this.#nowMs()
    this.#sql.run(sql.PRUNE_CHANNELS, now - TIMES.keepMarksMs, now - TIMES.keepReceiptsMs)
  }

  #firstRow(statement: string, ...cells: SqliteValue[]): SqliteRow | undefined {
    return this.#sql.all(statement, ...cells)[0]
  }
}

type ShardChange = Pick<WriteSet, 'kv' | 'timers' | 'channel' | 'rows' | 'casts'>

class ObjectSql implements SqliteHandle {
  readonly #sql: SqlStorage
  rowsWritten = 0

  constructor(sql: SqlStorage) {
    this.#sql = sql
  }

  run(statement: string, ...cells: SqliteValue[]): void {
    this.rowsWritten += this.#sql.exec(statement, ...cells).rowsWritten
  }

  all(statement: string, ...cells: SqliteValue[]): SqliteRow[] {
    const cursor = this.#sql.exec(statement, ...cells)
    const found = cursor.toArray()
    this.rowsWritten += cursor.rowsWritten
    return found
  }
}
