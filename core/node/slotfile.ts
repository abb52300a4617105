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

import { closeSync, existsSync, fsyncSync, linkSync, openSync, renameSync, unlinkSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'

import * as sql from '../../schemas/slot.ts'
import type { StoredChannel, StoredTimer, WriteSet } from '../run/ports.ts'
import { explain, StoreError } from './fault.ts'

/** A WAL that grew past this is cut back when it starts again. */
const WAL_BYTES = 16_777_216

/** Replaced only by tests that break the disk. */
export type Fdatasync = (fd: number, done: (error: Error | null) => void) => void

export interface Rows {
  readonly kv: Map<string, Uint8Array>
  readonly timers: StoredTimer[]
  readonly snapshot: Uint8Array | null
}

export class SlotFile {
  readonly path: string
  readonly #db: DatabaseSync
  readonly #fd: number
  readonly #walFd: number
  /** A checkpoint's pages are not known to be on disk, though SQLite believes that the WAL is of no more use. */
  #copied = false
  readonly #statements = new Map<string, StatementSync>()
  #prunedTo: readonly [shard: string, id: string] = ['', '']

  /** Also what a killed process committed but did not sync is on disk before anyone reads it. @throws StoreError */
  constructor(path: string) {
    this.path = path
    const { db, fd, walFd } = openFile(path)
    this.#db = db
    this.#fd = fd
    this.#walFd = walFd
  }

  /** A transaction is under way. */
  get inTransaction(): boolean {
    return this.#db.isTransaction
  }

  /** Frames in the WAL. */
  get frames(): number {
    return (this.#sql('PRAGMA wal_checkpoint(NOOP)').get() as unknown as { log: number }).log
  }

  begin(): void {
    this.#sql('BEGIN IMMEDIATE').run()
  }
  commit(): void {
    this.#sql('COMMIT').run()
  }
  rollback(): void {
    this.#sql('ROLLBACK').run()
  }

  /** Runs a part of a transaction whose failure leaves the other parts standing; returns what it threw. */
  isolate(run: () => void): { readonly cause: unknown } | null {
    this.#sql('SAVEPOINT part').run()
    try {
      run()
    } catch (cause) {
      // A full or failing disk may have ended the whole transaction.
      if (!this.#db.isTransaction) throw cause
      this.#sql('ROLLBACK TO part').run()
      this.#sql('RELEASE part').run()
      return { cause: explain(cause, this.path) }
    }
    this.#sql('RELEASE part').run()
    return null
  }

  /** Everything committed so far is on disk once `done` is told no error. */
  sync(fdatasync: Fdatasync, done: (error: Error | null) => void): void {
    fdatasync(this.#walFd, done)
  }

  /** Copies the WAL's frames into the database file. No transaction may begin before `done` is told no error. */
  checkpoint(fdatasync: Fdatasync, done: (error: Error | null) => void): void {
    this.#db.exec('PRAGMA synchronous = OFF')
    try {
      this.#sql('PRAGMA wal_checkpoint(PASSIVE)').get()
      this.#copied = true
    } finally {
      this.#db.exec('PRAGMA synchronous = NORMAL')
    }
    fdatasync(this.#fd, (error) => {
      if (!error) this.#copied = false
      done(error)
    })
  }

  /** SQLite copies the WAL once more, with its own syncs, and removes it if that went well. */
  close(): void {
    // It would not copy what it believes to be copied: the WAL survives under a second name.
    const kept = this.#copied
    if (kept) linkSync(`${this.path}-wal`, keptName(this.path))
    closeSync(this.#walFd)
    this.#db.close()
    closeSync(this.#fd)
    if (kept) restoreWal(this.path)
  }

  load(shard: string): Rows {
    const kv = new Map<string, Uint8Array>()
    const values = this.#sql(sql.ALL_KV).all(shard) as unknown as { name: string; value: Uint8Array }[]
    for (const { name, value } of values) kv.set(name, value)
    const timers = this.#sql(sql.ALL_TIMERS).all(shard) as unknown as StoredTimer[]
    const row = this.#sql(sql.GET_SNAPSHOT).get(shard) as unknown as { data: Uint8Array } | undefined
    return {
      kv,
      timers: timers.map(({ name, dueMs, data }) => ({ name, dueMs, data })),
      snapshot: row?.data ?? null,
    }
  }

  channel(shard: string, id: string): StoredChannel | null {
    const row = this.#sql(sql.GET_CHANNEL).get(shard, id) as unknown as StoredChannel | undefined
    return row ? { mark: row.mark, replies: row.replies } : null
  }

  /** The next durable timer of each shard that has one. */
  wakes(): { readonly shard: string; readonly dueMs: number }[] {
    return this.#sql(sql.ALL_WAKES).all() as unknown as { shard: string; dueMs: number }[]
  }

  reserved(): number {
    return (this.#sql(sql.GET_RESERVED).get() as unknown as { reserved: number }).reserved
  }

  reserve(upTo: number): void {
    this.#sql(sql.SET_RESERVED).run(upTo)
  }

  apply(shard: string, { kv, timers, channel, snapshot }: WriteSet): void {
    for (const [name, value] of kv ?? []) {
      if (value) this.#sql(sql.SET_KV).run(shard, name, value)
      else this.#sql(sql.DELETE_KV).run(shard, name)
    }
    for (const [name, timer] of timers ?? []) {
      if (timer) this.#sql(sql.SET_TIMER).run(shard, name, timer.dueMs, timer.data)
      else this.#sql(sql.DELETE_TIMER).run(shard, name)
    }
    if (channel)
      this.#sql(sql.SET_CHANNEL).run(shard, channel.id, channel.mark, channel.nowMs, channel.replies)
    if (snapshot) this.#sql(sql.SET_SNAPSHOT).run(shard, snapshot)
  }

  /** Looks at the next `rows` channels and deletes those not seen since `beforeMs`; goes round for ever. */
  prune(beforeMs: number, rows: number): void {
    const [shard, id] = this.#prunedTo
    const page = this.#sql(sql.PAGE_OF_CHANNELS).all(shard, id, rows) as unknown as {
      shard: string
      id: string
      seenMs: number
    }[]
    for (const row of page) if (row.seenMs < beforeMs) this.#sql(sql.DELETE_CHANNEL).run(row.shard, row.id)
    const last = page.length === rows ? page.at(-1) : undefined
    this.#prunedTo = last ? [last.shard, last.id] : ['', '']
  }

  #sql(text: string): StatementSync {
    let statement = this.#statements.get(text)
    if (!statement) this.#statements.set(text, (statement = this.#db.prepare(text)))
    return statement
  }
}

/** Makes the entries of a directory durable: a synced file without a name is a lost file. */
export function syncDirectory(path: string): void {
  // Windows has no such thing and refuses to open a directory.
  if (process.platform === 'win32') return
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

function keptName(path: string): string {
  return `${path}-wal-kept`
}

/** Gives a WAL that was kept its name back, unless it never lost it. */
function restoreWal(path: string): void {
  if (!existsSync(keptName(path))) return
  if (existsSync(`${path}-wal`)) unlinkSync(keptName(path))
  else renameSync(keptName(path), `${path}-wal`)
  syncDirectory(dirname(path))
}

function openFile(path: string): { readonly db: DatabaseSync; readonly fd: number; readonly walFd: number } {
  let db: DatabaseSync | null = null
  const fds: number[] = []
  try {
    restoreWal(path)
    db = new DatabaseSync(path, { timeout: 0 })
    db.exec('PRAGMA locking_mode = EXCLUSIVE')
    const fresh = checkFormat(db, path)
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0')
    db.exec(`PRAGMA journal_size_limit = ${WAL_BYTES}`)
    if (fresh) db.exec(`BEGIN; ${sql.SLOT_TABLES} COMMIT`)
    // After a crash the WAL may hold frames that were never synced: they are made durable before they are believed.
    db.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()
    const fd = openSync(path, 'r+')
    fds.push(fd)
    const walFd = openSync(`${path}-wal`, 'r+')
    fds.push(walFd)
    // The -wal file keeps its name until the last close, so its directory entry is synced once.
    syncDirectory(dirname(path))
    return { db, fd, walFd }
  } catch (cause) {
    db?.close()
    for (const fd of fds) closeSync(fd)
    throw explain(cause, path)
  }
}

/** Whether the file is new. Its header counts as ours only together with its tables: one transaction made both. */
function checkFormat(db: DatabaseSync, path: string): boolean {
  const application = Number(db.prepare('PRAGMA application_id').get()?.['application_id'])
  const format = Number(db.prepare('PRAGMA user_version').get()?.['user_version'])
  const tables = Number(db.prepare(sql.COUNT_TABLES).get()?.['tables'])
  if (application === 0 && format === 0 && tables === 0) return true
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
  return false
}
