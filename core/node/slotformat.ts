// Opens the SQLite file of one slot: checks its format, migrates older formats, makes frames of a crash durable.
// Invariants: a file of an unknown format is not changed; whatever a killed process committed is synced before it is
// read.

import { closeSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import { COUNT_TABLES, SLOT_APPLICATION_ID, SLOT_FORMAT, SLOT_STEPS } from '../../schemas/slot.ts'
import { StoreTables } from '../outbox/storetables.ts'
import type { TableSet } from '../sql/layout.ts'
import { restoreWalBackup, syncFolder } from './datafolder.ts'
import { PreparedStatements } from './statements.ts'
import { toStoreError, StoreError } from './storeerror.ts'

/** SQLite truncates a longer WAL when it restarts it. */
const MAX_WAL_BYTES = 16_777_216

export interface RowTablesOptions {
  readonly tables: TableSet
  /** The rows are flushed to MySQL. */
  readonly outbox: boolean
  /** Returns 16 unguessable bytes. */
  readonly newId: () => Uint8Array
}

export interface OpenedSlotFile {
  readonly db: DatabaseSync
  readonly statements: PreparedStatements
  readonly rows: StoreTables
  readonly fd: number
  readonly walFd: number
}

/** @throws StoreError */
export function openSlotFile(path: string, options: RowTablesOptions): OpenedSlotFile {
  let db: DatabaseSync | null = null
  const fds: number[] = []
  try {
    restoreWalBackup(path)
    db = new DatabaseSync(path, { timeout: 0 })
    db.exec('PRAGMA locking_mode = EXCLUSIVE')
    // Only the data folder must be writable; SQLite puts temporary files into /var/tmp.
    db.exec('PRAGMA temp_store = MEMORY')
    const format = formatOf(db, path)
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0')
    db.exec(`PRAGMA journal_size_limit = ${MAX_WAL_BYTES}`)
    const statements = new PreparedStatements(db)
    const rows = new StoreTables(statements, options.tables, options.outbox)
    db.exec('BEGIN IMMEDIATE')
    for (const step of SLOT_STEPS.slice(format)) db.exec(step)
    if (format < SLOT_FORMAT) db.exec(`PRAGMA user_version = ${SLOT_FORMAT}`)
    rows.prepare(options.newId)
    db.exec('COMMIT')
    // After a crash the WAL may contain frames that were never synced.
    db.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()
    const fd = openSync(path, 'r+')
    fds.push(fd)
    const walFd = openSync(`${path}-wal`, 'r+')
    fds.push(walFd)
    // The -wal file keeps its name until the last close, so one sync of its directory entry is enough.
    syncFolder(dirname(path))
    return { db, statements, rows, fd, walFd }
  } catch (cause) {
    db?.close()
    for (const fd of fds) closeSync(fd)
    throw toStoreError(cause, path)
  }
}

/** Returns 0 for a new file. One transaction creates header and tables, so a header without tables is not ours. */
function formatOf(db: DatabaseSync, path: string): number {
  const application = Number(db.prepare('PRAGMA application_id').get()?.['application_id'])
  const format = Number(db.prepare('PRAGMA user_version').get()?.['user_version'])
  const tables = Number(db.prepare(COUNT_TABLES).get()?.['tables'])
  if (application === 0 && format === 0 && tables === 0) return 0
  if (application !== SLOT_APPLICATION_ID || format < 1)
    throw new StoreError('FOREIGN', `${path} is not a slot file of Firefly: choose another data directory`)
  if (format > SLOT_FORMAT) {
    const advice = 'start the newer version, or choose another data directory'
    throw new StoreError('NEWER', `${path} has format ${format}, this Firefly reads up to ${SLOT_FORMAT}: ${advice}`)
  }
  return format
}
