// The SQLite file of one slot and its -wal file: transactions, checkpoints, the state of shards. Invariant: what `sync`
// confirmed survives a crash at any moment, also during a checkpoint.
//
// Why synchronous=NORMAL: its COMMIT does not sync (`sync` does, outside the event loop), but SQLite still syncs where
// it must: both files before a WAL is overwritten or removed at close, and the WAL's header when the WAL restarts. With
// OFF a stale header could replay old frames over newer pages. FULL would sync every COMMIT inside the event loop.
// A checkpoint copies with OFF, so that the sync of the database file also runs outside the event loop. Until it is
// done no transaction may commit, because the next COMMIT overwrites the WAL. See `checkpoint` and `closeFile`.
// locking_mode=EXCLUSIVE excludes other processes by a kernel lock that ends with the process. A sync applies to the
// inode, so our own descriptors are enough. Ours of the database file is closed after SQLite's, because closing any
// descriptor of a file releases the POSIX locks of the process on it.

import { closeSync } from 'node:fs'
import type { DatabaseSync, StatementSync } from 'node:sqlite'

import * as sql from '../../schemas/slot.ts'
import { isNewerMark, type StoreTables } from '../outbox/storetables.ts'
import type { CriticalState } from '../ports/database.ts'
import {
  channelWrite,
  type ChannelWrite,
  type RowChange,
  type ShardChange,
  type StoredChannel,
  type StoredShard,
  type StoredTimer,
  type WriteSet,
} from '../ports/store.ts'
import { TIMES } from '../wire/limits.ts'
import { shardName, type ShardId } from '../wire/shardid.ts'
import { linkWalBackup, restoreWalBackup } from './datafolder.ts'
import { openSlotFile, type RowTablesOptions } from './slotformat.ts'
import type { PreparedStatements } from './statements.ts'
import { toStoreError } from './storeerror.ts'

/** Replaced only by tests that inject disk errors. */
export type Fdatasync = (fd: number, done: (error: Error | null) => void) => void

export class SlotFile {
  readonly path: string
  /** Changed inside a transaction only. */
  readonly rows: StoreTables
  readonly #db: DatabaseSync
  readonly #fd: number
  readonly #walFd: number
  /** The pages of a checkpoint are not synced yet, although SQLite considers the WAL obsolete. */
  #isCheckpointUnsynced = false
  readonly #statements: PreparedStatements
  /** Run for each write set, so they are not looked up by text. */
  readonly #beginSavepoint: StatementSync
  readonly #releaseSavepoint: StatementSync
  /** Channels written in this transaction, by shard and id; only the last write of each becomes a row. */
  readonly #transactionChannels = new Map<string, SavedChannel>()
  /** Channels written in the current savepoint. */
  #savepointChannels: SavedChannel[] = []
  #pruneCursor: readonly [shard: string, id: string] = ['', '']

  /** @throws StoreError */
  constructor(path: string, options: RowTablesOptions) {
    this.path = path
    const { db, statements, rows, fd, walFd } = openSlotFile(path, options)
    this.#db = db
    this.#statements = statements
    this.#beginSavepoint = db.prepare('SAVEPOINT part')
    this.#releaseSavepoint = db.prepare('RELEASE part')
    this.rows = rows
    this.#fd = fd
    this.#walFd = walFd
  }

  /** Number of frames in the WAL. */
  get walFrames(): number {
    return this.#statements.row<{ log: number }>('PRAGMA wal_checkpoint(NOOP)')!.log
  }

  begin(): void {
    this.#statements.run('BEGIN IMMEDIATE')
  }
  commit(): void {
    for (const { shard, channel } of this.#transactionChannels.values()) {
      const { id, mark, nowMs, replies } = channel
      this.#statements.run(sql.SET_CHANNEL, shard, id, mark, nowMs, replies)
    }
    this.#transactionChannels.clear()
    this.#statements.run('COMMIT')
  }
  /** Also called after SQLite rolled back by itself. */
  rollback(): void {
    this.#transactionChannels.clear()
    if (this.#db.isTransaction) this.#statements.run('ROLLBACK')
    this.rows.outbox.reloadCounters()
  }

  /** Runs a part of a transaction. If it fails, the other parts stay; returns what it threw. */
  runInSavepoint(run: () => void): { readonly cause: unknown } | null {
    this.#beginSavepoint.run()
    this.#savepointChannels = []
    try {
      run()
    } catch (cause) {
      // After a disk error SQLite may have rolled back the whole transaction.
      if (!this.#db.isTransaction) throw cause
      this.#statements.run('ROLLBACK TO part')
      this.#releaseSavepoint.run()
      this.rows.outbox.reloadCounters()
      return { cause: toStoreError(cause, this.path) }
    }
    this.#releaseSavepoint.run()
    for (const saved of this.#savepointChannels)
      this.#transactionChannels.set(channelName(saved.shard, saved.channel.id), saved)
    return null
  }

  /**
   * The same for a single statement, which SQLite rolls back by itself. Cheaper when pages are freed, because a
   * savepoint would write all of them.
   */
  runStatement(run: () => void): { readonly cause: unknown } | null {
    try {
      run()
      return null
    } catch (cause) {
      if (!this.#db.isTransaction) throw cause
      return { cause: toStoreError(cause, this.path) }
    }
  }

  /** All commits before this call are durable when `done` receives no error. */
  sync(fdatasync: Fdatasync, done: (error: Error | null) => void): void {
    fdatasync(this.#walFd, done)
  }

  /** Copies the WAL's frames into the database file. No transaction may begin before `done` receives no error. */
  checkpoint(fdatasync: Fdatasync, done: (error: Error | null) => void): void {
    this.#db.exec('PRAGMA synchronous = OFF')
    try {
      this.#statements.row('PRAGMA wal_checkpoint(PASSIVE)')
      this.#isCheckpointUnsynced = true
    } finally {
      this.#db.exec('PRAGMA synchronous = NORMAL')
    }
    fdatasync(this.#fd, (error) => {
      if (!error) this.#isCheckpointUnsynced = false
      done(error)
    })
  }

  /** SQLite copies the WAL a last time, with its own syncs, and removes it on success. */
  closeFile(): void {
    // SQLite would remove a WAL whose copied pages are not synced, so it is linked under a second name.
    const hasWalBackup = this.#isCheckpointUnsynced
    if (hasWalBackup) linkWalBackup(this.path)
    closeSync(this.#walFd)
    this.#db.close()
    closeSync(this.#fd)
    if (hasWalBackup) restoreWalBackup(this.path)
  }

  /** The stored state with which an activation of the shard starts. */
  loadShard(shard: string): Omit<StoredShard, 'activation'> {
    const values = this.#statements.rows<{ name: string; value: Uint8Array }>(sql.ALL_KV, shard)
    const timers = this.#statements.rows<StoredTimer>(sql.ALL_TIMERS, shard)
    return {
      kv: new Map(values.map(({ name, value }) => [name, value])),
      timers: timers.map(({ name, dueMs, data }) => ({ name, dueMs, data })),
      snapshot: this.#statements.row<{ data: Uint8Array }>(sql.GET_SNAPSHOT, shard)?.data ?? null,
      casts: this.rows.pendingCasts(shard),
    }
  }

  readChannel(shard: string, id: string): StoredChannel | null {
    const saved = this.#transactionChannels.get(channelName(shard, id))?.channel
    if (saved) return saved
    const row = this.#statements.row<StoredChannel>(sql.GET_CHANNEL, shard, id)
    return row ? { mark: row.mark, replies: row.replies } : null
  }

  /** Returns the shards with a durable timer due by `untilMs`, each with the time of its earliest one. */
  timerDueTimes(untilMs: number): Map<string, number> {
    const timers = this.#statements.rows<{ shard: string; dueMs: number }>(sql.DUE_TIMERS, untilMs)
    return new Map(timers.map(({ shard, dueMs }) => [shard, dueMs]))
  }

  /** The same, plus the shards with an unanswered cast, which are due at `nowMs`. */
  wakeTimes(nowMs: number, untilMs: number): Map<string, number> {
    const wakes = this.timerDueTimes(untilMs)
    for (const shard of this.rows.shardsWithCasts()) wakes.set(shard, Math.min(wakes.get(shard) ?? nowMs, nowMs))
    return wakes
  }

  reservedNumbers(): number {
    return this.#statements.row<{ reserved: number }>(sql.GET_RESERVED)!.reserved
  }

  reserveNumbers(upTo: number): void {
    this.#statements.run(sql.SET_RESERVED, upTo)
  }

  /** Returns the outbox sequence, 0 = no outbox entry. */
  apply(shard: string, write: WriteSet): number {
    this.#applyChange(shard, write.shard.key, write)
    if (write.snapshot) this.#statements.run(sql.SET_SNAPSHOT, shard, write.snapshot)
    return this.rows.appendTurn(shard, write)
  }

  /** Stores a part of what MySQL has of a shard. @param isLast the shard is loaded completely */
  fill(id: ShardId, rows: readonly RowChange[], remains: CriticalState | null, isLast: boolean, nowMs: number): void {
    const shard = shardName(id)
    this.rows.applyChanges(id.key, rows)
    for (const channel of remains?.channels ?? [])
      if (isNewerMark(channel, this.readChannel(shard, channel.id)))
        this.#saveChannel(shard, channelWrite(channel.id, nowMs, channel))
    if (remains) this.rows.writeCasts(shard, new Map(remains.casts.map((cast) => [cast.sequence, cast])))
    if (isLast) this.rows.markLoaded(shard)
  }

  /** Undoes turns from `fromSeq` on. Returns the new wake time of the shard, undefined = unchanged. */
  reject(id: ShardId, fromSeq: number, channel: WriteSet['channel']): number | null | undefined {
    const shard = shardName(id)
    let wakeMs: number | null | undefined
    this.rows.undoTurns(shard, fromSeq, (undo) => {
      this.#applyChange(shard, id.key, undo)
      wakeMs = undo.wakeMs
    })
    if (channel) this.#saveChannel(shard, channel)
    return wakeMs
  }

  #applyChange(shard: string, key: string, { kv, timers, channel, rows, casts }: ShardChange): void {
    if (kv) {
      for (const [name, value] of kv) {
        if (value) this.#statements.run(sql.SET_KV, shard, name, value)
        else this.#statements.run(sql.DELETE_KV, shard, name)
      }
    }
    if (timers) {
      for (const [name, timer] of timers) {
        if (timer) this.#statements.run(sql.SET_TIMER, shard, name, timer.dueMs, timer.data)
        else this.#statements.run(sql.DELETE_TIMER, shard, name)
      }
    }
    if (channel) this.#saveChannel(shard, channel)
    if (rows) this.rows.applyChanges(key, rows)
    if (casts) this.rows.writeCasts(shard, casts)
  }

  #saveChannel(shard: string, channel: ChannelWrite): void {
    this.#savepointChannels.push({ shard, channel })
  }

  /** Deletes the channels that are too old among the next `rows` ones; starts again after the last channel. */
  pruneChannels(nowMs: number, rows: number): void {
    const [shard, id] = this.#pruneCursor
    type Channel = { readonly shard: string; readonly id: string; readonly seenMs: number }
    const page = this.#statements.rows<Channel>(sql.PAGE_OF_CHANNELS, shard, id, rows)
    for (const row of page) {
      // An id with '@' is the receipt of a durable cast.
      const keepMs = row.id.startsWith('@') ? TIMES.keepReceiptsMs : TIMES.keepMarksMs
      if (row.seenMs < nowMs - keepMs) this.#statements.run(sql.DELETE_CHANNEL, row.shard, row.id)
    }
    const last = page.length === rows ? page.at(-1) : undefined
    this.#pruneCursor = last ? [last.shard, last.id] : ['', '']
  }
}

interface SavedChannel {
  readonly shard: string
  readonly channel: ChannelWrite
}

/** Unique, because a shard's key contains no control character. */
function channelName(shard: string, id: string): string {
  return `${shard}\n${id}`
}
