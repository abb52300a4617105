// Errors of a data directory, worded for the operator. Invariant: a message names the file, the cause as the system
// reported it, and the remedy.

import { DetachedError } from '../outbox/storetables.ts'
import { TableError } from '../sql/layout.ts'

export type StoreErrorCode =
  | 'ACCESS' // the directory or a file cannot be opened or written
  | 'CLOSED' // the store was closed
  | 'CORRUPT' // a slot file is damaged
  | 'DETACHED' // the rows belong to a MySQL that was not named at this start
  | 'DISK' // the disk reported an error
  | 'DISK_FULL' // no space is left
  | 'FOREIGN' // a file with the name of a slot file is not one
  | 'LOCKED' // another process has the data directory open
  | 'NEWER' // a slot file was written by a newer Firefly
  | 'NUMBERS' // a slot has used all 4,294,967,295 activation numbers
  | 'OVERLOADED' // the disk is slower than the commits
  | 'SLOTS' // the data directory was created with another number of slots
  | 'SUPERSEDED' // an earlier commit of the same activation failed or was undone
  | 'TOO_LARGE' // one turn writes more than the commit queue may hold
  | 'TABLES' // a table is stored in a form that the game cannot read

export class StoreError extends Error {
  override readonly name = 'StoreError'
  readonly code: StoreErrorCode
  constructor(code: StoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** Converts an error of SQLite or of the file system; returns any other error unchanged. */
export function toStoreError(cause: unknown, path: string): unknown {
  if (!(cause instanceof Error) || cause instanceof StoreError) return cause
  const storeError = (code: StoreErrorCode, message: string): StoreError => new StoreError(code, message, { cause })
  if (cause instanceof DetachedError) return storeError('DETACHED', `${path}: ${cause.message}`)
  if (cause instanceof TableError) return storeError('TABLES', `${path}: ${cause.message}`)
  const { errcode, code, syscall } = cause as { errcode?: number; code?: string; syscall?: string }
  const reason = `(${cause.message})`
  /** SQLite's primary result code. */
  const primary = errcode === undefined ? -1 : errcode & 0xff
  if (primary === 5 || primary === 6)
    return storeError('LOCKED', `${path} is open in another process ${reason}: stop that one first`)
  if (primary === 11 || primary === 26) {
    const advice = 'replace it by a backup, or move it and its -wal file away to start this slot empty'
    return storeError('CORRUPT', `${path} is damaged ${reason}: ${advice}`)
  }
  if (primary === 13 || code === 'ENOSPC' || code === 'EDQUOT')
    return storeError('DISK_FULL', `no space is left for ${path} ${reason}: free some on its disk`)
  if (primary === 10 || code === 'EIO')
    return storeError('DISK', `the disk failed at ${path} ${reason}: check the kernel log, then restart`)
  if ([3, 8, 14].includes(primary) || syscall !== undefined)
    return storeError('ACCESS', `${path} cannot be used ${reason}: check path, owner and permissions`)
  return cause
}
