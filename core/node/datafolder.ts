// Directory entries that must survive a crash: of a new directory, and of a WAL backup. Invariant: a change of a
// directory entry is durable only after a sync of the directory, because a synced file without an entry is lost.

import { closeSync, existsSync, fsyncSync, linkSync, mkdirSync, openSync, renameSync, unlinkSync } from 'node:fs'
import { dirname } from 'node:path'

import { toStoreError } from './storeerror.ts'

/** @throws StoreError */
export function createFolder(dir: string): void {
  try {
    const first = mkdirSync(dir, { recursive: true })
    if (first === undefined) return
    // Each new directory is an entry of its parent.
    let created = dir
    while (created.length >= first.length) syncFolder((created = dirname(created)))
  } catch (cause) {
    throw toStoreError(cause, dir)
  }
}

/** Makes the entries of a directory durable. */
export function syncFolder(path: string): void {
  // Windows cannot open a directory as a file.
  if (process.platform === 'win32') return
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Links the WAL of a database file under a second name, which SQLite does not remove at close. */
export function linkWalBackup(path: string): void {
  linkSync(`${path}-wal`, walBackupPath(path))
}

/** Renames a WAL backup to the WAL's name; removes the backup if the WAL still exists. */
export function restoreWalBackup(path: string): void {
  if (!existsSync(walBackupPath(path))) return
  if (existsSync(`${path}-wal`)) unlinkSync(walBackupPath(path))
  else renameSync(walBackupPath(path), `${path}-wal`)
  syncFolder(dirname(path))
}

function walBackupPath(path: string): string {
  return `${path}-wal-kept`
}
