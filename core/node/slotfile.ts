// The SQLite file of one slot and its -wal file: opening, rows, transactions, checkpoints. Invariant: what `sync`
// confirmed survives a crash at any moment, also in the middle of a checkpoint.
//
// Why synchronous=NORMAL. Its COMMIT does not sync (`sync` does, outside the event loop), but SQLite still syncs where
// it must: both files before a WAL is overwritten or removed at close, the WAL's header when it starts again. With OFF
// a stale header could bring old frames back over newer pages. FULL would sync every COMMIT inside the event loop.
// A checkpoint copies with OFF, so that the database file is synced outside the event loop too; until that is done
// nobody may commit, because the first COMMIT afterwards overwrites the WAL. See `checkpoint` and `close`.
// locking_mode=EXCLUSIVE keeps every other process out by the kernel's lock, which dies with the process. A sync is of
// the inode, so descriptors of our own serve; that of the database file is closed after SQLite's, because closing any
// descriptor of a file drops the POSIX locks of the process on it.

import { closeSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'

import * as sql from '../../schemas/slot.ts'
import type {
  ChannelWrite,
  RowChange,
  StoredCast,
  StoredChannel,
  StoredTimer,
  WriteSet,
} from '../ports/store.ts'
import type { CriticalState } from '../ports/database.ts'
import type { ShardId } from '../wire/shardid.ts'
import { channelWrite } from '../ports/store.ts'
import { shardName } from '../wire/shardid.ts'
import type { TableSet } from '../sql/layout.ts'
import { isNewerMark, StoreTables } from '../outbox/storetables.ts'
import { linkWalBackup, restoreWalBackup, syncFolder } from './datafolder.ts'
import { TIMES } from '../wire/limits.ts'
import { toStoreError, StoreError } from './storeerror.ts'
import { PreparedStatements } from './statements.ts'

/** A WAL that grew past this is cut back when it starts again. */
const MAX_WAL_BYTES = 16_777_216

/** Replaced only by tests that break the disk. */
export type Fdatasync = (fd: number, done: (error: Error | null) => void) => void

/** Everything of one shard that its activation begins with. */
export interface StoredShardState {
  readonly kv: Map<string, Uint8Array>
  readonly timers: StoredTimer[]
  readonly snapshot: Uint8Array | null
  readonly casts: StoredCast[]
}

export interface RowTablesOptions {
  readonly tables: TableSet
  /** MySQL stands behind. */
  readonly outbox: boolean
  /** 16 unguessable bytes. */
  readonly newId: () => Uint8Array
}

export class SlotFile {
  readonly path: string
  /** To be changed inside a transaction only. */
  readonly rows: StoreTables
  readonly #db: DatabaseSync
  readonly #fd: number
  readonly #walFd: number
  /** A checkpoint's pages are not known to be on disk, though SQLite believes that the WAL is of no more use. */
  #isCheckpointUnsynced = false
  readonly #statements: PreparedStatements
  /** Two for each write set: not looked up. */
  readonly #beginSavepoint: StatementSync
  readonly #releaseSavepoint: StatementSync
  /** Of this transaction, by shard and id: only the last write of each is worth a row. */
  readonly #transactionChannels = new Map<string, SavedChannel>()
  /** Those of the part under way. */
  #savepointChannels: SavedChannel[] = []
  #pruneCursor: readonly [shard: string, id: string] = ['', '']

  /** Also what a killed process committed but did not sync is on disk before anyone reads it. @throws StoreError */
  constructor(path: string, setup: RowTablesOptions) {
    this.path = path
    const { db, statements, rows, fd, walFd } = openFile(path, setup)
    this.#db = db
    this.#statements = statements
    this.#beginSavepoint = db.prepare('SAVEPOINT part')
    this.#releaseSavepoint = db.prepare('RELEASE part')
    this.rows = rows
    this.#fd = fd
    this.#walFd = walFd
  }

  /** Frames in the WAL. */
  get walFrames(): number {
    return (this.#prepared('PRAGMA wal_checkpoint(NOOP)').get() as unknown as { log: number }).log
  }

  begin(): void {
    this.#prepared('BEGIN IMMEDIATE').run()
  }
  commit(): void {
    for (const { shard, channel } of this.#transactionChannels.values()) {
      const { id, mark, nowMs, replies } = channel
      this.#prepared(sql.SET_CHANNEL).run(shard, id, mark, nowMs, replies)
    }
    this.#transactionChannels.clear()
    this.#prepared('COMMIT').run()
  }
  /** Also where SQLite has done it by itself. */
  rollback(): void {
    this.#transactionChannels.clear()
    if (this.#db.isTransaction) this.#prepared('ROLLBACK').run()
    this.rows.outbox.reloadCounters()
  }

  /** Runs a part of a transaction whose failure leaves the other parts standing; returns what it threw. */
  runInSavepoint(run: () => void): { readonly cause: unknown } | null {
    this.#beginSavepoint.run()
    this.#savepointChannels = []
    try {
      run()
    } catch (cause) {
      // A full or failing disk may have ended the whole transaction.
      if (!this.#db.isTransaction) throw cause
      this.#prepared('ROLLBACK TO part').run()
      this.#releaseSavepoint.run()
      this.rows.outbox.reloadCounters()
      return { cause: toStoreError(cause, this.path) }
    }
    this.#releaseSavepoint.run()
    for (const one of this.#savepointChannels)
      this.#transactionChannels.set(channelName(one.shard, one.channel.id), one)
    return null
  }

  /**
   * The same for a single statement, which SQLite takes back by itself. It is cheaper where pages are freed: under a
   * savepoint they are all written.
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

  /** Everything committed so far is on disk once `done` is told no error. */
  sync(fdatasync: Fdatasync, done: (error: Error | null) => void): void {
    fdatasync(this.#walFd, done)
  }

  /** Copies the WAL's frames into the database file. No transaction may begin before `done` is told no error. */
  checkpoint(fdatasync: Fdatasync, done: (error: Error | null) => void): void {
    this.#db.exec('PRAGMA synchronous = OFF')
    try {
      this.#prepared('PRAGMA wal_checkpoint(PASSIVE)').get()
      this.#isCheckpointUnsynced = true
    } finally {
      this.#db.exec('PRAGMA synchronous = NORMAL')
    }
    fdatasync(this.#fd, (error) => {
      if (!error) this.#isCheckpointUnsynced = false
      done(error)
    })
  }

  /** SQLite copies the WAL once more, with its own syncs, and removes it if that went well. */
  closeFile(): void {
    // It would not copy what it believes to be copied: the WAL survives under a second name.
    const hasWalBackup = this.#isCheckpointUnsynced
    if (hasWalBackup) linkWalBackup(this.path)
    closeSync(this.#walFd)
    this.#db.close()
    closeSync(this.#fd)
    if (hasWalBackup) restoreWalBackup(this.path)
  }

  loadShard(shard: string): StoredShardState {
    const kv = new Map<string, Uint8Array>()
    const values = this.#prepared(sql.ALL_KV).all(shard) as unknown as { name: string; value: Uint8Array }[]
    for (const { name, value } of values) kv.set(name, value)
    const timers = this.#prepared(sql.ALL_TIMERS).all(shard) as unknown as StoredTimer[]
    const row = this.#prepared(sql.GET_SNAPSHOT).get(shard) as unknown as { data: Uint8Array } | undefined
    return {
      kv,
      timers: timers.map(({ name, dueMs, data }) => ({ name, dueMs, data })),
      snapshot: row?.data ?? null,
      casts: this.rows.pendingCasts(shard),
    }
  }

  readChannel(shard: string, id: string): StoredChannel | null {
    const saved = this.#transactionChannels.get(channelName(shard, id))?.channel
    if (saved) return saved
    const row = this.#prepared(sql.GET_CHANNEL).get(shard, id) as unknown as StoredChannel | undefined
    return row ? { mark: row.mark, replies: row.replies } : null
  }

  /** When each shard must be awake that has a durable timer due by `untilMs`. */
  timerDueTimes(untilMs: number): Map<string, number> {
    const timers = this.#prepared(sql.DUE_TIMERS).all(untilMs) as unknown as {
      shard: string
      dueMs: number
    }[]
    return new Map(timers.map(({ shard, dueMs }) => [shard, dueMs]))
  }

  /** The same, and at once those that have a cast without an answer. */
  wakeTimes(nowMs: number, untilMs: number): Map<string, number> {
    const wakes = this.timerDueTimes(untilMs)
    for (const shard of this.rows.shardsWithCasts())
      wakes.set(shard, Math.min(wakes.get(shard) ?? nowMs, nowMs))
    return wakes
  }

  reservedNumbers(): number {
    return (this.#prepared(sql.GET_RESERVED).get() as unknown as { reserved: number }).reserved
  }

  reserveNumbers(upTo: number): void {
    this.#prepared(sql.SET_RESERVED).run(upTo)
  }

  /** Returns the outbox sequence, 0 = MySQL need not hear of it. */
  apply(shard: string, write: WriteSet): number {
    this.#applyChange(shard, write.shard.key, write)
    if (write.snapshot) this.#prepared(sql.SET_SNAPSHOT).run(shard, write.snapshot)
    return this.rows.appendTurn(shard, write)
  }

  /** Takes what MySQL has of a shard; `done` = that was the last of it. */
  fill(
    id: ShardId,
    rows: readonly RowChange[],
    remains: CriticalState | null,
    isLast: boolean,
    nowMs: number,
  ): void {
    const shard = shardName(id)
    this.rows.applyChanges(id.key, rows)
    for (const channel of remains?.channels ?? [])
      if (isNewerMark(channel, this.readChannel(shard, channel.id)))
        this.#saveChannel(shard, channelWrite(channel.id, nowMs, channel))
    if (remains) this.rows.writeCasts(shard, new Map(remains.casts.map((cast) => [cast.sequence, cast])))
    if (isLast) this.rows.markLoaded(shard)
  }

  /** Takes turns back from `fromSeq` on. Returns when the shard must be awake now; undefined = as before. */
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

  #applyChange(shard: string, key: string, { kv, timers, channel, rows, casts }: SlotChange): void {
    if (kv) {
      for (const [name, value] of kv) {
        if (value) this.#prepared(sql.SET_KV).run(shard, name, value)
        else this.#prepared(sql.DELETE_KV).run(shard, name)
      }
    }
    if (timers) {
      for (const [name, timer] of timers) {
        if (timer) this.#prepared(sql.SET_TIMER).run(shard, name, timer.dueMs, timer.data)
        else this.#prepared(sql.DELETE_TIMER).run(shard, name)
      }
    }
    if (channel) this.#saveChannel(shard, channel)
    if (rows) this.rows.applyChanges(key, rows)
    if (casts) this.rows.writeCasts(shard, casts)
  }

  #saveChannel(shard: string, channel: ChannelWrite): void {
    this.#savepointChannels.push({ shard, channel })
  }

  /** Looks at the next `rows` channels and deletes those that are too old; goes round for ever. */
  pruneChannels(nowMs: number, rows: number): void {
    const [shard, id] = this.#pruneCursor
    const page = this.#prepared(sql.PAGE_OF_CHANNELS).all(shard, id, rows) as unknown as {
      shard: string
      id: string
      seenMs: number
    }[]
    for (const row of page) {
      const keepMs = row.id.startsWith('@') ? TIMES.keepReceiptsMs : TIMES.keepMarksMs
      if (row.seenMs < nowMs - keepMs) this.#prepared(sql.DELETE_CHANNEL).run(row.shard, row.id)
    }
    const last = page.length === rows ? page.at(-1) : undefined
    this.#pruneCursor = last ? [last.shard, last.id] : ['', '']
  }

  #prepared(text: string): StatementSync {
    return this.#statements.prepare(text)
  }
}

interface SavedChannel {
  readonly shard: string
  readonly channel: ChannelWrite
}

/** Unmistakable: no key has a control character. */
function channelName(shard: string, id: string): string {
  return `${shard}\n${id}`
}

type SlotChange = Pick<WriteSet, 'kv' | 'timers' | 'channel' | 'rows' | 'casts'>

interface OpenedSlotFile {
  readonly db: DatabaseSync
  readonly statements: PreparedStatements
  readonly rows: StoreTables
  readonly fd: number
  readonly walFd: number
}

function openFile(path: string, setup: RowTablesOptions): OpenedSlotFile {
  let db: DatabaseSync | null = null
  const fds: number[] = []
  try {
    restoreWalBackup(path)
    db = new DatabaseSync(path, { timeout: 0 })
    db.exec('PRAGMA locking_mode = EXCLUSIVE')
    const format = formatOf(db, path)
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0')
    db.exec(`PRAGMA journal_size_limit = ${MAX_WAL_BYTES}`)
    const statements = new PreparedStatements(db)
    const rows = new StoreTables(statements, setup.tables, setup.outbox)
    db.exec('BEGIN IMMEDIATE')
    for (const step of sql.SLOT_STEPS.slice(format)) db.exec(step)
    if (format < sql.SLOT_FORMAT) db.exec(`PRAGMA user_version = ${sql.SLOT_FORMAT}`)
    rows.prepare(setup.newId)
    db.exec('COMMIT')
    // After a crash the WAL may hold frames that were never synced: they are made durable before they are believed.
    db.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()
    const fd = openSync(path, 'r+')
    fds.push(fd)
    const walFd = openSync(`${path}-wal`, 'r+')
    fds.push(walFd)
    // The -wal file keeps its name until the last close, so its directory entry is synced once.
    syncFolder(dirname(path))
    return { db, statements, rows, fd, walFd }
  } catch (cause) {
    db?.close()
    for (const fd of fds) closeSync(fd)
    throw toStoreError(cause, path)
  }
}

/** 0 = the file is new. Its header counts as ours only together with its tables: one transaction made both. */
function formatOf(db: DatabaseSync, path: string): number {
  const application = Number(db.prepare('PRAGMA application_id').get()?.['application_id'])
  const format = Number(db.prepare('PRAGMA user_version').get()?.['user_version'])
  const tables = Number(db.prepare(sql.COUNT_TABLES).get()?.['tables'])
  if (application === 0 && format === 0 && tables === 0) return 0
  if (application !== sql.SLOT_APPLICATION_ID || format < 1) {
    throw new StoreError('FOREIGN', `${path} is not a slot file of Firefly: choose another data directory`)
  }
  if (format > sql.SLOT_FORMAT) {
    const advice = 'start the newer version, or choose another data directory'
    throw new StoreError(
      'NEWER',
      `${path} has format ${format}, this Firefly reads up to ${sql.SLOT_FORMAT}: ${advice}`,
    )
  }
  return format
}
