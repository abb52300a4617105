// The Store of one shard: the SQLite of its Durable Object. A commit is synchronous and returns before the bytes are on
// disk: the platform's output gate holds every later message, response and RPC answer until they are, and resets the
// object (dropping the held output) if that fails. So 'committed' means here that the effects of a turn become visible,
// to MySQL as well, only if the turn is durable. Invariant: one commit is one transactionSync; a commit of an earlier
// activation fails.

import * as sql from '../../schemas/object.ts'
import type { TableDefinition } from '../game/table.ts'
import type { LocalStore, Outbox, OutboxEntry } from '../outbox/localstore.ts'
import { isNewerMark, StoreTables } from '../outbox/storetables.ts'
import type { CriticalState } from '../ports/database.ts'
import {
  channelWrite,
  COMMITTED,
  type ChannelWrite,
  type Outcome,
  type Row,
  type RowChange,
  type RowKey,
  type RowQuery,
  type ShardChange,
  type StoredChannel,
  type StoredShard,
  type StoredTimer,
  type WriteSet,
} from '../ports/store.ts'
import { TableSet } from '../sql/layout.ts'
import { blobBytes, type SqliteHandle, type SqliteRow, type SqliteValue } from '../sql/sqlite.ts'
import { joinBytes } from '../wire/bytes.ts'
import { TIMES } from '../wire/limits.ts'
import { shardName, type ShardId } from '../wire/shardid.ts'

/** Old channels are pruned at each activation and after this many commits, because an activation may last for weeks. */
const PRUNE_EVERY_COMMITS = 4_096
/** Much longer than the flusher normally takes. */
const OUTBOX_WAKE_MS = 30_000

export interface ObjectStoreOptions {
  /** The tables of the game. Default: none. */
  readonly tables?: readonly TableDefinition[]
  /** Changes are queued in an outbox for MySQL. Default false. */
  readonly outbox?: boolean
}

export class ObjectStore implements LocalStore {
  readonly #storage: DurableObjectStorage
  readonly #nowMs: () => number
  readonly #onAlarmFailed: (error: unknown) => void
  readonly #sql: ObjectSql
  readonly #rows: StoreTables
  #isPrepared = false
  /** The outbox sequence when this object was loaded into memory. */
  #firstSeq = 0
  #activation = 0
  #commits = 0
  /** The time that the alarm is set to; undefined = unknown. */
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
    this.#sql = new ObjectSql(storage.sql)
    this.#rows = new StoreTables(this.#sql, new TableSet(options.tables ?? []), options.outbox ?? false)
  }

  /** Written rows as the platform bills them, including those of an index. An alarm is billed as one more row. */
  get rowsWritten(): number {
    return this.#sql.rowsWritten
  }

  /** The shard of this object, stored by its first activation, because an alarm has no name. null = never activated. */
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
      for (const { name, due_ms, data } of this.#sql.all(sql.ALL_TIMERS))
        timers.push({ name: String(name), dueMs: Number(due_ms), data: blobBytes(data) })
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
      const cause = new Error(`activation ${write.activation} is not the current one, ${this.#activation}`)
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
    // Later commits of this activation must fail: they are computed from the undone turns.
    this.#activation = 0
    if (wakeMs !== undefined) this.#setAlarm(wakeMs)
    return outcome
  }

  fill(shard: ShardId, rows: readonly RowChange[], remains: CriticalState | null, isLast: boolean): Outcome {
    return this.#transact(() => {
      const name = shardName(shard)
      this.#rows.applyChanges(shard.key, rows)
      for (const channel of remains?.channels ?? []) {
        if (isNewerMark(channel, this.channel(shard, channel.id)))
          this.#setChannel(channelWrite(channel.id, this.#nowMs(), channel))
      }
      if (remains) this.#rows.writeCasts(name, new Map(remains.casts.map((cast) => [cast.sequence, cast])))
      if (isLast) this.#rows.markLoaded(name)
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

  /** The object has one outbox, so the owner is ignored. */
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
      // Entries that are not durable yet do not reach MySQL, because the output gate holds the query.
      read: (after, maxEntries, maxBytes) => outbox.read(after, outbox.lastSeq, maxEntries, maxBytes),
      lastSeqOf: (shard, critical) => outbox.lastSeqOf(shardName(shard), critical),
      drop: (upTo) => {
        outbox.drop(upTo)
        // Without new turns since the load the last row is blanked too: else it would look pending at each load.
        const hasNoNewTurns = outbox.lastSeq === this.#firstSeq
        return outbox.hasRowsToDelete ? this.#transact(() => outbox.deleteDropped(Infinity, hasNoNewTurns)) : COMMITTED
      },
      raiseSeq: (seq) => this.#transact(() => outbox.raiseSeq(seq)),
      reset: async () => {
        let entries: readonly OutboxEntry[] = []
        const outcome = this.#transact(() => (entries = rows.resetStore()))
        if (outcome.kind !== 'committed') throw outcome.cause
        // Later commits of this activation must fail: they are computed from the deleted rows.
        this.#activation = 0
        return entries
      },
    }
  }

  /** Called after an alarm: sets the next one, so that a timer or cast whose turn did not commit is retried. */
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

  /** Runs once per load of the object into memory. */
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

  #setChannel({ id, mark, replies, nowMs }: ChannelWrite): void {
    this.#sql.run(sql.SET_CHANNEL, id, mark, replies, nowMs)
  }

  #saveSnapshot(bytes: Uint8Array): void {
    let part = 0
    for (let at = 0; at < bytes.length; at += sql.SNAPSHOT_PART_BYTES)
      this.#sql.run(sql.SET_SNAPSHOT, part++, bytes.subarray(at, at + sql.SNAPSHOT_PART_BYTES))
    this.#sql.run(sql.TRIM_SNAPSHOT, part)
  }

  #snapshot(): Uint8Array | null {
    const parts = this.#sql.all(sql.ALL_SNAPSHOT).map(({ bytes }) => blobBytes(bytes))
    return parts.length === 0 ? null : joinBytes(parts)
  }

  /** Each cast sets a later wake time; an alarm that fires early costs less than a new alarm per cast. */
  #hasAlarmBefore(dueMs: number | null): boolean {
    const alarmMs = this.#alarmMs ?? 0
    return dueMs !== null && alarmMs <= dueMs && alarmMs > this.#nowMs()
  }

  /** Ensures that an object which is reset before its flush is activated again. One alarm serves many turns. */
  #ensureOutboxAlarm(wakeMs: number | null): void {
    const dueMs = this.#nowMs() + OUTBOX_WAKE_MS
    if (!this.#hasAlarmBefore(dueMs)) this.#setAlarm(Math.min(dueMs, wakeMs ?? dueMs))
  }

  /** Sets the alarm only if it changes, because it is billed as a written row. It is coalesced with the last commit. */
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

class ObjectSql implements SqliteHandle {
  readonly #sql: SqlStorage
  /** Written only here. */
  rowsWritten = 0

  constructor(sql: SqlStorage) {
    this.#sql = sql
  }

  run(statement: string, ...cells: SqliteValue[]): void {
    this.rowsWritten += this.#sql.exec(statement, ...cells).rowsWritten
  }

  all(statement: string, ...cells: SqliteValue[]): SqliteRow[] {
    const cursor = this.#sql.exec(statement, ...cells)
    const rows = cursor.toArray()
    this.rowsWritten += cursor.rowsWritten
    return rows
  }
}
