// What can be wrong with a data directory, in the operator's words. Invariant: a message names the file, the cause as
// the system told it, and what to do.

import { TableError } from '../sql/layout.ts'
import { DetachedError } from '../outbox/storetables.ts'

export type StoreErrorCode =
  | 'ACCESS' // the directory or a file cannot be opened or written
  | 'CLOSED' // the store was closed
  | 'CORRUPT' // a slot file is damaged
  | 'DETACHED' // MySQL stood behind the rows, and was not named this time
  | 'DISK' // the disk reported an error
  | 'DISK_FULL' // no space is left
  | 'FOREIGN' // a file that is not a slot file stands in its place
  | 'LOCKED' // another process has the data directory open
  | 'NEWER' // a slot file was written by a newer Firefly
  | 'NUMBERS' // a slot has used all 4,294,967,295 activation numbers
  | 'OVERLOADED' // the disk is slower than the commits
  | 'SLOTS' // the data directory was made with another number of slots
  | 'SUPERSEDED' // an earlier commit of the same activation failed, or was taken back
  | 'TOO_LARGE' // one turn writes more than may wait for the disk
  | 'TABLES' // a table is stored in a form that the game cannot read

/** What is wrong with the data directory and what to do about it. */
export class StoreError extends Error {
  override readonly name = 'StoreError'
  readonly code: StoreErrorCode
  constructor(code: StoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** An error of SQLite or of the file system in the operator's words; any other error as it is. */
export function toStoreError(cause: unknown, path: string): unknown {
  if (!(cause instanceof Error) || cause instanceof StoreError) return cause
  if (cause instanceof DetachedError)
    return new StoreError('DETACHED', `${path}: ${cause.message}`, { cause })
  if (cause instanceof TableError) return new StoreError('TABLES', `${path}: ${cause.message}`, { cause })
  const { errcode, code, syscall } = cause as { errcode?: number; code?: string; syscall?: string }
  const why = `(${cause.message})`
  const primary = errcode === undefined ? -1 : errcode & 0xff
  if (primary === 5 || primary === 6) {
    return new StoreError('LOCKED', `${path} is open in another process ${why}: stop that one first`, {
      cause,
    })
  }
  if (primary === 11 || primary === 26) {
    const advice = 'put a backup in its place, or move it and its -wal file away to begin this slot empty'
    return new StoreError('CORRUPT', `${path} is damaged ${why}: ${advice}`, { cause })
  }
  if (primary === 13 || code === 'ENOSPC' || code === 'EDQUOT') {
    return new StoreError('DISK_FULL', `no space is left for ${path} ${why}: free some on its disk`, {
      cause,
    })
  }
  if (primary === 10 || code === 'EIO') {
    return new StoreError(
      'DISK',
      `the disk failed at ${path} ${why}: look into the kernel's log, then restart`,
      { cause },
    )
  }
  if ([3, 8, 14].includes(primary) || syscall !== undefined) {
    return new StoreError('ACCESS', `${path} cannot be used ${why}: check path, owner and permissions`, {
      cause,
    })
  }
  return cause
}
